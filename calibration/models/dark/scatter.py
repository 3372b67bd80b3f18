"""How much values scatter beside their own errors."""

from collections.abc import Callable

import numpy as np
from scipy import optimize, stats

from calibration.models.means import Planes

_CLIP = 2.5
"""Standard deviations beyond which a value counts as one at this distance (Huber 1964): few are of another kind."""

_USUAL = float(stats.chi2.cdf(_CLIP**2, 3) + _CLIP**2 * stats.chi2.sf(_CLIP**2, 1))
"""Mean of the clipped squares of normal values."""

_NOISY = float(np.sqrt(3 * stats.chi2.cdf(_CLIP**2, 5) + _CLIP**4 * stats.chi2.sf(_CLIP**2, 1) - _USUAL**2))
"""Their standard deviation."""


def scatter_of(off: Planes, error: Planes) -> float:
    """Return the variance of values about what is expected of them, without that of their errors.

    One estimate makes the squares of the values, over the sum of both variances, as large as they are by chance (Paule
    & Mandel 1982); large ones are clipped. It has an error itself, and a variance is not negative: what is returned is
    the mean of all that are, each as likely as the estimate makes it. So it is not 0 where the values do not scatter,
    but what so many of them cannot show.

    Parameters
    ----------
    off, error : ndarray, shape (n,)
        Deviations and their standard errors, above 0.
    """

    def squares(variance: float) -> Planes:
        return np.asarray(np.minimum(off**2 / (error**2 + variance), _CLIP**2))

    found = variance_of(lambda variance: float(squares(variance).mean()) - _USUAL, float(np.max(off**2, initial=0.0)))
    free = squares(found) < _CLIP**2
    slope = float((_USUAL * free / (error**2 + found)).sum())
    likely = found + (float((squares(found) - _USUAL).sum()) / slope if slope > 0 else 0.0)
    sigma = _NOISY * np.sqrt(off.size) / slope if slope > 0 else found
    pull = likely / sigma
    return float(likely + sigma * np.exp(stats.norm.logpdf(pull) - stats.norm.logcdf(pull)))


def variance_of(more: Callable[[float], float], most: float) -> float:
    """Return the variance from 0 to `most` at which a function that falls with it is 0; 0 where it begins below."""
    if not more(0.0) > 0:
        return 0.0
    return float(optimize.brentq(more, 0.0, most)) if more(most) < 0 else most
