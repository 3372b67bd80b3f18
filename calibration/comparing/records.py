"""What is known of two masters that are compared, and what was found."""

from dataclasses import dataclass, fields
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from calibration.frames import FrameKind

F32 = NDArray[np.float32]

DOUBLING_C = 6.0
"""Degrees over which the dark signal of a silicon sensor doubles, about."""

_LEAST_ADU, _LEAST_PART = 1.0, 0.01
"""A pixel whose level differs by less has not changed: of biases and darks, and of flats relative to their light."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterFacts:
    """What is known of a master beside its planes; None or NaN where it is not known.

    Attributes
    ----------
    kind : FrameKind
    frames : int
        Combined.
    noise_adu : float
        Of one frame, pixel by pixel.
    sigma : float
        Typical SIGMA of MEAN: in ADU, of flats relative to the light.
    level_adu : float
        Of MEAN; of flats that of a frame above its dark.
    temperature_c : float
        Of the sensor.
    pedestal_adu : float
        Level without dark signal, for darks: that of a bias.
    gain_e_adu : float
        Electrons per ADU.
    exposure_us, brightness : float
        Of flats, with a panel.
    level_wander_adu : float
        Standard deviation of the level of one earlier master of this kind from that of the next, where it was learned.
    """

    kind: FrameKind
    frames: int
    noise_adu: float | None = None
    sigma: float | None = None
    level_adu: float | None = None
    temperature_c: float | None = None
    pedestal_adu: float | None = None
    gain_e_adu: float | None = None
    exposure_us: float | None = None
    brightness: float | None = None
    level_wander_adu: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What is common to all pixels of two masters.

    Attributes
    ----------
    kind : FrameKind
    factor : float
        The new MEAN times this is comparable with the old one: 1 for biases and darks.
    shift : float
        What the new one is higher by then, in ADU; 0 for flats.
    shape, shape_limit : float
        Range of the smooth difference over the frame, and what is usual; ADU, of flats relative.
    sigma_new, sigma_old : float
        Typical SIGMA of both, comparable.
    level : float
        Above it, a pixel of the old master has a signal of its own; ADU.
    strong : float
        A change of a single pixel that is more than noise or telegraph noise; ADU.
    shot_new, shot_old : float
        Variance that a signal of its own gives a pixel of both, in ADU² per ADU; 0 where the gain is not known.
    """

    kind: FrameKind
    factor: float
    shift: float
    shape: float
    shape_limit: float
    sigma_new: float
    sigma_old: float
    level: float
    strong: float
    shot_new: float = 0.0
    shot_old: float = 0.0

    @property
    def sigma(self) -> float:
        """Typical noise of the difference of two pixels."""
        return sqrt(self.sigma_new**2 + self.sigma_old**2)

    @property
    def least(self) -> float:
        """A smaller difference of a pixel is no change."""
        return max(_LEAST_PART if self.kind is FrameKind.FLAT else _LEAST_ADU, self.shape)


@dataclass(slots=True, kw_only=True)
class Changes:
    """Counts of pixels, added up band by band.

    Attributes
    ----------
    pixels : int
        All.
    odd, very_odd : int
        With |z| above 5 and 6, whatever they differ by.
    changed : int
        That get the CHANGED flag: beyond 6 sigma, beyond what is smooth and beyond their own signal's wandering.
    brighter, darker : int
        That differ strongly, beyond what noise of single frames and jumps between levels do.
    """

    pixels: int = 0
    odd: int = 0
    very_odd: int = 0
    changed: int = 0
    brighter: int = 0
    darker: int = 0

    def add(self, other: "Changes") -> None:
        """Add the counts of another band."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MasterPlanes:
    """A master in memory: MEAN and SIGMA, shape (y, x), and its facts."""

    mean: F32
    sigma: F32 | None
    facts: MasterFacts


def apart_c(after: MasterFacts, before: MasterFacts) -> float:
    """Return how much warmer the new one is; darks alone depend on it."""
    warmer = minus(after.temperature_c, before.temperature_c)
    return warmer if warmer is not None and after.kind is FrameKind.DARK else 0.0


def known(value: float | None) -> float | None:
    """Return a number, None for NaN."""
    return value if value is not None and np.isfinite(value) else None


def minus(a: float | None, b: float | None) -> float | None:
    """Return the difference of two numbers, None unless both are known."""
    a, b = known(a), known(b)
    return None if a is None or b is None else a - b


def over(a: float | None, b: float | None, expected: float = 1.0) -> float | None:
    """Return the ratio of two numbers over what it should be, None unless both are known."""
    a, b = known(a), known(b)
    return None if a is None or not b else a / b / expected
