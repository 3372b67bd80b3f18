"""Folders of FITS flats and darks of the detector of `made_flats`; files of each folder have the same names."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.frames import Frame, FrameHeader, FrameKind
from services.files.fits import write_frame
from tests.support.made_flats import PRNU, SHAPE, Plane, dust, grid, vignetting

BIAS, NOISE, GAIN = 500.0, 4.0, 1.0
LEVEL = 30_000.0
CONDITIONS = ((0.0, 2.0), (10.0, 2.0), (20.0, 2.0), (0.0, 6.0), (10.0, 6.0), (20.0, 6.0))


def flat_truth(seed: int = 1) -> Plane:
    """Return the flat at 10 °C."""
    rng = np.random.default_rng(seed)
    return vignetting() * dust() * (1 + PRNU * rng.standard_normal(SHAPE))


def slope_truth(seed: int = 1) -> Plane:
    """Return how much the response of each pixel changes with each degree, relative to the flat."""
    return 1e-3 * np.random.default_rng(seed + 100).standard_normal(SHAPE)


def write_one(
    path: Path,
    pixels: NDArray[np.generic],
    kind: FrameKind,
    celsius: float | None,
    seconds: float,
    number: int,
    **more: object,
) -> Path:
    """Write one frame."""
    header = FrameHeader(
        kind=kind,
        shape=(pixels.shape[0], pixels.shape[1]),
        exposure_us=round(seconds * 1e6),
        ccd_temp_c=celsius,
        date_obs=datetime(2026, 3, 1, 20, tzinfo=UTC) + timedelta(seconds=number),
        instrument="Camera",
        **more,  # type: ignore[arg-type]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frame(path, Frame(header=header, pixels=pixels))
    return path


def write_flats(
    folder: Path,
    *,
    conditions: tuple[tuple[float, float], ...] = CONDITIONS,
    n: int = 4,
    filters: tuple[str | None, ...] = ("R",),
    slope: float = 1.0,
    darks: bool = True,
    seed: int = 1,
    stars: int = 0,
    mosaic: bool = False,
) -> None:
    """Write n flats for each condition and filter, and n darks for each condition; equal names in all folders.

    With a `mosaic` red is half as bright as green, and blue three quarters.
    """
    rng, number = np.random.default_rng(seed), 0
    flat, change = flat_truth(), slope * slope_truth()
    y, x = grid()
    more = {"bayer_pattern": "RGGB"} if mosaic else {}
    if mosaic:
        flat = flat * np.tile([[0.5, 1.0], [1.0, 0.75]], (SHAPE[0] // 2, SHAPE[1] // 2))
    for name in filters:
        for celsius, seconds in conditions:
            for i in range(n):
                number += 1
                lamp = LEVEL * (1 + 0.02 * rng.standard_normal())
                light = lamp * flat * (1 + change * (celsius - 10))
                for _ in range(stars):
                    row, column = rng.uniform(0, SHAPE[0]), rng.uniform(0, SHAPE[1])
                    light = light + 15_000 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4)
                values = BIAS + _dark(celsius, seconds) + rng.poisson(light) + NOISE * rng.standard_normal(SHAPE)
                path = folder / "flats" / f"{name or 'none'}_T{celsius:g}_E{seconds:g}" / f"flat_{i}.fits"
                write_one(path, _counts(values), FrameKind.FLAT, celsius, seconds, number, filter=name, **more)
    for celsius, seconds in conditions if darks else ():
        for i in range(n):
            number += 1
            values = BIAS + _dark(celsius, seconds) + NOISE * rng.standard_normal(SHAPE)
            path = folder / "darks" / f"T{celsius:g}_E{seconds:g}" / f"dark_{i}.fits"
            write_one(path, _counts(values), FrameKind.DARK, celsius, seconds, number, **more)


def _dark(celsius: float, seconds: float) -> float:
    return 2.0 * seconds * 2 ** (celsius / 6)


def _counts(values: Plane) -> NDArray[np.uint16]:
    return np.clip(np.rint(values), 0, 65535).astype(np.uint16)
