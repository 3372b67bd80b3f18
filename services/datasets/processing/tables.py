"""The tables of a processed dataset: what each frame shows and became, and the masters."""

import math
from collections.abc import Iterator
from pathlib import Path

from calibration.errors import CalibrationError
from calibration.keywords import normalised
from services.datasets.fits_index import path_from, table_text
from services.datasets.frame import DatasetFrame
from services.datasets.processing.processing import Processed
from services.errors import StorageError
from services.files.disk import REAL_DISK, Disk, write_text
from services.files.fits import read_cards

STATISTICS = ("PATH", "CALTYPE", "TEMP", "EXPTIME", "MEAN", "MEDIAN", "STD", "P16", "P84")
FRAMES = ("PATH", "CALTYPE", "STAGE", "TEMP", "EXPTIME", "ATTEMPT", "MASTER", "USED", "WHY")
MASTERS = (
    "PATH", "CALTYPE", "STAGE", "ATTEMPT", "TEMP", "EXPTIME", "NSOURCE", "MEAN", "MEDIAN", "STD", "BIAS", "VERDICT",
    "REMARKS",
)  # fmt: skip


def write_frames(found: Processed, out: Path, disk: Disk = REAL_DISK) -> None:
    """Write frame_stats.csv and frames.csv in place of older ones; raises `StorageError`."""
    statistics = out / "frame_stats.csv"
    write_text(statistics, table_text(list(_statistics(found, statistics)), STATISTICS), disk, replace=True)
    frames = out / "frames.csv"
    write_text(frames, table_text(list(_frames(found, frames)), FRAMES), disk, replace=True)


def write_masters(found: Processed, out: Path, disk: Disk = REAL_DISK) -> None:
    """Write masters.csv in place of an older one; raises `StorageError`."""
    masters = out / "masters.csv"
    write_text(masters, table_text(list(_masters(found, masters)), MASTERS), disk, replace=True)


def _statistics(found: Processed, table: Path) -> Iterator[dict[str, str]]:
    for frame in found.frames:
        numbers = found.numbers.get(frame.path)
        if numbers is None or numbers.problem:
            continue
        yield _facts(frame, table) | {
            "MEAN": _text(numbers.mean),
            "MEDIAN": _text(numbers.median),
            "STD": _text(numbers.std),
            "P16": _text(numbers.p16),
            "P84": _text(numbers.p84),
        }


def _frames(found: Processed, table: Path) -> Iterator[dict[str, str]]:
    masters = {frame.path: group.name for group in found.groups for frame in group.frames}
    for frame in found.frames:
        why = found.unused.get(frame.path, "")
        yield _facts(frame, table) | {
            "STAGE": frame.stage,
            "ATTEMPT": frame.attempt,
            "MASTER": masters.get(frame.path, ""),
            "USED": str(not why),
            "WHY": why,
        }
    known = {frame.path for frame in found.frames}
    for path, why in found.unused.items():
        if path not in known:
            yield {"PATH": path_from(table, path), "USED": "False", "WHY": why}


def _facts(frame: DatasetFrame, table: Path) -> dict[str, str]:
    header = frame.header
    return {
        "PATH": path_from(table, frame.path),
        "CALTYPE": header.kind.value,
        "TEMP": _text(header.ccd_temp_c),
        "EXPTIME": _text(header.exposure_s),
    }


def _masters(found: Processed, table: Path) -> Iterator[dict[str, str]]:
    for each in found.masters:
        wanted = each.wanted
        row = {
            "PATH": path_from(table, wanted.path),
            "CALTYPE": wanted.group.kind.value,
            "STAGE": wanted.group.stage,
            "ATTEMPT": wanted.attempt,
            "TEMP": _text(wanted.group.temperature_c),
            "EXPTIME": _text(None if wanted.group.exposure_us is None else wanted.group.exposure_us / 1e6),
            "REMARKS": "; ".join(each.remarks),
        }
        if each.state == "failed":
            yield row | {"VERDICT": "failed"}
            continue
        cards = _cards(wanted.path)
        row |= {name: _text(cards.get(name)) for name in ("NSOURCE", "MEAN", "MEDIAN", "STD", "VERDICT")}
        yield row | {"BIAS": "" if wanted.bias is None else wanted.bias.path.name}


def _cards(path: Path) -> dict[str, object]:
    try:
        return dict(normalised(read_cards(path)))
    except (StorageError, CalibrationError):
        return {}


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.12g}" if isinstance(value, float) else str(value)
