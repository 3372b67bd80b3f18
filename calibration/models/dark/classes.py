"""The darks of a sample in classes of pixels, and what some groups make of the others: rough, and hard to lead astray.

In each class the signal is ``t r exp(s v(T)) + o``. The shape s is looked for on a grid, the rate r and the constant o
follow from it by least squares.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.models.contradictions import Classes, Deviations, Mask, Predicted, deviations_of
from calibration.models.dark.fit import Taken
from calibration.models.dark.model import Family, Law, Noise
from calibration.models.dark.relations import bins_of, merged, middles_of
from calibration.models.means import GroupMean, Planes, stacked

_SHAPES, _BENDS = np.linspace(0.30, 1.20, 31), np.linspace(-0.03, 0.06, 7)
"""Of a class: its activation energy at the reference, in eV, and half of its change with 1/kT, in eV²."""

_USUAL_EV, _SCATTER_EV, _BENT = 0.65, 0.15, 0.02
_ALIKE, _OF_A_CLASS, _OF_A_CELL = 0.03, 0.03, 0.01
"""Of the signal, what darks of a healthy camera differ by: all of them, a class of one brightness beside the others,
and a cell of the frame beside the others."""

_BEYOND_EV = 0.05
"""Error of a shape that counts outside of the temperatures that are kept."""

_GLOW = 2.0
"""Of the noise, what a class may have more in all groups: a glow, or the error of the bias."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DarkRules:
    """How darks of a class depend on temperature and exposure, fitted to some of K groups.

    Attributes
    ----------
    taken : Taken
    classes : Classes
    places : ndarray, shape (K,)
        Of the temperatures, 1/eV.
    constant_variance : float
        Of the constant of a class; infinite where nothing is known of it.
    """

    taken: Taken
    classes: Classes
    places: NDArray[np.float64]
    constant_variance: float

    @property
    def parameters(self) -> int:
        """Of one class: rate and constant, and a shape where there are several temperatures."""
        return 2 + (len(np.unique(self.taken.label_c)) > 1)

    def energy_ev(self, kept: Mask) -> float:
        """Return the activation energy of the usual pixel; a usual one where the groups that are kept show none."""
        if len(np.unique(self.taken.label_c[kept])) < 2:
            return _USUAL_EV
        means = self.predict(kept, self.classes.level_variance).means
        level = np.maximum(np.nanmedian(means[:, ~self.classes.cells], axis=1), 1e-3)
        rates = np.log(level / np.maximum(self.taken.exposure_s, 1e-6))
        energy = np.polyfit(self.places[kept], rates[kept], 1, w=level[kept])[0]
        return float(np.clip(energy, _SHAPES[0], _SHAPES[-1]))

    def deviations(self, kept: Mask) -> Deviations:
        """Return how all groups differ from what those that are kept predict."""
        wander = self.classes.level_variance
        return deviations_of(self.classes, self.predict(kept, wander), wander)

    def predict(self, kept: Mask, level_variance: float) -> Predicted:
        """Fit the groups that are kept, and predict all."""
        y, t = self.classes.means, self.taken.exposure_s
        weighed = np.where(np.isfinite(y), y, 0.0)
        signal = np.maximum(weighed, 0.0)
        for _ in range(2):
            alike = (_ALIKE**2 + self._of_a_class**2) * signal**2
            variance = self.classes.variances + alike + level_variance
            weight = np.where(kept[:, None] & np.isfinite(y), 1 / variance, 0.0)
            found = self._fitted(weighed, weight, t)
            signal = np.maximum(found.means, 0.0)
        beyond = np.maximum(self.places - self.places[kept].max(), self.places[kept].min() - self.places)
        relative = np.hypot(_ALIKE, _BEYOND_EV * np.maximum(beyond, 0.0))
        return Predicted(
            means=found.means, variances=found.variances + (self._of_a_class * signal) ** 2, relative=relative
        )

    @property
    def _of_a_class(self) -> Planes:
        return np.where(self.classes.cells, _OF_A_CELL, _OF_A_CLASS)

    def _fitted(self, y: Planes, weight: Planes, t: Planes) -> Predicted:
        """Return the best of the shapes with its rate and constant for each class, and the variance by noise."""
        shapes, bends = (each.ravel() for each in np.meshgrid(_SHAPES, self._bends))
        basis = t * np.exp(np.outer(shapes, self.places) + np.outer(bends, self.places**2))  # (shapes, K)
        aa = basis**2 @ weight  # (shapes, B)
        ab, ay = basis @ weight, basis @ (weight * y)
        bb, by = weight.sum(axis=0) + 1 / self.constant_variance, (weight * y).sum(axis=0)
        determinant = np.maximum(aa * bb - ab**2, 1e-12 * aa * bb + 1e-300)
        rate = np.maximum((ay * bb - ab * by) / determinant, 0.0)
        constant = (by - rate * ab) / bb
        chi = (weight * y**2).sum(axis=0) - rate * ay - constant * by
        chi += (((shapes - _USUAL_EV) / _SCATTER_EV) ** 2 + (bends / _BENT) ** 2)[:, None]
        chance = np.exp(-0.5 * np.minimum(chi - chi.min(axis=0), 700.0))
        chance /= chance.sum(axis=0)
        means = basis.T @ (chance * rate) + (chance * constant).sum(axis=0)
        squares = (basis**2).T @ (chance * rate**2) + 2 * basis.T @ (chance * rate * constant)
        spread = squares + (chance * constant**2).sum(axis=0) - means**2
        best = (chi.argmin(axis=0), np.arange(y.shape[1]))
        b = basis[best[0]].T  # (K, B)
        noise = (bb * b**2 - 2 * ab[best] * b + aa[best]) / determinant[best]
        variances = np.maximum(spread, 0.0) + np.maximum(noise, 0.0)
        return Predicted(means=means, variances=variances, relative=np.zeros(len(t)))

    @property
    def _bends(self) -> NDArray[np.float64]:
        return _BENDS if len(np.unique(self.taken.label_c)) > 2 else np.zeros(1)


def classes_of(
    first: Sequence[GroupMean | None],
    second: Sequence[GroupMean | None],
    cells: NDArray[np.intp],
    noise: Noise,
    *,
    limit_adu: float,
    level_variance: float,
) -> Classes:
    """Put the pixels of a sample into classes: chosen from the even frames, measured on the odd ones.

    Parameters
    ----------
    first, second : sequence of GroupMean
        Means of the even and of the odd frames of K groups on n pixels, less the bias; None where a group has none.
    cells : ndarray of int, shape (n,)
        The cell of the frame that each pixel is in.
    noise : Noise
    limit_adu : float
        Signal above the bias from which on a pixel is saturated.
    level_variance : float
        Of what all pixels of a group have in common by noise, in ADU².
    """
    whole = [merged(one, other) for one, other in zip(first, second, strict=True)]
    halves = None not in (*first, *second)
    groups = stacked([each for each in (second if halves else whole) if each is not None])
    chosen = stacked([each for each in (first if halves else whole) if each is not None])
    bright = np.where(np.isfinite(chosen.mean), chosen.mean, min(limit_adu, 1e6)).sum(axis=0)
    rated = bins_of(bright)
    placed = [np.flatnonzero(cells == cell) for cell in np.unique(cells)]
    bins = [each for each in (*rated, *placed) if each.size]
    middles = middles_of(groups, bins)
    count = np.maximum(middles.count, 1).astype(np.float64)
    variance = (noise.read_adu2 + noise.per_adu * np.maximum(np.nan_to_num(middles.mean), 0.0)) / count
    return Classes(
        means=middles.mean,
        variances=np.where(middles.count > 0, variance, np.nan),
        cells=np.arange(len(bins)) >= len(bins) - len(placed),
        level_variance=level_variance,
    )


def rules_of(taken: Taken, classes: Classes, noise: Noise, *, known: bool) -> DarkRules:
    """Return how darks of classes are to be compared; `known`: a bias was taken off them."""
    law = Law(family=Family.ARRHENIUS, reference_c=float(taken.temperature_c.max()))
    return DarkRules(
        taken=taken,
        classes=classes,
        places=law.places(taken.temperature_c),
        constant_variance=_GLOW**2 * noise.read_adu2 if known else 1e12,
    )
