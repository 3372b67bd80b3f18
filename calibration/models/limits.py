"""How far noise alone makes the groups of a pixel scatter: limits by degrees of freedom, worked out once for each."""

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from scipy import stats

from calibration.models.shapes import Planes

_MISFIT = 1e-6
"""Chance that a pixel that the model fits seems to be one that it does not fit."""


def by_freedom(limit: Callable[[float], float], freedom: Planes) -> Planes:
    """Return what depends on degrees of freedom alone, worked out once for each number that occurs."""
    whole = freedom.astype(np.intp)
    if (whole == freedom).all():  # numbers of samples: they are looked up, not sorted
        numbers = np.flatnonzero(np.bincount(whole.ravel()))
        table = np.zeros(int(numbers[-1]) + 1 if numbers.size else 0)
        table[numbers] = [limit(max(float(number), 1.0)) for number in numbers]
        found: Planes = table[whole]
        return found
    some, place = np.unique(freedom, return_inverse=True)
    return np.array([limit(max(float(number), 1.0)) for number in some])[place].reshape(freedom.shape)


def misfit_limits(over: Planes, freedom: Planes) -> Planes:
    """Return the reduced chi-square that a pixel that the model fits has once in a million: of Fisher's F distribution.

    Parameters
    ----------
    over, freedom : ndarray, shape (...)
        Degrees of freedom of the scatter of the groups about the model, infinitely far limits where there are none, and
        of that within the groups.
    """
    limits = np.full(over.shape, np.inf)
    for number in np.unique(over[over > 0]):
        at = over == number
        limits[at] = by_freedom(partial(f_limit, _MISFIT, float(number)), np.round(freedom[at]))
    return limits


@lru_cache(maxsize=4096)
def f_limit(chance: float, over: float, freedom: float) -> float:
    """Return the ratio of two variances of equal noise that is exceeded by a chance."""
    return float(stats.f.isf(chance, over, freedom))


@lru_cache(maxsize=4096)
def t_limit(chance: float, freedom: float) -> float:
    """Return the deviation, on either side and over its estimated error, that is exceeded by a chance."""
    return float(stats.t.isf(chance / 2, freedom))
