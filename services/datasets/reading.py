"""One FITS file as a frame of a dataset: by its header, else by its name and its folders."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from calibration.errors import CalibrationError
from calibration.frames import FrameHeader, FrameKind, Pixels
from calibration.keywords import kind_of, master_evidence, normalised
from calibration.keywords.values import flag, number
from services.datasets import FITS_DIR
from services.datasets.frame import DatasetFrame
from services.datasets.names import stage_of, vacuum_of
from services.datasets.spread import read_spread
from services.errors import StorageError
from services.files.fits import pixels_of, understood
from services.files.units import Unit, Unreadable, image_unit

MOST_ZEROS = 0.01
"""A larger share of zeros than this makes a frame a bad one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a list says of a frame, whatever its file says; None: nothing.

    Attributes
    ----------
    kind : FrameKind or None
    ccd_temp_c : float or None
        Of a frame whose header states none.
    stage, vacuum : str or None
    zero_fraction : float or None
    is_bad : bool or None
    """

    kind: FrameKind | None = None
    ccd_temp_c: float | None = None
    stage: str | None = None
    vacuum: str | None = None
    zero_fraction: float | None = None
    is_bad: bool | None = None


NOTHING = Listed()


def read_dataset_frame(
    path: Path, within: PurePath, listed: Listed = NOTHING, *, by_rows: bool = False
) -> DatasetFrame | str:
    """Return a frame with what its header says, else its name, else its folders; in words why it is none.

    Parameters
    ----------
    path : Path
    within : PurePath
        The path as seen from the dataset: the part of it that may say what the header does not.
    listed : Listed
        What a list of frames says; its kind, stage, vacuum and verdict hold.
    by_rows : bool
        Whether zeros, where nothing states their share, are counted on some of the rows of a large frame.
    """
    try:
        unit, facts = single_frame(path, within)
        header = _header(unit, within, listed)
        zeros = _zeros(path, unit, facts, listed, by_rows=by_rows)
    except (StorageError, CalibrationError, OSError) as error:
        return in_words(error, path)
    folders, own = path.parent.parts, header.kind if listed.kind is None else own_kind(facts, within)
    return DatasetFrame(
        path=path,
        header=header,
        attempt=header.set_id or attempt_of(within),
        stage=stage_of(folders) if listed.stage is None else listed.stage,
        vacuum=vacuum_of(folders) if listed.vacuum is None else listed.vacuum,
        zero_fraction=zeros,
        own_kind=None if own is header.kind else own,
        bad="" if listed.is_bad is False else why_bad(zeros, facts) or (_MARKED if listed.is_bad else ""),
    )


def own_kind(facts: Mapping[str, object], within: PurePath) -> FrameKind | None:
    """Return the kind that a frame states itself: its header, else its name, else its folders."""
    with suppress(CalibrationError):
        return kind_of(facts, within)
    return None


_MARKED = "it is marked as bad in the list of frames"


def single_frame(path: Path, within: PurePath) -> tuple[Unit, dict[str, object]]:
    """Return the image of a file with its cards; `within` is as for `read_dataset_frame`.

    Raises
    ------
    Unreadable
        It cannot be read, or is a master or a stack.
    """
    unit = image_unit(path)
    facts = normalised(unit.facts)
    if (evidence := master_evidence(facts, within, is_float=unit.is_float)) is not None:
        raise Unreadable(f"it is a master or a stack ({evidence})")
    return unit, facts


def in_words(error: Exception, path: Path) -> str:
    """Return why a file is no frame, without its path."""
    written = error.strerror if isinstance(error, OSError) else None
    return written or str(error).removeprefix(f"{path}: ")


def attempt_of(within: PurePath) -> str:
    """Return the folder of equal frames, as seen from the dataset: a folder for the converted frames is none."""
    folder = within.parent
    return (folder.parent if folder.name == FITS_DIR and folder.parent.name else folder).as_posix()


def why_bad(zeros: float | None, cards: Mapping[str, object]) -> str:
    """Return in words why a frame counts for nothing; "" where it counts."""
    if flag(cards.get("BADSIZE")):
        return "its raw file has too few or too many bytes"
    return f"{zeros:.2%} of its pixels are 0, more than {MOST_ZEROS:.0%}" if (zeros or 0) > MOST_ZEROS else ""


def _header(unit: Unit, within: PurePath, listed: Listed) -> FrameHeader:
    """Return the header of a frame; a kind that a list states goes before that of the header."""
    if listed.kind is not None:
        unit = replace(unit, cards={**unit.cards, "IMAGETYP": listed.kind.value})
    header = understood(unit, within)
    if header.ccd_temp_c is None and header.set_temp_c is None and listed.ccd_temp_c is not None:
        header = replace(header, ccd_temp_c=listed.ccd_temp_c)
    return header


def _zeros(path: Path, unit: Unit, facts: Mapping[str, object], listed: Listed, *, by_rows: bool) -> float | None:
    """Return the share of zeros; nobody counts it where a list says without it whether the frame counts."""
    if listed.zero_fraction is not None:
        return listed.zero_fraction
    stated = number(facts.get("ZEROFRAC"))
    if stated is not None or listed.is_bad is not None:
        return stated
    return _zeros_in(read_spread(path)) if by_rows else share_of_zeros(path, unit, facts)


def share_of_zeros(path: Path, unit: Unit, facts: Mapping[str, object]) -> float:
    """Return the share of zeros in a frame; it is counted where the header does not state it."""
    stated = number(facts.get("ZEROFRAC"))
    if stated is not None:
        return stated
    return _zeros_in(pixels_of(path, unit))


def _zeros_in(pixels: Pixels) -> float:
    return (pixels.size - int(np.count_nonzero(pixels))) / pixels.size
