"""The slow twin of the engine, in astropy and numpy: what every kernel must equal, mask for mask.

Written to be read, not to be fast. Where a sample lies at its bound exactly, the engine keeps it; here rounding may cut
it, as astropy would. Of samples that are rounded to a step, bounds lie one step farther out than astropy's: its
SigmaClip is given a spread that is a k-th of a step larger. Without a step both are astropy's own.
"""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.stats import SigmaClip, mad_std
from numpy.typing import NDArray

from calibration.combine.engine import calibrated, check, jumps, min_count
from calibration.combine.kernels.tiles import FAR, MAD_TO_STD
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
    mean, s = _moments(kept, count, recipe)
    if recipe.noise is not None:
        s = np.where(count == 1, _expected(mean, recipe), s)
    mask = np.where(count < min_count(recipe, n), MaskBit.LOW_COUNT, 0) | np.where(count == 0, MaskBit.NO_DATA, 0)
    if recipe.saturation_adu is not None:
        there = np.isfinite(values)
        saturated = ((frames >= recipe.saturation_adu) & there).sum(axis=0)
        mask |= np.where(saturated > there.sum(axis=0) - count, MaskBit.SATURATED, 0)
    if recipe.method_for(n) not in {Method.NONE, Method.MEDIAN, Method.MINMAX}:
        far = np.abs(values - mean) > FAR * np.maximum(s, recipe.sample_adu or 0.0) + recipe.step_adu
        mask |= np.where((far & np.isfinite(values)).sum(axis=0) >= jumps(n), MaskBit.NOISY, 0)
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
    kept: NDArray[np.float64], count: NDArray[Any], recipe: Recipe
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shape = kept.shape[1:]
    mean, s = np.full(shape, np.nan), np.full(shape, np.nan)
    for y, x in np.argwhere(count > 0):
        samples = kept[:, y, x][np.isfinite(kept[:, y, x])]
        mean[y, x] = _median(samples, recipe.step_adu) if recipe.method is Method.MEDIAN else samples.mean()
    several = count > 1
    s[several] = np.maximum(np.nanstd(kept[:, several], axis=0, ddof=1), recipe.step_adu / 12**0.5)
    return mean, s


def _median(samples: NDArray[np.float64], step: float) -> float:
    """Return the median, which is anywhere within its step where samples are equal."""
    middle = float(np.median(samples))
    return statistics.median_grouped(samples, step) if step > 0 and middle in samples else middle


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
        return _winsorized(x, recipe)
    if method is Method.SIGMA_CLIP:
        clip = SigmaClip(recipe.sigma, maxiters=recipe.max_iterations, cenfunc="median", stdfunc=_widened(recipe))
        return ~np.ma.getmaskarray(clip(x, axis=0))
    return _clip_by(x, method, recipe)


def _widened(recipe: Recipe) -> Callable[..., Any]:
    """Return the spread for SigmaClip that is at least that of rounding, and puts bounds a step farther out."""

    def spread(values: NDArray[np.float64], axis: int | None = None) -> NDArray[np.float64]:
        least = recipe.step_adu / 12**0.5
        return np.asarray(np.maximum(np.nanstd(values, axis=axis), least) + recipe.step_adu / recipe.sigma)

    return spread


def _clip_by(x: NDArray[np.float64], method: Method, recipe: Recipe) -> NDArray[np.bool_]:
    """Clip as SigmaClip does, by the deviation of half of the rounded samples (mad) or by the noise model."""
    step = recipe.step_adu
    keep = np.ones(len(x), np.bool_)
    lower, upper = -np.inf, np.inf
    for _ in range(recipe.max_iterations):
        centre = float(np.median(x[keep]))
        if method is Method.MAD:
            spread = float(mad_std(x[keep])) + MAD_TO_STD * step / 2
        else:
            spread = max(float(_expected(np.array(centre), recipe)), step / 12**0.5)
        reach = recipe.sigma * spread + step
        lower, upper = centre - reach, centre + reach
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


def _winsorized(x: NDArray[np.float64], recipe: Recipe) -> NDArray[np.bool_]:
    order = list(np.argsort(x, kind="stable"))
    changed = True
    while changed and len(order) > 3:
        now = x[order]
        centre = float(np.median(now))
        spread = max(_winsorized_sigma(now, centre), MAD_TO_STD * recipe.step_adu / 2)
        reach = recipe.sigma * spread + recipe.step_adu
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
