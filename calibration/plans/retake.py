"""Equal frames until there are enough, or too many were refused: the part all constant series share."""

from collections import Counter
from dataclasses import dataclass, replace

from calibration.errors import FrameCode, GroupCode
from calibration.frames import CaptureRequest, FrameResult
from calibration.plans.settings import Plan, refusals_allowed

LIGHT_CODES = frozenset({FrameCode.LIGHT_LEAK, FrameCode.PEDESTAL_OFF})
"""Refusals that light on a dark frame causes."""
FRAMES_TO_JUDGE = 3
"""After so many frames that light spoiled, one after the other, it is `not_dark`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a series came to: frames accepted and refused in it, and why it was given up (None: it was not)."""

    accepted: int
    refused: int
    code: GroupCode | None
    results: tuple[FrameResult, ...]

    @property
    def reasons(self) -> str:
        """The refusals in words: `3 light_leak, 1 temperature_off`."""
        return reasons(self.results)

    def then(self, rest: "Taken") -> "Taken":
        """Return this beginning and the rest, which has counted the beginning's refusals already, as one series."""
        return replace(rest, accepted=self.accepted + rest.accepted, results=self.results + rest.results)


def take(request: CaptureRequest, wanted: int, *, refused: int = 0) -> Plan[Taken]:
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
    Taken
        `code` is `too_many_refused`, or `not_dark` where light explains most of the refusals.
    """
    allowed = refusals_allowed(max(wanted, request.count))
    results: tuple[FrameResult, ...] = ()
    accepted = spoiled = 0
    while accepted < wanted and refused <= allowed and spoiled < FRAMES_TO_JUDGE:
        answer = yield replace(request, count=wanted - accepted)
        good = sum(r.accepted for r in answer)
        accepted += good
        # an answer without any frame is counted as a refusal, or a dead camera would be asked for ever
        refused += len(answer) - good or (0 if good else 1)
        results += answer
        spoiled = (0 if good else spoiled) + bool(LIGHT_CODES & refusal_codes(answer[-1:]).keys())
    code = None if accepted >= wanted else _why(results)
    return Taken(accepted=accepted, refused=refused, code=code, results=results)


def take_first(request: CaptureRequest, tries: int = FRAMES_TO_JUDGE) -> Plan[Taken]:
    """Take one good frame of a dark set, giving up as `not_dark` after `tries` that light spoiled.

    Only the first of them waits.
    """
    allowed = refusals_allowed(request.count)
    results: tuple[FrameResult, ...] = ()
    refused = spoiled = 0
    while refused <= allowed:
        answer = yield replace(request, count=1)
        request = replace(request, wait_s=0.0)
        results += answer
        if any(r.accepted for r in answer):
            return Taken(accepted=1, refused=refused, code=None, results=results)
        refused += 1
        spoiled += bool(LIGHT_CODES & refusal_codes(answer).keys())
        if spoiled >= tries:
            return Taken(accepted=0, refused=refused, code=GroupCode.NOT_DARK, results=results)
    return Taken(accepted=0, refused=refused, code=GroupCode.TOO_MANY_REFUSED, results=results)


def refusal_codes(results: tuple[FrameResult, ...]) -> Counter[str]:
    """Return how often each code refused a frame."""
    return Counter(v.code for r in results for v in r.verdicts if v.refuses)


def reasons(results: tuple[FrameResult, ...]) -> str:
    """Return the refusals in words, the most frequent first."""
    return ", ".join(f"{n} {code}" for code, n in refusal_codes(results).most_common())


def _why(results: tuple[FrameResult, ...]) -> GroupCode:
    codes = refusal_codes(results)
    light = sum(n for code, n in codes.items() if code in LIGHT_CODES)
    return GroupCode.NOT_DARK if 2 * light > sum(codes.values()) else GroupCode.TOO_MANY_REFUSED
