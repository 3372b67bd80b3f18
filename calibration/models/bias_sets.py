"""The biases of a sample in classes of pixels, and what some groups make of the others: a line in temperature."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.models.contradictions import Classes, Mask, Predicted
from calibration.models.means import Groups, Planes

_CLASSES = 12
_ALIKE, _OF_A_CLASS = 0.03, 0.02
"""Of the pattern, what biases of a healthy camera differ by: all of it, and one class beside the others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BiasRules:
    """How biases of a class depend on temperature, fitted to some of K groups.

    Attributes
    ----------
    temperature_c : ndarray, shape (K,)
    classes : Classes
    """

    temperature_c: NDArray[np.float64]
    classes: Classes

    @property
    def parameters(self) -> int:
        """Of one class."""
        return 1 + int(np.ptp(self.temperature_c) > 1)

    def predict(self, kept: Mask, level_variance: float) -> Predicted:
        """Fit the groups that are kept, and predict all."""
        away = self.temperature_c - self.temperature_c[kept].mean()
        slopes = self.parameters > 1 and np.ptp(self.temperature_c[kept]) > 1
        design = np.stack([np.ones_like(away), away], axis=1)[:, : 1 + slopes]
        variance = np.where(np.isfinite(self.classes.variances), self.classes.variances, np.inf)
        weight = kept / (np.median(variance, axis=1) + level_variance)
        inverse = np.linalg.pinv(design.T @ (design * weight[:, None]))
        means = design @ (inverse @ (design.T * weight) @ np.nan_to_num(self.classes.means))
        lever = np.einsum("ki,ij,kj->k", design, inverse, design)
        own = lever / (lever + 1 / np.maximum(weight.max(), 1e-300)) * variance.min(axis=1)
        spread = (_OF_A_CLASS * (means - means.mean(axis=1, keepdims=True))) ** 2
        alike = np.full(len(means), np.inf if not slopes and self.parameters > 1 else _ALIKE)
        return Predicted(means=means, variances=own[:, None] + spread, relative=np.minimum(alike, 1e3))


def bias_classes(
    groups: Groups, levels_adu: Planes, cells: NDArray[np.intp], *, noise_adu: float, level_variance: float
) -> Classes:
    """Put the pixels of a sample into classes of equal bias, and of cells of the frame.

    Parameters
    ----------
    groups : Groups
        Means of K groups on n pixels, each frame less its level.
    levels_adu : ndarray, shape (K,)
        Mean level of each group.
    cells : ndarray of int, shape (n,)
        The cell of the frame that each pixel is in.
    noise_adu : float
        Of a sample.
    level_variance : float
        Of the level of a group by noise, in ADU².
    """
    k = len(groups.mean)
    mean, count = groups.mean.reshape(k, -1), groups.count.reshape(k, -1)
    pattern = np.where(np.isfinite(mean).all(axis=0), mean.mean(axis=0), np.nan)
    order = np.argsort(pattern)[: int(np.isfinite(pattern).sum())]
    alike = [each for each in np.array_split(order, _CLASSES) if each.size]
    placed = [order[cells[order] == cell] for cell in np.unique(cells[order])]
    bins = [*alike, *placed]
    means = np.stack([np.median(mean[:, each], axis=1) for each in bins], axis=1)
    samples = np.stack([count[:, each].sum(axis=1) for each in bins], axis=1)
    centre = float(np.median(levels_adu))
    return Classes(
        means=means + (levels_adu - centre)[:, None],
        variances=1.6 * noise_adu**2 / np.maximum(samples, 1),  # of medians
        cells=np.arange(len(bins)) >= len(alike),
        level_variance=level_variance,
    )
