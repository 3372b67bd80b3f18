"""A bias model of hundreds of 61-megapixel frames: seconds and memory by their number, and peers on a part of the work.

The frames are distinct files, 122 MB each, and none of them is in memory when a run begins. What a fit takes is held
against the time of only reading the same files, one after the other, before and after it.

The peers fit rows as wide as such a frame, which both sides find in memory. numpy is the straightforward way: all
frames at once, a median for each temperature, one least squares over them. `astropy.modeling` gets the same medians and
fits a line to each pixel (`LinearLSQFitter`, a set of models). Both judge no frame, give no error, and predict no
temperature that they have not seen.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from services.models.bias.model import Asked, fit
from services.workflow.compiling import compile_all
from tests.benchmarks.harness import FULL, QUICK, Row, forgotten, in_child
from tests.support.bias_frames import write_bias

COUNTS = (30, 100, 300)
PART_ROWS, PART_FRAMES = 400, 60
TEMPERATURES = (-10.0, -5.0, 0.0, 10.0, 20.0)
COLD_GOAL = 2.0
"""Seconds of a fit of the most frames over those of reading them."""
MEMORY_GOAL_MB = 1074.0
GROWTH_GOAL = 1.3
"""Memory of the most frames over that of the fewest."""
SPEED_GOAL = 1.0
_SPARE_BYTES = 12e9
"""Left free on the disk."""
_PLANES = 24
"""Planes of 4 bytes that a model of five temperatures has at most."""


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield rows for the time and the memory of a fit, by the number of frames, and beside the peers."""
    compile_all()
    with tempfile.TemporaryDirectory(prefix="bench-models-", dir=Path.cwd()) as name:
        folder = Path(name)
        yield from _beside_peers(folder, quick=quick)
        yield from _by_number(folder, QUICK if quick else FULL)


def _by_number(folder: Path, shape: tuple[int, int]) -> Iterator[Row]:
    most, counts = _room_for(folder, shape), []
    for n in COUNTS:
        if n <= most:
            counts.append(n)
        else:
            yield Row(figure=f"bias model of {n} frames", measured=f"the disk has room for {most}", met=False)
    peaks = []
    for n, paths in _growing(folder / "frames", counts, shape):
        before = read_cold(paths)
        forgotten(*paths)
        ours, peak = in_child(_fit, folder / "frames")
        read = (before + read_cold(paths)) / 2
        peaks.append(peak)
        is_last = n == COUNTS[-1]
        yield Row(
            figure=f"bias model of {n} frames of {shape[1]} x {shape[0]}, cold",
            goal=f"<= {COLD_GOAL:g} x reading" if is_last else "",
            measured=f"{ours:.1f} s, {1000 * ours / n:.0f} ms a frame",
            ratio=ours / read,
            met=ours / read <= COLD_GOAL if is_last else None,
            peak_mb=peak,
            peer=f"reading: {read:.1f} s, {1000 * read / n:.0f} ms a frame",
        )
    if len(peaks) > 1:
        yield Row(
            figure="  its memory, the most frames over the fewest",
            goal=f"<= {GROWTH_GOAL:g}, {MEMORY_GOAL_MB:.0f} MB",
            measured=f"{max(peaks):.0f} MB",
            ratio=peaks[-1] / peaks[0],
            met=peaks[-1] / peaks[0] <= GROWTH_GOAL and max(peaks) <= MEMORY_GOAL_MB,
            peak_mb=max(peaks),
        )


def _room_for(folder: Path, shape: tuple[int, int]) -> int:
    pixels = shape[0] * shape[1]
    return int((shutil.disk_usage(folder).free - _SPARE_BYTES - 4 * _PLANES * pixels) / (2 * pixels))


def _growing(base: Path, counts: list[int], shape: tuple[int, int]) -> Iterator[tuple[int, list[Path]]]:
    """Write frames until there are so many, and yield their paths each time."""
    detector, paths = _Detector(shape), list[Path]()
    for n in counts:
        while len(paths) < n:
            i = len(paths)
            celsius, session = TEMPERATURES[i % len(TEMPERATURES)], i // len(TEMPERATURES) % 2
            at = datetime(2026, 3, 1 + session, 22, tzinfo=UTC) + timedelta(seconds=i)
            path = base / f"night{session}" / f"T{celsius:g}" / f"bias_{i:04d}.fits"
            paths.append(write_bias(path, detector.frame(i, celsius, session), celsius, at=at))
        yield n, paths


class _Detector:
    """Frames in whole ADU: a pattern with a slope, and noise that is shifted from frame to frame."""

    def __init__(self, shape: tuple[int, int]) -> None:
        rng = np.random.default_rng(5)
        self._pattern = 1000 + 5 * rng.standard_normal(shape, dtype=np.float32)
        self._noise = np.rint(100 + 3 * rng.standard_normal(shape, dtype=np.float32)).astype(np.uint16)
        self._patterns: dict[float, NDArray[np.uint16]] = {}

    def frame(self, i: int, celsius: float, session: int) -> NDArray[np.uint16]:
        """Return frame i, at a temperature, in a session."""
        if celsius not in self._patterns:
            slope = 0.1 + 0.02 * np.sin(np.arange(self._pattern.shape[1], dtype=np.float32) / 50)
            self._patterns[celsius] = np.rint(self._pattern + slope * np.float32(celsius) - 100).astype(np.uint16)
        noise = np.roll(self._noise, (37 * i, 911 * i), (0, 1))
        noise += self._patterns[celsius]
        noise += np.uint16(session)
        return noise


def read_cold(paths: list[Path]) -> float:
    """Return the seconds of reading files of which nothing is in memory, one after the other."""
    forgotten(*paths)
    piece, start = bytearray(8 << 20), time.perf_counter()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(piece):
                pass
    return time.perf_counter() - start


def _fit(base: Path) -> float:
    out = base.with_name(f"{base.name}_model")
    start = time.perf_counter()
    fit(base, out, Asked())
    took = time.perf_counter() - start
    shutil.rmtree(out)
    return took


def _beside_peers(folder: Path, *, quick: bool) -> Iterator[Row]:
    shape = (PART_ROWS // 8, FULL[1] // 8) if quick else (PART_ROWS, FULL[1])
    base = folder / "part"
    for _ in _growing(base, [PART_FRAMES], shape):
        in_child(_fit, base)  # what is compiled is kept, and all frames are in memory
    ours, peak = in_child(_fit, base)
    for name, peer in (("numpy", _by_numpy), ("astropy.modeling", _by_astropy)):
        theirs, their_peak = in_child(peer, base)
        yield Row(
            figure=f"bias model of {PART_FRAMES} frames of {shape[1]} x {shape[0]}, in memory",
            goal=f">= {SPEED_GOAL:g} x {name}",
            measured=f"{ours:.1f} s",
            ratio=theirs / ours,
            met=theirs / ours >= SPEED_GOAL,
            peak_mb=peak,
            peer=f"{name}: {theirs:.1f} s, {their_peak:.0f} MB",
        )


def _by_numpy(base: Path) -> float:
    start = time.perf_counter()
    celsius, medians = _medians(base)
    design = np.stack([np.ones(len(celsius)), celsius], axis=1)
    theta = np.linalg.lstsq(design, medians.reshape(len(celsius), -1), rcond=None)[0]
    _write_maps(base, theta.reshape(2, *medians.shape[1:]))
    return time.perf_counter() - start


def _by_astropy(base: Path) -> float:
    from astropy.modeling import fitting, models

    start = time.perf_counter()
    celsius, medians = _medians(base)
    pixels = medians.reshape(len(celsius), -1).T.astype(np.float64)
    lines: Any = fitting.LinearLSQFitter()(models.Polynomial1D(1, n_models=len(pixels)), celsius, pixels)
    _write_maps(base, np.stack([lines.c0.value, lines.c1.value]).reshape(2, *medians.shape[1:]))
    return time.perf_counter() - start


def _medians(base: Path) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    frames: dict[float, list[NDArray[np.float32]]] = {}
    for path in sorted(base.rglob("*.fits")):
        with fits.open(path, memmap=False) as units:
            frames.setdefault(units[0].header["CCD-TEMP"], []).append(units[0].data.astype(np.float32))
    return np.array(list(frames)), np.stack([np.median(some, axis=0) for some in frames.values()])


def _write_maps(base: Path, theta: NDArray[np.float64]) -> None:
    fits.writeto(base.with_name(f"{base.name}_maps.fits"), theta.astype(np.float32), overwrite=True)
