"""Combining the files of one group into the planes of a growing file, band by band, and the second pass over them."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.combine.parts import combine_parts
from calibration.combine.recipe import BandPlanes, MaskBit, Recipe
from calibration.comparing.records import Changes
from calibration.masters.flags import Thresholds, flag_rows, inherit
from calibration.masters.neighbours import FARTHEST, around
from calibration.masters.noise import Span, add_spans, neighbour_spans, no_counts
from calibration.masters.quality import Totals
from calibration.masters.scales import with_dark
from calibration.masters.sketch import SKETCH_PIXELS, Sketch, sketch_stride
from services.bands import Band, Source, ahead, bands_of, held_open, map_bands, read_band, read_rows, read_words
from services.files.planes import PlanesFile
from services.masters.comparison import Compared

_FEWEST_ROWS = 16
"""At least so many pairs of rows give the noise of a frame, spread over its height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkSources:
    """The planes of one dark: MEAN, and where it has them SIGMA and MASK.

    `level_adu` stands in for a missing MEAN (of flats without a dark), `noise_adu` for a missing SIGMA.
    """

    mean: Source | None = None
    sigma: Source | None = None
    mask: Source | None = None
    level_adu: float = 0.0
    noise_adu: float = 0.0

    def mean_band(self, band: Band, columns: int) -> NDArray[np.float32]:
        """Return some rows of MEAN."""
        return _band_of(self.mean, self.level_adu, band, columns)

    def sigma_band(self, band: Band, columns: int) -> NDArray[np.float32]:
        """Return the 1σ uncertainty of some rows of MEAN."""
        return _band_of(self.sigma, self.noise_adu, band, columns)


def _band_of(source: Source | None, value: float, band: Band, columns: int) -> NDArray[np.float32]:
    if source is None:
        return np.full((band.rows, columns), value, np.float32)
    return read_rows(source, band).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What is combined; frozen and picklable, so that any executor can work on it.

    Attributes
    ----------
    frames : tuple of Source
    recipe : Recipe
    scale : tuple of float
        One factor a frame; empty for biases and darks.
    darks : tuple of DarkSources
        Distinct darks, none for biases and darks.
    dark_of : tuple of int
        Which dark each frame gets.
    """

    frames: tuple[Source, ...]
    recipe: Recipe
    scale: tuple[float, ...] = ()
    darks: tuple[DarkSources, ...] = ()
    dark_of: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.frames[0].location.shape

    @property
    def is_raw(self) -> bool:
        """Whether a camera's files are combined as they are: their words need not become values before."""
        return not self.scale and not self.darks and all(frame.is_u16 for frame in self.frames)

    @property
    def shares(self) -> tuple[float, ...]:
        """Part of the master that each dark was subtracted from, scales included."""
        total = np.zeros(len(self.darks))
        np.add.at(total, np.asarray(self.dark_of, np.intp), np.asarray(self.scale or np.ones(len(self.frames))))
        return tuple(float(share) for share in total / max(len(self.frames), 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BandResult:
    """A combined band, and the differences of frames that are neighbours in time, from some of its rows."""

    planes: BandPlanes
    pairs: tuple[Span, ...] | None


def stack_band(stack: Stack, band: Band) -> BandResult:
    """Read and combine one band: the `work` of `map_bands`."""
    if stack.is_raw:
        words = read_words(stack.frames, band)
        planes = combine_parts(words, stack.recipe, stored=True)
        return BandResult(planes=planes, pairs=pairs_of(stack, band, words, stored=True))
    frames = read_band(stack.frames, band)
    scale = np.asarray(stack.scale, np.float32) if stack.scale else None
    planes = combine_parts(frames, stack.recipe, scale=scale, dark=_dark_band(stack, band))
    if stack.darks:
        sigmas = [dark.sigma_band(band, stack.shape[1]) for dark in stack.darks]
        planes = replace(planes, sigma=with_dark(planes.sigma, sigmas, stack.shares))
    masks = [read_rows(d.mask, band) for d in stack.darks if d.mask is not None]
    if masks:
        planes = replace(planes, mask=inherit(planes.mask, np.bitwise_or.reduce(masks)))
    return BandResult(planes=planes, pairs=pairs_of(stack, band, frames))


def pairs_of(stack: Stack, band: Band, frames: NDArray[Any], *, stored: bool = False) -> tuple[Span, ...] | None:
    """Return histograms of the differences of neighbouring frames in a band, None where it has none of the rows.

    All pairs together have about as many pixels as a sketch: few rows of each, where there are many frames. They are
    pairs of rows, which hold all colours of a mosaic, and the same however the bands are cut.
    """
    height, width = stack.shape
    stride = height * width * (len(frames) - 1) // SKETCH_PIXELS + 1
    stride = max(1, min(stride, height // _FEWEST_ROWS))
    rows = (np.arange(band.start, band.stop) // 2 + stride // 2) % stride == 0
    if len(frames) < 2 or not rows.any():
        return None
    chosen = np.take(frames, np.flatnonzero(rows), axis=1)  # in the order of memory, which an index would not keep
    if stored:
        from calibration.combine.kernels.entries import decode_u16  # as in `services.bands`

        decode_u16(chosen.reshape(-1))  # a copy: the band keeps its words
    return neighbour_spans(chosen, stack.scale)


def _dark_band(stack: Stack, band: Band) -> NDArray[np.float32] | None:
    if not stack.darks:
        return None
    means = [dark.mean_band(band, stack.shape[1]) for dark in stack.darks]
    return means[0] if len(means) == 1 else np.stack([means[i] for i in stack.dark_of])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FirstPass:
    """What the first pass leaves: a sketch of the planes, read from their files, exact counts, differences of pairs."""

    sketch: Sketch
    totals: Totals
    pairs: NDArray[np.int32]


def combine_files(
    stack: Stack,
    mean: PlanesFile,
    planes: PlanesFile,
    executor: Executor,
    *,
    rows: int,
    workers: int,
    wake: threading.Event | None = None,
) -> FirstPass:
    """Combine a stack into MEAN of one file and SIGMA, COUNT, MASK of another."""
    collector = _Collector(stack, mean, planes)
    combine_bands(stack, collector.take, executor, rows=rows, workers=workers, wake=wake)
    sketch = _sketch(stack.shape, mean, planes)
    return FirstPass(sketch=sketch, totals=collector.totals, pairs=collector.pairs)


def combine_bands(
    stack: Stack,
    sink: Callable[[Band, BandResult], None],
    executor: Executor,
    *,
    rows: int,
    workers: int,
    wake: threading.Event | None = None,
) -> None:
    """Combine a stack band by band into `sink`, its files held open and asked for ahead; as `map_bands`."""
    with held_open(stack.frames) as frames, closing(ahead(frames, bands_of(stack.shape[0], rows))) as bands:
        map_bands(replace(stack, frames=frames), stack_band, sink, executor, bands, workers=workers, wake=wake)


class _Collector:
    """The sink of the first pass: writes each band, and counts."""

    def __init__(self, stack: Stack, mean: PlanesFile, planes: PlanesFile) -> None:
        self.totals = Totals()
        self.pairs = no_counts(len(stack.frames))
        self._n = len(stack.frames)
        self._mean, self._planes = mean, planes

    def take(self, band: Band, result: BandResult) -> None:
        """Write the planes of a band, and add it to the counts."""
        found = result.planes
        self._mean.write("MEAN", band.start, found.mean)
        self._planes.write("SIGMA", band.start, found.sigma)
        self._planes.write("COUNT", band.start, found.count)
        self._planes.write("MASK", band.start, found.mask)
        if result.pairs is not None:
            add_spans(self.pairs, result.pairs)
        self.totals.add_samples(found.count, found.mean, self._n)


def _sketch(shape: tuple[int, int], mean: PlanesFile, planes: PlanesFile) -> Sketch:
    """Return the sketch of a growing master; to be used before its values are normalised."""
    stride = sketch_stride(shape)

    def read(name: str, first: int, stop: int) -> NDArray[Any]:
        file = mean if name == "mean" else planes
        if stride == 1:
            return file.read(name.upper(), first, stop - first)
        rows = [file.read(name.upper(), y, 1) for y in range(first * stride, min(stop * stride, shape[0]), stride)]
        return np.concatenate(rows)

    return Sketch(
        read=read,
        rows=lambda first, stop: mean.read("MEAN", first, stop - first),
        shape=(len(range(0, shape[0], stride)), shape[1]),
        stride=stride,
        height=shape[0],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finishing:
    """The second pass over a growing master: flags of single pixels, and a flat's normalisation.

    Attributes
    ----------
    mean, planes : PlanesFile
    height : int
        Their rows.
    limits : Thresholds or None
        None flags nothing.
    divisor : float
        1 for biases and darks.
    compared : Compared, optional
        The comparison with the certified master before, which flags what has changed.
    """

    mean: PlanesFile
    planes: PlanesFile
    height: int
    limits: Thresholds | None
    divisor: float = 1.0
    compared: Compared | None = None


def finish_files(
    finishing: Finishing, totals: Totals, threads: ThreadPoolExecutor, *, rows: int, workers: int
) -> Changes:
    """Flag and normalise what the first pass wrote, add the flags to `totals`, and take the files' sums.

    Returns how many pixels have changed since the master before, as far as it is compared with one.

    On threads whatever works on the first pass: the growing files have no name yet that another process could open.
    """
    normalised, changes = _Normalised(finishing), Changes()

    def take(band: Band, done: _Finished) -> None:
        totals.add_mask(done.mask)
        changes.add(done.changes)
        normalised.take(band, done.mean)

    map_bands(finishing, _finish_band, take, threads, bands_of(finishing.height, rows), workers=workers)
    normalised.write(finishing.height)
    for summed in [threads.submit(file.sum_up) for file in (finishing.mean, finishing.planes)]:
        summed.result()
    return changes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Finished:
    """What the second pass makes of a band: its mask, what has changed, and MEAN of a flat, not written yet."""

    mask: NDArray[np.uint16]
    mean: NDArray[np.float32] | None
    changes: Changes


class _Normalised:
    """MEAN of a flat on its way to the file: what bands to come still need as neighbours is written after them."""

    def __init__(self, finishing: Finishing) -> None:
        self._file = finishing.mean
        self._held: deque[tuple[Band, NDArray[np.float32]]] = deque()

    def take(self, band: Band, mean: NDArray[np.float32] | None) -> None:
        """Take the bands in order; all up to this one have been read."""
        if mean is not None:
            self._held.append((band, mean))
        self.write(band.stop - FARTHEST)

    def write(self, stop: int) -> None:
        """Write the bands that end at this row or before."""
        while self._held and self._held[0][0].stop <= stop:
            band, mean = self._held.popleft()
            self._file.write("MEAN", band.start, mean)


def _finish_band(finishing: Finishing, band: Band) -> _Finished:
    limits, divisor, planes = finishing.limits, np.float32(finishing.divisor), finishing.planes
    first, stop = around(band.start, band.stop, finishing.height)
    mean = finishing.mean.read("MEAN", first, stop - first)
    found = BandPlanes(
        mean=mean[band.start - first : band.stop - first],
        sigma=planes.read("SIGMA", band.start, band.rows),
        count=planes.read("COUNT", band.start, band.rows),
        mask=planes.read("MASK", band.start, band.rows),
    )
    mask, changes, scaled = found.mask, Changes(), found
    if limits is not None:
        mask = flag_rows(found, band.start, limits, around=(mean, first))
    if divisor != 1.0:
        scaled = replace(found, mean=found.mean / divisor, sigma=found.sigma / divisor)
    if finishing.compared is not None:
        at, changes = finishing.compared.changed(band, scaled.mean, scaled.sigma)
        mask = mask.astype(np.uint16)
        mask.reshape(-1)[at] |= np.uint16(MaskBit.CHANGED)
    if limits is not None or finishing.compared is not None:
        planes.write("MASK", band.start, mask)
    if divisor == 1.0:
        return _Finished(mask=mask, mean=None, changes=changes)
    planes.write("SIGMA", band.start, scaled.sigma)
    return _Finished(mask=mask, mean=scaled.mean, changes=changes)
