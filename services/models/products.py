"""What the products of all models have in common: their headers, and files that replace our own files only."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path

from calibration.errors import CalibrationError
from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import Card, to_cards
from services.bands import Source, source_of
from services.errors import StorageError, Usage
from services.files.disk import REAL_DISK, Disk
from services.files.fits import understood
from services.files.planes import PlanesFile
from services.files.units import image_unit, is_complete
from services.version import version

_ABSOLUTE_ZERO_C = -273.15
_KEPT = (
    "instrument", "camera_id", "detector", "telescope", "gain", "offset", "readout_mode", "egain_e_adu",
    "saturation_adu", "step_adu", "bin_x", "bin_y", "origin_x", "origin_y", "pixel_size_x_um", "pixel_size_y_um",
    "row_order", "bayer_pattern", "bayer_offset_x", "bayer_offset_y", "simulated",
)  # fmt: skip


def header_of(first: FrameHeader, kind: FrameKind, celsius: float | None = None) -> FrameHeader:
    """Return what the frames of a model have in common, as a header of its products."""
    kept = {name: getattr(first, name) for name in _KEPT}
    return FrameHeader(kind=kind, shape=first.shape, ccd_temp_c=celsius, software=f"nightcal {version()}", **kept)


def base_cards(header: FrameHeader, what: str, unit: str = "adu") -> list[Card]:
    """Return the cards of a product; `what` is its type, which begins with MASTER: nothing takes it for a frame."""
    cards = [card for card in to_cards(header) if card.keyword not in {"IMAGETYP", "BUNIT"}]
    return [Card("IMAGETYP", what, "type of frame"), *cards, Card("BUNIT", unit, "unit of the values")]


def header_in(path: Path, kind: FrameKind) -> FrameHeader:
    """Return what the header of a product says of the frames that it was made of.

    Raises
    ------
    Usage
        It cannot be understood.
    """
    unit = image_unit(path)
    try:
        return understood(replace(unit, cards={**unit.cards, "IMAGETYP": kind.value}), path)
    except CalibrationError as error:
        raise Usage(f"{path}: {error}", advice="fit the model again") from error


def refuse_file(out: Path, advice: str) -> None:
    """Refuse a file where a folder is to be; `advice` says what to name instead.

    Raises
    ------
    Usage
        It is a file.
    """
    if out.exists() and not out.is_dir():
        raise Usage(f"{out} is a file", advice=advice)


def refuse_values(temperatures_c: Iterable[float], exposures_s: Iterable[float] = ()) -> None:
    """Refuse numbers for which nothing can be predicted.

    Raises
    ------
    Usage
        A temperature is not above absolute zero, or an exposure is negative, or one is no finite number.
    """
    for celsius in temperatures_c:
        if not (isfinite(celsius) and celsius > _ABSOLUTE_ZERO_C):
            raise Usage(f"{celsius} is no temperature in degrees Celsius", advice="name one, e.g. --temperature -10")
    for seconds in exposures_s:
        if not (isfinite(seconds) and seconds >= 0):
            raise Usage(f"{seconds} is no exposure in seconds", advice="name one, e.g. --exposure 10")


def refuse_foreign(paths: Sequence[Path]) -> None:
    """Refuse to replace files that are not ours.

    Raises
    ------
    Usage
        A file is there that another program wrote.
    """
    for path in paths:
        if path.exists() and not _is_ours(path):
            raise Usage(f"{path} was not written by nightcal, and stays as it is", advice="name another folder")


def _is_ours(path: Path) -> bool:
    return str(card_of(path, "SWCREATE")).startswith("nightcal")


def card_of(path: Path, keyword: str) -> object:
    """Return a card of the first header of a file of planes; None where the file or the card is missing."""
    from astropy.io import fits  # 0.3 s to import

    try:
        return fits.getheader(path).get(keyword)
    except Exception:  # noqa: BLE001 - a damaged file may end in anything
        return None


def decimal_text(value: float, least: int = 0) -> str:
    """Return a number for the name of a file: `least` decimals, and up to six where it has more.

    Numbers that differ by a millionth or more have different names, so that no file is written over another one.
    """
    whole, _, decimals = f"{round(value, 6) + 0.0:.6f}".partition(".")
    decimals = decimals[:least] + decimals[least:].rstrip("0")
    return f"{whole}.{decimals}" if decimals else whole


def is_whole(path: Path, identity: str) -> bool:
    """Whether a file of planes has all its bytes, and is that of a model with this identity."""
    return is_complete(path) and card_of(path, "MODELID") == identity


def put_in_place(files: Sequence[PlanesFile], disk: Disk = REAL_DISK) -> None:
    """Give finished files their names, in place of older ones."""
    for file in files:
        file.seal()
    for file in files:
        disk.remove(file.path)
        file.commit()


def forget_others(out: Path, before: Iterable[str], names: Iterable[str], disk: Disk = REAL_DISK) -> None:
    """Remove the files of an earlier fit into the same folder that the new one has not.

    Parameters
    ----------
    out : Path
        The folder; nothing outside of it is removed.
    before, names : iterable of str
        Paths below it, of the earlier fit and of the new one.
    disk : Disk
    """
    for name in set(before) - set(names):
        path = out / name
        if path.resolve().is_relative_to(out.resolve()):
            disk.remove(path)


def hot_mask(path: Path, shape: tuple[int, int], scratch: Path) -> Source:
    """Return a mask of hot pixels, checked to be an image of the size of the frames.

    Raises
    ------
    Usage
        It cannot be read, or has another size.
    """
    try:
        source = source_of(path, scratch)
    except StorageError as error:
        raise Usage(f"the hot pixel mask cannot be read: {error.detail}", advice="name a FITS image") from error
    if source.location.shape != shape:
        size, wanted = source.location.shape, f"{shape[1]} x {shape[0]}"
        raise Usage(f"{path} has {size[1]} x {size[0]} pixels, the frames {wanted}", advice="name a mask of that size")
    return source
