"""What is measured on every frame: level, noise, extremes, lines, gradient, and the digest of its pixels.

All numbers come from exact counts of values (`Distribution`), so a frame of 61 megapixels takes a fraction of a second
and no copy. Frames that are not uint16 take the same road with sorted values instead of a table. Nothing is judged
here; that is `calibration.checks`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import ENOUGH, Distribution, clip_distribution
from calibration.frames import FrameStats, Pixels, pixel_sha256

BINS = 1 << 16
"""Values that a pixel of uint16 can have."""

SATURATED_PART = 0.98
"""Pixels at or above this part of the saturation level count as saturated."""

GRID = 3
"""The gradient is seen in GRID x GRID regions, which cover the frame."""

_SPREAD, _LEAST_PAIRS = 1 << 21, 64
"""Pixels and pairs of rows that are enough of a large frame: 1 % of its rows are seen if they are damaged."""

_JUMP_LINES = 5
_JUMP_SAMPLES = 256
_JUMP_SIGMAS = 8.0

Span = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairStats:
    """How a frame differs from another one of the same shape.

    `difference_sigma_adu` is the robust sigma of the difference over sqrt 2, `identical_rows` the fraction of rows
    that repeat the other frame's pixel for pixel.
    """

    difference_sigma_adu: float
    identical_rows: float


def measure(pixels: Pixels, *, saturation_adu: float | None, bayer: bool, mid_at: datetime) -> FrameStats:
    """Measure one frame.

    Parameters
    ----------
    pixels : ndarray, shape (y, x)
        Values in ADU, of any real dtype; uint16 is fast.
    saturation_adu : float or None
        Saturation level; None: nothing counts as saturated.
    bayer : bool
        Whether the sensor has a colour mosaic: level and noise are then those of the brightest plane.
    mid_at : datetime
        Middle of the exposure, UTC.

    Returns
    -------
    FrameStats
        All values NaN where the frame holds no finite pixel.
    """
    pixels = as_counts(pixels)
    parts = [distribution(pixels, *part) for part in regions_of(pixels.shape)]
    whole = merged(parts)
    saturated_from = np.inf if saturation_adu is None else SATURATED_PART * saturation_adu
    offset = brightest_plane(pixels) if bayer else None
    step = step_of(whole)
    central = clip_distribution(distribution(pixels, *central_part(pixels.shape, offset)), step=step)
    regions = tuple(clip_distribution(part, step=step).mean for part in parts)
    lines, constant = _lines(pixels, saturated_from)
    return FrameStats(
        level_adu=central.median,
        mean_adu=whole.mean(),
        sigma_adu=central.sigma,
        min_adu=float(whole.values[0]) if whole.values.size else float("nan"),
        max_adu=float(whole.values[-1]) if whole.values.size else float("nan"),
        saturated_fraction=_fraction(whole, whole.values >= saturated_from),
        zero_fraction=_fraction(whole, whole.values == 0),
        step_adu=step,
        gradient_adu=float(np.ptp([r for r in regions if np.isfinite(r)] or [0.0])),
        mid_at=mid_at,
        pixel_sha256=pixel_sha256(pixels),
        region_adu=regions,
        saturated_lines=lines,
        constant_rows=constant,
        jump_adu=_largest_jump(pixels),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What is measured on a sample of a frame's pixels: level, robust sigma, and the step between values."""

    level_adu: float
    sigma_adu: float
    step_adu: int


def glance(sample: Pixels, *, bayer: bool) -> Glance:
    """Measure a sample of a frame, as `measure` does with its central part; no compiled loop is needed.

    Parameters
    ----------
    sample : ndarray, shape (y, x)
        Pixels at `sample_of` of the frame.
    bayer : bool
        Level and noise are those of the brightest plane of the colour mosaic.
    """
    if bayer:
        planes = [sample[y::2, x::2] for y in (0, 1) for x in (0, 1)]
        means = np.array([float(np.nanmean(plane)) if plane.size else np.nan for plane in planes])
        bright = means >= 0.99 * np.nanmax(means) if np.isfinite(means).any() else [True]
        sample = planes[int(np.argmax(bright))]
    values = _table(sample) if sample.dtype == np.uint16 else _sorted_distribution(sample)
    step = step_of(values)
    is_whole = np.array_equal(values.values, np.rint(values.values))
    clipped = clip_distribution(values, step=step if is_whole else 0)
    return Glance(level_adu=clipped.median, sigma_adu=clipped.sigma, step_adu=step)


def sample_of(shape: tuple[int, int]) -> tuple[NDArray[np.intp], Span]:
    """Return rows and a span of columns that are enough for the level of a frame, to a hundredth of its noise.

    They are pairs of rows, which hold all colours of a mosaic, spread over the central 50 % x 50 %; of a small frame
    all of it.
    """
    if shape[0] * shape[1] <= ENOUGH:
        return np.arange(shape[0]), (0, shape[1], 1)
    (first, stop, _), (left, right, _) = central_part(shape)
    pairs = max(1, (stop - first) // 2)
    wanted = min(pairs, max(1, ENOUGH // (right - left)))
    starts = first + 2 * (np.arange(wanted) * pairs // wanted)
    return (starts[:, None] + np.arange(2)).ravel(), (left, right, 1)


def spread_rows(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return rows that show what `measure` and `compare` need of a large frame; of a small one all of them.

    They are pairs of rows from an even one on, which hold all colours of a mosaic, spread over the whole height.
    """
    height, width = shape
    if height * width <= 2 * _SPREAD:
        return np.arange(height)
    pairs = height // 2
    wanted = min(pairs, max(_LEAST_PAIRS, _SPREAD // (2 * width)))
    starts = 2 * (np.arange(wanted) * pairs // wanted)
    return (starts[:, None] + np.arange(2)).ravel()


def _table(sample: NDArray[np.integer]) -> Distribution:
    """Count whole numbers in one bin for each value of their own range."""
    first = int(sample.min()) if sample.size else 0
    return _present(np.bincount((sample - sample.dtype.type(first)).ravel()), first)


def _present(counts: NDArray[np.integer], first: int) -> Distribution:
    """Return the values that were met, of bins of which the first is that of the value `first`."""
    present = np.flatnonzero(counts)
    return Distribution(values=present.astype(np.float64) + first, counts=counts[present].astype(np.int64))


def compare(a: Pixels, b: Pixels, *, bayer: bool = False) -> PairStats:
    """Compare a frame with another one, usually the one before.

    Parameters
    ----------
    a, b : ndarray, shape (y, x)
        The frames, in ADU.
    bayer : bool
        Take the noise from the brightest plane of `a` only.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"frames of different shapes: {a.shape} and {b.shape}")
    a, b = as_counts(a), as_counts(b)
    rows, columns = central_part(a.shape, brightest_plane(a) if bayer else None)
    part = np.s_[slice(*rows), slice(*columns)]
    if a.dtype == b.dtype == np.uint16:
        from calibration import frame_kernels  # numba takes 0.3 s to import: other programs' frames are read meanwhile

        if a[part].size < BINS:
            differences = _table(a[part].astype(np.int32) - b[part])
        else:
            differences = _present(frame_kernels.difference_histogram(a, b, rows, columns), 1 - BINS)
        identical = frame_kernels.identical_rows(a, b)
    else:
        differences = _sorted_distribution(a[part].astype(np.float64) - b[part])
        identical = int(np.count_nonzero((a == b).all(axis=1) & (a.min(axis=1) != a.max(axis=1))))
    sigma = clip_distribution(differences, step=step_of(differences)).sigma / np.sqrt(2)
    return PairStats(difference_sigma_adu=float(sigma), identical_rows=identical / a.shape[0])


def as_counts(pixels: Pixels) -> Pixels:
    """Return the frame as contiguous native uint16 if its dtype is an integer and every value fits, else unchanged."""
    if pixels.dtype == np.uint16:
        return np.ascontiguousarray(pixels, dtype=np.uint16)
    if pixels.dtype.kind in "iu" and pixels.size and pixels.min() >= 0 and pixels.max() < BINS:
        return np.ascontiguousarray(pixels, dtype=np.uint16)
    return pixels


def distribution(pixels: Pixels, rows: Span | None = None, columns: Span | None = None) -> Distribution:
    """Count the values of a part of a frame (the whole by default); values that are not finite are left out."""
    rows = rows or (0, pixels.shape[0], 1)
    columns = columns or (0, pixels.shape[1], 1)
    part = pixels[slice(*rows), slice(*columns)]
    if pixels.dtype != np.uint16 or not pixels.flags.c_contiguous:
        return _sorted_distribution(part)
    if part.size < BINS:  # the bins of all values would be most of the work
        return _table(part)
    from calibration import frame_kernels  # as in `compare`

    return _present(frame_kernels.histogram(pixels, rows, columns), 0)


def merged(parts: Sequence[Distribution]) -> Distribution:
    """Return the distribution of several parts together."""
    distinct, place = np.unique(np.concatenate([part.values for part in parts]), return_inverse=True)
    counts = np.bincount(place, weights=np.concatenate([part.counts for part in parts]), minlength=distinct.size)
    return Distribution(values=distinct, counts=counts.astype(np.int64))  # sums below 2**53 are exact


def step_of(values: Distribution) -> int:
    """Return the greatest common divisor of the values: 16 from a 12-bit camera that fills 16 bits.

    A clip level of 65535 is left out, since it is no multiple of anything; 1 when nothing can be said.
    """
    v = np.abs(values.values[values.values < BINS - 1])
    if v.size < 2 or not np.array_equal(v, np.rint(v)):
        return 1
    return max(1, int(np.gcd.reduce(v.astype(np.int64))))


def central_part(shape: tuple[int, ...], plane: tuple[int, int] | None = None) -> tuple[Span, Span]:
    """Return rows and columns of the central 50 % x 50 %; of one Bayer plane when its offset (y, x) is given."""
    rows, columns = (
        _span(size // 4, size - size // 4, None if plane is None else plane[axis]) for axis, size in enumerate(shape)
    )
    return rows, columns


def regions_of(shape: tuple[int, ...]) -> list[tuple[Span, Span]]:
    """Return rows and columns of the nine regions that cover a frame, in reading order; the centre is the fifth."""
    spans: list[list[Span]] = []
    for size in shape:
        edges = [size * i // GRID for i in range(GRID + 1)]
        spans.append([(start, stop, 1) for start, stop in pairwise(edges)])
    return list(product(spans[0], spans[1]))


def brightest_plane(pixels: Pixels) -> tuple[int, int]:
    """Return the offset (y, x) of the brightest plane of a 2 x 2 colour mosaic.

    Of planes within 1 % the first is taken: the two greens of a flat, and all four of a dark, would otherwise change
    places from frame to frame, and with them the pattern that is measured.
    """
    offsets = [(0, 0), (0, 1), (1, 0), (1, 1)]
    means = np.array([distribution(pixels, *central_part(pixels.shape, offset)).mean() for offset in offsets])
    return offsets[int(np.argmax(means >= 0.99 * np.nanmax(means)))] if np.isfinite(means).any() else (0, 0)


def _span(start: int, stop: int, plane: int | None) -> Span:
    if plane is None:
        return start, stop, 1
    return start + (plane - start) % 2, stop, 2


def _sorted_distribution(values: Pixels) -> Distribution:
    finite = values[np.isfinite(values)]
    distinct, counts = np.unique(finite, return_counts=True)
    return Distribution(values=distinct.astype(np.float64), counts=counts.astype(np.int64))


def _fraction(whole: Distribution, chosen: NDArray[np.bool_]) -> float:
    total = whole.total()
    return float(whole.counts[chosen].sum() / total) if total else 0.0


def _lines(pixels: Pixels, saturated_from: float) -> tuple[int, int]:
    """Return the number of mostly saturated rows and columns, and of rows that hold a single value."""
    height, width = pixels.shape
    if pixels.dtype == np.uint16:
        from calibration import frame_kernels  # as in `compare`

        limit = BINS if np.isinf(saturated_from) else int(np.ceil(saturated_from))
        by_row, by_column, constant = frame_kernels.survey_lines(pixels, limit)
    else:
        saturated = pixels >= saturated_from
        by_row, by_column = saturated.sum(axis=1), saturated.sum(axis=0)
        constant = pixels.min(axis=1) == pixels.max(axis=1)
    lines = np.count_nonzero(2 * by_row > width) + np.count_nonzero(2 * by_column > height)
    return int(lines), int(np.count_nonzero(constant))


def _largest_jump(pixels: Pixels) -> float:
    """Return the largest step between neighbouring bands of lines beyond their scatter: where a part is missing.

    Lines of one parity are compared, and samples an even number of pixels apart, so that a colour mosaic makes no
    steps; bands are represented by their median line, so that a bad line makes none either.
    """
    height, width = pixels.shape
    rows = np.sort(pixels[:, :: _even(width // _JUMP_SAMPLES)], axis=1)
    columns = np.sort(pixels[:: _even(height // _JUMP_SAMPLES)].T, axis=1)
    lines = rows[:, rows.shape[1] // 2], columns[:, columns.shape[1] // 2]
    return max(_jump(medians[parity::2]) for medians in lines for parity in (0, 1))


def _even(stride: int) -> int:
    return max(2, stride - stride % 2)


def _jump(medians: Pixels) -> float:
    if medians.size < 2 * _JUMP_LINES:
        return 0.0
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(medians, _JUMP_LINES), axis=1)
    bands = windows[:, _JUMP_LINES // 2].astype(np.float64)
    steps = np.abs(bands[_JUMP_LINES:] - bands[:-_JUMP_LINES])
    steps = steps[np.isfinite(steps)]
    return float(max(0.0, steps.max() - _JUMP_SIGMAS * np.median(steps))) if steps.size else 0.0
