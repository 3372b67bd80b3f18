"""Building a master of 40 frames of 61 megapixels against other programs that combine the same frames.

ccdproc combines a few and some more rows of the frames: a straight line through both times tells that of all of them
(less than it would take: it reads whole files again for each of its chunks). Siril runs where `siril-cli` is installed.
Our time is that of the masters step from the catalogue to the three files, written and synced, frames in the page
cache; what it pays besides for starting up, and what of it are hash and sums, is printed beside.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.stats import mad_std

from services.storage.cards import sum_of
from services.workflow.warm_up import warm_up
from tests.benchmarks.combine_bed import PLANE_BYTES, WORKERS, Bed, make, master, timed
from tests.benchmarks.harness import FULL, QUICK, Row, Timing, alternated, in_child

REPOSITORY = Path(__file__).resolve().parents[2]
CCDPROC_ROWS = (32, 128)
CCDPROC: dict[str, dict[str, Any]] = {
    "its guide's median and mad_std, 5 sigma": {
        "sigma_clip": True,
        "sigma_clip_low_thresh": 5,
        "sigma_clip_high_thresh": 5,
        "sigma_clip_func": np.ma.median,
        "sigma_clip_dev_func": mad_std,
    },
    "median and std, 3 sigma": {
        "sigma_clip": True,
        "sigma_clip_low_thresh": 3,
        "sigma_clip_high_thresh": 3,
        "sigma_clip_func": np.ma.median,
        "sigma_clip_dev_func": np.ma.std,
    },
}
"""How ccdproc is called; each clips once, where we clip until it is settled."""


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield a row a program, and what a single master pays besides."""
    warm_up()
    with tempfile.TemporaryDirectory(prefix="bench-peers-", dir=Path.cwd()) as folder:
        bed = Bed(root=Path(folder), shape=QUICK if quick else FULL, frames=40)
        make(bed, flats=False)
        yield from _against_others(bed, quick=quick)


def _against_others(bed: Bed, *, quick: bool) -> Iterator[Row]:
    found, peak = in_child(_masters, bed, 3)
    mine: Timing = found["master"]
    yield from _beside(bed)
    for name, recipe in CCDPROC.items():
        (whole_s, few, more), peer_mb = in_child(_ccdproc, bed, recipe)
        yield Row(
            figure=f"ccdproc's time for a master's, {name}",
            goal=">= 200 x",
            measured=str(mine),
            ratio=whole_s / mine.median,
            met=None if quick else whole_s / mine.median >= 200,
            peak_mb=peak,
            peer=f"ccdproc.combine {whole_s:.0f} s, from {few} and {more} of {bed.shape[0]} rows ({peer_mb:.0f} MB)",
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
        peak_mb=peak,
        peer=f"siril-cli, stack rej s 3 3 -nonorm {seconds}",
    )


def _beside(bed: Bed) -> Iterator[Row]:
    """Yield what a single master pays besides: starting up, and what of its time is hashing and sums."""
    started = Timing(runs=tuple(in_child(_start_up)[0] for _ in range(3)))
    yield Row(figure="  start-up before it: imports, compiled code loaded", measured=str(started))
    found, _ = in_child(_hashing, bed)
    yield Row(figure="  of it: SHA-256 of MEAN (one core)", measured=str(found["hash"]))
    yield Row(figure="  of it: DATASUM of all planes (one core)", measured=str(found["sum"]))


def _masters(bed: Bed, repeats: int) -> dict[str, Timing]:
    return alternated({"master": partial(master, bed, "stack")}, repeats=repeats)


def _start_up() -> float:
    """Return the seconds until the masters step can begin, in a process that has imported nothing of it."""
    code = "import services.masters, services.workflow.warm_up as w; w.warm_up()"
    return timed(lambda: subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True))


def _hashing(bed: Bed) -> dict[str, Timing]:
    mean, planes = np.ones(bed.shape, np.float32).data.cast("B"), bytes(PLANE_BYTES * bed.pixels)
    runs = {"hash": lambda: hashlib.sha256(mean).hexdigest(), "sum": lambda: str(sum_of(planes))}
    return alternated(runs, repeats=3)


def _ccdproc(bed: Bed, recipe: dict[str, Any]) -> tuple[float, int, int]:
    """Combine some rows of the frames, as files of their own; return the time of all, and how many were taken."""
    few, more = (min(rows, bed.shape[0]) for rows in CCDPROC_ROWS)
    _ccdproc_rows(bed, min(8, few), recipe)  # its imports and first calls
    first_s, second_s = _ccdproc_rows(bed, few, recipe), _ccdproc_rows(bed, more, recipe)
    return first_s + (second_s - first_s) / (more - few) * (bed.shape[0] - few), few, more


def _ccdproc_rows(bed: Bed, rows: int, recipe: dict[str, Any]) -> float:
    import ccdproc
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    with tempfile.TemporaryDirectory(dir=bed.root) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        names = []
        for path in bed.darks():
            with fits.open(path) as units:
                name = Path(folder) / path.name
                fits.PrimaryHDU(units[0].section[:rows]).writeto(name)
            names.append(str(name))
        return timed(lambda: ccdproc.combine(names, method="average", unit="adu", mem_limit=1e9, **recipe))


def _siril(program: str, bed: Bed) -> float:
    """Stack links to the frames, with as many threads as we use."""
    with tempfile.TemporaryDirectory(dir=bed.root) as folder:
        for number, path in enumerate(bed.darks(), 1):
            (Path(folder) / f"bench_{number:05d}.fit").symlink_to(path)
        script = Path(folder) / "bench.ssf"
        script.write_text(f"requires 1.0.0\nsetext fit\nsetcpu {WORKERS}\nstack bench_ rej s 3 3 -nonorm -out=out\n")
        command = [program, "-d", folder, "-s", str(script)]
        return timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
