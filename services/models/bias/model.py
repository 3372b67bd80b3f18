"""Bias models of a dataset: fitted and written, and biases predicted from them."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from calibration.frames import FrameKind
from calibration.models.bias import BiasModel, Parameters, Prediction, predict
from services.bands import Band, Source, bands_of, map_bands, plane_of, read_rows, rows_for
from services.datasets import SEARCH_DEPTH
from services.datasets.frame import DatasetFrames
from services.files.disk import REAL_DISK, Disk
from services.files.planes import create_planes
from services.models.banding import WORKERS
from services.models.bias.files import (
    MODEL,
    SIDECAR,
    files_of,
    map_name,
    open_targets,
    paths_of,
    predicted_planes,
    synthetic_name,
)
from services.models.bias.fit import LETTERS, covariance_names, fit_bands, work_of
from services.models.bias.plan import plan_of
from services.models.bias.records import Loaded, sidecar_of, write_records
from services.models.gathering import SCRATCH, Gathered, Progress, Refused, gather, of_each
from services.models.products import (
    forget_others,
    header_in,
    header_of,
    hot_mask,
    put_in_place,
    refuse_file,
    refuse_foreign,
    refuse_values,
)
from services.models.records import Fitted, files_before


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a fit is to make beside the model: `hot` a mask whose pixels that are not 0 are hot."""

    hot: Path | None = None
    synthetic: bool = False
    evaluation: bool = False
    memory_mb: float = 256.0


def fit(
    base: Path | DatasetFrames,
    out: Path,
    asked: Asked,
    *,
    depth: int = SEARCH_DEPTH,
    progress: Progress = lambda *_: None,
    refused: Refused | None = None,
    disk: Disk = REAL_DISK,
) -> tuple[Fitted, ...]:
    """Fit bias models to the frames of a dataset, one for each setting of a camera.

    Parameters
    ----------
    base : Path or DatasetFrames
        A dataset, an index, or the root of a nightcal; nothing in it is changed. Or frames that were chosen.
    out : Path
        The folder of the model; of several models the folder of their folders.
    asked : Asked
    depth : int
        Folders below `base` that are looked into.
    progress : callable
    refused : callable, optional
        As for `of_each`.
    disk : Disk

    Raises
    ------
    Usage
        There is no bias that can be used, the mask does not fit, or `out` holds files of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    found = gather(base, out, FrameKind.BIAS, depth=depth, progress=progress, disk=disk)
    return of_each(found, out, partial(_fitted, asked=asked, progress=progress, disk=disk), refused)


def _fitted(gathered: Gathered, out: Path, asked: Asked, progress: Progress, disk: Disk) -> Fitted:
    scratch = out / SCRATCH
    try:
        refuse_foreign([out / MODEL])
        plan = plan_of(gathered, scratch)
        hot = None if asked.hot is None else hot_mask(asked.hot, plan.shape, scratch)
        work = work_of(plan, hot)
        with open_targets(out, plan, synthetic=asked.synthetic, evaluation=asked.evaluation, disk=disk) as targets:
            refuse_foreign(paths_of(targets))
            sums = fit_bands(work, targets, memory_mb=asked.memory_mb, progress=progress)
            put_in_place(files_of(targets), disk)
            names = [path.relative_to(out).as_posix() for path in paths_of(targets)]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    forget_others(out, files_before(out / SIDECAR), names, disk)
    sidecar = sidecar_of(plan, sums.rows(), names, asked.hot)
    write_records(sidecar, out, disk)
    return Fitted(folder=out, sidecar=sidecar, remarks=gathered.remarks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What predicting a band needs."""

    theta: tuple[Source, ...]
    covariance: tuple[Source, ...]
    model: BiasModel
    celsius: float


def synthesise(model: Path, temperatures_c: tuple[float, ...], out: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Write the bias that a model predicts at each temperature, with its error; return the files.

    Parameters
    ----------
    model : Path
        As for `load`.
    temperatures_c : tuple of float
        Of the sensor, in degrees Celsius.
    out : Path
        The folder of the files `synthetic_bias_<T>C.fits`, with planes MEAN, SIGMA and MASK.
    disk : Disk

    Raises
    ------
    Usage
        It is no model, a temperature is none, or a file of that name is of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    refuse_values(temperatures_c)
    refuse_file(out, "name a folder with --out")
    loaded = Loaded.load(model)
    return [_synthesised(loaded, celsius, out / synthetic_name(celsius), disk) for celsius in temperatures_c]


def _synthesised(loaded: Loaded, celsius: float, path: Path, disk: Disk) -> Path:
    refuse_foreign([path])
    p = loaded.model.basis.size
    work = _Work(
        theta=tuple(plane_of(loaded.planes, letter) for letter in LETTERS[:p]),
        covariance=tuple(plane_of(loaded.planes, name) for name in covariance_names(p)),
        model=loaded.model,
        celsius=celsius,
    )
    header = header_of(header_in(loaded.folder / map_name("A"), FrameKind.BIAS), FrameKind.BIAS)
    shape, mask = work.theta[0].location.shape, plane_of(loaded.planes, "MASK")
    planes = predicted_planes(loaded.model, header, celsius, loaded.frames)
    rows = rows_for(memory_mb=64, frames=6 * p * p, columns=shape[1], workers=WORKERS)
    with (
        create_planes(path, planes, shape, disk) as file,
        ThreadPoolExecutor(WORKERS, "nightcal-predict") as threads,
    ):

        def take(band: Band, found: Prediction) -> None:
            file.write("MEAN", band.start, found.mean)
            file.write("SIGMA", band.start, found.sigma)
            file.write("MASK", band.start, read_rows(mask, band).astype(np.uint16))

        map_bands(work, _predict_band, take, threads, bands_of(shape[0], rows), workers=WORKERS)
        put_in_place([file], disk)
    return path


def _predict_band(work: _Work, band: Band) -> Prediction:
    def planes(sources: tuple[Source, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.stack([read_rows(source, band) for source in sources]).astype(np.float64)

    parameters = Parameters(theta=planes(work.theta), covariance=planes(work.covariance))
    return predict(work.model, parameters, work.celsius)
