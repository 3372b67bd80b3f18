"""The masters of a run: built, kept from before, refused; each with a frame that went into it."""

from collections.abc import Iterable, Iterator

from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import MasterRow
from services.events.records import MasterBuilt, MasterRefused, StepFinished
from services.reports.journal import Record, named, plain, sound_statistics


def masters_of(events: Iterable[Record], catalogue: Catalogue) -> tuple[Record, ...]:
    """Return a record a master, in the order in which they were met.

    Members: those of `master.built` or `master.refused`, and

    - `outcome`: `built`, `kept` (it was there already) or `refused`;
    - `frame`: path of the first frame that went in, None when the catalogue does not know it any more;
    - `sets`: ids of the sets that went in.
    """
    return tuple(_records(tuple(events), catalogue))


def _records(events: tuple[Record, ...], catalogue: Catalogue) -> Iterator[Record]:
    rows = {row.path: row for row in catalogue.masters()}
    for event in named(events, MasterBuilt.name, MasterRefused.name):
        outcome = "built" if event.pop("name") == MasterBuilt.name else "refused"
        row = rows.get(str(event.get("path")))
        yield {**event, "outcome": outcome, **_source(row, catalogue)}
    for event in named(events, StepFinished.name):
        for path in event.get("kept") or ():
            row = rows.get(str(path))
            if row is not None:
                yield {**_told(row), "outcome": "kept", **_source(row, catalogue)}


def _told(row: MasterRow) -> Record:
    record = row.to_dict()
    shown: Record = {name: record[name] for name in ("path", "exposure_us", "n", "rejected", "status", "statistics")}
    shown |= {"kind": str(row.kind), "filter": row.key.filter, "gain": row.key.gain, "at": record["built_at"]}
    return dict(plain(shown)) | {"statistics": sound_statistics(row.statistics)}


def _source(row: MasterRow | None, catalogue: Catalogue) -> Record:
    if row is None or not row.inputs:
        return {"frame": None, "sets": []}
    frames = catalogue.frames(pixel_sha256=list(row.inputs))
    first = min(frames, key=lambda f: row.inputs.index(f.pixel_sha256), default=None)
    sets = dict.fromkeys(f.set_id for f in frames if f.set_id is not None)
    return {"frame": None if first is None else first.path, "sets": list(sets)}
