"""What is there already: which catalogued set serves a wanted one, which is continued, when a new one is opened.

A set is the unit of having (CONTRACTS 5). It serves until its *oldest* frame passes the reuse age of its kind; an
incomplete one is continued while its newest frame is younger than `resume_within`; else a whole new set is taken.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from calibration.frames import FrameKind, GroupKey
from services.config.models import Reuse
from services.storage.rows import Origin, SetRow


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
    temperature_c: float | None = None
    filter: str | None = None
    source: str | None = None

    def fits(self, key: GroupKey) -> bool:
        """Return whether a set with this key is what is wanted."""
        return self.kind is key.kind and all(
            wanted is None or wanted == getattr(key, name) for name, wanted in self._named() if name != "kind"
        )

    def _named(self) -> list[tuple[str, object]]:
        names = self.__dataclass_fields__
        return [(name, getattr(self, name)) for name in names if not self._free(name)]

    def _free(self, name: str) -> bool:
        """Whether a field says nothing for this kind: darks have no filter, flats no exposure and no temperature."""
        flat = self.kind is FrameKind.FLAT
        return name in (("exposure_us", "temperature_c") if flat else ("filter", "source"))


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
        The youngest complete set, else the incomplete one that holds most, else nothing.
    """
    if fresh:
        return NOTHING
    ours = [s for s in sets if s.origin is Origin.OWN and s.oldest is not None and match.fits(s.key)]
    complete = [s for s in ours if s.count >= count and now - _at(s.oldest) <= _age(match.kind, reuse)]
    if complete:
        return Having(standing=Standing.COMPLETE, row=max(complete, key=lambda s: _at(s.oldest)))
    limit = timedelta(hours=reuse.resume_within_hours)
    begun = [s for s in ours if s.count < count and now - _at(s.oldest) <= limit]
    if begun:
        return Having(standing=Standing.RESUMED, row=max(begun, key=lambda s: (s.count, _at(s.oldest))))
    return NOTHING


def _age(kind: FrameKind, reuse: Reuse) -> timedelta:
    hours = {FrameKind.BIAS: reuse.bias_hours, FrameKind.DARK: reuse.dark_hours}.get(kind, reuse.flat_hours)
    return timedelta(hours=hours)


def _at(at: datetime | None) -> datetime:
    assert at is not None  # noqa: S101 - sets without a time were left out above
    return at
