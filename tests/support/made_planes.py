"""Planes of masters with known truth: a dark with glow and hot pixels, flats with vignetting and one dust shadow."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.combine.engine import combine_band
from calibration.combine.recipe import BandPlanes, Recipe
from calibration.masters.sketch import Sketch

SHAPE = (400, 500)
N, READ_NOISE, GAIN = 40, 4.0, 0.5


def sketch_of(planes: BandPlanes) -> Sketch:
    return Sketch.of(planes)


def dark_truth(rng: np.random.Generator) -> np.ndarray:
    """Amplifier glow, fixed pattern, and a steep tail of warm and hot pixels."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    glow = 40.0 * np.exp(-((y - 0) ** 2 + (x - 500) ** 2) / (2 * 120.0**2))
    warm = np.where(rng.random(SHAPE) < 0.01, rng.exponential(60.0, SHAPE), 0.0)
    return 500.0 + glow + rng.normal(0.0, 0.4, SHAPE) + warm


def dark_planes() -> tuple[NDArray[np.float64], BandPlanes]:
    """Return truth and planes of a dark of N frames; ten pixels of row 300 scatter like telegraph pixels."""
    rng = np.random.default_rng(4)
    truth = dark_truth(rng)
    noise = np.sqrt(READ_NOISE**2 + np.maximum(truth - 500.0, 0) / GAIN)
    noise[300, 100:110] *= 6.0  # telegraph-like pixels
    frames = np.rint(rng.normal(truth, noise, (N, *SHAPE))).astype(np.uint16)
    return truth, combine_band(frames, Recipe())


def flat_planes(shadow: float, corner: float) -> BandPlanes:
    rng = np.random.default_rng(9)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius2 = ((y - 200) ** 2 + (x - 250) ** 2) / (200.0**2 + 250.0**2)
    light = 20000.0 * np.maximum(1 - (1 - corner) * radius2, 0.001)
    light *= 1 - shadow * np.exp(-((y - 120) ** 2 + (x - 330) ** 2) / (2 * 14.0**2))
    sigma = np.sqrt(light / GAIN / N)
    return BandPlanes(
        mean=rng.normal(light, sigma).astype(np.float32),
        sigma=sigma.astype(np.float32),
        count=np.full(SHAPE, N, np.uint16),
        mask=np.zeros(SHAPE, np.uint16),
    )


def mosaic_of(planes: BandPlanes, red: float, blue: float) -> BandPlanes:
    """Return a flat as a colour sensor sees it, RGGB."""
    response = np.ones(SHAPE, np.float32)
    response[::2, ::2], response[1::2, 1::2] = red, blue
    return replace(planes, mean=planes.mean * response, sigma=planes.sigma * np.sqrt(response))
