"""The only loop over row bands: read → work → sink, on any executor, with memory as a setting.

`work` is a module-level function (or a `functools.partial` of one) with frozen arguments that opens its files by path,
so that threads, processes and a cluster's executor all do the same and give the same planes. `sink` is called in the
caller's thread, band after band from the top.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from services import platform
from services.errors import RunStopped
from services.storage.fits import pixel_location, read_pixels
from services.storage.pixels import PixelLocation, decode, encode, encoding
from services.storage.units import Unreadable

S = TypeVar("S")
R = TypeVar("R")

_BAND_BYTES = 8 << 20
"""Samples of one band: about what stays in the processor's caches between reading and combining."""

_AHEAD_BYTES = 4 << 20
"""Piece of each file that is asked for before it is needed: one seek of a disk serves many bands."""

_IN_FLIGHT = 3
"""Bands being worked on or waiting for the sink, per worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Rows start..stop-1 of an image."""

    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file whose pixels can be read by position."""

    path: Path
    location: PixelLocation

    @property
    def is_u16(self) -> bool:
        """Whether the pixels are a camera's: int16 with BZERO 32768."""
        return self.location.bitpix == 16 and self.location.bzero == 1 << 15


def rows_for(*, memory_mb: float, frames: int, columns: int, workers: int) -> int:
    """Return how many rows a band may have.

    Parameters
    ----------
    memory_mb : float
        For all bands in memory; a band needs about 8 bytes a sample in its worst form (float32 and its mask).
    frames, columns, workers : int
        Files read at once, pixels of a row, bands worked on at once.
    """
    a_row = frames * columns
    allowed = memory_mb * 1e6 / (8 * a_row * workers)
    return max(1, int(min(allowed, max(8, _BAND_BYTES / (2 * a_row)))))


def bands_of(height: int, rows: int) -> Iterator[Band]:
    """Cut an image of `height` rows into bands of `rows` rows, the last one perhaps shorter."""
    for start in range(0, height, rows):
        yield Band(start=start, stop=min(start + rows, height))


def map_bands(
    sources: S,
    work: Callable[[S, Band], R],
    sink: Callable[[Band, R], None],
    executor: Executor,
    rows: Iterator[Band],
    *,
    workers: int = 2,
    wake: threading.Event | None = None,
) -> None:
    """Do `work` on every band and hand the results to `sink` in order.

    Parameters
    ----------
    sources : object
        What `work` gets with each band; frozen and picklable.
    work : callable
        Module-level; called in the executor.
    sink : callable
        Called in this thread, in the order of `rows`.
    executor : Executor
        Threads, processes or a cluster's.
    rows : iterator of Band
        As from `bands_of`.
    workers : int
        Bands worked on at once; at most three times as many results are held.
    wake : threading.Event, optional
        When set, no further band is begun and RunStopped is raised.

    Raises
    ------
    Exception
        The first failure of `work` or `sink`; bands not begun are cancelled.
    """
    waiting: deque[tuple[Band, Future[R]]] = deque()
    try:
        for band in rows:
            if wake is not None and wake.is_set():
                raise RunStopped("stopped while combining")
            waiting.append((band, executor.submit(work, sources, band)))
            if len(waiting) >= _IN_FLIGHT * workers:
                _take(waiting, sink)
        while waiting:
            _take(waiting, sink)
    finally:
        for _, future in waiting:
            future.cancel()


def _take(waiting: "deque[tuple[Band, Future[R]]]", sink: Callable[[Band, R], None]) -> None:
    band, future = waiting.popleft()
    sink(band, future.result())


def source_of(path: Path, scratch: Path) -> Source:
    """Return a file as a source; compressed and scaled ones are unpacked once into the folder `scratch`.

    Raises
    ------
    Unreadable
        The file is missing, truncated, damaged or holds no 2-d image.
    """
    location = pixel_location(path)
    if location is not None:
        return Source(path=path, location=location)
    pixels = read_pixels(path)
    if pixels.dtype != np.uint16:
        pixels = pixels.astype(np.float32)
    scratch.mkdir(parents=True, exist_ok=True)
    unpacked = scratch / f"{len(list(scratch.iterdir())):05d}.raw"
    encode(pixels).tofile(unpacked)
    (bitpix, bzero), shape = encoding(pixels.dtype), (pixels.shape[0], pixels.shape[1])
    return Source(path=unpacked, location=PixelLocation(offset=0, bitpix=bitpix, bzero=bzero, shape=shape))


def plane_of(path: Path, name: str) -> Source:
    """Return one plane (EXTNAME) of a file of planes as a source.

    Raises
    ------
    Unreadable
        The file or the plane is missing or damaged.
    """
    try:
        with fits.open(path, memmap=False) as units:
            unit = units[name]
            bzero = int(unit.header.get("BZERO", 0))
            offset, bitpix = unit.fileinfo()["datLoc"], int(unit.header["BITPIX"])
            shape = (int(unit.header["NAXIS2"]), int(unit.header["NAXIS1"]))
    except Exception as error:  # a damaged file may end in anything
        raise Unreadable(f"{path}: has no plane {name} ({error})") from error
    return Source(path=path, location=PixelLocation(offset=offset, bitpix=bitpix, bzero=bzero, shape=shape))


_buffers = threading.local()


def read_band(sources: tuple[Source, ...], band: Band) -> NDArray[Any]:
    """Read the same rows of all files.

    Returns
    -------
    ndarray of uint16 or float32, shape (n, rows, x)
        uint16 when all files are a camera's. It lives in a buffer of this thread: valid until its next call.

    Raises
    ------
    Unreadable
        A file is gone or became shorter.
    """
    if not all(s.is_u16 for s in sources):
        return np.stack([read_rows(s, band).astype(np.float32) for s in sources])
    from calibration.combine.kernels import decode_u16

    shape = (len(sources), band.rows, sources[0].location.shape[1])
    samples = _buffer(int(np.prod(shape))).reshape(shape)
    for source, target in zip(sources, samples, strict=True):
        _fill(source, band, target.reshape(-1).view(np.uint8).data)
    decode_u16(samples.reshape(-1))
    return samples


def read_rows(source: Source, band: Band) -> NDArray[Any]:
    """Read rows of one file, in their own type and this machine's byte order, shape (rows, x)."""
    raw = bytearray(band.rows * source.location.row_bytes)
    _fill(source, band, memoryview(raw))
    return decode(raw, source.location, band.rows)


def _buffer(size: int) -> NDArray[np.uint16]:
    buffer: NDArray[np.uint16] | None = getattr(_buffers, "samples", None)
    if buffer is None or buffer.size < size:
        buffer = _buffers.samples = np.empty(size, np.uint16)
    return buffer[:size]


def _fill(source: Source, band: Band, target: memoryview) -> None:
    offset = source.location.offset + band.start * source.location.row_bytes
    end = offset + len(target)
    try:
        with source.path.open("rb", buffering=0) as file:
            if band.start == 0 or offset // _AHEAD_BYTES != end // _AHEAD_BYTES:
                platform.read_ahead(file.fileno(), end, _AHEAD_BYTES)
            got = platform.pread_into(file.fileno(), target, offset)
    except OSError as error:
        raise Unreadable(f"{source.path}: {error.strerror or error}") from error
    if got != len(target):
        raise Unreadable(f"{source.path}: ends {len(target) - got} bytes early: it changed while it was read")
