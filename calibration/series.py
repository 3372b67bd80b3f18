"""Frames of other programs, held against one another: a level or a noise that the rest of the series does not have.

Our own frames are judged as they land, against what their plan knows (`calibration.checks.judge`). Of another
program's frames nothing is known beforehand, so the series itself says what is usual.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from calibration.errors import FrameCode
from calibration.frames import FrameKind, Verdict

MOST_ODD = 1 / 3
"""At most this part of a series can be odd; where more frames differ, nobody can say which of them are right."""

MEDIAN_ERROR = 1.2533
"""Standard error of a median, relative to that of a mean."""

_LEAST_FRAMES = 3
_RISKS = {4: 1e-4, 0: 1e-3}
"""Chance that a series of normally distributed levels loses a frame, by how many frames the usual spread stands for.

Levels of most cameras wander by the usual spread, and then the first decides. The second holds for any camera.
"""
_USUAL_PART, _USUAL_ADU = 0.2, 0.2
"""The usual spread is this part of the least shift, for levels at least so much."""
_LEVEL_SIGMAS = 0.25
_ENOUGH_FOR_SLOPES = 200
"""Frames whose pairs give the slope of the level with temperature; all pairs of thousands would fill the memory."""
_NOISE_FRACTION = 0.1
_LEAST_ADU = 0.5
_LEAST_CHANGE_C = 0.1
_WIDTHS = 3.0
_LEAST_SPLIT_ADU = 5.0
_LEAST_SPLIT_FRACTION = 0.05
_PEDESTAL_ADU, _PEDESTAL_STEPS, _PEDESTAL_FRACTION = 10.0, 3.0, 0.02
_SIGNAL_FRACTION = 0.3
_FARTHER_ADU, _AGREED_ADU = 5.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of one frame: its level, its noise within the frame, its converter's step, its temperature."""

    level_adu: float
    sigma_adu: float
    step_adu: int = 1
    ccd_temp_c: float | None = None


def odd_frames(kind: FrameKind, frames: Sequence[Measured]) -> dict[int, Verdict]:
    """Return the frames that do not belong to their series, by index, at most a third of them.

    Flats are held against each other in their noise and level by nobody: the lamp or the sky changes both.

    Parameters
    ----------
    kind : FrameKind
    frames : sequence of Measured
        One group, in any order; below three frames nothing is judged.

    Returns
    -------
    dict of int to Verdict
        `level_off` (measured: the level; limit: that of the others) or `noise_off`, likewise.

    Notes
    -----
    The pixels give the level of a frame to a hundredth of an ADU; what limits is how far levels wander from frame to
    frame, which few frames say little of. With a noise of 7 ADU and levels that wander by 0.3 ADU, nine of ten shifts
    are found from 3 ADU on among 11 frames, 4 ADU among 8, 8 ADU among 6, 12 ADU among 5 and 50 ADU among 4. Among
    three frames hardly any is found: the two others may agree by chance. Temperatures that differ cost one frame more.
    """
    if kind not in {FrameKind.BIAS, FrameKind.DARK} or len(frames) < _LEAST_FRAMES:
        return {}
    levels = np.array([frame.level_adu for frame in frames])
    sigmas = np.array([frame.sigma_adu for frame in frames])
    found: dict[int, Verdict] = {}
    noises = np.log(np.maximum(sigmas, 1e-3))
    corrected, slopes = _at_one_temperature(levels, frames)
    for code, measured, values, floor, least, fitted in (
        (FrameCode.NOISE_OFF, sigmas, noises, _NOISE_FRACTION, 0.0, 0),
        (FrameCode.LEVEL_OFF, levels, corrected, least_shift_adu(frames), _USUAL_ADU, slopes),
    ):
        odd = _outliers(values, floor, usual=max(least, _USUAL_PART * floor), fitted=fitted)
        usual = float(np.median(np.delete(measured, odd)))
        for i in odd:
            verdict = Verdict(code=code, refuses=True, measured=float(measured[i]), limit=usual)
            found.setdefault(i, verdict)
    return found if len(found) <= MOST_ODD * len(frames) else {}


def least_shift_adu(frames: Sequence[Measured]) -> float:
    """Return the least shift of a level that is worth a word: a part of the noise of a pixel, or half a step."""
    sigma = float(np.median([frame.sigma_adu for frame in frames]))
    step = max(frame.step_adu for frame in frames)
    return max(_LEVEL_SIGMAS * sigma, step / 2, _LEAST_ADU)


def _at_one_temperature(levels: NDArray[np.float64], frames: Sequence[Measured]) -> tuple[NDArray[np.float64], int]:
    """Return the levels as they would be at one temperature, and how many slopes were taken out of them for that.

    The slope is the median of those between two frames each.
    """
    temperatures = np.array([np.nan if f.ccd_temp_c is None else f.ccd_temp_c for f in frames])
    if not np.isfinite(temperatures).all():
        return levels, 0
    some = np.unique(np.linspace(0, len(frames) - 1, _ENOUGH_FOR_SLOPES).astype(int)).tolist()
    pairs = list(combinations(some, 2))
    change_c = np.array([temperatures[b] - temperatures[a] for a, b in pairs])
    apart = np.abs(change_c) >= _LEAST_CHANGE_C
    if not apart.any():
        return levels, 0
    change_adu = np.array([levels[b] - levels[a] for a, b in pairs])
    slope = float(np.median(change_adu[apart] / change_c[apart]))
    return np.asarray(levels - slope * (temperatures - np.median(temperatures))), 1


def _outliers(values: NDArray[np.float64], floor: float, *, usual: float, fitted: int) -> list[int]:
    """Return the indices of outliers: the farthest value is held against the rest, then the next without it, and so on.

    That finds several at once, which would hide each other from a test of the most extreme one (Rosner 1983). The
    spread of the rest is pooled with the `usual` one, because few values say little of it. A value closer than
    `floor` to the median is no outlier. `fitted` numbers were taken from the values before: each makes them agree
    better than they would by themselves.
    """
    far = np.abs(values - np.median(values)) > floor
    if not far.any() or not np.isfinite(values).all():
        return []
    left, removed, last = list(range(len(values))), [], 0
    for number in range(1, int(MOST_ODD * len(values)) + 1):
        worst = left[int(np.argmax(np.abs(values[left] - values[left].mean())))]
        left.remove(worst)
        removed.append(worst)
        rest = values[left]
        off = abs(float(values[worst] - rest.mean()))
        if all(_chance(off, rest, usual, weight, fitted) * (len(left) + 1) < risk for weight, risk in _RISKS.items()):
            last = number
    return [i for i in removed[:last] if far[i]]


def _chance(off: float, rest: NDArray[np.float64], usual: float, weight: int, fitted: int) -> float:
    """Return the chance that one more value is as far off; the spread is that of the rest and `weight` usual ones."""
    freedom = len(rest) - 1 - fitted + weight
    if freedom < 1:
        return 1.0
    variance = (weight * usual**2 + float(((rest - rest.mean()) ** 2).sum())) / freedom
    return _two_sided(off / max((variance * (1 + 1 / len(rest))) ** 0.5, 1e-12), freedom)


def _two_sided(t: float, freedom: int) -> float:
    """Return the chance of a value of Student's t beyond `t` on either side (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = np.arctan2(t, freedom**0.5)
    odd = freedom % 2
    k = np.arange(2 + odd, freedom, 2)
    terms = np.cos(angle) ** odd * np.cumprod(np.concatenate([[1.0], (k - 1) / k * np.cos(angle) ** 2]))
    inner = np.sin(angle) * (terms.sum() if freedom > 1 else 0.0)
    return float(1 - (2 / np.pi * (angle + inner) if odd else inner))


def common_mode_adu(levels_adu: Sequence[float], *, noise_adu: float, pixels: int) -> tuple[float, float]:
    """Return how much the level wanders from frame to frame, and the error of their mean that follows from it.

    All pixels of a frame share it, so that it is not in what their own samples scatter by, and no number of pixels
    averages it out. Noise that the pixels of a row share is in it as well, as far as the rows of the level leave it.

    Parameters
    ----------
    levels_adu : sequence of float
        Of each frame; below two of them nothing is known (NaN).
    noise_adu : float
        Temporal noise of a pixel.
    pixels : int
        Pixels that each level was measured on: what their noise makes the levels scatter by is no wander.
    """
    if len(levels_adu) < 2:
        return float("nan"), float("nan")
    scatter = float(np.std(levels_adu, ddof=1))
    measuring = MEDIAN_ERROR * noise_adu / np.sqrt(pixels) if np.isfinite(noise_adu) else 0.0
    return float(np.sqrt(max(0.0, scatter**2 - measuring**2))), scatter / len(levels_adu) ** 0.5


def two_levels(kind: FrameKind, frames: Sequence[Measured]) -> tuple[list[int], list[int]] | None:
    """Return a series as two when its levels are two, the lower first; None where they are one.

    The gap between the two is wide against the range of either, so that a drift is no reason.
    """
    levels = np.array([frame.level_adu for frame in frames])
    if len(levels) < 4 or not np.isfinite(levels).all():
        return None
    order = np.argsort(levels)
    gaps = np.diff(levels[order])
    at = int(np.argmax(gaps[1:-1])) + 2  # two frames on either side at least
    low, high = levels[order[:at]], levels[order[at:]]
    gap = float(high.min() - low.max())
    if gap <= _WIDTHS * max(np.ptp(low), np.ptp(high)) or gap <= _least_split_adu(kind, frames):
        return None
    return sorted(order[:at].tolist()), sorted(order[at:].tolist())


def _least_split_adu(kind: FrameKind, frames: Sequence[Measured]) -> float:
    if kind is FrameKind.FLAT:
        return _LEAST_SPLIT_FRACTION * float(np.median([abs(frame.level_adu) for frame in frames]))
    sigma, step = np.median([f.sigma_adu for f in frames]), max(f.step_adu for f in frames)
    return max(_LEAST_SPLIT_ADU, float(sigma), 3.0 * step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """The level of the biases (exposure 0), or of the darks of one exposure, of the same night and settings."""

    exposure_us: int
    level_adu: float
    step_adu: int = 1


def odd_exposures(levels: Sequence[Exposed]) -> Mapping[int, Verdict]:
    """Return which levels the biases and the other exposures contradict, by index.

    A dark signal grows in proportion to the exposure, from the pedestal that the biases show. A level that does not fit
    stands on another pedestal, as after a change of the offset that no card states. A short exposure says little
    about a long one, so the limit grows with the distance.

    Parameters
    ----------
    levels : sequence of Exposed
        In any order; three at least are needed, or two where a dark is below the biases.

    Returns
    -------
    mapping of int to Verdict
        `pedestal_off`; measured: the level; limit: what is expected.
    """
    left, found = list(range(len(levels))), dict[int, Verdict]()
    while (worst := _most_odd([levels[i] for i in left])) is not None:
        place, expected = worst
        index = left.pop(place)
        found[index] = Verdict(
            code=FrameCode.PEDESTAL_OFF, refuses=False, measured=levels[index].level_adu, limit=expected
        )
    return found


def _most_odd(levels: Sequence[Exposed]) -> tuple[int, float] | None:
    """Return the level without which the others agree best, and what they expect of it; None where all agree."""
    candidates = [
        (_disagreement(rest), abs(one.level_adu - expected), i, expected)
        for i, one, rest in _each_and_rest(levels)
        if (expected := _contradicted(one, rest)) is not None
    ]
    if not candidates:
        return None
    agreed = min(candidates)[0] + _AGREED_ADU
    _, _, place, expected = min((c for c in candidates if c[0] <= agreed), key=lambda c: c[1])
    return place, expected


def _each_and_rest(levels: Sequence[Exposed]) -> Iterator[tuple[int, Exposed, list[Exposed]]]:
    for i, one in enumerate(levels):
        yield i, one, [other for j, other in enumerate(levels) if j != i]


def _contradicted(one: Exposed, rest: Sequence[Exposed]) -> float | None:
    """Return the level that the rest expects of one, if that is off by more than it may be; else None."""
    if not rest:
        return None
    limit = _tolerance_adu(one, rest)
    shorter = min((other.level_adu for other in rest if other.exposure_us < one.exposure_us), default=np.inf)
    longest = max(other.exposure_us for other in rest)
    if one.exposure_us > longest and one.level_adu < shorter - limit:
        return float(shorter)  # no dark signal is below 0
    if len({other.exposure_us for other in rest}) < 2:
        return None
    pedestal, rate = _line(rest)
    expected = pedestal + rate * one.exposure_us
    far = max(1.0, one.exposure_us / longest)
    limit += _SIGNAL_FRACTION * rate * one.exposure_us + _FARTHER_ADU * (far - 1)
    off = one.level_adu - expected
    return expected if off > limit or (off < -limit and far == 1.0) else None


def _tolerance_adu(one: Exposed, rest: Sequence[Exposed]) -> float:
    pedestal = min((one.level_adu, *(other.level_adu for other in rest)))
    return max(_PEDESTAL_ADU, _PEDESTAL_STEPS * one.step_adu, _PEDESTAL_FRACTION * abs(pedestal))


def _line(levels: Sequence[Exposed]) -> tuple[float, float]:
    """Return pedestal and dark signal per microsecond of the straight line through levels; it never falls."""
    times = np.array([each.exposure_us for each in levels], dtype=np.float64)
    values = np.array([each.level_adu for each in levels])
    rate, pedestal = np.polyfit(times, values, 1)
    return (float(pedestal), float(rate)) if rate > 0 else (float(values.mean()), 0.0)


def _disagreement(levels: Sequence[Exposed]) -> float:
    """Return how far levels lie from a straight line at most."""
    if len({each.exposure_us for each in levels}) < 2:
        return 0.0
    pedestal, rate = _line(levels)
    return max(abs(each.level_adu - pedestal - rate * each.exposure_us) for each in levels)
