"""The flats of one state: every filter its own set; one that fails leaves the others alone."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import timedelta

from calibration.errors import GroupCode
from calibration.frames import Cover, GroupOutcome, GroupStatus
from calibration.plans.detector import Detector
from calibration.plans.flat import flat_plan
from calibration.plans.sequence import WantedSet
from calibration.plans.settings import BrightnessIdle, ExposureState, FlatSetBegun, LevelFound, LevelTried, Plan
from calibration.plans.twilight import twilight_plan
from services.capture.failures import GroupFailed
from services.catalogue.rows import SetRow
from services.errors import RunCode
from services.events.records import FlatExposureAdjusted, FlatSettled
from services.observatory.sun import sun_altitude_deg
from services.planning.having import NOTHING, Having
from services.planning.request import Step
from services.planning.wanted import (
    State,
    exposure_state,
    flat_filters,
    flat_sets,
    flat_settings,
    panel_settings,
)
from services.workflow.context import RunContext, missing
from services.workflow.measuring import measured
from services.workflow.phases import Phases

NEW_SETS = 2
"""How many sets are opened at most after one was abandoned because the lamp had changed."""


def wanted_flats(context: RunContext, state: State) -> tuple[WantedSet, ...]:
    """Return the flat sets of a state."""
    filters = flat_filters(context.config, context.session.filters, context.opaque)
    return flat_sets(context.config, state, filters)


def asked_flats(context: RunContext, state: State) -> tuple[WantedSet, ...]:
    """Return those flat sets of a state that the run was asked for."""
    return context.asked(wanted_flats(context, state))


class FlatsStep:
    """The step that takes flats."""

    def foreseen(self, context: RunContext, state: State) -> tuple[WantedSet, ...]:
        """Return the flat sets of a state."""
        return asked_flats(context, state)

    def begin(self, context: RunContext, phases: Phases, state: State) -> None:
        """Take nothing: no other step needs flats before its own frames."""

    def take(self, context: RunContext, phases: Phases, state: State, *, after_others: bool) -> None:  # noqa: ARG002
        """Take the flats that are missing in a state."""
        take_flats(context, phases, state)


def take_flats(context: RunContext, phases: Phases, state: State) -> None:
    """Take the flats that are missing in a state."""
    config = context.config
    lacking = [
        (wanted, there)
        for wanted in asked_flats(context, state)
        if (there := missing(context, wanted)) is not None and context.has_time(wanted)
    ]
    if not lacking:
        return
    phases.enter(Step.FLATS)
    try:
        detector = measured(context, state)
    except GroupFailed as failure:
        _fail_all(context, [wanted for wanted, _ in lacking], failure)
        return
    for wanted, before in lacking:
        there = _as_warm(context, wanted, before)
        if there is not None:
            _take_set(context, wanted, there, detector, exposure_state(config, state))


def _as_warm(context: RunContext, wanted: WantedSet, there: Having) -> Having | None:
    """Return the existing frames of a set at the temperature that can be reached; None when it is complete.

    Flats that were taken warmer than their set-point are taken anew, for no dark of it fits them; but not where the
    cooler cannot do it now either.
    """
    if there.row is not None or not there.why:
        return there
    try:
        cooled = context.session.cool_for(wanted.kind, wanted.set_temp_c)
    except GroupFailed:
        return there  # it is reported with the set that starts now
    return there if cooled is None or cooled.stable else missing(context, wanted, cooled)


def flat_times_us(context: RunContext, flats: Iterable[WantedSet]) -> tuple[int, ...]:
    """Return the exposures of the catalogued ones of some flats, which darks of their state must serve, in order."""
    times: set[int] = set()
    for wanted in flats:
        there = context.having(wanted, marked=True)
        rows = context.place.catalogue.frames(set_id=there.row.set_id) if there.row is not None else []
        times |= {row.exposure_us for row in rows if row.exposure_us is not None}
    return tuple(sorted(times))


def _take_set(context: RunContext, wanted: WantedSet, there: Having, detector: Detector, camera: ExposureState) -> None:
    def plan(set_id: str, row: SetRow | None) -> Plan[GroupOutcome]:
        return _plan(context, wanted, detector, camera, set_id=set_id, row=row)

    outcome = context.take(wanted, there, plan)
    for _ in range(NEW_SETS):
        if outcome.code != GroupCode.LAMP_CHANGED:
            return
        if there.row is not None:
            # The frames are good, but the set can never be completed with equal ones: it must not be resumed again.
            context.reject_set(there.row.set_id, "the lamp had changed before this set of flats was complete")
        context.tally.outcomes.pop()
        there = NOTHING
        outcome = context.take(wanted, there, plan)


def _plan(
    context: RunContext,
    wanted: WantedSet,
    detector: Detector,
    camera: ExposureState,
    *,
    set_id: str,
    row: SetRow | None,
) -> Plan[GroupOutcome]:
    config = context.config
    settings = replace(flat_settings(config), num_flats=wanted.count)

    def notify(seen: LevelTried | LevelFound | BrightnessIdle) -> None:
        if isinstance(seen, BrightnessIdle):
            context.warn(RunCode.DEVICE_LIMITED, _idle(seen), once=True)
        else:
            context.events.emit(_event(seen, context.apart(wanted)))

    if config.flat_capture.source == "sky":
        return twilight_plan(
            settings,
            detector,
            camera,
            filter=wanted.filter,
            dawn=_dawn(context),
            have=0 if row is None else row.count,
            set_id=set_id,
            cover=Cover.OPEN if _has_cover(context) else Cover.LEAVE,
            notify=notify,
        )
    begun = None
    if row is not None and row.exposure_us is not None and row.level_adu is not None:
        begun = FlatSetBegun(
            exposure_us=row.exposure_us,
            panel_brightness=row.panel_brightness,
            level_adu=row.level_adu,
            accepted=row.count,
        )
    return flat_plan(
        settings,
        detector,
        camera,
        filter=wanted.filter,
        panel=panel_settings(config.flat_panel, context.session.panel_info),
        have=begun,
        set_id=set_id,
        notify=notify,
    )


def _idle(seen: BrightnessIdle) -> str:
    one, other = seen.brightness
    return (
        f"the brightness of the flat panel changes nothing, the light is the same at {one} and at {other}: the flats "
        "get their level by the exposure alone"
    )


def _event(seen: LevelTried | LevelFound, apart: str) -> FlatExposureAdjusted | FlatSettled:
    kind = FlatExposureAdjusted if isinstance(seen, LevelTried) else FlatSettled
    return kind(**asdict(seen), apart=apart)


def _has_cover(context: RunContext) -> bool:
    panel = context.session.panel_info
    return panel is not None and panel.has_cover


def _dawn(context: RunContext) -> bool:
    """Whether the sky brightens: the sun is higher a minute from now. Sky flats need a `site` (config/rules)."""
    site, now = context.config.site, context.clock.now()
    if site is None:
        return False
    place = {"latitude_deg": site.latitude, "longitude_deg": site.longitude}
    return sun_altitude_deg(now + timedelta(minutes=1), **place) > sun_altitude_deg(now, **place)


def _fail_all(context: RunContext, sets: list[WantedSet], failure: GroupFailed) -> None:
    """End sets that one cause has failed; it is said with the first."""
    words = failure.detail
    for wanted in sets:
        outcome = GroupOutcome(status=GroupStatus.FAILED, code=failure.code, detail=words)
        context.tally.outcomes.append((wanted, outcome))
        context.announce_finished(wanted, outcome, set_id=None)
        words = "not tried: see the first of these"
