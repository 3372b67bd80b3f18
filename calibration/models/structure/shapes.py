"""Structures: candidates that hang together, those that are significant, and what their shapes say they are.

Which structures are real is decided over all tests of an analysis by the procedure of Benjamini & Hochberg, Journal of
the Royal Statistical Society B 57 (1995), 289, on structures and not on pixels: a dust shadow of a thousand pixels
must not pay for fifty false ones (Chumbley & Friston, NeuroImage 44 (2009), 62). So the expected share of false
structures is below the limit, and where nothing has changed nothing is found with that chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special, stats

from calibration.models.structure.finding import Candidates

Planes = NDArray[np.float64]

FALSE_SHARE = 0.01
"""Expected share of false structures among those found."""

_TOGETHER = np.ones((3, 3), np.bool_)
_ELONGATED = 3.5
_SCRATCH_LENGTH = 8.0
_LINE_WIDTH, _LINE_SHARE, _LINE_TILT = 3, 0.5, 0.02
_POINT = 6
"""Pixels of the largest structure that is a matter of pixels, not of shadows."""
_DEAD = -0.5
BRIGHTEST = 0.2
"""Part by which a pixel may become brighter in light; more is charge, whatever was taken off."""

_GROUP = 4 * _POINT
"""Pixels of the largest group that charge makes brighter: a shadow's or a ghost's light is spread wider."""

_FILM = 0.15
"""Share of the frame from which on a structure covers it."""
_HOLLOW = 0.6
"""Depth of the middle over that of the ring below which a shadow is a ring."""


class Kind(StrEnum):
    """What a structure is: of flats and, `HOT_…` and `COOLED`, of darks."""

    DUST_DISC = "dust (disc)"
    DUST_RING = "dust (donut)"
    SCRATCH = "scratch"
    GHOST = "ghost"
    FILM = "film"
    COLUMN = "column"
    ROW = "row"
    DEAD = "dead"
    RESPONSE = "response"
    HOT_CLUSTER = "hot cluster"
    HOT_PIXEL = "hot pixel"
    GLOW = "glow"
    COOLED = "cooled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a structure is: its box, first row and column and those behind the last."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The box as an index of a plane."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def meets(self, other: "Place") -> bool:
        """Whether two boxes have pixels in common."""
        down = self.top < other.bottom and other.top < self.bottom
        return down and self.left < other.right and other.left < self.right


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Structure:
    """Pixels that hang together and differ from the reference.

    Attributes
    ----------
    place : Place
    pixels : ndarray of bool, shape of the box
    sign : int
        1 where the frame is brighter than the reference, -1 where it is darker.
    peak_z : float
        Largest significance of a pixel at any scale.
    seen : tuple of int
        Numbers of the comparisons in which it was found.
    adjusted_p : float
        Share of false structures if it and all more significant ones are accepted; NaN: not worked out yet.
    """

    place: Place
    pixels: NDArray[np.bool_]
    sign: int
    peak_z: float
    seen: tuple[int, ...] = ()
    adjusted_p: float = float("nan")

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.pixels.sum())

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of the middle, in pixels from 0."""
        rows, columns = np.nonzero(self.pixels)
        return self.place.top + float(rows.mean()), self.place.left + float(columns.mean())


def structures_of(found: Candidates, number: int = 0) -> list[Structure]:
    """Return the structures of one comparison, significant or not.

    Parameters
    ----------
    found : Candidates
    number : int
        Of the comparison.
    """
    made = []
    for sign in (1, -1):
        mask = found.z > 0 if sign > 0 else found.z < 0
        if not mask.any():
            continue
        labels, _ = ndimage.label(_blocks(mask), _TOGETHER)
        for label, block in enumerate(ndimage.find_objects(labels), 1):
            box = (slice(2 * block[0].start, 2 * block[0].stop), slice(2 * block[1].start, 2 * block[1].stop))
            part = mask[box]
            whole = (labels[block] == label).repeat(2, axis=0).repeat(2, axis=1)
            inside = whole[: part.shape[0], : part.shape[1]] & part
            peak = float(np.abs(found.z[box][inside]).max())
            made.append(_trimmed(inside, box, sign, peak, number))
    return made + _lines(found, number)


def _blocks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which blocks of 2 x 2 pixels hold a candidate: pixels of neighbouring blocks hang together."""
    padded = np.pad(mask, [(0, n % 2) for n in mask.shape]) if any(n % 2 for n in mask.shape) else mask
    return np.asarray(padded[::2, ::2] | padded[1::2, ::2] | padded[::2, 1::2] | padded[1::2, 1::2])


def _trimmed(inside: NDArray[np.bool_], box: tuple[slice, slice], sign: int, peak: float, number: int) -> Structure:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, left = box[0].start, box[1].start
    part = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    place = Place(
        top=int(top + rows[0]), left=int(left + columns[0]),
        bottom=int(top + rows[-1] + 1), right=int(left + columns[-1] + 1),
    )  # fmt: skip
    return Structure(place=place, pixels=part, sign=sign, peak_z=peak, seen=(number,))


def _lines(found: Candidates, number: int) -> list[Structure]:
    """Return whole columns and rows; neighbours of one sign are one structure."""
    height, width = found.z.shape
    made = []
    for axis, line in ((1, found.columns), (0, found.rows)):
        for sign in (1, -1):
            labels, n = ndimage.label(sign * line > 0)
            for label in range(1, n + 1):
                at = np.flatnonzero(labels == label)
                first, stop = int(at[0]), int(at[-1] + 1)
                box = (0, first, height, stop) if axis else (first, 0, stop, width)
                place = Place(top=box[0], left=box[1], bottom=box[2], right=box[3])
                pixels = np.ones((box[2] - box[0], box[3] - box[1]), np.bool_)
                peak = float(np.abs(line[at]).max())
                made.append(Structure(place=place, pixels=pixels, sign=sign, peak_z=peak, seen=(number,)))
    return made


def merged(structures: Sequence[Structure]) -> list[Structure]:
    """Put together what was found at one place in several comparisons; the most significant come first."""
    kept: list[Structure] = []
    for each in sorted(structures, key=lambda structure: -structure.peak_z):
        home = next((i for i, other in enumerate(kept) if _same(each, other)), None)
        if home is None:
            kept.append(each)
        else:
            kept[home] = _union(kept[home], each)
    return kept


def _same(a: Structure, b: Structure) -> bool:
    """Whether two structures are one: of one sign, and half of the smaller one's pixels are in both."""
    if a.sign != b.sign or not a.place.meets(b.place):
        return False
    return 2 * _shared(a, b) >= min(a.area, b.area)


def _shared(a: Structure, b: Structure) -> int:
    top, left = max(a.place.top, b.place.top), max(a.place.left, b.place.left)
    bottom, right = min(a.place.bottom, b.place.bottom), min(a.place.right, b.place.right)
    parts = [s.pixels[top - s.place.top : bottom - s.place.top, left - s.place.left : right - s.place.left]
             for s in (a, b)]  # fmt: skip
    return int(np.count_nonzero(parts[0] & parts[1]))


def _union(a: Structure, b: Structure) -> Structure:
    """Return a structure with what another comparison saw of it; its pixels are those of the more significant one.

    A comparison that sees it faintly adds pixels around it that are noise.
    """
    seen = tuple(sorted({*a.seen, *b.seen}))
    return replace(a, seen=seen, peak_z=max(a.peak_z, b.peak_z))


def significant(structures: Sequence[Structure], tests: int, *, share: float = FALSE_SHARE) -> list[Structure]:
    """Return the structures that are real, but for an expected share of them.

    Parameters
    ----------
    structures : sequence of Structure
        All that an analysis has found, put together.
    tests : int
        Pixels and scales that were looked at, in all comparisons.
    share : float
        Expected share of false ones.
    """
    if not structures:
        return []
    p = np.array([2 * special.ndtr(-each.peak_z) for each in structures])
    # Those that were not kept as candidates count among the tests: they are less significant than all that were.
    adjusted = np.minimum(stats.false_discovery_control(p) * (tests / len(p)), 1.0)
    return [replace(each, adjusted_p=float(q)) for each, q in zip(structures, adjusted, strict=True) if q <= share]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The shape of a structure.

    Attributes
    ----------
    length, width : float
        Along its longest direction, and the mean across it, in pixels.
    tilt : float
        Sine of the angle between the longest direction and the nearer axis of the frame.
    upright : bool
        Whether that axis is that of the columns.
    hollow : float
        Depth of its middle over that of its ring; 1: a disc, 0: a ring. NaN where it is too small.
    depth : float
        Mean of the difference over its pixels; `extreme` that of its pixel with the largest one.
    """

    length: float
    width: float
    tilt: float
    upright: bool
    hollow: float
    depth: float
    extreme: float


def shape_of(structure: Structure, value: Planes) -> Shape:
    """Return the shape of a structure.

    Parameters
    ----------
    structure : Structure
    value : ndarray, shape of its box
        The difference there, where it is seen best.
    """
    filled = ndimage.binary_fill_holes(structure.pixels)
    rows, columns = np.nonzero(filled)
    spread = np.stack([rows - rows.mean(), columns - columns.mean()]).astype(np.float64)
    _, axes = np.linalg.eigh(spread @ spread.T / rows.size)
    axis = axes[:, 1]
    along = axis @ spread
    length = float(np.ptp(along)) + float(np.abs(axis).max())
    pixels = np.where(structure.pixels, value, np.nan)
    known = np.isfinite(pixels)
    values = pixels[known] if known.any() else np.zeros(1)
    return Shape(
        length=length,
        width=float(rows.size / max(length, 1.0)),
        tilt=float(np.abs(axis).min()),
        upright=bool(abs(axis[0]) >= abs(axis[1])),
        hollow=_hollow(filled, value),
        depth=float(values.mean()),
        extreme=float(values[np.argmax(np.abs(values))]),
    )


def _hollow(filled: NDArray[np.bool_], value: Planes) -> float:
    if filled.sum() < 4 * _POINT:
        return float("nan")
    inward = ndimage.distance_transform_edt(np.pad(filled, 1))[1:-1, 1:-1]
    share = inward / inward.max()
    middle, ring = filled & (share >= 0.75), filled & (share >= 0.15) & (share < 0.6)
    if not (middle.any() and ring.any()):
        return float("nan")
    within, around = np.nanmean(value[middle]), np.nanmean(value[ring])
    return float(within / around) if around else float("nan")


def kind_of(structure: Structure, shape: Shape, frame: tuple[int, int], *, darker: bool) -> Kind:
    """Return what a structure of flats is.

    Parameters
    ----------
    structure : Structure
    shape : Shape
    frame : tuple of int
        Rows and columns of the frame.
    darker : bool
        Whether the frame is darker where it is there: not so of a dust grain of the reference that has gone.
    """
    across, along = (frame[1], frame[0]) if shape.upright else frame
    if shape.width <= _LINE_WIDTH and shape.length >= _LINE_SHARE * along and shape.tilt <= _LINE_TILT and across > 1:
        return Kind.COLUMN if shape.upright else Kind.ROW
    if small := _small_kind_of(structure, shape, darker=darker):
        return small
    if structure.area >= _FILM * frame[0] * frame[1]:
        return Kind.FILM
    if shape.length >= _SCRATCH_LENGTH and shape.length >= _ELONGATED * shape.width:
        return Kind.SCRATCH
    if not darker:
        return Kind.GHOST
    return Kind.DUST_RING if shape.hollow < _HOLLOW else Kind.DUST_DISC


def _small_kind_of(structure: Structure, shape: Shape, *, darker: bool) -> Kind | None:
    """Return what a structure is that is a matter of pixels; None: it is none."""
    if shape.length >= _SCRATCH_LENGTH:
        return None
    if not darker and structure.area <= _GROUP and abs(shape.extreme) > BRIGHTEST:
        return hot_kind_of(structure)
    if structure.area > _POINT:
        return None
    return Kind.DEAD if darker and shape.extreme <= _DEAD else Kind.RESPONSE


def dark_kind_of(structure: Structure, shape: Shape, frame: tuple[int, int], *, brighter: bool) -> Kind:
    """Return what a structure of darks or biases is; `brighter`: whether there is more charge while it is there."""
    along = frame[0] if shape.upright else frame[1]
    if shape.width <= _LINE_WIDTH and shape.length >= _LINE_SHARE * along and shape.tilt <= _LINE_TILT:
        return Kind.COLUMN if shape.upright else Kind.ROW
    if not brighter:
        return Kind.COOLED
    if structure.area >= _FILM * frame[0] * frame[1]:
        return Kind.GLOW
    return hot_kind_of(structure)


def hot_kind_of(structure: Structure) -> Kind:
    """Return what charge is called that is not light: by whether one pixel holds it or several."""
    return Kind.HOT_PIXEL if structure.area == 1 else Kind.HOT_CLUSTER
