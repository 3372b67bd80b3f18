"""The only loop over row bands: read → work → sink, on any executor, with memory as a setting.

`work` is a module-level function (or a `functools.partial` of one) with frozen arguments that opens its files by path,
so that threads, processes and a cluster's executor all do the same and give the same planes. `sink` is called in the
caller's thread, band after band from the top.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from services import platform
from services.errors import RunStopped
from services.files.disk import reported
from services.files.fits import pixel_location, read_pixels
from services.files.pixels import PixelLocation, decode, encode, encoding
from services.files.units import Unreadable

S = TypeVar("S")
R = TypeVar("R")

_BAND_BYTES = 8 << 20
"""Samples of one band: about what stays in the processor's caches between reading and combining."""

_AHEAD_BYTES = 256 << 20
"""Of all files together, what is asked for at once, long before it is needed."""

_PIECE_BYTES = (1 << 18, 4 << 20)
"""Least and most of it a file: one seek of a disk serves many bands."""

_SPARE_FILES = 64
"""Files that others may open while those of a stack are held open."""

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

    def rows(self, band: Band) -> NDArray[Any]:
        """Return rows, as `read_rows`; a source that is worked out from others does so here."""
        row_bytes = self.location.row_bytes
        raw = bytearray(band.rows * row_bytes)
        _fill(self, self.location.offset + band.start * row_bytes, memoryview(raw))
        return decode(raw, self.location, band.rows)

    def held(self, handles: ExitStack) -> "Source":
        """Return the source with its file open until `handles` ends."""
        file = handles.enter_context(_opened(self))
        return OpenSource(path=self.path, location=self.location, handle=file.fileno())


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSource(Source):
    """A source whose file is held open in this process; in another one it is a plain source."""

    handle: int

    def __reduce__(self) -> tuple[Callable[[Path, PixelLocation], Source], tuple[Path, PixelLocation]]:
        return _plain, (self.path, self.location)


def _plain(path: Path, location: PixelLocation) -> Source:
    return Source(path=path, location=location)


def rows_for(*, memory_mb: float, frames: int, columns: int, workers: int, held: int = 0) -> int:
    """Return how many rows a band may have.

    Parameters
    ----------
    memory_mb : float
        For all bands in memory; a band needs about 8 bytes a sample in its worst form (float32 and its mask).
    frames, columns, workers : int
        Files read at once, pixels of a row, bands worked on at once.
    held : int
        Values of 8 bytes that the work needs for each pixel beside the samples.
    """
    a_row = frames * columns
    allowed = memory_mb * 1e6 / (8 * (a_row + held * columns) * workers)
    return max(1, int(min(allowed, _BAND_BYTES / (2 * a_row))))


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
        The first failure of `work` or `sink`; bands not begun are cancelled, those being worked on are waited for.
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
        wait([future for _, future in waiting if not future.cancel()])


def _take(waiting: "deque[tuple[Band, Future[R]]]", sink: Callable[[Band, R], None]) -> None:
    band, future = waiting.popleft()
    sink(band, future.result())


def source_of(path: Path, scratch: Path) -> Source:
    """Return a file as a source; compressed and scaled ones are unpacked once into the folder `scratch`.

    Raises
    ------
    Unreadable
        The file is missing, truncated, damaged or holds no 2-d image.
    StorageError
        `disk_full` or `write_failed`: there is no room to unpack it.
    """
    location = pixel_location(path)
    if location is not None:
        return Source(path=path, location=location)
    pixels = read_pixels(path)
    if pixels.dtype != np.uint16:
        pixels = pixels.astype(np.float32)
    with reported(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        unpacked = scratch / f"{len(list(scratch.iterdir())):05d}.raw"
        unpacked.write_bytes(encode(pixels).data)
    (bitpix, bzero), shape = encoding(pixels.dtype), (pixels.shape[0], pixels.shape[1])
    return Source(path=unpacked, location=PixelLocation(offset=0, bitpix=bitpix, bzero=bzero, shape=shape))


def plane_of(path: Path, name: str) -> Source:
    """Return one plane (EXTNAME) of a file of planes as a source.

    Raises
    ------
    Unreadable
        The file or the plane is missing or damaged.
    """
    from astropy.io import fits  # 0.3 s to import: who only reads frames does not need it

    try:
        with fits.open(path, memmap=False) as units:
            unit = units[name]
            bzero = int(unit.header.get("BZERO", 0))
            offset, bitpix = unit.fileinfo()["datLoc"], int(unit.header["BITPIX"])
            shape = (int(unit.header["NAXIS2"]), int(unit.header["NAXIS1"]))
    except Exception as error:  # a damaged file may end in anything
        raise Unreadable(f"{path}: has no plane {name} ({error})") from error
    return Source(path=path, location=PixelLocation(offset=offset, bitpix=bitpix, bzero=bzero, shape=shape))


@contextmanager
def held_open(sources: tuple[Source, ...]) -> Iterator[tuple[Source, ...]]:
    """Give the sources with their files open: they are not opened anew for each band.

    Where the system allows too few files at once they stay as they are.

    Raises
    ------
    Unreadable
        A file is gone.
    """
    if len(sources) + _SPARE_FILES > platform.raise_open_file_limit():
        yield sources
        return
    with ExitStack() as stack:
        yield tuple(source.held(stack) for source in sources)


@contextmanager
def _opened(source: Source) -> Iterator[FileIO]:
    try:
        file = FileIO(source.path)
    except OSError as error:
        raise Unreadable(f"{source.path}: {error.strerror or error}") from error
    with file:
        yield file


def ahead(sources: tuple[Source, ...], bands: Iterator[Band]) -> Generator[Band]:
    """Yield bands, while a thread asks the system to read what lies in the files behind the last one yielded.

    Files that are in memory already cost it next to nothing. To be closed when it is not exhausted.
    """
    row_bytes = max(source.location.row_bytes for source in sources)
    piece = min(max(_AHEAD_BYTES // len(sources), _PIECE_BYTES[0]), _PIECE_BYTES[1])
    reader = _Ahead(sources, max(1, piece // row_bytes))
    try:
        for band in bands:
            reader.reached(band.stop)
            yield band
    finally:
        reader.close()


class _Ahead:
    """The thread that asks for `rows` rows of each file after the other, at most twice as many ahead."""

    def __init__(self, sources: tuple[Source, ...], rows: int) -> None:
        self._sources = sources
        self._rows = rows
        self._height = sources[0].location.shape[0]
        self._row = 0
        self._over = False
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="nightcal-read-ahead", daemon=True)
        self._thread.start()

    def reached(self, row: int) -> None:
        """Say that the rows before this one are being read."""
        with self._moved:
            self._row = row
            self._moved.notify()

    def close(self) -> None:
        """End the thread."""
        with self._moved:
            self._over = True
            self._moved.notify()
        self._thread.join()

    def _work(self) -> None:
        for first in range(0, self._height, self._rows):
            self._wait_until(first - 2 * self._rows)
            for source in self._sources:
                if self._over:
                    return
                _ask(source, first, self._rows)

    def _wait_until(self, row: int) -> None:
        with self._moved:
            self._moved.wait_for(lambda: self._over or self._row >= row)


def _ask(source: Source, first: int, rows: int) -> None:
    """Ask for some rows of a file; one that is gone is met by who reads it."""
    row_bytes = source.location.row_bytes
    offset, size = source.location.offset + first * row_bytes, rows * row_bytes
    if isinstance(source, OpenSource):
        platform.read_ahead(source.handle, offset, size)
        return
    with suppress(Unreadable), _opened(source) as file:
        platform.read_ahead(file.fileno(), offset, size)


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
    from calibration.combine.kernels.entries import decode_u16

    words = read_words(sources, band)
    decode_u16(words.reshape(-1))
    return words


def read_words(sources: tuple[Source, ...], band: Band) -> NDArray[np.uint16]:
    """Read the same rows of a camera's files as `read_band`, but as they lie there: words that are not yet values."""
    shape = (len(sources), band.rows, sources[0].location.shape[1])
    words = _buffer(int(np.prod(shape)))
    row_bytes = sources[0].location.row_bytes
    target, size, above = words.data.cast("B"), band.rows * row_bytes, band.start * row_bytes
    for i, source in enumerate(sources):
        _fill(source, source.location.offset + above, target[i * size : (i + 1) * size])
    return words.reshape(shape)


def read_rows(source: Source, band: Band) -> NDArray[Any]:
    """Read rows of one file, in their own type and this machine's byte order, shape (rows, x)."""
    return source.rows(band)


def _buffer(size: int) -> NDArray[np.uint16]:
    buffer: NDArray[np.uint16] | None = getattr(_buffers, "samples", None)
    if buffer is None or buffer.size < size:
        buffer = _buffers.samples = np.empty(size, np.uint16)
    return buffer[:size]


def _fill(source: Source, offset: int, target: memoryview) -> None:
    try:
        if isinstance(source, OpenSource):
            got = platform.pread_into(source.handle, target, offset)
        else:
            with _opened(source) as file:
                got = platform.pread_into(file.fileno(), target, offset)
    except OSError as error:
        raise Unreadable(f"{source.path}: {error.strerror or error}") from error
    if got != len(target):
        raise Unreadable(f"{source.path}: ends {len(target) - got} bytes early: it changed while it was read")
