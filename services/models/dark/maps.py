"""The maps that earlier programs had of the dark, fitted to the means that a dark model wrote: no frame is read again.

One is A exp(B (T - T_min)) for each exposure, the other A t^γ exp(B (T - T_min)) for all of them, T_min the coldest
temperature and A the dark current there in ADU/s. Every pixel has its own values, hot or not, fitted to its means as
they are, negative ones too.
"""

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.keywords import Card
from calibration.models.dark.fit import Pedestal, Taken, fit_darks
from calibration.models.dark.model import DarkBit, DarkModel, Family, Law, earlier_form
from calibration.models.dark.relation import Relation
from calibration.models.means import Groups
from services.bands import Band, Source, bands_of, map_bands, plane_of, read_rows, rows_for
from services.files.disk import REAL_DISK, Disk, atomic
from services.files.planes import Plane, create_planes
from services.models.banding import WORKERS
from services.models.dark.bands import Shot
from services.models.dark.files import FOLDER, exposure_folder, mask_name
from services.models.dark.read import Read
from services.models.dark.records import Loaded
from services.models.products import base_cards, put_in_place, refuse_foreign

FOLDER_2D = "dark_model_2d"
_PARAMETERS = "global_params.npz"
_NAMES = ("A_map.fits", "B_map.fits", "hot_pixels.fits", _PARAMETERS)
_NAMES_2D = ("A_map_2D.fits", "B_map_2D.fits", "GAMMA_map_2D.fits", "global_params_2d.npz")
_SAMPLE = 1 << 16
_START = Relation(coefficients=(0.1, 0.0, 0.0))
"""Where the search for B begins, in 1/°C: dark current that doubles in 7 °C."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """What a band of maps needs; frozen and picklable."""

    means: tuple[Source, ...]
    counts: tuple[Source, ...]
    hot: Source
    taken: Taken
    pedestal: Pedestal
    model: DarkModel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Maps:
    """A band of maps: A in ADU/s, B in 1/°C, and whether a pixel is hot."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    hot: NDArray[np.bool_]


def exposures_of(shots: Sequence[Shot]) -> dict[float, tuple[Shot, ...]]:
    """Return the darks of each exposure that has two temperatures or more: one alone has no slope."""
    found: dict[float, tuple[Shot, ...]] = {}
    for exposure_s in sorted({shot.exposure_s for shot in shots if shot.exposure_s > 0}):
        of = tuple(shot for shot in shots if shot.exposure_s == exposure_s)
        if _warmths(of) > 1:
            found[exposure_s] = of
    return found


def _warmths(shots: Sequence[Shot]) -> int:
    return len({shot.label_c for shot in shots if shot.exposure_s > 0})


def map_names(shots: Sequence[Shot]) -> list[str]:
    """Return the paths of all maps of darks."""
    names = [f"{FOLDER}/{exposure_folder(e)}/{name}" for e in exposures_of(shots) for name in _NAMES]
    return [*names, *(f"{FOLDER_2D}/{name}" for name in _NAMES_2D if _warmths(shots) > 1)]


def fit_1d(loaded: Loaded, out: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Fit A and B for each exposure that has two temperatures, and write them with the hot pixels; return the files.

    Parameters
    ----------
    loaded : Loaded
        A model that was written, with the means of its darks.
    out : Path
        The folder that `dark_model/exp_<t>/` is made in.
    disk : Disk

    Raises
    ------
    Usage
        A file of another program is in the way.
    StorageError
        The disk is full, or the means cannot be read.
    """
    made = []
    for exposure_s, shots in exposures_of(loaded.shots).items():
        work = _work_of(loaded, shots, Family.EXPONENTIAL, 1.0)
        folder = out / FOLDER / exposure_folder(exposure_s)
        cards = (Card("EXPTIME", exposure_s, "[s]"), _history("A exp(B (T - TMIN))"))
        paths = {name: folder / f"{name}.fits" for name in ("A_map", "B_map", "hot_pixels")}
        a_g, b_g = _write(loaded, work, paths, cards, disk)
        made += [*paths.values(), folder / _PARAMETERS]
        _write_npz(folder / _PARAMETERS, {"A_g": a_g, "B_g": b_g, "t_min": work.model.coldest_c}, disk)
    return made


def fit_2d(loaded: Loaded, out: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Fit A and B for all exposures together, with one γ for all pixels; parameters, errors and result as `fit_1d`."""
    shots = tuple(shot for shot in loaded.shots if shot.exposure_s > 0)
    if _warmths(shots) < 2:
        return []
    gamma = float(loaded.said["exponent"] or 1.0)
    work = _work_of(loaded, shots, Family.POWER, gamma)
    folder = out / FOLDER_2D
    paths = {name: folder / f"{name}_2D.fits" for name in ("A_map", "B_map", "GAMMA_map")}
    a_g, b_g = _write(loaded, work, paths, (_history("A t^GAMMA exp(B (T - TMIN))"),), disk)
    path = folder / "global_params_2d.npz"
    _write_npz(path, {"t_min": work.model.coldest_c, "A_g": a_g, "B_g": b_g, "gamma": gamma}, disk)
    return [*paths.values(), path]


def _history(form: str) -> Card:
    return Card("HISTORY", f"Dark current in ADU/s as {form}, T in degC; every pixel has its own A and B")


def _work_of(loaded: Loaded, shots: tuple[Shot, ...], family: Family, gamma: float) -> _Work:
    every = loaded.shots
    at = np.array([shot in shots for shot in every])
    names = ("temperature_c", "exposure_s", "frames", "label_c")
    taken = Taken(**{name: np.array([getattr(shot, name) for shot in shots], np.float64) for name in names})
    coldest = min(shot.label_c for shot in shots)
    law = Law(family=family, reference_c=coldest, relation=_START, exponent=gamma)
    files = [loaded.folder / mask_name(shot) for shot in shots]
    return _Work(
        means=tuple(plane_of(path, "MEAN") for path in files),
        counts=tuple(plane_of(path, "COUNT") for path in files),
        hot=plane_of(loaded.planes, "MASK"),
        taken=taken,
        pedestal=loaded.pedestal.part(at),
        model=replace(
            loaded.model, law=law, coldest_c=coldest, warmest_c=max(shot.label_c for shot in shots), hot_above=np.inf
        ),
    )


def _write(
    loaded: Loaded, work: _Work, paths: Mapping[str, Path], cards: tuple[Card, ...], disk: Disk
) -> tuple[float, float]:
    """Write maps by their names; return A and B of the middle of the pixels that are not hot."""
    refuse_foreign(list(paths.values()))
    header, shape = Read.of(loaded).header, work.hot.location.shape
    about = (*cards, Card("TMIN", work.model.coldest_c, "[degC] temperature of A"))
    units = {"A_map": "adu/s", "B_map": "1/degC", "GAMMA_map": "", "hot_pixels": ""}
    values = 12 * len(work.means) + 60
    rows = rows_for(memory_mb=128, frames=values, columns=shape[1], workers=WORKERS)
    some: list[NDArray[np.float64]] = []
    step = max(1, shape[0] * shape[1] // _SAMPLE)
    with ExitStack() as stack:
        files = {}
        for name, path in paths.items():
            dtype: Any = np.uint16 if name == "hot_pixels" else np.float32
            base = tuple(base_cards(header, "MASTER DARK MODEL", units[name]))
            plane = Plane(name="MEAN", dtype=dtype, cards=(*base, *about))
            files[name] = stack.enter_context(create_planes(path, (plane,), shape, disk))

        def take(band: Band, maps: _Maps) -> None:
            gamma = np.full(maps.a.shape, work.model.law.exponent)
            for name, rows in zip(units, (maps.a, maps.b, gamma, maps.hot), strict=True):
                if name in files:
                    files[name].write("MEAN", band.start, rows)
            usual = ~maps.hot
            some.append(np.stack([maps.a[usual][::step], maps.b[usual][::step]]))

        threads = stack.enter_context(ThreadPoolExecutor(WORKERS, "nightcal-models"))
        map_bands(work, _band, take, threads, bands_of(shape[0], rows), workers=WORKERS)
        put_in_place(list(files.values()), disk)
    known = np.concatenate(some, axis=1)
    known = known[:, np.isfinite(known).all(axis=0)]
    a, b = np.median(known, axis=1) if known.size else (np.nan, np.nan)
    return float(a), float(b)


def _band(work: _Work, band: Band) -> _Maps:
    mean = np.stack([read_rows(source, band) for source in work.means]).astype(np.float64)
    count = np.stack([read_rows(source, band) for source in work.counts]).astype(np.uint16)
    nothing = np.zeros(mean.shape[1:])
    groups = Groups(mean=mean * work.taken.exposure_s.reshape(-1, 1, 1), count=count, squares=nothing, freedom=nothing)
    fit = fit_darks(work.model, work.taken, work.pedestal, groups)
    a, b = earlier_form(work.model, fit.parameters)
    hot = (read_rows(work.hot, band).astype(np.uint16) & DarkBit.HOT) != 0
    return _Maps(a=a, b=b, hot=hot)


def _write_npz(path: Path, values: Mapping[str, float], disk: Disk) -> None:
    """Write numbers as numpy's archive in place of an older one."""
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **{name: np.float64(value) for name, value in values.items()})
    with atomic(path, disk, replace=True) as file:
        file.write_at(packed.getvalue(), 0)
