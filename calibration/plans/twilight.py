"""Flats of the twilight sky: every frame gets its own exposure, because the light changes by the second.

The rate goes as R(t) = R0 e^(s t); an exposure that starts at rate R0 collects C = R0 (e^(s t) - 1) / s, hence
t = ln(1 + s C / R0) / s (Tyson & Gal 1993 for s). When and where to point is not decided here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from calibration.errors import GroupCode
from calibration.frames import Cover, FrameResult, GroupOutcome, Limits, Purpose
from calibration.plans.detector import Detector
from calibration.plans.ladder import middle, quantise, rungs
from calibration.plans.rates import LARGEST_STEP, SATURATED_FRACTION, point_of
from calibration.plans.retake import reasons
from calibration.plans.settings import (
    ExposureState,
    FlatSettings,
    FlatTask,
    LevelTried,
    Notify,
    PanelSettings,
    Plan,
    outcome,
    refusals_allowed,
    silent,
)

PRIOR_PER_S = math.log(2) / 180
"""Relative change of the sky per second before it has been measured: a factor of two in three minutes."""
STEEPEST_PER_S = math.log(2) / 30
SKY_TOLERANCE = 0.25
"""The least half-width about the target: sky flats are scaled one by one, so their levels need not be equal."""
REMEMBERED = 5
LONGEST_WAIT_S = 60.0
WAITS = 60
FIRST_GAP_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyPoint:
    """One frame of the sky: mid-exposure, and signal per second in ADU/s."""

    mid_at: datetime
    rate_adu_s: float


def sky_slope(points: Sequence[SkyPoint], prior_per_s: float) -> float:
    """Return s of R0 e^(s t) from the last points, the prior while they do not span ten seconds."""
    if len(points) < 2 or (points[-1].mid_at - points[0].mid_at).total_seconds() < 10:
        return prior_per_s
    at = np.array([(p.mid_at - points[0].mid_at).total_seconds() for p in points])
    logs = np.log([p.rate_adu_s for p in points])
    at -= at.mean()
    slope = float(np.sum(at * logs) / np.sum(at**2))
    return min(max(slope, -STEEPEST_PER_S), STEEPEST_PER_S)


def sky_exposure_s(signal_adu: float, rate_adu_s: float, slope_per_s: float) -> float:
    """Return the exposure that collects a signal from a rate at its start; infinite where the sky fades before.

    Examples
    --------
    >>> sky_exposure_s(1000.0, 100.0, 0.0)
    10.0
    >>> sky_exposure_s(1000.0, 100.0, -0.2)
    inf
    """
    linear = signal_adu / rate_adu_s
    grown = slope_per_s * linear
    if grown <= -1:
        return math.inf
    return linear if abs(grown) < 1e-9 else math.log1p(grown) / slope_per_s


def twilight_plan(
    settings: FlatSettings,
    detector: Detector,
    state: ExposureState,
    *,
    filter: str | None,  # noqa: A002 — the word of `CaptureRequest`
    dawn: bool,
    have: int = 0,
    set_id: str,
    cover: Cover = Cover.OPEN,
    notify: Notify = silent,
) -> Plan[GroupOutcome]:
    """Take sky flats of one filter, each with its own exposure.

    Parameters
    ----------
    settings : FlatSettings
        `count_tolerance` counts as at least 0.25 here.
    detector, state, filter, set_id, notify
        As for `calibration.plans.flat.flat_plan`.
    dawn : bool
        The sky brightens; else it fades.
    have : int
        Frames the set holds already.
    cover : Cover

    Returns
    -------
    GroupOutcome
        `too_dim` at dusk and `too_bright` at dawn end the filter, with the frames taken so far; the
        other two are waited for.
    """
    roof = PanelSettings(max_brightness=0, cover=cover)
    task = FlatTask(
        settings=settings, state=state, filter=filter, panel=roof, source="sky", set_id=set_id, notify=notify
    )
    sky = _Sky(settings, detector, dawn=dawn)
    allowed = refusals_allowed(settings.num_flats)
    accepted, refused, waits = have, 0, 0
    results: tuple[FrameResult, ...] = ()
    code: GroupCode | None = None
    while accepted < settings.num_flats and code is None:
        step = sky.next()
        code = step.code if waits < WAITS else GroupCode.NO_CONVERGENCE
        if code is not None:
            break
        waits = waits + 1 if step.purpose is Purpose.TEST else 0
        limits = _limits(settings, detector, step.purpose)
        answer = yield task.request(step.purpose, step.exposure_us, None, limits=limits, wait_s=step.wait_s)
        for result in answer:
            sky.see(result)
            notify(sky.tried(filter, result))
        if step.purpose is Purpose.KEEP:
            good = sum(r.accepted for r in answer)
            accepted, refused, results = accepted + good, refused + (not good), results + answer
            code = GroupCode.TOO_MANY_REFUSED if refused > allowed else None
    last_us = results[-1].request.exposure_us if results else None
    return outcome(
        accepted, refused, wanted=settings.num_flats, code=code, exposure_us=last_us, detail=reasons(results)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    purpose: Purpose
    exposure_us: int
    wait_s: float = 0.0
    code: GroupCode | None = None


class _Sky:
    """What the frames said of the sky so far, and the exposure that follows."""

    def __init__(self, settings: FlatSettings, detector: Detector, *, dawn: bool) -> None:
        self.settings = settings
        self.detector = detector
        self.dawn = dawn
        self.low_us = max(settings.min_exposure_us, detector.exposure_min_us)
        self.high_us = max(self.low_us, min(settings.max_exposure_us, detector.exposure_max_us))
        start = settings.start_exposure_us or middle(self.low_us, self.high_us)
        self.exposure_us = self._ladder(start)
        self.target_adu = settings.target_count_rate * detector.range_adu
        self.points: tuple[SkyPoint, ...] = ()
        self.gap_s = FIRST_GAP_S
        self._blind = 0
        self._free_at: datetime | None = None

    def see(self, result: FrameResult) -> None:
        """Take in a frame."""
        exposure_s = result.request.exposure_us / 1e6
        start = result.stats.mid_at - timedelta(seconds=exposure_s / 2)
        if self._free_at is not None:
            self.gap_s = max(0.0, (start - self._free_at).total_seconds() - result.request.wait_s)
        self._free_at = start + timedelta(seconds=exposure_s)
        point = point_of(result, self.detector)
        self._blind = 1 if point.faint else -1 if point.saturated else 0
        if point.is_measured:
            seen = SkyPoint(mid_at=result.stats.mid_at, rate_adu_s=point.signal_adu / exposure_s)
            self.points = (*self.points, seen)[-REMEMBERED:]
        else:
            self.points = ()

    def next(self) -> _Step:
        """Return the next frame, or the code that ends the filter."""
        if not self.points or self._free_at is None:
            return self._grope()
        slope = sky_slope(self.points, PRIOR_PER_S if self.dawn else -PRIOR_PER_S)
        start = self._free_at + timedelta(seconds=self.gap_s)
        last = self.points[-1]
        rate = last.rate_adu_s * math.exp(slope * (start - last.mid_at).total_seconds())
        exposure_us = sky_exposure_s(self.target_adu, rate, slope) * 1e6
        if self.low_us <= exposure_us <= self.high_us:
            self.exposure_us = self._ladder(exposure_us)
            return _Step(purpose=Purpose.KEEP, exposure_us=self.exposure_us)
        return self._outside(too_bright=exposure_us < self.low_us, ratio=exposure_us / self.low_us)

    def tried(self, filter_name: str | None, result: FrameResult) -> LevelTried:
        """Return the level of a frame."""
        return LevelTried(
            filter=filter_name,
            exposure_us=result.request.exposure_us,
            panel_brightness=None,
            level_adu=result.stats.level_adu,
            target_adu=self.detector.bias_adu + self.target_adu,
            attempt=len(self.points),
        )

    def _grope(self) -> _Step:
        """Without a rate: a tenth or ten times the exposure; at a limit, wait or give up."""
        wanted = self.exposure_us * LARGEST_STEP**self._blind
        at_limit = (self._blind < 0 and self.exposure_us <= self._ladder(self.low_us)) or (
            self._blind > 0 and self.exposure_us >= self._ladder(self.high_us)
        )
        if at_limit:
            return self._outside(too_bright=self._blind < 0, ratio=0.0)
        self.exposure_us = self._ladder(wanted)
        return _Step(purpose=Purpose.TEST, exposure_us=self.exposure_us)

    def _outside(self, *, too_bright: bool, ratio: float) -> _Step:
        """Wait where the sky comes our way (bright dusk, dim dawn), else end."""
        self.exposure_us = self._ladder(self.low_us if too_bright else self.high_us)
        if too_bright == self.dawn:
            code = GroupCode.TOO_BRIGHT if too_bright else GroupCode.TOO_DIM
            return _Step(purpose=Purpose.TEST, exposure_us=self.exposure_us, code=code)
        coming = -math.log(ratio) / PRIOR_PER_S if 0 < ratio < 1 else LONGEST_WAIT_S
        wait_s = min(max(coming, 5.0), LONGEST_WAIT_S)
        return _Step(purpose=Purpose.TEST, exposure_us=self.exposure_us, wait_s=wait_s)

    def _ladder(self, exposure_us: float) -> int:
        """Return the ladder's nearest time: sky flats of many exposures shall need few dark times."""
        step = self.detector.exposure_resolution_us
        times = rungs(self.low_us, self.high_us, step)
        return min(times, key=lambda t: abs(math.log(t / exposure_us)), default=quantise(self.low_us, step))


def _limits(settings: FlatSettings, detector: Detector, purpose: Purpose) -> Limits:
    limits = replace(settings.limits, saturation_adu=detector.saturation_adu, pedestal_adu=detector.bias_adu)
    if purpose is not Purpose.KEEP:
        return limits
    signal = settings.target_count_rate * detector.range_adu
    return replace(
        limits,
        level_adu=detector.bias_adu + signal,
        level_tolerance_adu=max(settings.count_tolerance, SKY_TOLERANCE) * signal,
        max_saturated_fraction=SATURATED_FRACTION,
    )
