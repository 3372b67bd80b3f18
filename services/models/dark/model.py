"""Dark models of a dataset: fitted and written, and darks predicted from them."""

import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.frames import FrameKind
from calibration.models.dark.model import DarkBit, Family, Prediction, predict
from services.bands import Band, bands_of, map_bands, read_rows, rows_for
from services.datasets import SEARCH_DEPTH
from services.datasets.frame import DatasetFrames
from services.files.disk import REAL_DISK, Disk
from services.files.planes import create_planes
from services.models.banding import WORKERS
from services.models.dark.bands import Work, darks_of, fit_bands, shots_of
from services.models.dark.corrected import Announce, bound, corrected_of, write_corrected
from services.models.dark.files import (
    MODEL,
    SIDECAR,
    extrapolation,
    in_seconds,
    mask_name,
    open_targets,
    predicted_planes,
    synthetic_name,
)
from services.models.dark.maps import map_names
from services.models.dark.plan import plan_of
from services.models.dark.read import Read
from services.models.dark.records import Loaded, sidecar_of, write_records
from services.models.gathering import SCRATCH, Gathered, Progress, Refused, gather, of_each
from services.models.products import forget_others, put_in_place, refuse_file, refuse_foreign, refuse_values
from services.models.records import Fitted, files_before


def fit(
    base: Path | DatasetFrames,
    out: Path,
    *,
    family: Family | None = None,
    corrected: Announce | None = None,
    memory_mb: float = 256.0,
    depth: int = SEARCH_DEPTH,
    progress: Progress = lambda *_: None,
    refused: Refused | None = None,
    disk: Disk = REAL_DISK,
) -> tuple[Fitted, ...]:
    """Fit dark models to the frames of a dataset, one for each setting of a camera.

    Parameters and errors that are not named here are those of `services.models.bias.model.fit`.

    Parameters
    ----------
    family : Family, optional
        The one to be fitted; by default that which predicts best what it has not seen.
    corrected : callable, optional
        Each dark less its bias is written too; it gets in words how much they take, before they are.
    memory_mb : float
        For the bands that are worked on at once.

    Raises
    ------
    Usage
        There is no dark that can be used, no bias for `corrected`, or `out` holds files of another program.
    StorageError
        The disk is full, or has no room for `corrected`, or a file cannot be read or written.
    """
    found = gather(base, out, FrameKind.DARK, FrameKind.BIAS, depth=depth, progress=progress, disk=disk)
    wanted = partial(_fitted, family=family, corrected=corrected, memory_mb=memory_mb, progress=progress, disk=disk)
    return of_each(found, out, wanted, refused)


def _fitted(
    gathered: Gathered,
    out: Path,
    *,
    family: Family | None,
    corrected: Announce | None,
    memory_mb: float,
    progress: Progress,
    disk: Disk,
) -> Fitted:
    scratch = out / SCRATCH
    try:
        refuse_foreign([out / MODEL])
        plan = plan_of(gathered, scratch, family)
        darks, shots = plan.darks, shots_of(plan.darks.taken)
        alone = corrected_of(darks) if corrected else ()
        if corrected:
            corrected(bound(alone, darks, out, disk))
        work = Work(darks=darks_of(darks, plan.model.noise), model=plan.model, shots=shots)
        refuse_foreign([out / mask_name(shot) for shot in shots if shot.exposure_s > 0])
        with open_targets(out, plan, shots, disk) as targets:
            paths = [file.path for file in targets.files]
            fit_bands(work, targets.model, targets.masks, memory_mb=memory_mb, progress=progress)
            if alone:
                write_corrected(alone, plan, out, memory_mb=memory_mb, progress=progress, disk=disk)
            put_in_place(targets.files, disk)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    names = [*(path.relative_to(out).as_posix() for path in paths), *map_names(shots), *(each.name for each in alone)]
    forget_others(out, files_before(out / SIDECAR), names, disk)
    sidecar = sidecar_of(plan, shots, names)
    write_records(sidecar, plan.zeros, out, disk)
    return Fitted(folder=out, sidecar=sidecar, remarks=gathered.remarks)


def checked(temperatures_c: Iterable[float], exposures_s: Iterable[float]) -> None:
    """Refuse what is no temperature or no exposure.

    Raises
    ------
    Usage
        One is not a number, is below absolute zero, or is negative.
    """
    refuse_values(temperatures_c, exposures_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthetic:
    """A predicted dark and its file; `extrapolation` says in words that it is one."""

    celsius: float
    exposure_s: float
    path: Path
    inside: bool
    extrapolation: str = ""


def synthesise(
    model: Path, temperatures_c: tuple[float, ...], exposures_s: tuple[float, ...], out: Path, disk: Disk = REAL_DISK
) -> list[Synthetic]:
    """Write the dark that a model predicts at each temperature and exposure, with its error; return the files.

    Parameters
    ----------
    model : Path
        As for `load`.
    temperatures_c : tuple of float
        Of the sensor, in degrees Celsius.
    exposures_s : tuple of float
        In seconds.
    out : Path
        The folder of the files `synthetic_dark_t<T>_e<t>.fits`, with planes MEAN, SIGMA and MASK.
    disk : Disk

    Raises
    ------
    Usage
        It is no model, a temperature or an exposure is none, or a file of that name is of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    shots = [(t, e, synthetic_name(t, e)) for t in temperatures_c for e in exposures_s]
    return synthesise_as(Loaded.load(model), shots, out, disk)


def synthesise_as(
    loaded: Loaded,
    shots: Iterable[tuple[float, float, str]],
    out: Path,
    disk: Disk = REAL_DISK,
    *,
    per_second: bool = False,
) -> list[Synthetic]:
    """Write predicted darks under given names.

    Parameters
    ----------
    loaded : Loaded
    shots : iterable of (float, float, str)
        Temperature in degrees Celsius, exposure in seconds, and path below `out` of each.
    out : Path
    disk : Disk
    per_second : bool
        Whether values are divided by the exposure, and in ADU/s.

    Raises
    ------
    Usage, StorageError
        As `synthesise`.
    """
    wanted = list(shots)
    checked((celsius for celsius, *_ in wanted), (seconds for _, seconds, _ in wanted))
    refuse_file(out, "name a folder with --out")
    refuse_foreign([out / name for *_, name in wanted])
    read = Read.of(loaded)
    return [
        _synthesised(_Shot(read=read, celsius=celsius, exposure_s=seconds, per_second=per_second), out / name, disk)
        for celsius, seconds, name in wanted
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shot:
    read: Read
    celsius: float
    exposure_s: float
    per_second: bool

    @property
    def divisor(self) -> float:
        """What signals are divided by."""
        return self.exposure_s if self.per_second else 1.0


def _synthesised(shot: _Shot, path: Path, disk: Disk) -> Synthetic:
    read, celsius, seconds = shot.read, shot.celsius, shot.exposure_s
    planes = predicted_planes(read.model, read.header, celsius, seconds, read.frames)
    if shot.per_second:
        planes = tuple(in_seconds(plane) for plane in planes)
    rows = rows_for(memory_mb=64, frames=6 * read.model.law.size**2 + 8, columns=read.shape[1], workers=WORKERS)
    with (
        create_planes(path, planes, read.shape, disk) as file,
        ThreadPoolExecutor(WORKERS, "nightcal-predict") as threads,
    ):

        def take(band: Band, found: tuple[Prediction, NDArray[np.uint16]]) -> None:
            prediction, mask = found
            file.write("MEAN", band.start, prediction.mean / shot.divisor)
            file.write("SIGMA", band.start, prediction.sigma / shot.divisor)
            file.write("MASK", band.start, mask)

        map_bands(shot, _predict_band, take, threads, bands_of(read.shape[0], rows), workers=WORKERS)
        put_in_place([file], disk)
    inside = read.model.holds_at(celsius, seconds)
    words = "" if inside else extrapolation(read.model, celsius, seconds)
    return Synthetic(celsius=celsius, exposure_s=seconds, path=path, inside=inside, extrapolation=words)


def _predict_band(work: _Shot, band: Band) -> tuple[Prediction, NDArray[np.uint16]]:
    found = predict(work.read.model, work.read.parameters(band), work.celsius, work.exposure_s)
    mask = read_rows(work.read.mask, band).astype(np.uint16) & ~np.uint16(DarkBit.SATURATED)
    return found, mask | np.where(found.saturated, DarkBit.SATURATED, 0).astype(np.uint16)
