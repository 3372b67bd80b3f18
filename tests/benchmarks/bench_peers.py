"""Combining and writing 40 frames of 61 megapixels against other programs that do the same with the same frames.

Frames lie in the page cache, and nobody syncs. Siril writes one image: so do we beside it, MEAN. ccdproc gives values,
deviations and mask: beside it we write all planes. It is given some of the columns and, of the memory it may use, the
same part: it reads its files again for each of its chunks, which are some whole rows: the same chunks as of whole
frames. A straight line through the times of two widths tells that of all columns; a third width shows whether it holds.
What a master pays besides (starting up, flags, hash, syncing) is printed beside. Siril runs where `siril-cli` is there.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.stats import mad_std
from numpy.typing import NDArray

from calibration.combine.recipe import BandPlanes, Method
from calibration.frames import FrameKind
from services.bands import Band
from services.files.cards import sum_of
from services.files.planes import Plane, create_planes
from services.masters.stack import BandResult, Stack
from services.workflow.compiling import compile_all
from tests.benchmarks.combine_bed import PLANE_BYTES, WORKERS, Bed, combine, make, master, prepared, timed
from tests.benchmarks.harness import FULL, QUICK, Row, Timing, alternated, in_child

REPOSITORY = Path(__file__).resolve().parents[2]
CCDPROC_PARTS = (32, 8, 16)
"""The columns given to ccdproc are one in so many; of the third, to see that its time grows along the line."""

CCDPROC_MEMORY = 1e9
"""Bytes that ccdproc may use for whole frames."""

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

PLANES: dict[str, tuple[Any, Callable[[BandPlanes], NDArray[Any]]]] = {
    "MEAN": (np.float32, lambda found: found.mean),
    "SIGMA": (np.float32, lambda found: found.sigma),
    "COUNT": (np.uint16, lambda found: found.count),
    "MASK": (np.uint16, lambda found: found.mask),
}


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield a row a program, and what a single master pays besides."""
    compile_all()
    with tempfile.TemporaryDirectory(prefix="bench-peers-", dir=Path.cwd()) as folder:
        bed = Bed(root=Path(folder), shape=QUICK if quick else FULL, frames=40)
        make(bed, flats=False)
        yield from _against_others(bed, quick=quick)


def _against_others(bed: Bed, *, quick: bool) -> Iterator[Row]:
    found, peak = in_child(_ours, bed, 3)
    yield from _beside(bed, found["master"])
    for name, recipe in CCDPROC.items():
        yield _against_ccdproc(bed, name, recipe, found["planes"], peak, proven=not quick)
    yield _against_siril(bed, found["mean"], peak)


def _against_ccdproc(bed: Bed, name: str, recipe: dict[str, Any], mine: Timing, peak: float, *, proven: bool) -> Row:
    times, peer_mb = in_child(_ccdproc, bed, recipe, CCDPROC_PARTS[: 3 if proven else 2])
    whole_s = _on_the_line(times, 1)
    proof = "".join(f", 1/{part} foretold as {_on_the_line(times, part):.1f} s" for part in list(times)[2:])
    taken = ", ".join(f"{seconds:.1f} s of 1/{part}" for part, seconds in times.items())
    return Row(
        figure="combined, all planes written",
        goal="ccdproc >= 200 x",
        measured=str(mine),
        ratio=whole_s / mine.median,
        met=whole_s / mine.median >= 200,
        peak_mb=peak,
        peer=f"ccdproc.combine, {name}: {whole_s:.0f} s, from {taken} of columns and memory{proof} ({peer_mb:.0f} MB)",
    )


def _on_the_line(times: dict[int, float], part: int) -> float:
    """Return the seconds for one in `part` columns by the line through those of the first two parts."""
    few, more = CCDPROC_PARTS[:2]
    slope = (times[more] - times[few]) / (1 / more - 1 / few)
    return times[few] + slope * (1 / part - 1 / few)


def _against_siril(bed: Bed, mine: Timing, peak: float) -> Row:
    siril = shutil.which("siril-cli") or shutil.which("siril")
    row = Row(
        figure="combined, MEAN written",
        goal="Siril >= 15 x",
        measured=str(mine),
        peak_mb=peak,
        peer="siril-cli is not installed",
    )
    if siril is None:
        return row
    theirs = Timing(runs=tuple(_siril(siril, bed) for _ in range(3)))
    return replace(
        row, ratio=theirs / mine, met=theirs / mine >= 15, peer=f"siril-cli, stack rej s 3 3 -nonorm {theirs}"
    )


def _beside(bed: Bed, whole: Timing) -> Iterator[Row]:
    """Yield what a master pays besides: the whole of it, starting up, and what of its time is hashing and sums."""
    yield Row(figure="  a master: all of it, flagged, hashed, synced", measured=str(whole))
    started = Timing(runs=tuple(in_child(_start_up)[0] for _ in range(3)))
    yield Row(figure="  start-up before it: imports, compiled code loaded", measured=str(started))
    found, _ = in_child(_hashing, bed)
    yield Row(figure="  of it: SHA-256 of MEAN (one core)", measured=str(found["hash"]))
    yield Row(figure="  of it: DATASUM of all planes (one core)", measured=str(found["sum"]))


def _ours(bed: Bed, repeats: int) -> dict[str, Timing]:
    stack = prepared(bed, FrameKind.DARK, Method.SIGMA_CLIP)
    runs: dict[str, Callable[[], object]] = {
        "planes": partial(_written, bed, stack, tuple(PLANES)),
        "mean": partial(_written, bed, stack, ("MEAN",)),
        "master": partial(master, bed, "stack"),
    }
    return alternated(runs, repeats=repeats)


def _written(bed: Bed, stack: Stack, names: tuple[str, ...]) -> float:
    """Combine the frames and write these planes of theirs; return the seconds."""
    planes = tuple(Plane(name=name, dtype=PLANES[name][0]) for name in names)
    with create_planes(bed.root / "written.fits", planes, bed.shape) as file:

        def write(band: Band, result: BandResult) -> None:
            for name in names:
                file.write(name, band.start, PLANES[name][1](result.planes))

        return timed(lambda: combine(stack, write))


def _start_up() -> float:
    """Return the seconds until the masters step can begin, in a process that has imported nothing of it."""
    code = "import services.masters, services.workflow.compiling as c; c.compile_all()"
    return timed(lambda: subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True))


def _hashing(bed: Bed) -> dict[str, Timing]:
    mean, planes = np.ones(bed.shape, np.float32).data.cast("B"), bytes(PLANE_BYTES * bed.pixels)
    runs = {"hash": lambda: hashlib.sha256(mean).hexdigest(), "sum": lambda: str(sum_of(planes))}
    return alternated(runs, repeats=3)


def _ccdproc(bed: Bed, recipe: dict[str, Any], parts: tuple[int, ...]) -> dict[int, float]:
    """Return the seconds for each part of the columns."""
    _ccdproc_rows(bed, parts[0] * 8, recipe)  # its imports and first calls
    return {part: _ccdproc_rows(bed, part, recipe) for part in parts}


def _ccdproc_rows(bed: Bed, part: int, recipe: dict[str, Any]) -> float:
    """Combine one in `part` columns of the frames, as files of their own, with the same part of the memory."""
    import ccdproc
    from astropy import log
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    log.setLevel("WARNING")
    with tempfile.TemporaryDirectory(dir=bed.root) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        names = []
        for path in bed.darks():
            with fits.open(path) as units:
                name = Path(folder) / path.name
                fits.PrimaryHDU(units[0].section[:, : max(1, bed.shape[1] // part)]).writeto(name)
            names.append(str(name))
        few = partial(ccdproc.combine, names, method="average", unit="adu", mem_limit=CCDPROC_MEMORY / part, **recipe)
        return timed(lambda: few(output_file=str(Path(folder) / "combined.fits")))


def _siril(program: str, bed: Bed) -> float:
    """Stack links to the frames, with as many threads as we use."""
    with tempfile.TemporaryDirectory(dir=bed.root) as folder:
        for number, path in enumerate(bed.darks(), 1):
            (Path(folder) / f"bench_{number:05d}.fit").symlink_to(path)
        script = Path(folder) / "bench.ssf"
        script.write_text(f"requires 1.0.0\nsetext fit\nsetcpu {WORKERS}\nstack bench_ rej s 3 3 -nonorm -out=out\n")
        command = [program, "-d", folder, "-s", str(script)]
        return timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
