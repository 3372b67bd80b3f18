"""Dust on a flat: its shadows found on scales of 5 to 200 pixels, each with centre, radius and attenuation.

What is left of a flat without its smooth part is filtered by differences of Gaussians, whose widths grow by the square
root of two (Lindeberg 1998: the scale at which a blob stands out most is its own). A dip counts where noise alone would
make one as deep in one flat out of a hundred. A Gaussian and a soft disc with a hole, the shadow that a telescope with
a central obstruction casts, are fitted to each dip, and the better one by the Bayesian information criterion is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from calibration.models.flat.shapes import Plane
from calibration.models.flat.smooth import Cells

SMALLEST_PX, LARGEST_PX = 5.0, 200.0
"""Widths (full, at half depth) of the shadows that are looked for."""

_WIDEST = 1 / 3
"""Of the shorter side of the frame: what is wider is the shape of the light, not of a grain."""

_FALSE = 0.01
"""Flats in which noise alone seems to have a shadow."""

_FWHM = 2.3548
_SCALE_STEP = 2**0.5
_OUTER = 1.6
"""The wider Gaussian of a difference over the narrower: close to the Laplacian (Marr & Hildreth 1980)."""

_MOST = 400
_REACH = 4.0
"""A shadow is fitted out to so many times its scale."""

_PASSES = 3
"""Shadows beside deep ones are found when those are taken off."""

_LEAST_CELLS = 12
_LINES, _LINE_SIGMAS = 15, 5.0
"""A row or column stands out from so many about it by so many standard deviations of a median."""


class Profile(StrEnum):
    """The form of a shadow: GAUSSIAN of a grain near the sensor, RING of one far from it."""

    GAUSSIAN = "gaussian"
    RING = "ring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """The shadow of a grain: the flat is lower by the factor ``1 - attenuation p``, with p its profile, 1 at its most.

    Attributes
    ----------
    profile : Profile
    y, x : float
        Row and column of its centre in pixels.
    radius_px : float
        Where its depth is half of the greatest one, outside.
    attenuation : float
    hole : float
        Radius of the hole over the radius; 0 of a Gaussian.
    edge_px : float
        Standard deviation of the blur of the rims; 0 of a Gaussian.
    covariance : tuple of tuples of float
        Of attenuation, y, x, radius (and hole, edge).
    significance : float
        Depth in standard deviations at the scale where it stood out most.
    """

    profile: Profile
    y: float
    x: float
    radius_px: float
    attenuation: float
    hole: float = 0.0
    edge_px: float = 0.0
    covariance: tuple[tuple[float, ...], ...] = ()
    significance: float = 0.0

    @property
    def reach_px(self) -> float:
        """Distance from the centre from which on there is nothing of it."""
        return self.radius_px * 3.4 if self.profile is Profile.GAUSSIAN else self.radius_px + 4 * self.edge_px

    @property
    def values(self) -> tuple[float, ...]:
        """Values of the parameters, in the order of the covariance."""
        first = (self.attenuation, self.y, self.x, self.radius_px)
        return first if self.profile is Profile.GAUSSIAN else (*first, self.hole, self.edge_px)

    def sigma(self, number: int) -> float:
        """Return the 1σ error of a parameter by its place: attenuation, y, x, radius (hole, edge)."""
        return float(np.sqrt(self.covariance[number][number])) if self.covariance else float("nan")

    def at(self, y: Plane, x: Plane) -> Plane:
        """Return the factor of the flat at rows y and columns x, which broadcast."""
        return np.asarray(1 - _depth(self.profile, np.array(self.values), y, x))

    def variance(self, y: Plane, x: Plane) -> Plane:
        """Return the variance of the factor."""
        slopes = _slopes(self.profile, np.array(self.values), y, x)
        covariance = np.array(self.covariance)
        return np.asarray(np.maximum((slopes * np.tensordot(covariance, slopes, axes=1)).sum(axis=0), 0.0))


def _depth(profile: Profile, values: Plane, y: Plane, x: Plane) -> Plane:
    attenuation, row, column, radius = values[:4]
    square = (y - row) ** 2 + (x - column) ** 2
    if profile is Profile.GAUSSIAN:
        return np.asarray(attenuation * np.exp(-np.log(2) * square / radius**2))
    from scipy.special import erfc  # 0.1 s to import

    distance, (hole, edge) = np.sqrt(square), values[4:]
    soft = np.sqrt(2) * edge
    outer, inner = erfc((distance - radius) / soft) / 2, erfc((distance - hole * radius) / soft) / 2
    return np.asarray(attenuation * (outer - inner))


def _slopes(profile: Profile, values: Plane, y: Plane, x: Plane) -> Plane:
    """Return the derivatives of the depth by the parameters, by differences."""
    found = []
    for i, value in enumerate(values):
        step = np.zeros_like(values)
        step[i] = max(1e-4 * abs(value), 1e-5)
        ends = [_depth(profile, values + sign * step, y, x) for sign in (1, -1)]
        found.append((ends[0] - ends[1]) / (2 * step[i]))
    return np.stack(found)


def dust_at(shadows: Sequence[Shadow], rows: tuple[int, int], width: int) -> tuple[Plane, Plane]:
    """Return the factor of all shadows and its 1σ error in rows `rows[0]` to `rows[1] - 1`, shape (rows, width)."""
    factor, relative = np.ones((rows[1] - rows[0], width)), np.zeros((rows[1] - rows[0], width))
    for shadow in shadows:
        reach = int(np.ceil(shadow.reach_px)) + 1
        top, bottom = max(rows[0], int(shadow.y) - reach), min(rows[1], int(shadow.y) + reach + 1)
        left, right = max(0, int(shadow.x) - reach), min(width, int(shadow.x) + reach + 1)
        if top >= bottom or left >= right:
            continue
        y, x = np.arange(top, bottom, dtype=np.float64)[:, None], np.arange(left, right, dtype=np.float64)[None, :]
        part = np.s_[top - rows[0] : bottom - rows[0], left:right]
        own = np.maximum(shadow.at(y, x), 1e-3)
        factor[part] *= own
        if shadow.covariance:
            relative[part] += shadow.variance(y, x) / own**2
    return factor, factor * np.sqrt(relative)


def find_dust(cells: Cells) -> tuple[Shadow, ...]:
    """Find the shadows in what is left of a binned flat without its smooth part; its values are about 1.

    Parameters
    ----------
    cells : Cells
        Shadows of fewer than about two cells are not seen.

    Returns
    -------
    tuple of Shadow
        The most significant first.
    """
    if min(cells.values.shape) < _LEAST_CELLS:
        return ()
    image = _without_outliers(_without_lines(cells.values))
    noise = max(_robust(image), 1e-6)  # an image of one value has none
    found: list[Shadow] = []
    for _ in range(_PASSES):
        new = _new(image / shade(found, cells), noise, cells)
        if not new:
            break
        found = _refitted([*found, *new], image, noise, cells)
    return tuple(sorted(found, key=lambda each: -each.significance))


def _new(image: Plane, noise: float, cells: Cells) -> list[Shadow]:
    """Return the shadows of an image; a dip within one that is deeper has to wait until that is taken off."""
    found: list[Shadow] = []
    for dip in _dips(image, cells):
        y, x = _place(dip, cells)
        if any(np.hypot(y - each.y, x - each.x) < each.reach_px for each in found):
            continue
        shadow = _fitted(dip, image, noise, cells)
        if shadow is not None:
            found.append(shadow)
    return found


def shade(shadows: Sequence[Shadow], cells: Cells) -> Plane:
    """Return the factor of shadows in the middle of each cell."""
    y, x, result = cells.y[:, 0], cells.x[0], np.ones(cells.values.shape)
    for shadow in shadows:
        rows, columns = (
            slice(*np.searchsorted(axis, (at - shadow.reach_px, at + shadow.reach_px)))
            for axis, at in ((y, shadow.y), (x, shadow.x))
        )
        result[rows, columns] *= shadow.at(y[rows, None], x[None, columns])
    return result


def _without_lines(values: Plane) -> Plane:
    """Return an image whose rows and columns that stand out have the level of those beside them: they are no dust."""
    from scipy import ndimage  # 0.1 s to import

    noise, result = _robust(values), values
    for axis in (0, 1):
        level = np.nan_to_num(_line_medians(result, axis), nan=1.0)
        around = np.maximum(ndimage.median_filter(level, _LINES, mode="nearest"), 1e-6)
        away = np.abs(level - around) > _LINE_SIGMAS * 1.2533 * noise / np.sqrt(values.shape[axis])
        factor = np.where(away & (level > 0), level / around, 1.0)
        result = result / (factor[None, :] if axis == 0 else factor[:, None])
    return result


def _line_medians(values: Plane, axis: int) -> Plane:
    known = np.isfinite(values).any(axis=axis)
    found = np.full(known.shape, np.nan)
    found[known] = np.nanmedian(np.compress(known, values, axis=1 - axis), axis=axis)
    return found


def _without_outliers(values: Plane) -> Plane:
    """Return an image in which single cells that stand out, and those of no value, are as their neighbours."""
    from scipy import ndimage  # 0.1 s to import

    filled = np.where(np.isfinite(values), values, np.nanmedian(values))
    around = ndimage.median_filter(filled, 3, mode="nearest")
    away = filled - around
    odd = (np.abs(away) > 5 * _robust(away)) | ~np.isfinite(values)
    return np.where(odd, around, filled)


def _robust(values: Plane) -> float:
    return float(1.4826 * np.nanmedian(np.abs(values - np.nanmedian(values))))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dip:
    y: float
    x: float
    scale: float
    depth: float
    significance: float


def _dips(image: Plane, cells: Cells) -> list[_Dip]:
    """Return the dips of an image that noise does not make, in cells, the most significant first, without overlaps."""
    from scipy import stats

    first = max(SMALLEST_PX / cells.size, 2.0) / _FWHM
    last = min(LARGEST_PX / cells.size, min(image.shape) * _WIDEST) / _FWHM
    number = max(1, int(np.log(max(last / first, 1)) / np.log(_SCALE_STEP)) + 1)
    least = float(stats.norm.isf(_FALSE / (image.size * number)))
    found = [dip for i in range(number) for dip in _at_scale(image, first * _SCALE_STEP**i, least)]
    kept: list[_Dip] = []
    for dip in sorted(found, key=lambda each: -each.significance):
        if all(np.hypot(dip.y - k.y, dip.x - k.x) > 2 * max(k.scale, dip.scale) for k in kept):
            kept.append(dip)
    return kept[:_MOST]


def _place(dip: _Dip, cells: Cells) -> tuple[float, float]:
    """Return row and column of a dip in pixels."""
    return (dip.y + 0.5) * cells.size - 0.5, (dip.x + 0.5) * cells.size - 0.5


def _at_scale(image: Plane, scale: float, least: float) -> list[_Dip]:
    """Return the dips that stand out by `least` at one scale; the image is made smaller for large ones."""
    from scipy import ndimage

    by = 2 ** int(np.log2(max(scale / 2, 1.0)))
    high, wide = (size // by for size in image.shape)
    small = image[: high * by, : wide * by].reshape(high, by, wide, by).mean(axis=(1, 3))
    own = scale / by
    narrow, broad = (ndimage.gaussian_filter(small, s, mode="reflect") for s in (own, _OUTER * own))
    depth = (broad - narrow) / (1 - 1 / (1 + _OUTER**2))
    significance = depth / (max(_robust(depth), 1e-12) * _edges(small.shape, own))
    lowest = ndimage.maximum_filter(significance, size=2 * int(np.ceil(own)) + 1, mode="nearest")
    middle = (by - 1) / 2
    return [
        _Dip(
            y=y * by + middle,
            x=x * by + middle,
            scale=scale,
            depth=float(depth[y, x]),
            significance=float(significance[y, x]),
        )
        for y, x in np.argwhere((significance == lowest) & (significance > least)).tolist()
    ]


def _edges(shape: tuple[int, ...], scale: float) -> Plane:
    """Return how much noisier a filtered image is near its edges, where it is mirrored."""
    parts = [np.minimum(np.arange(size) + 0.5, size - 0.5 - np.arange(size)) for size in shape]
    y, x = (np.sqrt(1 + np.exp(-((part / scale) ** 2))) for part in parts)
    return np.asarray(y[:, None] * x[None, :])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Patch:
    """A part of an image about a shadow: its cells, their rows and columns in pixels, and their noise."""

    image: Plane
    y: Plane
    x: Plane
    noise: float


def _patch(image: Plane, place: tuple[float, float], reach: float, noise: float, cells: Cells) -> _Patch:
    """Return the part of an image about a place, all in cells."""
    rows, columns = (slice(max(0, int(at - reach)), max(0, int(at + reach)) + 2) for at in place)
    return _Patch(image=image[rows, columns], y=cells.y[rows], x=cells.x[:, columns], noise=noise)


def _fitted(dip: _Dip, image: Plane, noise: float, cells: Cells) -> Shadow | None:
    """Fit both profiles to a dip, and return the better one; None where neither is a shadow."""
    patch = _patch(image, (dip.y, dip.x), _REACH * dip.scale + 2, noise, cells)
    row, column = _place(dip, cells)
    radius = dip.scale * cells.size * _FWHM / 2
    start = np.array([2 * dip.depth, row, column, radius])
    ring = np.array([*start[:3], 1.2 * radius, 0.3, max(0.2 * radius, 0.5 * cells.size)])
    tried = [_fit(profile, values, patch) for profile, values in ((Profile.GAUSSIAN, start), (Profile.RING, ring))]
    sound = [each for each in tried if each is not None and _sound(each[1], cells)]
    if not sound:
        return None
    return replace(min(sound, key=lambda each: each[0])[1], significance=dip.significance)


def _sound(made: Shadow, cells: Cells) -> bool:
    height, width = cells.shape
    there = -made.radius_px < made.y < height + made.radius_px and -made.radius_px < made.x < width + made.radius_px
    wide = SMALLEST_PX / 2 * 0.7 <= made.radius_px <= min(LARGEST_PX, min(cells.shape) * _WIDEST)
    return there and wide and 0 < made.attenuation < 1 and made.attenuation > 2 * made.sigma(0)


def _fit(profile: Profile, start: Plane, patch: _Patch) -> tuple[float, Shadow] | None:
    """Fit a profile and the level about it; return the Bayesian information criterion and the shadow."""
    from scipy import optimize

    if patch.image.size < len(start) + 2:
        return None
    size = float(start[3])
    low = np.array([0.0, start[1] - 2 * size, start[2] - 2 * size, 0.2 * size, 0.0, 0.05 * size])[: len(start)]
    high = np.array([1.0, start[1] + 2 * size, start[2] + 2 * size, 5 * size, 0.9, size])[: len(start)]

    def rest(values: Plane) -> Plane:
        made = values[-1] * (1 - _depth(profile, values[:-1], patch.y, patch.x))
        return np.asarray(((patch.image - made) / patch.noise).ravel())

    bounds = (np.append(low, 0.5), np.append(high, 1.5))
    first = np.clip(np.append(start, np.median(patch.image)), bounds[0] + 1e-6, bounds[1] - 1e-6)
    unit = np.append(np.array([0.1, 1.0, 1.0, size, 1.0, size])[: len(start)], 0.01)
    try:
        found = optimize.least_squares(
            rest, first, bounds=bounds, x_scale=unit, loss="huber", f_scale=2.5, max_nfev=100
        )
    except (ValueError, np.linalg.LinAlgError):
        return None
    covariance = np.linalg.pinv(found.jac.T @ found.jac, hermitian=True)[:-1, :-1]
    values = found.x[:-1]
    made = Shadow(
        profile=profile,
        attenuation=float(values[0]),
        y=float(values[1]),
        x=float(values[2]),
        radius_px=float(values[3]),
        hole=float(values[4]) if profile is Profile.RING else 0.0,
        edge_px=float(values[5]) if profile is Profile.RING else 0.0,
        covariance=tuple(tuple(map(float, row)) for row in covariance),
    )
    return 2 * float(found.cost) + len(first) * float(np.log(patch.image.size)), made


def _refitted(shadows: Sequence[Shadow], image: Plane, noise: float, cells: Cells) -> list[Shadow]:
    """Fit each shadow once more, without the others."""
    result = []
    for number, shadow in enumerate(shadows):
        reach = max(1.2 * shadow.reach_px / cells.size, 3.0) + 1
        patch = _patch(image, (shadow.y / cells.size, shadow.x / cells.size), reach, noise, cells)
        clear = np.ones(patch.image.shape)
        for i, each in enumerate(shadows):
            if i != number and _touch(each, shadow):
                clear *= np.maximum(each.at(patch.y, patch.x), 0.1)
        found = _fit(shadow.profile, np.array(shadow.values), replace(patch, image=patch.image / clear))
        kept = found[1] if found is not None and _sound(found[1], cells) else shadow
        result.append(replace(kept, significance=shadow.significance))
    return result


def _touch(one: Shadow, other: Shadow) -> bool:
    return float(np.hypot(one.y - other.y, one.x - other.x)) < one.reach_px + other.reach_px


def clear_of_dust(shadows: Sequence[Shadow], cells: Cells, least: float) -> NDArray[np.bool_]:
    """Return which cells no shadow darkens by more than `least`."""
    return np.asarray(1 - shade(shadows, cells) < least)
