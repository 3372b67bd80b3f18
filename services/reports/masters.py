"""The masters of a run's night: built, refused, or built earlier that night; each with a frame that went into it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial

from calibration.grouping import night_label
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import MasterRow
from services.events.decoder import plain, record_of
from services.events.findings import Finding, Statistics
from services.events.records import Event, MasterBuilt, MasterRefused, RunStarted, StepFinished, json_value, members
from services.reports.event_records import Record


def masters_of(events: Iterable[Event], catalogue: Catalogue) -> tuple[Record, ...]:
    """Return a record a master, in the order in which they were met.

    Members: those of `master.built` or `master.refused`, and

    - `outcome`: `built`, `refused`, or `kept` (it was there already; only those that were built in the same night: all
      others are the library's);
    - `frame`: path of the first frame that went in, None when the catalogue does not know it any more;
    - `sets`: ids of the sets that went in.
    """
    return tuple(_records(tuple(events), catalogue))


def _records(events: tuple[Event, ...], catalogue: Catalogue) -> Iterator[Record]:
    new = {event.what.path or "" for event in events if isinstance(event.what, MasterBuilt)}
    is_of_the_night, there = _night_of(events), kept_paths(events)
    known = {row.path: row.built_at for row in catalogue.masters(with_inputs=False)} if there else {}
    kept = [path for path in there if path in known and is_of_the_night(known[path])]
    rows = {row.path: row for row in catalogue.masters(path=(*new, *kept))}
    for event in events:
        match event.what:
            case MasterBuilt() as built:
                document = {**_document(event), "statistics": _statistics(built.statistics)}
                yield {**document, "outcome": "built", **_source(rows.get(built.path or ""), catalogue)}
            case MasterRefused():
                yield {**_document(event), "outcome": "refused", **_source(None, catalogue)}
    for row in (rows[path] for path in kept):
        yield {**_of_row(row), "outcome": "kept", **_source(row, catalogue)}


def kept_paths(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the paths of all masters that the run found there already, whenever they were built."""
    return tuple(dict.fromkeys(path for e in events if isinstance(e.what, StepFinished) for path in e.what.kept))


def _night_of(events: Iterable[Event]) -> Callable[[datetime], bool]:
    """Return what says whether a moment belongs to the night in which the run began."""
    for event in events:
        if isinstance(event.what, RunStarted):
            site = event.what.settings.get("site")
            longitude = site.get("longitude") if isinstance(site, Mapping) else None
            label = partial(night_label, longitude_deg=longitude if isinstance(longitude, int | float) else None)
            night = label(event.at)
            return lambda at: label(at) == night
    return lambda _at: False


def _document(event: Event) -> Record:
    return {"at": event.at.isoformat(), **members(event.what)}


def _of_row(row: MasterRow) -> Record:
    record = row.to_dict()
    shown: Record = {name: record[name] for name in ("path", "exposure_us", "n", "rejected", "status")}
    shown |= {"kind": str(row.kind), "filter": row.key.filter, "gain": row.key.gain, "at": record["built_at"]}
    statistics = record_of(MasterBuilt, plain({"statistics": json_value(row.statistics)})).statistics
    return dict(plain(shown)) | {"statistics": _statistics(statistics)}


def _statistics(statistics: Statistics) -> Record:
    """Return what was measured, and its verdict with the findings that it rests on."""
    verdict, findings = statistics.get("verdict"), statistics.get("verdicts")
    listed = findings if isinstance(findings, tuple) else ()
    measured = {name: each for name, each in statistics.items() if name == "dark" or not isinstance(each, str)}
    measured.pop("verdicts", None)
    return {
        **json_value(measured),
        "verdict": verdict if isinstance(verdict, str) else None,
        "verdicts": [members(each) for each in listed if isinstance(each, Finding)],
    }


def _source(row: MasterRow | None, catalogue: Catalogue) -> Record:
    if row is None or not row.inputs:
        return {"frame": None, "sets": []}
    frames = catalogue.frames(pixel_sha256=list(row.inputs))
    first = min(frames, key=lambda f: row.inputs.index(f.pixel_sha256), default=None)
    sets = dict.fromkeys(f.set_id for f in frames if f.set_id is not None)
    return {"frame": None if first is None else first.path, "sets": list(sets)}
