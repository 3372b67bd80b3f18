"""The capture steps of a run: temperature outside, gain inside; biases, flats of every filter, darks that fit them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from calibration.frames import FrameHeader, FrameKind
from calibration.grouping import camera_of
from calibration.plans.sequence import WantedSet
from services import root
from services.capture.session import Session
from services.errors import RunCode, StorageError, Usage
from services.events.bus import Events
from services.events.records import StorageLow
from services.files.disk import Disk
from services.observatory import Observatory
from services.observatory.sun import next_sunrise
from services.planning.forecast import BYTES_PER_PIXEL, HEADER_BYTES
from services.planning.request import DarkTimes, RunOptions, Step
from services.planning.wanted import State, states
from services.version import is_credible
from services.words import size
from services.workflow.context import RunContext, Tally
from services.workflow.darks import foreseen_darks, take_biases, take_darks
from services.workflow.flats import take_flats, wanted_flats
from services.workflow.phases import Phases


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(root.Place):
    """Where a run reads and writes, and what hears of it."""

    events: Events


def capture(observatory: Observatory, place: Place, options: RunOptions, tally: Tally) -> None:
    """Take what is missing of everything that the capture steps among `options.steps` want.

    Raises
    ------
    DriverError, RunStopped, StorageError
        The run must end; what is stored is kept, and the devices were left in a known state.
    """
    session = Session(
        observatory=observatory,
        events=place.events,
        layout=place.layout,
        catalogue=place.catalogue,
        disk=place.disk,
        skip_cooling=options.skip_cooling,
        skip_warmup=options.skip_warmup,
        until=_until(observatory, options),
    )
    try:
        with session:
            _take(session, observatory, place, options, tally)
    finally:
        tally.left_unsafe = session.left_unsafe


def _take(session: Session, observatory: Observatory, place: Place, options: RunOptions, tally: Tally) -> None:
    context = RunContext(
        config=observatory.config,
        session=session,
        layout=place.layout,
        catalogue=place.catalogue,
        events=place.events,
        clock=observatory.clock,
        options=options,
        tally=tally,
        camera=_name(session, simulated=observatory.is_simulated),
        opaque=observatory.opaque_filters,
    )
    if not is_credible(now := observatory.clock.now()):
        context.warn(RunCode.CLOCK_JUMP, f"{_wrong_clock(now)}: the times in headers and names are wrong")
    for unused in observatory.unused_devices():
        context.warn(RunCode.UNUSED_DEVICE, unused)
    _warn_of_darkness(context)
    _all_states(context, place.disk)


def _all_states(context: RunContext, disk: Disk) -> None:
    phases = Phases(context)
    wanted = tuple(states(context.config, skip_cooling=context.options.skip_cooling))
    context.foresee(each for state in wanted for each in _foreseen(context, state))
    _check_space(context, disk)
    for state in wanted:
        _one_state(context, phases, state)
    phases.leave()


def _foreseen(context: RunContext, state: State) -> Iterator[WantedSet]:
    if Step.FLATS in context.options.steps:
        yield from wanted_flats(context, state)
    if Step.DARKS in context.options.steps:
        yield from foreseen_darks(context, state)


def _one_state(context: RunContext, phases: Phases, state: State) -> None:
    steps, whole = context.options.steps, context.options.dark_times is DarkTimes.ALL
    if Step.DARKS in steps and Step.FLATS in steps and whole:
        take_biases(context, phases, state)
    begun = len(context.tally.outcomes)
    if Step.FLATS in steps:
        take_flats(context, phases, state)
    if Step.DARKS in steps:
        # flats that failed have shone on the sensor as well
        take_darks(context, phases, state, after_flats=len(context.tally.outcomes) > begun)


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


def _check_space(context: RunContext, disk: Disk) -> None:
    """Say before anything moves that there is no room for all frames; the run goes as far as it can.

    Raises
    ------
    StorageError
        There is none for the first: nobody is to cool a camera for it.
    """
    info, (bin_x, bin_y) = context.session.camera_info, context.config.camera.active.bin_xy
    lacking = sum(wanted - have for have, wanted in context.tally.progress.values())
    frame_bytes = BYTES_PER_PIXEL * (info.camera_x_size // bin_x) * (info.camera_y_size // bin_y) + HEADER_BYTES
    free_bytes, floor_bytes = disk.free_bytes(context.layout.root), 1_000_000 * context.config.storage.min_free_mb
    if lacking * frame_bytes <= free_bytes - floor_bytes or not lacking:
        return
    needed_bytes = lacking * frame_bytes
    context.events.emit(StorageLow(free_mb=free_bytes / 1e6, needed_mb=needed_bytes / 1e6, floor_mb=floor_bytes / 1e6))
    if frame_bytes > free_bytes - floor_bytes:
        room = f"{size(free_bytes)} free below {context.layout.root}, {size(needed_bytes)} needed"
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
