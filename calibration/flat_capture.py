"""The guide's integration name for flats: `FlatCapture(config=…).capture_flats()`. A door to `services`."""

from typing import TYPE_CHECKING

from calibration.capture_door import CaptureDoor

if TYPE_CHECKING:
    from services.planning.request import RunResult


class FlatCapture(CaptureDoor):
    """Flats of a configuration, with automatic exposure.

    Parameters
    ----------
    config : path, mapping, LoadedConfig or None
        None: `config_calibration_frames.yaml` in the working folder.
    """

    def capture_flats(self) -> "RunResult":
        """Take what is missing of the flats, and return how it ended."""
        return self._run("flats")
