"""Raw frames in: importing 10,000 of a megapixel beside copying the same files, and listing them beside astropy.

The raw files are those of one attempt of 100 frames, linked into each other attempt: they are read from the page cache,
by both sides, so that work which is not writing shows most. Copies are plain (`shutil.copyfile`), and both sides sync
what they wrote when an attempt is complete. What the disk takes for that varies most; the second row leaves it out on
both sides. Import and copy take turns, block by block, in an order that alternates; a block is deleted before the next.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from calibration.frames import FrameKind
from services.datasets.attempts import Section
from services.datasets.conversion import Conversion
from services.datasets.importing import import_raws
from services.datasets.index import index_of
from services.files.disk import REAL_DISK, Disk
from services.workflow.compiling import compile_all
from tests.benchmarks.bench_write import UnsyncedDisk
from tests.benchmarks.harness import Row, Timing, alternated, in_child
from tests.support.raw_tree import COLUMNS

SIDE = 1024
FRAMES = 100
"""Of an attempt."""
BLOCK = 5
"""Attempts that are imported, then copied, or the other way round."""
IMPORT_GOAL = 0.7
INDEX_GOAL = 5.0
MEMORY_GOAL_MB = 300 * 2**20 / 1e6


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield rows for the speed of importing, then of listing, and for the memory of both by the number of files."""
    side, attempts = (128, 10) if quick else (SIDE, 100)
    compile_all()
    with tempfile.TemporaryDirectory(prefix="bench-datasets-", dir=Path.cwd()) as folder:
        root = Path(folder)
        _first_attempt(root / "first", side)
        blocks = attempts // BLOCK
        yield _against_copy(root, blocks, REAL_DISK, f"import of {blocks * BLOCK * FRAMES} raw frames, synced")
        yield _against_copy(root, blocks // 4 or 1, UnsyncedDisk(), "  the same, not synced")
        few, many = (_imported(root, number) for number in (attempts // 10, attempts))
        yield _memory("import", attempts, few, many)
        section = root / f"of_{attempts}"
        yield from _against_astropy(section, attempts)
        few, many = (in_child(_index, root / f"of_{number}")[1] for number in (attempts // 10, attempts))
        yield _memory("index", attempts, few, many)


def _against_astropy(section: Path, attempts: int) -> Iterator[Row]:
    """Yield the index beside headers that astropy reads whole, and beside those of which it reads a few values."""
    sides = {"index": partial(_index, section), "whole": partial(_headers, section), "few": partial(_values, section)}
    listed = alternated(sides, repeats=3)
    for side, figure, peer in (
        ("whole", f"index of {attempts * FRAMES} frames", "every value of their headers by astropy"),
        ("few", "  the same", "the values of the index alone"),
    ):
        ratio = listed[side] / listed["index"]
        has_goal = side == "whole"
        yield Row(
            figure=figure,
            goal=f">= {INDEX_GOAL:g} x as fast" if has_goal else "",
            measured=str(listed["index"]),
            ratio=ratio,
            met=ratio >= INDEX_GOAL if has_goal else None,
            peer=f"{peer}: {listed[side]}",
        )


def _against_copy(root: Path, blocks: int, disk: Disk, figure: str) -> Row:
    section = root / "block"
    _dataset(root / "first", section, BLOCK)
    sides: list[tuple[str, Callable[[], object]]] = [
        ("import", lambda: _import(section, disk)),
        ("copy", lambda: _copy(section, synced=disk is REAL_DISK)),
    ]
    taken: dict[str, list[float]] = {name: [] for name, _ in sides}
    for turn in range(blocks + 1):
        for name, run in sides if turn % 2 else reversed(sides):
            start = time.perf_counter()
            run()
            if turn:  # the first one warms caches and kernels
                taken[name].append(time.perf_counter() - start)
            for made in (*section.glob("*/fits"), *section.glob("*/copy")):
                shutil.rmtree(made)
            _settle(section)
    shutil.rmtree(section)
    ours, peer = (Timing(runs=tuple(taken[name])) for name, _ in sides)
    return Row(
        figure=figure,
        goal=f">= {IMPORT_GOAL:g} x copying" if disk is REAL_DISK else "",
        measured=str(ours),
        ratio=peer / ours,
        met=peer / ours >= IMPORT_GOAL if disk is REAL_DISK else None,
        peer=f"copying {BLOCK * FRAMES} files: {peer}; {blocks} turns",
    )


def _settle(folder: Path) -> None:
    """Let the file system forget what was deleted, so that the next one does not wait for it."""
    REAL_DISK.fsync_folder(folder)


def _import(section: Path, disk: Disk = REAL_DISK) -> int:
    how = Conversion(disk=disk, workers=min(4, os.cpu_count() or 1))
    found = import_raws([Section(root=section, kind=FrameKind.DARK)], how)
    if not found.is_whole:
        raise RuntimeError(f"the import is not whole: {found.counts()}, {found.problem}")
    return len(found.files)


def _copy(section: Path, *, synced: bool) -> None:
    for attempt in section.iterdir():
        if not attempt.is_dir():
            continue
        (copy := attempt / "copy").mkdir()
        made = [Path(shutil.copyfile(raw, copy / raw.name)) for raw in (attempt / "frames").iterdir()]
        if synced:
            for path in made:
                REAL_DISK.sync(path)
            REAL_DISK.fsync_folder(copy)


def _imported(root: Path, attempts: int) -> float:
    """Import a dataset in a process of its own, and return that one's peak memory in MB."""
    section = root / f"of_{attempts}"
    _dataset(root / "first", section, attempts)
    return in_child(_import, section)[1]


def _memory(what: str, attempts: int, few: float, many: float) -> Row:
    return Row(
        figure=f"  memory of the {what}, {attempts * FRAMES} files",
        goal=f"<= {MEMORY_GOAL_MB:.0f} MB",
        measured=f"{many:.0f} MB",
        met=max(few, many) <= MEMORY_GOAL_MB,
        peak_mb=many,
        peer=f"{attempts * FRAMES // 10} files: {few:.0f} MB",
    )


def _index(section: Path) -> None:
    found = index_of([Section(root=section, kind=FrameKind.DARK)], section / "index.csv")
    if found.left_out:
        raise RuntimeError(f"left out: {found.left_out[:3]}")


def _headers(section: Path) -> None:
    """Read by astropy every value of the headers; it leaves what nobody asks for as text."""
    for path in section.rglob("*.fits"):
        dict(fits.getheader(path))


def _values(section: Path) -> None:
    """Read by astropy only what the index lists of headers."""
    for path in section.rglob("*.fits"):
        header = fits.getheader(path)
        for keyword in ("CALTYPE", "TEMP", "ZEROFRAC", "BADSIZE"):
            header.get(keyword)


def _first_attempt(folder: Path, side: int) -> None:
    """Write frames with noise, and their settings."""
    (folder / "frames").mkdir(parents=True)
    (folder / "configFile.txt").write_text(f"HEIGHT={side}\nWIDTH={side}\nBIT_DEPTH=16\nCAMERA=Cam\n", encoding="utf-8")
    pixels = np.random.default_rng(1).normal(1000, 7, side * side).round().astype("<u2")
    for n in range(FRAMES):
        frame = np.roll(pixels, 7919 * n)
        frame[0] = n  # frames of a camera differ in their sum
        frame.tofile(folder / "frames" / f"exp_1s_frame{n}.raw")


def _dataset(first: Path, section: Path, attempts: int) -> None:
    """Make a section of so many attempts: links to the files of the first one, and a log of its own in each."""
    for number in range(attempts):
        place = section / f"attempt{number}"
        (place / "frames").mkdir(parents=True)
        for path in first.rglob("*.*"):
            if path.is_file():
                (place / path.relative_to(first)).hardlink_to(path)
        at = [number * FRAMES + n for n in range(FRAMES)]
        lines = [f"{n},{1000.5 + k},20,1000000,1001000,100,{20 + 1e-4 * k:.4f},20,0.05,2.5" for n, k in enumerate(at)]
        (place / "temperatureLog.csv").write_text("\n".join([COLUMNS, *lines]) + "\n", encoding="utf-8")
