"""Models of the detector and the frames that they were made of: which model there is, and which is valid."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from calibration.frames import FrameKind, GroupKey
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


def settings_of(kind: FrameKind, key: GroupKey) -> GroupKey:
    """Return what the frames of a model share: neither temperature nor exposure nor night."""
    of_flats = kind is FrameKind.FLAT
    return replace(
        key,
        kind=kind,
        exposure_us=None,
        temperature_c=None,
        night=None,
        rotator_angle_deg=None,
        filter=key.filter if of_flats else None,
        source=key.source if of_flats else None,
    )


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

    def model_for(self, kind: str, key: GroupKey, *, without: Collection[str] = ()) -> ModelRow | str:
        """Return the valid model for frames with these settings, or in words why there is none.

        Parameters
        ----------
        kind : str
        key : GroupKey
            Of the frames; temperature, exposure and night do not matter.
        without : collection of str
            Hashes of pixels that must not be in the model.
        """
        same = self.models(kind=kind, camera=key.camera)
        fitting = [row for row in same if row.key == settings_of(row.key.kind, key)]
        if not fitting:
            return f"there is no model of the {kind} with these settings"
        valid = {row.path for row in self.valid_models(kind=kind, camera=key.camera)}
        rows = [row for row in fitting if row.path in valid]
        if not rows:
            return f"the model of the {kind} holds frames that were rejected or invalidated since"
        apart = [row for row in rows if not set(without).intersection(row.inputs)]
        return max(apart, key=lambda row: len(row.inputs)) if apart else f"the model of the {kind} holds these frames"

    def newest_of(self, row: ModelRow) -> datetime | None:
        """Return when the newest frame of a model's own kind was taken; None where that is not known."""
        query = "SELECT max(date_obs) FROM model_inputs JOIN frames USING (pixel_sha256) WHERE model = ? AND kind = ?"
        return parse_time(self._read(query, (row.path, str(row.key.kind)))[0][0])

    def remove_models(self, paths: Iterable[str]) -> None:
        """Forget models (their files are gone)."""
        self._write_many("DELETE FROM models WHERE path = ?", [(path,) for path in paths])
