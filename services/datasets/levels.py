"""The level of each frame of a dataset: what its header or a table says of it, else the mean of its pixels."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from calibration.frames import Pixels
from calibration.keywords.values import number
from services.datasets.frame import DatasetFrame
from services.datasets.survey import Group, Seen, Survey
from services.errors import Usage
from services.files.fits import Unreadable, decode, pixel_location, read_pixels
from services.files.units import opened

_PIECE = 1 << 22
"""Pixels that are read at a time."""
_WORKERS = 2
_AT_ONCE = 256
"""Frames that wait for a worker at a time."""


class Source(StrEnum):
    """Where the levels of a group come from, in words."""

    MEAN = "mean of all pixels, as the headers state it (DATAMEAN)"
    MEDIAN = "median, as the headers state it (DATAMED)"
    TABLE = "mean of all pixels, by the table of frames"
    MEASURED = "mean of all pixels, measured for this page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How the levels of a dataset are found.

    Attributes
    ----------
    table : mapping
        Mean of frames by their absolute path, from the table of an earlier processing.
    measures : bool
        Whether frames of which nothing says the level are read.
    begun, progress : callable
        Called with how many frames are to be read, and with how many more have been.
    """

    table: Mapping[Path, float] = field(default_factory=dict)
    measures: bool = True
    begun: Callable[[int], object] = lambda _: None
    progress: Callable[[int], object] = lambda _: None


def table_of(path: Path) -> dict[Path, float]:
    """Return the means that a table of frames (PATH and MEAN) states, by absolute path.

    Raises
    ------
    Usage
        It cannot be read, or lacks one of the columns.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file)
            if not {"PATH", "MEAN"} <= set(rows.fieldnames or ()):
                advice = "name the frame_stats.csv that `nightcal dataset process` has written"
                raise Usage(f"{path} has no columns PATH and MEAN", advice=advice)
            found = ((row["PATH"], number(row["MEAN"])) for row in rows)
            return {(path.parent / name).resolve(): mean for name, mean in found if name and mean is not None}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Usage(f"{path} cannot be read: {error}", advice="name a table with the columns PATH and MEAN") from error


def with_levels(survey: Survey, how: Levels) -> Survey:
    """Return the survey with the level of each frame.

    All levels of a group are one quantity, so that a step in them is one of the frames: from the first of `Source` that
    knows all of them. A table of means need not have all frames: the others are read. Frames that are read have their
    zeros counted as well, where nobody has.
    """
    sources = [_source(group, how) for group in survey.groups]
    groups = list(zip(survey.groups, sources, strict=True))
    unread = [each for group, source in groups for each in group.frames if _stated(each.frame, source, how) is None]
    measured = _measured(unread if how.measures else [], how)
    return Survey(tuple(_with(group, source, how, measured) for group, source in groups))


def _source(group: Group, how: Levels) -> Source:
    for source in (Source.MEAN, Source.MEDIAN):
        if all(_stated(each.frame, source, how) is not None for each in group.frames):
            return source
    has_table = any(_stated(each.frame, Source.TABLE, how) is not None for each in group.frames)
    return Source.TABLE if has_table else Source.MEASURED


def _stated(frame: DatasetFrame, source: Source, how: Levels) -> float | None:
    if source is Source.MEAN:
        return number(frame.header.extra.get("DATAMEAN"))
    if source is Source.MEDIAN:
        return frame.header.median_adu
    return how.table.get(frame.path.resolve()) if how.table and source is Source.TABLE else None


def _with(group: Group, source: Source, how: Levels, measured: Mapping[Path, "_Read"]) -> Group:
    frames = []
    for each in group.frames:
        stated, read = _stated(each.frame, source, how), measured.get(each.frame.path, _Read())
        level_adu = read.level_adu if stated is None else stated
        zeros = read.zero_fraction if each.zero_fraction is None else each.zero_fraction
        frames.append(replace(each, level_adu=level_adu, zero_fraction=zeros, problem=read.problem))
    known = any(each.level_adu is not None for each in frames)
    return replace(group, frames=tuple(frames), levels_from=source.value if known else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What the pixels of a frame say: their mean, how many of them are 0, or why they cannot be read."""

    level_adu: float | None = None
    zero_fraction: float | None = None
    problem: str = ""


def _measured(frames: Sequence[Seen], how: Levels) -> dict[Path, _Read]:
    how.begun(len(frames))
    found: dict[Path, _Read] = {}
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="nightcal-levels") as pool:
        for start in range(0, len(frames), _AT_ONCE):
            paths = [each.frame.path for each in frames[start : start + _AT_ONCE]]
            for path, read in zip(paths, pool.map(_read, paths), strict=True):
                found[path] = read
                how.progress(1)
    return found


def _read(path: Path) -> _Read:
    """Read the pixels of a frame once, a piece at a time where they lie in the file as they are."""
    total, known, zeros, size = 0.0, 0, 0, 0
    try:
        for pixels in _pieces(path):
            values = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
            total += float(values.sum(dtype=np.float64 if values.dtype.kind == "f" else np.int64))
            known += values.size
            size += pixels.size
            zeros += values.size - int(np.count_nonzero(values))
    except Unreadable as error:
        return _Read(problem=error.detail)
    return _Read(level_adu=total / known if known else None, zero_fraction=zeros / size if size else None)


def _pieces(path: Path) -> Iterator[Pixels]:
    location = pixel_location(path)
    if location is None:
        yield read_pixels(path)
        return
    rows = max(1, _PIECE // location.shape[1])
    with opened(path) as file:
        file.seek(location.offset)
        for start in range(0, location.shape[0], rows):
            wanted = min(rows, location.shape[0] - start)
            data = file.read(wanted * location.row_bytes)
            if len(data) < wanted * location.row_bytes:
                raise Unreadable(f"{path}: truncated, {start} of {location.shape[0]} rows are whole")
            yield decode(data, location, wanted)
