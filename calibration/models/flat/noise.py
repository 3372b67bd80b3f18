"""The noise of the groups of flats: frames of a fainter light say less, and weigh less.

A model of one variance is fitted to what the groups are in units of their noise (whitening: Cook & Weisberg, Residuals
and Influence in Regression, 1982, chapter 1): means and regressors over the noise of the group, deviations over its
square. The parameters stay as they are.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.models.means import GroupMean


def relative_noise(
    noise: NDArray[np.float64], levels_adu: NDArray[np.float64], usual: float = np.nan
) -> NDArray[np.float64]:
    """Return the noise of the frames of each group, relative to the usual one.

    Parameters
    ----------
    noise : ndarray, shape (K,)
        Of a sample of each group, relative to the level; NaN where its frames do not show it. That is then of photons:
        one over the root of the level.
    levels_adu : ndarray, shape (K,)
        Of the groups.
    usual : float
        What is called 1; NaN: the middle of the groups.
    """
    known = np.isfinite(noise) & (noise > 0)
    photons = 1 / np.sqrt(levels_adu)
    scale = float(np.median(noise[known] / photons[known])) if known.any() else 1.0
    own = np.where(known, noise, scale * photons)
    return own / (usual if known.any() and usual > 0 else float(np.median(own)))


def in_units_of_noise(group: GroupMean, relative: float) -> GroupMean:
    """Return a group as if it had the usual noise: over its own, relative to that."""
    return replace(group, mean=group.mean / relative, squares=group.squares / relative**2)
