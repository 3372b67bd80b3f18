"""Combining 40 frames of 61 megapixels: against reading them, warm and cold, by each method, its memory and its growth.

"a master" is the masters step from the catalogue to the three synced files: bands, second pass, sums, hash. "combining"
is its loop over bands alone, planes dropped. Cold rows need the right to drop the system's caches.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from calibration.combine.recipe import Method
from calibration.frames import FrameKind
from services.workflow.compiling import compile_all
from tests.benchmarks.combine_bed import PLANE_BYTES, WORKERS, Bed, combine, make, master, prepared, timed
from tests.benchmarks.harness import FULL, QUICK, Row, Timing, alternated, cold, in_child

GROWTH = (20, 40, 100, 400)
MOST_MB = 300 * 1.048576
EQUAL = 1.1
"""Peak memory of the largest set over that of the smallest, at most, to be called equal."""


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield all rows."""
    shape, frames, repeats = (QUICK, 40, 3) if quick else (FULL, 40, 5)
    compile_all()
    with tempfile.TemporaryDirectory(prefix="bench-combine-", dir=Path.cwd()) as folder:
        bed = Bed(root=Path(folder), shape=shape, frames=frames)
        make(bed, flats=True, links=GROWTH)
        yield from _against_reading(bed, repeats)
        yield from _against_cold_reading(bed)
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
    ratio = found["master"].median / (found["read"].median + found["write"].median)
    yield Row(
        figure="a master from cold files, written and synced",
        goal="<= 1.2 x",
        measured=str(found["master"]),
        ratio=ratio,
        met=ratio <= 1.2,
        peer=f"cold cat {found['read']} + synced write {found['write']}; two threads read in {found['two']}",
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
            goal="<= 300 MiB, equal",
            measured=f"{seconds:.2f} s",
            ratio=each / first[0],
            met=peak <= MOST_MB and peak <= EQUAL * first[1],
            peak_mb=peak,
            peer=f"a frame of {GROWTH[0]}: {first[0] * 1e3:.0f} ms, {first[1]:.0f} MB",
        )


# --- what is timed, each in a process of its own ------------------------------------------------------------------


def _warm(bed: Bed, repeats: int) -> dict[str, Timing]:
    runs: dict[str, Callable[[], object]] = {
        "read": partial(_read, bed),
        "combine": partial(combine, prepared(bed, FrameKind.DARK, Method.SIGMA_CLIP)),
        "master": partial(master, bed, "stack"),
        "write": partial(_write, bed),
    }
    return alternated(runs, repeats=repeats)


def _from_cold(bed: Bed) -> dict[str, Timing]:
    def colded(act: Callable[[], float]) -> Callable[[], float]:
        def run() -> float:
            cold(*bed.darks())
            return act()

        return run

    runs: dict[str, Callable[[], object]] = {
        "read": colded(partial(timed, partial(_cat, bed))),
        "two": colded(partial(timed, partial(_read, bed))),
        "master": colded(partial(master, bed, "stack")),
        "write": partial(_write, bed),
    }
    return alternated(runs, repeats=3)


def _one_master(bed: Bed, n: int) -> float:
    return master(bed, f"links-{n}")


def _by_method(bed: Bed, repeats: int) -> dict[str, Timing]:
    master(bed, "stack", keep=True)  # the flats' dark
    runs: dict[str, Callable[[], object]] = {}
    for method in (m for m in Method if m is not Method.NOISE_MODEL):
        runs[method.value] = partial(combine, prepared(bed, FrameKind.DARK, method))
    flats = prepared(bed, FrameKind.FLAT, Method.SIGMA_CLIP)
    runs["flats, scaled, dark subtracted"] = partial(combine, flats)
    return alternated(runs, repeats=repeats)


# --- the pieces ---------------------------------------------------------------------------------------------------


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


def _cat(bed: Bed) -> None:
    subprocess.run(["cat", *map(str, bed.darks())], check=True, stdout=subprocess.DEVNULL)


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
