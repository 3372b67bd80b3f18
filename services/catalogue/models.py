"""Models of the detector and the frames that they were made of: which model there is, and which is valid."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from calibration.frames import GroupKey
from services.catalogue.masters import MasterTable
from services.catalogue.plain import key_from_dict, key_to_dict, parse_time, plain, time_text
from services.catalogue.tables import where_of
from services.catalogue.typed import check_types
from services.events.records import json_value

_FILTERS = ("path", "kind", "camera", "recipe")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model on disk.

    `path` is its folder; `kind` a word of `models.kinds`; `key` what its frames have in common, without temperature,
    exposure and night. `recipe` is a hash over the frames that it was offered, and the version of the fit: the same
    recipe is the same model. `inputs` are the pixel hashes of the frames that it holds, `identity` is that in the
    headers of its planes. `said` is what is known of it beside: family, notes, parameters, how far it moved.
    """

    path: str
    kind: str
    key: GroupKey
    recipe: str
    identity: str
    fitted_at: datetime
    coldest_c: float
    warmest_c: float
    temperatures: int
    sessions: int
    run_id: str | None = None
    inputs: tuple[str, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` gives the row back."""
        record: dict[str, Any] = {f.name: plain(getattr(self, f.name)) for f in fields(self)}
        record["key"] = key_to_dict(self.key)
        return record

    @classmethod
    def from_dict(cls, record: Any) -> "ModelRow":
        """Return the row of plain JSON values; members that a newer version added are ignored.

        Raises
        ------
        KeyError, ValueError, TypeError
            The values are no model's.
        """
        if not isinstance(record, Mapping) or not isinstance(record["key"], Mapping):
            raise TypeError("a model's record is an object with an object `key`")
        known = {name: record[name] for name in cls.__slots__ if name in record}
        known["fitted_at"] = parse_time(known.get("fitted_at"))
        known["key"] = key_from_dict(record["key"])
        known["inputs"] = tuple(known.get("inputs", ()))
        row = cls(**known)
        check_types(row)
        check_types(row.key)
        return row


class ModelTable(MasterTable):
    """The tables `models` and `model_inputs`."""

    def add_model(self, row: ModelRow) -> None:
        """Record a model that is on disk; a row of the same path is replaced."""
        record = json.dumps({**row.to_dict(), "inputs": []}, default=json_value)
        values = (row.path, row.kind, row.key.camera, row.recipe, time_text(row.fitted_at), record)
        with self.at_once() as base:
            base.execute("DELETE FROM models WHERE path = ?", (row.path,))
            base.execute("INSERT INTO models VALUES (?,?,?,?,?,?)", values)
            base.executemany("INSERT INTO model_inputs VALUES (?,?)", [(row.path, sha) for sha in row.inputs])

    def models(self, **filters: Any) -> list[ModelRow]:
        """Return models by their paths; filters are path, kind, camera, recipe, with values as for `frames`."""
        where, values = where_of(filters, _FILTERS)
        query = f"SELECT path, record FROM models{where} ORDER BY path"  # noqa: S608 - our own columns
        inputs: dict[str, list[str]] = {}
        with self._lock:  # a model that is added in between would have no inputs
            records = self._read(query, values)
            for path, sha in self._read("SELECT model, pixel_sha256 FROM model_inputs ORDER BY rowid"):
                inputs.setdefault(path, []).append(sha)
        with self._understood():
            return [
                ModelRow.from_dict({**json.loads(each["record"]), "inputs": inputs.get(each["path"], [])})
                for each in records
            ]

    def valid_models(self, **filters: Any) -> list[ModelRow]:
        """Return the models that hold: none of their frames was rejected, nor is of a master that is, or no longer is.

        One that does not hold is made anew by the next fit, without those frames.
        """
        spent = self.spent()
        of_frames = "SELECT kind, set_id, min(date_obs) FROM model_inputs JOIN frames USING (pixel_sha256)"
        marked = "SELECT EXISTS(SELECT 1 FROM model_inputs JOIN marks USING (pixel_sha256) WHERE model = ?)"

        def holds(row: ModelRow) -> bool:
            if self._read(marked, (row.path,))[0][0]:
                return False
            for kind, set_id, oldest in self._read(f"{of_frames} WHERE model = ? GROUP BY kind, set_id", (row.path,)):
                since, at = spent.since.get(kind), parse_time(oldest)
                if (kind, set_id) in spent.sets or (since is not None and at is not None and at < since):
                    return False
            return True

        return [row for row in self.models(**filters) if holds(row)]

    def remove_models(self, paths: Iterable[str]) -> None:
        """Forget models (their files are gone)."""
        self._write_many("DELETE FROM models WHERE path = ?", [(path,) for path in paths])
