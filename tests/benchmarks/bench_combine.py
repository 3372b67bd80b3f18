"""Combining 40 frames of 61 megapixels: against reading them, against other programs, its memory and its growth.

"a master" is the masters step from the catalogue to the three synced files: bands, second pass, sums, hash. "combining"
is its loop over bands alone, planes dropped. ccdproc combines a few rows of the same frames and its time is scaled to
all of them; Siril runs where `siril-cli` is installed. Cold rows need the right to drop the system's caches.
"""

import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from calibration.combine import Method
from calibration.frames import FrameKind
from drivers.clock import SystemClock
from services import platform
from services.bands import bands_of, map_bands, rows_for
from services.events import Events
from services.masters import MasterSettings, build_all
from services.masters.groups import master_groups
from services.masters.prepare import Surroundings, prepare
from services.masters.stack import Stack, stack_band
from services.storage.catalogue import Catalogue
from services.storage.layout import Layout
from services.workflow.warm_up import warm_up
from tests.benchmarks.harness import FULL, QUICK, Row, Timing, alternated, cold, in_child
from tests.benchmarks.stacks import STARTED, write_set

WORKERS = 2
PLANE_BYTES = 4 + 4 + 2 + 1
"""Of a pixel in MEAN, SIGMA, COUNT and MASK."""

CCDPROC_ROWS = 32
GROWTH = (20, 40, 100, 400)
MOST_MB = 300 * 1.048576


@dataclass(frozen=True, kw_only=True)
class Bed:
    """A root with 40 darks, 40 flats and links to many darks."""

    root: Path
    shape: tuple[int, int]
    frames: int

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    @property
    def pixels(self) -> int:
        return self.shape[0] * self.shape[1]

    def darks(self) -> list[Path]:
        return sorted(self.layout.darks.glob("exp_5.000s/*.fits"))


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield all rows."""
    shape, frames, repeats = (QUICK, 40, 3) if quick else (FULL, 40, 5)
    warm_up()
    with tempfile.TemporaryDirectory(prefix="bench-combine-", dir=Path.cwd()) as folder:
        bed = Bed(root=Path(folder), shape=shape, frames=frames)
        _make(bed)
        yield from _against_reading(bed, repeats)
        yield from _against_cold_reading(bed)
        yield from _against_others(bed, quick=quick)
        yield from _methods(bed, repeats)
        yield from _growth(bed)


# --- rows ---------------------------------------------------------------------------------------------------------


def _against_reading(bed: Bed, repeats: int) -> Iterator[Row]:
    found, _ = in_child(_warm, bed, repeats)
    ratio = found["combine"] / found["read"]
    yield Row(
        figure=f"combining {bed.frames} frames, warm",
        goal="<= 3 x reading",
        measured=str(found["combine"]),
        ratio=ratio,
        met=ratio <= 3,
        peer=f"two threads into a buffer {found['read']}",
    )
    yield Row(
        figure="  a master of them, written and synced",
        measured=str(found["master"]),
        ratio=found["master"] / found["read"],
        peer=f"writing as many bytes, synced {found['write']}",
    )


def _against_cold_reading(bed: Bed) -> Iterator[Row]:
    if not cold(*bed.darks()):
        yield Row(
            figure="a master from cold files", measured="not run", goal="<= 1.2 x", peer="caches cannot be dropped"
        )
        return
    found, _ = in_child(_from_cold, bed)
    limit = Timing(runs=tuple(a + b for a, b in zip(found["read"].runs, found["write"].runs, strict=True)))
    ratio = found["master"] / limit
    yield Row(
        figure="a master from cold files, written and synced",
        goal="<= 1.2 x",
        measured=str(found["master"]),
        ratio=ratio,
        met=ratio <= 1.2,
        peer=f"cold read {found['read']} + synced write {found['write']}",
    )


def _against_others(bed: Bed, *, quick: bool) -> Iterator[Row]:
    found, _ = in_child(_masters, bed, 3)
    mine: Timing = found["master"]
    (ccdproc_s, rows_used), peak = in_child(_ccdproc, bed)
    ratio = ccdproc_s / mine.median
    yield Row(
        figure="ccdproc's time for a master's",
        goal=">= 200 x",
        measured=str(mine),
        ratio=ratio,
        met=None if quick else ratio >= 200,
        peak_mb=peak,
        peer=f"ccdproc.combine {ccdproc_s:.0f} s, from {rows_used} of {bed.shape[0]} rows",
    )
    siril = shutil.which("siril-cli") or shutil.which("siril")
    if siril is None:
        yield Row(
            figure="Siril's time for a master's", goal=">= 15 x", measured="not run", peer="siril-cli is not installed"
        )
        return
    seconds = Timing(runs=tuple(_siril(siril, bed) for _ in range(3)))
    yield Row(
        figure="Siril's time for a master's",
        goal=">= 15 x",
        measured=str(mine),
        ratio=seconds / mine,
        met=None if quick else seconds / mine >= 15,
        peer=f"stack rej s 3 3 -nonorm {seconds}",
    )


def _methods(bed: Bed, repeats: int) -> Iterator[Row]:
    found, _ = in_child(_by_method, bed, repeats)
    clip = found[Method.SIGMA_CLIP.value]
    held = {"winsorized", "mad", "flats, scaled, dark subtracted"}
    for name, seconds in found.items():
        yield Row(
            figure=f"combining, {name}",
            goal="<= 3 x sigma_clip" if name in held else "",
            measured=str(seconds),
            ratio=seconds / clip,
            met=seconds / clip <= 3 if name in held else None,
            peer=f"sigma_clip {clip}",
        )


def _growth(bed: Bed) -> Iterator[Row]:
    first: tuple[float, float] | None = None
    for n in GROWTH:
        seconds, peak = in_child(_one_master, bed, n)
        each = seconds / n
        first = first or (each, peak)
        yield Row(
            figure=f"a master of {n} frames",
            goal="peak <= 300 MiB",
            measured=f"{seconds:.2f} s",
            ratio=each / first[0],
            met=peak <= MOST_MB,
            peak_mb=peak,
            peer=f"a frame of {GROWTH[0]}: {first[0] * 1e3:.0f} ms, {first[1]:.0f} MB",
        )


# --- what is timed, each in a process of its own ------------------------------------------------------------------


def _warm(bed: Bed, repeats: int) -> dict[str, Timing]:
    with _stack(bed, FrameKind.DARK, Method.SIGMA_CLIP) as stack:
        runs = {
            "read": partial(_read, bed),
            "combine": partial(_combine, stack),
            "master": partial(_master, bed, "stack"),
            "write": partial(_write, bed),
        }
        return alternated(runs, repeats=repeats)


def _from_cold(bed: Bed) -> dict[str, Timing]:
    def colded(act: Callable[[], float]) -> Callable[[], float]:
        def run() -> float:
            cold(*bed.darks())
            return act()

        return run

    runs = {
        "read": colded(partial(_timed, partial(_read_whole, bed))),
        "master": colded(partial(_master, bed, "stack")),
        "write": partial(_write, bed),
    }
    return alternated(runs, repeats=3)


def _masters(bed: Bed, repeats: int) -> dict[str, Timing]:
    return alternated({"master": partial(_master, bed, "stack")}, repeats=repeats)


def _one_master(bed: Bed, n: int) -> float:
    return _master(bed, f"links-{n}")


def _by_method(bed: Bed, repeats: int) -> dict[str, Timing]:
    _master(bed, "stack", keep=True)  # the flats' dark
    runs: dict[str, Callable[[], object]] = {}
    methods = [m for m in Method if m is not Method.NOISE_MODEL]
    with Catalogue(bed.layout.catalogue) as catalogue:
        for method in methods:
            runs[method.value] = partial(_combine, _prepared(bed, catalogue, FrameKind.DARK, method))
        flats = _prepared(bed, catalogue, FrameKind.FLAT, Method.SIGMA_CLIP)
        runs["flats, scaled, dark subtracted"] = partial(_combine, flats)
        return alternated(runs, repeats=repeats)


def _ccdproc(bed: Bed) -> tuple[float, int]:
    """Combine the first rows of the frames, as files of their own, and scale the time to all rows."""
    import ccdproc
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    few = min(CCDPROC_ROWS, bed.shape[0])
    with tempfile.TemporaryDirectory(dir=bed.root) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        names = []
        for path in bed.darks():
            with fits.open(path) as units:
                name = Path(folder) / path.name
                fits.PrimaryHDU(units[0].section[:few]).writeto(name)
            names.append(str(name))
        start = time.perf_counter()
        ccdproc.combine(
            names,
            method="average",
            unit="adu",
            sigma_clip=True,
            sigma_clip_low_thresh=3,
            sigma_clip_high_thresh=3,
            sigma_clip_func=np.ma.median,
            sigma_clip_dev_func=np.ma.std,
            mem_limit=1e9,
        )
        return (time.perf_counter() - start) * bed.shape[0] / few, few


def _siril(program: str, bed: Bed) -> float:
    """Stack links to the frames, with as many threads as we use."""
    with tempfile.TemporaryDirectory(dir=bed.root) as folder:
        for number, path in enumerate(bed.darks(), 1):
            (Path(folder) / f"bench_{number:05d}.fit").symlink_to(path)
        script = Path(folder) / "bench.ssf"
        script.write_text(f"requires 1.0.0\nsetext fit\nsetcpu {WORKERS}\nstack bench_ rej s 3 3 -nonorm -out=out\n")
        command = [program, "-d", folder, "-s", str(script)]
        return _timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


# --- the pieces ---------------------------------------------------------------------------------------------------


def _make(bed: Bed) -> None:
    with Catalogue(bed.layout.catalogue) as catalogue:
        paths = write_set(bed.layout, catalogue, bed.frames, bed.shape)
        write_set(
            bed.layout, catalogue, bed.frames, bed.shape, kind=FrameKind.FLAT, level_adu=30_000, set_id="flats", seed=2
        )
        taken = catalogue.frames(set_id="stack")
        for n in GROWTH:
            folder = bed.layout.darks / f"links-{n}"
            folder.mkdir()
            for k in range(n):
                link = folder / f"{k:05d}.fits"
                link.hardlink_to(paths[k % len(paths)])
                row = replace(
                    taken[k % len(taken)],
                    path=bed.layout.relative(link),
                    set_id=f"links-{n}",
                    exposure_us=1_000_000 * n,
                    date_obs=STARTED.replace(year=2025, microsecond=k),
                )
                catalogue.add_frame(row)


def _master(bed: Bed, set_id: str, *, keep: bool = False) -> float:
    """Build a set's master anew and return the seconds."""
    clock = SystemClock()
    events = Events(run_id="bench", clock=clock)
    sigma = 3.0 if keep else 3.0 + clock.real() % 1e6 / 1e9  # another recipe: it is not there already
    settings = MasterSettings(sigma=sigma, workers=WORKERS, num_darks=bed.frames, num_flats=bed.frames)
    with Catalogue(bed.layout.catalogue) as catalogue:
        start = time.perf_counter()
        outcomes = build_all(
            settings=settings, layout=bed.layout, catalogue=catalogue, events=events, clock=clock, sets={set_id}
        )
        took = time.perf_counter() - start
        (path,) = (o.path for o in outcomes)
        assert path is not None, outcomes
        if not keep:
            catalogue.remove_masters([bed.layout.relative(path)])
            for made in (path, bed.layout.planes_path(path), bed.layout.sidecar_path(path)):
                made.unlink()
    events.close()
    return took


@contextmanager
def _stack(bed: Bed, kind: FrameKind, method: Method) -> Iterator[Stack]:
    with Catalogue(bed.layout.catalogue) as catalogue:
        yield _prepared(bed, catalogue, kind, method)


def _prepared(bed: Bed, catalogue: Catalogue, kind: FrameKind, method: Method) -> Stack:
    platform.raise_open_file_limit()
    settings = MasterSettings(method=method, workers=WORKERS, num_darks=bed.frames, num_flats=bed.frames)
    around = Surroundings(
        settings=settings, layout=bed.layout, catalogue=catalogue, scratch=bed.root / "scratch", warn=lambda *_: None
    )
    (group,) = (g for g in master_groups(catalogue, kind) if g.rows[0].set_id in {"stack", "flats"})
    return prepare(group, around).stack


def _combine(stack: Stack) -> None:
    frames = len(stack.frames) + 2 * len(stack.darks)
    tall = rows_for(memory_mb=256, frames=frames, columns=stack.shape[1], workers=WORKERS)
    with ThreadPoolExecutor(WORKERS) as executor:
        bands = bands_of(stack.shape[0], tall)
        map_bands(stack, stack_band, lambda *_: None, executor, bands, workers=WORKERS)


def _read(bed: Bed) -> None:
    """Read all frames' bytes, two threads, each half of them into its own buffer of 8 MB."""

    def half(paths: list[Path]) -> None:
        buffer = bytearray(8 << 20)
        for path in paths:
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    paths = bed.darks()
    with ThreadPoolExecutor(WORKERS) as executor:
        list(executor.map(half, (paths[0::2], paths[1::2])))


def _read_whole(bed: Bed) -> None:
    """Read file after file, as `cat` does."""
    buffer = bytearray(8 << 20)
    for path in bed.darks():
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _write(bed: Bed) -> float:
    """Write as many bytes as a master's planes have, synced; return the seconds."""
    data, left = bytes(8 << 20), PLANE_BYTES * bed.pixels
    path = bed.root / "plain"
    start = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        while left > 0:
            left -= file.write(data[:left])
        os.fsync(file.fileno())
    took = time.perf_counter() - start
    path.unlink()
    return took


def _timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
