"""The capture steps of a run: temperature outside, gain inside; biases, flats of every filter, darks that fit them."""

from dataclasses import fields
from datetime import datetime

from calibration.frames import FrameHeader, FrameKind
from calibration.grouping import camera_of
from services.capture.session import Session
from services.errors import RunCode, StorageError, Usage
from services.events.records import StorageLow
from services.observatory import Observatory
from services.observatory.sun import next_sunrise
from services.planning.forecast import BYTES_PER_PIXEL, HEADER_BYTES
from services.planning.request import RunOptions, Step
from services.planning.wanted import states
from services.version import is_credible
from services.words import size
from services.workflow.context import RunContext
from services.workflow.phases import Phases
from services.workflow.steps import capture_steps
from services.workflow.warm_up import Need
from services.workflow.work import Work


def capture(observatory: Observatory, work: Work) -> None:
    """Take what is missing of everything that the chosen steps want.

    Raises
    ------
    DriverError, RunStopped, StorageError
        The run must end; what is stored is kept, and the devices were left in a known state.
    """
    session = Session(
        observatory=observatory,
        events=work.events,
        place=work.place,
        skip_cooling=work.options.skip_cooling,
        skip_warmup=work.options.skip_warmup,
        until=_until(observatory, work.options),
        ready=lambda: work.wait_for_loops(Need.FRAMES, observatory.interlock.check_edge),
    )
    try:
        with session:
            _take(_context(session, observatory, work), observatory)
    finally:
        work.tally.left_unsafe = session.left_unsafe


def _context(session: Session, observatory: Observatory, work: Work) -> RunContext:
    shared = {each.name: getattr(work, each.name) for each in fields(Work)}
    return RunContext(
        **{**shared, "config": observatory.config},
        session=session,
        camera=_name(session, simulated=observatory.is_simulated),
        opaque=observatory.opaque_filters,
    )


def _take(context: RunContext, observatory: Observatory) -> None:
    if not is_credible(now := context.clock.now()):
        context.warn(RunCode.CLOCK_JUMP, f"{_wrong_clock(now)}: the times in headers and names are wrong")
    for unused in observatory.unused_devices():
        context.warn(RunCode.UNUSED_DEVICE, unused)
    _warn_of_darkness(context)
    steps, phases = capture_steps(context.options.steps), Phases(context)
    wanted = tuple(states(context.config, skip_cooling=context.options.skip_cooling))
    context.foresee(each for state in wanted for step in steps for each in step.foreseen(context, state))
    _check_space(context)
    for state in wanted:
        for step in steps:
            step.begin(context, phases, state)
        begun = len(context.tally.outcomes)
        for step in steps:  # flats that failed have shone on the sensor as well
            step.take(context, phases, state, after_others=len(context.tally.outcomes) > begun)
    phases.leave()


def _name(session: Session, *, simulated: bool) -> str:
    info = session.camera_info
    header = FrameHeader(
        kind=FrameKind.BIAS, shape=(0, 0), instrument=info.name, camera_id=info.unique_id, simulated=simulated
    )
    return camera_of(header)


def _until(observatory: Observatory, options: RunOptions) -> datetime | None:
    if not isinstance(options.until, str):
        return options.until
    site = observatory.config.site
    if site is None:
        raise Usage("--until sunrise needs `site` with latitude and longitude in the configuration")
    now = observatory.clock.now()
    if not is_credible(now):
        raise Usage(f"--until sunrise: {_wrong_clock(now)}, so that nobody knows where the sun is")
    return next_sunrise(now, latitude_deg=site.latitude, longitude_deg=site.longitude)


def _wrong_clock(now: datetime) -> str:
    return f"the computer's clock says {now:%Y-%m-%d}, which is before this program was made"


def _check_space(context: RunContext) -> None:
    """Say before anything moves that there is no room for all frames; the run goes as far as it can.

    Raises
    ------
    StorageError
        There is none for the first: nobody is to cool a camera for it.
    """
    info, (bin_x, bin_y) = context.session.camera_info, context.config.camera.active.bin_xy
    lacking = sum(wanted - have for have, wanted in context.tally.progress.values())
    frame_bytes = BYTES_PER_PIXEL * (info.camera_x_size // bin_x) * (info.camera_y_size // bin_y) + HEADER_BYTES
    free_bytes, floor_bytes = (
        context.place.disk.free_bytes(context.place.root),
        1_000_000 * context.config.storage.min_free_mb,
    )
    if lacking * frame_bytes <= free_bytes - floor_bytes or not lacking:
        return
    needed_bytes = lacking * frame_bytes
    context.events.emit(StorageLow(free_mb=free_bytes / 1e6, needed_mb=needed_bytes / 1e6, floor_mb=floor_bytes / 1e6))
    if frame_bytes > free_bytes - floor_bytes:
        room = f"{size(free_bytes)} free below {context.place.root}, {size(needed_bytes)} needed"
        detail = f"{room}, {size(floor_bytes)} to be left free (storage.min_free_mb)"
        raise StorageError(detail, code=RunCode.DISK_FULL)


def _warn_of_darkness(context: RunContext) -> None:
    """Say once when nothing that we control makes it dark; the first dark of each time is judged all the same."""
    panel = context.session.panel_info
    if Step.DARKS in context.options.steps and context.config.darkness == "cover":
        if panel is None:
            context.warn(RunCode.NO_COVER, "`darkness: cover`, but there is no `flat_panel` with a cover")
        elif not panel.has_cover:
            context.warn(RunCode.NO_COVER, f"{panel.name} has no cover")
