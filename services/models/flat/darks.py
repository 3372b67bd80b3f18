"""The dark of each flat: the one nearest in temperature and exposure, of the dataset or of a list."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import HeaderError
from calibration.frames import FrameKind
from calibration.keywords import Card, kind_of
from calibration.keywords.provenance import calibrated
from calibration.models.means import group_mean, recipe_for
from services.bands import Band, Source, bands_of, map_bands, read_band, rows_for, source_of
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk
from services.files.planes import Plane, create_planes
from services.files.units import Unreadable, image_unit
from services.models.banding import WORKERS
from services.models.gathering import Member
from services.models.grouping import saturation_of
from services.models.products import base_cards, header_of, put_in_place, refuse_foreign

MOST_C, MOST_S = 5.0, 10.0
"""A dark is no farther from its flat than so many degrees and seconds."""

FOLDER = "flat_darks"

_ADU = {"adu", "adus", "count", "counts", "ct", "dn"}
"""What BUNIT calls the steps of a camera."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dark:
    """A dark that flats may be given: a file, or frames of the dataset whose mean is not made yet."""

    temperature_c: float
    exposure_s: float
    path: Path | None = None
    members: tuple[Member, ...] = ()

    def distance(self, temperature_c: float, exposure_s: float) -> float:
        """Return how far it is from a flat, °C and seconds added; infinity where it is too far."""
        warm, long = abs(self.temperature_c - temperature_c), abs(self.exposure_s - exposure_s)
        return warm + long if warm <= MOST_C and long <= MOST_S else np.inf


def best_dark(darks: Sequence[Dark], temperature_c: float, exposure_s: float) -> Dark | None:
    """Return the dark nearest to a flat; None where all are too far."""
    nearest = min(darks, key=lambda dark: dark.distance(temperature_c, exposure_s), default=None)
    return None if nearest is None or np.isinf(nearest.distance(temperature_c, exposure_s)) else nearest


def darks_of(members: Sequence[Member]) -> tuple[Dark, ...]:
    """Return the darks of a dataset, those of one temperature and exposure together."""
    found: defaultdict[tuple[float, float], list[Member]] = defaultdict(list)
    for member in members:
        if member.kind is FrameKind.DARK:
            found[member.label_c, member.exposure_s].append(member)
    return tuple(
        Dark(
            temperature_c=float(np.mean([member.temperature_c for member in some])),
            exposure_s=exposure,
            members=tuple(some),
        )
        for (_, exposure), some in sorted(found.items())
    )


def darks_in(listed: Path) -> tuple[Dark, ...]:
    """Return the darks of a list: a JSON file of {original_path, temperature, exposure}.

    Raises
    ------
    Usage
        It cannot be read, or is no such list.
    """
    advice = 'write a list of {"original_path": "dark.fits", "temperature": -10, "exposure": 30}'
    try:
        return tuple(_listed(row, listed.parent) for row in json.loads(listed.read_text(encoding="utf-8")))
    except OSError as error:
        raise Usage(f"{listed} cannot be read: {error.strerror}", advice=advice) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Usage(f"{listed} is no list of darks ({error!r})", advice=advice) from error


def _listed(row: Mapping[str, Any], folder: Path) -> Dark:
    celsius, seconds = float(row["temperature"]), float(row["exposure"])
    return Dark(temperature_c=celsius, exposure_s=seconds, path=folder / row["original_path"])


def _unfit(path: Path) -> str | None:
    """Return in words why a file that was named is no dark that can be taken off a flat; None where it is one."""
    cards = image_unit(path).facts
    try:
        kind = kind_of(cards, path).value.upper()
    except HeaderError as error:
        kind = "DARK" if error.found is None else str(error.found)  # whoever named it says that it is one
    unit = str(cards.get("BUNIT") or "adu").strip()
    if kind != FrameKind.DARK.value.upper():
        return f"it is no dark but {kind}: name darks of the flats' temperature and exposure"
    if unit.lower() not in _ADU:
        return f"its values are in {unit}, not in ADU: name darks in ADU, of the flats' exposure"
    if "B" in (calibrated(cards) or ""):
        return (
            "its bias was taken off, and the flat contains it: name darks that contain it, such as single frames or "
            "their mean; of a synthetic dark add the bias of `nightcal model bias synth` first"
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A dark whose pixels can be read, with its path."""

    path: Path
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    sources: tuple[Source, ...]
    step_adu: float
    saturation_adu: float


def ready(dark: Dark, out: Path, shape: tuple[int, int], scratch: Path, disk: Disk = REAL_DISK) -> Ready:
    """Return a dark as a file; the mean of frames of the dataset is made first.

    Parameters
    ----------
    dark : Dark
    out : Path
        Folder of the model; means go to `flat_darks` in it.
    shape : tuple of int
        Of the flats.
    scratch : Path
        Folder for frames that are unpacked; the caller removes it.
    disk : Disk

    Raises
    ------
    Unreadable
        It is missing, damaged, of another size than the flats, no dark, not in ADU, or without its bias.
    """
    if dark.path is not None and (why := _unfit(dark.path)) is not None:
        raise Unreadable(f"{dark.path}: {why}")
    path = dark.path if dark.path is not None else _mean(dark, out, scratch, disk)
    source = source_of(path, scratch)
    if source.location.shape != shape:
        size = source.location.shape
        raise Unreadable(f"{path} has {size[1]} x {size[0]} pixels, the flat {shape[1]} x {shape[0]}")
    return Ready(path=path, source=source)


def _mean(dark: Dark, out: Path, scratch: Path, disk: Disk) -> Path:
    first, label = dark.members[0].frame.header, dark.members[0].label_c
    path = out / FOLDER / f"dark_T{label + 0.0:.1f}_E{dark.exposure_s:g}.fits"
    refuse_foreign([path])
    sources = tuple(source_of(member.frame.path, scratch) for member in dark.members)
    work = _Work(
        sources=sources,
        step_adu=float(max(member.numbers.step for member in dark.members)),
        saturation_adu=saturation_of(dark.members, sources),
    )
    cards = (
        *base_cards(header_of(first, FrameKind.DARK, dark.temperature_c), "MASTER DARK"),
        Card("EXPTIME", dark.exposure_s, "[s] exposure"),
        Card("NCOMBINE", len(sources), "frames of this mean"),
    )
    (height, width), planes = sources[0].location.shape, [Plane(name=n, cards=cards) for n in ("MEAN", "SIGMA")]
    rows = rows_for(memory_mb=128, frames=len(sources) + 8, columns=width, workers=WORKERS)
    with (
        create_planes(path, planes, (height, width), disk) as file,
        ThreadPoolExecutor(WORKERS, "nightcal-darks") as threads,
    ):

        def take(band: Band, found: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
            for name, plane in zip(("MEAN", "SIGMA"), found, strict=True):
                file.write(name, band.start, plane)

        map_bands(work, _mean_band, take, threads, bands_of(height, rows), workers=WORKERS)
        put_in_place([file], disk)
    return path


def _mean_band(work: _Work, band: Band) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = len(work.sources)
    recipe = recipe_for(n, noise_adu=float("nan"), step_adu=work.step_adu)
    found = group_mean(read_band(work.sources, band), np.zeros(n), recipe, saturation_adu=work.saturation_adu)
    count = found.count.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.where(count > 1, np.sqrt(found.squares / (count - 1) / count), np.nan)
    return found.mean, sigma
