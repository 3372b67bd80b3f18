"""The noise of the groups of flats: frames of a fainter light say less, and weigh less.

A model of one variance is fitted to what the groups are in units of their noise (whitening: Cook & Weisberg, Residuals
and Influence in Regression, 1982, chapter 1): means and regressors over the noise of the group, deviations over its
square. The parameters stay as they are.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.models.levels import LevelFit, Levels, fit_levels
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shared:
    """What the flats have in common in all pixels.

    Attributes
    ----------
    slopes : tuple of float
        By how much the level changes with each regressor: what single pixels change by is about this.
    factors : ndarray, shape (n,)
        What brings each frame to the level that the others let expect at its temperature and exposure.
    variance : float
        Of a level, where the noise is the usual one.
    covariance : ndarray, shape (p, p)
        Of the parameters, from the errors of the levels.
    freedom : float
        Degrees of freedom of the scatter of the levels.
    """

    slopes: tuple[float, ...]
    factors: NDArray[np.float64]
    variance: float
    covariance: NDArray[np.float64]
    freedom: float


def shared_errors(
    design: NDArray[np.float64],
    relative: NDArray[np.float64],
    group: NDArray[np.intp],
    levels: NDArray[np.float64],
    *,
    stated: NDArray[np.float64],
    rise: NDArray[np.float64],
) -> Shared:
    """Return what errors of the levels do to all pixels alike, from the scatter of the levels of normalised flats.

    Parameters
    ----------
    design : ndarray, shape (K, p)
        Regressors over the relative noise.
    relative : ndarray, shape (K,)
        Noise of each group.
    group : ndarray of int, shape (n,)
        Of each frame.
    levels : ndarray, shape (n,)
        Of the normalised frames on a sample of pixels.
    stated : ndarray, shape (n,)
        Errors of what the frames were divided by, relative: the least that is believed.
    rise : ndarray, shape (n,)
        By how much noise raised what they were divided by, relative. It is alike in equal frames, so that only its
        differences count.
    """
    frames = np.bincount(group).astype(np.float64)
    own = np.bincount(group, levels) / frames
    seen = _fit(design, relative, group, levels)
    expected = (design @ seen.theta * relative)[group]
    inverse = np.linalg.inv(design.T @ (design * frames[:, None]))
    variance = float(np.mean(np.square(stated / relative[group]))) if np.isfinite(stated).all() else 0.0
    variance = max(variance, float(seen.covariance[0][0] / inverse[0, 0]))
    raised = np.bincount(group, rise) / frames * own
    moved = np.array(_fit(design, relative, group, (raised - raised.mean())[group]).theta)
    return Shared(
        slopes=seen.theta,
        factors=expected / levels,
        variance=variance,
        covariance=np.asarray(inverse * variance + np.outer(moved, moved), np.float64),
        freedom=seen.freedom,
    )


def _fit(
    design: NDArray[np.float64], relative: NDArray[np.float64], group: NDArray[np.intp], levels: NDArray[np.float64]
) -> LevelFit:
    frames, scaled = np.bincount(group).astype(np.float64), levels / relative[group]
    middle = np.bincount(group, scaled) / frames
    none = np.zeros(len(frames))
    made = Levels(
        temperature_c=none,
        level_adu=middle,
        frames=frames,
        label_c=none,
        session=none.astype(np.intp),
        squares=float(np.square(scaled - middle[group]).sum()),
        freedom=float((frames - 1).sum()),
    )
    return fit_levels(design, made)
