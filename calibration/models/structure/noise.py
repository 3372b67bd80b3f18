"""What the noise of frames lets their means differ by: the scale on which a changed pixel is significant.

The variance of a sample is that of the camera at its level, the photon transfer curve `c + k (level - origin)`, which
all pixels have in common, so that few frames give it well. Pixels that are noisier than that (random telegraph noise)
have a share in their own variance: as large as the scatter of the variances over the pixels shows it to be, which is
the moderated t statistic of Smyth, Statistical Applications in Genetics and Molecular Biology 3 (2004), article 3.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from scipy.optimize import nnls

from calibration.combine.recipe import SMALL_N, NoiseModel, Recipe
from calibration.models.limits import by_freedom

Planes = NDArray[np.float64]

_ORIGIN, _BEND = 0.01, 0.98
"""Shares of the pixels below the level that the law counts from, and below that where it bends."""

_RARE = 1e-4
"""Chance of the largest variance that counts in full: cosmic hits and noisy pixels are larger."""

_LOWEST, _SPREAD = 0.005, 4000
"""Share of the variances that are too small to count among the logarithms, and quantiles that stand for the others."""

_ROUNDS = 12
_LEAST = 1e-6
_SURE = 4.0
"""Standard errors by which variances scatter more than equal pixels explain, before they count as unequal."""

_LEAST_PRIOR, _MOST_PRIOR = 0.5, 1e4
_TAIL = 2.5
"""A t statistic below it is taken as normal: it is of no interest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLaw:
    """The noise of a sample against its level: two straight lines, which meet where the brightest pixels begin.

    In darks the levels of most pixels are a matter of their biases, and their slope says little; that of the hot
    pixels is the inverse of the gain.

    Attributes
    ----------
    constant : float
        Variance at the origin, in ADU².
    slope, bright : float
        ADU² per ADU of signal, below the bend and above it.
    origin_adu, bend_adu : float
        Level of the darkest pixels, and that where the lines meet.
    prior : float
        Degrees of freedom that the law counts for beside a pixel's own; infinite: all pixels are alike.
    known : bool
        False where no two frames show it: the law then has a shape, and no scale.
    """

    constant: float
    slope: float
    bright: float = 0.0
    origin_adu: float = 0.0
    bend_adu: float = math.inf
    prior: float = math.inf
    known: bool = True

    @property
    def model(self) -> NoiseModel:
        """The same for the clipping of samples, with the larger slope."""
        slope = max(self.slope, self.bright)
        gain = 1 / slope if slope > 0 else math.inf
        return NoiseModel(read_noise_adu=math.sqrt(self.constant), gain_e_adu=gain, pedestal_adu=self.origin_adu)

    def variance(self, level_adu: Planes) -> Planes:
        """Return the variance of a sample at a level, in ADU²."""
        below, above = _terms(level_adu, self.origin_adu, self.bend_adu)
        return self.constant + self.slope * below + self.bright * above


def _terms(level_adu: Planes, origin_adu: float, bend_adu: float) -> tuple[Planes, Planes]:
    """Return how far a level is above the origin, at most to the bend, and how far above the bend."""
    return np.clip(level_adu, origin_adu, bend_adu) - origin_adu, np.maximum(level_adu - bend_adu, 0.0)


UNKNOWN = NoiseLaw(constant=1e-3, slope=1.0, known=False)
"""Photon noise of an unknown scale."""


def fit_law(level_adu: Planes, squares_adu2: Planes, freedom: Planes) -> NoiseLaw:
    """Fit the law of the noise to the scatter of equal frames.

    Parameters
    ----------
    level_adu, squares_adu2, freedom : ndarray
        For each pixel of each group of equal frames its level, the sum of the squared deviations from the mean, and
        their degrees of freedom; of any equal shape.

    Returns
    -------
    NoiseLaw
        `UNKNOWN` where there is no scatter to see.
    """
    level, squares, nu = (np.ravel(each).astype(np.float64) for each in (level_adu, squares_adu2, freedom))
    use = np.isfinite(level) & np.isfinite(squares) & (nu > 0)
    level, squares, nu = level[use], squares[use], nu[use]
    if not (squares > 0).any():
        return UNKNOWN
    origin, bend = (float(each) for each in np.quantile(level, (_ORIGIN, _BEND)))
    limit = by_freedom(lambda freedom: float(stats.chi2.isf(_RARE, freedom)), nu)
    design = np.stack([np.ones(level.size), *_terms(level, origin, bend)], axis=1)
    variance = np.full(level.size, squares.sum() / nu.sum())
    law = UNKNOWN
    for _ in range(_ROUNDS):
        theta = _weighted(design, np.minimum(squares, limit * variance) / nu, nu / variance**2)
        law = NoiseLaw(constant=theta[0], slope=theta[1], bright=theta[2], origin_adu=origin, bend_adu=bend)
        variance = np.maximum(law.variance(level), _LEAST * variance.mean())
    return replace(law, prior=_prior(squares / variance, nu))


def _weighted(design: Planes, values: Planes, weights: Planes) -> tuple[float, float, float]:
    """Return the terms of the law, none of them negative, by least squares."""
    matrix = (design.T * weights) @ design
    matrix += 1e-12 * np.diag(np.maximum(np.diagonal(matrix), 1e-30))
    root = np.linalg.cholesky(matrix)
    (constant, slope, bright), _ = nnls(root.T, np.linalg.solve(root, (design.T * weights) @ values))
    return float(constant), float(slope), float(bright)


def _prior(chi_square: Planes, nu: Planes) -> float:
    """Return the degrees of freedom of the law, from the scatter of the logarithms of the variances (Smyth 2004).

    Nearly equal samples of a pixel, which are equal but for their rounding, have no logarithm that says anything.
    """
    use = chi_square > by_freedom(lambda freedom: float(stats.chi2.ppf(_LOWEST, freedom)), nu)
    chi_square, nu = chi_square[use], nu[use]
    if chi_square.size < 2 or _steps_show(chi_square):
        return math.inf
    e = np.log(chi_square / nu) - by_freedom(lambda freedom: float(_usual_logs(freedom).mean()), nu)
    expected = float(by_freedom(lambda freedom: float(_usual_logs(freedom).var()), nu).mean())
    excess = float(np.mean((e - e.mean()) ** 2)) - expected
    fourth = float(np.mean((e - e.mean()) ** 4))
    if excess <= _SURE * np.sqrt(max(fourth - expected**2, 0.0) / e.size):
        return math.inf
    return float(np.clip(2 * _inverse_trigamma(excess), _LEAST_PRIOR, _MOST_PRIOR))


@lru_cache(maxsize=256)
def _usual_logs(freedom: float) -> Planes:
    """Return logarithms of variances of normal noise, evenly spread over their distribution, without the lowest."""
    shares = _LOWEST + (1 - _LOWEST) * (np.arange(_SPREAD) + 0.5) / _SPREAD
    return np.asarray(np.log(stats.chi2.ppf(shares, freedom) / freedom))


def _steps_show(chi_square: Planes) -> bool:
    """Whether the variances have few values: counts of a coarse converter, whose logarithms say nothing."""
    return bool(np.unique(chi_square[:1000].round(9)).size < min(chi_square.size, 1000) / 10)


def _inverse_trigamma(value: float) -> float:
    """Return x with trigamma(x) = value, by Newton's method on its inverse (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(20):
        tri = float(special.polygamma(1, x))
        x += tri * (1 - tri / value) / float(special.polygamma(2, x))
    return x


_CLIP, _CLIP_OF_FEW = 3.0, 5.0


def recipe_of(law: NoiseLaw, n: int, *, level_adu: float, step_adu: float) -> Recipe:
    """Return how n equal frames become a mean; few frames are clipped by the law, so that hot pixels keep their noise.

    Parameters
    ----------
    law : NoiseLaw
    n : int
    level_adu : float
        What the frames are divided by.
    step_adu : float
        Step of the converter.
    """
    few, noise = n < SMALL_N, law.model
    scaled = NoiseModel(
        read_noise_adu=noise.read_noise_adu / level_adu,
        gain_e_adu=noise.gain_e_adu * level_adu,
        pedestal_adu=noise.pedestal_adu / level_adu,
    )
    return Recipe(
        sigma=_CLIP_OF_FEW if few else _CLIP,
        step_adu=step_adu / level_adu,
        sample_adu=float(np.sqrt(law.variance(np.array(level_adu)))) / level_adu if law.known else None,
        noise=scaled if law.known else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelNoise:
    """The noise of each pixel of a band relative to the law.

    Attributes
    ----------
    factor : ndarray, shape (rows, x)
        Variance over that of the law.
    freedom : ndarray, shape (rows, x)
        Degrees of freedom of a statistic that is divided by it; infinite where the law alone counts.
    """

    factor: Planes
    freedom: Planes


def pixel_noise(law: NoiseLaw, chi_square: Planes, freedom: Planes) -> PixelNoise:
    """Return the noise of pixels: the law's, and their own as far as pixels differ.

    Parameters
    ----------
    law : NoiseLaw
    chi_square : ndarray, shape (rows, x)
        Squared deviations of a pixel in all groups, each over the law's variance there, summed.
    freedom : ndarray, shape (rows, x)
    """
    if not np.isfinite(law.prior):
        return PixelNoise(factor=np.ones(chi_square.shape), freedom=np.full(chi_square.shape, np.inf))
    total = law.prior + freedom
    return PixelNoise(factor=(law.prior + chi_square) / total, freedom=total)


def as_normal(t: Planes, freedom: Planes) -> Planes:
    """Return t statistics as the standard normal values of the same significance."""
    far = np.isfinite(freedom) & (np.abs(t) > _TAIL)
    if not far.any():
        return t
    found = t.copy()
    log_p = stats.t.logsf(np.abs(t[far]), freedom[far])
    found[far] = np.sign(t[far]) * -special.ndtri_exp(log_p)
    return found
