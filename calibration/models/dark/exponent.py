"""The exponent of the exposure that fits best."""

from collections.abc import Callable

import numpy as np
from scipy import optimize

_LEAST, _MOST, _NEAR = 0.3, 2.0, 0.1
"""Exponents that are tried, and the step between them."""


def best_exponent(misfit: Callable[[float], tuple[float, float]]) -> tuple[float, float]:
    """Return the exponent of the least misfit, and its error; NaN where the misfit has no least value.

    Parameters
    ----------
    misfit : callable
        Returns the chi-square of an exponent and its degrees of freedom. The error is widened by as much as the best
        fit lies off.
    """
    tried = np.arange(_LEAST, _MOST + _NEAR / 2, _NEAR)
    near = float(min(tried, key=lambda each: misfit(float(each))[0]))
    bounds = (near - _NEAR, near + _NEAR)
    found = optimize.minimize_scalar(lambda each: misfit(float(each))[0], bounds=bounds, method="bounded")
    middle, error, width = float(found.x), float("nan"), _NEAR
    least, over = misfit(middle)
    for _ in range(3):
        curvature = (misfit(middle - width)[0] + misfit(middle + width)[0] - 2 * least) / (2 * width**2)
        if curvature > 0:
            error = float(1 / np.sqrt(curvature))
            width = float(np.clip(error, 1e-4, _NEAR))
    if not np.isfinite(error):
        return float("nan"), float("nan")
    return middle, error * float(np.sqrt(max(1.0, least / max(over, 1.0))))
