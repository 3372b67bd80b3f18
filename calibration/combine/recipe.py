"""What combining is asked for and what it answers: frozen records, no arithmetic on pixels.

A `Recipe` says how outliers among the n samples of a pixel are found; `BandPlanes` is what becomes of a band of rows.

Samples are rounded to a step of the converter, and so is their median. Therefore a sample is an outlier only where it
is beyond the bounds whatever the two were before: every clipping method keeps what is within k times its spread *and a
step* of the median. Without the step, a noise of about one step makes any value but the commonest an outlier, and the
mean is drawn to a whole number. `median` spreads samples that equal it over their step, as `statistics.median_grouped`.
The numbers (uncertainty, mask bits, methods) are those every master carries in its planes.
"""

from dataclasses import dataclass
from enum import IntFlag, StrEnum

import numpy as np
from numpy.typing import NDArray

from calibration.combine.truncation import truncation_factor, widening_factor


class Method(StrEnum):
    """How outliers are found. `NOISE_MODEL` is never asked for: it stands in for clipping below 10 frames."""

    SIGMA_CLIP = "sigma_clip"
    MAD = "mad"
    WINSORIZED = "winsorized"
    MINMAX = "minmax"
    MEDIAN = "median"
    NONE = "none"
    NOISE_MODEL = "noise_model"


class MaskBit(IntFlag):
    """Bits of a master's MASK plane.

    CHANGED pixels differ from those of the last certified master by more than noise, temperature and smooth changes
    explain. WARM (a few ADU above its neighbours) and LOW_RESPONSE (less sensitive than its
    neighbours) are for whoever looks: such pixels are not repaired, and no flat inherits them.
    """

    HOT = 1
    DEAD = 2
    NOISY = 4
    SATURATED = 8
    LOW_COUNT = 16
    NO_DATA = 32
    CHANGED = 64
    INHERITED = 128
    WARM = 256
    LOW_RESPONSE = 512


SMALL_N = 10
"""Below this many frames the spread of a pixel's own samples cannot show an outlier (3 sigma: never up to n = 7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseModel:
    """The noise one sample should have.

    Variance [ADU²] at a level L: ``read_noise_adu**2 + max(L - pedestal_adu, 0) / gain_e_adu``.

    Attributes
    ----------
    read_noise_adu : float
    gain_e_adu : float
        Conversion gain in electrons per ADU.
    pedestal_adu : float
        Level without any signal; 0 when a dark is subtracted.
    """

    read_noise_adu: float
    gain_e_adu: float
    pedestal_adu: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the frames of one group are combined.

    Attributes
    ----------
    method : Method
    sigma : float
        Threshold k of the clipping methods, in standard deviations.
    max_iterations : int
        Passes of `sigma_clip` and `mad`.
    step_adu : float
        Step of the converter in the units of the *combined* values: samples are rounded to it.
    sample_adu : float, optional
        Typical noise of a sample, rounding included. Together with the step it says how much the bounds cut from the
        noise (`factor_for`); None: so much that the step does not count.
    noise : NoiseModel, optional
        Serves clipping below 10 frames, and the uncertainty of a pixel with a single sample.
    saturation_adu : float, optional
        Raw samples at or above it are saturated; None knows no saturation.
    min_fraction : float
        Pixels that keep less than this fraction of the samples (`minmax`: of those it can keep) are marked LOW_COUNT.
    """

    method: Method = Method.SIGMA_CLIP
    sigma: float = 3.0
    max_iterations: int = 5
    step_adu: float = 1.0
    sample_adu: float | None = None
    noise: NoiseModel | None = None
    saturation_adu: float | None = None
    min_fraction: float = 0.5

    def method_for(self, n: int) -> Method:
        """Return the method used for n frames: the noise model replaces clipping where n is too small for it."""
        clips = self.method in {Method.SIGMA_CLIP, Method.MAD}
        return Method.NOISE_MODEL if clips and n < SMALL_N and self.noise is not None else self.method

    def blind_for(self, n: int) -> bool:
        """Return whether n frames are too few for this method to see a single outlier reliably."""
        return n < SMALL_N and self.method_for(n) in {Method.SIGMA_CLIP, Method.MAD, Method.WINSORIZED}

    def factor_for(self, n: int) -> float:
        """Return c (SIGCORR) of ``SIGMA = c s / √COUNT`` for n frames."""
        return truncation_factor(self.method_for(n), n, self.sigma, self.steps)

    def widening_for(self, n: int) -> float:
        """Return the noise of a sample over the s of what is kept of n frames."""
        return widening_factor(self.method_for(n), n, self.factor_for(n))

    @property
    def steps(self) -> float:
        """Step of the converter in standard deviations of a sample; of no more noise than rounding alone at most."""
        if self.step_adu <= 0 or self.sample_adu is None:
            return 0.0
        return self.step_adu / max(self.sample_adu, self.step_adu / 12**0.5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BandPlanes:
    """A combined band.

    Attributes
    ----------
    mean : ndarray of float32, shape (rows, x)
        In ADU (scaled as asked); NaN where nothing survives.
    sigma : ndarray of float32, shape (rows, x)
        1σ uncertainty of `mean`: c·s/√count, s with ddof 1 over the survivors; NaN where count < 2 and no noise model.
    count : ndarray of uint16, shape (rows, x)
        Surviving samples.
    mask : ndarray of uint16, shape (rows, x)
        `MaskBit` SATURATED, LOW_COUNT and NO_DATA, and NOISY for pixels that jump: clipping would hide them.
    """

    mean: NDArray[np.float32]
    sigma: NDArray[np.float32]
    count: NDArray[np.uint16]
    mask: NDArray[np.uint16]
