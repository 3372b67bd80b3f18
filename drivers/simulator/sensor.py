"""Detector physics: what a frame is under given conditions, and what its mean would be over infinitely many.

Per pixel, in electrons: S = t·(A·f_dif(T) + B_p·f_dep(T)) + glow + light·response_p + leak, bent by the non-linearity
and ended by the full well; then value = S/K + pattern_p + slope_p·T + pedestal, with Gaussian noise of variance
RN_p² + S (Poisson noise by its first two moments, also at low signal), row and frame offsets, telegraph jumps and
cosmic rays; rounded to the converter's step and clipped. Frames are rendered in blocks of rows, on any executor, with
noise keyed by (seed, start, block): the same frame comes out whatever the number of threads.
"""

import threading
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.simulator.maps import (
    BIAS_STEP_ADU,
    BLOCK_PX,
    NOISE_STEP,
    RESPONSE_STEP,
    SLOPE_STEP_ADU_PER_C,
    TRAP_STEP,
    DetectorMaps,
    Rare,
    Shadow,
    generator,
    shadows,
)
from drivers.simulator.params import CameraParameters

Floats = NDArray[np.float32]

_BOLTZMANN_EV_K = 8.617333e-5
_REFERENCE_K = 293.15
_ONE = np.float32(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """All that a frame depends on besides the sensor itself.

    Attributes
    ----------
    started_us : int
        Start of the exposure, microseconds since 1970: the key of its noise.
    exposure_s, temperature_c : float
        Of the exposure; the temperature is its mean.
    light_e, leak_e : float
        Light through the optics on a pixel of response 1 in this exposure, and past them (mean over the sensor).
    filter : str or None
        Whose dust is seen; None without a wheel.
    e_per_adu, read_noise_e, full_well_e, saturation_adu : float
        As gain and readout mode make them.
    pedestal_adu : float
        Level of an ideal frame at 0 °C: with offset, gain and session.
    extra_adu : float
        What only this frame has more (a first frame).
    bin_x, bin_y, start_x, start_y, num_x, num_y : int
        As ASCOM counts: start and num in binned pixels.
    """

    started_us: int
    exposure_s: float
    temperature_c: float
    light_e: float
    leak_e: float
    filter: str | None
    e_per_adu: float
    read_noise_e: float
    full_well_e: float
    saturation_adu: float
    pedestal_adu: float
    extra_adu: float
    bin_x: int
    bin_y: int
    start_x: int
    start_y: int
    num_x: int
    num_y: int


def gap_ev(temperature_k: float) -> float:
    """Return silicon's band gap by Varshni's formula, 1.1557 - 7.021e-4 T²/(T + 1108) eV."""
    return 1.1557 - 7.021e-4 * temperature_k**2 / (temperature_k + 1108)


def dark_factors(temperature_c: float) -> tuple[float, float]:
    """Return diffusion and depletion dark current relative to 20 °C (T³·exp(-Eg/kT) and T^1.5·exp(-Eg/2kT))."""
    t = temperature_c + 273.15
    barrier = gap_ev(t) / (_BOLTZMANN_EV_K * t) - gap_ev(_REFERENCE_K) / (_BOLTZMANN_EV_K * _REFERENCE_K)
    ratio = t / _REFERENCE_K
    return float(ratio**3 * np.exp(-barrier)), float(ratio**1.5 * np.exp(-barrier / 2))


class Sensor:
    """A sensor with its maps: renders frames and knows their expectation.

    Parameters
    ----------
    camera : CameraParameters
    maps : DetectorMaps
    seed : int
    """

    def __init__(self, camera: CameraParameters, maps: DetectorMaps, seed: int) -> None:
        self.params = camera.detector
        self.maps = maps
        self._colour = camera.colour
        self._bayer = (camera.bayer_offset_y, camera.bayer_offset_x)
        self._bin_sum = camera.bin_sum
        self._seed = seed
        self._area_cm2 = camera.width * camera.height * (camera.pixel_size_um * 1e-4) ** 2
        self._shadows: dict[str | None, tuple[Shadow, ...]] = {}
        self._scratch = threading.local()

    def render(self, c: Conditions, pool: Executor) -> NDArray[np.uint16]:
        """Return a frame of shape (num_y, num_x), in ADU."""
        out = np.empty((c.num_y, c.num_x), np.uint16)
        frame = _FrameNoise.draw(self, c)

        def block(rows: tuple[int, slice]) -> None:
            number, r = rows
            values = self._noisy(c, r, frame, generator(self._seed, c.started_us, 1 + number))
            self._digitise(c, values, out[(r.start // c.bin_y) - c.start_y : (r.stop // c.bin_y) - c.start_y])

        list(pool.map(block, enumerate(self._blocks(c))))
        return out

    def expected(self, c: Conditions) -> Floats:
        """Return the mean of infinitely many frames under these conditions, in ADU, shape (num_y, num_x).

        Cosmic rays, telegraph jumps and the offsets of single frames are left out: their mean is taken as 0.
        """
        out = np.empty((c.num_y, c.num_x), np.float32)
        for r in self._blocks(c):
            values = self._electrons(c, r)
            values /= np.float32(c.e_per_adu)
            self._add_bias(c, r, values)
            np.clip(values, 0, c.saturation_adu, out=values)
            out[(r.start // c.bin_y) - c.start_y : (r.stop // c.bin_y) - c.start_y] = self._binned(c, values)
        return np.minimum(out, np.float32(self.params.full_scale_adu))

    def dark_rate(self, temperature_c: float) -> Floats:
        """Return the dark current of every pixel at a temperature, in e-/s, shape (height, width)."""
        diffusion, depletion = dark_factors(temperature_c)
        rate = self.maps.trap * np.float32(self.params.dark_depletion_e_s * depletion * TRAP_STEP)
        rate += np.float32(self.params.dark_diffusion_e_s * diffusion)
        rate.reshape(-1)[self.maps.hot.index] += self.maps.hot.value * np.float32(depletion)
        return rate

    def read_noise_e(self, of_gain_e: float) -> Floats:
        """Return the read noise of every pixel, given the gain's, in electrons, shape (height, width)."""
        return np.asarray(self.maps.noise * np.float32(of_gain_e * NOISE_STEP), np.float32)

    def mask(self, rare: Rare) -> NDArray[np.bool_]:
        """Return a list of rare pixels as a mask of shape (height, width)."""
        mask = np.zeros(self.maps.bias.size, np.bool_)
        mask[rare.index] = True
        return mask.reshape(self.maps.bias.shape)

    # --- one block of rows ------------------------------------------------------------------------------------------

    def _blocks(self, c: Conditions) -> list[slice]:
        """Return slices of sensor rows that together cover the subframe, each a multiple of the binning."""
        first, last = c.start_y * c.bin_y, (c.start_y + c.num_y) * c.bin_y
        step = max(1, BLOCK_PX // (c.num_x * c.bin_x) // c.bin_y) * c.bin_y
        return [slice(y, min(last, y + step)) for y in range(first, last, step)]

    def _columns(self, c: Conditions) -> slice:
        return slice(c.start_x * c.bin_x, (c.start_x + c.num_x) * c.bin_x)

    def _buffer(self, name: str, shape: tuple[int, int]) -> Floats:
        """Return this thread's buffer: fresh memory for every block would cost more than the arithmetic."""
        size = shape[0] * shape[1]
        held: Floats | None = getattr(self._scratch, name, None)
        if held is None or held.size < size:
            held = np.empty(size, np.float32)
            setattr(self._scratch, name, held)
        return held[:size].reshape(shape)

    def _electrons(self, c: Conditions, r: slice) -> Floats:
        """Return the mean signal of a block before the converter, in electrons."""
        x = self._columns(c)
        s = self._buffer("signal", (r.stop - r.start, x.stop - x.start))
        diffusion, depletion = dark_factors(c.temperature_c)
        t = c.exposure_s + self.params.readout_dark_s
        np.multiply(
            self.maps.trap[r, x],
            np.float32(t * self.params.dark_depletion_e_s * depletion * TRAP_STEP),
            out=s,
            dtype=np.float32,
        )
        s += np.float32(t * self.params.dark_diffusion_e_s * diffusion)
        self._add_rare(s, r, x, self.maps.hot, np.float32(t * depletion))
        self._add_glow(s, r, x, c.exposure_s)
        if c.leak_e:
            s += np.linspace(0.2, 1.8, self.maps.bias.shape[1], dtype=np.float32)[x] * np.float32(c.leak_e)
        if c.light_e:
            s += self._light(c, r, x)
        np.minimum(s, c.full_well_e, out=s)
        if self.params.nonlinearity:
            bend = np.multiply(s, s, out=self._buffer("other", s.shape))
            bend *= np.float32(self.params.nonlinearity / c.full_well_e)
            s -= bend
        return s

    def _light(self, c: Conditions, r: slice, x: slice) -> Floats:
        light = self._buffer("other", (r.stop - r.start, x.stop - x.start))
        np.multiply(self.maps.response[r, x], np.float32(c.light_e * RESPONSE_STEP), out=light, dtype=np.float32)
        for shadow in (*self._dust(None), *(self._dust(c.filter) if c.filter is not None else ())):
            _multiply_overlap(light, r, x, shadow)
        if self._colour:
            self._tint(light, r.start, x.start)
        return light

    def _tint(self, light: Floats, y0: int, x0: int) -> None:
        red, green, blue = self.params.colour_throughput
        for dy, dx, factor in ((0, 0, red), (0, 1, green), (1, 0, green), (1, 1, blue)):
            y, x = (dy + self._bayer[0] - y0) % 2, (dx + self._bayer[1] - x0) % 2
            light[y::2, x::2] *= np.float32(factor)

    def _dust(self, where: str | None) -> tuple[Shadow, ...]:
        if where not in self._shadows:
            height, width = self.maps.bias.shape
            self._shadows[where] = shadows(self.params, height=height, width=width, seed=self._seed, where=where)
        return self._shadows[where]

    def _add_glow(self, s: Floats, r: slice, x: slice, exposure_s: float) -> None:
        """Add the amplifier's glow: a corner, saturating with time, not proportional to it."""
        peak = self.params.glow_e * -np.expm1(-exposure_s / self.params.glow_tau_s)
        height, width = self.maps.bias.shape
        reach = height * 0.04
        if peak < 1e-3 or r.start > 8 * reach:
            return
        fall_y = np.exp(-np.arange(r.start, r.stop, dtype=np.float32) / np.float32(reach))[:, None]
        last = np.arange(width - 1, -1, -1, dtype=np.float32)[x] / np.float32(reach)
        s += np.float32(peak) * fall_y * np.exp(-last)

    def _add_bias(self, c: Conditions, r: slice, values: Floats) -> None:
        x = self._columns(c)
        part = self._buffer("other", values.shape)
        values += np.multiply(self.maps.bias[r, x], np.float32(BIAS_STEP_ADU), out=part, dtype=np.float32)
        slope = np.float32(c.temperature_c * SLOPE_STEP_ADU_PER_C)
        values += np.multiply(self.maps.slope[r, x], slope, out=part, dtype=np.float32)
        values += np.float32(c.pedestal_adu + c.temperature_c * self.params.drift_adu_per_c)

    def _noisy(self, c: Conditions, r: slice, frame: "_FrameNoise", rng: np.random.Generator) -> Floats:
        """Return a block with its noise, in ADU, not yet rounded."""
        x = self._columns(c)
        s = self._electrons(c, r)
        frame.add_cosmic_rays(s, r, x)
        sigma = self._buffer("other", s.shape)
        factor = np.float32(c.read_noise_e * NOISE_STEP)
        np.multiply(self.maps.noise[r, x], factor, out=sigma, dtype=np.float32)
        sigma *= sigma
        sigma += s
        np.sqrt(sigma, out=sigma)
        z = rng.standard_normal(dtype=np.float32, out=self._buffer("noise", s.shape))
        z *= sigma
        s += z
        self._add_rare(s, r, x, frame.jumps_e)
        s *= np.float32(1 / c.e_per_adu)
        self._add_bias(c, r, s)
        s += frame.row_adu[r, None]
        return s

    def _add_rare(self, s: Floats, r: slice, x: slice, rare: Rare, factor: np.float32 = _ONE) -> None:
        width = self.maps.bias.shape[1]
        part = rare.within(r.start * width, r.stop * width)
        row, column = np.divmod(rare.index[part] - r.start * width, width)
        inside = (column >= x.start) & (column < x.stop)
        s[row[inside], column[inside] - x.start] += rare.value[part][inside] * factor

    def _binned(self, c: Conditions, values: Floats) -> Floats:
        if c.bin_x == c.bin_y == 1:
            return values
        rows, columns = values.shape
        cells = values.reshape(rows // c.bin_y, c.bin_y, columns // c.bin_x, c.bin_x)
        return np.asarray(cells.sum((1, 3)) if self._bin_sum else cells.mean((1, 3)), np.float32)

    def _digitise(self, c: Conditions, values: Floats, out: NDArray[np.uint16]) -> None:
        """Clip each pixel, bin, round to the converter's step and store."""
        np.clip(values, 0, c.saturation_adu, out=values)
        binned = self._binned(c, values)
        step = self.params.step_adu
        if step == 1:
            binned += np.float32(0.5)
        else:
            np.floor(
                np.add(np.multiply(binned, np.float32(1 / step), out=binned), np.float32(0.5), out=binned), out=binned
            )
            binned *= np.float32(step)
        np.minimum(binned, self.params.full_scale_adu, out=binned)
        out[...] = binned


@dataclass(frozen=True, slots=True)
class _FrameNoise:
    """What one frame has of its own: offsets of rows [ADU], telegraph jumps [e-], hits (y, x, e-)."""

    row_adu: Floats
    jumps_e: Rare
    hits: tuple[tuple[int, int, float], ...]

    @classmethod
    def draw(cls, sensor: Sensor, c: Conditions) -> "_FrameNoise":
        """Draw the noise of a frame; the same start of the exposure gives the same noise."""
        rng = generator(sensor._seed, c.started_us, 0)  # noqa: SLF001 - the other half of the same class
        p, maps = sensor.params, sensor.maps
        common_adu = c.extra_adu + rng.normal(0, p.frame_noise_adu)
        rows = common_adu + p.row_noise_adu * rng.standard_normal(maps.bias.shape[0], dtype=np.float32)
        u = rng.random(maps.telegraph.index.size, dtype=np.float32)
        state = (u > 0.85).astype(np.float32) - (u < 0.15)
        mean_hits = p.cosmic_rays_per_cm2_min * sensor._area_cm2 * (c.exposure_s / 60)  # noqa: SLF001
        hits = tuple(hit for _ in range(rng.poisson(mean_hits)) for hit in _track(rng, maps.bias.shape, p.cosmic_ray_e))
        return cls(np.asarray(rows, np.float32), Rare(maps.telegraph.index, maps.telegraph.value * state), hits)

    def add_cosmic_rays(self, s: Floats, r: slice, x: slice) -> None:
        """Add the hits to the signal `s` [e-] of the rows `r` and columns `x`, in place."""
        for row, column, charge in self.hits:
            if r.start <= row < r.stop and x.start <= column < x.stop:
                s[row - r.start, column - x.start] += charge


def _track(rng: np.random.Generator, shape: tuple[int, ...], charge_e: float) -> list[tuple[int, int, float]]:
    """Return the pixels that one hit crosses on a straight way, with the charge it leaves in each."""
    length = int(rng.geometric(0.35))
    y, x, angle = rng.random() * shape[0], rng.random() * shape[1], rng.random() * 2 * np.pi
    total = rng.exponential(charge_e)
    return [(int(y + i * np.sin(angle)), int(x + i * np.cos(angle)), total / length) for i in range(length)]


def _multiply_overlap(light: Floats, r: slice, x: slice, shadow: Shadow) -> None:
    height, width = shadow.factor.shape
    y0, y1 = max(r.start, shadow.y), min(r.stop, shadow.y + height)
    x0, x1 = max(x.start, shadow.x), min(x.stop, shadow.x + width)
    if y0 < y1 and x0 < x1:
        part = shadow.factor[y0 - shadow.y : y1 - shadow.y, x0 - shadow.x : x1 - shadow.x]
        light[y0 - r.start : y1 - r.start, x0 - x.start : x1 - x.start] *= part
