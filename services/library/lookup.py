"""Looking up a master in the library: the one that serves, and its pixels. The wrong one is never given silently."""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from calibration.frames import FrameKind, Pixels, us
from calibration.grouping import Tolerances
from calibration.keywords.filters import filter_name
from calibration.matching import Difference, differences, undecided
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import USABLE, MasterRow, MasterStatus
from services.config.models import LoadedConfig
from services.errors import RunCode, StorageError
from services.files.fits import Unreadable, pixel_hash, read_cards, read_pixels
from services.files.layout import Layout, seconds_text
from services.root import layout_of

ALIKE = Tolerances(cluster_c=0.5)
"""Who names a temperature means it: masters that differ by more than half a degree cannot stand in for each other."""


class NoMaster(StorageError):
    """The library has no master that fits; `detail` says what differs and lists the masters."""

    code = RunCode.READ_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedMaster:
    """A master with its pixels (float32 ADU, shape (y, x)) and the cards of its header."""

    row: MasterRow
    path: Path
    pixels: Pixels
    cards: dict[str, object]


class MasterLibrary:
    """Masters of one root.

    What is asked for is matched by `calibration.matching`: settings that are not named may have any value, a setting
    named as None fits only masters in which it is unknown. Where `alike` is true, masters that fit but cannot stand in
    for each other (of several cameras, gains, subframes, temperatures, sources of light, rotator angles and so on) are
    refused; otherwise the best of them is given: certified before built before partial, then the newest.

    Parameters
    ----------
    layout : Layout
        Where the files are.
    catalogue : Catalogue
        Which masters exist.
    """

    def __init__(self, layout: Layout, catalogue: Catalogue) -> None:
        self._layout = layout
        self._catalogue = catalogue

    def bias(self, *, alike: bool = False, **asked: Any) -> LoadedMaster:
        """Return the best valid master bias; parameters as those of `dark`."""
        return self._load(FrameKind.BIAS, self.find(FrameKind.BIAS, **asked), "", asked, alike=alike)

    def dark(self, exposure_s: float, *, nearest: bool = False, alike: bool = False, **asked: Any) -> LoadedMaster:
        """Return the best valid master dark of an exposure.

        Parameters
        ----------
        exposure_s : float
            Seconds; equal within 0.5 ms or 0.1 %, whichever is more.
        nearest : bool
            When none is equal, take the nearest instead of failing (its dark current then needs scaling).
        alike : bool
            Refuse to choose among masters that cannot stand in for each other.
        **asked
            `camera, shape, binning, origin, gain, offset, readout_mode, row_order` (equal), `temperature_c` (within
            0.5 °C), `at` (a time within the validity).

        Raises
        ------
        NoMaster
            None fits, or several that are not `alike`; the message says what differs and lists the masters.
        Unreadable
            Its file is missing or damaged.
        TypeError
            A setting is named that darks do not have.
        """
        wanted_us = us(exposure_s)
        found = self.find(FrameKind.DARK, exposure_us=wanted_us, **asked)
        if not found and nearest:
            others = self.find(FrameKind.DARK, **asked)
            least = min((_distance(row.exposure_us, wanted_us) for row in others), default=0.0)
            found = [row for row in others if _distance(row.exposure_us, wanted_us) == least]
        what = f" of {seconds_text(wanted_us)} s"
        return self._load(FrameKind.DARK, found, what, asked | {"exposure_us": wanted_us}, alike=alike)

    def flat(self, filter: str | None = None, *, alike: bool = False, **asked: Any) -> LoadedMaster:  # noqa: A002
        """Return the best valid master flat, of a filter when one is given.

        The other parameters are those of `dark`, with `source`, `night` and `rotator_angle_deg` (within 1°, around the
        circle) instead of `temperature_c`.
        """
        if filter is not None:
            asked["filter"] = filter_name(filter) or filter
        what = f" of filter {filter}" if filter else ""
        return self._load(FrameKind.FLAT, self.find(FrameKind.FLAT, **asked), what, asked, alike=alike)

    def find(self, kind: FrameKind, *, at: datetime | None = None, **asked: Any) -> list[MasterRow]:
        """Return the masters that may serve, certified before built before partial, then the newest first."""
        rows = [row for row in self._usable(kind, at, asked.get("night")) if not _differences(row, asked)]
        return sorted(rows, key=lambda row: (USABLE.index(row.stood_as or row.status), -row.built_at.timestamp()))

    def _usable(self, kind: FrameKind, at: datetime | None = None, night: str | None = None) -> list[MasterRow]:
        """Return the masters that may serve, for a time or a night in the past also those that were replaced since."""
        status = USABLE if at is None and night is None else (*USABLE, MasterStatus.SUPERSEDED)
        return [row for row in self._catalogue.masters(kind=kind, status=status, at=at) if row.may_serve]

    def _load(
        self, kind: FrameKind, rows: Sequence[MasterRow], what: str, asked: dict[str, Any], *, alike: bool
    ) -> LoadedMaster:
        if not rows:
            raise NoMaster(self._none(kind, what, asked))
        if alike and (differs := undecided(kind, [row.key for row in rows], tolerances=ALIKE)):
            names = " and ".join(differs)
            raise NoMaster(f"several master {kind.lower()}s{what} fit: say which {names}; there are: {_listed(rows)}")
        path = self._layout.absolute(rows[0].path)
        pixels = read_pixels(path)
        if rows[0].pixel_sha256 not in {None, pixel_hash(pixels)}:
            raise Unreadable(f"{path}: damaged, its pixels are not those that were written; run the masters step")
        return LoadedMaster(row=rows[0], path=path, pixels=pixels, cards=read_cards(path))

    def _none(self, kind: FrameKind, what: str, asked: dict[str, Any]) -> str:
        """Return that no master fits, which masters exist, and in what the nearest differs."""
        named = "".join(f", {name} {value}" for name, value in asked.items() if name not in {"filter", "exposure_us"})
        message = f"no master {kind.lower()}{what}{named}"
        rows = self._usable(kind)
        suspect = self._catalogue.masters(kind=kind, status=MasterStatus.SUSPECT, with_inputs=False)
        if not rows and suspect:
            why = f"{PurePosixPath(suspect[0].path).name} is {suspect[0].detail}"
            return f"{message}; {why}: run the masters step, which builds it anew"
        if not rows:
            return f"{message}; there are no {kind.lower()} masters: run the masters step"
        settings = {name: value for name, value in asked.items() if name != "at"}
        nearest = min((_differences(row, settings) for row in rows), key=len)
        differs = [str(each) for each in nearest if each.name not in {"exposure_us", "filter"}]
        of_it = f"; the nearest has {' and '.join(differs)}" if differs else ""
        return f"{message}; there are: {_listed(rows)}{of_it}"


def _differences(row: MasterRow, asked: dict[str, Any]) -> tuple[Difference, ...]:
    return differences(row.kind, asked, row.key, tolerances=ALIKE)


def _listed(rows: Sequence[MasterRow]) -> str:
    differs = set(undecided(rows[0].kind, [row.key for row in rows], tolerances=ALIKE))
    return "; ".join(sorted({describe(row, differs) for row in rows}))


def _distance(exposure_us: int | None, wanted_us: int) -> float:
    """Return how far apart exposures are, as the logarithm of their ratio."""
    if not exposure_us or wanted_us <= 0:
        return math.inf
    return abs(math.log(exposure_us / wanted_us))


def describe(row: MasterRow, differs: Collection[str] = ()) -> str:
    """Return a master in a few words; camera and row order only where masters differ in them."""
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
        None if key.origin == (0, 0) else f"at {key.origin[0]},{key.origin[1]}",
        key.source,
        None if key.rotator_angle_deg is None else f"rotator {key.rotator_angle_deg:g}°",
        f"of {key.camera or 'an unknown camera'}" if "camera" in differs else None,
        (key.row_order or "row order unknown") if "row_order" in differs else None,
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
