"""Whether a term of a flat model is more than noise, seen over all pixels of a frame.

Each pixel has the term over its error, brought from Student's t of its degrees of freedom to a normal number (Wallace
1959, Annals of Mathematical Statistics 30, 1124). Of noise, half of these numbers are beyond the quartiles of a normal
distribution. More are where the flat changes with temperature or exposure. A few bad pixels, a column, or a grain of
dust that moved are some more beyond, however far: so many of them are allowed for.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from calibration.models.flat.model import Term
from calibration.models.means import Planes

_SURE = 1e-3
_BAD = 0.02
"""Part of the pixels that may change for reasons of their own."""

_FAR = 5.0
"""Pixels beyond so many times the usual scatter, and the noise, are not of the flat as a whole."""

_QUARTILE = float(stats.norm.isf(0.25))
_STEPS = 8
_EDGES = _QUARTILE * 2.0 ** (np.arange(-4 * _STEPS, 16 * _STEPS) / _STEPS)
"""Of the bins into which the pixels are put by their numbers; the quartile is one of them."""

_BEYOND_3 = 0.0027


@dataclass(frozen=True, slots=True, kw_only=True)
class Significance:
    """Whether a term is more than noise.

    Attributes
    ----------
    term : Term
    mean, spread : float
        Mean over the pixels but those apart, and their true standard deviation: what their errors do not explain.
    rms_pull : float
        Root of the mean square of value over error, as normal numbers; 1 of noise.
    beyond_3 : float
        Part of all pixels beyond three sigmas; 0.0027 of normal noise.
    apart : int
        Pixels that change by far more than the others.
    chance : float
        That noise, and as many pixels as may be bad, make so many pixels change.
    """

    term: Term
    mean: float
    spread: float
    rms_pull: float
    beyond_3: float
    apart: int
    chance: float

    @property
    def real(self) -> bool:
        """Whether noise alone makes it in fewer than one of a thousand cases."""
        return self.chance < _SURE


class SignificanceSums:
    """Sums over the bands of the pulls of one term; the order of the bands does not matter."""

    def __init__(self, term: Term) -> None:
        self._term = term
        self._sums = np.zeros((5, len(_EDGES) + 1))
        self._beyond = 0

    def add(self, values: Planes, variance: Planes, freedom: Planes) -> None:
        """Add a band: the term of each pixel, its variance, and the degrees of freedom of that."""
        known = np.isfinite(values) & (variance > 0)
        value, own, free = values[known], variance[known], np.maximum(freedom[known], 1.0)
        normal = (8 * free + 1) / (8 * free + 3) * np.sqrt(free * np.log1p(value**2 / own / free))
        at = np.searchsorted(_EDGES, normal, side="right")
        parts = (None, value, value**2, own, normal**2)
        self._sums += [np.bincount(at, weights=part, minlength=len(_EDGES) + 1) for part in parts]
        self._beyond += int((normal > stats.norm.isf(_BEYOND_3 / 2)).sum())

    def result(self) -> Significance:
        """Return what the bands show together."""
        number = self._sums[0].sum()
        if number < 1:
            nan = float("nan")
            return Significance(term=self._term, mean=nan, spread=nan, rms_pull=nan, beyond_3=nan, apart=0, chance=1.0)
        middle = _EDGES[min(int(np.searchsorted(self._sums[0].cumsum(), number / 2)), len(_EDGES) - 1)]
        last = int(np.searchsorted(_EDGES, _FAR * max(1.0, middle / _QUARTILE)))
        n, total, squares, errors, pulls = self._sums[:, : last + 1].sum(axis=1)
        outer = self._sums[0, np.searchsorted(_EDGES, _QUARTILE) + 1 : last + 1].sum() / n
        mean = total / n
        return Significance(
            term=self._term,
            mean=float(mean),
            spread=float(np.sqrt(max(squares / n - mean**2 - errors / n, 0.0))),
            rms_pull=float(np.sqrt(pulls / n)),
            beyond_3=self._beyond / float(number),
            apart=round(number - n),
            chance=float(stats.norm.sf((outer - 0.5 - _BAD / 2) / np.sqrt(0.25 / n))),
        )
