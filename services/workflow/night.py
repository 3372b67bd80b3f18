"""The capture steps of a run: temperature outside, gain inside; biases, flats of every filter, darks that fit them."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime

from calibration.frames import FrameHeader, FrameKind, us
from calibration.grouping import camera_of
from services.capture.failures import UntilReached
from services.capture.session import Session
from services.catalogue.history import EXPOSURE_STEP, LISTED, NO_SENSOR_C, SENSOR_C, SHORTEST
from services.catalogue.rows import FactRow
from services.errors import RunCode, StorageError, Usage
from services.events.records import RunProgress, StorageLow
from services.observatory import Observatory
from services.observatory.sun import next_sunrise
from services.planning.request import RunOptions, Step
from services.planning.room import Amount, PlannedSet, Room, Sizes, as_taken, needed, room_of, with_flat_darks
from services.planning.wanted import State, darks_of_flats, names_apart, states
from services.version import is_credible
from services.words import count
from services.workflow.context import RunContext
from services.workflow.phases import Phases
from services.workflow.steps import capture_steps
from services.workflow.warm_up import Need
from services.workflow.work import Work

SOON_NIGHTS = 14
"""A disk that will be full after more nights than these is not warned of."""


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
        hold_cooler=work.options.hold_cooler,
        cooler_held_at=work.options.cooler_held_at,
        only_if_free=work.options.only_if_free,
        until=_until(observatory, work.options),
        ready=lambda: work.wait_for_loops(Need.FRAMES, observatory.interlock.check_edge),
        apart=names_apart(observatory.config),
    )
    try:
        with session:
            _take(_context(session, observatory, work), observatory)
    except UntilReached:
        work.tally.is_early = True
        raise
    finally:
        work.tally.left_unsafe = session.left_unsafe


def _context(session: Session, observatory: Observatory, work: Work) -> RunContext:
    shared = {each.name: getattr(work, each.name) for each in fields(Work)}
    return RunContext(
        **{**shared, "config": observatory.config},
        apart=names_apart(observatory.config),
        session=session,
        camera=_name(session, simulated=observatory.is_simulated),
        opaque=observatory.opaque_filters,
    )


def _take(context: RunContext, observatory: Observatory) -> None:
    if not is_credible(now := context.clock.now()):
        context.warn(RunCode.CLOCK_JUMP, f"{_wrong_clock(now)}: the times in headers and names are wrong")
    for unused in observatory.unused_devices():
        context.warn(RunCode.UNUSED_DEVICE, unused)
    for shown in observatory.passwords_shown:
        context.warn(RunCode.LOGIN_READABLE, shown)
    _warn_of_darkness(context)
    _note_exposures(context)
    _note_lists(context)
    steps, phases = capture_steps(context.options.steps), Phases(context)
    wanted = tuple(states(context.config, skip_cooling=context.options.skip_cooling or _is_uncooled(context)))
    _note_sensor(context, wanted)
    seen = ((state, step.foreseen(context.in_state(state), state)) for state in wanted for step in steps)
    sets = context.foresee((state, each) for state, foreseen in seen for each in foreseen)
    _check_room(context, sets)
    phases.ask_before(_coming(context, sets))
    for state in wanted:
        here = context.in_state(state)
        for step in steps:
            step.begin(here, phases, state)
        begun = len(context.tally.outcomes)
        for step in steps:  # flats that failed have shone on the sensor as well
            step.take(here, phases, state, after_others=len(context.tally.outcomes) > begun)
    _note_sensor(context, wanted)
    phases.leave()
    if late := context.tally.too_late:
        raise UntilReached(f"the time given does not suffice for a frame of {count(len(late), 'more set')}")


def _note_exposures(context: RunContext) -> None:
    """Note which exposures the camera can make, so that plans made without it ask for the same ones."""
    info, catalogue = context.session.camera_info, context.place.catalogue
    said = {SHORTEST: us(info.exposure_min_s), EXPOSURE_STEP: max(1, us(info.exposure_resolution_s))}
    for name, value in said.items():
        known = next(iter(catalogue.facts(camera=context.camera, name=name)), None)
        if known is None or known.value != value:
            catalogue.add_fact(FactRow(camera=context.camera, name=name, value=float(value), at=context.clock.now()))


def _note_lists(context: RunContext) -> None:
    """Note which gains and offsets the camera lists by name, so that plans made without it know their numbers."""
    info, catalogue = context.session.camera_info, context.place.catalogue
    lists = {"gains": list(info.gains), "offsets": list(info.offsets)}
    known = next(iter(catalogue.facts(camera=context.camera, name=LISTED)), None)
    if lists != (known.settings if known is not None else {"gains": [], "offsets": []}):
        at = context.clock.now()
        catalogue.add_fact(FactRow(camera=context.camera, name=LISTED, value=1.0, at=at, settings=lists))


def _note_sensor(context: RunContext, wanted: Iterable[State]) -> None:
    """Note how warm a sensor is that nothing cools: plans made without the camera go by it for some time."""
    if any(state.as_they_come for state in wanted):
        celsius = context.session.temperature_c()
        name, value = (NO_SENSOR_C, 1.0) if celsius is None else (SENSOR_C, celsius)
        fact = FactRow(camera=context.camera, name=name, value=value, at=context.clock.now())
        context.place.catalogue.add_fact(fact)


def _is_uncooled(context: RunContext) -> bool:
    """Return whether the temperature that is wanted cannot be set, which is said once; one that is required fails."""
    cooling = context.config.cooling
    off = (
        context.options.skip_cooling or cooling is None or not cooling.enable_cooling or cooling.mode != "if_available"
    )
    if off or cooling is None or context.session.camera_info.can_set_temperature:
        return False
    celsius = ", ".join(f"{c:g}" for c in context.config.temperatures or (cooling.target_temperature,) if c is not None)
    detail = f"this camera has no set-point, so that {celsius} °C is left aside"
    context.warn(RunCode.NO_SETPOINT, detail)
    return True


def _coming(context: RunContext, sets: Iterable[PlannedSet]) -> tuple[Step, ...]:
    """Return the phases in which something will be taken, in their order: biases, flats, darks, also for new flats."""
    lacking = {each.wanted.kind for each in sets if each.lacking}
    flats = FrameKind.FLAT in lacking
    darks = FrameKind.DARK in lacking or (flats and Step.DARKS in context.options.steps)
    phases = (Step.DARKS, FrameKind.BIAS in lacking), (Step.FLATS, flats), (Step.DARKS, darks)
    coming = [step for step, comes in phases if comes]
    return tuple(step for step, before in zip(coming, [None, *coming], strict=False) if step is not before)


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


def _check_room(context: RunContext, sets: Iterable[PlannedSet]) -> None:
    """Say before anything moves at which frame the room on the disk ends; the run goes as far as it can.

    Raises
    ------
    StorageError
        There is none for the first frame (nobody is to cool a camera for it), or none for all frames though that was
        required.
    """
    info, (bin_x, bin_y) = context.session.camera_info, context.config.camera.active.bin_xy
    options, pixels = context.options, (info.camera_x_size // bin_x) * (info.camera_y_size // bin_y)
    sizes = Sizes(pixels=pixels, masters=Step.MASTERS in options.steps)
    planned = tuple(with_flat_darks(as_taken(sets), darks_of_flats(context.config, options)))
    room = room_of(context.place, context.config, planned, sizes, now=context.clock.now())
    taken = next((each for each in planned if each.lacking), None)
    if taken is not None:
        context.events.emit(_needs(context, planned, sizes, room))
    if taken is None or (not room.ends_at and (room.nights is None or room.nights > SOON_NIGHTS)):
        return
    ends = f"there is no room for all frames: it ends at {room.ends_at}"
    soon = f"with such nights the disk is full in {count(room.nights or 0, 'night')}"
    context.events.emit(
        StorageLow(
            free_mb=room.free.bytes / 1e6,
            needed_mb=room.needed_bytes / 1e6,
            floor_mb=room.floor_bytes / 1e6,
            detail=ends if room.ends_at else soon,
        )
    )
    if not room.usable.holds(Amount(bytes=sizes.frame_bytes, files=1)) or (room.ends_at and options.require_space):
        raise StorageError(f"{room.words}; {ends}", code=RunCode.DISK_FULL)


def _needs(context: RunContext, planned: Sequence[PlannedSet], sizes: Sizes, room: Room) -> RunProgress:
    """Return what the frames to take need, now that the wheel and the sensor are known; before anything is cooled."""
    cost = needed(planned, sizes, context.config)
    wanted = sum(each.wanted.count for each in planned)
    searched = sum(each.wanted.kind is FrameKind.DARK and each.wanted.exposure_us is None for each in planned)
    return RunProgress(
        done=wanted - cost.frames,
        wanted=wanted,
        needed_mb=room.needed_bytes / 1e6,
        seconds=cost.seconds,
        at_most=searched > 1,
    )


def _warn_of_darkness(context: RunContext) -> None:
    """Say once when nothing that we control makes it dark; the first dark of each time is judged all the same."""
    panel = context.session.panel_info
    if Step.DARKS in context.options.steps and context.config.darkness == "cover":
        if panel is None:
            context.warn(RunCode.NO_COVER, "`darkness: cover`, but there is no `flat_panel` with a cover")
        elif not panel.has_cover:
            context.warn(RunCode.NO_COVER, f"{panel.name} has no cover")
