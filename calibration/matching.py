"""The one rule for what serves: a question held against group keys, field by field, with a reason for every refusal.

`RULES` declares how each field of a group key is compared. Masters for flats and lights, masters that a person asks the
library for, and sets that a run continues are all found by it. A question names the fields that matter to it: a field
that it does not name may have any value, and a field named with None fits only keys in which that is unknown.

Nothing depends on the order of the candidates and nothing is taken for want of better: when no candidate fits, `chosen`
is None and the report says why.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any

from calibration.frames import FrameKind, GroupKey
from calibration.grouping import DEFAULT_TOLERANCES, Tolerances, same_exposure

Question = Mapping[str, Any]
"""Wanted values by the names of the fields of `GroupKey`."""

_DAY_S = 86_400.0
_ROUNDING = 1e-9


class Comparison(StrEnum):
    """How two values of a field are compared. Missing is not 0 and fits only missing."""

    EQUAL = "equal"
    EXPOSURE = "exposure"
    """Equal between frames of our own, else within `Tolerances.exposure_us` or `exposure_relative`."""
    TEMPERATURE = "temperature"
    """Within `Tolerances.cluster_c`."""
    ANGLE = "angle"
    """Within `Tolerances.angle_deg`, around the circle."""
    IF_KNOWN = "if known"
    """Equal, or unknown on one side: masters of older versions do not say it."""


_WITHOUT_DISTANCE = (Comparison.EQUAL, Comparison.IF_KNOWN)


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field is compared, and whether masters that differ in it can stand in for each other.

    Attributes
    ----------
    comparison : Comparison
    decisive : bool
        False where masters that differ in the field are still substitutes: it counts only when it is asked for.
    """

    comparison: Comparison = Comparison.EQUAL
    decisive: bool = True


_SETTINGS = {
    name: Rule()
    for name in ("camera", "shape", "binning", "origin", "gain", "offset", "readout_mode", "row_order", "unread")
} | {name: Rule(Comparison.IF_KNOWN) for name in ("egain_e_adu", "bayer_pattern")}  # fmt: skip
_STATE = {"calibrated": Rule(), "pedestal_adu": Rule()}
_TEMPERATURE = Rule(Comparison.TEMPERATURE)

RULES: Mapping[FrameKind, Mapping[str, Rule]] = {
    FrameKind.BIAS: _SETTINGS
    | _STATE
    | {"exposure_us": Rule(Comparison.EXPOSURE, decisive=False), "temperature_c": _TEMPERATURE},
    FrameKind.DARK: _SETTINGS | _STATE | {"exposure_us": Rule(Comparison.EXPOSURE), "temperature_c": _TEMPERATURE},
    FrameKind.FLAT: _SETTINGS
    | _STATE
    | {
        "filter": Rule(),
        "source": Rule(),
        "rotator_angle_deg": Rule(Comparison.ANGLE),
        "night": Rule(decisive=False),
    },
}
"""For each kind of master or set, the fields that are compared. A field that a kind does not list is none of its own:
darks have no filter, and a flat's exposure and temperature are not part of its key."""

_DECISIVE = {kind: tuple(name for name, rule in rules.items() if rule.decisive) for kind, rules in RULES.items()}
_EQUAL = {
    kind: attrgetter(*(name for name in _DECISIVE[kind] if rules[name].comparison is Comparison.EQUAL))
    for kind, rules in RULES.items()
}

SERVES = {
    FrameKind.BIAS: (FrameKind.BIAS,),
    FrameKind.DARK: (FrameKind.DARK, FrameKind.BIAS),
    FrameKind.FLAT: (FrameKind.FLAT,),
}
"""A bias of the very exposure of a frame is its dark, too."""

_WORDS = {"exposure_us": "exposure", "temperature_c": "temperature", "rotator_angle_deg": "rotator angle"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A field in which a key is not what was asked for."""

    name: str
    found: Any
    wanted: Any

    def __str__(self) -> str:
        return f"{_WORDS.get(self.name, self.name)} {_shown(self.name, self.found)}, wanted {self.wanted_text}"

    @property
    def wanted_text(self) -> str:
        """The wanted value with its unit."""
        return _shown(self.name, self.wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A master, or a group of frames, that might serve.

    Attributes
    ----------
    name : str
        Unique; decides between candidates that are equal in everything else.
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
    """The outcome of a search. `score` of the chosen: 0 is a perfect match, 1 the edge of what is allowed.

    `refused` holds first the candidates that fit less well, then the others, those with the fewest differences first.
    """

    chosen: Candidate | None
    score: float | None
    refused: tuple[Refusal, ...]

    def __str__(self) -> str:
        """Return one line for a log: what serves, or why nothing does."""
        if self.chosen is not None:
            return f"{self.chosen.name} (score {self.score:.3f})"
        reasons = "; ".join(f"{refusal.candidate.name}: {refusal.reason}" for refusal in self.refused)
        return f"none of {len(self.refused)}: {reasons}" if reasons else "none: no candidates"


def question_of(key: GroupKey, kind: FrameKind, **other: Any) -> dict[str, Any]:
    """Return what a master of some kind must have to serve frames.

    Parameters
    ----------
    key : GroupKey
        The frames to be served.
    kind : FrameKind
        The kind of master.
    **other
        Values that stand in for those of the key: a flat's exposure and temperature when its dark is looked for.
    """
    return {name: getattr(key, name) for name in _DECISIVE[kind]} | other


def equal_part(key: GroupKey, kind: FrameKind) -> tuple[Any, ...]:
    """Return the values that a master of some kind must have exactly, to look candidates up by."""
    found: tuple[Any, ...] = _EQUAL[kind](key)
    return found


def differences(
    kind: FrameKind,
    asked: Question,
    found: GroupKey,
    *,
    exact: bool = False,
    tolerances: Tolerances = DEFAULT_TOLERANCES,
) -> tuple[Difference, ...]:
    """Return in what a key is not what was asked for; nothing where it serves.

    Parameters
    ----------
    kind : FrameKind
        Whose rules hold.
    asked : mapping
        A field that is not named may have any value; None fits only unknown.
    found : GroupKey
    exact : bool
        Whether both sides are our own frames, so that exposures must be equal.
    tolerances : Tolerances

    Raises
    ------
    TypeError
        A field is asked for that this kind does not have.
    """
    rules = RULES[kind]
    if unknown := set(asked) - set(rules):
        raise TypeError(f"a {kind.lower()} is not chosen by {', '.join(sorted(unknown))}, but by {', '.join(rules)}")
    return tuple(
        Difference(name=name, found=there, wanted=wanted)
        for name, wanted in asked.items()
        if not _alike(rules[name].comparison, there := getattr(found, name), wanted, exact=exact, tolerances=tolerances)
    )


def undecided(
    kind: FrameKind, keys: Sequence[GroupKey], *, tolerances: Tolerances = DEFAULT_TOLERANCES
) -> tuple[str, ...]:
    """Return the decisive fields in which masters of a kind differ, so that one cannot stand in for another."""
    return tuple(
        name
        for name, rule in RULES[kind].items()
        if rule.decisive and not _all_alike(rule.comparison, {getattr(key, name) for key in keys}, tolerances)
    )


def match(
    kind: FrameKind,
    asked: Question,
    candidates: Iterable[Candidate],
    *,
    own: bool = True,
    at: datetime | None = None,
    tolerances: Tolerances = DEFAULT_TOLERANCES,
) -> MatchReport:
    """Find what serves best: the nearest in exposure, temperature, angle and time, then the one of most frames.

    Parameters
    ----------
    kind : FrameKind
        What is looked for. A bias serves as a dark of its own exposure.
    asked : mapping
        As for `differences`; `question_of` makes it from the key of the frames to be served.
    candidates : iterable of Candidate
    own : bool
        Whether nightcal took the frames to be served: with our own candidates the exposure must then be equal.
    at : datetime, optional
        When they were taken; the nearest in time is preferred.
    tolerances : Tolerances
    """
    refused: list[tuple[int, Refusal]] = []
    fitting: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: c.name):
        reasons = _refusals(kind, asked, candidate, own=own, tolerances=tolerances)
        if reasons:
            refused.append((len(reasons), Refusal(candidate=candidate, reason=" and ".join(reasons))))
        else:
            fitting.append(candidate)
    others = tuple(refusal for _, refusal in sorted(refused, key=lambda each: each[0]))
    if not fitting:
        return MatchReport(chosen=None, score=None, refused=others)
    (best, chosen), *rest = ranked(kind, asked, fitting, at=at, tolerances=tolerances)
    outranked = (
        Refusal(candidate=c, reason=f"fits (score {s:.3f}), {chosen.name} is preferred ({best:.3f})") for s, c in rest
    )
    return MatchReport(chosen=chosen, score=best, refused=(*outranked, *others))


def ranked(
    kind: FrameKind,
    asked: Question,
    fitting: Iterable[Candidate],
    *,
    at: datetime | None = None,
    tolerances: Tolerances = DEFAULT_TOLERANCES,
) -> list[tuple[float, Candidate]]:
    """Return candidates that fit with their scores, the one that serves best first; parameters as those of `match`."""
    return sorted(((_score(kind, asked, each, at, tolerances), each) for each in fitting), key=_rank)


def _rank(scored: tuple[float, Candidate]) -> tuple[float, bool, int, float, str]:
    """Return what fitting candidates are sorted by; equal scores: a dark before a bias, more frames, the newer."""
    score, c = scored
    return score, c.key.kind is FrameKind.BIAS, -c.n, -(c.at.timestamp() if c.at else 0.0), c.name


def _refusals(
    kind: FrameKind, asked: Question, candidate: Candidate, *, own: bool, tolerances: Tolerances
) -> tuple[str, ...]:
    if not candidate.usable:
        return ("marked bad",)
    if candidate.key.kind not in SERVES[kind]:
        return (f"a {candidate.key.kind}, no {kind}",)
    found = differences(kind, asked, candidate.key, exact=own and candidate.own, tolerances=tolerances)
    return tuple(str(difference) for difference in found)


def _alike(comparison: Comparison, a: Any, b: Any, *, exact: bool = False, tolerances: Tolerances) -> bool:
    if comparison is Comparison.EXPOSURE and a is not None and b is not None:
        return same_exposure(a, b, exact=exact, tolerances=tolerances)
    if comparison is Comparison.IF_KNOWN and (a is None or b is None):
        return True
    return bool(a == b) or _distance(comparison, a, b, tolerances) <= 1.0 + _ROUNDING


def _all_alike(comparison: Comparison, values: set[Any], tolerances: Tolerances) -> bool:
    """Whether every value is alike to every other; of a single one there is nothing to compare."""
    ordered = list(values)
    return all(_alike(comparison, a, b, tolerances=tolerances) for i, a in enumerate(ordered) for b in ordered[:i])


def _distance(comparison: Comparison, a: Any, b: Any, tolerances: Tolerances) -> float:
    """Return how far apart two values are, in tolerances; infinite where none is allowed or one is unknown."""
    if a is None or b is None or comparison in _WITHOUT_DISTANCE:
        return 0.0 if a == b else float("inf")
    apart = float(abs(a - b))
    if comparison is Comparison.EXPOSURE:
        return apart / max(tolerances.exposure_us, tolerances.exposure_relative * float(max(a, b)))
    if comparison is Comparison.ANGLE:
        return min(apart % 360, -apart % 360) / tolerances.angle_deg
    return apart / tolerances.cluster_c


def _score(
    kind: FrameKind, asked: Question, candidate: Candidate, at: datetime | None, tolerances: Tolerances
) -> float:
    """Return the mean distance of a fitting candidate in all fields that have a tolerance, and in time."""
    measured = [
        _distance(RULES[kind][name].comparison, getattr(candidate.key, name), wanted, tolerances)
        for name, wanted in asked.items()
        if RULES[kind][name].comparison not in _WITHOUT_DISTANCE
    ]
    return (sum(measured) + _age(candidate, at)) / (len(measured) + 1)


def _age(candidate: Candidate, at: datetime | None) -> float:
    """Return 0 for the same moment, a half for a month apart, and never 1: age alone refuses nothing here."""
    if at is None or candidate.at is None:
        return 0.0
    days = abs((candidate.at - at).total_seconds()) / _DAY_S
    return days / (days + 30)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if name == "exposure_us":
        return f"{value / 1e6:.9g} s"
    return f"{value:g} °C" if name == "temperature_c" else str(value)
