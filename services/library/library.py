"""The library of masters: which one serves, and its pixels. The wrong one is never given silently."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from calibration.frames import FrameKind, Pixels, us
from calibration.grouping import same_exposure
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import USABLE, MasterRow
from services.config.models import LoadedConfig
from services.errors import RunCode, StorageError
from services.files.fits import Unreadable, pixel_hash, read_cards, read_pixels
from services.files.layout import Layout, seconds_text
from services.root import layout_of

ALIKE_C = 0.5
"""Masters whose temperatures differ by more are not one another's substitutes."""

_DECISIVE = ("camera", "shape", "binning", "gain", "offset", "readout_mode", "row_order")


class NoMaster(StorageError):
    """The library has no master that fits; `detail` lists what there is."""

    code = RunCode.READ_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedMaster:
    """A master with its pixels (float32 ADU, shape (y, x)) and its header as it stands."""

    row: MasterRow
    path: Path
    pixels: Pixels
    cards: dict[str, object]


class MasterLibrary:
    """Masters of one root.

    Parameters
    ----------
    layout : Layout
        Where the files are.
    catalogue : Catalogue
        Which there are.
    """

    def __init__(self, layout: Layout, catalogue: Catalogue) -> None:
        self._layout = layout
        self._catalogue = catalogue

    def bias(self, **filters: Any) -> LoadedMaster:
        """Return the newest valid master bias; filters as for `dark`."""
        return self._load(self.find(FrameKind.BIAS, **filters), FrameKind.BIAS, "", filters)

    def dark(self, exposure_s: float, *, nearest: bool = False, alike: bool = False, **filters: Any) -> LoadedMaster:
        """Return the newest valid master dark of an exposure.

        Parameters
        ----------
        exposure_s : float
            Seconds; equal within 0.5 ms or 0.1 %, whichever is more.
        nearest : bool
            When none is equal, take the nearest instead of failing (its dark current then needs scaling).
        alike : bool
            Refuse to choose where those that fit are of several cameras, gains, temperatures and the like.
        **filters
            `camera, shape, binning, origin, gain, offset, readout_mode, row_order, filter, night, source,
            rotator_angle_deg` (equal), `temperature_c` (within 0.5 °C), `at` (a time within the validity).

        Raises
        ------
        NoMaster
            None fits, or several that are not `alike`; the message lists them.
        Unreadable
            Its file is missing or damaged.
        """
        found = self.find(FrameKind.DARK, **filters)
        wanted = us(exposure_s)
        equal = [
            row for row in found if row.exposure_us is not None and same_exposure(row.exposure_us, wanted, exact=False)
        ]
        if not equal and nearest:
            equal = sorted(found, key=lambda row: _distance(row.exposure_us, wanted))[:1]
        return self._load(equal, FrameKind.DARK, f" of {seconds_text(wanted)} s", filters, alike=alike)

    def flat(self, filter: str | None = None, *, alike: bool = False, **filters: Any) -> LoadedMaster:  # noqa: A002
        """Return the newest valid master flat, of a filter when given; other filters as for `dark`."""
        if filter is not None:
            filters["filter"] = filter
        found, what = self.find(FrameKind.FLAT, **filters), f" of filter {filter}" if filter else ""
        return self._load(found, FrameKind.FLAT, what, filters, alike=alike)

    def find(self, kind: FrameKind, *, at: datetime | None = None, **filters: Any) -> list[MasterRow]:
        """Return the masters that may serve, certified before built before partial, then the newest first."""
        rows = [
            row
            for row in self._catalogue.masters(kind=kind)
            if row.status in USABLE and _valid(row, at) and _fits(row, filters)
        ]
        return sorted(rows, key=lambda row: (USABLE.index(row.status), -row.built_at.timestamp()))

    def _load(
        self, rows: Sequence[MasterRow], kind: FrameKind, what: str, filters: dict[str, Any], *, alike: bool = False
    ) -> LoadedMaster:
        if not rows:
            named = "".join(f", {name} {value}" for name, value in filters.items() if name != "filter")
            raise NoMaster(f"no master {kind.lower()}{what}{named}; {self._offer(kind)}")
        if alike and (differs := _differences(rows)):
            there = "; ".join(sorted({_describe(row) for row in rows}))
            raise NoMaster(
                f"several master {kind.lower()}s{what} fit: say which {' and '.join(differs)}; there are: {there}"
            )
        path = self._layout.absolute(rows[0].path)
        pixels = read_pixels(path)
        if rows[0].pixel_sha256 not in {None, pixel_hash(pixels)}:
            raise Unreadable(f"{path}: damaged, its pixels are not those that were written; run the masters step")
        return LoadedMaster(row=rows[0], path=path, pixels=pixels, cards=read_cards(path))

    def _offer(self, kind: FrameKind) -> str:
        rows = [row for row in self._catalogue.masters(kind=kind) if row.status in USABLE]
        if not rows:
            return f"there are no {kind.lower()} masters: run the masters step"
        return "there are: " + "; ".join(sorted({_describe(row) for row in rows}))


def _fits(row: MasterRow, filters: dict[str, Any]) -> bool:
    return all(_equal(name, getattr(row.key, name), wanted) for name, wanted in filters.items())


def _equal(name: str, found: Any, wanted: Any) -> bool:
    if name == "temperature_c" and found is not None and wanted is not None:
        return bool(abs(found - wanted) <= ALIKE_C)
    return bool(found == wanted)


def _differences(rows: Sequence[MasterRow]) -> list[str]:
    """Return in what masters differ that are not one another's substitutes."""
    differs = [name for name in _DECISIVE if len({getattr(row.key, name) for row in rows}) > 1]
    temperatures = [
        row.key.temperature_c for row in rows if row.kind is not FrameKind.FLAT
    ]  # a flat's dark is out of it
    known = [t for t in temperatures if t is not None]
    if len(known) not in {0, len(temperatures)} or (known and max(known) - min(known) > ALIKE_C):
        differs.append("temperature_c")
    return differs


def _valid(row: MasterRow, at: datetime | None) -> bool:
    """Return whether a master is valid at a time: from `valid_from` until just before `valid_until`."""
    if at is None:
        return True
    after = row.valid_from is None or row.valid_from <= at
    return after and (row.valid_until is None or at < row.valid_until)


def _distance(exposure_us: int | None, wanted_us: int) -> float:
    """Return how far apart exposures are, as the logarithm of their ratio."""
    if not exposure_us or wanted_us <= 0:
        return math.inf
    return abs(math.log(exposure_us / wanted_us))


def _describe(row: MasterRow) -> str:
    key = row.key
    parts = [
        None if row.exposure_us is None or row.kind is FrameKind.FLAT else f"{seconds_text(row.exposure_us)} s",
        key.filter,
        None if key.gain is None else f"gain {key.gain}",
        None if key.offset is None else f"offset {key.offset}",
        None if key.readout_mode is None else f"mode {key.readout_mode}",
        None if key.temperature_c is None else f"{key.temperature_c:g} °C",
        f"{key.shape[1]}x{key.shape[0]}",
        None if key.binning == (1, 1) else f"binned {key.binning[0]}x{key.binning[1]}",
    ]
    return " ".join(part for part in parts if part)


@contextmanager
def open_library(loaded: LoadedConfig) -> Iterator[MasterLibrary]:
    """Open a configuration's masters for reading.

    Raises
    ------
    StorageError
        Nothing was ever taken below this root.
    """
    layout = layout_of(loaded)
    if not layout.catalogue.exists():
        raise StorageError(f"{layout.root} holds no catalogue: run the workflow first", code=RunCode.READ_FAILED)
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        yield MasterLibrary(layout, catalogue)
