"""The guide's integration name for flats: `FlatCapture(config=…).capture_flats()`. A door to `services`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivers.base import Camera
    from services.workflow.options import RunResult


class FlatCapture:
    """Flats of a configuration, with automatic exposure.

    Parameters
    ----------
    config : path, mapping, LoadedConfig or None
        None: `config_calibration_frames.yaml` in the working folder.
    """

    def __init__(self, config: Any = None) -> None:
        self._config = config
        self._camera: Camera | None = None

    def initialize(self, camera: "Camera | None" = None) -> None:
        """Take a camera to capture with, any `drivers.base.Camera`; without one the configured camera is used.

        Raises
        ------
        ConfigInvalid
            The configuration cannot be used.
        """
        from services.config import as_loaded

        self._config = as_loaded(self._config)
        self._camera = camera

    def capture_flats(self) -> "RunResult":
        """Take what is missing of the flats, and return how it ended."""
        from services.config import as_loaded
        from services.workflow.doors import run_step
        from services.workflow.options import Step

        return run_step(Step.FLATS, as_loaded(self._config), self._camera)
