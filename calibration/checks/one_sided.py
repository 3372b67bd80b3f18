"""A dark that is brighter on one side than the biases, the more so the longer it is: a leak perhaps, or a glow.

Without an earlier master nothing separates a faint leak from the sensor's own glow, which also grows with the exposure.
So this is a doubt for the observer, never a verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.checks.light import ROW_NOISE
from calibration.frames import FrameStats
from calibration.stats import GRID

LEAST_ADU = 5.0
"""Pedestals wander by less."""
SIGMAS = 5.0
GROWTH = 1.25
"""What comes with the exposure is greater by this factor at least than in one of half the time."""

_SIDES = np.zeros((2, GRID, GRID))
_SIDES[0, :, 0], _SIDES[0, :, -1] = -1 / GRID, 1 / GRID  # right against left
_SIDES[1, 0, :], _SIDES[1, -1, :] = -1 / GRID, 1 / GRID  # last rows against first rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One frame as it was measured; `shape` is that of its pixels, (y, x)."""

    exposure_us: int
    stats: FrameStats
    shape: tuple[int, int]


def one_sided_adu(bias: Looked, darks: Sequence[Looked]) -> tuple[int, float] | None:
    """Return the longest exposure, and by how many ADU its dark is brighter on one side than the bias.

    None where that is within `LEAST_ADU` or noise, or does not grow with the exposure.

    Parameters
    ----------
    bias : Looked
    darks : sequence of Looked
        Of the same settings and temperature, one an exposure.
    """
    longest = max(darks, key=lambda dark: dark.exposure_us, default=None)
    if longest is None or len(bias.stats.region_adu) != GRID**2:
        return None
    sides = _sides(longest, bias)
    worst = int(np.argmax(np.abs(sides)))
    gained = float(abs(sides[worst]))
    shorter = [float(abs(_sides(d, bias)[worst])) for d in darks if 2 * d.exposure_us <= longest.exposure_us]
    grows = all(gained >= GROWTH * adu for adu in shorter)
    return (longest.exposure_us, gained) if grows and gained > _least_adu(longest, bias) else None


def _sides(dark: Looked, bias: Looked) -> np.ndarray:
    gained = np.array(dark.stats.region_adu) - np.array(bias.stats.region_adu)
    return np.asarray(np.tensordot(_SIDES, np.nan_to_num(gained).reshape(GRID, GRID)))


def _least_adu(dark: Looked, bias: Looked) -> float:
    """Return what noise of pixels and rows, or coarse steps of the converter, may make in both frames."""
    height, width = dark.shape
    noise = np.hypot(dark.stats.sigma_adu, bias.stats.sigma_adu)
    statistical = SIGMAS * noise * np.sqrt(2 * GRID / (height * width) + 2 * GRID * ROW_NOISE**2 / height)
    return float(max(LEAST_ADU, statistical) + 2.0 * (dark.stats.step_adu - 1))
