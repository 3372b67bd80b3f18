"""The biases and darks of one state: biases first, then the times of the flats just taken, science times, factors."""

from collections.abc import Iterable

from calibration.frames import FrameKind, GroupOutcome, us
from calibration.plans.bias import bias_plan
from calibration.plans.dark import DarkTimes as PlannedTimes
from calibration.plans.dark import dark_plan, dark_rate
from calibration.plans.sequence import WantedSet
from calibration.plans.settings import Darkness, Plan
from services.errors import RunCode
from services.storage.rows import SetRow
from services.workflow.campaign import (
    State,
    base_limits,
    dark_sets,
    dark_times,
    exposure_state,
)
from services.workflow.context import RunContext, missing
from services.workflow.detector import darkness
from services.workflow.flats import flat_times_us
from services.workflow.have import Having
from services.workflow.options import DarkTimes, Step
from services.workflow.phases import Phase, Phases

ASSUMED_FLAT_US = 1_000_000
"""The flats' exposure where there are no flats to ask (the guide's default)."""


def foreseen_darks(context: RunContext, state: State) -> tuple[WantedSet, ...]:
    """Return the biases and darks of a state that are known before its flats are taken."""
    times = _times(context, flat_times_us(context, state))
    return dark_sets(context.config, state, times, context.options.dark_times)


def take_biases(context: RunContext, phases: Phases, state: State) -> None:
    """Take the biases of a state that are missing: before the flats, so that no lamp has shone on the sensor yet."""
    _take(context, phases, state, dark_sets(context.config, state, _times(context, ()), DarkTimes.BIAS))


def take_darks(context: RunContext, phases: Phases, state: State, *, after_flats_s: float = 0.0) -> None:
    """Take the biases and darks of a state that are missing.

    Parameters
    ----------
    after_flats_s : float
        Seconds still to wait before the first dark, while charge that bright flats left in the sensor decays.
    """
    times = _times(context, _flat_times(context, state))
    for clipped in times.clipped:
        context.warn(RunCode.EXPOSURE_CLIPPED, str(clipped))
    sets = dark_sets(context.config, state, times, context.options.dark_times)
    _take(context, phases, state, sets, wait_s=after_flats_s)


def _take(context: RunContext, phases: Phases, state: State, sets: Iterable[WantedSet], *, wait_s: float = 0.0) -> None:
    for wanted in sets:
        there = missing(context, wanted)
        if there is not None:
            phases.enter(Phase.DARKS)
            _take_set(context, state, wanted, there, wait_s)
            wait_s = 0.0


def _take_set(context: RunContext, state: State, wanted: WantedSet, there: Having, wait_s: float) -> None:
    camera = exposure_state(context.config, state)
    exposure_us = wanted.exposure_us or 0
    limits = base_limits(context.config)

    def plan(set_id: str, row: SetRow | None) -> Plan[GroupOutcome]:
        make = bias_plan if wanted.kind is FrameKind.BIAS else dark_plan
        return make(
            camera,
            exposure_us=exposure_us,
            count=wanted.count,
            have=0 if row is None else row.count,
            darkness=_darkness_known(context, wanted),
            limits=limits,
            set_id=set_id,
            wait_s=wait_s,
        )

    context.take(wanted, there, plan)


def _darkness_known(context: RunContext, wanted: WantedSet) -> Darkness:
    if wanted.kind is FrameKind.BIAS:
        return darkness(context)
    bias_adu = _bias_level(context, wanted)
    return darkness(context, bias_adu=bias_adu, rate_adu_s=_rate(context, wanted, bias_adu))


def _bias_level(context: RunContext, wanted: WantedSet) -> float | None:
    """Return the pedestal of these settings, from the newest bias set."""
    match = context.match(_like(wanted, FrameKind.BIAS))
    sets = [s for s in context.catalogue.sets(FrameKind.BIAS) if match.fits(s.key)]
    return sets[0].mean_level_adu if sets else None


def _rate(context: RunContext, wanted: WantedSet, bias_adu: float | None) -> float | None:
    """Return the dark current in ADU/s, from earlier darks of these settings."""
    if bias_adu is None:
        return None
    match = context.match(_like(wanted, FrameKind.DARK))
    sets = [s for s in context.catalogue.sets(FrameKind.DARK) if match.fits(s.key)]
    known = [
        (s.exposure_us, s.mean_level_adu) for s in sets if s.exposure_us is not None and s.mean_level_adu is not None
    ]
    return dark_rate(bias_adu, known)


def _like(wanted: WantedSet, kind: FrameKind) -> WantedSet:
    return WantedSet(kind=kind, count=1, why=(), gain=wanted.gain, set_temp_c=wanted.set_temp_c)


def _times(context: RunContext, flat_times: Iterable[int]) -> PlannedTimes:
    info = context.session.camera_info
    minimum_us = us(info.exposure_min_s)
    wanted_us = us(context.config.dark_capture.min_exposure)
    if minimum_us > wanted_us:
        detail = f"min_exposure {wanted_us / 1e6:g} s is raised to the camera's shortest, {minimum_us / 1e6:g} s"
        context.warn(RunCode.EXPOSURE_CLIPPED, detail)
    step_us = max(1, us(info.exposure_resolution_s))
    return dark_times(context.config, flat_times, minimum_us=minimum_us, resolution_us=step_us)


def _flat_times(context: RunContext, state: State) -> tuple[int, ...]:
    """Return the exposures of flats that need darks: configured, else those there are, else an assumed one."""
    configured = context.config.dark_capture.flat_exposure_time
    if configured is not None:
        return (us(configured),)
    times = flat_times_us(context, state)
    alone = Step.FLATS not in context.options.steps
    if times or not state.flats or not alone or context.options.dark_times is not DarkTimes.ALL:
        return times
    context.warn(RunCode.FLAT_EXPOSURE_ASSUMED, "darks for flats of 1.0 s are taken")
    return (ASSUMED_FLAT_US,)
