"""The slow twin of the engine, in astropy and numpy: what every kernel must equal, mask for mask.

Written to be read, not to be fast. Where a sample lies at its bound exactly, the engine keeps it; here rounding may cut
it, as astropy would.
"""

from typing import Any

import numpy as np
from astropy.stats import SigmaClip, mad_std
from numpy.typing import NDArray

from calibration.combine.engine import calibrated, check, min_count
from calibration.combine.recipe import BandPlanes, MaskBit, Method, Recipe


def combine_band(
    frames: NDArray[Any],
    recipe: Recipe,
    *,
    scale: NDArray[np.float32] | None = None,
    dark: NDArray[np.float32] | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> BandPlanes:
    """Combine a band as `calibration.combine.engine.combine_band` does; same arguments, same result."""
    check(frames, scale, dark, valid)
    values = calibrated(frames, scale=scale, dark=dark, valid=valid).astype(np.float64)
    keep = _survivors(values, recipe)
    n = len(frames)
    count = keep.sum(axis=0)
    kept = np.where(keep, values, np.nan)
    mean, s = _moments(kept, count, median=recipe.method is Method.MEDIAN)
    if recipe.noise is not None:
        s = np.where(count == 1, _expected(mean, recipe), s)
    mask = np.where(count < min_count(recipe, n), MaskBit.LOW_COUNT, 0) | np.where(count == 0, MaskBit.NO_DATA, 0)
    if recipe.saturation_adu is not None:
        there = np.isfinite(values)
        saturated = ((frames >= recipe.saturation_adu) & there).sum(axis=0)
        mask |= np.where(saturated > there.sum(axis=0) - count, MaskBit.SATURATED, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = recipe.factor_for(n) * s / np.sqrt(count)
    return BandPlanes(
        mean=mean.astype(np.float32),
        sigma=sigma.astype(np.float32),
        count=count.astype(np.uint16),
        mask=mask.astype(np.uint16),
    )


def survivors(frames: NDArray[Any], recipe: Recipe, **calibration: Any) -> NDArray[np.bool_]:
    """Return which samples are kept, shape (n, rows, x); arguments as of `combine_band`."""
    return _survivors(calibrated(frames, **calibration).astype(np.float64), recipe)


def _moments(
    kept: NDArray[np.float64], count: NDArray[Any], *, median: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shape = kept.shape[1:]
    mean, s = np.full(shape, np.nan), np.full(shape, np.nan)
    some, several = count > 0, count > 1
    mean[some] = (np.nanmedian if median else np.nanmean)(kept[:, some], axis=0)
    s[several] = np.nanstd(kept[:, several], axis=0, ddof=1)
    return mean, s


def _survivors(values: NDArray[np.float64], recipe: Recipe) -> NDArray[np.bool_]:
    there = np.isfinite(values)
    method = recipe.method_for(len(values))
    if method in {Method.NONE, Method.MEDIAN}:
        return there
    keep = np.zeros_like(there)
    for y, x in np.ndindex(values.shape[1:]):
        index = np.flatnonzero(there[:, y, x])
        keep[index[_column(values[index, y, x], method, recipe)], y, x] = True
    return keep


def _column(x: NDArray[np.float64], method: Method, recipe: Recipe) -> NDArray[np.bool_]:
    """Return which samples of one pixel are kept."""
    if len(x) == 0:
        return np.zeros(0, np.bool_)
    if method is Method.MINMAX:
        return _minmax(x)
    if method is Method.WINSORIZED:
        return _winsorized(x, recipe.sigma)
    if method is Method.SIGMA_CLIP:
        clip = SigmaClip(recipe.sigma, maxiters=recipe.max_iterations, cenfunc="median", stdfunc="std")
        return ~np.ma.getmaskarray(clip(x, axis=0))
    return _clip_by(x, method, recipe)


def _clip_by(x: NDArray[np.float64], method: Method, recipe: Recipe) -> NDArray[np.bool_]:
    """Clip as SigmaClip does, with a spread that has a floor (mad) or comes from the noise model."""
    keep = np.ones(len(x), np.bool_)
    lower, upper = -np.inf, np.inf
    for _ in range(recipe.max_iterations):
        centre = float(np.median(x[keep]))
        if method is Method.MAD:
            spread = max(float(mad_std(x[keep])), recipe.step_adu / 12**0.5)
        else:
            spread = float(_expected(np.array(centre), recipe))
        lower, upper = centre - recipe.sigma * spread, centre + recipe.sigma * spread
        now = keep & (x >= lower) & (x <= upper)
        if now.sum() == keep.sum() or not now.any():
            break
        keep = now
    return (x >= lower) & (x <= upper)


def _expected(level: NDArray[np.float64], recipe: Recipe) -> NDArray[np.float64]:
    noise = recipe.noise
    assert noise is not None  # `method_for` chooses the noise model only where there is one
    signal = np.maximum(level - noise.pedestal_adu, 0.0)
    return np.asarray(np.sqrt(noise.read_noise_adu**2 + signal / noise.gain_e_adu))


def _minmax(x: NDArray[np.float64]) -> NDArray[np.bool_]:
    keep = np.ones(len(x), np.bool_)
    if len(x) > 2:
        order = np.argsort(x, kind="stable")
        keep[order[[0, -1]]] = False
    return keep


def _winsorized(x: NDArray[np.float64], k: float) -> NDArray[np.bool_]:
    order = list(np.argsort(x, kind="stable"))
    changed = True
    while changed and len(order) > 3:
        now = x[order]
        centre = float(np.median(now))
        reach = k * _winsorized_sigma(now, centre)
        before = len(order)
        while len(order) > 4 and centre - x[order[0]] > reach:
            order.pop(0)
        while len(order) > 4 and x[order[-1]] - centre > reach:
            order.pop()
        changed = len(order) != before
    keep = np.zeros(len(x), np.bool_)
    keep[order] = True
    return keep


def _winsorized_sigma(x: NDArray[np.float64], centre: float) -> float:
    sigma = float(x.std(ddof=1))
    pulled = x
    for _ in range(50):
        before = sigma
        pulled = np.clip(pulled, centre - 1.5 * sigma, centre + 1.5 * sigma)
        sigma = 1.134 * float(pulled.std(ddof=1))
        if abs(sigma - before) <= before * 0.0005:
            break
    return sigma
