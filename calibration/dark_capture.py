"""The guide's integration name for darks: `DarkCapture(config=…).capture_darks()`. A door to `services`."""

from typing import TYPE_CHECKING

from calibration.capture_door import CaptureDoor

if TYPE_CHECKING:
    from services.planning.request import RunResult


class DarkCapture(CaptureDoor):
    """Biases and darks of a configuration.

    Parameters
    ----------
    config : path, mapping, LoadedConfig or None
        None: `config_calibration_frames.yaml` in the working folder.
    """

    def capture_darks(self) -> "RunResult":
        """Take what is missing of the biases and darks, and return how it ended."""
        return self._run("darks")
