"""The smooth part of a flat, vignetting times illumination, fitted robustly to the cells of a binned image.

The fit is that of the quasi-likelihood: weighted least squares of relative residuals with Tukey's biweights, repeated
with the weights and the relative scale of the last solution. So neither dust nor bad cells move it, and the noise of
faint corners does not bias it. A family or a term is added where the Bayesian information criterion asks for it
(Schwarz 1978). A tilt of the light and a shift of the optical axis look nearly alike: the axis is preferred, and a
plane added only where the axis does not explain it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from calibration.models.flat.shapes import (
    PLANE,
    QUADRATIC,
    Cos4,
    Illumination,
    Plane,
    Radial,
    Shape,
    half_diagonal,
    middle,
)

_TUKEY = 4.685
"""Biweights are zero beyond this many standard deviations: 95 % efficient for normal noise."""

_ROUNDS = 40
_CONVERGED = 1e-7
_FARTHEST = 1.5
"""The optical axis lies no farther from the middle of the frame, in half diagonals."""

_SHORTEST = 1e-3
"""A step is halved until the fit is no worse, to no less than this part of it."""

_STEP = 0.25
"""The axis moves no farther in one round, in half diagonals."""

_BLOCK = 4
"""Side of the blocks of cells whose scatter shows how far neighbours vary together."""

_LEAST_CELLS = 30
_REAL = 0.01
_FEWEST = 0.5
"""Of the cells, so many count at least: of more that stand out, it is the model that does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """A binned flat.

    Attributes
    ----------
    values : ndarray, shape (my, mx)
        Medians or means of the cells, relative to the level of the flat; NaN where a cell is not usable.
    size : int
        Rows and columns of a cell in pixels.
    shape : tuple of int
        Of the frame; what is left at its end of rows and columns is in no cell.
    """

    values: Plane
    size: int
    shape: tuple[int, int]

    @property
    def y(self) -> Plane:
        """Row of the middle of each cell, shape (my, 1)."""
        return self._middles(0)[:, None]

    @property
    def x(self) -> Plane:
        """Column of the middle of each cell, shape (1, mx)."""
        return self._middles(1)[None, :]

    def _middles(self, axis: int) -> Plane:
        return np.asarray(np.arange(self.values.shape[axis]) * self.size + (self.size - 1) / 2, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Smooth:
    """Vignetting and illumination of a flat, whose product is its smooth part.

    Attributes
    ----------
    vignetting : Radial, Cos4 or Mapped
    illumination : Illumination
    covariance : ndarray, shape (p, p)
        Of the parameters `names`: those of the vignetting that were fitted, then those of the illumination.
    fitted : bool
        Whether the vignetting was fitted; one that was given is taken as exact.
    scatter : float
        Relative standard deviation of the cells about it.
    excess : float
        Factor of the variances, at least 1: how much more blocks of cells scatter than single ones let expect.
    used : float
        Part of the cells that count.
    criterion : mapping of str to float
        The Bayesian information criterion of each family that was tried, less that of the chosen one.
    """

    vignetting: Shape
    illumination: Illumination
    covariance: NDArray[np.float64]
    fitted: bool
    scatter: float
    excess: float
    used: float
    criterion: dict[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters of the covariance."""
        return (*(self.vignetting.names if self.fitted else ()), *self.illumination.names)

    @property
    def family(self) -> str:
        """What the vignetting is: none, cos4, radial, or map."""
        if isinstance(self.vignetting, Radial):
            return "radial" if self.vignetting.powers else "none"
        return "cos4" if isinstance(self.vignetting, Cos4) else "map"

    def sigma(self, name: str) -> float:
        """Return the 1σ error of a parameter."""
        at = self.names.index(name)
        return float(np.sqrt(self.covariance[at, at]))

    def product(self, y: Plane, x: Plane) -> Plane:
        """Return vignetting times illumination at rows y (rows, 1) and columns x (1, columns)."""
        return self.vignetting.at(y, x) * self.illumination.at(y, x)

    def planes(self, y: Plane, x: Plane) -> "SmoothPlanes":
        """Return the planes at rows y (rows, 1) and columns x (1, columns)."""
        split = len(self.vignetting.names) if self.fitted else 0
        slopes = [self.vignetting.slopes(y, x)[:split], self.illumination.slopes(y, x)]
        both = np.concatenate(slopes)
        of_vignetting = _spread(slopes[0], self.covariance[:split, :split])
        of_light = _spread(slopes[1], self.covariance[split:, split:])
        vignetting, light = self.vignetting.at(y, x), self.illumination.at(y, x)
        return SmoothPlanes(
            vignetting=vignetting,
            vignetting_sigma=vignetting * of_vignetting,
            illumination=light,
            illumination_sigma=light * of_light,
            relative_sigma=_spread(both, self.covariance),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SmoothPlanes:
    """The smooth parts of a band with their 1σ errors; `relative_sigma` is that of their product over the product."""

    vignetting: Plane
    vignetting_sigma: Plane
    illumination: Plane
    illumination_sigma: Plane
    relative_sigma: Plane


def _spread(slopes: Plane, covariance: NDArray[np.float64]) -> Plane:
    if not len(slopes):
        return np.zeros(slopes.shape[1:])
    moved = np.tensordot(covariance, slopes, axes=1)
    return np.asarray(np.sqrt(np.maximum((slopes * moved).sum(axis=0), 0.0)))


def fit_smooth(cells: Cells, given: Shape | None = None, usable: NDArray[np.bool_] | None = None) -> Smooth:
    """Fit vignetting and illumination to a binned flat.

    Parameters
    ----------
    cells : Cells
    given : Radial, Cos4 or Mapped, optional
        Vignetting that is known: only the illumination is fitted.
    usable : ndarray of bool, shape of the cells, optional
        False where a cell takes no part, e.g. under dust.

    Raises
    ------
    ValueError
        Fewer than thirty cells are usable, or there is no light in them.
    """
    known = np.isfinite(cells.values) & (cells.values > 0)
    known &= True if usable is None else usable
    if known.sum() < _LEAST_CELLS:
        raise ValueError(f"only {int(known.sum())} cells of the flat hold light: too few for its shape")
    tried: list[_Solved] = []
    for vignetting, light in _candidates(cells, known, given):
        starts = list(_begun(tried, vignetting, light)) or [(vignetting, light)]
        found = [_fitted(cells, known, *start, given is None) for start in starts]
        tried.append(min(found, key=lambda each: each.scale))
    largest = max(tried, key=lambda each: len(each.theta))
    scale = min(largest.scale, *(each.scale for each in tried))
    criteria = [_criterion(each, scale) for each in tried]
    best = int(np.argmin(criteria))
    named = {_name(each): value - criteria[best] for each, value in zip(tried, criteria, strict=True)}
    return _smooth(tried[best], known, fitted=given is None, criterion=named)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Solved:
    vignetting: Shape
    illumination: Illumination
    theta: Plane
    design: Plane
    residuals: Plane
    scale: float


def _name(solved: _Solved) -> str:
    vignetting, light = solved.vignetting, len(solved.illumination.terms)
    words = "cos4" if isinstance(vignetting, Cos4) else f"r^{max(getattr(vignetting, 'powers', ()) or (0,))}"
    return f"{words} {'flat' if not light else 'plane' if light == len(PLANE) else 'quadratic'}"


def _begun(tried: Sequence[_Solved], vignetting: Shape, light: Illumination) -> Iterator[tuple[Shape, Illumination]]:
    """Yield a candidate with the values of each one before that lacks nothing but terms of the light.

    A tilt that stands for a term which is missing draws the axis away from where that term would leave it, and from
    there the fit does not come back. So each of them is a start of its own.
    """
    for before in tried:
        own, terms = before.vignetting, before.illumination.terms
        if own.names and own.names == vignetting.names and light.terms[: len(terms)] == terms:
            more = (0.0,) * (len(light.terms) - len(terms))
            yield own, light.moved([*before.illumination.values, *more])


def _candidates(cells: Cells, known: NDArray[np.bool_], given: Shape | None) -> Iterator[tuple[Shape, Illumination]]:
    """Yield what is tried, each with values to begin with."""
    unit, level = half_diagonal(cells.shape), float(np.median(cells.values[known]))

    def light(*terms: str) -> Illumination:
        return Illumination(level=level, shape=cells.shape, terms=terms, coefficients=(0.0,) * len(terms))

    if given is not None:
        yield from ((given, light(*terms)) for terms in ((), PLANE, (*QUADRATIC, "rr")))
        return
    yield Radial(centre=middle(cells.shape), radius_px=unit), light()
    yield Radial(centre=middle(cells.shape), radius_px=unit), light(*PLANE)
    centre, k = _begin(cells, known)
    two = Radial(centre=centre, radius_px=unit, powers=(2, 4), coefficients=(k, 0.0))
    yield Cos4(centre=centre, radius_px=unit, q=max(-k / 2, 1e-3)), light()
    yield Radial(centre=centre, radius_px=unit, powers=(2, 4, 6), coefficients=(k, 0.0, 0.0)), light()
    yield two, light()
    yield two, light(*PLANE)
    yield two, light(*QUADRATIC)


def _begin(cells: Cells, known: NDArray[np.bool_]) -> tuple[tuple[float, float], float]:
    """Return centre and curvature of the paraboloid that fits the cells best."""
    (row, column), unit = middle(cells.shape), half_diagonal(cells.shape)
    y, x = (np.broadcast_to(each, known.shape)[known] for each in ((cells.y - row) / unit, (cells.x - column) / unit))
    design = np.stack([np.ones_like(y), y, x, y**2 + x**2], axis=1)
    values = cells.values[known]
    weight = np.ones_like(values)
    for _ in range(8):  # dust and bad cells lose their weight
        found = np.linalg.lstsq(design * weight[:, None], values * weight, rcond=None)[0]
        rest = values - design @ found
        weight = np.sqrt(_biweight(rest / max(_scale(rest, 4), 1e-12)))
    level, b, c, curve = found
    if abs(curve) < 1e-6 * level:
        return (row, column), -1e-3
    away = np.clip([-b / (2 * curve), -c / (2 * curve)], -1.0, 1.0)
    peak = level - curve * float(away @ away)
    return (row + unit * away[0], column + unit * away[1]), float(np.clip(curve / peak, -0.9, 0.9))


def _biweight(pull: Plane) -> Plane:
    return np.where(np.abs(pull) < _TUKEY, (1 - (pull / _TUKEY) ** 2) ** 2, 0.0)


def _scale(rest: Plane, p: int) -> float:
    """Return a robust standard deviation of residuals of a fit with p parameters."""
    return float(1.4826 * np.median(np.abs(rest)) * np.sqrt(rest.size / max(rest.size - p, 1)))


def _fitted(
    cells: Cells,
    known: NDArray[np.bool_],
    vignetting: Shape,
    light: Illumination,
    free: bool,  # noqa: FBT001
) -> _Solved:
    y, x = (np.broadcast_to(each, known.shape)[known] for each in (cells.y, cells.x))
    values, split = cells.values[known], len(vignetting.names) if free else 0
    rest = values / (vignetting.at(y, x) * light.at(y, x)) - 1
    for _ in range(_ROUNDS):
        design = np.concatenate([vignetting.slopes(y, x)[:split], light.slopes(y, x)])
        scale = max(_scale(rest, len(design)), 1e-12)
        step, norm = _step(design, rest, scale)
        if split:
            step[:2] = np.clip(step[:2], -_STEP * half_diagonal(cells.shape), _STEP * half_diagonal(cells.shape))
        before, part = _loss(rest, scale), 1.0
        while part > _SHORTEST:
            tried = vignetting, light.moved((np.array(light.values) + part * step[split:]).tolist())
            if split:
                moved = _held(np.array(vignetting.values) + part * step[:split], cells.shape)
                tried = vignetting.moved(moved.tolist()), tried[1]
            model = tried[0].at(y, x) * tried[1].at(y, x)
            after = values / model - 1
            if model.min() > 0 and _loss(after, scale) <= before * (1 + 1e-12):
                break
            part /= 2
        else:
            break
        (vignetting, light), rest = tried, after
        if np.abs(part * step * norm).max() < _CONVERGED:
            break
    return _Solved(
        vignetting=vignetting,
        illumination=light,
        theta=np.array([*vignetting.values[:split], *light.values]),
        design=np.concatenate([vignetting.slopes(y, x)[:split], light.slopes(y, x)]),
        residuals=rest,
        scale=_scale(rest, len(design)),
    )


def _step(design: Plane, rest: Plane, scale: float) -> tuple[Plane, Plane]:
    """Return the step of the parameters, and the mean effect of each."""
    root = np.sqrt(_biweight(rest / scale))
    norm = np.sqrt((design**2).mean(axis=1))
    norm[norm == 0] = 1.0
    return np.linalg.lstsq((design / norm[:, None] * root).T, rest * root, rcond=1e-10)[0] / norm, norm


def _loss(rest: Plane, scale: float) -> float:
    """Return Tukey's loss, which is the sum of the squares of small residuals."""
    part = 1 - np.clip(rest / (scale * _TUKEY), -1, 1) ** 2
    return float((_TUKEY**2 / 3 * (1 - part**3)).sum())


def _held(values: Plane, shape: tuple[int, int]) -> Plane:
    """Return parameters of a vignetting whose axis is not far outside of the frame, and which is positive on it."""
    reach, centre = _FARTHEST * half_diagonal(shape), np.array(middle(shape))
    values[:2] = np.clip(values[:2], centre - reach, centre + reach)
    values[2:] = np.clip(values[2:], -2.0, 2.0)
    return values


def _criterion(solved: _Solved, scale: float) -> float:
    """Return the Bayesian information criterion, with Tukey's loss in place of the square."""
    loss = _loss(solved.residuals, max(scale, 1e-12))
    worth = loss + len(solved.theta) * float(np.log(solved.residuals.size))
    return worth if np.isfinite(worth) else np.inf


def _smooth(solved: _Solved, known: NDArray[np.bool_], *, fitted: bool, criterion: dict[str, float]) -> Smooth:
    rest, n, p = solved.residuals, solved.residuals.size, len(solved.theta)
    pull = rest / max(solved.scale, 1e-12)
    inner = np.abs(pull) < _TUKEY
    influence = pull * _biweight(pull)
    slope = np.where(inner, (1 - (pull / _TUKEY) ** 2) * (1 - 5 * (pull / _TUKEY) ** 2), 0.0).mean()
    variance = solved.scale**2 * (influence**2).sum() / max(n - p, 1) / slope**2
    excess = _excess(rest, inner, known)
    covariance = np.linalg.pinv(solved.design @ solved.design.T, hermitian=True) * variance * excess
    return Smooth(
        vignetting=solved.vignetting,
        illumination=solved.illumination,
        covariance=covariance,
        fitted=fitted,
        scatter=solved.scale,
        excess=excess,
        used=float(inner.mean()),
        criterion=criterion,
    )


def _excess(rest: Plane, inner: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
    """Return how much more the means of blocks of cells scatter than single cells let expect, 1 at least."""
    image = np.full(known.shape, np.nan)
    image[known] = np.where(inner, rest, np.nan)
    high, wide = (size // _BLOCK for size in known.shape)
    inside = image[: high * _BLOCK, : wide * _BLOCK].reshape(high, _BLOCK, wide, _BLOCK)
    blocks = inside.swapaxes(1, 2).reshape(high * wide, _BLOCK**2)
    count = np.isfinite(blocks).sum(axis=1)
    blocks, count = blocks[count > _BLOCK], count[count > _BLOCK]
    if len(blocks) < _LEAST_CELLS:
        return 1.0
    single = float(np.nanvar(image))
    square = np.nanmean(blocks, axis=1) ** 2 * count
    ratio = float(square.mean() / single) if single > 0 else 1.0
    expected = 1 + stats.norm.isf(_REAL) * np.sqrt(2 / len(blocks))
    return ratio if ratio > expected else 1.0
