"""What a master is worth: its noise against what pairs of frames promise, its shape, its defects, and a verdict.

Pure numbers from a sketch of the master (`calibration.masters.sketch`), the noise of a pair of its frames and exact
counts; nothing here decides whether a master is used, it only says `ok` or what is suspect.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values
from calibration.combine.recipe import MaskBit
from calibration.frames import FrameKind, Verdict
from calibration.masters.background import Each, MosaicBackground, Smooth
from calibration.masters.flags import Thresholds, residual
from calibration.masters.noise import typical_noise
from calibration.masters.patches import bright_patches, dust_shadows
from calibration.masters.sketch import Sketch, Values, blocks, central_level, thinned
from calibration.masters.waves import SEEN, wave_of

PERCENTILES = (0, 5, 16, 50, 84, 95, 100)
"""Percentiles of MEAN that a master's header and its statistics contain."""

_ENOUGH_FOR_TAILS = 2_000_000
"""Values that give the percentiles of a master; its lowest and highest are of all pixels."""

_NOISE_TOLERANCE = 0.10
_MAX_REJECTED = 0.05
_MAX_DEFECTS = 0.01
_MAX_HOT_DARK = 0.1
"""Part of the pixels that may be hot in a dark: dark current differs from pixel to pixel, and in a long dark of a warm
sensor one pixel in twenty stands out. In biases and flats nothing grows with the exposure."""

_MAX_SPREAD_C = 1.0
_MIN_FLAT_SNR = 50.0
_MIN_CORNER, _MAX_CORNER = 0.05, 1.5
_MAX_SATURATED = 1e-3

_FLAGS = {
    "hot": MaskBit.HOT,
    "dead": MaskBit.DEAD,
    "noisy": MaskBit.NOISY,
    "warm": MaskBit.WARM,
    "low_response": MaskBit.LOW_RESPONSE,
    "saturated": MaskBit.SATURATED,
    "low_count": MaskBit.LOW_COUNT,
    "no_data": MaskBit.NO_DATA,
    "inherited": MaskBit.INHERITED,
    "changed": MaskBit.CHANGED,
}
"""Flags that are counted, by the names of their counts."""

_BROKEN = MaskBit.HOT | MaskBit.DEAD | MaskBit.NO_DATA
"""What makes a pixel a defect of the sensor, unless a flat has it from its dark."""


@dataclass(slots=True, kw_only=True)
class Totals:
    """Exact counts over all pixels of a master, added up band by band."""

    pixels: int = 0
    samples: int = 0
    kept: int = 0
    hot: int = 0
    dead: int = 0
    noisy: int = 0
    warm: int = 0
    low_response: int = 0
    saturated: int = 0
    low_count: int = 0
    no_data: int = 0
    inherited: int = 0
    changed: int = 0
    defects: int = 0
    minimum: float = float("inf")
    maximum: float = float("-inf")

    def add_samples(self, count: NDArray[np.uint16], mean: NDArray[np.float32], n: int) -> None:
        """Count the samples of some rows, of n frames."""
        self.pixels += count.size
        self.samples += count.size * n
        self.kept += int(count.sum(dtype=np.int64))
        if np.isfinite(mean).any():
            self.minimum = min(self.minimum, float(np.nanmin(mean)))
            self.maximum = max(self.maximum, float(np.nanmax(mean)))

    def add_mask(self, mask: NDArray[np.uint16]) -> None:
        """Count the flags of some rows."""
        numbers = np.bincount(mask[mask != 0])  # few are flagged
        values = np.arange(numbers.size)
        for name, bit in _FLAGS.items():
            setattr(self, name, getattr(self, name) + int(numbers[(values & bit) != 0].sum()))
        own = (values & _BROKEN != 0) & (values & MaskBit.INHERITED == 0) | (values & MaskBit.DEAD != 0)
        self.defects += int(numbers[own].sum())

    def flags(self) -> dict[str, int]:
        """Return how many pixels have each flag, and how many are defects of the sensor."""
        return {name: getattr(self, name) for name in (*_FLAGS, "defects")}


def statistics(
    sketch: Sketch,
    limits: Thresholds,
    totals: Totals,
    *,
    pair_noise_adu: float,
    temperatures_c: tuple[float, ...] = (),
    each: Each = map,
) -> dict[str, Any]:
    """Return what the report and the header say about a master, with units in the names (flats before normalisation).

    `sample_noise_adu` is the typical standard deviation of a pixel's samples, `pair_noise_adu` the same from frames
    that follow one another: they agree unless something moved. `master_noise_adu` is the typical SIGMA,
    `expected_noise_adu` what `pair_noise_adu` promises for so many frames. Flags of single pixels are counted in
    `Totals.flags`. `each` works on what needs a look at the whole sketch.
    """
    flat = limits.kind is FrameKind.FLAT
    looks: list[Callable[[], dict[str, Any]]] = [
        partial(_levels, sketch, totals),
        partial(_noises, sketch, limits, pair_noise_adu),
        partial(pattern_of, sketch, limits),
        partial(_patches, sketch, limits),
        partial(_wave, sketch, limits),
    ]
    found: dict[str, Any] = {"n": limits.samples, "pixels": totals.pixels}
    for part in each(_look, looks):
        found |= part
    found |= shape_of(limits.background)
    found["rejected_fraction"] = 1.0 - totals.kept / max(totals.samples, 1)
    if flat:
        found["snr"] = found["median_adu"] / found["master_noise_adu"] if found["master_noise_adu"] else float("nan")
    else:
        found["hot_threshold_adu"] = limits.hot_adu
    if temperatures_c:
        found |= {"temp_min_c": min(temperatures_c), "temp_max_c": max(temperatures_c)}
    return found


def _look(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return look()


def _patches(sketch: Sketch, limits: Thresholds) -> dict[str, int]:
    """Return the number of dust shadows of a flat, or of bright patches of a bias or dark."""
    if limits.kind is FrameKind.FLAT:
        return {"dust_shadows": dust_shadows(sketch, mosaic=isinstance(limits.background, MosaicBackground))}
    return {"bright_patches": bright_patches(sketch)}


def _wave(sketch: Sketch, limits: Thresholds) -> dict[str, float | None]:
    """Return the strongest wave in MEAN; its period only where it is more than noise."""
    wave = wave_of(sketch, mosaic=isinstance(limits.background, MosaicBackground))
    if wave is None:
        return {}
    seen = wave.significance >= SEEN
    return {
        "pattern_amplitude_adu": wave.amplitude_adu,
        "pattern_significance": wave.significance,
        "pattern_period_px": wave.period_px if seen else None,
        "pattern_period_x_px": wave.period_x_px if seen else None,
        "pattern_period_y_px": wave.period_y_px if seen else None,
    }


def _noises(sketch: Sketch, limits: Thresholds, pair_noise_adu: float) -> dict[str, float]:
    """Return the typical noise of a sample and of the master, beside what pairs of frames promise."""
    kept = limits.factor / limits.widening  # s of what is kept to the noise of a sample, and that to SIGMA √n
    sample = limits.widening * _typical(sketch.deviation(limits.factor), sketch, limits)
    return {
        "pair_noise_adu": pair_noise_adu,
        "sample_noise_adu": sample,
        "noise_ratio": sample / pair_noise_adu if pair_noise_adu > 0 else float("nan"),
        "master_noise_adu": _typical(sketch.sigma, sketch, limits),
        "expected_noise_adu": pair_noise_adu * kept / limits.samples**0.5,
    }


def _typical(noise: Values, sketch: Sketch, limits: Thresholds) -> float:
    """Return the root of the mean variance of ordinary pixels.

    The noise of a flat follows its light, which falls off to the corners and differs from colour to colour. There a
    pixel is ordinary by the noise nearby, as pairs of frames see all pixels, bright and dim ones.
    """
    if limits.kind is not FrameKind.FLAT:
        return typical_noise(thinned(noise, sketch.shape), limits.samples)
    step = sketch.stride

    def nearby(first: int, stop: int) -> NDArray[Any]:
        return limits.noise.rows(first * step, stop * step, step)

    def relative(first: int, stop: int) -> NDArray[Any]:
        with np.errstate(divide="ignore", invalid="ignore"):  # no noise at all
            return np.asarray(noise(first, stop) / nearby(first, stop))

    mean_variance = float(np.mean(thinned(nearby, sketch.shape).astype(np.float64) ** 2))
    return float(mean_variance**0.5) * typical_noise(thinned(relative, sketch.shape), limits.samples)


def _levels(sketch: Sketch, totals: Totals) -> dict[str, Any]:
    """Return the levels of MEAN: of all and of the central part, and its percentiles."""
    values = thinned(sketch.mean, sketch.shape, number=_ENOUGH_FOR_TAILS)
    values = values[np.isfinite(values)]
    centre = clip_values(values)
    nothing = np.full(len(PERCENTILES), np.nan)
    shares = np.percentile(values, PERCENTILES, overwrite_input=True) if values.size else nothing
    return {
        "median_adu": centre.median,
        "mean_adu": centre.mean,
        "spatial_sigma_adu": centre.sigma,
        "level_adu": central_level(sketch.mean, sketch.shape),
        "percentiles_adu": [totals.minimum, *(float(p) for p in shares[1:-1]), totals.maximum],
    }


def shape_of(smooth: Smooth) -> dict[str, float]:
    """Return the large-scale shape of a master: its corners over its centre, and the range of its nine parts.

    Corners and centre are an eighth of the image wide and high.
    """
    boxes = smooth.boxes
    high, wide = (max(1, round(size / 8)) for size in boxes.shape)
    ends = product((slice(high), slice(-high, None)), (slice(wide), slice(-wide, None)))
    corners = [float(np.median(boxes[y, x])) for y, x in ends]
    top, left = (boxes.shape[0] - high) // 2, (boxes.shape[1] - wide) // 2
    centre = float(np.median(boxes[top : top + high + 1, left : left + wide + 1]))
    ratio = float(np.mean(corners)) / centre if centre else float("nan")
    strips = np.array_split(boxes, min(3, boxes.shape[0]), axis=0)
    parts = [float(np.median(part)) for s in strips for part in np.array_split(s, min(3, s.shape[1]), axis=1)]
    return {"corner_centre_ratio": ratio, "gradient_adu": max(parts) - min(parts)}


def pattern_of(sketch: Sketch, limits: Thresholds) -> dict[str, float]:
    """Return how much whole rows and whole columns stand out, in ADU (robust sigma of their means)."""
    rest = residual(sketch, limits.background)
    reach = 5 * clip_values(thinned(rest, sketch.shape)).sigma
    height, width = sketch.shape
    rows, columns = np.empty(height), np.zeros(width)
    for first, stop in blocks(height):
        part = rest(first, stop)
        part[~(np.abs(part) <= reach)] = 0.0  # single hot pixels are no pattern
        rows[first:stop] = part.mean(axis=1)
        columns += part.sum(axis=0, dtype=np.float64)
    return {"row_pattern_adu": clip_values(rows).sigma, "column_pattern_adu": clip_values(columns / height).sigma}


def judge(kind: FrameKind, found: dict[str, Any], *, designed: float = 0.0) -> tuple[Verdict, ...]:
    """Return what is suspect about a master; nothing means `ok`.

    Parameters
    ----------
    kind : FrameKind
    found : dict
        As from `statistics`, with the counts of flags, and `temp_spread_c` where it is known.
    designed : float
        Fraction of the samples that the method rejects whatever they are (`minmax`: 2 / n).
    """
    n = max(int(found["n"]), 2)
    pixels = max(int(found.get("pixels", 0)), 1)
    defects, limit = found["defects"] / pixels, _MAX_DEFECTS
    if kind is FrameKind.DARK and found["dead"] + found["no_data"] <= _MAX_DEFECTS * pixels:
        limit = _MAX_HOT_DARK
    checks = [
        ("noise_off", abs(found["noise_ratio"] - 1.0), _NOISE_TOLERANCE + 0.5 / n, "samples scatter unlike a pair"),
        ("rejected", found["rejected_fraction"] - designed, _MAX_REJECTED + 1.0 / n**2, "many samples were rejected"),
        ("defects", defects, limit, "many hot, dead or empty pixels"),
        ("temperature_off", found.get("temp_spread_c", 0.0), _MAX_SPREAD_C, "the temperature changed"),
    ]
    if kind is FrameKind.FLAT:
        corner = found["corner_centre_ratio"]
        checks += [
            ("saturated", found["saturated"] / pixels, _MAX_SATURATED, "saturated pixels"),
            ("illumination", corner, _MAX_CORNER, "brighter at the corners"),
            ("illumination", -corner, -_MIN_CORNER, "dark at the corners"),
            ("snr", -found["snr"], -_MIN_FLAT_SNR, "noisy"),
        ]
    return tuple(
        Verdict(code=code, refuses=False, measured=abs(float(measured)), limit=abs(float(limit)), detail=detail)
        for code, measured, limit, detail in checks
        if measured > limit
    )
