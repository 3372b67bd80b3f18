"""The search for the exposure and panel brightness that put a flat at its level.

The setting follows from the rate that the test frames measure (`rates`), within what is allowed (`reach`). A level
counts when a second frame confirms it. Every way out has a name and the number of test frames is bounded: there is no
loop.
"""

from dataclasses import dataclass, replace

from calibration.errors import FrameCode, GroupCode
from calibration.frames import FrameResult, Purpose
from calibration.plans.detector import Detector
from calibration.plans.rates import AGREEMENT, Point, Rates
from calibration.plans.reach import Setting, reach_of
from calibration.plans.retake import reasons
from calibration.plans.settings import BrightnessIdle, FlatTask, LevelTried, Plan

BROKEN = frozenset({FrameCode.PARTIAL, FrameCode.DUPLICATE_FRAME, FrameCode.TOO_FAST, FrameCode.SIZE_CHANGED})
"""Refusals of a test frame that make its level worthless."""

MOSTLY_SATURATED = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Where the search came to rest.

    Attributes
    ----------
    setting : Setting
    level_adu : float
        Of the confirming frame, pedestal included.
    attempts : int
        Test frames taken.
    detector : Detector
        As given, or with the saturation that the search had to correct.
    gamma : float
        The panel's exponent as found, for a search that goes on from here.
    """

    setting: Setting
    level_adu: float
    attempts: int
    detector: Detector
    gamma: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFailed:
    """Why there is no exposure: a code of `GroupCode`, and the last frame's setting and level."""

    code: GroupCode
    attempts: int
    detector: Detector
    setting: Setting
    level_adu: float | None
    detail: str


def search(
    task: FlatTask, detector: Detector, *, start: Setting | None = None, gamma: float = 1.0, wait_s: float = 0.0
) -> Plan[Settled | SearchFailed]:
    """Find the exposure (and brightness) of a flat by test frames.

    Parameters
    ----------
    task : FlatTask
        Told `flat.exposure_adjusted` after each test frame.
    detector : Detector
    start : Setting, optional
        Where to begin; None: as the settings say.
    gamma : float
        The panel's exponent, from an earlier search.
    wait_s : float
        Waited before the first frame.

    Returns
    -------
    Settled or SearchFailed
        Failed as `too_bright`, `too_dim`, `resolution` (the camera's steps are too coarse), `unstable_lamp` (frames of
        one setting disagreed), `too_many_refused` (most test frames were damaged or old) or `no_convergence`.
    """
    hunt = _Hunt(task, detector, start, gamma)
    for attempt in range(1, max(2, task.settings.max_adjustment_attempts) + 1):
        here, known = hunt.here, hunt.rates.detector
        # the saturation goes along for the fraction of saturated pixels; the level is what is being looked for
        limits = replace(task.settings.limits, saturation_adu=known.saturation_adu)
        results = yield task.request(
            Purpose.TEST, here.exposure_us, here.brightness, limits=limits, wait_s=wait_s if attempt == 1 else 0.0
        )
        hunt.attempts = attempt
        if not results or is_broken(results[0], known):
            hunt.broken += results
            continue
        was_idle, end = hunt.rates.idle, hunt.decide(results[0])
        task.notify(hunt.seen())
        if hunt.rates.idle is not None and was_idle is None:
            task.notify(BrightnessIdle(filter=task.filter, brightness=hunt.rates.idle))
        if end is not None:
            return end
    return hunt.given_up()


def is_broken(result: FrameResult, detector: Detector) -> bool:
    """Whether a test frame's level is worthless.

    A saturated sensor repeats itself, line by line and frame by frame; that is no defect but what is to be learnt.
    """
    stats = result.stats
    if stats.level_adu >= stats.max_adu - stats.step_adu or stats.saturated_fraction > MOSTLY_SATURATED:
        return stats.level_adu < detector.bias_adu
    return any(v.refuses and v.code in BROKEN for v in result.verdicts)


class _Hunt:
    """One search under way: where it stands, and the frame that waits to be confirmed."""

    def __init__(self, task: FlatTask, detector: Detector, start: Setting | None, gamma: float) -> None:
        self.task = task
        self.tolerance = task.settings.count_tolerance
        reach = reach_of(task.settings, detector, task.panel)
        self.rates = Rates(task.settings, detector, reach, gamma, task.filter)
        first = reach.start(task.settings.start_exposure_us, task.panel.start_brightness if task.panel else None)
        self.here = start or first
        self.attempts = 0
        self.broken: tuple[FrameResult, ...] = ()
        self.point: Point | None = None
        self.level_adu: float | None = None
        self._pending: Point | None = None
        self._loose = False

    @property
    def measured(self) -> Setting:
        """The setting of the last level that was seen; `here` may already be the next one to try."""
        return self.here if self.point is None else self.point.setting

    def decide(self, result: FrameResult) -> Settled | SearchFailed | None:
        """Take in a frame of the present setting: the end, or None after the next setting was chosen."""
        self.point = point = self.rates.see(result)
        self.rates.reach.learn(self.here.exposure_us, point.setting.exposure_us)
        self.here = replace(self.here, exposure_us=point.setting.exposure_us)
        self.level_adu = result.stats.level_adu
        if self._pending is not None and point.is_measured:
            agrees = abs(point.signal_adu / self._pending.signal_adu - 1) <= min(AGREEMENT, self.tolerance)
            if agrees and self._inside(self.tolerance if self._loose else self.tolerance / 2):
                return self._settled()
            if not agrees:
                self.rates.contradictions += 1
                self.rates.forget()
        self._pending, self._loose = None, False
        if self._inside(self.tolerance / 2):
            self._pending = point
            return None
        return self._move()

    def _move(self) -> SearchFailed | None:
        """Go to the next setting; where nothing nearer can be set, the whole tolerance has to do."""
        there = self.rates.next()
        if there != self.here:
            self.here = there
            return None
        if not self._inside(self.tolerance):
            return self._failed(self._stuck())
        self._pending, self._loose = self.point, True
        return None

    def _inside(self, tolerance: float) -> bool:
        return self.point is not None and self.point.is_measured and abs(self.rates.error(self.point)) <= tolerance

    def _stuck(self) -> GroupCode:
        point, reach = self.point, self.rates.reach
        low = point is not None and not point.saturated and self.rates.error(point) < 0
        if low and reach.longest(self.here):
            return GroupCode.TOO_DIM
        if not low and reach.shortest(self.here):
            return GroupCode.TOO_BRIGHT
        return GroupCode.UNSTABLE_LAMP if self.rates.passed(self.tolerance) else GroupCode.RESOLUTION

    def _settled(self) -> Settled:
        return Settled(
            setting=self.here,
            level_adu=self.level_adu or 0.0,
            attempts=self.attempts,
            detector=self.rates.detector,
            gamma=self.rates.gamma,
        )

    def _failed(self, code: GroupCode) -> SearchFailed:
        target_adu = self.rates.target_adu + self.rates.detector.bias_adu
        level = "no usable frame" if self.level_adu is None else f"{self.level_adu:.0f} ADU"
        lamp = "" if self.measured.brightness is None else f" at brightness {self.measured.brightness}"
        return SearchFailed(
            code=code,
            attempts=self.attempts,
            detector=self.rates.detector,
            setting=self.measured,
            level_adu=self.level_adu,
            detail=f"{level} at {self.measured.exposure_us / 1e6:g} s{lamp}, wanted {target_adu:.0f} ADU "
            f"(saturation {self.rates.detector.saturation_adu:.0f} ADU, {self.rates.detector.saturation_source})",
        )

    def given_up(self) -> SearchFailed:
        """Return the failure of a search that used all its frames: that of the camera, where it spoilt most of them."""
        if 2 * len(self.broken) > self.attempts:
            return replace(self._failed(GroupCode.TOO_MANY_REFUSED), detail=reasons(self.broken))
        return self._failed(GroupCode.UNSTABLE_LAMP if self.rates.unsteady else GroupCode.NO_CONVERGENCE)

    def seen(self) -> LevelTried:
        """Return the level of the frame just seen."""
        return LevelTried(
            filter=self.task.filter,
            exposure_us=self.measured.exposure_us,
            panel_brightness=self.measured.brightness,
            level_adu=self.level_adu,
            target_adu=self.rates.target_adu + self.rates.detector.bias_adu,
            attempt=self.attempts,
        )
