"""A dark model: seconds a megapixel and memory by the number of frames, peers on a part of the work, and 61 megapixels.

Five temperatures and three exposures, of a sensor whose pixels have an activation energy of their own each. Rows as
wide as a frame of 61 megapixels are fitted in memory. numpy is the straightforward way: a median for each temperature
and exposure, less that of the biases, and a line through the logarithms, as the earlier programs had it.
`scipy.optimize.curve_fit` fits an exponential to the same medians, pixel by pixel, of which the first thousand count.
Both judge no frame, give no error that holds, and predict no temperature that they have not seen.

Whole frames are read cold. What a fit takes is held against twice the time of only reading the same files, and what the
straightforward way takes for as many pixels.
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

from calibration.frames import Frame, FrameHeader, FrameKind
from services.files.fits import write_frame
from services.models.dark.model import fit
from services.workflow.compiling import compile_all
from tests.benchmarks.bench_models import read_cold
from tests.benchmarks.harness import FULL, QUICK, Row, forgotten, in_child

TEMPERATURES_C, EXPOSURES_S = (-10.0, -5.0, 0.0, 10.0, 20.0), (5.0, 20.0, 60.0)
EACH = (1, 3, 10)
"""Frames of a temperature and exposure."""

PART_ROWS = 100
MEMORY_GOAL_MB = 1074.0
GROWTH_GOAL = 1.3
COLD_GOAL = 2.0
_PEER_PIXELS = 1000
_KELVIN = 273.15
_SPARE_BYTES = 12e9


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield rows for the time and memory of a fit: by the number of frames, beside the peers, and of whole frames."""
    compile_all()
    with tempfile.TemporaryDirectory(prefix="bench-darks-", dir=Path.cwd()) as name:
        folder = Path(name)
        yield from _by_number(folder, (PART_ROWS // 4, FULL[1] // 8) if quick else (PART_ROWS, FULL[1]))
        yield from _whole(folder, QUICK if quick else FULL)


def _by_number(folder: Path, shape: tuple[int, int]) -> Iterator[Row]:
    """Yield rows of a band, in memory, by the number of frames; the middle number beside the peers."""
    peaks = []
    for each in EACH:
        base = folder / f"part{each}"
        paths = _written(base, shape, each)
        in_child(_fit, base)  # what is compiled is kept, and all frames are in memory
        ours, peak = in_child(_fit, base)
        peaks.append(peak)
        yield Row(
            figure=f"dark model of {len(paths)} frames of {shape[1]} x {shape[0]}, in memory",
            measured=f"{ours:.1f} s, {1000 * ours / len(paths):.0f} ms a frame",
            peak_mb=peak,
        )
        if each == EACH[1]:
            yield from _beside(base, ours, shape)
    yield Row(
        figure="  its memory, the most frames over the fewest",
        goal=f"<= {GROWTH_GOAL:g}, {MEMORY_GOAL_MB:.0f} MB",
        measured=f"{max(peaks):.0f} MB",
        ratio=peaks[-1] / peaks[0],
        met=peaks[-1] / peaks[0] <= GROWTH_GOAL and max(peaks) <= MEMORY_GOAL_MB,
        peak_mb=max(peaks),
    )


def _beside(base: Path, ours: float, shape: tuple[int, int]) -> Iterator[Row]:
    pixels = shape[0] * shape[1]
    for name, peer, share in (("numpy", _by_numpy, 1.0), ("scipy.optimize", _by_scipy, _PEER_PIXELS / pixels)):
        (common, own), their_peak = in_child(peer, base)
        theirs = common + own / min(share, 1.0)
        part = "" if share >= 1 else f", {_PEER_PIXELS} pixels of it fitted"
        yield Row(
            figure="  beside a peer",
            measured=f"{ours:.1f} s",
            ratio=theirs / ours,
            peer=f"{name}: {theirs:.1f} s{part}, {their_peak:.0f} MB",
        )


def _whole(folder: Path, shape: tuple[int, int]) -> Iterator[Row]:
    """Yield the row of whole frames from a cold disk, three of each temperature and exposure."""
    number = len(TEMPERATURES_C) * (1 + 3 * len(EXPOSURES_S))
    wanted = 2 * shape[0] * shape[1] * number + 60 * 4 * shape[0] * shape[1]
    if shutil.disk_usage(folder).free < wanted + _SPARE_BYTES:
        yield Row(figure=f"dark model of {number} frames of {shape[1]} x {shape[0]}", measured="no room", met=False)
        return
    part = (max(shape[0] // 64, 1), shape[1])
    _written(folder / "rows", part, 3)
    (common, own), _ = in_child(_by_numpy, folder / "rows")
    peer = (common + own) * shape[0] / part[0]
    base = folder / "whole"
    paths = _written(base, shape, 3)
    before = read_cold(paths)
    forgotten(*paths)
    ours, peak = in_child(_fit, base)
    read = (before + read_cold(paths)) / 2
    allowed = COLD_GOAL * read + peer
    yield Row(
        figure=f"dark model of {len(paths)} frames of {shape[1]} x {shape[0]}, cold",
        goal=f"<= {COLD_GOAL:g} x reading + numpy, {MEMORY_GOAL_MB:.0f} MB",
        measured=f"{ours:.1f} s, {1000 * ours / len(paths):.0f} ms a frame",
        ratio=ours / allowed,
        met=ours <= allowed and peak <= MEMORY_GOAL_MB,
        peak_mb=peak,
        peer=f"reading: {read:.1f} s, numpy by its part of {part[0]} rows: {peer:.1f} s",
    )


def _fit(base: Path) -> float:
    out = base.with_name(f"{base.name}_model")
    start = time.perf_counter()
    fit(base, out)
    took = time.perf_counter() - start
    shutil.rmtree(out)
    return took


def _written(base: Path, shape: tuple[int, int], each: int) -> list[Path]:
    """Write a bias and darks of each temperature, `each` of an exposure."""
    rng = np.random.default_rng(7)
    pattern = 1000 + 5 * rng.standard_normal(shape, dtype=np.float32)
    noise = rng.standard_normal(shape, dtype=np.float32)
    rate = np.exp(0.35 * rng.standard_normal(shape, dtype=np.float32))
    energy = (7300 + 400 * rng.standard_normal(shape, dtype=np.float32)) * np.float32(1)  # over Boltzmann's constant, K
    paths = list[Path]()
    for celsius in TEMPERATURES_C:
        dark = rate * np.exp(-energy * np.float32(1 / (celsius + _KELVIN) - 1 / _KELVIN))
        for seconds in (0.0, *EXPOSURES_S):
            signal = dark * np.float32(seconds)
            scatter = np.sqrt(9 + 0.5 * signal)
            for _ in range(each):
                i = len(paths)
                frame = np.roll(noise, (37 * i, 911 * i), (0, 1))
                frame *= scatter
                frame += pattern
                frame += signal + np.float32(0.1 * celsius)
                paths.append(_write(base / f"T{celsius:g}_{seconds:g}s" / f"{i:04d}.fits", frame, celsius, seconds, i))
    return paths


def _write(path: Path, frame: NDArray[np.float32], celsius: float, seconds: float, i: int) -> Path:
    header = FrameHeader(
        kind=FrameKind.DARK if seconds else FrameKind.BIAS,
        shape=(frame.shape[0], frame.shape[1]),
        exposure_us=round(seconds * 1e6) or 32,
        ccd_temp_c=celsius,
        date_obs=datetime(2026, 3, 1, 22, tzinfo=UTC) + timedelta(minutes=2 * i),
        instrument="Camera",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frame(path, Frame(header=header, pixels=np.clip(np.rint(frame), 0, 65535).astype(np.uint16)))
    return path


def _by_numpy(base: Path) -> tuple[float, float]:
    """Return the seconds of the straightforward way; none of them are of single pixels."""
    start = time.perf_counter()
    celsius, seconds, signal = _signals(base)
    rates = np.maximum(signal / seconds[:, None, None], 1e-6)
    design = np.stack([np.ones(len(celsius)), celsius - celsius.min()], axis=1)
    theta = np.linalg.lstsq(design, np.log(rates).reshape(len(celsius), -1), rcond=None)[0]
    _write_maps(base, theta.reshape(2, *signal.shape[1:]))
    return time.perf_counter() - start, 0.0


def _by_scipy(base: Path) -> tuple[float, float]:
    """Return the seconds for the medians, and those for a thousand pixels."""
    from scipy.optimize import curve_fit

    def dark(at: NDArray[np.float64], rate: float, slope: float) -> NDArray[np.float64]:
        return np.asarray(rate * at[1] * np.exp(slope * at[0]))

    start = time.perf_counter()
    celsius, seconds, signal = _signals(base)
    at, some = np.stack([celsius, seconds]), signal.reshape(len(celsius), -1)[:, :_PEER_PIXELS]
    common, start = time.perf_counter() - start, time.perf_counter()
    for values in some.T:
        curve_fit(dark, at, values, p0=(1.0, 0.1), sigma=np.sqrt(9 + np.maximum(values, 0)))
    return common, time.perf_counter() - start


def _signals(base: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """Return temperatures, exposures and medians of darks, less the median bias of the temperature."""
    frames: dict[tuple[float, float], list[NDArray[Any]]] = {}
    for path in sorted(base.rglob("*.fits")):
        with fits.open(path, memmap=False) as units:
            header = units[0].header
            key = (float(header["CCD-TEMP"]), 0.0 if header["IMAGETYP"] == "BIAS" else float(header["EXPTIME"]))
            frames.setdefault(key, []).append(units[0].data.astype(np.float32))
    medians = {key: np.median(some, axis=0) for key, some in frames.items()}
    darks = [key for key in medians if key[1] > 0]
    signal = np.stack([medians[key] - medians[key[0], 0.0] for key in darks])
    return np.array([t for t, _ in darks]), np.array([s for _, s in darks]), signal


def _write_maps(base: Path, theta: NDArray[np.floating[Any]]) -> None:
    fits.writeto(base.with_name(f"{base.name}_maps.fits"), theta.astype(np.float32), overwrite=True)
