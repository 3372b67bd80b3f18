"""How fast frames on disk become a master, against astropy in the same run.

    python tests/benchmarks/bench_combine.py                       # 40 frames of 2048 x 2048
    python tests/benchmarks/bench_combine.py --height 6388 --width 9576

Frames are raw uint16 FITS in a temporary folder, read once before timing (warm page cache). `planes` is the loop over
bands with every plane in memory, `master` the whole masters step with its three files, second pass and checksums.
astropy's SigmaClip runs over the same frames in chunks of rows on one core; for large sets on a part of the rows, and
its time is scaled.
"""

import argparse
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
from astropy.stats import SigmaClip

from calibration.combine import Method, Recipe, combine_band
from calibration.frames import Frame, FrameHeader, FrameKind
from drivers.clock import SystemClock
from services.bands import Band, Source, bands_of, map_bands, read_band, rows_for, source_of
from services.events import Events
from services.masters import MasterSettings, build_all
from services.storage.catalogue import Catalogue
from services.storage.fits import write_frame
from services.storage.layout import Layout
from services.storage.rows import FrameRow

WORKERS = 2


def make_frames(layout: Layout, catalogue: Catalogue, n: int, shape: tuple[int, int]) -> list[Path]:
    """Write darks with a fixed pattern, hot pixels and cosmic hits; noise is drawn once and rolled."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0.0, 6.0, shape).astype(np.float32)
    pattern = rng.normal(500.0, 3.0, shape[1]).astype(np.float32)[None, :]
    hot = rng.integers(0, noise.size, noise.size // 1000)
    paths = []
    for k in range(n):
        values = np.roll(noise.ravel(), int(rng.integers(noise.size))).reshape(shape) + pattern
        values.flat[hot] += 800.0
        values.flat[rng.integers(0, noise.size, noise.size // 125_000)] += 3000.0
        header = FrameHeader(
            kind=FrameKind.DARK,
            shape=shape,
            exposure_us=5_000_000,
            date_obs=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=k),
            night="2026-01-01",
            set_id="bench",
            frame_no=k + 1,
            set_temp_c=-10.0,
            ccd_temp_c=-10.0,
        )
        path = layout.frame_path(header, wheel=False)
        stored = write_frame(path, Frame(header=header, pixels=np.clip(np.rint(values), 0, 65535).astype(np.uint16)))
        catalogue.add_frame(
            FrameRow.of(
                header,
                path=layout.relative(path),
                pixel_sha256=stored.pixel_sha256,
                size=stored.size,
                mtime_ns=stored.mtime_ns,
            )
        )
        paths.append(path)
    return paths


def combine(recipe: Recipe, sources: tuple[Source, ...], band: Band) -> tuple[np.ndarray, ...]:
    """Return the planes of a band."""
    planes = combine_band(read_band(sources, band), recipe)
    return planes.mean, planes.sigma, planes.count, planes.mask


def time_planes(sources: tuple[Source, ...], method: Method) -> float:
    """Return the seconds in which all planes of a stack are in memory."""
    shape = sources[0].location.shape
    out = [np.zeros(shape, dtype) for dtype in (np.float32, np.float32, np.uint16, np.uint8)]

    def sink(band: Band, planes: tuple[np.ndarray, ...]) -> None:
        for whole, part in zip(out, planes, strict=True):
            whole[band.start : band.stop] = part

    rows = rows_for(memory_mb=256, frames=len(sources), columns=shape[1], workers=WORKERS)
    work = partial(combine, Recipe(method=method))
    with ThreadPoolExecutor(WORKERS) as executor:
        start = time.perf_counter()
        map_bands(sources, work, sink, executor, bands_of(shape[0], rows), workers=WORKERS)
        return time.perf_counter() - start


def time_astropy(sources: tuple[Source, ...], rows: int = 64) -> float:
    """Return the seconds astropy takes for the whole stack, from at most `rows` rows of it."""
    height = sources[0].location.shape[0]
    rows = min(rows, height)
    clip = SigmaClip(3.0, maxiters=5, cenfunc="median", stdfunc="std")
    start = time.perf_counter()
    for band in bands_of(rows, 16):
        kept = clip(read_band(sources, band).astype(np.float32), axis=0)
        kept.mean(axis=0)
        kept.std(axis=0)
    return (time.perf_counter() - start) * height / rows


def time_master(layout: Layout, catalogue: Catalogue, method: Method) -> float:
    """Return the seconds of the masters step, from the catalogue to the files."""
    clock = SystemClock()
    events = Events(run_id="bench", clock=clock)
    settings = MasterSettings(method=method, workers=WORKERS)
    start = time.perf_counter()
    outcomes = build_all(settings=settings, layout=layout, catalogue=catalogue, events=events, clock=clock)
    took = time.perf_counter() - start
    events.close()
    assert [o.status.value for o in outcomes] == ["built"], outcomes
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--height", type=int, default=2048)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--methods", nargs="*", default=[m.value for m in Method if m is not Method.NOISE_MODEL])
    options = parser.parse_args()
    shape = (options.height, options.width)
    with tempfile.TemporaryDirectory(prefix="bench-combine-") as folder:
        layout = Layout(Path(folder))
        with Catalogue(layout.catalogue) as catalogue:
            paths = make_frames(layout, catalogue, options.frames, shape)
            sources = tuple(source_of(path, layout.cache) for path in paths)
            print(f"{options.frames} frames of {shape[1]} x {shape[0]}, {WORKERS} workers")
            peer = time_astropy(sources)
            print(f"  astropy sigma_clip, one core     {peer:8.2f} s")
            for name in options.methods:
                time_planes(sources[:2], Method(name))  # compile, or load what was compiled
                took = min(time_planes(sources, Method(name)) for _ in range(3))
                print(f"  planes  {name:12s}             {took:8.2f} s   astropy / this = {peer / took:6.1f}")
            took = time_master(layout, catalogue, Method.SIGMA_CLIP)
            print(f"  master  sigma_clip, files written {took:7.2f} s   astropy / this = {peer / took:6.1f}")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
