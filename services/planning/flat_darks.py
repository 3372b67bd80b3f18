"""The dark of each flat: the master dark of its very exposure, else a bias where the dark signal is negligible."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from calibration.frames import FrameKind, GroupKey
from calibration.matching import SERVES, Candidate, Question, differences, equal_part, match, question_of
from services.catalogue.rows import USABLE, MasterRow
from services.planning.master_groups import MasterGroup

NEGLIGIBLE = 0.0005
"""A bias serves as a flat's dark when the predicted dark signal is below this fraction of the flat's level."""

_Place = tuple[GroupKey, bool]
"""Key of masters, and whether nightcal took their frames."""

_REASONS = 4
"""So many refused masters are named in a message, the nearest first; a library may hold hundreds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatDark:
    """The dark of the flats of one exposure, and how it was found: `matched` or `bias`."""

    master: MasterRow
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoDark:
    """No master can serve as the dark; why is worked out only when somebody asks."""

    why: Callable[[], str]

    @property
    def reason(self) -> str:
        """Why, in words."""
        return self.why()


class FlatDarks:
    """The master biases and darks that flats may use.

    Parameters
    ----------
    masters : iterable of MasterRow
        Of any kind and status; those that may not serve are left out.
    how : str
        `matched`: the dark of the flat's exposure, else a bias if the dark signal is negligible. `bias`: a bias always.
    """

    def __init__(self, masters: Iterable[MasterRow], how: str) -> None:
        self._how = how
        self._masters: dict[str, MasterRow] = {}
        self._shelves: defaultdict[tuple[object, ...], defaultdict[_Place, list[Candidate]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self._fitting: dict[tuple[object, ...], list[_Place]] = {}
        for row in masters:
            if row.kind is not FrameKind.FLAT and row.status in USABLE:
                candidate = _candidate(row)
                self._masters[row.path] = row
                self._shelves[equal_part(row.key, FrameKind.DARK)][row.key, candidate.own].append(candidate)
        for shelf in self._shelves.values():
            for candidates in shelf.values():
                candidates.sort(key=_taken)

    def of(self, flats: MasterGroup, exposure_us: int, level_adu: float) -> FlatDark | NoDark:
        """Return the dark for the flats of one exposure.

        Parameters
        ----------
        flats : MasterGroup
            Their group.
        exposure_us : int
            Their exposure.
        level_adu : float
            Their level, pedestal included.
        """
        by_exposure = question_of(flats.key, FrameKind.DARK, exposure_us=exposure_us, temperature_c=flats.temperature_c)
        if self._how != "bias" and (dark := self._best(FrameKind.DARK, by_exposure, flats)) is not None:
            return FlatDark(master=dark, how="matched")
        at_any_exposure = question_of(flats.key, FrameKind.BIAS, temperature_c=flats.temperature_c)
        bias = self._best(FrameKind.BIAS, at_any_exposure, flats)
        if self._how == "bias":
            if bias is not None:
                return FlatDark(master=bias, how="bias")
            return NoDark(why=lambda: self._reason(FrameKind.BIAS, at_any_exposure, flats, exposure_us))
        signal_adu = None if bias is None else self._predicted_adu(flats, exposure_us, bias)
        if bias is None or signal_adu is None:
            return NoDark(why=lambda: self._reason(FrameKind.DARK, by_exposure, flats, exposure_us))
        limit_adu = NEGLIGIBLE * max(level_adu - level_of(bias), 0.0)
        if signal_adu < limit_adu:
            return FlatDark(master=bias, how="bias")
        signal = f"a bias cannot serve: predicted dark signal {signal_adu:.2f} ADU, allowed {limit_adu:.2f} ADU"
        return NoDark(why=lambda: f"{self._reason(FrameKind.DARK, by_exposure, flats, exposure_us)}; {signal}")

    def _best(self, kind: FrameKind, asked: Question, flats: MasterGroup) -> MasterRow | None:
        """Return what `match` chooses among all masters; of equal ones it is shown the nearest in time alone."""
        near = (c for each in self._places(kind, asked, flats) for c in _nearest(each, flats.started))
        chosen = match(kind, asked, near, own=flats.own, at=flats.started).chosen
        return None if chosen is None else self._masters[chosen.name]

    def _places(self, kind: FrameKind, asked: Question, flats: MasterGroup) -> Iterator[list[Candidate]]:
        """Yield the masters of each key that fits, the oldest first."""
        settings = equal_part(flats.key, kind)
        shelf: Mapping[_Place, list[Candidate]] = self._shelves.get(settings, {})
        question = (kind, settings, asked.get("exposure_us"), asked.get("temperature_c"), flats.own)
        if question not in self._fitting:
            self._fitting[question] = [
                (key, own)
                for key, own in shelf
                if key.kind in SERVES[kind] and not differences(kind, asked, key, exact=flats.own and own)
            ]
        yield from (shelf[place] for place in self._fitting[question])

    def _predicted_adu(self, flats: MasterGroup, exposure_us: int, bias: MasterRow) -> float | None:
        """Return the dark signal at an exposure from the longest dark that fits in all but its exposure."""
        asked = question_of(flats.key, FrameKind.DARK, temperature_c=flats.temperature_c)
        del asked["exposure_us"]
        newest = (each[-1] for each in self._places(FrameKind.DARK, asked, flats))
        darks = (c for c in newest if c.key.kind is FrameKind.DARK)
        longest = max(darks, key=lambda c: (c.key.exposure_us or 0, _taken(c)), default=None)
        rise_us = 0 if longest is None else (longest.key.exposure_us or 0) - (bias.key.exposure_us or 0)
        if longest is None or rise_us <= 0:
            return None
        rise_adu = level_of(self._masters[longest.name]) - level_of(bias)
        return max(rise_adu / rise_us, 0.0) * exposure_us

    def _reason(self, kind: FrameKind, asked: Question, flats: MasterGroup, exposure_us: int) -> str:
        """Return why none of the masters serves; only the nearest few are named."""
        everything = (c for shelf in self._shelves.values() for each in shelf.values() for c in each)
        looked_at = (c for c in everything if c.key.kind in SERVES[kind])
        refused = match(kind, asked, looked_at, own=flats.own, at=flats.started).refused
        reasons = [f"{refusal.candidate.name}: {refusal.reason}" for refusal in refused]
        more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
        words = "; ".join(reasons[:_REASONS]) + more if reasons else "there is no master dark or bias"
        return f"exposure {exposure_us / 1e6:g} s: {words}"


def _nearest(candidates: list[Candidate], at: datetime | None) -> list[Candidate]:
    """Return those of the same key that were taken just before and after a time, several if at the same moment."""
    if at is None or len(candidates) < 2:
        return candidates
    place = bisect_left(candidates, at.timestamp(), key=_taken)
    moments = {_taken(c) for c in candidates[max(0, place - 1) : place + 1]}
    first, last = bisect_left(candidates, min(moments), key=_taken), bisect_right(candidates, max(moments), key=_taken)
    return candidates[first:last]


def _taken(candidate: Candidate) -> float:
    return 0.0 if candidate.at is None else candidate.at.timestamp()


def level_of(master: MasterRow) -> float:
    """Return the level of a master (median, ADU)."""
    return float(master.statistics.get("level_adu", 0.0))


def _candidate(row: MasterRow) -> Candidate:
    own = bool(row.statistics.get("own", True))
    return Candidate(name=row.path, key=row.key, n=row.n, at=row.valid_from or row.built_at, own=own)
