"""Folders of FITS flats, darks and biases of a made sensor, one session a night."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.frames import Frame, FrameHeader, FrameKind
from services.files.fits import write_frame
from tests.support.made_structures import Change, Sensor

FIRST = datetime(2026, 3, 1, 20, tzinfo=UTC)


def write_epoch(
    folder: Path,
    kind: FrameKind,
    frames: NDArray[np.generic],
    *,
    night: int,
    celsius: float = 0.0,
    exposure_s: float = 10.0,
    dated: bool = True,
) -> list[Path]:
    """Write the frames of one kind, night and temperature; nights are ten days apart."""
    paths = []
    for i, pixels in enumerate(frames):
        header = FrameHeader(
            kind=kind,
            shape=(pixels.shape[0], pixels.shape[1]),
            exposure_us=round(1e6 * exposure_s),
            ccd_temp_c=celsius,
            date_obs=FIRST + timedelta(days=10 * night, minutes=celsius + 30, seconds=i) if dated else None,
            instrument="Camera",
            saturation_adu=65520.0,
        )
        path = (
            folder / f"night{night}" / f"{kind.lower()}_T{celsius:g}_E{exposure_s:g}" / f"{kind.lower()}_{i:04d}.fits"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_frame(path, Frame(header=header, pixels=pixels))
        paths.append(path)
    return paths


def write_series(
    folder: Path,
    sensor: Sensor,
    nights: Sequence[Mapping[str, Change]],
    *,
    n: int = 4,
    temperatures: Sequence[float] = (0.0,),
    lights: Sequence[float] = (),
    dark: Mapping[int, NDArray[np.float64]] | None = None,
    calibration: bool = True,
) -> None:
    """Write flats of some nights, with what is there in each; `dark` adds electrons per second
    from a night on, in flats too."""
    for night, changes in enumerate(nights):
        sensor.dark = sensor.dark + (dark or {}).get(night, 0.0)
        for celsius in temperatures:
            light = lights[night] if lights else 450.0
            frames = sensor.frames(n, light=light, changes=list(changes.values()), drift=0.02 * night)
            write_epoch(folder, FrameKind.FLAT, frames, night=night, celsius=celsius)
            if calibration:
                write_epoch(folder, FrameKind.DARK, sensor.darks(n), night=night, celsius=celsius)
                biases = sensor.darks(n, exposure_s=0.0)
                write_epoch(folder, FrameKind.BIAS, biases, night=night, celsius=celsius, exposure_s=0.0)
