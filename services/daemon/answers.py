"""What the API answers to questions about what is on disk: one frozen record per kind of answer.

They are the schemas of the OpenAPI document. Times are ISO texts in UTC; paths are relative to the root.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from calibration.frames import FrameKind
from services.catalogue.rows import Flag, FrameRow, MasterRow, MasterStatus, Origin, RunRow


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterSeen:
    """One master. `name` is that of its file, and identifies it; `serves_at_times`: it is valid for some time."""

    name: str
    path: str
    kind: FrameKind
    status: MasterStatus
    n: int
    built_at: datetime
    filter: str | None = None
    exposure_us: int | None = None
    gain: int | None = None
    offset: int | None = None
    readout_mode: str | None = None
    binning: tuple[int, int] = (1, 1)
    ccd_temp_c: float | None = None
    night: str | None = None
    run_id: str | None = None
    rejected: int = 0
    stood_as: MasterStatus | None = None
    code: str | None = None
    detail: str = ""
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    serves_at_times: bool = False
    statistics: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: MasterRow) -> "MasterSeen":
        """Return what is shown of a row of the catalogue."""
        same = (
            "path", "kind", "status", "n", "built_at", "exposure_us", "ccd_temp_c", "night", "run_id", "rejected",
            "stood_as", "code", "detail", "valid_from", "valid_until", "statistics",
        )  # fmt: skip
        of_key = ("filter", "gain", "offset", "readout_mode", "binning")
        return cls(
            name=row.path.rpartition("/")[2],
            serves_at_times=row.may_serve,
            **{name: getattr(row, name) for name in same},
            **{name: getattr(row.key, name) for name in of_key},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MastersPage:
    """Masters, the newest first."""

    masters: tuple[MasterSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterDetail:
    """One master, with the hashes of the frames in it and the masters that were subtracted from them."""

    master: MasterSeen
    recipe: str
    pixel_sha256: str | None = None
    inputs: tuple[str, ...] = ()
    darks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryPage:
    """What must exist (None: not compared yet) and what may serve. `wanted` has an object per master of the plan."""

    wanted: tuple[Mapping[str, Any], ...] | None = None
    there: tuple[MasterSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSeen:
    """One run: how it ended, or that it goes on."""

    run: RunRow
    is_running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsPage:
    """Runs, the newest first; `next` is the `before` of those that follow, None at the end."""

    runs: tuple[RunSeen, ...] = ()
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    """One run, with the frames that were refused, and its report."""

    run: RunRow
    is_running: bool
    refused: int = 0
    frames: int = 0
    report: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsPage:
    """Events of one run in their order, as its journal has them; `next` is the `after` of those that follow."""

    events: tuple[Mapping[str, Any], ...] = ()
    next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSeen:
    """One frame, by its path."""

    path: str
    kind: FrameKind
    flag: Flag
    origin: Origin
    pixel_sha256: str
    size: int
    height: int
    width: int
    bin_x: int = 1
    bin_y: int = 1
    filter: str | None = None
    exposure_us: int | None = None
    gain: int | None = None
    offset: int | None = None
    readout_mode: str | None = None
    set_id: str | None = None
    run_id: str | None = None
    frame_no: int | None = None
    night: str | None = None
    date_obs: datetime | None = None
    ccd_temp_c: float | None = None
    set_temp_c: float | None = None
    level_adu: float | None = None
    sigma_adu: float | None = None
    saturated_fraction: float | None = None
    panel_brightness: int | None = None
    instrument: str | None = None
    simulated: bool = False

    @classmethod
    def of(cls, row: FrameRow) -> "FrameSeen":
        """Return what is shown of a row of the catalogue."""
        return cls(**{each.name: getattr(row, each.name) for each in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesPage:
    """Frames, those that were recorded last first; `next` is the `before` of those that follow, None at the end."""

    frames: tuple[FrameSeen, ...] = ()
    next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """Level, noise of single frames, noise of the master and temperature of one master."""

    at: datetime
    name: str
    kind: FrameKind
    status: MasterStatus
    filter: str | None = None
    exposure_us: int | None = None
    gain: int | None = None
    level_adu: float | None = None
    frame_noise_adu: float | None = None
    master_noise_adu: float | None = None
    ccd_temp_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendsPage:
    """Points of masters, the oldest first."""

    points: tuple[TrendPoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NightOfKind:
    """Frames of one kind in one night; times are those of the first and the last one."""

    kind: FrameKind
    frames: int
    bad: int
    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NightSeen:
    """One night: its frames by kind, and its reports."""

    night: str
    kinds: tuple[NightOfKind, ...] = ()
    reports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NightsPage:
    """Nights, the newest first."""

    nights: tuple[NightSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTail:
    """The last lines of the newest log: each an object, of which `event` says what happened."""

    path: str | None = None
    lines: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSeen:
    """The configuration in force with every default; what may hold a secret is masked."""

    path: str
    root: str
    config: Mapping[str, Any]
    notes: tuple[str, ...] = ()
