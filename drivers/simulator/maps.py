"""The fixed structure of a simulated sensor: compact maps per pixel, made once from a seed.

Seven bytes a pixel (430 MB for 9576 x 6388): what is rounded here is rounded in the truth too, because the truth is
computed from these maps. Rare pixels (hot, telegraph) are sorted lists of flat indices with values.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulator.detector_parameters import DetectorParameters

BIAS_STEP_ADU = 1 / 256
SLOPE_STEP_ADU_PER_C = 1 / 2048
TRAP_STEP = 1 / 48
NOISE_STEP = 1 / 64
RESPONSE_STEP = 1 / 32768
BLOCK_PX = 1 << 16
"""Pixels rendered at a time: three float32 buffers of this size stay in a core's cache."""


def generator(*key: int) -> np.random.Generator:
    """Return the generator of a key; equal keys give equal numbers, on any number of threads."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))


@dataclass(frozen=True, slots=True)
class Rare:
    """A few pixels with a value each; `index` is y·width + x, rising."""

    index: NDArray[np.int64]
    value: NDArray[np.float32]

    def within(self, first: int, last: int) -> slice:
        """Return the slice of entries with first <= index < last."""
        low, high = np.searchsorted(self.index, (first, last))
        return slice(int(low), int(high))


@dataclass(frozen=True, slots=True)
class Shadow:
    """A dust shadow: what its rectangle of the response is multiplied with."""

    y: int
    x: int
    factor: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DetectorMaps:
    """Maps of shape (height, width) in steps of the constants above, and lists of rare pixels.

    Attributes
    ----------
    bias : ndarray of int16
        Fixed pattern at 0 °C, without pedestal, in `BIAS_STEP_ADU`.
    slope : ndarray of int8
        Deviation from the mean drift, in `SLOPE_STEP_ADU_PER_C`.
    trap : ndarray of uint8
        Density of generation centres relative to the mean, in `TRAP_STEP`; hot pixels come on top.
    noise : ndarray of uint8
        Read noise relative to the gain's, in `NOISE_STEP`.
    response : ndarray of uint16
        Vignetting x illumination x pixel response, in `RESPONSE_STEP`; dust and colour come on top.
    hot, telegraph : Rare
        Depletion dark current at 20 °C [e-/s], and jump [e-].
    """

    bias: NDArray[np.int16]
    slope: NDArray[np.int8]
    trap: NDArray[np.uint8]
    noise: NDArray[np.uint8]
    response: NDArray[np.uint16]
    hot: Rare
    telegraph: Rare


def build_maps(params: DetectorParameters, *, height: int, width: int, seed: int, pool: Executor) -> DetectorMaps:
    """Make the maps of a sensor, block by block on `pool`; the result depends on the seed alone."""
    maps = DetectorMaps(
        bias=np.empty((height, width), np.int16),
        slope=np.empty((height, width), np.int8),
        trap=np.empty((height, width), np.uint8),
        noise=np.empty((height, width), np.uint8),
        response=np.empty((height, width), np.uint16),
        hot=_hot(params, height * width, seed),
        telegraph=_telegraph(params, height * width, seed),
    )
    rng = generator(seed, 1)
    columns = rng.normal(0, params.bias_column_adu, width).astype(np.float32)
    rows = rng.normal(0, params.bias_row_adu, height).astype(np.float32)
    step = max(1, BLOCK_PX // width)

    def fill(block: int) -> None:
        r = slice(block * step, min(height, (block + 1) * step))
        _fill(maps, params, r, generator(seed, 2, block), lines=rows[r, None] + columns)

    list(pool.map(fill, range(-(-height // step))))
    return maps


def _fill(
    maps: DetectorMaps,
    params: DetectorParameters,
    r: slice,
    rng: np.random.Generator,
    *,
    lines: NDArray[np.float32],
) -> None:
    shape = maps.bias[r].shape
    y, x = _unit_axes(maps.bias.shape, r)

    def normal() -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    smooth = params.bias_gradient_adu * (0.5 * y + 0.25 * x * x - 0.1)
    bias = params.bias_pixel_adu * normal() + lines + smooth
    _store(maps.bias[r], bias / BIAS_STEP_ADU)
    _store(maps.slope[r], normal() * (params.drift_spread_adu_per_c / SLOPE_STEP_ADU_PER_C))
    trap = np.exp(params.dark_spread * normal() - params.dark_spread**2 / 2)
    _store(maps.trap[r], trap / TRAP_STEP)
    _store(maps.noise[r], np.exp(params.read_noise_spread * normal()) / NOISE_STEP)
    response = (1 + params.prnu * normal()) * _illumination(params, y, x)
    _store(maps.response[r], response / RESPONSE_STEP)


def _illumination(params: DetectorParameters, y: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    """Return vignetting around a centre that is a little off, and the linear gradient; 1 at the middle."""
    r2 = ((x - 0.04) ** 2 + (y + 0.03) ** 2) / 2
    vignetting = 1 - params.vignetting * (0.7 * r2 + 0.3 * r2 * r2)
    return np.asarray(vignetting * (1 + params.illumination_gradient * (x + 0.5 * y) / 3))


def _unit_axes(shape: tuple[int, ...], r: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return y as a column and x as a row, -1 to 1 over the whole sensor."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[r, None]
    return y, np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]


def _store(out: NDArray[Any], values: NDArray[Any]) -> None:
    limits = np.iinfo(out.dtype)
    np.clip(np.rint(values), limits.min, limits.max, out=values)
    out[...] = values


def _chosen(rng: np.random.Generator, fraction: float, pixels: int) -> NDArray[np.int64]:
    return np.unique(rng.integers(0, pixels, round(fraction * pixels)))


def _hot(params: DetectorParameters, pixels: int, seed: int) -> Rare:
    rng = generator(seed, 3)
    index = _chosen(rng, params.hot_fraction, pixels)
    decades = np.log(params.hot_max_e_s / params.hot_min_e_s) * rng.random(index.size)
    return Rare(index, (params.hot_min_e_s * np.exp(decades)).astype(np.float32))


def _telegraph(params: DetectorParameters, pixels: int, seed: int) -> Rare:
    rng = generator(seed, 4)
    index = _chosen(rng, params.telegraph_fraction, pixels)
    return Rare(index, (params.telegraph_e * (0.5 + 0.5 * rng.exponential(size=index.size))).astype(np.float32))


def shadows(params: DetectorParameters, *, height: int, width: int, seed: int, where: str | None) -> tuple[Shadow, ...]:
    """Return the dust shadows of one filter (by name), or of the sensor's window for None."""
    rng = generator(seed, 5, *(() if where is None else where.encode()))
    return tuple(_donut(params, height, width, rng) for _ in range(params.dust))


def _donut(params: DetectorParameters, height: int, width: int, rng: np.random.Generator) -> Shadow:
    """Return the out-of-focus shadow of a mote in a beam with a central obstruction: a ring with soft edges."""
    outer = max(3.0, width * rng.uniform(0.008, 0.02))
    depth = params.dust_depth * rng.uniform(0.4, 1.6)
    half = int(outer * 1.3) + 1
    y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
    y0, y1, x0, x1 = max(0, y - half), min(height, y + half), max(0, x - half), min(width, x + half)
    r = np.hypot(np.arange(y0, y1)[:, None] - y, np.arange(x0, x1)[None, :] - x) / outer
    edge: Callable[[Any], Any] = lambda v: 0.5 * (1 + np.tanh(v * 10))  # noqa: E731 - used twice, here
    ring = edge(1 - r) * (1 - 0.8 * edge(0.4 - r))
    return Shadow(y0, x0, (1 - depth * ring).astype(np.float32))
