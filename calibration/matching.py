"""Which dark, bias or flat serves which frames: the best candidate, and a reason for every other one.

What must be equal is equal or the candidate is refused; among the rest the nearest in exposure, temperature and time
is chosen, then the one of more frames, then by name. Nothing depends on the order of the candidates, nothing is taken
for want of better: with no fitting candidate `chosen` is None and the report says why.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from calibration.frames import FrameKind, GroupKey
from calibration.grouping import DEFAULT_TOLERANCES, Tolerances, same_exposure

_EQUAL = ("camera", "shape", "binning", "origin", "gain", "offset", "readout_mode", "row_order")
_ROTATOR_DEG = 1.0
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A master, or a group of frames, that might serve.

    Attributes
    ----------
    name : str
        Unique; the last resort between equals.
    key : GroupKey
        Its group; `key.exposure_us` and `key.temperature_c` are those of its frames.
    n : int
        Frames in it.
    at : datetime or None
        When it was taken or built, UTC.
    own : bool
        Whether nightcal took its frames, so that exposures are exact.
    usable : bool
        False when it has been marked bad.
    """

    name: str
    key: GroupKey
    n: int = 1
    at: datetime | None = None
    own: bool = True
    usable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A candidate that was not chosen, and why in words."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchReport:
    """The outcome of a search. `score` of the chosen: 0 is a perfect match, 1 the edge of what is allowed."""

    chosen: Candidate | None
    score: float | None
    refused: tuple[Refusal, ...]

    def __str__(self) -> str:
        """Return one line for a log: what serves, or why nothing does."""
        if self.chosen is not None:
            return f"{self.chosen.name} (score {self.score:.3f})"
        reasons = "; ".join(f"{refusal.candidate.name}: {refusal.reason}" for refusal in self.refused)
        return f"none of {len(self.refused)}: {reasons}" if reasons else "none: no candidates"


def match_dark(
    wanted: GroupKey,
    exposure_us: int,
    candidates: Iterable[Candidate],
    *,
    temperature_c: float | None = None,
    own: bool = True,
    at: datetime | None = None,
    tolerances: Tolerances = DEFAULT_TOLERANCES,
) -> MatchReport:
    """Find the dark for frames of one exposure time. A bias of that very exposure is a dark too.

    Parameters
    ----------
    wanted : GroupKey
        The frames to be served: flats, lights or darks.
    exposure_us : int
        Their exposure.
    candidates : iterable of Candidate
        Darks and biases.
    temperature_c : float, optional
        Their temperature; by default that of `wanted`. Unknown fits only unknown.
    own : bool
        Whether nightcal took them: with own darks the exposure must then be equal.
    at : datetime, optional
        When they were taken; the nearest in time is preferred.
    tolerances : Tolerances
        `cluster_c` is the greatest difference of temperature.
    """
    wanted_temperature = wanted.temperature_c if temperature_c is None else temperature_c

    def refuse(c: Candidate) -> str | None:
        if c.key.kind not in {FrameKind.DARK, FrameKind.BIAS}:
            return f"a {c.key.kind.value}, no DARK"
        found = c.key.exposure_us
        if found is None or not same_exposure(found, exposure_us, exact=own and c.own, tolerances=tolerances):
            return f"exposure {_seconds(found)}, wanted {_seconds(exposure_us)}"
        return _temperature_refusal(c.key.temperature_c, wanted_temperature, tolerances)

    def score(c: Candidate) -> float:
        allowed = max(tolerances.exposure_us, tolerances.exposure_relative * exposure_us)
        exposure = abs((c.key.exposure_us or 0) - exposure_us) / allowed
        return (exposure + _temperature_score(c, wanted_temperature, tolerances) + _age_score(c, at)) / 3

    return _match(wanted, candidates, refuse, score)


def match_bias(
    wanted: GroupKey,
    candidates: Iterable[Candidate],
    *,
    temperature_c: float | None = None,
    at: datetime | None = None,
    tolerances: Tolerances = DEFAULT_TOLERANCES,
) -> MatchReport:
    """Find the bias for frames, whatever their exposure. Parameters as those of `match_dark`."""
    wanted_temperature = wanted.temperature_c if temperature_c is None else temperature_c

    def refuse(c: Candidate) -> str | None:
        if c.key.kind is not FrameKind.BIAS:
            return f"a {c.key.kind.value}, no BIAS"
        return _temperature_refusal(c.key.temperature_c, wanted_temperature, tolerances)

    def score(c: Candidate) -> float:
        return (_temperature_score(c, wanted_temperature, tolerances) + _age_score(c, at)) / 2

    return _match(wanted, candidates, refuse, score)


def _match(
    wanted: GroupKey,
    candidates: Iterable[Candidate],
    refuse: Callable[[Candidate], str | None],
    score: Callable[[Candidate], float],
) -> MatchReport:
    refused: list[Refusal] = []
    fitting: list[tuple[float, Candidate]] = []
    for candidate in sorted(candidates, key=lambda c: c.name):
        reason = _general_refusal(wanted, candidate) or refuse(candidate)
        if reason is not None:
            refused.append(Refusal(candidate=candidate, reason=reason))
        else:
            fitting.append((score(candidate), candidate))
    # Equal scores: a dark before a bias, more frames, the newer, the name.
    fitting.sort(
        key=lambda found: (
            found[0],
            found[1].key.kind is FrameKind.BIAS,
            -found[1].n,
            -(found[1].at.timestamp() if found[1].at else 0.0),
            found[1].name,
        )
    )
    if not fitting:
        return MatchReport(chosen=None, score=None, refused=tuple(refused))
    best, chosen = fitting[0]
    outranked = (
        Refusal(candidate=c, reason=f"fits (score {s:.3f}), {chosen.name} is preferred ({best:.3f})")
        for s, c in fitting[1:]
    )
    return MatchReport(chosen=chosen, score=best, refused=(*outranked, *refused))


def _general_refusal(wanted: GroupKey, candidate: Candidate) -> str | None:
    if not candidate.usable:
        return "marked bad"
    for name in _EQUAL:
        found, asked = getattr(candidate.key, name), getattr(wanted, name)
        if found != asked:
            return f"{name} {_shown(found)}, wanted {_shown(asked)}"
    return None


def _temperature_refusal(found: float | None, wanted: float | None, tolerances: Tolerances) -> str | None:
    if found is None and wanted is None:
        return None
    if found is None or wanted is None or abs(found - wanted) > tolerances.cluster_c + 1e-9:
        return f"temperature {_degrees(found)}, wanted {_degrees(wanted)}"
    return None


def _temperature_score(candidate: Candidate, wanted: float | None, tolerances: Tolerances) -> float:
    found = candidate.key.temperature_c
    return 0.0 if found is None or wanted is None else abs(found - wanted) / tolerances.cluster_c


def _age_score(candidate: Candidate, at: datetime | None) -> float:
    """Return 0 for the same moment, a half for a month apart, and never 1: age alone refuses nothing here."""
    if at is None or candidate.at is None:
        return 0.0
    days = abs((candidate.at - at).total_seconds()) / _DAY_S
    return days / (days + 30)


def _shown(value: object) -> str:
    return "unknown" if value is None else str(value)


def _seconds(exposure_us: int | None) -> str:
    return "unknown" if exposure_us is None else f"{exposure_us / 1e6:g} s"


def _degrees(celsius: float | None) -> str:
    return "unknown" if celsius is None else f"{celsius:g} C"
