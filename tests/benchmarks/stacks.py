"""Sets of raw frames on disk, as benchmarks of combining need them: hundreds of megabytes each, quickly made."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from calibration.frames import Frame, FrameHeader, FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow
from services.files.fits import write_frame
from services.files.layout import Layout

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def write_set(
    layout: Layout,
    catalogue: Catalogue,
    n: int,
    shape: tuple[int, int],
    *,
    kind: FrameKind = FrameKind.DARK,
    level_adu: float = 500.0,
    exposure_s: float = 5.0,
    set_id: str = "stack",
    seed: int = 1,
) -> list[Path]:
    """Write and catalogue n frames: column pattern, hot pixels, cosmic hits, and noise that is drawn once and rolled.

    Noise is Gaussian: 6 ADU, and the shot noise of what is above 500 ADU at 2 ADU/e-. Flats drift by some percent.
    """
    rng = np.random.default_rng(seed)
    sigma = np.sqrt(36.0 + 2.0 * max(0.0, level_adu - 500.0))
    noise = rng.normal(0.0, sigma, shape).astype(np.float32)
    pattern = rng.normal(0.0, 3.0, shape[1]).astype(np.float32)
    hot = rng.integers(0, noise.size, noise.size // 1000)
    paths = []
    for k in range(n):
        drift = 1 + 0.01 * np.sin(k) if kind is FrameKind.FLAT else 1.0
        values = np.roll(noise.ravel(), int(rng.integers(noise.size))).reshape(shape)
        values += pattern + np.float32(500.0 + (level_adu - 500.0) * drift)
        values.flat[hot] += 800.0
        values.flat[rng.integers(0, noise.size, noise.size // 125_000)] += 3000.0
        pixels = np.clip(np.rint(values, out=values), 0, 65_535).astype(np.uint16)
        header = FrameHeader(
            kind=kind,
            shape=shape,
            exposure_us=round(exposure_s * 1e6),
            date_obs=STARTED + timedelta(seconds=k),
            night="2026-01-01",
            set_id=set_id,
            frame_no=k + 1,
            set_temp_c=-10.0,
            ccd_temp_c=-10.0,
            source="panel" if kind is FrameKind.FLAT else None,
        )
        stored = write_frame(layout.frame_path(header, wheel=False), Frame(header=header, pixels=pixels))
        row = FrameRow.of(
            header,
            path=layout.relative(stored.path),
            pixel_sha256=stored.pixel_sha256,
            size=stored.size,
            mtime_ns=stored.mtime_ns,
        )
        level = float(np.median(pixels[shape[0] // 2]))
        catalogue.add_frame(replace(row, level_adu=level))
        paths.append(stored.path)
    return paths
