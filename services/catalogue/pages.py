"""What pages show of many frames: a part of them at a time, and how many each night has."""

from typing import Any, NamedTuple

from calibration.frames import FrameKind
from services.catalogue.database import Database
from services.catalogue.frames import FRAME_COLUMNS, frame_of
from services.catalogue.rows import FrameRow
from services.catalogue.tables import where_of

_NIGHTS = """
    SELECT night, kind, count(*), sum(flag != 'ok'), min(date_obs), max(date_obs) FROM frames
    WHERE night IN (SELECT DISTINCT night FROM frames WHERE night IS NOT NULL ORDER BY night DESC LIMIT ?)
    GROUP BY night, kind ORDER BY night DESC, kind"""


class NightCount(NamedTuple):
    """Frames of one kind in one night: how many, how many of them are marked bad, and when (ISO, UTC)."""

    night: str
    kind: FrameKind
    frames: int
    bad: int
    first: str | None
    last: str | None


class PageTable(Database):
    """Queries that read a bounded part of the frames."""

    def frame_page(self, *, limit: int, before: int | None = None, **filters: Any) -> tuple[list[FrameRow], int | None]:
        """Return frames, those that were recorded last first, and what `before` gets the next ones; None at the end.

        Parameters
        ----------
        limit : int
        before : int, optional
            What the page before this one returned.
        **filters
            As for `frames`.
        """
        where, values = where_of(filters, FRAME_COLUMNS)
        if before is not None:
            where, values = f"{where or ' WHERE true'} AND rowid < ?", [*values, before]
        query = f"SELECT {', '.join(FRAME_COLUMNS)}, rowid FROM frames{where} ORDER BY rowid DESC LIMIT ?"  # noqa: S608
        records = self._read(query, [*values, limit + 1])
        with self._understood():
            rows = [frame_of(tuple(record)[:-1]) for record in records[:limit]]
        return rows, records[limit - 1][-1] if len(records) > limit else None

    def night_counts(self, *, limit: int) -> list[NightCount]:
        """Return how many frames of each kind the latest nights have, the newest night first."""
        with self._understood():
            return [
                NightCount(night, FrameKind(kind), *numbers) for night, kind, *numbers in self._read(_NIGHTS, [limit])
            ]
