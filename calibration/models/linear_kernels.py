"""Compiled loops of the linear models over the pixels of a band: one pass over the means of the groups instead of ten.

Sums are taken in float64, pixel by pixel in the order of the groups; a tile of pixels stays in the processor's caches.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.combine.kernels.jit import called
from calibration.compiled_kernels import kept

F64 = NDArray[np.float64]

_TILE = 512


class Alike(NamedTuple):
    """What fits all pixels.

    Attributes
    ----------
    design, projector : ndarray, shape (K, p) and (p, K)
        Regressors of each group, and what makes parameters of means.
    weights, reach : ndarray, shape (K,)
        Frames of each group, and factor of its residual in `Fitted.far`.
    """

    design: F64
    projector: F64
    weights: F64
    reach: F64


class Fitted(NamedTuple):
    """Parameters, weighted sum of squared residuals, and the largest residual times its reach.

    Shapes (p, pixels), (pixels,) and (pixels,).
    """

    theta: F64
    rest: F64
    far: F64


class Combined(NamedTuple):
    """What the engine of the masters gives: mean, error of the mean and number of samples, shape (pixels,)."""

    mean: NDArray[np.float32]
    sigma: NDArray[np.float32]
    samples: NDArray[np.uint16]


_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


@called
def _add_up(shares: F64, mean: F64, into: F64) -> None:
    """Add up groups, two at a time, without those that have a share of 0: a sum is loaded and stored half as often."""
    into[:] = 0.0
    before = -1
    for k in range(len(shares)):
        if shares[k] == 0.0:
            continue
        if before < 0:
            before = k
            continue
        one, other, first, second = mean[before], mean[k], shares[before], shares[k]
        for x in range(len(into)):
            into[x] += first * one[x] + second * other[x]
        before = -1
    if before >= 0:
        last, share = mean[before], shares[before]
        for x in range(len(into)):
            into[x] += share * last[x]


@kept(**_OPTIONS)
def fit_alike(mean: F64, model: Alike, into: Fitted) -> None:
    """Fit all pixels with one matrix; `mean` has the shape (K, pixels), and its NaN make the results of a pixel NaN."""
    design, projector, weights, reach = model
    theta, rest, far = into
    groups, pixels = mean.shape
    desk = np.empty(_TILE)
    for start in range(0, pixels, _TILE):
        stop = min(start + _TILE, pixels)
        for i in range(len(theta)):
            _add_up(projector[i], mean[:, start:stop], theta[i, start:stop])
        squares, most = rest[start:stop], far[start:stop]
        squares[:] = 0.0
        most[:] = 0.0
        for k in range(groups):
            left = desk[: stop - start]
            left[:] = mean[k, start:stop]
            for i in range(len(theta)):
                factor, parameter = design[k, i], theta[i, start:stop]
                for x in range(len(left)):
                    left[x] -= factor * parameter[x]
            weight, arm = weights[k], reach[k]
            for x in range(len(left)):
                squares[x] += weight * left[x] * left[x]
                most[x] = max(most[x], abs(left[x]) * arm)


@kept(**_OPTIONS)
def mixed(shares: F64, mean: F64, into: F64) -> None:
    """Add up groups with several sets of shares; groups with a share of 0 take no part, so that their NaN do no harm.

    Parameters
    ----------
    shares : ndarray, shape (m, K)
    mean : ndarray, shape (K, pixels)
    into : ndarray, shape (m, pixels)
        Results.
    """
    pixels = mean.shape[1]
    for start in range(0, pixels, _TILE):
        stop = min(start + _TILE, pixels)
        for m in range(len(shares)):
            _add_up(shares[m], mean[:, start:stop], into[m, start:stop])


@kept(**_OPTIONS)
def held_sums(measured: F64, predicted: F64, variance: F64, expected: tuple[float, float, float]) -> F64:
    """Return sums over the pixels of how a temperature is predicted that was left out.

    Parameters
    ----------
    measured, predicted, variance : ndarray, shape (pixels,)
        In ADU; variance of a sample in ADU².
    expected : tuple of float
        Factor of the variance to that of the difference, the part of the difference that all pixels have in common,
        which does not count in the pulls, and the largest pull that counts as such.

    Returns
    -------
    ndarray, shape (9,)
        Pixels that were predicted; sums of measured less predicted, of its magnitude, its square, its magnitude over
        that of the measured value, and of squared pulls; pixels that were measured, their sum and sum of squares.
    """
    widening, level, most = expected
    found = np.zeros(9)
    for x in range(len(measured)):
        value = measured[x]
        if not np.isfinite(value):
            continue
        found[6] += 1.0
        found[7] += value
        found[8] += value * value
        error = value - predicted[x]
        if not np.isfinite(error):
            continue
        found[0] += 1.0
        found[1] += error
        found[2] += abs(error)
        found[3] += error * error
        found[4] += abs(error) / max(abs(value), 1e-8)
        pull = (error - level) ** 2 / (variance[x] * widening)
        if np.isfinite(pull):
            found[5] += min(pull, most * most)
    return found


@kept(**_OPTIONS)
def as_group(planes: Combined, common: float, factor: float, into: F64, squares: F64) -> None:
    """Make the mean of a group and its squared deviations of what the engine of the masters gives.

    Parameters
    ----------
    planes : Combined
    common : float
        What is subtracted from all means.
    factor : float
        Factor of the error of the mean.
    into, squares : ndarray, shape (pixels,)
        Results.
    """
    mean, sigma, samples = planes
    for x in range(len(mean)):
        into[x] = mean[x] - common
        n = float(samples[x])
        scatter = float(sigma[x]) * factor
        squares[x] = scatter * scatter * n * (n - 1.0) if n > 1.0 else 0.0
