"""The dark of each flat: the master dark of its very exposure, else a bias where the dark signal is negligible."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from calibration.frames import FrameKind, GroupKey
from calibration.grouping import DEFAULT_TOLERANCES
from calibration.matching import Candidate, MatchReport, differences, equal_part, match, question_of
from services.catalogue.rows import USABLE, MasterRow
from services.planning.groups import MasterGroup

NEGLIGIBLE = 0.0005
"""A bias serves as a flat's dark when the predicted dark signal is below this fraction of the flat's level."""

_REASONS = 4
"""So many refused masters are named in a message, the nearest first; a library may hold hundreds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatDark:
    """The dark of the flats of one exposure, and how it was found: `matched` or `bias`."""

    master: MasterRow
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoDark:
    """Why no master can serve as the dark."""

    reason: str


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
        self._by_camera: defaultdict[tuple[object, ...], list[Candidate]] = defaultdict(list)
        for row in masters:
            if row.kind is not FrameKind.FLAT and row.status in USABLE:
                self._masters[row.path] = row
                self._by_camera[equal_part(row.key, FrameKind.DARK)].append(_candidate(row))
        for candidates in self._by_camera.values():
            candidates.sort(key=_exposure)

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
        matched = self._matched(flats, exposure_us) if self._how != "bias" else None
        if matched is not None and matched.chosen is not None:
            return FlatDark(master=self._masters[matched.chosen.name], how="matched")
        asked = question_of(flats.key, FrameKind.BIAS, temperature_c=flats.temperature_c)
        biases = [c for c in self._alike(flats.key) or self._all() if c.key.kind is FrameKind.BIAS]
        bias = match(FrameKind.BIAS, asked, biases, at=flats.started)
        if bias.chosen is None:
            return _none(exposure_us, _words(matched or bias))
        master = self._masters[bias.chosen.name]
        if matched is None:
            return FlatDark(master=master, how="bias")
        signal_adu = self._predicted_adu(flats, exposure_us, master)
        limit_adu = NEGLIGIBLE * max(level_adu - level_of(master), 0.0)
        if signal_adu is None:
            return _none(exposure_us, _words(matched))
        if signal_adu >= limit_adu:
            told = f"a bias cannot serve: predicted dark signal {signal_adu:.2f} ADU, allowed {limit_adu:.2f} ADU"
            return _none(exposure_us, f"{_words(matched)}; {told}")
        return FlatDark(master=master, how="bias")

    def _alike(self, key: GroupKey) -> list[Candidate]:
        """Return the masters of the same camera and settings, the shortest exposure first."""
        return self._by_camera.get(equal_part(key, FrameKind.DARK), [])

    def _all(self) -> list[Candidate]:
        return [candidate for candidates in self._by_camera.values() for candidate in candidates]

    def _matched(self, flats: MasterGroup, exposure_us: int) -> MatchReport:
        """Return what serves as the dark; masters of other exposures are looked at only for the reasons."""
        asked = question_of(flats.key, FrameKind.DARK, exposure_us=exposure_us, temperature_c=flats.temperature_c)
        alike = self._alike(flats.key)
        margin_us = 2 * max(DEFAULT_TOLERANCES.exposure_us, DEFAULT_TOLERANCES.exposure_relative * exposure_us)
        near = alike[
            bisect_left(alike, exposure_us - margin_us, key=_exposure) : bisect_right(
                alike, exposure_us + margin_us, key=_exposure
            )
        ]
        found = match(FrameKind.DARK, asked, near, own=flats.own, at=flats.started)
        if found.chosen is not None:
            return found
        return match(FrameKind.DARK, asked, self._all(), own=flats.own, at=flats.started)

    def _predicted_adu(self, flats: MasterGroup, exposure_us: int, bias: MasterRow) -> float | None:
        """Return the dark signal at an exposure from the longest dark that fits in all but its exposure."""
        asked = question_of(flats.key, FrameKind.DARK, temperature_c=flats.temperature_c)
        del asked["exposure_us"]
        darks = (c for c in self._alike(flats.key) if c.key.kind is FrameKind.DARK and c.key.exposure_us)
        fitting = [c for c in darks if not differences(FrameKind.DARK, asked, c.key)]
        bias_us = bias.key.exposure_us or 0
        if not fitting or _exposure(fitting[-1]) <= bias_us:
            return None
        longest = next(c for c in fitting if c.key.exposure_us == fitting[-1].key.exposure_us)
        rise_adu = level_of(self._masters[longest.name]) - level_of(bias)
        return max(rise_adu / (_exposure(longest) - bias_us), 0.0) * exposure_us


def level_of(master: MasterRow) -> float:
    """Return the level of a master (median, ADU)."""
    return float(master.statistics.get("level_adu", 0.0))


def _exposure(candidate: Candidate) -> int:
    return candidate.key.exposure_us or 0


def _candidate(row: MasterRow) -> Candidate:
    own = bool(row.statistics.get("own", True))
    return Candidate(name=row.path, key=row.key, n=row.n, at=row.valid_from or row.built_at, own=own)


def _none(exposure_us: int, reason: str) -> NoDark:
    return NoDark(reason=f"exposure {exposure_us / 1e6:g} s: {reason}")


def _words(report: MatchReport) -> str:
    """Return the reasons of the nearest masters in a line."""
    reasons = [f"{refusal.candidate.name}: {refusal.reason}" for refusal in report.refused]
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return "; ".join(reasons[:_REASONS]) + more if reasons else "there is no master dark or bias"
