"""Frames of a night that were rejected, and what became of the masters that were made with them."""

from collections.abc import Iterable, Sequence

from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Mark, MasterRow
from services.reports.event_records import Record


def rejected_of(run_id: str, groups: Iterable[Record], masters: Sequence[Record], catalogue: Catalogue) -> list[Record]:
    """Return a record for each rejected frame that concerns a run, in the order in which they were rejected.

    These are the frames that the run took, those of the sets that it met or made masters of, and those for which it
    built masters anew.

    Members: `path`, `reason`, `at` (when it was rejected), `kind`, `filter`, `exposure_us`, `gain`, `set_temp_c`,
    `set_id`, and

    - `spoilt`: paths of the masters that were made with it, and of the flats whose dark one of them is;
    - `anew`: paths of the masters that this run built in their place.
    """
    marks = catalogue.marks()
    if not marks:
        return []
    rows = catalogue.masters()
    built = {str(master["path"]) for master in masters if master["outcome"] == "built"}
    sets = {str(group.get("set_id")) for group in groups} | {str(each) for m in masters for each in m["sets"]}
    found = [_record(mark, rows, built, catalogue) for mark in marks]
    return [each for each in found if each["anew"] or each["run_id"] == run_id or each["set_id"] in sets]


def _record(mark: Mark, rows: Sequence[MasterRow], built: set[str], catalogue: Catalogue) -> Record:
    spoilt = [row for row in rows if mark.pixel_sha256 in row.inputs]
    darks = {row.path for row in spoilt}
    spoilt += [row for row in rows if darks.intersection(row.darks)]
    paths, shelves = {row.path for row in spoilt}, {row.shelf for row in spoilt}
    frame = next(iter(catalogue.frames(pixel_sha256=mark.pixel_sha256)), None)
    known: Record = dict.fromkeys(("kind", "filter", "exposure_us", "gain", "set_temp_c", "set_id", "run_id"))
    if frame is not None:
        known = {name: getattr(frame, name) for name in known}
    return {
        **known,
        "path": mark.path if frame is None else frame.path,
        "reason": mark.reason,
        "at": None if mark.at is None else mark.at.isoformat(),
        "spoilt": sorted(paths),
        "anew": sorted(row.path for row in rows if row.path in built - paths and row.shelf in shelves),
    }
