"""Whether the bytes of a file are still those that were written: by the sum in its header, or by its pixels' hash."""

from dataclasses import replace
from pathlib import Path

from services.catalogue.rows import FrameRow, MasterRow, is_unchanged
from services.files.fits import pixel_hash, read_pixels
from services.files.sums import check_unit
from services.files.units import Unreadable, image_unit


def check_sum(path: Path) -> None:
    """Hold the data of a file's image against its DATASUM; a file without one passes.

    Parameters
    ----------
    path : Path
        Of any form that can be read; of a compressed image the sum is over what is stored.

    Raises
    ------
    Unreadable
        The file is missing, truncated or damaged, or its data are not those that the sum was taken of.
    """
    check_unit(path, image_unit(path))


def check_pixels(row: FrameRow | MasterRow, path: Path) -> None:
    """Hold the pixels of a file that changed since it was catalogued against the hash they had then.

    Raises
    ------
    Unreadable
        The file is missing, truncated or damaged, or holds other pixels.
    """
    if is_unchanged(row, path):
        return
    if row.pixel_sha256 is None:
        check_sum(path)
    elif pixel_hash(read_pixels(path)) != row.pixel_sha256:
        raise Unreadable(f"{path}: damaged, its pixels are not those that were written")


def is_whole(row: MasterRow, path: Path) -> bool:
    """Return whether a master's file is there with the pixels it was built with."""
    try:
        check_pixels(row, path)
    except Unreadable:
        return False
    return True


def as_it_lies(row: MasterRow, path: Path) -> MasterRow:
    """Return a master's row with size and time of its file, whose pixels have been checked."""
    status = path.stat()
    return replace(row, size=status.st_size, mtime_ns=status.st_mtime_ns)
