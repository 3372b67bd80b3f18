"""One step of the workflow for a program that calls us: what stands behind the integration names of the guide."""

import threading

from drivers.base import Camera
from services.config import LoadedConfig
from services.workflow.options import RunOptions, RunResult, Step


def run_step(step: Step, loaded: LoadedConfig, camera: Camera | None = None) -> RunResult:
    """Run one step without questions; what is there already is kept.

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
    from services.platform import prepare_numba_cache

    prepare_numba_cache()
    from services.workflow.run import run

    return run(loaded, RunOptions(steps=(step,), camera=camera), threading.Event())
