"""Frames of a night that were rejected, and what became of the masters that were made with them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

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
    built = {str(master["path"]) for master in masters if master["outcome"] == "built"}
    library = _Library(catalogue.masters(), built)
    sets = {str(group.get("set_id")) for group in groups} | {str(each) for m in masters for each in m["sets"]}
    found = [_record(mark, library, catalogue) for mark in marks]
    return [each for each in found if each["anew"] or each["run_id"] == run_id or each["set_id"] in sets]


class _Library:
    """The masters by the frames that they are made of, and by their darks; and those that the run has built."""

    def __init__(self, rows: Iterable[MasterRow], built: Collection[str]) -> None:
        self._with_frame: defaultdict[str, list[MasterRow]] = defaultdict(list)
        self._with_dark: defaultdict[str, list[MasterRow]] = defaultdict(list)
        self.built: list[MasterRow] = []
        for row in rows:
            for sha in row.inputs:
                self._with_frame[sha].append(row)
            for path in row.darks:
                self._with_dark[path].append(row)
            self.built += [row] if row.path in built else []

    def spoilt_by(self, pixel_sha256: str) -> list[MasterRow]:
        """Return the masters that were made with a frame, and the flats whose dark one of them is."""
        made = self._with_frame.get(pixel_sha256, [])
        return [*made, *(flat for dark in made for flat in self._with_dark.get(dark.path, ()))]


def _record(mark: Mark, library: _Library, catalogue: Catalogue) -> Record:
    spoilt = library.spoilt_by(mark.pixel_sha256)
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
        "anew": sorted(row.path for row in library.built if row.path not in paths and row.shelf in shelves),
    }
