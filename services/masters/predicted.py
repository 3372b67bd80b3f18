"""A dark that nobody measured: a master bias with the signal that a model predicts, as planes that flats are given."""

import zlib
from pathlib import Path

import numpy as np

from services.bands import bands_of, plane_of, rows_for
from services.files.disk import Disk
from services.files.planes import Plane, create_planes
from services.masters.stack import DarkSources
from services.planning.predicted_darks import PredictedDark
from services.predicting import DarkPrediction, dark_prediction
from services.root import Place

_PLANES = 12
"""Planes of 4 bytes that a row of a prediction needs in memory."""


def predicted_sources(wanted: PredictedDark, bias: DarkSources, place: Place, scratch: Path) -> DarkSources:
    """Write the planes of a predicted dark into a scratch folder; return them.

    MEAN is the bias with the predicted signal; where the model knows none of a pixel, the bias with the signal of a
    typical one. SIGMA joins both errors.

    Parameters
    ----------
    wanted : PredictedDark
    bias : DarkSources
        The planes of the master bias.
    place : Place
    scratch : Path
        Is emptied when the flats are combined.

    Raises
    ------
    StorageError
        The model cannot be read, or there is no room.
    """
    found = dark_prediction(wanted.row, place.layout, celsius=wanted.celsius, exposure_s=wanted.exposure_s)
    path = scratch / f"predicted_{zlib.crc32(wanted.identity.encode()):08x}.fits"
    path.unlink(missing_ok=True)
    _write(path, found, wanted, bias, place.disk)
    return DarkSources(mean=plane_of(path, "MEAN"), sigma=plane_of(path, "SIGMA"), mask=bias.mask)


def _write(path: Path, found: DarkPrediction, wanted: PredictedDark, bias: DarkSources, disk: Disk) -> None:
    shape = found.shape
    rows = rows_for(memory_mb=64, frames=_PLANES * len(found.theta), columns=shape[1], workers=1)
    with create_planes(path, (Plane(name="MEAN"), Plane(name="SIGMA")), shape, disk, hashed=False) as file:
        for band in bands_of(shape[0], rows):
            mean, sigma = found.read(band)
            unknown = ~(np.isfinite(mean) & np.isfinite(sigma))
            mean = np.where(unknown, np.float32(wanted.signal_adu), mean)
            sigma = np.where(unknown, np.float32(wanted.sigma_adu), sigma)
            file.write("MEAN", band.start, mean + bias.mean_band(band, shape[1]))
            file.write("SIGMA", band.start, np.hypot(sigma, bias.sigma_band(band, shape[1])).astype(np.float32))
        file.seal()
        file.commit()
