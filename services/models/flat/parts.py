"""Flats that a model predicts, band by band, and such a flat taken apart into its factors."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.flat.factors import (
    Colours,
    FactorPlanes,
    Factors,
    cell_of,
    colours_of,
    factor_band,
    factorise,
    levelled,
    medians,
)
from calibration.models.flat.model import FlatModel, FlatParameters, FlatPrediction, Term, predict
from calibration.models.flat.prnu import Prnu, PrnuSums, limits_of
from calibration.models.flat.shapes import Shape
from calibration.models.flat.smooth import Cells
from services.bands import Band, Source, bands_of, map_bands, plane_of, read_rows, rows_for
from services.errors import Usage
from services.files.planes import PlanesFile
from services.models.banding import WORKERS
from services.models.flat.fit import Label, covariance_names

_MIDDLE = 32
"""Even; rows above and below the middle of a frame that show the levels of its colours."""

_SAMPLED = 8
"""Bands that show between which limits gains are believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicting:
    """What predicting a band needs; `applied` is the vignetting that was taken off the frames, and is put on again."""

    theta: tuple[Source, ...]
    covariance: tuple[Source, ...]
    applied: Source | None
    model: FlatModel
    label: Label

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.theta[0].location.shape


def predicting(planes: Path, applied: Path | None, model: FlatModel, label: Label) -> Predicting:
    """Return what predicting a flat at a temperature and exposure needs, from the files of a model.

    Raises
    ------
    Unreadable
        A plane is missing.
    """
    return Predicting(
        theta=tuple(plane_of(planes, term) for term in model.terms),
        covariance=tuple(plane_of(planes, name) for name in covariance_names(model.terms)),
        applied=None if applied is None else plane_of(applied, "VIGNETTE"),
        model=model,
        label=label,
    )


def predict_band(work: Predicting, band: Band) -> FlatPrediction:
    """Return a band of a flat with its error: the `work` of `map_bands`."""

    def planes(sources: tuple[Source, ...]) -> NDArray[np.float64]:
        return np.stack([read_rows(source, band) for source in sources]).astype(np.float64)

    parameters = FlatParameters(theta=planes(work.theta), covariance=planes(work.covariance))
    found = predict(work.model, parameters, *work.label)
    if work.applied is None:
        return found
    applied = read_rows(work.applied, band).astype(np.float32)
    return FlatPrediction(mean=found.mean * applied, sigma=found.sigma * applied, inside=found.inside)


def rows_of(work: Predicting) -> int:
    """Return how many rows a band of a prediction has."""
    p = len(work.theta)
    return rows_for(memory_mb=96, frames=6 * p * p + 60, columns=work.shape[1], workers=WORKERS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Parts:
    predicting: Predicting
    factors: Factors


def _common(work: Predicting) -> np.float32:
    """Return the error that all pixels have in common: it makes no pixel differ from the others."""
    row = work.model.design([work.label[0]], [work.label[1]])[0]
    common = np.array(work.model.common) if work.model.common else np.zeros((len(row), len(row)))
    return np.float32(np.sqrt(max(float(row @ common @ row), 0.0)))


def _parts_band(work: _Parts, band: Band) -> tuple[FactorPlanes, NDArray[np.floating]]:
    flat = predict_band(work.predicting, band)
    scale = np.ones((1, 1), np.float32)
    if work.predicting.applied is not None:
        scale = read_rows(work.predicting.applied, band).astype(np.float32)
    own = np.maximum(flat.sigma**2 - (_common(work.predicting) * scale) ** 2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(own) / flat.mean
    return factor_band(work.factors, band.start, flat.mean, flat.sigma), relative


@dataclass(frozen=True, slots=True, kw_only=True)
class _Celled:
    predicting: Predicting
    size: int
    colours: Colours | None


def _cells_band(work: _Celled, band: Band) -> NDArray[np.float32]:
    flat = levelled(predict_band(work.predicting, band).mean, band.start, work.colours)
    return medians(flat[: band.rows // work.size * work.size], work.size)


def cells_of(work: Predicting, colours: Colours | None, threads: Executor) -> Cells:
    """Return a flat that a model predicts in cells, its colours brought to one level.

    Raises
    ------
    Usage
        The frames are too small for cells.
    """
    size = cell_of(work.shape)
    rows = max(1, rows_of(work) // size) * size
    parts: list[NDArray[np.float32]] = []

    def take(_: Band, found: NDArray[np.float32]) -> None:
        parts.append(found)

    map_bands(
        _Celled(predicting=work, size=size, colours=colours),
        _cells_band,
        take,
        threads,
        bands_of(work.shape[0], rows),
        workers=WORKERS,
    )
    values = np.concatenate(parts).astype(np.float64)
    return Cells(values=values, size=size, shape=work.shape)


def write_parts(
    work: Predicting, given: Shape | None, file: PlanesFile, threads: Executor, *, mosaic: bool = False
) -> tuple[Factors, Prnu]:
    """Take a flat apart into the planes of a file; the colours of a mosaic go with the illumination.

    Raises
    ------
    Usage
        It holds too little light.
    """
    try:
        colours = colours_of(predict_band(work, central_band(work.shape)).mean) if mosaic else None
        factors = replace(factorise(cells_of(work, colours, threads), given), colours=colours)
    except ValueError as error:
        raise Usage(f"the flat cannot be taken apart: {error}", advice="look at the frames") from error
    parts, rows = _Parts(predicting=work, factors=factors), rows_of(work)
    bands = list(bands_of(work.shape[0], rows))
    some = np.unique(np.linspace(0, len(bands) - 1, min(len(bands), _SAMPLED)).astype(int))
    sample = np.concatenate([_parts_band(parts, bands[i])[0].planes["PRNU"].ravel()[::7] for i in some])
    sums = PrnuSums(limits_of(sample), work.shape)

    def take(band: Band, found: tuple[FactorPlanes, NDArray[Any]]) -> None:
        sums.add(band.start, found[0].planes["PRNU"], found[1])
        for name, plane in found[0].planes.items():
            file.write(name, band.start, plane)

    map_bands(parts, _parts_band, take, threads, iter(bands), workers=WORKERS)
    fitted = len(factors.smooth.names) + sum(len(shadow.values) + 1 for shadow in factors.dust)
    return factors, sums.result(fitted)


def central_band(shape: tuple[int, int]) -> Band:
    """Return some rows in the middle of a frame, which begin with an even one."""
    start = shape[0] // 4 * 2
    return Band(start=max(0, start - _MIDDLE), stop=min(shape[0], start + _MIDDLE))


def reference_of(model: FlatModel) -> Label:
    """Return the temperature and exposure in the middle of what was measured: there a flat is taken apart."""
    celsius, seconds = (model.coldest_c + model.warmest_c) / 2, (model.shortest_s + model.longest_s) / 2
    held = celsius if Term.B in model.terms else model.coldest_c
    return float(held), float(seconds if Term.C in model.terms else model.shortest_s)
