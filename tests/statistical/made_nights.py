"""Masters of one camera from many nights, made with the statistics of N combined frames: what is healthy, what is not.

A camera has a pattern, hot pixels with dark currents of their own, a glow in one corner, and pixels that jump between
levels. Between nights the level wanders, the temperature differs, some pixels become hot and others recover, and
flats have other dust. `N` is 5 to 100 frames; some cameras have a converter of 12 bits (steps of 16 ADU): their frames
are really made and rounded, for rounding has other statistics than noise.
"""

from dataclasses import dataclass, field

import numpy as np

from calibration.comparing.records import MasterFacts, MasterPlanes
from calibration.frames import FrameKind

GAIN_E_ADU = 0.25
WANDER_ADU = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a night; everything else of it is healthy."""

    level_adu: float = 0.0
    noise: float = 1.0
    leak_adu: float = 0.0
    new_per_megapixel: float = 0.0
    gain: float = 1.0
    gradient: float = 0.0


HEALTHY = Fault()


@dataclass(slots=True, kw_only=True)
class MadeCamera:
    """One camera; what it is made of is drawn once."""

    rng: np.random.Generator
    shape: tuple[int, int]
    step: int = 1
    noise_adu: float = 8.0
    exposure_s: float = 600.0
    pattern: np.ndarray = field(init=False)
    rates: np.ndarray = field(init=False)
    glow: np.ndarray = field(init=False)
    jumps: np.ndarray = field(init=False)
    light: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng, (height, width) = self.rng, self.shape
        self.pattern = (
            rng.normal(0.0, 2.0, self.shape) + rng.normal(0.0, 1.0, width) + rng.normal(0.0, 0.5, (height, 1))
        )
        hot = rng.random(self.shape) < 0.01
        self.rates = 0.02 + hot * rng.exponential(0.5, self.shape)  # ADU/s at the set-point
        y, x = np.mgrid[:height, :width]
        self.glow = 60.0 * np.exp(-((height - y) / (0.2 * height)) - ((width - x) / (0.2 * width)))
        self.jumps = (rng.random(self.shape) < 0.01) * rng.exponential(2.0 * self.noise_adu / 3, self.shape)
        self.light = 1.0 - 0.3 * (((y / height - 0.5) ** 2) + ((x / width - 0.5) ** 2))

    def dust(self, number: int) -> np.ndarray:
        """Return the shadows of some grains: discs of 3 to 30 pixels, 1 to 12 % deep."""
        height, width = self.shape
        found = np.ones(self.shape)
        for _ in range(number):
            radius = int(self.rng.uniform(3, max(4, min(30, height // 10))))
            top, left = int(self.rng.integers(0, height)), int(self.rng.integers(0, width))
            y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
            ys, xs = np.clip(y + top, 0, height - 1), np.clip(x + left, 0, width - 1)
            found[ys, xs] *= 1.0 - self.rng.uniform(0.01, 0.12) * (y**2 + x**2 <= radius**2)
        return found

    def night(self, kind: FrameKind, frames: int, *, of: "Night | None" = None, fault: Fault = HEALTHY) -> "Night":
        """Return a night after another one, or the first."""
        rng, size = self.rng, self.shape[0] * self.shape[1]
        rates, pattern = (self.rates, self.pattern) if of is None else (of.rates.copy(), of.pattern.copy())
        if of is not None:  # one pixel in ten thousand has changed
            for at in rng.integers(0, size, rng.poisson(1e-4 * size)):
                where = np.unravel_index(at, self.shape)
                if rng.random() < 0.5:
                    rates[where] = 0.02
                    pattern[where] = rng.normal(0.0, 2.0)
                else:
                    rates[where] += rng.exponential(0.3)
                    pattern[where] += rng.choice([-1.0, 1.0]) * rng.exponential(60.0) * (kind is FrameKind.BIAS)
        wander = 0.0 if of is None else rng.normal(0.0, WANDER_ADU)
        return Night(
            camera=self, kind=kind, frames=frames, rates=rates, pattern=pattern, wander=wander + fault.level_adu,
            temperature_c=-10.0 + rng.uniform(-0.5, 0.5), dust=self.dust(4 if of is None else 7), fault=fault,
            exposure_us=float(rng.uniform(0.5e6, 4e6)), brightness=float(rng.integers(20, 200)),
            light_adu=float(rng.uniform(18_000, 32_000)),
        )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Night:
    """What makes the master of one night."""

    camera: MadeCamera
    kind: FrameKind
    frames: int
    rates: np.ndarray
    pattern: np.ndarray
    wander: float
    temperature_c: float
    dust: np.ndarray
    fault: Fault
    exposure_us: float
    brightness: float
    light_adu: float

    def master(self) -> MasterPlanes:
        """Return its master: MEAN, SIGMA and facts, as combining and measuring frames gives them."""
        camera, rng, fault = self.camera, self.camera.rng, self.fault
        height, width = camera.shape
        warmer = 2.0 ** ((self.temperature_c + 10.0) / 6.0)
        dark = warmer * (self.rates * camera.exposure_s + camera.glow) if self.kind is FrameKind.DARK else 0.0
        light = self.light_adu * camera.light * self.dust * (1 + fault.gradient * (np.arange(width) / width - 0.5))
        electrons_adu = light if self.kind is FrameKind.FLAT else dark
        truth = 500.0 + self.wander + fault.gain * (self.pattern + electrons_adu)
        truth = truth + fault.leak_adu * (np.arange(height)[:, None] / height)
        truth.ravel()[rng.choice(truth.size, round(fault.new_per_megapixel / 1e6 * truth.size), replace=False)] += 100.0
        shot = np.maximum(electrons_adu, 0.0) / GAIN_E_ADU
        sigma = fault.noise * fault.gain * np.sqrt(camera.noise_adu**2 + shot) * np.ones(camera.shape)
        state = (rng.random(camera.shape) - 0.5) * camera.jumps / np.sqrt(self.frames)  # slow jumps average badly
        mean, error = self._combined(truth + state, sigma)
        level = float(np.median(mean))
        noise = (
            float(np.median(sigma)) if camera.step == 1 else float(np.sqrt(np.median(sigma) ** 2 + camera.step**2 / 12))
        )
        noise *= 1.0 + rng.normal(0.0, np.sqrt(0.5 / (height * width * (self.frames - 1))))
        scale = self._level(mean) if self.kind is FrameKind.FLAT else 1.0
        facts = MasterFacts(
            kind=self.kind, frames=self.frames, noise_adu=noise, sigma=float(np.median(error)) / scale,
            level_adu=scale if self.kind is FrameKind.FLAT else level, temperature_c=self.temperature_c,
            pedestal_adu=500.0, gain_e_adu=GAIN_E_ADU,
            exposure_us=self.light_adu / 25_000 * 1e6 * 40 / self.brightness, brightness=self.brightness,
        )  # fmt: skip
        offset = 500.0 + self.wander if self.kind is FrameKind.FLAT else 0.0
        planes = ((mean - offset) / scale).astype(np.float32), (error / scale).astype(np.float32)
        return MasterPlanes(mean=planes[0], sigma=planes[1], facts=facts)

    def _level(self, mean: np.ndarray) -> float:
        return float(np.mean(mean) - 500.0 - self.wander)

    def _combined(self, truth: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rng, n, step = self.camera.rng, self.frames, self.camera.step
        if step == 1:
            scatter = np.sqrt(rng.chisquare(n - 1, truth.shape) / (n - 1))
            return rng.normal(truth, sigma / np.sqrt(n)), np.hypot(sigma * scatter, 12**-0.5) / np.sqrt(n)
        frames = np.stack([np.rint(rng.normal(truth, sigma) / step) * step for _ in range(n)])
        return frames.mean(axis=0), np.maximum(frames.std(axis=0, ddof=1), step / 12**0.5) / np.sqrt(n)


def pair(
    kind: FrameKind, seed: int, *, fault: Fault = HEALTHY, side: tuple[int, int] = (500, 640)
) -> tuple[MasterPlanes, MasterPlanes]:
    """Return the masters of two nights of one camera, the later one first, with a fault; the seed draws all else."""
    rng = np.random.default_rng(seed)
    coarse = seed % 5 == 4
    shape = tuple(int(rng.integers(*side)) for _ in range(2))
    noise_adu, exposure_s = rng.uniform(12, 20) if coarse else rng.uniform(3, 15), rng.choice([60.0, 300.0, 600.0])
    camera = MadeCamera(
        rng=rng, shape=shape, step=16 if coarse else 1, noise_adu=float(noise_adu), exposure_s=float(exposure_s)
    )
    numbers = [int(n) for n in rng.choice([5, 5, 8, 10] if coarse else [5, 10, 20, 40, 100], 2)]
    first = camera.night(kind, numbers[0])
    second = camera.night(kind, numbers[1], of=first, fault=fault)
    return second.master(), first.master()
