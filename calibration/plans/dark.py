"""Dark frames: which exposures, and one set of each, after its first frame has been judged.

A cover left open would otherwise spoil forty frames of a minute each before anybody looks: so the rest of a set is
asked for only when its first frame is dark, and linear with a shorter one where the dark current is not known yet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from calibration.errors import CalibrationError, GroupCode
from calibration.frames import CaptureRequest, DarkSeen, FrameKind, FrameResult, GroupOutcome, Limits, Purpose
from calibration.plans.afterglow import wait_until_faded
from calibration.plans.darkness import dark_limits, darkest, learnt
from calibration.plans.ladder import quantise
from calibration.plans.retake import FRAMES_TO_JUDGE, SeriesTaken, take, take_first
from calibration.plans.settings import Darkness, ExposureState, Plan, outcome

PROBE_FROM_US = 200_000
"""Shorter darks need no second exposure: light that shows in them shows in level and gradient alone, or not at all."""

TELLING_FRACTION = 16
"""Light in an exposure shorter by this factor is as much fainter; a pedestal that moved is as high as ever."""
HIGHEST_PEDESTAL_ADU = 8000.0


class DarkUse(StrEnum):
    """What a dark time serves, in the order in which times are taken."""

    BIAS = "bias"
    FLAT = "flat"
    SCIENCE = "science"
    FACTOR = "factor"


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkTime:
    """One exposure time and everything it serves."""

    exposure_us: int
    why: tuple[DarkUse, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedTime:
    """A factor that leads outside min_exposure..max_exposure; no dark is taken for it."""

    exposure_us: int
    science_us: int
    factor: float

    def __str__(self) -> str:
        return f"{self.factor:g} × {self.science_us / 1e6:g} s = {self.exposure_us / 1e6:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTimes:
    """All dark times of a night in the order they are taken, and the factors that were dropped."""

    times: tuple[DarkTime, ...]
    clipped: tuple[ClippedTime, ...] = ()


def dark_exposures(
    min_exposure_us: int,
    flat_times_us: Iterable[int],
    science_times_us: Sequence[int],
    factors: Iterable[float],
    max_exposure_us: int,
    *,
    resolution_us: int = 1,
) -> PlannedTimes:
    """Return {min_exposure, flat times, science times, science x factors}, each time once.

    Parameters
    ----------
    min_exposure_us, max_exposure_us : int
        The range; the shorter end is the bias time and is always taken.
    flat_times_us : iterable of int
        Exposures the flats used; never clipped, as a flat without its dark is worth little.
    science_times_us : sequence of int
    factors : iterable of float
    resolution_us : int
        The camera's step of exposure.

    Raises
    ------
    CalibrationError
        A science time outside the range.
    """
    uses: dict[int, list[DarkUse]] = {}
    clipped: list[ClippedTime] = []

    def add(exposure_us: float, use: DarkUse) -> None:
        known = uses.setdefault(quantise(exposure_us, resolution_us), [])
        if use not in known:
            known.append(use)

    add(min_exposure_us, DarkUse.BIAS)
    for exposure_us in sorted(set(flat_times_us)):
        add(exposure_us, DarkUse.FLAT)
    for science_us in science_times_us:
        if not min_exposure_us <= science_us <= max_exposure_us:
            raise CalibrationError(
                f"science_exposure_time {science_us / 1e6:g} s lies outside "
                f"min_exposure..max_exposure = {min_exposure_us / 1e6:g}..{max_exposure_us / 1e6:g} s"
            )
        add(science_us, DarkUse.SCIENCE)
    for science_us, factor in sorted((s, f) for s in science_times_us for f in set(factors) if f != 1):
        exposure_us = round(science_us * factor)
        if min_exposure_us <= exposure_us <= max_exposure_us:
            add(exposure_us, DarkUse.FACTOR)
        else:
            clipped.append(ClippedTime(exposure_us=exposure_us, science_us=science_us, factor=factor))
    return PlannedTimes(times=tuple(_ordered(uses)), clipped=tuple(clipped))


def _ordered(uses: dict[int, list[DarkUse]]) -> list[DarkTime]:
    rank = {use: i for i, use in enumerate(DarkUse)}
    times = [DarkTime(exposure_us=t, why=tuple(why)) for t, why in uses.items()]
    return sorted(times, key=lambda d: (rank[d.why[0]], d.exposure_us))


def dark_plan(
    state: ExposureState,
    *,
    exposure_us: int,
    count: int,
    have: int = 0,
    darkness: Darkness,
    limits: Limits,
    set_id: str,
    wait_s: float = 0.0,
    fade_us: int | None = None,
) -> Plan[GroupOutcome]:
    """Take what is missing of a dark set; its first frame is judged before the rest is asked for.

    Parameters
    ----------
    state, exposure_us, count, have, limits, set_id, wait_s
        As for `calibration.plans.bias.bias_plan`.
    darkness : Darkness
        With `bias_adu` the level is judged against bias + expected dark; where `rate_adu_s` is not known, a test frame
        of a quarter of the exposure measures it, so that the two must be linear; `darkest` limits what it may measure.
    fade_us : int, optional
        After flats: exposure of the frames that are thrown away while what the flats left behind fades.

    Returns
    -------
    GroupOutcome
        With `darkest` for the sets that follow. `not_dark` after at most three frames, or while flats still glow;
        `setting_refused` when a short exposure is as bright; `too_many_refused` as for a bias.
    """
    missing = count - have
    if missing <= 0:
        return outcome(have, 0, wanted=count, exposure_us=exposure_us)
    request = state.request(
        FrameKind.DARK,
        Purpose.KEEP,
        exposure_us,
        count=count,
        filter=darkness.filter,
        cover=darkness.cover,
        wait_s=wait_s,
        limits=limits,
        set_id=set_id,
    )
    if fade_us is not None:
        fell = yield from wait_until_faded(request, fade_us)
        if fell is not None:
            detail = f"what the flats left behind still fades by {fell:.1f} ADU a frame (dark_capture.persistence_wait)"
            return outcome(have, 0, wanted=count, code=GroupCode.NOT_DARK, exposure_us=exposure_us, detail=detail)
        request = replace(request, wait_s=0.0)
    taken, why, seen = yield from _explained(request, missing, darkness)
    kept = have + taken.accepted
    ended = outcome(kept, taken.refused, wanted=count, code=taken.code, exposure_us=exposure_us, detail=why)
    return replace(ended, darkest=seen)


def _explained(
    request: CaptureRequest, missing: int, darkness: Darkness
) -> Plan[tuple[SeriesTaken, str, DarkSeen | None]]:
    """Take the darks; return with them why some were lost (light, or a pedestal that moved), and the darkest."""
    taken, darkness = yield from _judged(request, missing, darkness)
    moved = (yield from _moved_adu(request, taken, darkness)) if taken.code is GroupCode.NOT_DARK else None
    if moved is None:
        return taken, taken.reasons, darkest(darkness, taken.results)
    moved_so = f"{moved:+.0f} ADU in a short exposure as well: gain or offset are not what they read"
    return replace(taken, code=GroupCode.SETTING_REFUSED), f"{taken.reasons}; {moved_so}", None


def _moved_adu(request: CaptureRequest, taken: SeriesTaken, darkness: Darkness) -> Plan[float | None]:
    """Return by how much the pedestal is off, None where what makes the darks too bright is light after all."""
    if darkness.bias_adu is None or request.exposure_us < PROBE_FROM_US:
        return None
    excess = taken.results[-1].stats.level_adu - darkness.bias_adu
    exposure_us = quantise(request.exposure_us / TELLING_FRACTION)
    short = replace(request, purpose=Purpose.TEST, exposure_us=exposure_us, count=1, wait_s=0.0, limits=Limits())
    results = yield short
    if not results:
        return None
    level_adu = results[0].stats.level_adu
    moved = level_adu - darkness.bias_adu
    like_a_pedestal = moved > max(darkness.bias_tolerance_adu, excess / 2) and level_adu < HIGHEST_PEDESTAL_ADU
    return moved if like_a_pedestal else None


def _judged(request: CaptureRequest, missing: int, darkness: Darkness) -> Plan[tuple[SeriesTaken, Darkness]]:
    """Take a first frame that is dark, then the others like it; return with them what is known now."""
    limits, celsius = request.limits, request.set_temp_c
    tries = FRAMES_TO_JUDGE
    if _unknown(darkness, request.exposure_us):
        darkness, celsius = yield from _probe(request, darkness)
        request = replace(request, wait_s=0.0)
        tries -= 1
    request = replace(request, limits=dark_limits(limits, darkness, request.exposure_us, celsius))
    first = yield from take_first(request, tries)
    if first.code is not None or missing <= 1:
        return first, darkness
    request = replace(request, wait_s=0.0, limits=_like(first.results[-1], request.limits))
    rest = yield from take(request, missing - 1, refused=first.refused)
    return first.then(rest), darkness


def _unknown(darkness: Darkness, exposure_us: int) -> bool:
    return darkness.rate_adu_s is None and darkness.bias_adu is not None and exposure_us >= PROBE_FROM_US


def _probe(request: CaptureRequest, darkness: Darkness) -> Plan[tuple[Darkness, float | None]]:
    """Learn the dark current from a quarter of the exposure; return with it the temperature it was seen at."""
    exposure_us = quantise(request.exposure_us / 4)
    results = yield replace(request, purpose=Purpose.TEST, exposure_us=exposure_us, count=1)
    if not results:
        return replace(darkness, rate_adu_s=0.0), request.set_temp_c
    result = results[0]
    celsius = result.header.ccd_temp_c if result.header.ccd_temp_c is not None else request.set_temp_c
    known = learnt(darkness, result.stats, result.request.exposure_us, celsius)
    return replace(known, darkest=darkest(darkness, results)), celsius


def _like(first: FrameResult, limits: Limits) -> Limits:
    """Return limits for the frames after the first: its level within the same tolerance, and an end at a refusal."""
    limits = replace(limits, stop_early=True)
    if limits.pedestal_tolerance_adu is None:
        return limits
    return replace(limits, pedestal_adu=first.stats.level_adu)
