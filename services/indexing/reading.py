"""Reading frames for the catalogue: a file's row, or why it has none. One broken file never keeps the rest out."""

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path, PurePath

from calibration.errors import CalibrationError, HeaderError
from calibration.frames import FrameHeader, FrameKind
from calibration.grouping import night_label
from calibration.keywords import (
    KIND_KEYWORDS,
    NO_ALIASES,
    Aliases,
    is_of_other_use,
    kind_of,
    master_evidence,
    normalised,
    read_as,
    with_aliases,
)
from calibration.keywords.values import text
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, Origin
from services.errors import RunCode, StorageError
from services.files.fits import pixel_hash, read_cards, read_pixels, understood
from services.files.layout import Layout
from services.files.units import Unit, Unreadable, image_unit
from services.indexing.checksums import check_sum
from services.indexing.glance import Glanced, glance_at
from services.indexing.problems import FileProblem

Beside = Callable[[str], None]
"""Called with the name of each image that stands beside the frame in its file."""


def row_or_problem(
    row_of: Callable[[Path, str], FrameRow | None], path: Path, name: str, problems: list[FileProblem]
) -> FrameRow | None:
    """Return the row of a file; None when it is not wanted, or when it is broken, which is added to the problems."""
    try:
        name.encode()
        return row_of(path, name)
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        problems.append(FileProblem(path=shown, reason="its name is no Unicode text"))
    except Unreadable as error:
        problems.append(FileProblem(path=name, reason=_without(path, error), code=error.code))
    except LeftOut as error:
        problems.append(FileProblem(path=name, reason=error.reason, code=error.code))
    except HeaderError as error:
        problems.append(FileProblem(path=name, reason=str(error), code=_code_of(error)))
    except (StorageError, CalibrationError) as error:
        problems.append(FileProblem(path=name, reason=_without(path, error)))
    except OSError as error:
        problems.append(FileProblem(path=name, reason=error.strerror or str(error)))
    return None


def _code_of(error: HeaderError) -> RunCode:
    """Return why a header is not understood; a focus frame is no calibration frame, and no loss."""
    if error.keyword not in KIND_KEYWORDS or error.found is None:
        return RunCode.CARD_UNKNOWN
    return RunCode.LIGHT_FRAME if is_of_other_use(str(error.found)) else RunCode.TYPE_UNKNOWN


def _without(path: Path, error: Exception) -> str:
    """Return what an error says without the path, which is said beside it."""
    return str(error).removeprefix(f"{path}: ")


def without_copies(
    new: list[FrameRow], catalogue: Catalogue, gone: Collection[str], problems: list[FileProblem]
) -> list[FrameRow]:
    """Return new rows without copies: the same pixels twice are one frame, whatever the files are called.

    Paths that are gone from the catalogue, or are read anew, hold no pixels any more.
    """
    replaced = {*gone, *(row.path for row in new)}
    holders: dict[tuple[FrameKind, str], str] = {}
    kept = []
    for row in new:
        there = catalogue.frames(kind=row.kind, pixel_sha256=row.pixel_sha256)
        known = next((other.path for other in there if other.path not in replaced), row.path)
        holder = holders.setdefault((row.kind, row.pixel_sha256), known)
        if holder == row.path:
            kept.append(row)
        else:
            reason = f"its pixels are those of {holder}"
            problems.append(FileProblem(path=row.path, reason=reason, code=RunCode.FRAME_COPIED))
    return kept


def own_row(path: Path, name: str) -> FrameRow | None:
    """Return the row of one of our frames; None for a foreign file."""
    unit = image_unit(path)
    if text(normalised(unit.facts).get("SETID")) is None:
        return None
    header = understood(unit, path)
    check_sum(path)
    return _row(path, name, header)


def own_unseen_row(path: Path, name: str) -> FrameRow | None:
    """Return the row of one of our frames by its header alone, as `unseen_row`; None for a foreign file."""
    unit = image_unit(path)
    if text(normalised(unit.facts).get("SETID")) is None:
        return None
    status = path.stat()
    return FrameRow.of(
        understood(unit, path),
        path=name,
        pixel_sha256=f"not read: {name}",
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def cards_of(layout: Layout, row: FrameRow) -> dict[str, object] | None:
    """Return the cards of a frame; None where it cannot be read, of which whoever reads its pixels speaks."""
    try:
        return normalised(read_cards(layout.absolute(row.path)))
    except (StorageError, CalibrationError, OSError):
        return None


class LeftOut(Exception):
    """A file that can be read and is understood, but is no raw calibration frame."""

    def __init__(self, code: RunCode, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


def foreign_row(
    path: Path, name: str, *, longitude_deg: float | None, aliases: Aliases = NO_ALIASES, beside: Beside
) -> FrameRow:
    """Return the row of a bias, dark or flat of any program.

    Parameters
    ----------
    path : Path
    name : str
        As the catalogue names it; its folders may say what the header does not.
    longitude_deg : float or None
        Of the site, east positive, for the night of a frame that does not say.
    aliases : mapping
        Keywords that the user has named.
    beside : callable
        Called with the name of each image in the file that is not the frame.

    Raises
    ------
    LeftOut
        It is a light frame, a master, a frame that was calibrated in a way that leaves it no use, or no camera's.
    Unreadable, HeaderError
        It is damaged, or not understood.
    """
    unit = image_unit(path)
    header = _foreign_header(unit, PurePath(name), longitude_deg, aliases)
    if header.set_id is not None:  # nightcal's, from another folder: its sum is true
        check_sum(path)
    found = glance_at(path, unit, bayer=header.bayer_pattern is not None)
    if found.is_normalised:
        raise LeftOut(
            RunCode.NOT_RAW,
            "its values are fractions from 0 to 1: a stack, a picture, or a raw frame whose scale in ADU is lost; "
            "save raw frames as whole numbers of 16 bits",
        )
    for other in unit.beside:
        beside(other)
    return replace(_measured(path, name, header, found), read_as=read_as(aliases))


def unseen_row(
    path: Path, name: str, *, longitude_deg: float | None, aliases: Aliases = NO_ALIASES, beside: Beside
) -> FrameRow:
    """Return the row of a frame by its header alone, for who only asks what a run would do: no pixel is read.

    Level, noise and the hash of the pixels are not known: the file's name stands for the hash. Parameters and errors
    are those of `foreign_row`.
    """
    del beside
    header = _foreign_header(image_unit(path), PurePath(name), longitude_deg, aliases)
    header = replace(header, median_adu=None, std_adu=None)
    status = path.stat()
    return FrameRow.of(
        header,
        path=name,
        pixel_sha256=f"not read: {name}",
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        origin=Origin.FOREIGN,
    )


def _foreign_header(unit: Unit, hint: PurePath, longitude_deg: float | None, aliases: Aliases) -> FrameHeader:
    """Return what the header of another program's raw frame says; raises as `foreign_row`."""
    cards = with_aliases(normalised(unit.facts), aliases)
    if (evidence := master_evidence(cards, hint, is_float=unit.is_float)) is not None:
        raise LeftOut(RunCode.FOREIGN_MASTER, f"it is a master or stack of another program ({evidence})")
    if kind_of(cards, hint) is FrameKind.LIGHT:
        raise LeftOut(RunCode.LIGHT_FRAME, "it is a light frame")
    header = understood(unit, hint, aliases)
    _refuse_calibrated(header)
    if header.night is None and header.date_obs is not None:
        at = header.site_longitude_deg if longitude_deg is None else longitude_deg
        header = replace(header, night=night_label(header.date_obs, at))
    return header


def _measured(path: Path, name: str, header: FrameHeader, found: Glanced) -> FrameRow:
    """Return the row of a foreign frame: level, noise and step are measured, whatever its header says of them."""
    seen, status = found.seen, path.stat()
    header = replace(header, median_adu=seen.level_adu, std_adu=seen.sigma_adu, step_adu=seen.step_adu)
    return FrameRow.of(
        header,
        path=name,
        pixel_sha256=found.pixel_sha256,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        origin=Origin.FOREIGN,
    )


_NO_USE = {FrameKind.BIAS: "BDF", FrameKind.DARK: "DF", FrameKind.FLAT: "F"}
"""Calibrations after which a frame of a kind can serve for nothing: a dark without its dark current, say."""


def _refuse_calibrated(header: FrameHeader) -> None:
    done = header.calibrated or ""
    if set(done) & set(_NO_USE.get(header.kind, "")):
        raise LeftOut(
            RunCode.ALREADY_CALIBRATED,
            f"another program has calibrated this {header.kind.lower()} already (CALSTAT or HISTORY: {done})",
        )
    if "D" in done and header.unread and "PEDESTAL=" in header.unread:
        raise LeftOut(
            RunCode.ALREADY_CALIBRATED,
            f"its dark is subtracted already, and it is not known whether {header.unread} is to be added or subtracted",
        )


def _row(path: Path, name: str, header: FrameHeader) -> FrameRow:
    digest, status = pixel_hash(read_pixels(path)), path.stat()
    return FrameRow.of(header, path=name, pixel_sha256=digest, size=status.st_size, mtime_ns=status.st_mtime_ns)
