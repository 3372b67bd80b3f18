"""Groups that are left out of a linear model, predicted from the others by formula: nothing is fitted again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.models.linear import hat_matrix
from calibration.models.linear_kernels import mixed
from calibration.models.means import Planes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LeftOut:
    """The groups of a block, predicted by the fit to all others.

    Attributes
    ----------
    errors : ndarray, shape (groups of the block, ...)
        Measured minus predicted, in ADU; NaN where the others determine no model.
    covariance : ndarray, shape (groups of the block, groups of the block)
        Of the errors, for a variance of 1 ADU² of a sample.
    """

    errors: Planes
    covariance: NDArray[np.float64]


def leave_out(
    design: NDArray[np.float64], weights: NDArray[np.float64], mean: Planes, block: NDArray[np.bool_]
) -> LeftOut:
    """Predict some groups from the others.

    Parameters
    ----------
    design, weights : ndarray, shape (K, p) and (K,)
        As for `fit_groups`.
    mean : ndarray, shape (K, ...)
        Means of the groups, in ADU.
    block : ndarray of bool, shape (K,)
        Groups that are left out.
    """
    shares, covariance = shares_left_out(design, weights, block)
    return LeftOut(errors=mix(shares, mean), covariance=covariance)


def shares_left_out(
    design: NDArray[np.float64], weights: NDArray[np.float64], block: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what makes the errors of a block of the means of all groups, and the covariance of these errors.

    By formula: (I - H_bb)^-1 r_b, H the hat matrix, r the residuals. Shapes (groups of the block, K) and (groups of the
    block, groups of the block); NaN where the others determine no model.
    """
    chosen, inside = np.flatnonzero(block), int(block.sum())
    if np.linalg.matrix_rank(design[~block]) < design.shape[1]:
        return np.full((inside, len(design)), np.nan), np.full((inside, inside), np.nan)
    hat = hat_matrix(design, weights)
    residuals = np.eye(len(design))[chosen] - hat[chosen]
    shares = np.asarray(np.linalg.solve(np.eye(inside) - hat[np.ix_(chosen, chosen)], residuals), np.float64)
    return shares, (shares / weights) @ shares.T


def mix(shares: NDArray[np.float64], mean: Planes) -> Planes:
    """Return sums of groups, shape (m, ...), for shares of shape (m, K) and means of shape (K, ...).

    Groups with a share of 0 take no part: their NaN do no harm.
    """
    flat = np.ascontiguousarray(mean).reshape(len(mean), -1)
    into = np.empty((len(shares), flat.shape[1]))
    mixed(np.ascontiguousarray(shares), flat, into)
    return into.reshape(len(shares), *mean.shape[1:])
