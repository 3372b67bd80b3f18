"""The vignetting of the flats of a model: given or fitted to their mean, and written beside the flats without it."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.keywords import Card
from calibration.models.flat.factors import Factors, cell_of, colours_of, factorise, levelled, medians
from calibration.models.flat.shapes import Mapped
from calibration.models.flat.smooth import Cells, Smooth
from services.bands import Band, bands_of, plane_of, read_rows, rows_for
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk
from services.files.planes import Plane, create_planes
from services.models.flat.files import VIGNETTING, flat_header
from services.models.flat.given import GivenFiles, given_shape
from services.models.flat.parts import central_band
from services.models.flat.steps import Step, StepFrame, flatten, made_of
from services.models.products import base_cards, put_in_place, refuse_foreign
from services.models.records import write_sidecar

_MOST = 16
"""Flats that the vignetting is fitted to, spread over all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vignetted:
    """What was taken off: its word for headers, the files without it, and what is said of it in words."""

    word: str
    paths: tuple[Path, ...]
    said: str


def take_off(
    frames: Sequence[StepFrame], folder: Path, files: GivenFiles, threads: Executor, disk: Disk = REAL_DISK
) -> Vignetted:
    """Write normalised flats without their vignetting, and the vignetting itself.

    Parameters
    ----------
    frames : sequence of StepFrame
    folder : Path
        Of the model.
    files : GivenFiles
        Which may say what it is; else it is fitted.
    threads : Executor
    disk : Disk

    Raises
    ------
    Usage
        The vignetting that is given cannot be used, the flats hold too little light, or a file is of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    shape = frames[0].source.location.shape
    given = given_shape(files, shape)
    try:
        factors = factorise(_cells(frames), given)
    except ValueError as error:
        raise Usage(f"no vignetting can be found: {error}", advice="name it, e.g. with --lensfun-json") from error
    smooth = factors.smooth
    word = smooth.family if files.named is None else files.named[0]
    path = folder / f"{VIGNETTING}.fits"
    _write(factors, frames[0], path, word, disk)
    write_sidecar(folder / f"{VIGNETTING}.json", {"form": "nightcal vignetting 1", **shape_facts(smooth, word)}, disk)
    off = plane_of(path, "VIGNETTE")
    made, _ = made_of(
        frames,
        folder,
        Step.VIGNETTING,
        lambda frame, to: flatten(frame, off, to, threads, word=word, disk=disk),
        disk,
    )
    return Vignetted(word=word, paths=tuple(made), said=words_of(smooth, word))


def shape_facts(smooth: Smooth, word: str) -> dict[str, Any]:
    """Return a vignetting and an illumination as a sidecar has them: parameters and their errors."""
    own, light = smooth.vignetting, smooth.illumination
    sigma = {name: smooth.sigma(name) for name in smooth.names}
    return {
        "vignetting": word,
        "family": smooth.family,
        "fitted": smooth.fitted,
        "parameters": dict(zip(own.names, own.values, strict=True)),
        "radius_px": getattr(own, "radius_px", None),
        "powers": list(getattr(own, "powers", ())),
        "illumination": dict(zip(light.names, light.values, strict=True)),
        "sigma": sigma,
        "scatter": smooth.scatter,
        "excess": smooth.excess,
        "cells_used": smooth.used,
        "criterion": smooth.criterion,
    }


def words_of(smooth: Smooth, word: str) -> str:
    """Return in words what a vignetting is."""
    own = smooth.vignetting
    if isinstance(own, Mapped):
        return f"vignetting: {word}, a map"
    if not own.names:
        return "vignetting: none is seen"
    parts = []
    for name, value in zip(own.names, own.values, strict=True):
        error = f" ± {smooth.sigma(name):.2g}" if smooth.fitted else ""
        parts.append(f"{name} {value:.4g}{error}")
    return f"vignetting: {word}, {', '.join(parts)}"


def applied(folder: Path) -> str:
    """Return the word of the vignetting whose files are in the folder of a model; empty where there are none."""
    try:
        said: Mapping[str, Any] = json.loads((folder / f"{VIGNETTING}.json").read_text(encoding="utf-8"))
        return str(said["vignetting"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _cells(frames: Sequence[StepFrame]) -> Cells:
    """Return the mean of some flats in cells; the colours of a mosaic are brought to one level."""
    shape, middle = frames[0].source.location.shape, central_band(frames[0].source.location.shape)
    size = cell_of(shape)
    numbers = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _MOST)).round().astype(int))
    some = [frames[i] for i in numbers]
    colours = [None if f.header.bayer_pattern is None else colours_of(read_rows(f.source, middle)) for f in some]
    rows = max(1, rows_for(memory_mb=64, frames=len(some) + 4, columns=shape[1], workers=1) // size) * size
    parts = []
    for band in bands_of(shape[0], rows):
        whole = Band(start=band.start, stop=band.start + band.rows // size * size)
        cells = [
            medians(levelled(read_rows(frame.source, whole), whole.start, own), size)
            for frame, own in zip(some, colours, strict=True)
        ]
        stack = np.stack(cells).astype(np.float64)
        known = np.isfinite(stack)
        with np.errstate(invalid="ignore"):
            parts.append(np.where(known, stack, 0.0).sum(axis=0) / known.sum(axis=0))
    return Cells(values=np.concatenate(parts), size=size, shape=shape)


def _write(factors: Factors, first: StepFrame, path: Path, word: str, disk: Disk) -> None:
    refuse_foreign([path])
    height, width = factors.shape
    cards = (*base_cards(flat_header(first.header), "MASTER VIGNETTING", ""), Card("FLAT_VIGN", word, "what it is"))
    planes = [Plane(name=name, cards=cards) for name in ("VIGNETTE", "VIGNETTE_SIGMA")]
    x = np.arange(width, dtype=np.float64)[None, :]
    with create_planes(path, planes, factors.shape, disk) as file:
        for band in bands_of(height, rows_for(memory_mb=64, frames=24, columns=width, workers=1)):
            y = np.arange(band.start, band.stop, dtype=np.float64)[:, None]
            found = factors.smooth.planes(y, x)
            file.write("VIGNETTE", band.start, found.vignetting)
            file.write("VIGNETTE_SIGMA", band.start, found.vignetting_sigma)
        put_in_place([file], disk)
