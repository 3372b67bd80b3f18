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
from pathlib import Path

import numpy as np
from astropy.io import fits

from services.workflow.compiling import compile_all
from tests.benchmarks.harness import FULL, QUICK, Row, Timing

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
        whole, hashed = [], []
        for _ in range(turns):
            hashed.append(_timed_hash(paths))
            whole.append(_run(root))
        step, least = Timing(runs=tuple(whole)), Timing(runs=tuple(hashed))
        yield Row(
            figure=f"--step masters, {FRAMES} foreign darks, whole process",
            goal=f"<= {GOAL_S} s",
            measured=str(step),
            ratio=step / least,
            met=None if quick else step.median <= GOAL_S,
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


def _run(root: Path) -> float:
    """Run the step on a root without a catalogue; return the seconds of the whole process."""
    for name in (".nightcal", "master_frames", "reports", "logs"):
        shutil.rmtree(root / name, ignore_errors=True)
    command = [sys.executable, "-m", "services.cli.main", "run", "--step", "masters", "--no-confirm"]
    start = time.perf_counter()
    subprocess.run([*command, "-c", str(root / "config.yaml")], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


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
    script = f"requires 1.0.0\ncd {folder}\nstack d_ rej s 3 3 -nonorm\n"
    start = time.perf_counter()
    done = subprocess.run([siril, "-s", "-"], input=script, text=True, capture_output=True, check=False)
    took = Timing(runs=(time.perf_counter() - start,))
    if done.returncode:
        return Row(figure=figure, measured=str(step), peer=f"siril failed: {done.stdout[-80:].strip()}")
    return Row(figure=figure, measured=str(step), ratio=took / step, peer=f"Siril, stack rej s 3 3 -nonorm {took}")
