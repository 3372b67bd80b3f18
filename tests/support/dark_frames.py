"""Folders of FITS darks and biases of a detector of which every number is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.frames import Frame, FrameHeader, FrameKind
from services.files.fits import write_frame
from tests.support.made_darks import BIAS_ADU, GAIN_ADU_E, READ_E, STEP_ADU, Rate, arrhenius

TEMPERATURES_C, EXPOSURES_S = (-10.0, 0.0, 10.0, 20.0), (1.0, 20.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DarkSite:
    """A sensor whose first pixels are hot; `folder` is where its frames are written.

    The levels of whole frames scatter by `drift_adu`.
    """

    folder: Path
    rate: Rate
    bias: NDArray[np.float64]
    slope: NDArray[np.float64]
    rng: np.random.Generator
    shape: tuple[int, int]
    drift_adu: float = 0.0

    def truth(self, celsius: float, seconds: float) -> NDArray[np.float64]:
        """Return the dark signal in ADU, a plane."""
        return np.asarray(self.rate(celsius) * (seconds * GAIN_ADU_E)).reshape(self.shape)

    def pixels(self, celsius: float, seconds: float) -> NDArray[np.uint16]:
        """Return a frame in steps of 16 ADU."""
        electrons = self.rng.poisson(self.truth(celsius, seconds) / GAIN_ADU_E)
        electrons = electrons + READ_E * self.rng.standard_normal(self.shape)
        level = self.drift_adu * self.rng.standard_normal() if self.drift_adu else 0.0
        adu = self.bias + self.slope * celsius + level + GAIN_ADU_E * electrons
        return (np.clip(np.rint(adu / STEP_ADU), 0, 4095) * STEP_ADU).astype(np.uint16)

    def write(
        self, name: str, pixels: NDArray[np.generic], celsius: float | None, seconds: float, **more: object
    ) -> Path:
        """Write a frame: a bias where it has no exposure; `more` are fields of its header."""
        number = len(list(self.folder.rglob("*.fits")))
        header = FrameHeader(
            kind=FrameKind.DARK if seconds else FrameKind.BIAS,
            shape=(pixels.shape[0], pixels.shape[1]),
            exposure_us=round(seconds * 1e6) or 32,
            ccd_temp_c=celsius,
            date_obs=datetime(2026, 3, 1, 22, tzinfo=UTC) + timedelta(minutes=number),
            instrument="Camera",
            **more,  # type: ignore[arg-type]
        )
        path = self.folder / name / f"frame_{number:04d}.fits"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_frame(path, Frame(header=header, pixels=pixels))
        return path

    def take(self, celsius: float, seconds: float, n: int, **more: object) -> list[Path]:
        """Write n equal frames."""
        name = f"T{celsius:g}_{seconds:g}s"
        return [self.write(name, self.pixels(celsius, seconds), celsius, seconds, **more) for _ in range(n)]


def dark_site(
    folder: Path, seed: int = 1, *, shape: tuple[int, int] = (16, 24), hot: int = 6, drift_adu: float = 0.0
) -> DarkSite:
    """Return a sensor whose frames are not written yet."""
    rng = np.random.default_rng(seed)
    return DarkSite(
        folder=folder,
        rate=arrhenius(rng, shape[0] * shape[1], hot=hot),
        bias=BIAS_ADU + 24 * rng.standard_normal(shape),
        slope=1.6 + 0.3 * rng.standard_normal(shape),
        rng=rng,
        shape=shape,
        drift_adu=drift_adu,
    )


def whole_site(
    folder: Path,
    *,
    temperatures: Sequence[float] = TEMPERATURES_C,
    exposures: Sequence[float] = EXPOSURES_S,
    n: int = 4,
    biases: bool = True,
) -> DarkSite:
    """Return a sensor with n frames of each temperature and exposure, and as many biases of each temperature."""
    site = dark_site(folder)
    for celsius in temperatures:
        for seconds in (*((0.0,) if biases else ()), *exposures):
            site.take(celsius, seconds, n)
    return site
