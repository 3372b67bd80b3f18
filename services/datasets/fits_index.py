"""`fits_index.csv`: one row for each frame that was made of a raw file."""

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from os import path as names
from pathlib import Path

from calibration.keywords.values import number
from services.files.disk import REAL_DISK, Disk, write_text

FILE = "fits_index.csv"
COLUMNS = (
    "BADSIZE", "CALTYPE", "EQTEMP", "EXPTIME", "FILETEMP", "FRAMENUM", "GAIN", "PATH", "REXPTIME", "TEMP", "TEMP_0",
)  # fmt: skip
"""Columns that may be there, in their order; one that no frame has a value for is left out."""


def row_of(cards: Mapping[str, object]) -> dict[str, str]:
    """Return the row of a frame by its cards, without its path."""
    found = {name: _written(cards[name]) for name in COLUMNS if name in cards}
    if "FRAMENUM" in found and (frame := number(found["FRAMENUM"])) is not None and frame == int(frame):
        found["FRAMENUM"] = str(int(frame))
    return found


def path_from(index: Path, fits: Path) -> str:
    """Return the path of a frame as seen from the folder of a table."""
    folder = _from(index.parent, fits.parent)
    return f"{folder}/{fits.name}" if folder != "." else fits.name


@lru_cache(maxsize=1024)
def _from(here: Path, folder: Path) -> str:
    try:
        return Path(names.relpath(folder, here)).as_posix()
    except ValueError:  # on another drive
        return folder.as_posix()


def _written(value: object) -> str:
    return str(value) if not isinstance(value, float) else f"{value:.12g}"


def table_text(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Return a table with some columns as text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_rows(path: Path, rows: Sequence[Mapping[str, str]], disk: Disk = REAL_DISK) -> None:
    """Write the table with those of its columns that any row has a value for, in place of an older one that differs.

    Raises
    ------
    StorageError
    """
    there = [name for name in COLUMNS if any(row.get(name) for row in rows)]
    write_table(path, table_text(rows, there), disk)


def write_table(path: Path, text: str, disk: Disk = REAL_DISK) -> None:
    """Write a table in place of an older one; one that is there with the same text is left as it is.

    Raises
    ------
    StorageError
    """
    with suppress(OSError):
        if path.read_bytes() == text.encode("utf-8", "surrogateescape"):
            return
    write_text(path, text, disk, replace=True)
