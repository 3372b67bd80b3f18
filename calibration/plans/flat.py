"""One filter's flats: search, confirm, settle, then a series of constant exposure that follows the lamp.

The exposure changes within a series only when waiting does not help, and then by the same search: every change costs
flat darks of its own. The frames stay one group, each dark-subtracted at its own exposure and scaled.
"""

import math
from dataclasses import dataclass, replace

from calibration.errors import FrameCode, GroupCode
from calibration.frames import CaptureRequest, FrameResult, GroupOutcome, Limits, Purpose
from calibration.plans.detector import Detector
from calibration.plans.exposure_search import SearchFailed, search
from calibration.plans.lamp import Steadiness, settle
from calibration.plans.rates import SATURATED_FRACTION
from calibration.plans.reach import Setting
from calibration.plans.retake import given_up, reasons, refusal_codes
from calibration.plans.settings import (
    ExposureState,
    FlatSetBegun,
    FlatSettings,
    FlatTask,
    LevelFound,
    Notify,
    PanelSettings,
    Plan,
    outcome,
    silent,
)

BATCH = 8
"""Frames asked for at once: the runner overlaps within a request, the lamp is looked at between them."""
MOVES = 6
"""Times a series may be interrupted to follow its lamp."""
PAUSE_S = 30.0
"""Given to a drifting lamp before its exposure is changed."""
NOISE_TOLERANCE = 0.05
LEVEL_CODES = frozenset({FrameCode.LEVEL_OFF, FrameCode.LAMP_DRIFT})


def flat_plan(
    settings: FlatSettings,
    detector: Detector,
    state: ExposureState,
    *,
    filter: str | None,  # noqa: A002 — the word of `CaptureRequest`
    panel: PanelSettings | None,
    have: FlatSetBegun | None = None,
    set_id: str,
    notify: Notify = silent,
) -> Plan[GroupOutcome]:
    """Take the flats of one filter, or what is missing of them.

    Parameters
    ----------
    settings : FlatSettings
    detector : Detector
        As measured in the same camera settings.
    state : ExposureState
    filter : str or None
    panel : PanelSettings or None
        None: light that nobody controls.
    have : FlatSetBegun, optional
        An incomplete set to be continued: its exposure and brightness are confirmed by a test frame (a second one
        after the lamp has settled) or the plan ends as `lamp_changed`.
    set_id : str
    notify : callable
        Told the facts of `flat.exposure_adjusted` and `flat.settled`.

    Returns
    -------
    GroupOutcome
        `accepted` includes those of `have`; `exposure_us` and `panel_brightness` are those of the last frames. Codes:
        too_bright, too_dim, resolution, no_convergence, unstable_lamp, lamp_changed, too_many_refused.
    """
    task = FlatTask(settings=settings, state=state, filter=filter, panel=panel, set_id=set_id, notify=notify)
    series = _Series(task, detector, have.accepted if have is not None else 0)
    if series.missing <= 0:
        return series.end()
    failure = yield from (series.begin() if have is None else series.resume(have))
    if failure is None:
        failure = yield from series.run()
    return series.end() if failure is None else series.end(failure.code, failure.detail)


@dataclass(frozen=True, slots=True)
class _Failure:
    code: GroupCode
    detail: str = ""


class _Series:
    """A flat set under way. Its sub-plans return None, or the failure that ends the set."""

    def __init__(self, task: FlatTask, detector: Detector, accepted: int) -> None:
        self.task = task
        self.detector = detector
        self.accepted = accepted
        self.refused = 0
        self.setting: Setting | None = None
        self.attempts = 0
        self.results: tuple[FrameResult, ...] = ()
        self.noise_adu: float | None = None
        self.noise_error = 0.0
        self._reference = 0.0
        self._gamma = 1.0

    @property
    def missing(self) -> int:
        """How many frames are still wanted."""
        return self.task.settings.num_flats - self.accepted

    def begin(self) -> Plan[_Failure | None]:
        """Search, settle, and search again from there if the settled lamp is not where the search left it."""
        wait_s = self.task.panel.warmup_s if self.task.panel is not None else 0.0
        failure = yield from self._search(None, wait_s)
        return failure or (yield from self._settle())

    def resume(self, have: FlatSetBegun) -> Plan[_Failure | None]:
        """Confirm the exposure and brightness the set was begun with."""
        self.setting = Setting(exposure_us=have.exposure_us, brightness=have.panel_brightness)
        wait_s = self.task.panel.warmup_s if self.task.panel is not None else 0.0
        results = yield self._request(Purpose.TEST, wait_s=wait_s)
        self.attempts = len(results)
        if results and self._fits(results[0].stats.level_adu, have):
            self._arrived(results[0].stats.level_adu)
            return None
        seen = yield from settle(self.task, self.detector, self.setting, self._limits(Purpose.TEST))
        if seen is None or not self._fits(seen.level_adu, have):
            found = "no frame" if seen is None else f"{seen.level_adu:.0f} ADU"
            return _Failure(GroupCode.LAMP_CHANGED, f"{found} where the set has {have.level_adu:.0f} ADU")
        self._arrived(seen.level_adu, seen)
        return None

    def run(self) -> Plan[_Failure | None]:
        """Take what is missing, following the lamp."""
        moves = 0
        while self.missing > 0:
            answer = yield self._request(Purpose.KEEP, count=min(BATCH, self.missing))
            self._count(answer)
            if self.missing > 0 and given_up(self.results, self.refused, self.task.settings.num_flats):
                return _Failure(self._why(), reasons(self.results))
            if self.missing > 0 and self._drifted(answer):
                moves += 1
                failure = yield from self._follow()
                if failure is not None or moves > MOVES:
                    return failure or _Failure(GroupCode.UNSTABLE_LAMP, f"level moved {moves} times within the series")
        return None

    def end(self, code: GroupCode | None = None, detail: str = "") -> GroupOutcome:
        """Return the outcome."""
        return outcome(
            self.accepted,
            self.refused,
            wanted=self.task.settings.num_flats,
            code=code,
            exposure_us=self.setting.exposure_us if self.setting else None,
            panel_brightness=self.setting.brightness if self.setting else None,
            detail=detail or reasons(self.results),
        )

    def _search(self, start: Setting | None, wait_s: float) -> Plan[_Failure | None]:
        found = yield from search(self.task, self.detector, start=start, gamma=self._gamma, wait_s=wait_s)
        self.detector = found.detector
        self.attempts += found.attempts
        self.setting = found.setting
        if isinstance(found, SearchFailed):
            return _Failure(found.code, found.detail)
        self._gamma = found.gamma
        self._reference = self._error(found.level_adu)
        return None

    def _settle(self) -> Plan[_Failure | None]:
        tolerance = self.task.settings.count_tolerance
        seen = yield from settle(self.task, self.detector, self._at, self._limits(Purpose.TEST))
        if seen is None:
            return _Failure(GroupCode.NO_CONVERGENCE, "no frame came back while the lamp settled")
        if seen.scatter > tolerance / 2:
            return _Failure(GroupCode.UNSTABLE_LAMP, f"levels scatter by {100 * seen.scatter:.1f} %")
        level_adu = seen.level_adu
        if abs(self._error(level_adu)) > tolerance / 3:
            failure = yield from self._search(self._at, 0.0)
            if failure is not None:
                return failure
            level_adu = self.detector.bias_adu + (1 + self._reference) * self._target
        self._arrived(level_adu, seen)
        return None

    def _follow(self) -> Plan[_Failure | None]:
        """Wait, look again, and move to the next exposure only if the level did not come back."""
        failure = yield from self._search(self._at, PAUSE_S)
        if failure is None:
            self._arrived(self.detector.bias_adu + (1 + self._reference) * self._target)
        return failure

    def _arrived(self, level_adu: float, seen: Steadiness | None = None) -> None:
        """Note where the series stands and announce it."""
        self._reference = self._error(level_adu)
        if seen is not None and seen.noise_adu is not None:
            # shot noise goes with the root of the signal, and the level wanted is not the one it was measured at
            then = seen.level_adu - self.detector.bias_adu
            self.noise_adu = seen.noise_adu * math.sqrt(self._target / then) if then > 0 else None
            self.noise_error = seen.noise_error
        self.task.notify(
            LevelFound(
                filter=self.task.filter,
                exposure_us=self._at.exposure_us,
                panel_brightness=self._at.brightness,
                attempts=self.attempts,
                level_adu=level_adu,
            )
        )

    def _count(self, answer: tuple[FrameResult, ...]) -> None:
        good = sum(r.accepted for r in answer)
        self.accepted += good
        # an answer without any frame is counted as a refusal, or a dead camera would be asked for ever
        self.refused += len(answer) - good or (0 if good else 1)
        self.results += answer

    def _drifted(self, answer: tuple[FrameResult, ...]) -> bool:
        """Whether the lamp moved away: judged by the last frame kept, or by a refused one where none was kept."""
        kept = [r for r in answer if r.accepted]
        off = [r for r in answer if not r.accepted and refusal_codes((r,)).keys() <= LEVEL_CODES]
        if not kept and not off:
            return False
        error = self._error((kept or off)[-1].stats.level_adu)
        third = self.task.settings.count_tolerance / 3
        if abs(error - self._reference) <= third:
            return False
        if abs(error) <= third:
            self._reference = error
            return False
        return True

    def _why(self) -> GroupCode:
        codes = refusal_codes(self.results)
        level = sum(n for code, n in codes.items() if code in LEVEL_CODES)
        return GroupCode.UNSTABLE_LAMP if 2 * level > sum(codes.values()) else GroupCode.TOO_MANY_REFUSED

    def _fits(self, level_adu: float, have: FlatSetBegun) -> bool:
        tolerance = self.task.settings.count_tolerance
        same = abs(level_adu - have.level_adu) <= tolerance * self._target
        return same and abs(self._error(level_adu)) <= tolerance / 2

    @property
    def _at(self) -> Setting:
        if self.setting is None:
            raise RuntimeError("no setting before the search")
        return self.setting

    @property
    def _target(self) -> float:
        """The level wanted, above the pedestal, in ADU."""
        return self.task.settings.target_count_rate * self.detector.range_adu

    def _error(self, level_adu: float) -> float:
        return (level_adu - self.detector.bias_adu) / self._target - 1

    def _request(self, purpose: Purpose, *, count: int = 1, wait_s: float = 0.0) -> CaptureRequest:
        return self.task.request(
            purpose,
            self._at.exposure_us,
            self._at.brightness,
            limits=self._limits(purpose),
            count=count,
            wait_s=wait_s,
        )

    def _limits(self, purpose: Purpose) -> Limits:
        base = replace(
            self.task.settings.limits, saturation_adu=self.detector.saturation_adu, pedestal_adu=self.detector.bias_adu
        )
        if purpose is not Purpose.KEEP:
            return base
        tolerance = self.task.settings.count_tolerance
        return replace(
            base,
            level_adu=self.detector.bias_adu + self._target,
            level_tolerance_adu=tolerance * self._target,
            max_saturated_fraction=SATURATED_FRACTION,
            noise_adu=self.noise_adu,
            noise_tolerance=NOISE_TOLERANCE + 6 * self.noise_error,
            stop_early=True,
        )
