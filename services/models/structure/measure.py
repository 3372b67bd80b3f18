"""What is known of each structure: its kind, its strength in every epoch, its dates and its trends."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from calibration.models.structure.history import History, Trend, adjusted, history_of, trends_of
from calibration.models.structure.moves import Life, moves_of
from calibration.models.structure.shapes import Kind, Place, Shape, Structure, dark_kind_of, kind_of, shape_of
from services.models.structure.bands import Compared, Means, boxes
from services.models.structure.epochs import Plan

_INNER, _OUTER = 2, 6
"""Pixels around a structure between which its surroundings lie."""

_ENOUGH = 40
"""Pixels around that show a curvature."""

_MEDIAN = np.pi / 2
"""Variance of a median over that of a mean, of normal values."""

MOST = 2000
"""Structures that are measured: the most significant ones."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A structure with all that is known of it.

    Attributes
    ----------
    number : int
    structure : Structure
    kind : Kind
    shape : Shape
    epochs : tuple of int
        Numbers of those that it was measured in, in the order of time.
    strength, sigma : ndarray
        In each of them: of flats relative to the light, of darks in ADU at the longest of their exposures.
    history : History
        Its edges count in `epochs`.
    by_day, by_degree : Trend
    adjusted : tuple of float
        Significances of both trends, corrected for the number of structures.
    temperatures : tuple of float
        Of the epochs in which it was found.
    moved_from, moved_to : int
        Number of the structure that went when it came, or came when it went; 0: none.
    """

    number: int
    structure: Structure
    kind: Kind
    shape: Shape
    epochs: tuple[int, ...]
    strength: NDArray[np.float64]
    sigma: NDArray[np.float64]
    history: History
    by_day: Trend
    by_degree: Trend
    adjusted: tuple[float, float] = (float("nan"), float("nan"))
    temperatures: tuple[float, ...] = ()
    moved_from: int = 0
    moved_to: int = 0


def measured(plan: Plan, means: Means, compared: Sequence[Compared], structures: Sequence[Structure]) -> list[Measured]:
    """Measure structures in all epochs of the conditions in which they were found.

    Parameters
    ----------
    plan : Plan
    means : Means
    compared : sequence of Compared
        All comparisons of the analysis; `Structure.seen` counts in them.
    structures : sequence of Structure
        Those that are significant.
    """
    found = [_measured(number, each, plan, means, compared) for number, each in enumerate(structures[:MOST], 1)]
    days, degrees = adjusted([each.by_day.p for each in found]), adjusted([each.by_degree.p for each in found])
    return _moved(
        [replace(each, adjusted=pair) for each, pair in zip(found, zip(days, degrees, strict=True), strict=True)]
    )


def _moved(found: Sequence[Measured]) -> list[Measured]:
    """Link what went to its like that came at another place, and call both ghosts: light that is reflected moves."""
    made = list(found)
    for old, new in moves_of([_life(each) for each in found]).items():
        made[old] = replace(made[old], kind=Kind.GHOST, moved_to=found[new].number)
        made[new] = replace(made[new], kind=Kind.GHOST, moved_from=found[old].number)
    return made


def _life(each: Measured) -> Life:
    born, gone = (None if edge is None else each.epochs[edge] for edge in (each.history.born, each.history.gone))
    shape = each.shape
    return Life(kind=each.kind, area=each.structure.area, length=shape.length, depth=shape.depth, born=born, gone=gone)


def _measured(number: int, structure: Structure, plan: Plan, means: Means, compared: Sequence[Compared]) -> Measured:
    olds = {compared[i].pair.old for i in structure.seen}
    reference = {pair.new: pair.old for pair in (each.pair for each in compared) if pair.old in olds}
    reference |= {old: old for old in olds}
    epochs = tuple(sorted(reference))
    place, pixels = _around(structure, plan.shape)
    planes = dict(zip(epochs, boxes(means, epochs, place.top, place.bottom), strict=True))
    columns = slice(place.left, place.right)
    scale = _as_longest(plan, epochs)
    cut = {e: (scale[e] * mean[:, columns], scale[e] * sigma[:, columns]) for e, (mean, sigma) in planes.items()}
    ring = _ring(pixels)
    values = {e: _relative(plan, cut[e][0], cut[reference[e]][0], ring) for e in epochs}
    strength, sigma = np.array(
        [_strength(plan, values[e], cut[e], cut[reference[e]][0], pixels, ring=ring) for e in epochs]
    ).T
    contrast = float(np.median([_contrast(plan, cut[old][0], pixels, ring) for old in olds]))
    warmth = np.array([plan.epochs[e].label_c for e in epochs])
    alike = np.ones(len(epochs)) if plan.is_flat else _as_brightest(strength, warmth)
    history = history_of(strength * alike, sigma * alike, contrast=contrast)
    new = [compared[i].pair.new for i in structure.seen]
    seen = _mean([values[e] for e in new])
    inner = structure.place
    box = seen[inner.top - place.top : inner.bottom - place.top, inner.left - place.left : inner.right - place.left]
    shape = shape_of(structure, box)
    darker = history.darker if history.edges else structure.sign < 0
    if plan.is_flat:
        kind = kind_of(structure, shape, plan.shape, darker=darker)
    else:
        kind = dark_kind_of(structure, shape, plan.shape, brighter=not darker)
    days = np.array([plan.epochs[e].days for e in epochs])
    celsius = np.array([plan.epochs[e].celsius for e in epochs])
    warm = np.where(np.ptp(warmth) > 0, celsius, np.nan)
    by_day, by_degree = trends_of(strength, sigma, [days, warm])
    return Measured(
        number=number,
        structure=structure,
        kind=kind,
        shape=shape,
        epochs=epochs,
        strength=strength,
        sigma=sigma,
        history=history,
        by_day=by_day,
        by_degree=by_degree,
        temperatures=tuple(sorted({plan.epochs[e].label_c for e in new})),
    )


def _as_longest(plan: Plan, epochs: Sequence[int]) -> dict[int, float]:
    """Return what makes each epoch one of the longest exposure: the charge of a dark grows with its exposure."""
    seconds = {e: plan.epochs[e].exposure_s for e in epochs}
    longest = max(seconds.values())
    return {e: 1.0 if plan.is_flat or not t > 0 else longest / t for e, t in seconds.items()}


def _as_brightest(strength: NDArray[np.float64], warmth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what makes the strengths of all temperatures those of one: each over the largest of its temperature.

    How much more charge a pixel has when it is warmer, only the pixel itself shows.
    """
    size = np.nan_to_num(np.abs(strength))
    largest = np.array([size[warmth == each].max() for each in warmth])
    return np.asarray(np.where(largest > 0, largest.max() / np.maximum(largest, 1e-300), 1.0))


def _mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean of the known values of each pixel; NaN where none is known."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    n = known.sum(axis=0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _around(structure: Structure, shape: tuple[int, int]) -> tuple[Place, NDArray[np.bool_]]:
    """Return the box of a structure with its surroundings, and its pixels there."""
    inner = structure.place
    place = Place(
        top=max(0, inner.top - _OUTER), left=max(0, inner.left - _OUTER),
        bottom=min(shape[0], inner.bottom + _OUTER), right=min(shape[1], inner.right + _OUTER),
    )  # fmt: skip
    pixels = np.zeros((place.bottom - place.top, place.right - place.left), np.bool_)
    top, left = inner.top - place.top, inner.left - place.left
    pixels[top : top + structure.pixels.shape[0], left : left + structure.pixels.shape[1]] = structure.pixels
    return place, pixels


def _ring(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    box = np.ones((3, 3), np.bool_)
    near = ndimage.binary_dilation(pixels, box, iterations=_INNER)
    return np.asarray(ndimage.binary_dilation(near, box, iterations=_OUTER - _INNER) & ~near)


def _relative(plan: Plan, new: Any, old: Any, ring: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a difference from the reference less that of the surroundings."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = new / old - 1 if plan.is_flat else new - old
    around = value[ring & np.isfinite(value)]
    level = float(np.median(around)) if around.size else 0.0
    return np.asarray((1 + value) / (1 + level) - 1 if plan.is_flat else value - level)


def _strength(
    plan: Plan,
    value: NDArray[np.float64],
    cut: tuple[Any, Any],
    old: Any,
    pixels: NDArray[np.bool_],
    *,
    ring: NDArray[np.bool_],
) -> tuple[float, float]:
    """Return the mean of a difference over the pixels of a structure, and what noise of this epoch makes of it.

    The noise is that of these pixels and that of the median of their surroundings, which was taken off.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = cut[1] / old if plan.is_flat else cut[1]
    use = pixels & np.isfinite(value) & np.isfinite(sigma)
    n = int(use.sum())
    if not n:
        return float("nan"), float("nan")
    around = sigma[ring & np.isfinite(value) & np.isfinite(sigma)]
    level = _MEDIAN * float((around**2).mean()) / around.size if around.size else 0.0
    return float(value[use].mean()), float(np.sqrt((sigma[use] ** 2).sum() / n**2 + level))


def _contrast(plan: Plan, old: Any, pixels: NDArray[np.bool_], ring: NDArray[np.bool_]) -> float:
    """Return how much brighter the reference is there than the surroundings let expect, curved as they are."""
    inside, around = pixels & np.isfinite(old), ring & np.isfinite(old)
    if not (inside.any() and around.any()):
        return 0.0
    rows, columns = (
        np.linspace(-1, 1, n)[shape] for n, shape in zip(old.shape, (np.s_[:, None], np.s_[None]), strict=True)
    )
    one = np.ones(old.shape)
    terms = np.stack([one, one * rows, one * columns, one * rows**2, one * columns**2, rows * columns], axis=-1)
    terms = terms if around.sum() >= _ENOUGH else terms[..., :1]
    theta = np.linalg.lstsq(terms[around], old[around], rcond=None)[0]
    expected, found = float((terms[inside] @ theta).mean()), float(old[inside].mean())
    return found / expected - 1 if plan.is_flat else found - expected
