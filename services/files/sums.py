"""Whether the data of a FITS file are those that were written: each unit states the sum of its own (DATASUM)."""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from services.files.cards import add_sums, padded, sum_of
from services.files.units import Unit, Unreadable, opened, units_of

_PIECE_BYTES = 1 << 23
_ALL_ONES = {0, (1 << 32) - 1}


def check_unit(path: Path, unit: Unit) -> None:
    """Hold the data of a unit against its DATASUM; one without a sum passes.

    Raises
    ------
    Unreadable
        The file is missing, truncated or damaged, or the data are not those that the sum was taken of.
    """
    if (stated := _stated(unit)) is not None:
        with opened(path) as file:
            _check_data(path, file, unit, stated)


def check_planes(path: Path, names: Collection[str] | None = None) -> None:
    """Hold an unpacked file against the sums that it states: all headers, and planes of these names (EXTNAME) or all.

    A file that was found good is not read again in this process until its size or time changes.

    Raises
    ------
    Unreadable
        The file is missing, truncated or damaged, or holds not what the sums were taken of.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    _check_planes(path, None if names is None else frozenset(names), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _check_planes(path: Path, names: frozenset[str] | None, size: int, _mtime_ns: int) -> None:
    missing, begin = set(names or ()), 0
    with opened(path) as file:
        for unit in units_of(path):
            end = unit.offset + padded(unit.size)
            if end > size:
                raise Unreadable(f"{path}: truncated, {size} of at least {end} bytes are there")
            stated = _stated(unit)
            _check_header(path, unit, stated, _sum(file, begin, unit.offset - begin))
            missing.discard(name := str(unit.cards.get("EXTNAME", "")).strip())
            if stated is not None and (names is None or name in names):
                _check_data(path, file, unit, stated)
            begin = end
    if missing:
        raise Unreadable(f"{path}: has no plane {min(missing)}")


def _stated(unit: Unit) -> int | None:
    """Return the DATASUM of a header; None where it has none."""
    stated = str(unit.cards.get("DATASUM", "")).strip()
    return int(stated) if stated.isdecimal() and len(stated) <= 10 else None  # a sum has 32 bits


def _check_header(path: Path, unit: Unit, stated: int | None, total: int) -> None:
    """Hold a header against its CHECKSUM, by which its sum and that of its data are all ones; none passes."""
    if "CHECKSUM" in unit.cards and (stated is None or add_sums(total, stated) not in _ALL_ONES):
        raise Unreadable(f"{path}: damaged, a header is not what was written (CHECKSUM)")


def _check_data(path: Path, file: BinaryIO, unit: Unit, stated: int) -> None:
    if _sum(file, unit.offset, padded(unit.size)) != stated:
        raise Unreadable(f"{path}: damaged, its data are not those that were written (DATASUM)")


def _sum(file: BinaryIO, begin: int, left: int) -> int:
    total = 0
    file.seek(begin)
    while left and (data := file.read(min(left, _PIECE_BYTES))):
        total, left = sum_of(data, total), left - len(data)
    return total
