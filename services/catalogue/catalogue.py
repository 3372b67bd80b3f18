"""The catalogue: an SQLite index of frames, refusals, masters, runs and facts. Headers are the truth, it is rebuilt."""

from services.catalogue.database import CatalogueDamaged
from services.catalogue.frames import FrameTable
from services.catalogue.history import HistoryTable
from services.catalogue.models import ModelTable
from services.catalogue.pages import PageTable

__all__ = ["Catalogue", "CatalogueDamaged"]

_TABLES = ("frames", "refusals", "masters", "master_inputs", "models", "model_inputs", "runs", "detector_facts")
"""What a rebuild empties and fills; triggers do the same with `sets`."""

_HOLDS = f"SELECT EXISTS({' UNION ALL '.join(f'SELECT 1 FROM {table}' for table in _TABLES)})"  # noqa: S608

_TYPES = {"INTEGER": "'integer', 'null'", "REAL": "'real', 'integer', 'null'", "TEXT": "'text', 'null'"}

_OF_SETS = "set_id, kind, in_set, last_no, oldest, newest, coldest_c, warmest_c, is_alike, first_path"
_WRONG_SETS = f"""
    SELECT 1 FROM stale_sets
    UNION ALL SELECT 1 FROM (SELECT {_OF_SETS} FROM sets EXCEPT SELECT {_OF_SETS} FROM set_totals)
    UNION ALL SELECT 1 FROM (SELECT {_OF_SETS} FROM set_totals EXCEPT SELECT {_OF_SETS} FROM sets)
    UNION ALL SELECT 1 FROM sets JOIN set_totals AS totals USING (set_id, kind)
        WHERE abs(sets.mean_level_adu - totals.mean_level_adu) > 1e-6 * abs(totals.mean_level_adu)
            OR (sets.mean_level_adu IS NULL) != (totals.mean_level_adu IS NULL)
    LIMIT 1"""  # noqa: S608 - our own columns; the mean by a newer SQLite may differ in its last digit


class Catalogue(FrameTable, PageTable, ModelTable, HistoryTable):
    """The index of one root: everything that its tables hold (`Database` says how it is opened)."""

    @property
    def is_new(self) -> bool:
        """It holds nothing, so that the frames must be indexed. Also true if the first indexing was interrupted."""
        return not self._read(_HOLDS)[0][0]

    def check(self) -> None:
        """Read everything, and hold it against what it should be.

        Raises
        ------
        CatalogueDamaged
            The file is damaged, or holds what we did not write.
        """
        found = self._read("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            raise self._damaged(found)
        for table in (*_TABLES, "sets", "marks"):
            if self._read(self._mistyped(table)):
                raise self._damaged(f"a column of {table} holds values of another type")
        if self._read(_WRONG_SETS):
            raise self._damaged("its sets are not those of its frames")
        for read in (self.marks, self.frames, self.refusals, self.masters, self.models, self.runs, self.facts):
            read()

    def clear(self) -> None:
        """Forget everything but which frames were rejected."""
        with self.at_once() as base, self._sets_at_end():
            for table in _TABLES:
                base.execute(f"DELETE FROM {table}")  # noqa: S608

    def _mistyped(self, table: str) -> str:
        """Return a query for a row with a value that is not of its column's type: SQLite itself takes any."""
        columns = self._read(f"PRAGMA table_info({table})")
        wrong = (f"typeof({column['name']}) NOT IN ({_TYPES[column['type']]})" for column in columns)
        return f"SELECT 1 FROM {table} WHERE {' OR '.join(wrong)} LIMIT 1"  # noqa: S608 - names of our own schema
