"""A whole tree of raw frames as a laboratory leaves it: three sections, and an attempt for each kind of damage."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.raw_tree import attempt, rewrite

FRAMES = 4
MANY = 12
"""Frames of the first attempt: frame10 comes after frame9."""
FAULTS_IN = "TestSection2/Faults"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """An attempt: where it is, and what its frames are."""

    folder: str
    kind: str
    celsius: float
    exposure_s: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """What is true of a raw file, whose path is as seen from the tree."""

    path: str
    kind: str
    celsius: float
    exposure_s: float
    number: int


def series() -> Iterator[Series]:
    """Yield the attempts of the three sections in the order in which they are to come out."""
    for celsius in (-10.0, 0.0, 20.0):
        for number in (1, 2):
            name = f"BiasT{celsius:g}_exp1.2e-05sAt{number}f{{n}}.raw"
            folder = f"TestSection1/T{celsius:g}/attempt{number}"
            yield Series(folder=folder, kind="BIAS", celsius=celsius, exposure_s=12e-6, name=name)
    places = [(f"ContinuousFrames/T{celsius:g}", celsius, s) for celsius in (-10.0, 20.0) for s in (0.5, 5.0)]
    for place, celsius, seconds in [*places, ("20Frames", 20.0, 0.1), ("20Frames", 20.0, 2.0)]:
        folder, name = f"TestSection2/{place}/{seconds:g}s/attempt1", f"exp_{seconds:g}s_frame{{n}}.raw"
        yield Series(folder=folder, kind="DARK", celsius=celsius, exposure_s=seconds, name=name)
    for celsius, seconds in ((0.0, 0.5), (20.0, 1.0)):
        folder, name = f"TestSection3/Lab/Set1/T{celsius:g}/{seconds:g}s/attempt1", f"exp_{seconds:g}s_frame{{n}}.raw"
        yield Series(folder=folder, kind="FLAT", celsius=celsius, exposure_s=seconds, name=name)
    name = "FlatT20_exp0.75sf{n}.raw"
    yield Series(folder="TestSection3/T20", kind="FLAT", celsius=20.0, exposure_s=0.75, name=name)


def write_tree(root: Path, *, old_log: bool, frames: int = FRAMES) -> list[Raw]:
    """Write the sound attempts of a tree, and return what is true of their files."""
    raws: list[Raw] = []
    for each in series():
        raws += _take(root, each, old_log=old_log, frames=frames if raws else MANY)
    return raws


def write_fault(root: Path, fault: str, *, old_log: bool) -> list[Raw]:
    """Write one attempt and spoil it; return what was true of its files, under the names that they have now."""
    folder = f"{FAULTS_IN}/{fault}/1s/attempt1"
    whole = Series(folder=folder, kind="DARK", celsius=20.0, exposure_s=1.0, name="exp_1s_frame{n}.raw")
    raws = _take(root, whole, old_log=old_log, frames=FRAMES)
    FAULTS[fault](root / folder)
    return raws


def _take(root: Path, taken: Series, *, old_log: bool, frames: int) -> list[Raw]:
    attempt(
        root / taken.folder,
        name=taken.name,
        frames=frames,
        celsius=taken.celsius,
        old_log=old_log,
        exposure_s=taken.exposure_s,
    )
    return [
        Raw(
            path=f"{taken.folder}/frames/{taken.name.format(n=n)}",
            kind=taken.kind,
            celsius=round(taken.celsius + 0.01 * n, 2),
            exposure_s=taken.exposure_s,
            number=n,
        )
        for n in range(frames)
    ]


def first(folder: Path) -> Path:
    """Return the raw file that most kinds of damage spoil."""
    return folder / "frames/exp_1s_frame0.raw"


def log(folder: Path) -> Path:
    """Return the log of an attempt."""
    return folder / "temperatureLog.csv"


def _settings(folder: Path) -> Path:
    return folder / "configFile.txt"


def short_file(folder: Path) -> None:
    """Cut five values off the first frame."""
    first(folder).write_bytes(first(folder).read_bytes()[:-10])


def long_file(folder: Path) -> None:
    """Append five values to the first frame."""
    first(folder).write_bytes(first(folder).read_bytes() + bytes(10))


def zeros(folder: Path) -> None:
    """Give the frames a hundred pixels and more: of the first, 1.25 % are 0; of the second exactly 1 %."""
    rewrite(_settings(folder), lambda text: text.replace("HEIGHT=6", "HEIGHT=20").replace("WIDTH: 10", "WIDTH: 20"))
    for n, path in enumerate(sorted((folder / "frames").iterdir())):
        pixels = np.full(400, 1000, "<u2")
        pixels[: {0: 5, 1: 4}.get(n, 0)] = 0
        pixels.tofile(path)


def missing_log(folder: Path) -> None:
    """Remove the log."""
    log(folder).unlink()


def inf_and_nan(folder: Path) -> None:
    """Write `inf` and `NaN` into the last column of the first two rows."""
    lines = log(folder).read_text(encoding="utf-8").splitlines()
    for line, word in ((1, "inf"), (2, "NaN")):
        lines[line] = f"{lines[line].rpartition(',')[0]},{word}"
    log(folder).write_text("\n".join(lines) + "\n", encoding="utf-8")


def duplicate_row(folder: Path) -> None:
    """Repeat the first row of the log at its end."""
    rewrite(log(folder), lambda text: text + text.splitlines()[1] + "\n")


def decimal_comma(folder: Path) -> None:
    """Write the log as a spreadsheet of the continent does."""
    rewrite(log(folder), lambda text: text.replace(",", ";").replace(".", ","))


def bom(folder: Path) -> None:
    """Put a byte order mark before log and settings."""
    for path in (log(folder), _settings(folder)):
        rewrite(path, lambda text: f"\ufeff{text}")


def other_column(folder: Path) -> None:
    """Give the column of the temperature another name."""
    rewrite(
        log(folder),
        lambda text: text.replace(",Temperature,", ",ChipTemp,").replace("frame,temperature", "frame,ChipTemp"),
    )


def no_config(folder: Path) -> None:
    """Remove the settings."""
    _settings(folder).unlink()


def no_frame_number(folder: Path) -> None:
    """Take the number out of a frame's name."""
    first(folder).rename(first(folder).with_name("exp_1s_last.raw"))


def eight_bit(folder: Path) -> None:
    """Store one byte a pixel."""
    rewrite(_settings(folder), lambda text: text.replace("BIT_DEPTH=16", "BIT_DEPTH=8"))
    for path in (folder / "frames").iterdir():
        (np.fromfile(path, "<u2") >> 8).astype(np.uint8).tofile(path)


def other_size(folder: Path) -> None:
    """Keep the upper half of the image, and say so in the settings."""
    rewrite(_settings(folder), lambda text: text.replace("HEIGHT=6", "HEIGHT=3"))
    for path in (folder / "frames").iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FAULTS: dict[str, Callable[[Path], None]] = {
    spoil.__name__: spoil
    for spoil in (
        short_file, long_file, zeros, missing_log, inf_and_nan, duplicate_row, decimal_comma, bom, other_column,
        no_config, no_frame_number, eight_bit, other_size,
    )
}  # fmt: skip
