"""The biases and darks of one state: biases first, then the times of the flats just taken, science times, factors."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from calibration.errors import CalibrationError, GroupCode
from calibration.frames import DarkSeen, FrameKind, GroupOutcome, Limits, us
from calibration.plans.bias import bias_plan
from calibration.plans.dark import PlannedTimes, dark_plan
from calibration.plans.sequence import WantedSet
from calibration.plans.settings import Plan
from services.capture.failures import GroupFailed
from services.catalogue.rows import SetRow
from services.errors import ConfigInvalid, RunCode
from services.planning.having import SPAN_C, Having
from services.planning.request import DarkTimes, Step
from services.planning.wanted import (
    ASSUMED_FLAT_US,
    ServedFlats,
    State,
    base_limits,
    dark_sets,
    dark_times,
    exposure_state,
    follow_flats,
    served_flats,
)
from services.workflow.context import RunContext, missing
from services.workflow.dark_facts import dark_facts, doubt_uneven, has_master
from services.workflow.flats import asked_flats, flat_times_us, wanted_flats
from services.workflow.measuring import measured_saturation
from services.workflow.pedestal import note_refused, usual_pedestal
from services.workflow.phases import Phases
from services.workflow.work import identity

DEGREES = 20
"""So many degrees are passed at most while the darks of one exposure are taken."""
LONGEST_FADE_US = 60_000_000
"""Exposure at most of the frames that are thrown away after flats."""


class DarksStep:
    """The step that takes biases and darks."""

    def foreseen(self, context: RunContext, state: State) -> tuple[WantedSet, ...]:
        """Return the biases and darks of a state that are known before its flats are taken."""
        return _sets(context, state, _served(context, state).times_us, context.options.dark_times)

    def begin(self, context: RunContext, phases: Phases, state: State) -> None:
        """Take the biases of a state before its flats, so that no lamp has shone on the sensor yet."""
        if Step.FLATS in context.options.steps and context.options.dark_times is DarkTimes.ALL:
            _take(context, phases, state, _sets(context, state, (), DarkTimes.BIAS))

    def take(self, context: RunContext, phases: Phases, state: State, *, after_others: bool) -> None:
        """Take the biases and darks of a state that are missing.

        Parameters
        ----------
        after_others : bool
            Light has just shone on the sensor: the charge it left there is waited for, and seen to have gone.
        """
        served = _served(context, state)
        if served.is_assumed:
            detail = f"darks for flats of {ASSUMED_FLAT_US / 1e6:.1f} s are taken"
            context.warn(RunCode.FLAT_EXPOSURE_ASSUMED, detail)
        times = _times(context, served.times_us)
        for clipped in times.clipped:
            context.warn(RunCode.EXPOSURE_CLIPPED, str(clipped))
        sets = _asked(context, state, times, context.options.dark_times)
        context.drop(_no_longer_wanted(context, state, sets))
        _take(context, phases, state, sets, after_flats=after_others)


def _sets(context: RunContext, state: State, flats_us: Iterable[int], which: DarkTimes) -> tuple[WantedSet, ...]:
    return _asked(context, state, _times(context, flats_us), which)


def _asked(context: RunContext, state: State, times: PlannedTimes, which: DarkTimes) -> tuple[WantedSet, ...]:
    """Return those of the biases and darks of a state that the run was asked for, or that its flats need."""
    flats = asked_flats(context, state) if follow_flats(context.config, context.options) else ()
    sets = dark_sets(context.config, state, times, which, context.exposures_made())
    return context.asked(sets, followed_us=flat_times_us(context, flats))


def _no_longer_wanted(context: RunContext, state: State, sets: Iterable[WantedSet]) -> list[WantedSet]:
    """Return the foreseen sets whose flats were refused since, or of whose exposure the camera makes another."""
    foreseen = [(of, wanted) for of, wanted in context.tally.foreseen if wanted.kind is not FrameKind.FLAT]
    needed = {identity(wanted) for wanted in sets} | {identity(wanted) for of, wanted in foreseen if of is not state}
    return [wanted for of, wanted in foreseen if of is state and identity(wanted) not in needed]


def _take(
    context: RunContext, phases: Phases, state: State, sets: Iterable[WantedSet], *, after_flats: bool = False
) -> None:
    lacking = [(wanted, there) for wanted in sets if (there := missing(context, wanted)) is not None]
    wait_s = context.config.dark_capture.persistence_wait if after_flats else 0.0
    fade_us = _fade_us(state, [wanted for wanted, _ in lacking]) if after_flats else None
    unknown = [w for w, _ in lacking if w.kind is FrameKind.DARK and not has_master(context, w)]
    darkest: DarkSeen | None = None
    for wanted, before in lacking:
        if not context.has_time(wanted, wait_s):
            continue
        phases.enter(Step.DARKS)
        there = _as_warm(context, wanted, before)
        if there is None:
            continue
        if wanted.kind is FrameKind.BIAS:
            make = partial(bias_plan, wait_s=wait_s)
            _take_sets(context, wanted, there, partial(_take_set, context, state, wanted, make=make))
        else:
            make = partial(dark_plan, wait_s=wait_s, fade_us=fade_us)
            take = partial(_take_set, context, state, wanted, make=make, darkest=darkest)
            outcome = _take_sets(context, wanted, there, take)
            darkest = outcome.darkest or darkest
            fade_us = fade_us if outcome.code == GroupCode.NOT_DARK else None
        wait_s = 0.0
    doubt_uneven(context, unknown)


def _as_warm(context: RunContext, wanted: WantedSet, there: Having) -> Having | None:
    """Return the existing frames of a set at the temperature that can be reached; None when it is complete.

    Where the observer takes darks warmer, or marked, those of an earlier run serve as long as it is no colder; where
    the camera rounds the set-point, those of what it makes of it.
    """
    if context.config.cooling is None or there.row is not None:
        return there
    try:
        cooled = context.session.cool_for(wanted.kind, wanted.set_temp_c)
    except GroupFailed:
        return there  # it is reported with the set that starts now
    if cooled is None or (cooled.stable and cooled.set_c == wanted.set_temp_c):
        return there
    return missing(context, wanted, cooled)


def _fade_us(state: State, sets: Iterable[WantedSet]) -> int | None:
    """Return the exposure in which a fading glow would show most; None where the dark current itself drifts."""
    longest_us = max((s.exposure_us or 0 for s in sets if s.kind is FrameKind.DARK), default=0)
    return None if state.temperature_c is None or longest_us == 0 else min(longest_us, LONGEST_FADE_US)


def _take_set(
    context: RunContext,
    state: State,
    wanted: WantedSet,
    there: Having,
    make: Callable[..., Plan[GroupOutcome]],
    *,
    darkest: DarkSeen | None = None,
) -> GroupOutcome:
    """Take one set; return how it ended."""
    camera = exposure_state(context.config, state)
    limits = _limits(context, wanted)
    taken_as = ""

    def plan(set_id: str, row: SetRow | None) -> Plan[GroupOutcome]:
        nonlocal taken_as
        taken_as = set_id
        return make(
            camera,
            exposure_us=wanted.exposure_us or 0,
            count=wanted.count,
            have=0 if row is None else row.count,
            darkness=dark_facts(context, wanted, darkest),
            limits=limits,
            set_id=set_id,
        )

    outcome = context.take(wanted, there, plan)
    if wanted.kind is FrameKind.BIAS and outcome.code == GroupCode.SETTING_REFUSED:
        note_refused(context, wanted, taken_as)
    return outcome


def _take_sets(
    context: RunContext, wanted: WantedSet, there: Having, take: Callable[[Having], GroupOutcome]
) -> GroupOutcome:
    """Take one set; as the sensor's temperature passes, the sets of one degree after the other until one is complete.

    A set that is left because the sensor has become warmer or colder has not failed: it is continued when the sensor
    is as warm again, in this run or in another.
    """
    outcome, left = take(there), 0
    while context.as_they_come and outcome.code == GroupCode.NOT_STEADY:
        left += 1
        if (other := context.pass_on(wanted)) is None or left == DEGREES:
            break
        outcome = take(other)
    return outcome


def _limits(context: RunContext, wanted: WantedSet) -> Limits:
    span_c = SPAN_C if context.as_they_come else None
    saturation_adu = measured_saturation(context, wanted.gain)
    limits = replace(base_limits(context.config), saturation_adu=saturation_adu, temperature_span_c=span_c)
    if wanted.kind is not FrameKind.BIAS:
        return limits
    usual = usual_pedestal(context, gain=wanted.gain, set_temp_c=wanted.set_temp_c)
    return limits if usual is None else replace(limits, pedestal_adu=usual[0], pedestal_tolerance_adu=usual[1])


def _times(context: RunContext, flat_times: Iterable[int]) -> PlannedTimes:
    info = context.session.camera_info
    minimum_us = us(info.exposure_min_s)
    wanted_us = us(context.config.dark_capture.min_exposure)
    if minimum_us > wanted_us:
        detail = f"min_exposure {wanted_us / 1e6:g} s is raised to the camera's shortest, {minimum_us / 1e6:g} s"
        context.warn(RunCode.EXPOSURE_CLIPPED, detail)
    step_us = max(1, us(info.exposure_resolution_s))
    try:
        return dark_times(context.config, flat_times, minimum_us=minimum_us, resolution_us=step_us)
    except CalibrationError as error:  # a science time below what the camera can do
        raise ConfigInvalid(f"dark_capture: {error}") from error


def _served(context: RunContext, state: State) -> ServedFlats:
    """Return the exposures of flats that the darks of a state are taken for."""
    options = context.options
    return served_flats(
        context.config, state, flat_times_us(context, wanted_flats(context, state)), options.steps, options.dark_times
    )
