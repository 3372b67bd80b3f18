"""Whether a term of a flat model is more than noise, seen over all pixels of a frame.

The middle of a term is judged by the errors of the levels, which all pixels have in common, however many they are
(Student's t). What differs from it is judged by the errors of the pixels, brought from Student's t of their degrees of
freedom to a normal number (Wallace 1959, Annals of Mathematical Statistics 30, 1124). Of noise, half of these numbers
are beyond the quartiles of a normal distribution. More are where the flat changes with temperature or exposure. A few
bad pixels, a column, or a grain of dust that moved are some more beyond, however far: so many of them are allowed for.
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
_PER_PART = float(np.sqrt(2 * np.pi))
"""Sigmas by which the middle of normal numbers moves for each part of them that is put to its other side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Significance:
    """Whether a term is more than noise.

    Attributes
    ----------
    term : Term
    mean, spread : float
        Mean over the pixels but those apart, and their true standard deviation: what their errors do not explain.
    rms_pull : float
        Root of the mean square of what differs from the mean over its error, as normal numbers; 1 of noise.
    beyond_3 : float
        Part of all pixels beyond three sigmas; 0.0027 of normal noise.
    apart : int
        Pixels that change by far more than the others.
    chance_mean, chance_spread : float
        That errors of the levels make such a middle; and that noise, and as many pixels as may be bad, make so many
        differ from it.
    """

    term: Term
    mean: float
    spread: float
    rms_pull: float
    beyond_3: float
    apart: int
    chance_mean: float
    chance_spread: float

    @property
    def chance(self) -> float:
        """That noise makes either."""
        return min(1.0, 2 * min(self.chance_mean, self.chance_spread))

    @property
    def real(self) -> bool:
        """Whether noise alone makes it in fewer than one of a thousand cases."""
        return self.chance < _SURE


class SignificanceSums:
    """Sums over the bands of the pulls of one term; the order of the bands does not matter.

    Parameters
    ----------
    term : Term
    about : float
        By how much the level changes: pixels are compared with it.
    common : float
        Variance of the term that all pixels have in common.
    freedom : float
        Degrees of freedom of that; 0: it is not known, and no mean is more than noise.
    """

    def __init__(self, term: Term, *, about: float = 0.0, common: float = 0.0, freedom: float = np.inf) -> None:
        self._term, self._about, self._common, self._freedom = term, about, common, freedom
        self._sums = np.zeros((5, len(_EDGES) + 1))
        self._beyond, self._above = 0, 0.0

    def add(self, values: Planes, variance: Planes, freedom: Planes) -> None:
        """Add a band: the term of each pixel, the variance of its own, and the degrees of freedom of that."""
        known = np.isfinite(values) & (variance > 0)
        value, own, free = values[known] - self._about, variance[known], np.maximum(freedom[known], 1.0)
        normal = (8 * free + 1) / (8 * free + 3) * np.sqrt(free * np.log1p(value**2 / own / free))
        at = np.searchsorted(_EDGES, normal, side="right")
        parts = (None, value, value**2, own, normal**2)
        self._sums += [np.bincount(at, weights=part, minlength=len(_EDGES) + 1) for part in parts]
        self._above += float((value > 0).sum() + (value == 0).sum() / 2)
        self._beyond += int((normal > stats.norm.isf(_BEYOND_3 / 2)).sum())

    def result(self) -> Significance:
        """Return what the bands show together."""
        number = self._sums[0].sum()
        if number < 1:
            return _nothing(self._term)
        middle = _EDGES[min(int(np.searchsorted(self._sums[0].cumsum(), number / 2)), len(_EDGES) - 1)]
        last = int(np.searchsorted(_EDGES, _FAR * max(1.0, middle / _QUARTILE)))
        n, total, squares, errors, pulls = self._sums[:, : last + 1].sum(axis=1)
        outer = self._sums[0, np.searchsorted(_EDGES, _QUARTILE) + 1 : last + 1].sum() / n
        mean = total / n
        return Significance(
            term=self._term,
            mean=self._about + float(mean),
            spread=float(np.sqrt(max(squares / n - mean**2 - errors / n, 0.0))),
            rms_pull=float(np.sqrt(pulls / n)),
            beyond_3=self._beyond / float(number),
            apart=round(number - n),
            chance_mean=self._chance_of(float(number), float(np.sqrt(squares / n))),
            chance_spread=float(stats.norm.sf((outer - 0.5 - _BAD / 2) / np.sqrt(0.25 / n))),
        )

    def _chance_of(self, number: float, scatter: float) -> float:
        """Return the chance of such a middle, beyond which half of the pixels are; so many as may be bad move it."""
        if not self._freedom > 0:
            return 1.0
        part = np.clip(self._above / number, 1 / number, 1 - 1 / number)
        middle = self._about + float(stats.norm.ppf(part)) * scatter
        bad, own = scatter * _BAD / 2 * _PER_PART, (scatter * _PER_PART / 2) ** 2 / number
        over = max(abs(middle) - bad, 0.0) / np.sqrt(self._common + own)
        return float(2 * (stats.t.sf(over, self._freedom) if np.isfinite(self._freedom) else stats.norm.sf(over)))


def _nothing(term: Term) -> Significance:
    nan = float("nan")
    return Significance(
        term=term, mean=nan, spread=nan, rms_pull=nan, beyond_3=nan, apart=0, chance_mean=1.0, chance_spread=1.0
    )
