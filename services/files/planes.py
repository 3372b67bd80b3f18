"""FITS files of several planes that grow band by band, in any order, from any thread: masters and models.

Nothing of a plane stays in memory: bands go to their place in the hidden file, may be read back and written again
(flats are normalised in a second pass). Sums, and a hash where rows come in order, are taken while they are written.
"""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.keywords import Card
from services.files.cards import add_sums, header_block, image_cards, padded, sum_of
from services.files.disk import REAL_DISK, Disk, Growing
from services.files.pixels import PixelLocation, decode, encode_summed, encoding

_PIECE_BYTES = 1 << 20
_FORMS = {("i", 2): "I", ("i", 4): "J", ("i", 8): "K", ("f", 4): "E", ("f", 8): "D"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file as it was written. `pixel_sha256` is that of the (first plane's) pixel values (`pixel_hash`), or empty."""

    path: Path
    size: int
    mtime_ns: int
    pixel_sha256: str
    data_sum: int | None = None
    """The FITS sum of its pixels as they are stored (DATASUM), of a file of one image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """One image of a file: its name (EXTNAME), e.g. `SIGMA`, the type of its values, and cards known beforehand."""

    name: str
    dtype: Any = np.float32
    cards: tuple[Card, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FitsTable:
    """A binary table at the end of a file: name and columns of equal length (numbers or text)."""

    name: str
    columns: Mapping[str, Sequence[Any] | NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    plane: Plane
    header_at: int
    header_size: int
    location: PixelLocation

    @property
    def end(self) -> int:
        """Offset of the first byte behind its padded data."""
        return self.location.offset + padded(self.location.size)


class PlanesFile:
    """A file of planes that is being written; `finish` names it, leaving the `with` block without it removes it.

    `finish` is `seal` and `commit`; files that belong together are all sealed before the first is committed. Made by
    `create_planes`.
    """

    def __init__(self, file: Growing, places: Mapping[str, _Place], *, hashed: bool = True) -> None:
        self.path = file.path
        self._file = file
        self._places = dict(places)
        self._open = True
        self._hashed = next(iter(places)) if hashed else None
        self._hash, self._hashed_rows = hashlib.sha256(), 0
        self._hashing = threading.Lock()
        self._sums: dict[str, int] = {}
        self._parts: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in places}

    def write(self, name: str, y: int, rows: NDArray[Any]) -> None:
        """Write rows of a plane from row `y` on; safe from several threads for different rows.

        Parameters
        ----------
        name : str
            The plane.
        y : int
            First row.
        rows : ndarray, shape (n, x)
            Converted to the plane's type; NaN is kept in float planes.
        """
        place = self._place(name, y, rows)
        values = np.ascontiguousarray(rows, dtype=place.plane.dtype).reshape(-1)
        stored, total = encode_summed(values, np.empty_like(values))
        self._file.write_at(stored.data, place.location.offset + y * place.location.row_bytes)
        if name == self._hashed:
            self._take(y, values.reshape(rows.shape))
        self._sums.pop(name, None)
        for inner in range(y + 1, y + len(rows)):
            self._parts[name].pop(inner, None)
        self._parts[name][y] = len(rows), total

    def _take(self, y: int, rows: NDArray[Any]) -> None:
        """Hash rows that follow those hashed before, or are the first; in another order they are hashed at the end."""
        with self._hashing:
            if y == 0:
                self._hash, self._hashed_rows = hashlib.sha256(), 0
            if y == self._hashed_rows:
                self._hash.update(rows.astype(rows.dtype.newbyteorder("<"), copy=False).data)
                self._hashed_rows += len(rows)
            else:
                self._hashed_rows = -1

    def read(self, name: str, y: int, count: int) -> NDArray[Any]:
        """Return `count` rows of a plane from row `y` on, as they were written, shape (count, x)."""
        location = self._places[name].location
        raw = self._file.read_at(count * location.row_bytes, location.offset + y * location.row_bytes)
        missing = count * location.row_bytes - len(raw)  # rows not yet written
        raw = raw + bytes(missing) if missing else raw
        return decode(raw, location, count)

    def finish(self, cards: Mapping[str, Sequence[Card]] | None = None, tables: Sequence[FitsTable] = ()) -> Stored:
        """Write headers, sums and tables, and give the file its name; parameters and errors as `seal`."""
        self.seal(cards, tables)
        return self.commit()

    def sum_up(self) -> None:
        """Take the sums of what is there and was not summed since it was written, as `seal` would; of one thread."""
        for name, place in self._places.items():
            if name not in self._sums:
                self._sums[name] = self._sum(place)

    def _sum(self, place: _Place) -> int:
        """Return DATASUM, and see to the hash of the values; what was written in order is not read again for them."""
        location, height = place.location, place.location.shape[0]
        self._file.write_at(bytes(place.end - location.offset - location.size), location.offset + location.size)
        known = self._known_sum(place)
        hashed = place.plane.name == self._hashed and self._hashed_rows != height
        if known is not None and not hashed:
            return known
        step = max(1, _PIECE_BYTES // (4 * location.row_bytes)) * 4  # whole words: a sum's piece ends on one
        total = 0
        for y in range(0, height, step):
            count = min(step, height - y)
            raw = self._file.read_at(count * location.row_bytes, location.offset + y * location.row_bytes)
            total = sum_of(raw, total)
            if hashed:
                self._take(y, decode(raw, location, count))
        return total

    def _known_sum(self, place: _Place) -> int | None:
        """Return DATASUM from those of the bands as they were last written; None where it does not follow from them.

        It follows where the bands cover all rows without a gap and each starts on a whole word.
        """
        total, row = 0, 0
        for y, (count, part) in sorted(self._parts[place.plane.name].items()):
            if y != row or y * place.location.row_bytes % 4:
                return None
            total, row = add_sums(total, part), y + count
        return total if row == place.location.shape[0] else None

    def seal(self, cards: Mapping[str, Sequence[Card]] | None = None, tables: Sequence[FitsTable] = ()) -> str:
        """Write headers, sums and tables, durable under the hidden name; return the hash of the first plane's values.

        Parameters
        ----------
        cards : mapping of plane name to cards
            What became known on the way, after the plane's own cards.
        tables : sequence of FitsTable
            Appended behind the planes.

        Raises
        ------
        StorageError
            `disk_full` or `write_failed`; nothing is left behind.
        ValueError
            There are more cards than `spare_cards` left room for.
        """
        self.sum_up()
        for name, place in self._places.items():
            self._write_header(place, (cards or {}).get(name, ()), self._sums[name])
        at = max(place.end for place in self._places.values())
        for table in tables:
            data = _table_bytes(table)
            self._file.write_at(data, at)
            at += len(data)
        self._file.sync()
        return self._digest

    @property
    def _digest(self) -> str:
        return "" if self._hashed is None else self._hash.hexdigest()

    def commit(self) -> Stored:
        """Give a sealed file its name.

        Raises
        ------
        StorageError
            `disk_full` or `write_failed`; nothing is left behind.
        """
        self._open = False
        self._file.commit()
        return stored_as(self.path, self._digest)

    def abort(self) -> None:
        """Remove what there is; nothing happens after `finish`."""
        if self._open:
            self._open = False
            self._file.abort()

    def __enter__(self) -> "PlanesFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _place(self, name: str, y: int, rows: NDArray[Any]) -> _Place:
        place = self._places[name]
        height, width = place.location.shape
        if rows.ndim != 2 or rows.shape[1] != width or y < 0 or y + rows.shape[0] > height:
            raise ValueError(f"rows {rows.shape} at {y} do not fit into plane {name} {place.location.shape}")
        return place

    def _write_header(self, place: _Place, more: Sequence[Card], datasum: int) -> None:
        cards = [*_head(place), *place.plane.cards, *more]
        block = header_block(cards, datasum=datasum, size=place.header_size)
        if len(block) > place.header_size:  # a long history must not cost the result of the night
            cards = [card for card in cards if card.keyword != "HISTORY"]
            cards.append(Card("HISTORY", "left out: longer than the room that was kept for it"))
            block = header_block(cards, datasum=datasum, size=place.header_size)
        if len(block) > place.header_size:
            raise ValueError(f"too many cards for plane {place.plane.name}: ask for more spare_cards")
        self._file.write_at(block, place.header_at)


def create_planes(
    path: Path,
    planes: Sequence[Plane],
    shape: tuple[int, int],
    disk: Disk = REAL_DISK,
    *,
    spare_cards: int = 144,
    hashed: bool = True,
) -> PlanesFile:
    """Open a file of planes for writing; the first is the primary image, which every program reads.

    Parameters
    ----------
    path : Path
        The final name; refused at the end when it is there.
    planes : sequence of Plane
        All of shape `shape` (y, x).
    disk : Disk
        Where to write.
    spare_cards : int
        Room kept in each header for cards given to `finish` (80 bytes a card).
    hashed : bool
        Whether to hash the values of the first plane: the identity of a master; what lies beside it has none.

    Raises
    ------
    StorageError
        `disk_full` or `write_failed`.
    """
    at, places = 0, {}
    for number, plane in enumerate(planes):
        bitpix, bzero = encoding(np.dtype(plane.dtype))
        location = PixelLocation(offset=0, bitpix=bitpix, bzero=bzero, shape=shape)
        place = _Place(plane=plane, header_at=at, header_size=0, location=location)
        base = header_block([*_structure(plane, shape, primary=number == 0), *plane.cards], datasum=0)
        size = padded(len(base) + 80 * spare_cards)
        location = PixelLocation(offset=at + size, bitpix=bitpix, bzero=bzero, shape=shape)
        place = _Place(plane=plane, header_at=at, header_size=size, location=location)
        places[plane.name] = place
        at = place.end
    return PlanesFile(Growing(path, disk), places, hashed=hashed)


def stored_as(path: Path, pixel_sha256: str) -> Stored:
    """Return the record of a file that was just written."""
    status = path.stat()
    return Stored(path=path, size=status.st_size, mtime_ns=status.st_mtime_ns, pixel_sha256=pixel_sha256)


def _head(place: _Place) -> list[Card]:
    return _structure(place.plane, place.location.shape, primary=place.header_at == 0)


def _structure(plane: Plane, shape: tuple[int, int], *, primary: bool) -> list[Card]:
    bitpix, bzero = encoding(np.dtype(plane.dtype))
    cards = image_cards(shape, bitpix, bzero, extension=None if primary else plane.name)
    if primary:
        cards.append(Card("EXTNAME", plane.name, "name of this image"))
    return cards


def _table_bytes(table: FitsTable) -> bytes:
    columns = {name: _column(values) for name, values in table.columns.items()}
    rows = np.empty(len(next(iter(columns.values()))), dtype=[(name, c.dtype) for name, c in columns.items()])
    for name, column in columns.items():
        rows[name] = column
    cards = [
        Card("XTENSION", "BINTABLE", "binary table"),
        Card("BITPIX", 8, "bytes"),
        Card("NAXIS", 2, "number of axes"),
        Card("NAXIS1", rows.itemsize, "bytes of a row"),
        Card("NAXIS2", len(rows), "rows"),
        Card("PCOUNT", 0, "nothing behind the rows"),
        Card("GCOUNT", 1, "one group"),
        Card("TFIELDS", len(columns), "columns"),
    ]
    for number, (name, column) in enumerate(columns.items(), 1):
        cards += [Card(f"TTYPE{number}", name), Card(f"TFORM{number}", _form(column.dtype))]
    data = rows.tobytes()
    block = header_block([*cards, Card("EXTNAME", table.name, "name of this table")], datasum=sum_of(data))
    return block + data.ljust(padded(len(data)), b"\0")


def _column(values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """Return a column as it is stored: text of one length, numbers big-endian."""
    column = np.asarray(values)
    if column.dtype.kind == "U":
        return np.char.encode(column, "ascii", "replace")
    return column.astype(column.dtype.newbyteorder(">"), copy=False)


def _form(dtype: np.dtype[Any]) -> str:
    """Return TFORM of a column (FITS 4.0, table 18)."""
    return f"{dtype.itemsize}A" if dtype.kind == "S" else _FORMS[dtype.kind, dtype.itemsize]
