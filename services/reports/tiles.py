"""Tiles of masters' planes, of differences and of ratios, as PNG of 256 pixels; and the small picture of a frame.

Level 0 is full resolution; each further one has half as many pixels along each side, means of blocks (of masks the most
serious flag of each block). Grey values are the same in all tiles of an image: black and white are percentiles of a
sample of it. Pixels are read in bands, so that memory does not grow with the image.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.combine.recipe import MaskBit
from services.bands import Band, Source, bands_of, plane_of, read_rows
from services.files.fits import pixel_location
from services.files.units import Unreadable
from services.reports.pictures import picture_of

SIDE = 256
"""Pixels along each side of a tile; those at the right and lower edge of an image are smaller."""

LARGEST_BYTES = 100_000
"""Of any picture. A tile has one byte a pixel before it is packed: it is never larger."""

_BAND_PIXELS = 2_000_000
_SAMPLE_ROWS = 200
_STRETCH = (0.3, 99.7)
_FORMS_KEPT = 16

Palette = NDArray[np.uint8]
"""Colours of the values 0 … 255, shape (256, 3). 0 is a pixel that is not known."""


class View(StrEnum):
    """What is shown."""

    MEAN = "mean"
    SIGMA = "sigma"
    COUNT = "count"
    MASK = "mask"
    DIFFERENCE = "difference"
    RATIO = "ratio"
    PREVIEW = "preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a tile is cut from: a file, its planes for SIGMA, COUNT and MASK, and what it is compared with.

    Attributes
    ----------
    path, planes, other : Path or None
    stamp : str
        Of the files: a stretch is kept as long as it is the same.
    """

    path: Path
    planes: Path | None = None
    other: Path | None = None
    stamp: str = ""


def tile(image: Shown, view: View, *, level: int, x: int, y: int, red: bool = False) -> bytes | None:
    """Return a tile as PNG, of a preview as JPEG; None where the image has no such tile.

    The last level is that on which the whole image is one tile.

    Parameters
    ----------
    image : Shown
    view : View
    level : int
        0 is full resolution.
    x, y : int
        Column and row of the tile.
    red : bool
        In shades of red alone, for eyes that are used to the dark.

    Raises
    ------
    Unreadable
        A file is gone or damaged, has no such plane, or the two images differ in size.
    """
    if view is View.PREVIEW:
        return preview(image.path, red=red)
    sources = _sources(image, view)
    height, width = sources[0].location.shape
    step = 1 << level
    top, left = y * SIDE * step, x * SIDE * step
    if top >= height or left >= width or (level and max(height, width) <= SIDE * step // 2):
        return None
    bottom, right = min(height, top + SIDE * step), min(width, left + SIDE * step)
    if view is View.MASK:
        shown = _blocks(sources, view, (top, bottom, left, right), step, _most_serious)
        return _png(shown.astype(np.uint8), _RED_FLAGS if red else _FLAGS)
    values = _blocks(sources, view, (top, bottom, left, right), step, _means)
    low, high = _stretch(image, view)
    palette = _AROUND if view in _COMPARING else _GREY
    return _png(_scaled(values, low, high), _RED if red else palette)


def preview(path: Path, *, red: bool = False) -> bytes | None:
    """Return the small picture of a frame or master as JPEG; None when it is gone, damaged or empty."""
    picture = picture_of(path)
    if picture is None:
        return None
    return shrunk(picture.jpeg, red=red)


def shrunk(jpeg: bytes, *, red: bool = False) -> bytes:
    """Return a picture that is small enough, in shades of red alone if wanted."""
    if not red and len(jpeg) <= LARGEST_BYTES:
        return jpeg
    with Image.open(io.BytesIO(jpeg)) as opened:
        grey = opened.convert("L")
    black = Image.new("L", grey.size)
    shown = Image.merge("RGB", (grey, black, black)) if red else grey
    for quality in (80, 60, 40, 20):
        file = io.BytesIO()
        shown.save(file, "JPEG", quality=quality, subsampling=0 if red else -1)
        if file.tell() <= LARGEST_BYTES:
            break
    return file.getvalue()


_COMPARING = (View.DIFFERENCE, View.RATIO)


def _sources(image: Shown, view: View) -> tuple[Source, ...]:
    if view in (View.SIGMA, View.COUNT, View.MASK):
        if image.planes is None or not image.planes.exists():
            raise Unreadable(f"{image.path.name} has no planes beside it")
        return (plane_of(image.planes, view.upper()),)
    first = _source(image.path)
    if view not in _COMPARING:
        return (first,)
    if image.other is None:
        raise Unreadable(f"{view}: name the other master")
    second = _source(image.other)
    if first.location.shape != second.location.shape:
        raise Unreadable(f"{image.path.name} and {image.other.name} differ in size")
    return first, second


@lru_cache(maxsize=_FORMS_KEPT)
def _located(path: Path, _mtime_ns: int) -> Source:
    location = pixel_location(path)
    if location is None:
        raise Unreadable(f"{path.name} is packed: only its preview can be shown")
    return Source(path=path, location=location)


def _source(path: Path) -> Source:
    try:
        return _located(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error


def _rows(sources: tuple[Source, ...], view: View, band: Band, left: int, right: int) -> NDArray[Any]:
    """Return rows of what is shown, between two columns."""
    first = read_rows(sources[0], band)[:, left:right]
    if view is View.MASK:
        return first
    values = first.astype(np.float32)
    if view in _COMPARING:
        other = read_rows(sources[1], band)[:, left:right].astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = values - other if view is View.DIFFERENCE else np.where(other == 0, np.nan, values / other)
    return values


def _blocks(
    sources: tuple[Source, ...],
    view: View,
    part: tuple[int, int, int, int],
    step: int,
    reduce: Callable[[NDArray[Any], int], NDArray[Any]],
) -> NDArray[Any]:
    """Return a part of an image (top, bottom, left, right) with each block of `step` by `step` pixels as one."""
    top, bottom, left, right = part
    width = sources[0].location.shape[1]
    rows = max(1, _BAND_PIXELS // width // step) * step
    return np.concatenate(
        [
            reduce(_rows(sources, view, Band(start=top + each.start, stop=top + each.stop), left, right), step)
            for each in bands_of(bottom - top, rows)
        ]
    )


def _means(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Return the means of blocks; pixels that are not known do not count, blocks at an edge are smaller."""
    return values if step == 1 else _mean_of(_cut(values.astype(np.float32), step, np.nan), (1, 3))


def _mean_of(blocks: NDArray[Any], axes: tuple[int, int]) -> NDArray[Any]:
    known = np.isfinite(blocks)
    number = known.sum(axis=axes)
    total = np.where(known, blocks, 0).sum(axis=axes, dtype=np.float64)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)


def _most_serious(flags: NDArray[Any], step: int) -> NDArray[Any]:
    """Return the index of the most serious flag of each block: single pixels stay visible, however small the image."""
    ranks = np.zeros(flags.shape, np.uint8)
    for rank, (bit, _) in enumerate(_COLOURS, 2):
        ranks[(flags.astype(np.uint16) & np.uint16(bit)) != 0] = rank
    ranks[ranks == 0] = 1
    return ranks if step == 1 else _cut(ranks, step, 0).max(axis=(1, 3))


def _cut(values: NDArray[Any], step: int, fill: float) -> NDArray[Any]:
    """Cut an image into blocks, shape (rows, step, columns, step)."""
    height, width = (-(-size // step) for size in values.shape)
    if values.shape != (height * step, width * step):
        more = ((0, height * step - values.shape[0]), (0, width * step - values.shape[1]))
        values = np.pad(values, more, constant_values=fill)
    return values.reshape(height, step, width, step)


@lru_cache(maxsize=_FORMS_KEPT)
def _stretch(image: Shown, view: View) -> tuple[float, float]:
    """Return the values that are black and white: percentiles of a sample of the rows of an image."""
    sources = _sources(image, view)
    height, width = sources[0].location.shape
    every = max(1, height // _SAMPLE_ROWS) | 1  # odd: as many rows of every colour of a mosaic
    sample = [
        _rows(sources, view, Band(start=row, stop=row + 1), 0, width)[0, :: max(1, width // 4000) | 1]
        for row in range(0, height, every)
    ]
    known = np.concatenate(sample).astype(np.float64)
    known = known[np.isfinite(known)]
    if known.size == 0:
        return 0.0, 1.0
    low, middle, high = (float(v) for v in np.percentile(known, (_STRETCH[0], 50, _STRETCH[1])))
    if view in _COMPARING:
        reach = max(high - middle, middle - low)
        return middle - reach, middle + reach
    return low, high


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Return values as 1 … 255, and 0 where none is known."""
    known = np.isfinite(values)
    share = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    return np.where(known, 1 + np.rint(254 * np.clip(np.nan_to_num(share), 0, 1)), 0).astype(np.uint8)


def _png(shown: NDArray[np.uint8], palette: Palette) -> bytes:
    picture = Image.fromarray(np.ascontiguousarray(shown), "P")
    picture.putpalette(palette.tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


_UNKNOWN = (40, 40, 90)


def _ramp(*colours: tuple[int, int, int]) -> Palette:
    """Return a palette that goes through colours."""
    at = np.linspace(1, 255, len(colours))
    values = np.arange(256)
    found = np.stack([np.interp(values, at, [colour[i] for colour in colours]) for i in range(3)], axis=1)
    found[0] = _UNKNOWN
    return np.rint(found).astype(np.uint8)


_GREY = _ramp((0, 0, 0), (255, 255, 255))
_RED = _ramp((0, 0, 0), (255, 0, 0))
_RED[0] = (60, 0, 0)
_AROUND = _ramp((90, 170, 255), (20, 20, 24), (255, 170, 60))
"""Blue below, dark where both are alike, orange above."""

_COLOURS = (
    (MaskBit.LOW_RESPONSE, (70, 70, 130)), (MaskBit.INHERITED, (95, 95, 95)), (MaskBit.WARM, (150, 105, 40)),
    (MaskBit.LOW_COUNT, (60, 130, 130)), (MaskBit.CHANGED, (200, 80, 220)), (MaskBit.NOISY, (80, 190, 90)),
    (MaskBit.HOT, (255, 200, 60)), (MaskBit.DEAD, (70, 140, 255)), (MaskBit.SATURATED, (255, 255, 255)),
    (MaskBit.NO_DATA, (255, 60, 60)),
)  # fmt: skip
"""Flags, the least serious first, with their colours."""


def _flags(colours: Sequence[tuple[int, int, int]]) -> Palette:
    palette = np.zeros((256, 3), np.uint8)
    palette[1 : 2 + len(colours)] = ((12, 0, 0), *colours)
    return palette


_FLAGS = _flags([colour for _, colour in _COLOURS])
_RED_FLAGS = _flags([(255 * rank // len(_COLOURS), 0, 0) for rank in range(1, 1 + len(_COLOURS))])
