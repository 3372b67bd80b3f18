"""The compiled loop of the dark models: weighted least squares with a shape for each pixel, pixel by pixel.

Gauss-Newton with the variance of each group from the signal that is fitted, never from the one measured, which would
pull the fit down. Everything is linear in the data: negative means count like others. As in the kernels of
`calibration.combine` no function makes an array.
"""

import numpy as np

from calibration.combine.kernels.jit import called, entry
from calibration.models.dark.problem import CHI, F64, FREEDOM, PHI, STATE, USED, Desk, Fitted, Measured, Problem

_ROUNDS = 30
_CLOSE = 1e-3
"""Of its own standard deviation, what a parameter may still move when the fit ends."""

_TINY = 1e-11
"""The smallest pivot of a scaled normal matrix that counts as one."""

_STEP = 0.1
"""Of the range of the shape, the largest step."""

_NARROW = 1e-12
"""The least variance of a shape about what its rate lets expect: rounding takes no part."""

_FULL = 5.0
"""Standard deviations of a sample that a mean stays below saturation: else some of its samples may be cut off."""

_ODD = 3.0
"""Times the scatter that the groups let expect, from where on an outlying one is looked for."""

_GAIN = 25.0
"""Squared standard deviations by which the others must agree better without it."""

SHRINKING = 10.0
"""Degrees of freedom that the noise model counts for, beside a pixel's own samples."""

_LEARNED = 0.01
"""Part of the relation of rate and shape that resists what happens to all pixels."""

_YES, _NO, _OUTLYING = 1.0, 0.0, -1.0
"""Whether a group counts."""


@called
def _factorised(matrix: F64, scale: F64) -> bool:
    """Replace a positive definite matrix by its scaled Cholesky factor; return False where it is none."""
    p = len(scale)
    for i in range(p):
        if not matrix[i, i] > 0.0:
            return False
        scale[i] = 1.0 / np.sqrt(matrix[i, i])
    for i in range(p):
        for j in range(i + 1):
            value = matrix[i, j] * scale[i] * scale[j]
            for m in range(j):
                value -= matrix[i, m] * matrix[j, m]
            if i > j:
                matrix[i, j] = value / matrix[j, j]
            elif value > _TINY:
                matrix[i, i] = np.sqrt(value)
            else:
                return False
    return True


@called
def _solve(factor: F64, scale: F64, right: F64) -> None:
    """Solve for a right side in place."""
    p = len(scale)
    for i in range(p):
        value = right[i] * scale[i]
        for m in range(i):
            value -= factor[i, m] * right[m]
        right[i] = value / factor[i, i]
    for back in range(p):
        i = p - 1 - back
        value = right[i]
        for m in range(i + 1, p):
            value -= factor[m, i] * right[m]
        right[i] = value / factor[i, i]
    for i in range(p):
        right[i] *= scale[i]


@called
def _expected(rate: float, problem: Problem) -> tuple[float, float, float]:
    """Return the shape that a rate lets expect, its derivative by the rate, and its variance."""
    x, slope = problem.low, 0.0
    if rate > np.exp(problem.low):
        x, slope = np.log(rate), 1.0 / rate
        if x > problem.high:
            x, slope = problem.high, 0.0
    shape = problem.c0 + x * (problem.c1 + x * problem.c2)
    wide = problem.scatter
    for i in range(3):
        for j in range(3):
            wide += problem.common[i, j] * x ** (i + j)
    return min(max(shape, problem.least), problem.most), slope * (problem.c1 + 2 * x * problem.c2), max(wide, _NARROW)


@called
def _signal(k: int, problem: Problem, desk: Desk) -> float:
    """Fill in the derivatives of a group by the parameters; return its dark signal."""
    theta, row, first = desk.theta, desk.row, problem.first
    signal = 0.0
    if first > 0:
        row[0] = problem.times[k] * np.exp(theta[1] * problem.places[k])
        signal = theta[0] * row[0]
        row[1] = signal * problem.places[k]
    for j in range(problem.columns.shape[1]):
        row[first + j] = problem.columns[k, j]
        if j < problem.dark:
            signal += theta[first + j] * problem.columns[k, j]
    return signal


@called
def _add_groups(problem: Problem, desk: Desk) -> None:
    """Begin normal equations with the groups."""
    theta, row, step, normal = desk.theta, desk.row, desk.step, desk.normal
    p, rest = len(theta), problem.first + problem.dark
    step[:] = 0.0
    normal[:] = 0.0
    chi, number = 0.0, 0.0
    for k in range(len(desk.mean)):
        fitted = _signal(k, problem, desk)
        desk.variance[k] = problem.read + problem.per_adu * max(fitted, 0.0)
        if desk.used[k] != _YES:
            continue
        for j in range(rest, p):
            fitted += theta[j] * row[j]
        weight, residual = desk.counts[k] / desk.variance[k], desk.mean[k] - fitted
        chi += weight * residual**2
        number += 1
        for i in range(p):
            part = weight * row[i]
            step[i] += part * residual
            for j in range(i + 1):
                normal[i, j] += part * row[j]
    desk.stats[CHI], desk.stats[USED] = chi, number


@called
def _add_pedestal(problem: Problem, desk: Desk) -> None:
    """Add what is known of the pedestal beforehand."""
    theta, rest = desk.theta, problem.first + problem.dark
    for i in range(rest, len(theta)):
        for j in range(rest, len(theta)):
            value = problem.prior[i - rest, j - rest] / problem.read
            if j <= i:
                desk.normal[i, j] += value
            desk.step[i] -= value * theta[j]
            desk.stats[CHI] += theta[i] * value * theta[j]


@called
def _add_relation(problem: Problem, desk: Desk, part: float) -> None:
    """Add a part of what the rate lets expect of the shape; all is divided by the scatter of the samples in the end.

    Where pixels may be unlike all others, one that surely is has the shape that its own groups show.
    """
    if problem.first == 0 or not problem.known:
        return
    wide = desk.stats[FREEDOM]
    shape, slope, variance = _expected(desk.theta[0], problem)
    off = shape - desk.theta[1]
    tight = (desk.stats[PHI] * wide + SHRINKING) / (wide + SHRINKING) / variance
    tight *= part * (1.0 + problem.loose) / (1.0 + problem.loose * off**2 / variance)
    desk.normal[0, 0] += tight * slope**2
    desk.normal[1, 0] -= tight * slope
    desk.normal[1, 1] += tight
    desk.step[0] -= tight * off * slope
    desk.step[1] += tight * off
    desk.stats[CHI] += tight * off**2


@called
def _weigh_scatter(desk: Desk, pooled: float, freedom: float) -> None:
    """Compare the scatter within the groups with that of the noise model.

    The degrees of freedom are those of a sum of unequal variances (Welch 1938, Satterthwaite 1946). Nothing is known
    where a group that has samples is left out: the scatter would be that of saturated ones.
    """
    total, squares, expected = 0.0, 0.0, 0.0
    desk.stats[PHI], desk.stats[FREEDOM] = 1.0, 0.0
    for k in range(len(desk.mean)):
        over = desk.counts[k] - 1
        if over > 0 and desk.used[k] == _NO:
            return
        if over > 0:
            expected += over * desk.variance[k]
            squares += over * desk.variance[k] ** 2
            total += over
    if freedom > 0 and squares > 0:
        desk.stats[PHI], desk.stats[FREEDOM] = pooled / expected, expected**2 / squares * freedom / total


@called
def _moved(problem: Problem, desk: Desk) -> bool:
    """Take a step; return whether it was more than the errors of the parameters make worth while."""
    theta, step = desk.theta, desk.step
    if problem.first > 0:
        widest = _STEP * (problem.most - problem.least)
        after = theta[1] + min(max(step[1], -widest), widest)
        step[1] = min(max(after, problem.least), problem.most) - theta[1]
    far = False
    for i in range(len(theta)):
        theta[i] += step[i]
        far |= abs(step[i]) > desk.scale[i] * _CLOSE
    return far


@called
def _fitted(problem: Problem, desk: Desk, pooled: float, freedom: float) -> bool:
    """Fit one pixel, and leave the factor of its normal matrix; return False where its groups determine nothing."""
    _begin(problem, desk)
    for number in range(_ROUNDS):
        _add_groups(problem, desk)
        _weigh_scatter(desk, pooled, freedom)
        _add_pedestal(problem, desk)
        _add_relation(problem, desk, 1.0)
        if not _factorised(desk.normal, desk.scale):
            return False
        _solve(desk.normal, desk.scale, desk.step)
        if not _moved(problem, desk) and number > 1:
            break
    return True


@called
def _begin(problem: Problem, desk: Desk) -> None:
    """Set a rate and a shape to begin with: the rate of all groups, at the shape that it lets expect."""
    theta = desk.theta
    theta[:] = 0.0
    if problem.first == 0:
        return
    theta[1] = _expected(np.exp(0.5 * (problem.low + problem.high)), problem)[0]
    for _ in range(3):
        above, below = 0.0, 0.0
        for k in range(len(desk.mean)):
            if desk.used[k] == _YES:
                factor = problem.times[k] * np.exp(theta[1] * problem.places[k])
                above += desk.counts[k] * factor * desk.mean[k]
                below += desk.counts[k] * factor**2
        theta[0] = above / below if below > 0.0 else 0.0
        theta[1] = _expected(theta[0], problem)[0]


@called
def _without_outlier(problem: Problem, desk: Desk, pooled: float, freedom: float, over: float) -> bool:
    """Leave out the one group without which all others agree; return whether there is one."""
    wide, phi, whole = desk.stats[FREEDOM], desk.stats[PHI], desk.stats[CHI]
    usual = (phi * wide + SHRINKING) / (wide + SHRINKING)
    if over < 2 or whole < _ODD * usual * over:
        return False
    least, found = whole - _GAIN * usual, -1
    for k in range(len(desk.mean)):
        if desk.used[k] == _YES:
            desk.used[k] = _OUTLYING
            if _fitted(problem, desk, pooled, freedom) and desk.stats[CHI] < least:
                least, found = desk.stats[CHI], k
            desk.used[k] = _YES
    if found >= 0 and least < _ODD * usual * (over - 1):
        desk.used[found] = _OUTLYING
    _fitted(problem, desk, pooled, freedom)
    return desk.used[found] == _OUTLYING if found >= 0 else False


@called
def _load(problem: Problem, desk: Desk, measured: Measured, pixel: int) -> tuple[float, float]:
    """Take the groups of a pixel; return how many are used, and 2 where one is saturated."""
    used, saturated = 0.0, 0.0
    for k in range(len(desk.mean)):
        value, count = measured.means[k, pixel], measured.number[k, pixel]
        desk.mean[k], desk.counts[k], desk.used[k] = value, count, _NO
        if count > 0 and np.isfinite(value):
            noise = np.sqrt(problem.read + problem.per_adu * max(value, 0.0))
            if value + _FULL * noise < problem.limit:
                desk.used[k] = _YES
                used += 1
            else:
                saturated = 2.0
    return used, saturated


@called
def _lacks_saturated(problem: Problem, desk: Desk) -> bool:
    """Return whether a group without samples is one in which the pixel is saturated."""
    for k in range(len(desk.mean)):
        if desk.counts[k] == 0.0:
            signal = _signal(k, problem, desk)
            if signal + _FULL * np.sqrt(desk.variance[k]) >= problem.limit:
                return True
    return False


@called
def _share(problem: Problem, desk: Desk) -> None:
    """Work out what each term that all pixels have in common does to the parameters.

    It does the same to all pixels, so the relation of rate and shape, which is learned from them, hardly resists it.
    """
    desk.shared[:] = 0.0
    terms = problem.levels.shape[1]
    _add_groups(problem, desk)
    _add_pedestal(problem, desk)
    _add_relation(problem, desk, _LEARNED)
    if not _factorised(desk.normal, desk.scale):
        desk.shared[:] = np.nan
        return
    for k in range(len(desk.mean)):
        if desk.used[k] == _YES:
            _signal(k, problem, desk)
            weight = desk.counts[k] / desk.variance[k]
            for j in range(terms):
                for i in range(len(desk.theta)):
                    desk.shared[j, i] += weight * problem.levels[k, j] * desk.row[i]
    for j in range(terms):
        _solve(desk.normal, desk.scale, desk.shared[j])


@called
def _store(problem: Problem, desk: Desk, into: Fitted, pixel: int) -> None:
    """Write parameters and their covariances without the pedestal."""
    p, place = len(into.theta), 0
    for i in range(p):
        into.theta[i, pixel] = desk.theta[i]
        desk.step[:] = 0.0
        desk.step[i] = 1.0
        _solve(desk.normal, desk.scale, desk.step)
        for j in range(i, p):
            into.covariance[place, pixel] = desk.step[j]
            into.by_levels[place, pixel] = 0.0
            place += 1
    if problem.levels.shape[1] > 0:
        _share(problem, desk)
        _store_common(desk, into, pixel)


@called
def _store_common(desk: Desk, into: Fitted, pixel: int) -> None:
    """Write the covariance of the parameters by what all pixels have in common."""
    p, place = len(into.theta), 0
    for i in range(p):
        for j in range(i, p):
            for m in range(len(desk.shared)):
                into.by_levels[place, pixel] += desk.shared[m, i] * desk.shared[m, j]
            place += 1


@entry
def fit_pixels(problem: Problem, desk: Desk, measured: Measured, into: Fitted) -> None:
    """Fit every pixel.

    Parameters
    ----------
    problem : Problem
    desk : Desk
        As from `desk_for`.
    measured : Measured
    into : Fitted
        Where the groups determine nothing it stays as it is, but for the groups that count.
    """
    for pixel in range(measured.means.shape[1]):
        used, state = _load(problem, desk, measured, pixel)
        into.stats[USED, pixel], into.stats[STATE, pixel] = used, state
        pooled, freedom = measured.scatter[0, pixel], measured.scatter[1, pixel]
        if used == 0 or not _fitted(problem, desk, pooled, freedom):
            continue
        if _without_outlier(problem, desk, pooled, freedom, used + measured.informed - len(desk.theta)):
            state += 1.0
        if state < 2.0 and _lacks_saturated(problem, desk):
            state += 2.0
        for i in range(STATE):
            into.stats[i, pixel] = desk.stats[i]
        _store(problem, desk, into, pixel)
        into.stats[STATE, pixel] = state
