"""One step of the workflow for a program that calls us: what stands behind the integration names of the guide."""

import sys
from typing import Any

import structlog

from drivers.base import Camera
from services.cli.progress import Lines
from services.config import LoadedConfig
from services.planning.request import RunOptions, RunResult, Step
from services.words import some
from services.workflow.job import Job

_METHODS = tuple(name for name, each in vars(Camera).items() if callable(each) and not name.startswith("_"))


def check_camera(camera: Any) -> None:
    """Refuse an object that cannot serve as a camera, before a night depends on it.

    Raises
    ------
    TypeError
        It lacks methods of `drivers.base.Camera`.
    """
    lacking = [name for name in _METHODS if not callable(getattr(camera, name, None))]
    if lacking:
        raise TypeError(
            f"initialize() was given an object of type {type(camera).__name__}, which lacks {some(lacking)} of "
            "drivers.base.Camera: give one that has them, or none at all for the camera of the configuration"
        )


def run_step(step: Step, loaded: LoadedConfig, camera: Camera | None = None) -> RunResult:
    """Run one step without questions; what is there already is kept. It prints what `nightcal run` prints.

    A program that has configured structlog finds the lines of the run there, and only there.

    Parameters
    ----------
    step : Step
    loaded : LoadedConfig
    camera : Camera, optional
        Used instead of the configured one.

    Returns
    -------
    RunResult
        `exit_code` 0 when all is done; `code` and `detail` say what stopped it.
    """
    listeners = () if structlog.is_configured() else (Lines(sys.stdout),)
    return Job(loaded, RunOptions(steps=(step,)), camera=camera, listeners=listeners).run()
