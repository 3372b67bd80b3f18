"""Equal frames until there are enough, or too many were refused: the part all constant series share."""

from collections import Counter
from dataclasses import dataclass, replace

from calibration.errors import FrameCode, GroupCode
from calibration.frames import CaptureRequest, FrameKind, FrameResult
from calibration.plans.settings import Plan, refusals_allowed

FRAMES_TO_JUDGE = 3
"""After so many suspect frames, one after the other, a dark set is given up: `not_dark` or `setting_refused`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesTaken:
    """What a series came to: frames accepted and refused in it, and why it was given up (None: it was not)."""

    accepted: int
    refused: int
    code: GroupCode | None
    results: tuple[FrameResult, ...]

    @property
    def reasons(self) -> str:
        """The refusals in words: `3 light_leak, 1 temperature_off`."""
        return reasons(self.results)

    def then(self, rest: "SeriesTaken") -> "SeriesTaken":
        """Return this beginning and the rest, which has counted the beginning's refusals already, as one series."""
        return replace(rest, accepted=self.accepted + rest.accepted, results=self.results + rest.results)


def take(request: CaptureRequest, wanted: int, *, refused: int = 0) -> Plan[SeriesTaken]:
    """Ask for all missing frames at once, and again for those refused, within the set's allowance.

    Parameters
    ----------
    request : CaptureRequest
        One frame of the series; its `count` is replaced.
    wanted : int
        Frames still missing.
    refused : int
        Frames of this set refused before.

    Returns
    -------
    SeriesTaken
        `code` is `too_many_refused`, or what most of the refused frames are suspected of.
    """
    count = max(wanted, request.count)
    results: tuple[FrameResult, ...] = ()
    accepted = spoiled = 0
    while accepted < wanted and spoiled < FRAMES_TO_JUDGE and not given_up(results, refused, count):
        answer = yield replace(request, count=wanted - accepted)
        good = sum(r.accepted for r in answer)
        accepted += good
        # an answer without any frame is counted as a refusal, or a dead camera would be asked for ever
        refused += len(answer) - good or (0 if good else 1)
        results += answer
        spoiled = (0 if good else spoiled) + any(suspicion(r) is not None for r in answer[-1:])
    code = None if accepted >= wanted else _why(results)
    return SeriesTaken(accepted=accepted, refused=refused, code=code, results=results)


def take_first(request: CaptureRequest, tries: int = FRAMES_TO_JUDGE) -> Plan[SeriesTaken]:
    """Take one good frame of a dark set, giving up after `tries` that are suspected of the same.

    Only the first of them waits.
    """
    results: tuple[FrameResult, ...] = ()
    refused = 0
    suspected: Counter[GroupCode] = Counter()
    while not given_up(results, refused, request.count):
        answer = yield replace(request, count=1)
        request = replace(request, wait_s=0.0)
        results += answer
        if any(r.accepted for r in answer):
            return SeriesTaken(accepted=1, refused=refused, code=None, results=results)
        refused += 1
        suspected += Counter(code for r in answer if (code := suspicion(r)) is not None)
        if suspected.total() >= tries:
            return SeriesTaken(accepted=0, refused=refused, code=suspected.most_common(1)[0][0], results=results)
    return SeriesTaken(accepted=0, refused=refused, code=GroupCode.TOO_MANY_REFUSED, results=results)


def suspicion(result: FrameResult) -> GroupCode | None:
    """Return what a refused dark frame speaks for: light (`not_dark`), a setting not kept, or neither.

    Light makes frames brighter; another gain or offset moves the pedestal either way, and of a bias, whose exposure is
    too short for stray light, nearly nothing else does.
    """
    codes = refusal_codes((result,)).keys()
    if FrameCode.LIGHT_LEAK in codes:
        return GroupCode.NOT_DARK
    if FrameCode.PEDESTAL_OFF not in codes:
        return None
    expected = result.request.limits.pedestal_adu
    if expected is None or FrameCode.CONSTANT in codes:
        return GroupCode.NOT_DARK
    brighter = result.stats.level_adu > expected
    return GroupCode.NOT_DARK if brighter and result.request.kind is FrameKind.DARK else GroupCode.SETTING_REFUSED


def refusal_codes(results: tuple[FrameResult, ...]) -> Counter[str]:
    """Return how often each code refused a frame."""
    return Counter(v.code for r in results for v in r.verdicts if v.refuses)


def reasons(results: tuple[FrameResult, ...]) -> str:
    """Return the refusals in words, the most frequent first."""
    return ", ".join(f"{n} {code}" for code, n in refusal_codes(results).most_common())


def given_up(results: tuple[FrameResult, ...], refused: int, count: int) -> bool:
    """Return whether a set of `count` frames has had its refusals: max(3, N/2) in all, max(3, N/5) by temperature.

    A sensor that leaves its set-point in a fifth of the frames is not held there: the others are not to be had either.
    """
    warm = refusal_codes(results)[FrameCode.TEMPERATURE_OFF]
    return refused > refusals_allowed(count) or warm > max(3, count // 5)


def _why(results: tuple[FrameResult, ...]) -> GroupCode:
    suspected = Counter(suspicion(r) for r in results if not r.accepted)
    for code, number in suspected.most_common(1):
        if code is not None and 2 * number > suspected.total():
            return code
    return GroupCode.TOO_MANY_REFUSED
