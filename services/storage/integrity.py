"""Whether the bytes of a file are still those that were written: by the sum in its header, or by its pixels' hash."""

from pathlib import Path

from services.storage.cards import padded, sum_of
from services.storage.units import Unreadable, image_unit, opened

_PIECE_BYTES = 1 << 23


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
    unit = image_unit(path)
    told = str(unit.cards.get("DATASUM", "")).strip()
    if not told.isdecimal():
        return
    total, left = 0, padded(unit.size)
    with opened(path) as file:
        file.seek(unit.offset)
        while left and (data := file.read(min(left, _PIECE_BYTES))):
            total, left = sum_of(data, total), left - len(data)
    if total != int(told):
        raise Unreadable(f"{path}: damaged, its data are not those that were written (DATASUM)")
