"""The pixels of an analysis of structures, band by band: the means of the epochs, and what differs between two."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values
from calibration.keywords import Card
from calibration.models.means import GroupMean, group_mean
from calibration.models.structure.differences import (
    Difference,
    Drift,
    additive_sigma,
    cell_side,
    cells_of,
    difference,
    drift_of,
    without,
)
from calibration.models.structure.finding import (
    HALO,
    Claims,
    Grid,
    Lines,
    Spread,
    candidates_of,
    claims_of,
    grid_of,
    lines_of,
    spread_of,
)
from calibration.models.structure.noise import as_normal, pixel_noise, recipe_of
from calibration.models.structure.shapes import Structure, structures_of
from services.bands import Band, Source, bands_of, map_bands, plane_of, read_rows, rows_for
from services.files.disk import REAL_DISK, Disk
from services.files.planes import Plane, PlanesFile, create_planes
from services.models.banding import WORKERS
from services.models.gathering import Progress
from services.models.products import base_cards, header_of, put_in_place, refuse_foreign
from services.models.structure.epochs import Epoch, Pair, Plan

_PLANES = 60
"""Values that are held for a pixel and an epoch."""

_SAMPLE = 400_000
"""Pixels that the scatter of the significances is seen in."""

_PER_DEGREE, _LEAST_C = 0.116, 0.05
"""Growth of a dark signal with a degree, and how well the temperature of an epoch is known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Means:
    """The files of the means of the epochs, MEAN and SIGMA of each, and the freedom of their noise."""

    paths: tuple[Path, ...]
    freedom: float

    def planes(self, number: int) -> tuple[Source, Source]:
        """Return mean and sigma of an epoch."""
        return plane_of(self.paths[number], "MEAN"), plane_of(self.paths[number], "SIGMA")


def write_means(
    plan: Plan, folder: Path, *, memory_mb: float, progress: Progress = lambda *_: None, disk: Disk = REAL_DISK
) -> Means:
    """Write the mean of each epoch with its uncertainty; of flats relative to their light.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Of the files `<epoch>_norm.fits`.
    memory_mb : float
    progress : callable
    disk : Disk

    Raises
    ------
    Usage
        A file of another program has a name that is needed.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    paths = tuple(folder / f"{epoch.name}_norm.fits" for epoch in plan.epochs)
    refuse_foreign(paths)
    height, width = plan.shape
    most = max(
        len(e.sources) + (len(e.reduction.biases + e.reduction.darks) if e.reduction else 0) for e in plan.epochs
    )
    rows = rows_for(memory_mb=memory_mb, frames=6 * most + 8 * len(paths), columns=width, workers=WORKERS)
    with ExitStack() as stack, ThreadPoolExecutor(WORKERS, "nightcal-structures") as threads:
        files = [stack.enter_context(_file(plan, e, p, disk)) for e, p in zip(plan.epochs, paths, strict=True)]

        def take(band: Band, found: list[tuple[NDArray[Any], NDArray[Any]]]) -> None:
            for file, (mean, sigma) in zip(files, found, strict=True):
                file.write("MEAN", band.start, mean.astype(np.float32))
                file.write("SIGMA", band.start, sigma.astype(np.float32))
            progress("rows averaged", None, band.rows)

        progress("rows averaged", height, 0)
        map_bands(plan, _means_of, take, threads, bands_of(height, rows), workers=WORKERS)
        put_in_place(files, disk)
    freedom = plan.law.prior + sum(len(epoch.sources) - 1 for epoch in plan.epochs)
    return Means(paths=paths, freedom=freedom)


def _file(plan: Plan, epoch: Epoch, path: Path, disk: Disk) -> PlanesFile:
    header = header_of(epoch.members[0].frame.header, plan.kind, epoch.celsius)
    cards = [
        *base_cards(header, f"MASTER {plan.kind} NORM", "" if plan.is_flat else "adu"),
        Card("TEMP", epoch.label_c, "[degC]"),
        Card("EXPTIME", epoch.exposure_s, "[s]"),
        Card("NCOMBINE", len(epoch.sources), "frames of this mean"),
        Card("FLATNORM", epoch.level_adu if plan.is_flat else 1.0, "[adu] it was divided by"),
    ]
    if "T" in epoch.time:
        cards.append(Card("DATE-OBS", epoch.time[:19], "first frame, UTC"))
    unique = {card.keyword: card for card in cards}
    planes = [Plane(name=name, cards=tuple(unique.values())) for name in ("MEAN", "SIGMA")]
    return create_planes(path, planes, plan.shape, disk, spare_cards=36)


def _means_of(plan: Plan, band: Band) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return mean and sigma of each epoch in a band: the work of `map_bands`."""
    means = [_mean_of(plan, epoch, band) for epoch in plan.epochs]
    scales = [epoch.level_adu if plan.is_flat else 1.0 for epoch in plan.epochs]
    variances = [plan.law.variance(m.mean * s) / s**2 for m, s in zip(means, scales, strict=True)]
    chi = np.sum([m.squares / v for m, v in zip(means, variances, strict=True)], axis=0)
    freedom = np.sum([np.maximum(m.count - 1.0, 0) for m in means], axis=0)
    factor = pixel_noise(plan.law, np.nan_to_num(chi), freedom).factor
    return [
        (m.mean, np.sqrt(v * factor / np.where(m.count > 0, m.count, np.nan) + _off(plan, epoch, band)))
        for epoch, m, v in zip(plan.epochs, means, variances, strict=True)
    ]


def _off(plan: Plan, epoch: Epoch, band: Band) -> NDArray[Any] | float:
    """Return what the noise of what was taken off adds to the variance of a mean: more where pixels are hot."""
    if epoch.reduction is None:
        return 0.0
    off = epoch.reduction.at(band)
    charge = np.maximum(off - np.median(off), 0.0) * max(plan.law.slope, plan.law.bright)
    return np.asarray((epoch.off_variance_adu2 + charge / epoch.reduction.effective) / epoch.level_adu**2)


def _mean_of(plan: Plan, epoch: Epoch, band: Band) -> GroupMean:
    scale = epoch.levels_adu if plan.is_flat else np.ones(len(epoch.sources))
    off = np.float32(0) if epoch.reduction is None else epoch.reduction.at(band)
    frames = np.empty((len(epoch.sources), band.rows, plan.shape[1]), np.float32)
    for i, source in enumerate(epoch.sources):
        rows = read_rows(source, band).astype(np.float32)
        frames[i] = (np.where(rows < plan.saturation_adu, rows, np.nan) - off) / np.float32(scale[i])
    level = epoch.level_adu if plan.is_flat else 1.0
    recipe = recipe_of(plan.law, len(frames), level_adu=level, step_adu=plan.step_adu)
    shift = np.zeros(len(frames)) if plan.is_flat else epoch.levels_adu - epoch.level_adu
    return group_mean(frames, shift, recipe)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """Two epochs that are compared; `light` and `exposure` are those of the new one over those of the reference."""

    new: tuple[Source, Source]
    old: tuple[Source, Source]
    relative: bool
    light: float
    exposure: float
    degrees: float
    level: float
    freedom: float
    known: bool
    shape: tuple[int, int]
    drift: Drift | None = None
    spread: Spread = field(default_factory=Spread)

    def difference(self, band: Band) -> Difference:
        """Return the difference in a band, with all that it is uncertain by."""
        planes = [read_rows(source, band).astype(np.float64) for source in (*self.new, *self.old)]
        found = difference(*planes, relative=self.relative)
        if self.relative:
            same = self.light == self.exposure == 1.0
            more = np.zeros(found.value.shape) if same else additive_sigma(planes[2], self.light, self.exposure)
        else:
            more = np.maximum(np.nan_to_num(planes[2]) - self.level, 0.0) * _PER_DEGREE * self.degrees
        found = Difference(value=found.value, sigma=np.hypot(found.sigma, more), relative=self.relative)
        return found if self.drift is None else without(found, self.drift, band.start)

    def grid(self, band: Band) -> Grid:
        """Return the finest grid in a band."""
        found = self.difference(band)
        z = as_normal(found.value / found.sigma, np.full(found.value.shape, self.freedom))
        return grid_of(z, found.sigma)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """What a comparison has found.

    Attributes
    ----------
    pair : Pair
    structures : list of Structure
        Candidates, not yet judged.
    drift : Drift
    scatter : float
        Robust standard deviation of the difference of pixels.
    widened : float
        What the significances of pixels scatter by: 1 where noise is all.
    tests : int
    """

    pair: Pair
    structures: list[Structure]
    drift: Drift
    scatter: float
    widened: float
    tests: int


def compare(plan: Plan, means: Means, pair: Pair, number: int, *, memory_mb: float, reduced: bool) -> Compared:
    """Compare two epochs.

    Parameters
    ----------
    plan : Plan
    means : Means
    pair : Pair
    number : int
        Of the comparison.
    memory_mb : float
        For the bands.
    reduced : bool
        Whether what is no light was taken off.
    """
    new, old = plan.epochs[pair.new], plan.epochs[pair.old]
    work = _Work(
        new=means.planes(pair.new),
        old=means.planes(pair.old),
        relative=plan.is_flat,
        light=1.0 if reduced else new.level_adu / old.level_adu,
        exposure=1.0 if reduced else new.exposure_s / old.exposure_s if old.exposure_s > 0 else 1.0,
        degrees=max(abs(new.celsius - old.celsius), _LEAST_C),
        level=old.level_adu,
        freedom=means.freedom,
        known=plan.law.known,
        shape=plan.shape,
    )
    (height, width), side = plan.shape, cell_side(plan.shape)
    rows = rows_for(memory_mb=memory_mb, frames=_PLANES, columns=width, workers=WORKERS)
    with ThreadPoolExecutor(WORKERS, "nightcal-structures") as threads:
        cells: list[NDArray[np.float64]] = []
        even = max(side, rows // side * side)
        map_bands(work, _cells, lambda _, part: cells.append(part), threads, bands_of(height, even), workers=WORKERS)
        drift = drift_of(np.concatenate(cells), plan.shape)
        work = replace(work, drift=drift)
        middle = Band(
            start=max(0, height // 2 - _rows(width) // 2), stop=min(height, height // 2 + _rows(width) // 2 + 1)
        )
        seen = work.difference(middle)
        spread = spread_of(work.grid(middle), known=work.known)
        fine = _Fine(plan.shape)
        even = max(2, rows // 2 * 2)
        map_bands(replace(work, spread=spread), _claims, fine.take, threads, bands_of(height, even), workers=WORKERS)
    found = candidates_of(fine.z, fine.halved, fine.lines, fine.tests, known=work.known)
    del fine  # of a large frame it holds more than what follows
    return Compared(
        pair=pair,
        structures=structures_of(found, number),
        drift=drift,
        scatter=clip_values(seen.value).sigma,
        widened=spread.cells,
        tests=found.tests,
    )


def _rows(width: int) -> int:
    return max(2 * HALO, _SAMPLE // width)


def _cells(work: _Work, band: Band) -> NDArray[np.float64]:
    return cells_of(work.difference(band).value, cell_side(work.shape))


def _claims(work: _Work, band: Band) -> tuple[Claims, Band]:
    """Return the claims of a band with the rows beyond it that they look at, and where the band is in it."""
    wider = Band(start=max(0, band.start - HALO), stop=min(work.shape[0], band.stop + HALO))
    claims = claims_of(work.grid(wider), work.spread)
    return claims, Band(start=band.start - wider.start, stop=band.stop - wider.start)


class _Fine:
    """What the finest scales have claimed of a frame, and what they left, in cells of 2 x 2, for the coarser ones."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.z = np.zeros(shape, np.float32)
        self.halved = Grid(
            signal=np.zeros((shape[0] // 2, shape[1] // 2), np.float32),
            weight=np.zeros((shape[0] // 2, shape[1] // 2), np.float32),
        )
        self._columns = np.zeros((2, shape[1]))
        self._rows = np.zeros((2, shape[0]))
        self.tests = 0

    def take(self, band: Band, found: tuple[Claims, Band]) -> None:
        """Add a band."""
        claims, part = found
        rows = slice(part.start, part.stop)
        rest = Grid(signal=claims.rest.signal[rows], weight=claims.rest.weight[rows])
        self.z[band.start : band.stop] = claims.z[rows]
        columns_signal, columns_weight, rows_signal, rows_weight = lines_of(rest)
        self._columns += [columns_signal, columns_weight]
        self._rows[:, band.start : band.stop] = [rows_signal, rows_weight]
        self.tests += 2 * int(np.count_nonzero(rest.weight)) + int(np.count_nonzero(claims.z[rows]))
        if band.rows > 1:
            halved, first = rest.halved(), band.start // 2
            self.halved.signal[first : first + len(halved.signal)] = halved.signal
            self.halved.weight[first : first + len(halved.weight)] = halved.weight

    @property
    def lines(self) -> Lines:
        """Sums along lines."""
        return self._columns[0], self._columns[1], self._rows[0], self._rows[1]


def boxes(means: Means, numbers: Sequence[int], first: int, stop: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield mean and sigma of epochs in the rows first..stop-1."""
    for number in numbers:
        mean, sigma = means.planes(number)
        band = Band(start=first, stop=stop)
        yield read_rows(mean, band).astype(np.float64), read_rows(sigma, band).astype(np.float64)
