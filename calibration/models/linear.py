"""Weighted linear least squares of all pixels of a band at once, over the means of groups of equal frames.

Frames of one temperature and session are a group. Its mean is made robustly by the engine of the masters; the model is
then fitted to the means of tens of groups, whatever the number of frames. The design (groups x parameters) and the
weights (frames of each group) are shared by all pixels, and with them the normal matrix and the hat matrix. Only
pixels with an outlying or a missing group are solved one by one, with Tukey's biweights (Beaton & Tukey 1974).

Sums are taken in float64. Least squares, hat matrix, and errors of left-out groups from the residuals of the whole
fit: Cook & Weisberg, Residuals and Influence in Regression (1982), chapter 2.
"""

from dataclasses import dataclass
from enum import IntFlag
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from calibration.models.limits import by_freedom, f_limit, misfit_limits, t_limit
from calibration.models.linear_kernels import Alike, Fitted, fit_alike
from calibration.models.means import Groups, Planes
from calibration.models.shapes import pairs as pairs  # noqa: PLC0414 - with all that fits

_OUTLIER = 1e-4
"""Chance that normal noise makes a pixel seem to have an outlying group, for each of its groups."""

_TUKEY = 4.685
"""Biweights are zero beyond this many standard deviations: 95 % efficient for normal noise."""

_MOST_LOST = 8
"""One group in so many may be an outlier, one at least; of more, it is the model that does not fit the pixel."""

_COUNTS = 0.01
"""Groups of a smaller biweight do not count."""

_ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A model of p parameters, fitted to each pixel of a band.

    Attributes
    ----------
    theta : ndarray, shape (p, ...)
        Parameters; NaN where a pixel has fewer usable groups than parameters.
    unscaled : ndarray, shape (p (p + 1) / 2, ...)
        Covariance of the parameters for a variance of 1 ADU² of a sample; rows of the upper triangle (`pairs`).
    variance, freedom : ndarray, shape (...)
        Variance of a sample in ADU², from the scatter within the groups and of their means, and its degrees of freedom.
    within : ndarray, shape (...)
        Degrees of freedom of the scatter within the groups alone.
    chi_square : ndarray, shape (...)
        Scatter of all means about their least squares over what that within the groups lets expect: reduced, 1 where
        the model is right; outlying groups count in full. NaN where there are no more groups than parameters, or no
        scatter within groups.
    there, groups : ndarray of uint16, shape (...)
        Groups that have samples, and those of them that count in full or in part.
    single : ndarray of bool, shape (...)
        Pixels that were solved one by one.
    """

    theta: Planes
    unscaled: Planes
    variance: Planes
    freedom: Planes
    within: Planes
    chi_square: Planes
    there: NDArray[np.uint16]
    groups: NDArray[np.uint16]
    single: NDArray[np.bool_]

    @property
    def covariance(self) -> Planes:
        """Covariance of the parameters, in the order of `pairs`."""
        return self.unscaled * self.variance


class ModelBit(IntFlag):
    """Bits of a model's MASK plane; those that masters have too mean the same (`calibration.combine.recipe.MaskBit`).

    HOT: named by a mask that was given. LOW_COUNT: some group has no sample. OUTLIER: a group is not what the others
    say, and hardly counts. MISFIT: the groups scatter about the model as noise never makes them.
    """

    HOT = 1
    LOW_COUNT = 16
    NO_DATA = 32
    OUTLIER = 1024
    MISFIT = 2048


def flags_of(fit: Fit, k: int) -> NDArray[np.uint16]:
    """Return the `ModelBit` of each pixel of a fit to k groups, without HOT."""
    missing = ~np.isfinite(fit.theta[0])
    limit = misfit_limits(fit.there.astype(np.float64) - len(fit.theta), fit.within)
    mask = np.where(missing, ModelBit.NO_DATA, 0) | np.where(fit.there < k, ModelBit.LOW_COUNT, 0)
    mask |= np.where((fit.groups < fit.there) & ~missing, ModelBit.OUTLIER, 0)
    mask |= np.where(np.nan_to_num(fit.chi_square) > limit, ModelBit.MISFIT, 0)
    return mask.astype(np.uint16)


def evaluated(row: NDArray[np.float64], theta: Planes, covariance: Planes) -> tuple[Planes, Planes]:
    """Return the model at the regressors `row` (p,) in every pixel, and its variance (`pairs`)."""
    factors = [row[i] * row[j] * (1 if i == j else 2) for i, j in pairs(len(row))]
    variance = np.tensordot(np.array(factors), covariance, axes=1)
    return np.tensordot(row, theta, axes=1), np.maximum(variance, 0.0)


def hat_matrix(design: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix that makes fitted values of measured ones, shape (K, K)."""
    projector = np.linalg.pinv(design * np.sqrt(weights)[:, None]) * np.sqrt(weights)
    return np.asarray(design @ projector)


def fit_groups(
    design: NDArray[np.float64], weights: NDArray[np.float64], groups: Groups, *, usual_variance: float = np.nan
) -> Fit:
    """Fit a linear model to each pixel.

    Parameters
    ----------
    design : ndarray, shape (K, p)
        Regressors of each group; of full rank.
    weights : ndarray, shape (K,)
        Frames of each group.
    groups : Groups
        K means.
    usual_variance : float
        Of a sample, in ADU²: stands in where a pixel has too few samples to show its own.

    Raises
    ------
    ValueError
        The design has not full rank.
    """
    k, p = design.shape
    if np.linalg.matrix_rank(design) < p:
        raise ValueError(f"a design of rank below its {p} parameters")
    flat = Groups(
        mean=groups.mean.reshape(k, -1),
        count=groups.count.reshape(k, -1),
        squares=groups.squares.reshape(-1),
        freedom=groups.freedom.reshape(-1),
    )
    found, far = _fit_alike(design, weights, flat, usual_variance)
    single = _to_be_single(flat, far)
    if single.any():
        found = _replaced(found, single, _fit_singly(design, _part(flat, single), usual_variance))
    return _shaped(found, groups.squares.shape)


def _part(groups: Groups, at: NDArray[np.bool_]) -> Groups:
    return Groups(
        mean=groups.mean[:, at], count=groups.count[:, at], squares=groups.squares[at], freedom=groups.freedom[at]
    )


def _fit_alike(
    design: NDArray[np.float64], weights: NDArray[np.float64], groups: Groups, usual: float
) -> tuple[Fit, Planes]:
    """Fit all pixels with one matrix; return how far the farthest group is from what the others say, in ADU, too.

    That is for the noise of a sample: a group on which the fit must lie shows nothing.
    """
    (k, p), pixels = design.shape, groups.squares.size
    root = np.sqrt(weights)
    projector = np.asarray(np.linalg.pinv(design * root[:, None]) * root, np.float64)  # (p, K)
    inverse = np.linalg.inv(design.T @ (design * weights[:, None]))
    unscaled = np.broadcast_to(np.array([inverse[i, j] for i, j in pairs(p)])[:, None], (p * (p + 1) // 2, pixels))
    left = 1 - np.diagonal(hat_matrix(design, weights))
    shows = (left > 1e-9) & (k > p)
    reach = np.where(shows, np.sqrt(weights / np.where(shows, left, 1.0)), 0.0)
    fitted = Fitted(np.empty((p, pixels)), np.empty(pixels), np.empty(pixels))
    fit_alike(np.ascontiguousarray(groups.mean), Alike(design, projector, weights, reach), fitted)
    many = np.full(pixels, k)
    theta, rest, far = fitted
    found = _Solution(theta=theta, unscaled=unscaled, rest=rest, counted=rest, there=many, used=many, single=False)
    return _fit_of(found, groups, usual), far


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Solution:
    """Parameters with their covariance, and the residuals they leave.

    `rest` is the weighted sum of the squared residuals of the least squares of all groups, `counted` that of those that
    count; `there` are the groups that have samples, `used` those that count.
    """

    theta: Planes
    unscaled: Planes
    rest: Planes
    counted: Planes
    there: NDArray[np.int_]
    used: NDArray[np.int_]
    single: bool


def _fit_of(solution: _Solution, groups: Groups, usual: float) -> Fit:
    p, there, used = len(solution.theta), solution.there, solution.used
    freedom = groups.freedom + np.maximum(used - p, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(freedom > 0, (groups.squares + solution.counted) / freedom, usual)
        chi_square = np.where(there > p, solution.rest / (there - p), np.nan) * (groups.freedom / groups.squares)
    return Fit(
        theta=solution.theta,
        unscaled=solution.unscaled,
        variance=variance,
        freedom=freedom,
        within=groups.freedom,
        chi_square=np.where(np.isfinite(chi_square), chi_square, np.nan),
        there=there.astype(np.uint16),
        groups=used.astype(np.uint16),
        single=np.full(len(used), solution.single),
    )


def _to_be_single(groups: Groups, far: Planes) -> NDArray[np.bool_]:
    """Return the pixels that have a group without samples, or one that is far from what the others say."""
    single: NDArray[np.bool_] = (groups.count == 0).any(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.sqrt(groups.squares / groups.freedom)
        single |= far > by_freedom(partial(t_limit, _OUTLIER), groups.freedom) * noise
    return single


def _fit_singly(design: NDArray[np.float64], groups: Groups, usual: float) -> Fit:
    """Fit pixels one by one with biweights over their groups, whose noise is that within the groups."""
    k, p = design.shape
    y = np.nan_to_num(groups.mean).T  # (pixels, K)
    weights = groups.count.T.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.sqrt(np.where(groups.freedom > 0, groups.squares / groups.freedom, usual))
    first = _start(design, y, weights, noise)
    robust = first
    for _ in range(_ROUNDS):
        theta, _ = _solved(design, y, weights * robust)
        robust = _biweights(y - theta @ design.T, weights, noise, robust, p)
    many = ((weights > 0) & (robust <= _COUNTS)).sum(axis=1) > max(1, k // _MOST_LOST)
    robust[many] = first[many]  # of few groups, one that is left out can draw the line away from another good one
    theta, _ = _solved(design, y, weights * robust)
    used = ((weights > 0) & (robust > _COUNTS)).sum(axis=1)
    robust[_unlike(weights * robust * (y - theta @ design.T) ** 2, used - p, noise, groups.freedom)] = 1.0
    whole, _ = _solved(design, y, weights)
    theta, inverse = _solved(design, y, weights * robust)
    unscaled = np.stack([inverse[:, i, j] for i, j in pairs(p)])
    found = _Solution(
        theta=theta.T,
        unscaled=unscaled,
        rest=(weights * (y - whole @ design.T) ** 2).sum(axis=1),
        counted=(weights * robust * (y - theta @ design.T) ** 2).sum(axis=1),
        there=(weights > 0).sum(axis=1),
        used=((weights > 0) & (robust > _COUNTS)).sum(axis=1),
        single=True,
    )
    return _fit_of(found, groups, usual)


def _unlike(squares: Planes, over: NDArray[np.int_], noise: Planes, freedom: Planes) -> NDArray[np.bool_]:
    """Return the pixels whose groups do not agree with the model even without the outlying ones."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = squares.sum(axis=1) / np.maximum(over, 1) / noise**2
    limit = np.array([f_limit(_OUTLIER, max(int(n), 1), max(m, 1.0)) for n, m in zip(over, freedom, strict=True)])
    result: NDArray[np.bool_] = np.nan_to_num(ratio) > limit
    return result


def _start(design: NDArray[np.float64], y: Planes, weights: Planes, noise: Planes) -> Planes:
    """Return weights to begin with: without the one group whose absence makes the rest agree best, where it helps."""
    k, p = design.shape
    best, chosen = np.full(len(y), np.inf), np.ones_like(weights)
    if k < p + 2 or not np.isfinite(noise).all():
        return chosen
    for out in range(k):
        trial = np.ones_like(weights)
        trial[:, out] = 0.0
        theta, _ = _solved(design, y, weights * trial)
        rest = (weights * trial * (y - theta @ design.T) ** 2).sum(axis=1)
        better = rest < best
        best[better], chosen[better] = rest[better], trial[better]
    return chosen


def _biweights(residuals: Planes, weights: Planes, noise: Planes, before: Planes, p: int) -> Planes:
    """Return Tukey's weights; those before where fewer than p groups would be left, or the noise is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        u = residuals * np.sqrt(weights) / (_TUKEY * noise[:, None])
    new = np.where(np.abs(u) < 1, (1 - np.minimum(u**2, 1.0)) ** 2, 0.0)
    enough = np.isfinite(u).all(axis=1) & (((new > _COUNTS) & (weights > 0)).sum(axis=1) >= p)
    return np.where(enough[:, None], new, before)


def _solved(design: NDArray[np.float64], y: Planes, weights: Planes) -> tuple[Planes, Planes]:
    """Return parameters (pixels, p) and inverse normal matrices (pixels, p, p); NaN where one cannot be inverted."""
    normal = np.einsum("nk,ki,kj->nij", weights, design, design)
    right = np.einsum("nk,ki,nk->ni", weights, design, y)
    scale = np.sqrt(np.einsum("nii->ni", normal))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = normal / (scale[:, :, None] * scale[:, None, :])
    bad = ~np.isfinite(scaled).all(axis=(1, 2))
    scaled[bad] = np.eye(design.shape[1])
    bad |= np.linalg.eigvalsh(scaled)[:, 0] < 1e-10
    scaled[bad] = np.eye(design.shape[1])
    scale[bad] = 1.0
    inverse = np.linalg.inv(scaled) / (scale[:, :, None] * scale[:, None, :])
    inverse[bad] = np.nan
    return np.einsum("nij,nj->ni", inverse, right), inverse


def _replaced(fit: Fit, at: NDArray[np.bool_], part: Fit) -> Fit:
    """Return a fit with some of its pixels taken from another one."""

    def put(whole: NDArray[np.float64], some: NDArray[np.float64]) -> NDArray[np.float64]:
        changed = whole.copy()
        changed[..., at] = some
        return changed

    there, groups = fit.there.copy(), fit.groups.copy()
    there[at], groups[at] = part.there, part.groups
    return Fit(
        theta=put(fit.theta, part.theta),
        unscaled=put(fit.unscaled, part.unscaled),
        variance=put(fit.variance, part.variance),
        freedom=put(fit.freedom, part.freedom),
        within=fit.within,
        chi_square=put(fit.chi_square, part.chi_square),
        there=there,
        groups=groups,
        single=at.copy(),
    )


def _shaped(fit: Fit, shape: tuple[int, ...]) -> Fit:
    return Fit(
        theta=fit.theta.reshape(-1, *shape),
        unscaled=fit.unscaled.reshape(-1, *shape),
        variance=fit.variance.reshape(shape),
        freedom=fit.freedom.reshape(shape),
        within=fit.within.reshape(shape),
        chi_square=fit.chi_square.reshape(shape),
        there=fit.there.reshape(shape),
        groups=fit.groups.reshape(shape),
        single=fit.single.reshape(shape),
    )


def excess_scatter(design: NDArray[np.float64], weights: NDArray[np.float64], groups: Groups) -> float:
    """Return how much more the means of groups scatter about a model than noise explains, at least 1.

    Parameters as for `fit_groups`.
    """
    fit = fit_groups(design, weights, groups)
    over = np.full(fit.freedom.shape, float(len(design) - design.shape[1]))
    return excess_of_squares(np.where(fit.single, np.nan, fit.chi_square), over, groups.freedom)


def excess_of_squares(chi_square: Planes, over: Planes, freedom: Planes) -> float:
    """Return the median of reduced chi-squares over what it would be by chance, at least 1.

    It is 1 where they agree within what so many pixels can show.

    Parameters
    ----------
    chi_square : ndarray, shape (...)
        Of each pixel; NaN of those that do not count.
    over, freedom : ndarray, shape (...)
        Degrees of freedom of the scatter about the model, and of that within the groups.
    """
    known = np.isfinite(chi_square) & (over >= 1)
    if not known.any():
        return 1.0
    kinds, times = np.unique(np.stack([over[known], np.round(freedom[known])]), axis=1, return_counts=True)
    chance = float(np.average(stats.f.median(*np.maximum(kinds, 1)), weights=times))
    ratio = float(np.median(chi_square[known])) / chance
    noise = 1.25 * float(np.std(chi_square[known])) / np.sqrt(known.sum()) / chance
    return max(1.0, ratio) if ratio > 1 + 3 * noise else 1.0
