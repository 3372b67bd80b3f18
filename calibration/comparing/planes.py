"""Pixels of two masters: what is common to all of them, and which have changed."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values
from calibration.comparing.records import DOUBLING_C, F32, Baseline, Changes, MasterFacts, apart_c, known
from calibration.frames import FrameKind

CHANGED_SIGMAS, ODD_SIGMAS = 6.0, 5.0
"""Above the first a pixel has changed; how many are above the second is only reported."""

SAMPLE_PIXELS = 1_000_000
"""About so many pixels give what is common to all."""

_SHAPE_ADU, _SHAPE = 5.0, 0.02
"""Range of the smooth difference over the frame: of biases and darks, and of flats relative to their light."""

_SHAPE_ERRORS = 8.0

_STRONG_ADU, _STRONG_NOISE, _STRONG_SIGMAS = 20.0, 2.0, 4.5
"""A pixel differs strongly by more than this many ADU, standard deviations of one frame, and of the difference."""

_OWN_SIGNAL = 0.2
"""A hot pixel may change by this part of its signal: with the temperature, and as hot pixels do."""

_CELLS = 8
"""The smooth shape is looked at in so many parts along each axis, of at least as many pixels."""

_WINSOR = 4.0


def sample_of_rows(height: int, width: int) -> tuple[NDArray[np.int_], slice]:
    """Return the rows and columns of the sample; both steps are odd, so that it meets all colours of a mosaic."""
    share = height * width / SAMPLE_PIXELS
    right = 3 if share > 9 else int(sqrt(share)) | 1  # whole rows are read: rather more of few
    down = int(share / right) | 1
    return np.arange(down // 2, height, down), slice(right // 2, width, right)


def baseline(new: F32, old: F32, after: MasterFacts, before: MasterFacts) -> Baseline:
    """Return what is common to all pixels, from the same sample of both masters.

    Parameters
    ----------
    new, old : ndarray of float32, shape (rows, columns)
        MEAN; of flats divided by their level.
    after, before : MasterFacts
        Of the new and the old master.
    """
    flat = after.kind is FrameKind.FLAT
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = clip_values(new / old).mean if flat else 1.0
    factor = 1.0 / scale if flat and scale > 0 else 1.0
    differs = new * np.float32(factor) - old
    found = clip_values(differs)
    level = clip_values(old)
    cells, error = _cells(differs - np.float32(found.mean), found.sigma)
    if after.kind is FrameKind.DARK:
        cells = _without_glow(cells, _medians(_parts(old)), apart_c(after, before))
    noise = max((known(each.noise_adu) or 0.0) for each in (after, before))
    return Baseline(
        kind=after.kind,
        factor=factor,
        shift=0.0 if flat else found.mean,
        shape=_smooth_range(cells) if flat else _range(cells),
        shape_limit=(_SHAPE if flat else _SHAPE_ADU) + _SHAPE_ERRORS * error,
        sigma_new=(known(after.sigma) or found.sigma / sqrt(2.0)) * factor,
        sigma_old=known(before.sigma) or found.sigma / sqrt(2.0),
        level=level.mean,
        strong=max(_STRONG_ADU, _STRONG_NOISE * noise),
        shot_new=_shot(after),
        shot_old=_shot(before),
    )


def _shot(facts: MasterFacts) -> float:
    """Return the variance that each ADU of a pixel's own signal gives its mean, in ADU²."""
    gain = known(facts.gain_e_adu)
    return 0.0 if gain is None or gain <= 0 else 1.0 / (gain * max(facts.frames, 1))


def changed_pixels(
    common: Baseline, new: F32, new_sigma: F32 | None, old: F32, old_sigma: F32 | None
) -> tuple[NDArray[np.intp], Changes]:
    """Return which pixels of a band have changed, as places in the flattened band, and the counts.

    Parameters
    ----------
    common : Baseline
    new, old : ndarray of float32, shape (rows, x)
        MEAN, on the scale that `baseline` was given; NaN counts as unchanged.
    new_sigma, old_sigma : ndarray of float32, optional
        SIGMA of the same pixels and scales; where there is none the typical one is taken.
    """
    differs = np.multiply(new, np.float32(common.factor))
    differs -= old
    if common.shift:
        differs -= np.float32(common.shift)
    flat = differs.ravel()
    at = np.flatnonzero(np.abs(flat) > np.float32(ODD_SIGMAS * common.sigma))  # few: the rest is about these
    d = flat[at].astype(np.float64)
    size = np.abs(d)
    before = old.ravel()[at]
    own = np.maximum(before, before + d) - common.level if common.kind is not FrameKind.FLAT else np.zeros_like(d)
    signal = np.maximum(own, 0.0)
    sigma = np.hypot(
        _at_least(new_sigma, at, np.sqrt(common.sigma_new**2 + common.shot_new * signal), common.factor),
        _at_least(old_sigma, at, np.sqrt(common.sigma_old**2 + common.shot_old * signal), 1.0),
    )
    beyond = size > np.maximum(common.least, _OWN_SIGNAL * own)
    is_changed = beyond & (size > CHANGED_SIGMAS * sigma)
    strong = beyond & (size > np.maximum(common.strong, _STRONG_SIGMAS * sigma))
    counts = Changes(
        pixels=flat.size,
        odd=int((size > ODD_SIGMAS * sigma).sum()),
        very_odd=int((size > CHANGED_SIGMAS * sigma).sum()),
        changed=int(is_changed.sum()),
        brighter=int((strong & (d > 0)).sum()),
        darker=int((strong & (d < 0)).sum()),
    )
    return at[is_changed], counts


def _parts(values: F32) -> F32:
    """Return a sample cut into parts, shape (parts down, rows, parts across, columns)."""
    down, across = (max(1, min(_CELLS, size // _CELLS)) for size in values.shape)
    high, wide = values.shape[0] // down, values.shape[1] // across
    return values[: down * high, : across * wide].reshape(down, high, across, wide)


def _cells(values: F32, sigma: float) -> tuple[NDArray[np.float64], float]:
    """Return the means of the parts of a sample, without outliers, and the error of one; NaN where all pixels are."""
    reach = np.float32(_WINSOR * sigma) if sigma > 0 else np.float32(np.inf)
    parts = _parts(np.clip(values, -reach, reach))
    numbers = np.isfinite(parts).sum(axis=(1, 3))
    sums = np.nansum(parts, axis=(1, 3), dtype=np.float64)
    means = np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)
    return means, sigma / sqrt(parts.shape[1] * parts.shape[3])


def _medians(parts: F32) -> NDArray[np.float64]:
    """Return the medians of parts, NaN where all pixels of one are."""
    down, _, across, _ = parts.shape
    found = np.full((down, across), np.nan)
    for y, x in np.ndindex(down, across):
        values = parts[y, :, x, :]
        values = values[np.isfinite(values)]
        if values.size:
            found[y, x] = np.median(values)
    return found


def _without_glow(cells: NDArray[np.float64], glow: NDArray[np.float64], warmer_c: float) -> NDArray[np.float64]:
    """Return the shape of a difference of darks without what another temperature makes of the shape that was there."""
    is_there = np.isfinite(cells) & np.isfinite(glow)
    if not is_there.any():
        return cells
    shape = glow - float(glow[is_there].mean())
    most = 2.0 ** ((min(abs(warmer_c), 1.0) + 0.2) / DOUBLING_C) - 1.0
    part = float((cells * shape)[is_there].sum() / max(float((shape[is_there] ** 2).sum()), 1e-12))
    return np.asarray(cells - min(max(part, -most), most) * shape, np.float64)


def _range(cells: NDArray[np.float64]) -> float:
    """Return the range of the parts that have pixels with a value; 0 where none has."""
    found = cells[np.isfinite(cells)]
    return float(found.max() - found.min()) if found.size else 0.0


def _smooth_range(cells: NDArray[np.float64]) -> float:
    """Return the range of the quadratic surface through the parts of a flat; dust in some of them does not bend it."""
    y, x = (np.linspace(-1.0, 1.0, size) for size in cells.shape)
    grid_y, grid_x = (each.ravel() for each in np.meshgrid(y, x, indexing="ij"))
    terms = np.stack([np.ones_like(grid_x), grid_x, grid_y, grid_x**2, grid_x * grid_y, grid_y**2], axis=1)
    is_there = np.isfinite(cells.ravel())
    values, terms = cells.ravel()[is_there], terms[is_there]
    if min(cells.shape) < 3 or values.size < 2 * terms.shape[1]:
        return _range(cells)
    weights, surface = np.ones_like(values), np.zeros_like(values)
    for _ in range(8):  # Tukey's weights: what is far from the surface does not count
        root = np.sqrt(weights)[:, None]
        surface = terms @ np.linalg.lstsq(terms * root, values * root[:, 0], rcond=None)[0]
        rest = values - surface
        spread = max(1.4826 * float(np.median(np.abs(rest))), 1e-9)
        weights = np.clip(1.0 - (rest / (4.685 * spread)) ** 2, 0.0, None) ** 2
    return float(surface.max() - surface.min())


def _at_least(
    sigma: F32 | None, at: NDArray[np.intp], typical: NDArray[np.float64], factor: float
) -> NDArray[np.float64]:
    """Return the SIGMA of pixels, or what is typical of their signal: of few frames it may come out much too small."""
    if sigma is None:
        return typical
    return np.fmax(sigma.ravel()[at].astype(np.float64) * factor, typical)
