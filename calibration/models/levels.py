"""The level of a frame: what all its pixels have in common, and how it depends on temperature and session.

The level is measured on the same sample of pixels of every frame, against one reference, so that the pattern of the
sensor takes no part in it. Sessions have offsets of their own. Only a session of several temperatures shows how the
level depends on temperature; where every session has one temperature, its dependence cannot be separated from the
offsets of the sessions, and `separable` is false.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from calibration.clipping import clip_values

_UNLIKE = 8.0
"""Robust standard deviations from the median of its group beyond which the level of a frame shows another state."""

_ENOUGH_FRAMES = 5
_REAL_SCATTER = 0.01


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """The levels of groups of frames that were taken together.

    Attributes
    ----------
    temperature_c, level_adu, frames : ndarray, shape (L,)
        Mean temperature, mean level and number of frames of each group.
    label_c : ndarray, shape (L,)
        The same for all groups of one temperature.
    session : ndarray of int, shape (L,)
        Number of the session, from 0.
    squares, freedom : float
        Squared deviations of the frames' levels from those of their groups, in ADU², and their degrees of freedom.
    """

    temperature_c: NDArray[np.float64]
    level_adu: NDArray[np.float64]
    frames: NDArray[np.float64]
    label_c: NDArray[np.float64]
    session: NDArray[np.intp]
    squares: float
    freedom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFit:
    """How the level depends on temperature.

    Attributes
    ----------
    theta : tuple of float
        Its parameters in the functions of the model.
    covariance : tuple of tuples of float
    offsets_adu : tuple of float
        One for each session, of mean 0; all 0 where they cannot be separated from the temperature.
    session_sigma_adu : float
        Scatter of the sessions' offsets; NaN where there is one session, or they cannot be separated.
    frame_sigma_adu : float
        Scatter of the levels of frames of one group; NaN where no group has two.
    separable : bool
        Whether the frames show how the level depends on temperature apart from the sessions' offsets.
    freedom : float
        Degrees of freedom of the covariance.
    """

    theta: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    offsets_adu: tuple[float, ...]
    session_sigma_adu: float
    frame_sigma_adu: float
    separable: bool
    freedom: float


def reference_of(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what levels are measured against: the mean of some frames' samples (n, pixels), each less its median.

    NaN where no frame has a finite value.
    """
    middles = np.array([np.median(each[np.isfinite(each)]) if np.isfinite(each).any() else np.nan for each in samples])
    centred = samples - middles[:, None]
    known = np.isfinite(centred)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, centred, 0.0).sum(axis=0) / known.sum(axis=0))


def level_of(sample: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return the level of a frame in ADU from its sample of pixels; NaN where none is finite."""
    return clip_values(sample - reference).mean


def unlike(levels_adu: NDArray[np.float64], noise_adu: float = 0.0) -> NDArray[np.bool_]:
    """Return which of the frames of a group have a level of their own: lit, or taken in another state of the camera.

    Of fewer than five frames nothing is said. `noise_adu` is the least scatter that is believed.
    """
    known = np.isfinite(levels_adu)
    if known.sum() < _ENOUGH_FRAMES:
        return np.zeros(len(levels_adu), np.bool_)
    away = np.abs(levels_adu - np.median(levels_adu[known]))
    result: NDArray[np.bool_] = away > _UNLIKE * max(1.4826 * float(np.median(away[known])), noise_adu)
    return result


def fit_levels(design: NDArray[np.float64], levels: Levels) -> LevelFit:
    """Fit the levels of groups with their sessions' offsets.

    Parameters
    ----------
    design : ndarray, shape (L, p)
        The functions of temperature at each group, of full rank.
    levels : Levels
    """
    p, sessions = design.shape[1], int(levels.session.max()) + 1
    full = with_offsets(design, levels.session)
    separable = bool(np.linalg.matrix_rank(full) == full.shape[1]) and p > 1
    if not separable and p > 1:
        full = design
    root = np.sqrt(levels.frames)
    solution = np.linalg.pinv(full * root[:, None]) * root @ levels.level_adu
    rest = float(levels.frames @ (levels.level_adu - full @ solution) ** 2)
    variance, freedom = _variance(levels, rest, len(design) - full.shape[1])
    covariance = np.linalg.pinv(full.T @ (full * levels.frames[:, None]))[:p, :p] * variance
    offsets = np.zeros(sessions)
    if full.shape[1] > p:
        offsets = np.append(solution[p:], -solution[p:].sum())
    apart = full.shape[1] > p
    return LevelFit(
        theta=tuple(map(float, solution[:p])),
        covariance=tuple(tuple(map(float, row)) for row in covariance),
        offsets_adu=tuple(map(float, offsets)),
        session_sigma_adu=float(offsets.std(ddof=1)) if apart else float("nan"),
        frame_sigma_adu=float(np.sqrt(levels.squares / levels.freedom)) if levels.freedom > 0 else float("nan"),
        separable=separable,
        freedom=freedom,
    )


def with_offsets(design: NDArray[np.float64], session: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return a design with columns for the offsets of all sessions but the last, which is minus their sum.

    Parameters
    ----------
    design : ndarray, shape (L, p)
    session : ndarray of int, shape (L,)
        From 0 without gaps.
    """
    columns = np.eye(int(session.max()) + 1)[session]
    return np.hstack([design, columns[:, :-1] - columns[:, -1:]])


def _variance(levels: Levels, rest: float, over: int) -> tuple[float, float]:
    """Return the variance of a frame's level as the groups show it, and its degrees of freedom.

    The scatter of the frames within their groups and that of the groups are one, unless the groups scatter more.
    """
    if over > 0 and levels.freedom > 0:
        ratio = (rest / over) / (levels.squares / levels.freedom) if levels.squares > 0 else np.inf
        if ratio <= stats.f.isf(_REAL_SCATTER, over, levels.freedom):
            return (rest + levels.squares) / (over + levels.freedom), over + levels.freedom
    if over > 0:
        return rest / over, float(over)
    if levels.freedom > 0:
        return levels.squares / levels.freedom, levels.freedom
    return 0.0, 0.0


def levels_of(
    temperatures_c: NDArray[np.float64],
    levels_adu: NDArray[np.float64],
    labels_c: NDArray[np.float64],
    group: NDArray[np.intp],
    session: NDArray[np.intp],
) -> Levels:
    """Put the levels of frames together by groups.

    Drifts of temperature within a group are taken off with the slope that the frames show, so that they do not count as
    scatter.

    Parameters
    ----------
    temperatures_c, levels_adu, labels_c : ndarray, shape (n,)
        Of each frame; labels are the same for all frames of one temperature.
    group, session : ndarray of int, shape (n,)
        Number of its group and of its session, each from 0 without gaps; a group is within a session.
    """
    frames = np.bincount(group).astype(np.float64)
    temperature = np.bincount(group, temperatures_c) / frames
    level = np.bincount(group, levels_adu) / frames
    slope = _slope(temperature, level)
    away = levels_adu - level[group] - slope * (temperatures_c - temperature[group])
    first = np.unique(group, return_index=True)[1]
    return Levels(
        temperature_c=temperature,
        level_adu=level,
        frames=frames,
        label_c=labels_c[first],
        session=session[first],
        squares=float((away**2).sum()),
        freedom=float((frames - 1).sum()),
    )


def _slope(temperature: NDArray[np.float64], level: NDArray[np.float64]) -> float:
    if np.ptp(temperature) < 1:
        return 0.0
    order = np.argsort(temperature)
    rises = [(level[b] - level[a], temperature[b] - temperature[a]) for a, b in pairwise(order)]
    return float(np.median([rise / run for rise, run in rises if run > 0.5] or [0.0]))
