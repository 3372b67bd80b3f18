"""Flats that a model predicts, as files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from calibration.frames import FrameKind
from calibration.models.flat.model import FlatPrediction, Term
from services.bands import Band, bands_of, map_bands, plane_of, read_rows
from services.files.disk import REAL_DISK, Disk
from services.files.planes import create_planes
from services.models.banding import WORKERS
from services.models.flat.files import map_name, predicted_planes, synthetic_name
from services.models.flat.fit import Label
from services.models.flat.parts import predict_band, predicting, rows_of
from services.models.flat.records import Loaded
from services.models.products import header_in, put_in_place, refuse_file, refuse_foreign, refuse_values


def synthesise(model: Path, labels: Sequence[Label], out: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Write the flat that a model predicts at temperatures (°C) and exposures (s), with its error; return the files.

    Vignetting that was taken off the frames is put on again.

    Raises
    ------
    Usage
        It is no model, a temperature or exposure is none, or a file of that name is of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    refuse_values([celsius for celsius, _ in labels], [seconds for _, seconds in labels])
    refuse_file(out, "name a folder with --out")
    loaded = Loaded.load(model)
    return [_synthesised(loaded, label, out / synthetic_name(label), disk) for label in labels]


def _synthesised(loaded: Loaded, label: Label, path: Path, disk: Disk) -> Path:
    refuse_foreign([path])
    header = header_in(loaded.folder / map_name(Term.A), FrameKind.FLAT)
    work = predicting(loaded.planes, loaded.applied, loaded.model, label)
    planes = predicted_planes(loaded.model, header, label, loaded.frames, loaded.said["vignetting"])
    mask = plane_of(loaded.planes, "MASK")
    with (
        create_planes(path, planes, work.shape, disk) as file,
        ThreadPoolExecutor(WORKERS, "nightcal-predict") as threads,
    ):

        def take(band: Band, found: FlatPrediction) -> None:
            file.write("MEAN", band.start, found.mean)
            file.write("SIGMA", band.start, found.sigma)
            file.write("MASK", band.start, read_rows(mask, band).astype(np.uint16))

        map_bands(work, predict_band, take, threads, bands_of(work.shape[0], rows_of(work)), workers=WORKERS)
        put_in_place([file], disk)
    return path
