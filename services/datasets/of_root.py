"""The frames of a nightcal root as a dataset: its catalogue is the index, and what it does not know is read."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath

from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag, FrameRow, RefusalRow, is_unchanged
from services.datasets.attempts import Section
from services.datasets.files import EVERYWHERE, frames_in
from services.datasets.frame import DatasetFrame, DatasetFrames
from services.datasets.names import natural, stage_of, vacuum_of
from services.datasets.reading import read_dataset_frame
from services.files.fits import Unreadable, pixel_hash, read_pixels
from services.files.layout import Layout

_NEVER = datetime.max.replace(tzinfo=UTC)

Found = tuple[Path, DatasetFrame | str]


def is_root(folder: Path) -> bool:
    """Whether a folder has a catalogue of ours."""
    return Layout(folder).catalogue.is_file()


def roots_below(folder: Path) -> list[Path]:
    """Return the folders with a catalogue of ours, the folder itself and all below; none within another one."""
    found: list[Path] = []
    for place, names, _ in os.walk(folder):
        if is_root(Path(place)):
            found.append(Path(place))
            names.clear()
        names[:] = sorted((name for name in names if not name.startswith(".")), key=natural)
    return found


def frames_of_root(root: Path, progress: Callable[[int], object] = lambda _: None) -> DatasetFrames:
    """Return the frames that lie below a root or that its catalogue lists, the oldest first; nothing is changed.

    A daemon may be at work there. Frames that the catalogue does not know, or that have changed since, are read.

    Parameters
    ----------
    root : Path
    progress : callable
        Called with the number of frames that were looked at.

    Raises
    ------
    StorageError
        The catalogue is damaged, or of a newer version.
    """
    known = _known(Layout(root))
    frames: list[DatasetFrame] = []
    left_out: list[tuple[Path, str]] = []
    for found in (known.catalogued(), known.refused(), known.others()):
        for path, frame in found:
            progress(1)
            if isinstance(frame, str):
                left_out.append((path, frame))
            else:
                frames.append(frame)
    frames.sort(key=lambda each: (each.header.date_obs or _NEVER, each.attempt, each.header.frame_no or 0, each.path))
    return DatasetFrames(frames=tuple(frames), left_out=tuple(left_out))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a catalogue knows of the files below its root."""

    layout: Layout
    rows: Sequence[FrameRow]
    refusals: Sequence[RefusalRow]
    masters: frozenset[str]
    reasons: Mapping[str, str]
    """Why frames were rejected, by the hash of their pixels."""

    def catalogued(self) -> Iterator[Found]:
        """Yield the frames of the catalogue, those that were rejected as bad ones."""
        for row in self.rows:
            path = self.layout.absolute(row.path)
            frame = as_catalogued(row, path) if is_unchanged(row, path) else self._read(path)
            if isinstance(frame, str):
                yield path, frame if path.exists() else "the catalogue lists it, but it is not there"
                continue
            if row.flag is Flag.BAD:
                reason = self.reasons.get(row.pixel_sha256, "")
                frame = replace(frame, bad=f"it was rejected: {reason}" if reason else "it was rejected")
            yield path, replace(frame, attempt=row.set_id or frame.attempt)

    def refused(self) -> Iterator[Found]:
        """Yield the frames that a run refused and that were kept, as bad ones."""
        for refusal in self.refusals:
            path = None if refusal.path is None else self.layout.absolute(refusal.path)
            if path is None or not path.is_file():
                continue  # it was not kept, or its place was needed for others
            frame = self._read(path)
            bad = f"it was refused: {', '.join(refusal.codes)}"
            yield path, frame if isinstance(frame, str) else replace(frame, bad=bad)

    def others(self) -> Iterator[Found]:
        """Yield the frames below the root that the catalogue does not know; a copy of one that it knows is left out."""
        listed = {self.layout.absolute(path) for path in self._listed()}
        holders = {row.pixel_sha256: row.path for row in self.rows}
        for path in frames_in(Section(root=self.layout.root), EVERYWHERE):
            if path in listed or any(path.is_relative_to(each) for each in (self.layout.refused, self.layout.models)):
                continue
            frame = self._read(path)
            holder = None if isinstance(frame, str) else holders.get(_hash(path))
            yield path, frame if holder is None else f"its pixels are those of {holder}"

    def _listed(self) -> Iterator[str]:
        yield from (row.path for row in self.rows)
        yield from self.masters

    def _within(self, path: Path) -> PurePath:
        root = self.layout.root
        return PurePath(root.name) / path.relative_to(root) if path.is_relative_to(root) else path

    def _read(self, path: Path) -> DatasetFrame | str:
        return read_dataset_frame(path, self._within(path))


def as_catalogued(row: FrameRow, path: Path) -> DatasetFrame:
    """Return the frame of a catalogue's row, which lies at a path, without reading it."""
    folders = path.parent.parts
    return DatasetFrame(
        path=path, header=row.header(), attempt=row.set_id or "", stage=stage_of(folders), vacuum=vacuum_of(folders)
    )


def _known(layout: Layout) -> _Known:
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        return _Known(
            layout=layout,
            rows=catalogue.frames(),
            refusals=catalogue.refusals(),
            masters=frozenset(row.path for row in catalogue.masters()),
            reasons={mark.pixel_sha256: mark.reason for mark in catalogue.marks()},
        )


def _hash(path: Path) -> str:
    try:
        return pixel_hash(read_pixels(path))
    except Unreadable:
        return ""
