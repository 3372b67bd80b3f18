"""Each flat's own dark, and never the wrong one: exact exposure, else a bias where the dark signal is negligible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calibration.frames import FrameKind
from calibration.matching import Candidate, MatchReport, match_bias, match_dark
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import USABLE, MasterRow
from services.masters.groups import MasterGroup

NEGLIGIBLE = 0.0005
"""A bias serves as a flat's dark when the predicted dark signal is below this fraction of the flat's level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatDark:
    """The dark of the flats of one exposure, and how it was found: `matched` or `bias`."""

    master: MasterRow
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoDark:
    """Why there is none."""

    reason: str


def flat_dark(
    flats: MasterGroup, exposure_us: int, level_adu: float, catalogue: Catalogue, how: str
) -> FlatDark | NoDark:
    """Return the dark for the flats of one exposure, by the rules of CONTRACTS 3.

    Parameters
    ----------
    flats : MasterGroup
        Their group.
    exposure_us : int
        Their exposure.
    level_adu : float
        Their level, pedestal included.
    catalogue : Catalogue
        Of masters.
    how : str
        `matched`: the dark of this exposure, else a bias if the dark signal is negligible. `bias`: a bias always.
    """
    masters = {row.path: row for row in catalogue.masters() if row.status in USABLE}
    if how != "bias":
        found = _match(flats, exposure_us, [_candidate(row) for row in masters.values()])
        if found.chosen is not None:
            return FlatDark(master=masters[found.chosen.name], how="matched")
    biases = [_candidate(row) for row in masters.values() if row.kind is FrameKind.BIAS]
    bias = match_bias(flats.key, biases, temperature_c=flats.temperature_c, at=flats.started)
    if bias.chosen is None:
        return NoDark(reason=f"exposure {exposure_us / 1e6:g} s: {_words(bias if how == 'bias' else found)}")
    master = masters[bias.chosen.name]
    if how == "bias":
        return FlatDark(master=master, how="bias")
    signal = _predicted_adu(flats, exposure_us, master, masters)
    limit = NEGLIGIBLE * max(level_adu - level_of(master), 0.0)
    if signal is None:
        return NoDark(reason=f"exposure {exposure_us / 1e6:g} s: {_words(found)}")
    if signal >= limit:
        said = f"a bias cannot serve: predicted dark signal {signal:.2f} ADU, allowed {limit:.2f} ADU"
        return NoDark(reason=f"exposure {exposure_us / 1e6:g} s: {_words(found)}; {said}")
    return FlatDark(master=master, how="bias")


def level_of(master: MasterRow) -> float:
    """Return the level of a master (median, ADU)."""
    return float(master.statistics.get("level_adu", 0.0))


def _match(flats: MasterGroup, exposure_us: int, candidates: Sequence[Candidate]) -> MatchReport:
    return match_dark(
        flats.key, exposure_us, candidates, temperature_c=flats.temperature_c, own=flats.own, at=flats.started
    )


def _candidate(row: MasterRow) -> Candidate:
    own = bool(row.statistics.get("own", True))
    return Candidate(name=row.path, key=row.key, n=row.n, at=row.valid_from or row.built_at, own=own)


def _predicted_adu(
    flats: MasterGroup, exposure_us: int, bias: MasterRow, masters: Mapping[str, MasterRow]
) -> float | None:
    """Return the dark signal at an exposure from the longest dark that fits in all but its exposure."""
    longest: MasterRow | None = None
    for row in masters.values():
        if row.kind is not FrameKind.DARK or not row.key.exposure_us:
            continue
        fits = _match(flats, row.key.exposure_us, [_candidate(row)]).chosen is not None
        if fits and (longest is None or (longest.key.exposure_us or 0) < row.key.exposure_us):
            longest = row
    bias_us = bias.key.exposure_us or 0
    if longest is None or (longest.key.exposure_us or 0) <= bias_us:
        return None
    rate = (level_of(longest) - level_of(bias)) / ((longest.key.exposure_us or 0) - bias_us)
    return max(rate, 0.0) * exposure_us


def _words(report: MatchReport) -> str:
    """Return the reasons in a line; only the nearest few, a library may hold hundreds."""
    reasons = [f"{refusal.candidate.name}: {refusal.reason}" for refusal in report.refused]
    more = f"; and {len(reasons) - 4} more" if len(reasons) > 4 else ""
    return "; ".join(reasons[:4]) + more if reasons else "there is no master dark or bias"
