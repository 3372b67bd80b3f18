"""What is there already: which catalogued set serves a wanted one, which is continued, when a new one is opened.

A set is the unit of having (CONTRACTS 5). It serves until its *oldest* frame passes the reuse age of its kind; an
incomplete one is continued while its oldest frame is younger than `resume_within`; else a whole new set is taken.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from calibration.frames import FrameKind, GroupKey
from calibration.grouping import Tolerances
from services.catalogue.rows import Origin, SetRow
from services.config.models import Reuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a catalogued set must have to serve; None stands for anything (before a camera was asked).

    Unlike in `GroupKey`, None is a wildcard here: a setting that the configuration does not name is left as found, and
    is known only once the camera has been read.
    """

    kind: FrameKind
    camera: str | None = None
    shape: tuple[int, int] | None = None
    binning: tuple[int, int] | None = None
    origin: tuple[int, int] | None = None
    gain: int | None = None
    offset: int | None = None
    readout_mode: str | None = None
    exposure_us: int | None = None
    filter: str | None = None
    source: str | None = None
    temperature_c: float | None = None
    """Set-point wanted; None for flats that serve at any temperature, and without cooling."""
    ccd_temp_c: float | None = None
    """Measured temperature wanted, within the width of a cluster: for darks without a set-point."""

    def fits(self, key: GroupKey) -> bool:
        """Return whether a set with this key is what is wanted, as keys tell (flats: without temperature)."""
        named = ("filter", "source") if self.kind is FrameKind.FLAT else ("exposure_us", "temperature_c")
        pairs = ((getattr(self, name), getattr(key, name)) for name in (*_COMPARED, *named))
        return self.kind is key.kind and all(wanted is None or wanted == there for wanted, there in pairs)

    def serves(self, row: SetRow) -> bool:
        """Return whether a catalogued set is what is wanted, at the temperature wanted."""
        return self.fits(row.key) and self._is_as_warm(row)

    def _is_as_warm(self, row: SetRow) -> bool:
        if self.temperature_c is not None:
            return row.set_temp_c == self.temperature_c
        if self.ccd_temp_c is None or row.ccd_temp_c is None:
            return True
        return abs(row.ccd_temp_c - self.ccd_temp_c) <= Tolerances().cluster_c


_COMPARED = ("camera", "shape", "binning", "origin", "gain", "offset", "readout_mode")


class Standing(StrEnum):
    """How a wanted set stands."""

    COMPLETE = "complete"
    RESUMED = "resumed"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Having:
    """What there is of one wanted set; `row` None where a new one must be opened."""

    standing: Standing
    row: SetRow | None = None
    why: str = ""
    """In words, why a set that is there does not serve though its settings are those wanted."""

    @property
    def count(self) -> int:
        """Frames that count."""
        return 0 if self.row is None else self.row.count


NOTHING = Having(standing=Standing.NEW)


def having(
    match: Match, count: int, sets: Iterable[SetRow], *, now: datetime, reuse: Reuse, fresh: bool = False
) -> Having:
    """Return how a wanted set of `count` frames stands.

    Parameters
    ----------
    match : Match
    count : int
        Frames wanted.
    sets : iterable of SetRow
        What the catalogue holds; only our own sets are looked at.
    now : datetime
    reuse : Reuse
        Ages, in hours.
    fresh : bool
        Nothing that is there counts.

    Returns
    -------
    Having
        The youngest complete set, else the incomplete one that holds most, else nothing, with why.
    """
    if fresh:
        return NOTHING
    alike = [s for s in sets if s.origin is Origin.OWN and s.oldest is not None and match.fits(s.key)]
    ours = [s for s in alike if match.serves(s)]
    complete = [s for s in ours if s.count >= count and now - _at(s.oldest) <= _age(match.kind, reuse)]
    if complete:
        return Having(standing=Standing.COMPLETE, row=max(complete, key=lambda s: _at(s.oldest)))
    limit = timedelta(hours=reuse.resume_within_hours)
    begun = [s for s in ours if s.count < count and now - _at(s.oldest) <= limit]
    if begun:
        return Having(standing=Standing.RESUMED, row=max(begun, key=lambda s: (s.count, _at(s.oldest))))
    young = [s for s in alike if now - _at(s.oldest) <= _age(match.kind, reuse)]
    return Having(standing=Standing.NEW, why=_other_temperature(match, young))


def _other_temperature(match: Match, sets: Iterable[SetRow]) -> str:
    """Return that sets would serve but for the sensor's temperature, by the youngest of them; else nothing."""
    youngest = max(sets, key=lambda s: _at(s.oldest), default=None)
    if youngest is None or match.temperature_c is not None or match.ccd_temp_c is None or match.serves(youngest):
        return ""
    return f"taken anew: those there are of {youngest.ccd_temp_c:.1f} °C, the sensor is at {match.ccd_temp_c:.1f} °C"


def _age(kind: FrameKind, reuse: Reuse) -> timedelta:
    hours = {FrameKind.BIAS: reuse.bias_hours, FrameKind.DARK: reuse.dark_hours}.get(kind, reuse.flat_hours)
    return timedelta(hours=hours)


def _at(at: datetime | None) -> datetime:
    assert at is not None  # noqa: S101 - sets without a time were left out above
    return at
