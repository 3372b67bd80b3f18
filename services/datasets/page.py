"""The page of a dataset, one file that loads nothing: what there is, what is missing or bad, and levels."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from services.datasets import FITS_DIR, SEARCH_DEPTH
from services.datasets.faults import Fault, faults_of, raws_without_frames
from services.datasets.frame import DatasetFrames
from services.datasets.frames import INDEX, frames_of
from services.datasets.levels import Levels, with_levels
from services.datasets.page_charts import charts_of
from services.datasets.page_tables import is_long, levels_table, listed, matrices
from services.datasets.survey import Survey, celsius, survey_of
from services.datasets.words import exposure, span
from services.errors import Usage
from services.files.layout import Layout
from services.reports.parts import page
from services.reports.summary import Headline
from services.version import version
from services.words import count, number


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPage:
    """What the page of a dataset shows.

    Attributes
    ----------
    base : Path
        The folder or index that it was made of.
    root : Path
        Folder as seen from which files are named.
    survey : Survey
    faults : tuple of Fault
    unusable : int
        Files that cannot be used: bad frames, files that are no frames, raw files without a frame.
    """

    base: Path
    root: Path
    survey: Survey
    faults: tuple[Fault, ...]
    unusable: int


def page_of(
    base: Path, found: DatasetFrames, levels: Levels | None = None, *, depth: int = SEARCH_DEPTH
) -> DatasetPage:
    """Return what the page of a dataset shows; nothing is written, and no file is changed.

    Parameters
    ----------
    base : Path
        An index, a folder of FITS files, or the root of a nightcal.
    found : DatasetFrames
        Its frames (`frames_or_none`).
    levels : Levels, optional
        Where the levels of frames come from, by default their headers, else their pixels.
    depth : int
        Folders in which raw files without a frame are looked for.
    """
    base = base.absolute()
    root = _root(base, found)
    survey = with_levels(survey_of(found.frames), levels or Levels())
    is_root = Layout(base).catalogue.is_file()
    lost = () if is_root else raws_without_frames(_scope(base, root, survey), survey, depth=depth)
    return DatasetPage(
        base=base,
        root=root,
        survey=survey,
        faults=faults_of(survey, root, left_out=found.left_out, lost=lost),
        unusable=sum(not each.counts for each in survey.frames) + len(found.left_out) + len(lost),
    )


def frames_or_none(
    base: Path, *, depth: int = SEARCH_DEPTH, progress: Callable[[int], object] = lambda _: None
) -> DatasetFrames:
    """Return the frames of a dataset as `frames_of`; none of a folder that has none, which is what its page says.

    Raises
    ------
    Usage, StorageError
        As `frames_of`, but for a folder without frames.
    """
    base = base.absolute()
    try:
        return frames_of(base, depth=depth, progress=progress)
    except Usage:
        if not base.is_dir() or (base / INDEX).exists():
            raise
        return DatasetFrames(frames=())


def _root(base: Path, found: DatasetFrames) -> Path:
    """Return the folder that all frames are in, as seen from which they are named: the index's own where it can be."""
    folder = base if base.is_dir() else base.parent
    if all(each.path.is_relative_to(folder) for each in found.frames):
        return folder
    try:
        return Path(os.path.commonpath([folder, *(each.path for each in found.frames)]))
    except ValueError:  # several drives
        return folder


def _scope(base: Path, root: Path, survey: Survey) -> Path:
    """Return the folder below which raw files belong to the dataset: of an index no more than what its frames span."""
    if base.is_dir() and not (base / INDEX).is_file():
        return base
    folders = {each.frame.path.parent for each in survey.frames}
    folders = {folder.parent if folder.name == FITS_DIR else folder for folder in folders}
    try:
        return Path(os.path.commonpath(folders)) if folders else root
    except ValueError:
        return root


def render(shown: DatasetPage) -> str:
    """Return the page as HTML: one file that loads nothing."""
    survey = shown.survey
    levels, charts = levels_table(survey), charts_of(survey)
    return page(
        "dataset.html",
        {
            "title": f"Dataset {shown.root.name or shown.root}",
            "base": str(shown.base),
            "times": _times(survey),
            "headline": headline(shown),
            "facts": _facts(shown),
            "matrices": matrices(survey),
            "faults": listed(shown.faults),
            "levels": levels,
            "levels_are_long": is_long(levels),
            "charts": charts,
            "software": f"nightcal {version()}",
        },
    )


def headline(shown: DatasetPage) -> Headline:
    """Return how the dataset stands, and what to look at first."""
    frames = len(shown.survey.frames)
    good = sum(each.counts for each in shown.survey.frames)
    advice = tuple(f"{fault.what}: {count(fault.files, 'file')}." for fault in shown.faults)
    if not frames:
        detail = (
            "Here are no FITS files. Raw files become FITS frames with “nightcal dataset import FOLDER”; files that "
            "lie deeper are found with a larger --search-depth."
        )
        return Headline(look="bad", text="There is no frame", detail=detail, advice=advice)
    if not shown.faults:
        return Headline(look="ok", text=f"{_all(frames)} can be used", detail="Nothing was found that is wrong.")
    if good == frames and not shown.unusable:
        text = f"{_all(frames)} can be used, but there is something to look at"
        return Headline(look="warn", text=text, detail="", advice=advice)
    text = f"{number(good)} of {number(frames)} {'frame' if frames == 1 else 'frames'} can be used"
    return Headline(look="warn" if good else "bad", text=text, detail="", advice=advice)


def _all(frames: int) -> str:
    return "The one frame" if frames == 1 else f"All {number(frames)} frames"


def _facts(shown: DatasetPage) -> tuple[tuple[str, str], ...]:
    """Return the numbers at the head of the page, each with what it counts."""
    survey = shown.survey
    good = sum(each.counts for each in survey.frames)
    warm = [c for each in survey.frames if (c := celsius(each.frame.header)) is not None]
    long = [us for group in survey.groups if (us := group.exposure_us) is not None]
    if not survey.frames:
        return ()
    return (
        (number(len(survey.frames)), "frames" if len(survey.frames) != 1 else "frame"),
        (number(good), "can be used"),
        (number(shown.unusable), "files cannot be used"),
        (number(len(survey.attempts)), "attempts"),
        (number(len(survey.groups)), "groups of equal frames"),
        (span(warm), "temperatures"),
        (_range(long), "exposures"),
    )


def _range(exposures_us: Sequence[int]) -> str:
    if not exposures_us:
        return exposure(None)
    ends = exposure(min(exposures_us)), exposure(max(exposures_us))
    return ends[0] if ends[0] == ends[1] else " … ".join(ends)


def _times(survey: Survey) -> str:
    """Return from when to when the frames were taken."""
    known = [each.at_s for each in survey.frames if each.at_s is not None]
    if not known:
        clock = (
            "; charts are against the camera’s own clock" if any(e.clock_s is not None for e in survey.frames) else ""
        )
        return f"No frame says on which day it was taken{clock}." if survey.frames else ""
    ends = [f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" for at in (min(known), max(known))]
    unknown = len(survey.frames) - len(known)
    rest = f"; {count(unknown, 'frame')} without a time" if unknown else ""
    return f"Taken {' to '.join(ends)} UTC{rest}."
