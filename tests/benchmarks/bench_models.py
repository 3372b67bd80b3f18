"""A bias model of rows as wide as a 61-megapixel frame: seconds and memory by the number of frames, beside numpy.

The peer is the straightforward way: all frames in memory, a median for each temperature, one least squares over the
medians. It judges no frame, gives no error, and predicts no temperature that it has not seen. The frames are read from
the page cache by both sides.
"""

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits

from services.models.bias import Asked, fit
from services.workflow.compiling import compile_all
from tests.benchmarks.harness import Row, in_child
from tests.support.bias_frames import write_bias

WIDTH, HEIGHT = 9576, 400
COUNTS = (20, 60, 120)
TEMPERATURES = (-10.0, -5.0, 0.0, 10.0, 20.0)
MEMORY_GOAL_MB = 1074.0
GROWTH_GOAL = 1.3
"""Memory of the most frames over that of the fewest."""
SPEED_GOAL = 1.0


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield rows for the time and the memory of a fit, by the number of frames."""
    shape = (HEIGHT // 8, WIDTH // 8) if quick else (HEIGHT, WIDTH)
    counts = COUNTS[:2] if quick else COUNTS
    compile_all()
    peaks: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-models-", dir=Path.cwd()) as folder:
        for n in counts:
            base = Path(folder) / f"of_{n}"
            _write(base, n, shape)
            ours, peak = in_child(_fit, base)
            peer, peer_peak = in_child(_peer, base)
            peaks.append(peak)
            whole = 61.7e6 / (shape[0] * shape[1])
            yield Row(
                figure=f"bias model of {n} frames of {shape[1]} x {shape[0]}",
                goal=f">= {SPEED_GOAL:g} x numpy" if n == counts[-1] else "",
                measured=f"{ours:.1f} s, {1000 * ours / n * whole:.0f} ms a 61 MP frame",
                ratio=peer / ours,
                met=peer / ours >= SPEED_GOAL if n == counts[-1] else None,
                peak_mb=peak,
                peer=f"numpy: {peer:.1f} s, {peer_peak:.0f} MB",
            )
    yield Row(
        figure="  its memory, the most frames over the fewest",
        goal=f"<= {GROWTH_GOAL:g}, {MEMORY_GOAL_MB:.0f} MB",
        measured=f"{max(peaks):.0f} MB",
        ratio=peaks[-1] / peaks[0],
        met=peaks[-1] / peaks[0] <= GROWTH_GOAL and max(peaks) <= MEMORY_GOAL_MB,
        peak_mb=max(peaks),
    )


def _write(base: Path, n: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(n)
    pattern = 1000 + 5 * rng.standard_normal(shape, dtype=np.float32)
    noises = [3 * rng.standard_normal(shape, dtype=np.float32) for _ in range(4)]
    for i in range(n):
        celsius, session = TEMPERATURES[i * len(TEMPERATURES) // n], i % 2
        noise = np.roll(noises[i % 4], (37 * i, 911 * i), (0, 1))
        pixels = np.rint(pattern + 0.1 * celsius + 0.5 * session + noise).astype(np.uint16)
        at = datetime(2026, 3, 1 + session, 22, tzinfo=UTC) + timedelta(seconds=i)
        write_bias(base / f"night{session}" / f"bias_{i:04d}.fits", pixels, celsius, at=at)


def _fit(base: Path) -> float:
    start = time.perf_counter()
    fit(base, base.with_name(f"{base.name}_model"), Asked())
    return time.perf_counter() - start


def _peer(base: Path) -> float:
    start = time.perf_counter()
    frames: dict[float, list[np.ndarray]] = {}
    for path in sorted(base.rglob("*.fits")):
        with fits.open(path, memmap=False) as units:
            frames.setdefault(units[0].header["CCD-TEMP"], []).append(units[0].data.astype(np.float32))
    medians = np.stack([np.median(some, axis=0) for some in frames.values()])
    design = np.stack([np.ones(len(frames)), np.array(list(frames))], axis=1)
    theta = np.linalg.lstsq(design, medians.reshape(len(frames), -1), rcond=None)[0]
    fits.writeto(base.with_name(f"{base.name}_maps.fits"), theta.reshape(2, *medians.shape[1:]).astype(np.float32))
    return time.perf_counter() - start
