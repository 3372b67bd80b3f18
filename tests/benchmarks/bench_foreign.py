"""Masters of another program's frames, from the command to its end: `--step masters` over 40 darks of 61 megapixels.

Frames lie in the page cache and are in no catalogue yet: each is read once for cards, level and hash, then combined.
Beside it stands what no program can do without, reading all of them once, and Siril's whole process where `siril-cli`
is there.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from services.workflow.compiling import compile_all
from tests.benchmarks.harness import FULL, QUICK, Row, Timing, in_child, peak_of_children_mb

FRAMES = 40
GOAL_S = 4.5
"""Of a usual computer with two cores."""

_CONFIG = """\
camera: {camera_type: alpaca, alpaca: {host: localhost, port: 11111}}
storage: {min_free_mb: 10}
"""
_PIECE_BYTES = 1 << 22


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield one row for the whole step, one for its pass over the files, and one for Siril."""
    shape, turns = (QUICK, 1) if quick else (FULL, 3)
    compile_all()
    with tempfile.TemporaryDirectory(prefix="bench-foreign-", dir=Path.cwd()) as folder:
        root = Path(folder)
        paths = _write(root, shape)
        _hashed(paths)  # so that all of them are in the page cache
        whole, hashed, peak = [], [], 0.0
        for _ in range(turns):
            hashed.append(_timed_hash(paths))
            done = _run(root)
            whole.append(done.took_s)
            peak = max(peak, done.peak_mb)
        step, least = Timing(runs=tuple(whole)), Timing(runs=tuple(hashed))
        yield Row(
            figure=f"--step masters, {FRAMES} foreign darks, whole process",
            goal=f"<= {GOAL_S} s",
            measured=str(step),
            ratio=step / least,
            met=None if quick else step.median <= GOAL_S,
            peak_mb=peak,
            peer=f"reading and hashing them alone, {os.cpu_count()} cores: {least}",
        )
        yield _against_siril(root, paths, step)


def _write(root: Path, shape: tuple[int, int]) -> list[Path]:
    """Write darks whose noise is that of one frame, shifted by another number of pixels in each."""
    (root / "darks").mkdir()
    (root / "config.yaml").write_text(_CONFIG, encoding="utf-8")
    pixels = np.random.default_rng(1).normal(1000, 7, shape).round().astype(np.uint16).ravel()
    paths = []
    for i in range(FRAMES):
        cards = {"IMAGETYP": "DARK", "EXPTIME": 30.0, "INSTRUME": "Cam", "DATE-OBS": f"2024-01-02T20:{i:02}:00"}
        cards |= {"GAIN": 100, "CCD-TEMP": -10.0, "SET-TEMP": -10.0}
        paths.append(root / "darks" / f"d{i:03}.fits")
        fits.writeto(paths[-1], np.roll(pixels, 7919 * i).reshape(shape), fits.Header(list(cards.items())))
    return paths


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A process that has ended: its seconds, its peak memory, and what it said last if it failed."""

    took_s: float
    peak_mb: float
    failure: str = ""


def _done(command: list[str], said: str = "", settings: Path | None = None) -> _Done:
    """Run a command that reads `said` and keeps its settings in a folder of ours."""
    start = time.perf_counter()
    environment = os.environ | ({} if settings is None else {"XDG_CONFIG_HOME": str(settings)})
    done = subprocess.run(command, input=said, text=True, capture_output=True, check=False, env=environment)
    took_s = time.perf_counter() - start
    failure = (done.stdout + done.stderr)[-200:].strip() if done.returncode else ""
    return _Done(took_s=took_s, peak_mb=peak_of_children_mb(), failure=failure)


def _run(root: Path) -> _Done:
    """Run the step on a root without a catalogue; return what the whole process took."""
    for name in (".nightcal", "master_frames", "reports", "logs"):
        shutil.rmtree(root / name, ignore_errors=True)
    command = [sys.executable, "-m", "services.cli.main", "run", "--step", "masters", "--no-confirm"]
    done, _ = in_child(_done, [*command, "-c", str(root / "config.yaml")])  # what this process holds would count too
    if done.failure:
        raise RuntimeError(f"the masters step failed: {done.failure}")
    return done


def _timed_hash(paths: list[Path]) -> float:
    start = time.perf_counter()
    _hashed(paths)
    return time.perf_counter() - start


def _hashed(paths: list[Path]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(_hash, paths))


def _hash(path: Path) -> str:
    digest, piece = hashlib.sha256(), bytearray(_PIECE_BYTES)
    with path.open("rb", buffering=0) as file:
        while got := file.readinto(piece):
            digest.update(memoryview(piece)[:got])
    return digest.hexdigest()


def _against_siril(root: Path, paths: list[Path], step: Timing) -> Row:
    figure = "the same darks, Siril's whole process"
    siril = shutil.which("siril-cli") or shutil.which("siril")
    if siril is None:
        return Row(figure=figure, measured=str(step), peer="siril-cli is not installed")
    folder = root / "siril"
    folder.mkdir()
    for i, path in enumerate(paths, 1):
        (folder / f"d_{i:05d}.fits").hardlink_to(path)
    script = f"requires 1.0.0\nsetext fits\ncd {folder}\nstack d_ rej s 3 3 -nonorm\nclose\n"
    done, _ = in_child(_done, [siril, "-s", "-"], script, root)
    if done.failure or not (folder / "d_stacked.fits").exists():
        return Row(figure=figure, measured=str(step), peer=f"siril failed: {done.failure[-80:]}")
    took = Timing(runs=(done.took_s,))
    return Row(
        figure=figure,
        measured=str(step),
        ratio=took / step,
        peer=f"Siril, stack rej s 3 3 -nonorm: {took}, {done.peak_mb:.0f} MB",
    )
