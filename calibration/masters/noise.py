"""The noise of one frame, from differences of frames that follow one another, and the noise model that comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import Distribution, clip_distribution
from calibration.combine.recipe import NoiseModel
from calibration.frames import FrameKind

_PAIR_REACH = 4096
"""Differences beyond this many ADU are counted as this many."""

_PAIR_CLIP = 4.0
"""Keeps cosmic hits out and 99.99 % of the noise in."""

_PAIRS_THAT_TELL = 5
"""From so many pairs on their scatter says something about the error of their mean."""

_ROUNDS = 20
_HIGHEST = 0.05
"""Part of the ordinary pixels that is left out of their noise, since others are among them."""

_LOOKED_AT = 17
"""One of so many differences is looked at to find the step of the converter."""


def pair_counts(a: NDArray[Any], b: NDArray[Any], ratio: float = 1.0) -> NDArray[np.int64]:
    """Return the histogram of ``a - ratio * b`` rounded to whole ADU; parts of a frame add up.

    Parameters
    ----------
    a, b : ndarray, shape (rows, x)
        The same part of two frames, in ADU.
    ratio : float
        Brings b to the level of a (flats under a drifting lamp).
    """
    if ratio == 1.0 and a.dtype == b.dtype == np.uint16:  # a dark's: exact, and others may work meanwhile
        from calibration.frame_kernels import count_differences  # numba takes 0.2 s to import

        counts = np.zeros(2 * _PAIR_REACH + 1, np.int64)
        count_differences(a, b, counts)
        return counts
    difference = np.rint(a.astype(np.float32) - np.float32(ratio) * b.astype(np.float32))
    bins = np.clip(np.nan_to_num(difference), -_PAIR_REACH, _PAIR_REACH).astype(np.int64) + _PAIR_REACH
    return np.bincount(bins.ravel(), minlength=2 * _PAIR_REACH + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameNoise:
    """The temporal noise of a frame, and the error of that figure, in ADU; NaN where it is not known."""

    sigma_adu: float
    error_adu: float

    def before_rounding(self, step_adu: float) -> "FrameNoise":
        """Return the noise without what rounding to a step adds to its square, step² / 12."""
        sigma = max(self.sigma_adu**2 - step_adu**2 / 12, 0.0) ** 0.5
        return FrameNoise(sigma_adu=sigma, error_adu=self.error_adu * (self.sigma_adu / sigma if sigma > 0 else 1.0))


Span = tuple[int, NDArray[np.int64]]
"""The part of a histogram that is not empty: its first bin, and its counts from there on."""


def neighbour_spans(frames: NDArray[Any], ratios: Sequence[float] = ()) -> tuple[Span, ...]:
    """Return the histograms of the differences of all frames that are neighbours, one for each pair.

    Parameters
    ----------
    frames : ndarray, shape (n, rows, x)
        The same part of n frames in the order of their times, in ADU.
    ratios : sequence of float
        What brings each frame to the level of the others (flats under a drifting lamp); nothing for equal levels.
    """
    factors = ratios or [1.0] * len(frames)
    return tuple(
        _span(pair_counts(frames[i - 1], frames[i], factors[i] / factors[i - 1])) for i in range(1, len(frames))
    )


def _span(counts: NDArray[np.int64]) -> Span:
    present = np.flatnonzero(counts)
    first, last = (int(present[0]), int(present[-1])) if present.size else (0, -1)
    return first, counts[first : last + 1].copy()  # of hundreds of frames whole histograms are many megabytes


def no_counts(n: int) -> NDArray[np.int32]:
    """Return empty histograms for the pairs of n frames, shape (n - 1, 8193): no frame has 2³¹ pixels."""
    return np.zeros((max(n - 1, 0), 2 * _PAIR_REACH + 1), np.int32)


def add_spans(counts: NDArray[np.int32], spans: Sequence[Span]) -> None:
    """Add what `neighbour_spans` gives of a part of the frames to the histograms of the whole."""
    for row, (first, part) in zip(counts, spans, strict=True):
        row[first : first + part.size] += part.astype(np.int32)


def neighbour_counts(frames: NDArray[Any], ratios: Sequence[float] = ()) -> NDArray[np.int32]:
    """Return the histograms of `neighbour_spans` as one array, shape (n - 1, 8193)."""
    counts = no_counts(len(frames))
    add_spans(counts, neighbour_spans(frames, ratios))
    return counts


def noise_of_pairs(counts: NDArray[np.int32], step: int = 1) -> FrameNoise:
    """Return the noise of one frame from the differences of neighbours: the mean of the pairs' variances.

    Each pair is clipped at 4 standard deviations about its own middle, which keeps cosmic hits and a level that wanders
    out, and the loss of noise by clipping is put back. The error is that of so many differences of which each frame is
    in two, or what the pairs' own scatter says, whichever is larger: pixels of a row are not always independent.

    Parameters
    ----------
    counts : ndarray of int32, shape (pairs, bins)
        As from `neighbour_counts`.
    step : int
        Step of the converter, in ADU.
    """
    variances, sizes = [], []
    for row in counts:
        present = np.flatnonzero(row)
        if present.size:
            middle = row.size // 2
            differences = Distribution(
                values=(present - middle).astype(np.float64), counts=row[present].astype(np.int64)
            )
            variances.append(clip_distribution(differences, step=step, sigmas=_PAIR_CLIP).sigma ** 2 / 2)
            sizes.append(differences.total())
    if not variances or sum(sizes) < 2:
        return FrameNoise(sigma_adu=float("nan"), error_adu=float("nan"))
    m, variance = len(variances), float(np.average(variances, weights=sizes))
    error = variance * ((3 * m - 1) / m / sum(sizes)) ** 0.5
    if m >= _PAIRS_THAT_TELL:
        error = max(error, float(np.std(variances, ddof=1)) * (1.5 / m) ** 0.5)
    sigma = variance**0.5
    return FrameNoise(sigma_adu=sigma, error_adu=error / (2 * sigma) if sigma > 0 else 0.0)


def step_of_pair(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the step of the converter in ADU: the greatest common divisor of the differences of two frames.

    It is 0 where samples are no whole numbers: nobody knows then whether they were rounded.
    """
    from calibration.stats import step_of  # numba takes 0.2 s to import

    difference = a.ravel()[::_LOOKED_AT].astype(np.float64) - b.ravel()[::_LOOKED_AT]
    values, counts = np.unique(difference[np.isfinite(difference)], return_counts=True)
    if not np.array_equal(values, np.rint(values)):
        return 0.0
    return float(step_of(Distribution(values=values, counts=counts)))


def typical_noise(deviations: NDArray[Any], samples: int) -> float:
    """Return the noise of ordinary pixels: the root of their mean variance.

    The median of standard deviations of few samples would be too low: by a third for two samples, by 5 % for eight.
    Noisy pixels and those that glow are left out, with the highest twentieth of the others, which is put back.

    Parameters
    ----------
    deviations : ndarray
        Standard deviations of the pixels' samples (ddof 1); those that are not finite are left out.
    samples : int
        Number of samples of each.
    """
    from scipy.special import chdtr, chdtri  # 0.1 s to import

    variances = deviations[np.isfinite(deviations)].astype(np.float64) ** 2
    if not variances.size:
        return float("nan")
    if samples < 2:  # what the noise model says
        return float(np.median(variances) ** 0.5)
    freedom = samples - 1
    middle, most = (float(chdtri(freedom, chance)) for chance in (0.5, _HIGHEST))
    left = float(chdtr(freedom + 2, most)) / (1 - _HIGHEST)  # mean of chi² below `most`, over that of all
    variance = float(np.median(variances)) * freedom / middle
    for _ in range(_ROUNDS):
        inner = variances[variances <= variance * most / freedom]
        before, variance = variance, float(inner.mean()) / left if inner.size else 0.0
        if abs(variance - before) <= 1e-6 * before:
            break
    return float(variance**0.5)


def noise_model(kind: FrameKind, *, pair_adu: float, level_adu: float, gain_e_adu: float | None) -> NoiseModel | None:
    """Return the noise of a sample: what the pair shows at its level, and shot noise where there is more light.

    Parameters
    ----------
    kind : FrameKind
    pair_adu : float
        Noise of one frame from a pair, as from `noise_of_pairs`; without a positive one there is no model.
    level_adu : float
        Level of that pair: the pedestal of biases and darks, the level above the dark of flats.
    gain_e_adu : float or None
        Conversion gain in electrons per ADU; without it there is no model.
    """
    if gain_e_adu is None or not pair_adu > 0:
        return None
    if kind is not FrameKind.FLAT:
        return NoiseModel(read_noise_adu=pair_adu, gain_e_adu=gain_e_adu, pedestal_adu=level_adu)
    read_variance = max(pair_adu**2 - max(level_adu, 0.0) / gain_e_adu, 1 / 12)
    return NoiseModel(read_noise_adu=read_variance**0.5, gain_e_adu=gain_e_adu)
