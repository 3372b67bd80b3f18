"""Folders of FITS biases made of `made_biases`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.frames import Frame, FrameHeader, FrameKind
from services.files.fits import write_frame
from tests.support.made_biases import Biases


def write_biases(folder: Path, made: Biases, **more: object) -> list[Path]:
    """Write the frames, one session a night; `more` are fields of their headers."""
    return [
        write_bias(
            folder / f"night{made.session[i]}" / f"T{made.label_c[i]:g}" / f"bias_{i:04d}.fits",
            pixels,
            float(made.temperature_c[i]),
            at=datetime(2026, 3, 1, 22, tzinfo=UTC) + timedelta(days=int(made.session[i]), seconds=i),
            **more,
        )
        for i, pixels in enumerate(made.frames)
    ]


def write_bias(
    path: Path, pixels: NDArray[np.generic], celsius: float | None, *, at: datetime | None = None, **more: object
) -> Path:
    """Write one bias."""
    header = FrameHeader(
        kind=FrameKind.BIAS,
        shape=(pixels.shape[0], pixels.shape[1]),
        exposure_us=32,
        ccd_temp_c=celsius,
        date_obs=at,
        instrument="Camera",
        **more,  # type: ignore[arg-type]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frame(path, Frame(header=header, pixels=pixels))
    return path
