"""A tree of raw frames as cameras of a laboratory write them: sections, attempts, settings and logs."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 6, 10
COLUMNS = (
    "FrameNum,TimeStamp,ExtTemperature,ExpTime,RealExpTime,ExpGain,Temperature,InitialTemp,DeltaTemperature,PowerCons"
)


def attempt(
    folder: Path,
    *,
    name: str = "exp_1s_frame{n}.raw",
    frames: int = 3,
    celsius: float = 20.0,
    frames_dir: str = "frames",
    level: int = 1000,
    old_log: bool = False,
    exposure_s: float = 1.0,
    pixels: Callable[[], NDArray[np.uint16]] | None = None,
) -> Path:
    """Write an attempt, and return its folder: each frame has the values level + 0 … level + 59 in an order of its own.

    Or what `pixels` returns for each of them.

    As of a camera, no two frames of a tree are equal.
    """
    place = folder / frames_dir
    place.mkdir(parents=True)
    shape = (HEIGHT, WIDTH)
    rows = ["frame,temperature"] if old_log else [COLUMNS]
    for n in range(frames):
        order = np.random.default_rng(zlib.crc32(os.fsencode(f"{folder} {n}")))
        values = level + order.permutation(HEIGHT * WIDTH) if pixels is None else pixels()
        shape = shape if pixels is None else values.shape
        values.astype("<u2").tofile(place / name.format(n=n))
        warm = celsius + 0.01 * n
        new = (n, 1000.5 + n, celsius, 1e6 * exposure_s, 1.001e6 * exposure_s, 100, warm, celsius, 0.05, 2.5)
        rows.append(f"{n},{warm:.2f}" if old_log else ",".join(map(str, new)))
    (folder / "configFile.txt").write_text(
        f"# capture settings\n\nHEIGHT={shape[0]}\nWIDTH: {shape[1]}\nBIT_DEPTH=16\nCAMERA=SimCMOS\n", encoding="utf-8"
    )
    (folder / "temperatureLog.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Change the text of a file."""
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
