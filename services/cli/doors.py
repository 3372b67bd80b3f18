"""One step of the workflow for a program that calls us: what stands behind the integration names of the guide."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from services.cli.night import open_log
from services.events.to_log import ToLog
from services.planning.request import RunOptions, RunResult, Step

if TYPE_CHECKING:
    from drivers.base import Camera
    from services.config import LoadedConfig
    from services.events.bus import Listener


def run_step(step: Step, loaded: "LoadedConfig", camera: "Camera | None" = None) -> RunResult:
    """Run one step without questions; what is there already is kept. It tells what `nightcal run` tells.

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

    with _told(loaded) as listeners:
        return run(loaded, RunOptions(steps=(step,), camera=camera, listeners=listeners))


@contextmanager
def _told(loaded: "LoadedConfig") -> "Iterator[tuple[Listener, ...]]":
    """Give plain lines and the log file; a program that has set up structlog itself hears us there, and only there."""
    import structlog

    if structlog.is_configured():
        yield (ToLog(),)
        return
    from services import log
    from services.cli.progress import Lines

    open_log(loaded)
    try:
        yield Lines(sys.stdout), ToLog()
    finally:
        log.close()
        structlog.reset_defaults()
