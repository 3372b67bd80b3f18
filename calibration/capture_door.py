"""What the two capture doors share: a configuration and, if the program brings one, a camera. Part of the doors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivers.base import Camera
    from services.planning.request import RunResult


class CaptureDoor:
    """One capture step of a configuration.

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
        TypeError
            The object is no such camera; the configured one is not used in its place.
        """
        from services.cli.doors import check_camera
        from services.config import as_loaded

        if camera is not None:
            check_camera(camera)
        self._config = as_loaded(self._config)
        self._camera = camera

    def _run(self, step: str) -> "RunResult":
        from services.cli.doors import run_step
        from services.config import as_loaded
        from services.planning.request import Step

        return run_step(Step(step), as_loaded(self._config), self._camera)
