"""What the catalogue holds, one frozen record a table. Times are aware UTC, paths relative to the root with `/`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from calibration.frames import FrameHeader, FrameKind, FrameStats, GroupKey
from calibration.grouping import camera_of, group_key, night_label
from services.catalogue.plain import key_from_dict, key_to_dict, parse_time, plain
from services.catalogue.said import Said
from services.catalogue.typed import check_types


class Flag(StrEnum):
    """Whether a frame may be used."""

    OK = "ok"
    BAD = "bad"


class Origin(StrEnum):
    """Who took a frame."""

    OWN = "own"
    FOREIGN = "foreign"


class MasterStatus(StrEnum):
    """What a master is good for.

    `certified`: like the certified master before it, found good by itself where there is none, or by somebody.
    `suspect`: made with a rejected frame, or unlike the certified master before it. `superseded`: a better or newer one
    took its place, or somebody has invalidated it; it may still be the one for its own time (`MasterRow.may_serve`).
    `bad`: rejected by somebody.
    """

    BUILT = "built"
    PARTIAL = "partial"
    CERTIFIED = "certified"
    SUSPECT = "suspect"
    SUPERSEDED = "superseded"
    BAD = "bad"


USABLE = (MasterStatus.CERTIFIED, MasterStatus.BUILT, MasterStatus.PARTIAL)
"""Masters that may serve, the best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRow:
    """One frame on disk.

    `camera` names camera and simulation as group keys do. `saturated_fraction` is None after a rebuild: no header
    holds it. `read_as` says by which rules the header of a foreign frame was understood.
    """

    path: str
    pixel_sha256: str
    size: int
    mtime_ns: int
    kind: FrameKind
    camera: str
    height: int
    width: int
    bin_x: int = 1
    bin_y: int = 1
    origin_x: int = 0
    origin_y: int = 0
    gain: int | None = None
    offset: int | None = None
    readout_mode: str | None = None
    row_order: str | None = None
    bayer_pattern: str | None = None
    exposure_us: int | None = None
    filter: str | None = None
    source: str | None = None
    rotator_angle_deg: float | None = None
    instrument: str | None = None
    camera_id: str | None = None
    simulated: bool = False
    set_id: str | None = None
    run_id: str | None = None
    frame_no: int | None = None
    night: str | None = None
    date_obs: datetime | None = None
    reported_exposure_us: int | None = None
    ccd_temp_c: float | None = None
    set_temp_c: float | None = None
    level_adu: float | None = None
    sigma_adu: float | None = None
    saturated_fraction: float | None = None
    saturation_adu: float | None = None
    egain_e_adu: float | None = None
    step_adu: int | None = None
    panel_brightness: int | None = None
    calibrated: str | None = None
    pedestal_adu: float | None = None
    unread: str | None = None
    read_as: str | None = None
    flag: Flag = Flag.OK
    origin: Origin = Origin.OWN

    @classmethod
    def of(
        cls,
        header: FrameHeader,
        *,
        path: str,
        pixel_sha256: str,
        size: int,
        mtime_ns: int,
        stats: FrameStats | None = None,
        origin: Origin = Origin.OWN,
    ) -> "FrameRow":
        """Return the row of a frame; level, noise and saturation from its statistics, else from its header."""
        shared = {name: getattr(header, name) for name in _FROM_HEADER}
        level, sigma = (header.median_adu, header.std_adu) if stats is None else (stats.level_adu, stats.sigma_adu)
        return cls(
            path=path,
            pixel_sha256=pixel_sha256,
            size=size,
            mtime_ns=mtime_ns,
            camera=camera_of(header),
            height=header.shape[0],
            width=header.shape[1],
            level_adu=level,
            sigma_adu=sigma,
            saturated_fraction=None if stats is None else stats.saturated_fraction,
            origin=origin,
            **shared,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def header(self) -> FrameHeader:
        """Return what of the header the catalogue knows; the set of a foreign frame is ours, not its header's."""
        shared = {name: getattr(self, name) for name in _FROM_HEADER}
        shared["set_id"] = None if self.origin is Origin.FOREIGN else self.set_id
        return FrameHeader(shape=self.shape, median_adu=self.level_adu, std_adu=self.sigma_adu, **shared)

    def key(self, temperature_c: float | None = None) -> GroupKey:
        """Return what this frame must share with others to be combined; `temperature_c` as for `group_key`."""
        night = self.night or (None if self.date_obs is None else night_label(self.date_obs))
        return _key(_OF_A_GROUP(self), temperature_c, night)


_FROM_HEADER = tuple(
    sorted({f.name for f in fields(FrameRow)} & {f.name for f in fields(FrameHeader)} - {"camera", "shape"})
)
_NAMES_OF_A_GROUP = (
    *sorted({f.name for f in fields(GroupKey)} & set(_FROM_HEADER) - {"night"}), "shape", "camera_id", "instrument",
    "simulated", "bin_x", "bin_y", "origin_x", "origin_y", "ccd_temp_c", "set_temp_c",
)  # fmt: skip
_OF_A_GROUP = attrgetter(*_NAMES_OF_A_GROUP)


@lru_cache(maxsize=1 << 13)
def _key(facts: tuple[Any, ...], temperature_c: float | None, night: str | None) -> GroupKey:
    """Return the key of frames with these facts: thousands of sets have a few keys."""
    header = FrameHeader(**dict(zip(_NAMES_OF_A_GROUP, facts, strict=True)))
    return group_key(header, temperature_c=temperature_c, night=night)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalRow:
    """One frame that was refused: why, measured against which limits (`verdicts` as in events)."""

    run_id: str
    at: datetime
    kind: FrameKind
    codes: tuple[str, ...]
    set_id: str | None = None
    filter: str | None = None
    exposure_us: int | None = None
    level_adu: float | None = None
    path: str | None = None
    verdicts: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterRow:
    """One master on disk.

    `exposure_us` is a flat's median exposure (not part of its key); `inputs` the pixel hashes of its frames, `darks`
    the masters that were subtracted from them, `recipe` a hash over inputs and settings: the same recipe is the same
    master. `size` and `mtime_ns` are those of the file when its pixels were last known to be `pixel_sha256`; a sidecar
    does not hold them.

    It was `taken` from its first frame on and could hold from `begins` on, of flats the noon before; those of older
    versions have neither. `status`, `valid_from`, `valid_until`, `detail` and `contained` (another one has all its
    frames) follow from all masters together (`services.library.standing`): `stood_as` is the status that it has for
    itself, where that is another one, and `detail` the reason. `certified`, `bad` and `invalid` are what somebody has
    said of it, `judged` the status that it was built with, once somebody has.
    """

    path: str
    key: GroupKey
    n: int
    recipe: str
    built_at: datetime
    status: MasterStatus = MasterStatus.BUILT
    exposure_us: int | None = None
    ccd_temp_c: float | None = None
    rejected: int = 0
    night: str | None = None
    run_id: str | None = None
    code: str | None = None
    stood_as: MasterStatus | None = None
    detail: str = ""
    judged: MasterStatus | None = None
    certified: Said | None = None
    bad: Said | None = None
    invalid: tuple[Said, ...] = ()
    contained: bool = False
    taken: datetime | None = None
    begins: datetime | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    pixel_sha256: str | None = None
    inputs: tuple[str, ...] = ()
    darks: tuple[str, ...] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = field(default=None, compare=False)
    mtime_ns: int | None = field(default=None, compare=False)

    @property
    def kind(self) -> FrameKind:
        """What it is a master of."""
        return self.key.kind

    @property
    def shelf(self) -> GroupKey:
        """What it has in common with masters that may take its place: of flats not the night; older keys lack more."""
        return replace(self.key, egain_e_adu=None, bayer_pattern=None, night=None)

    @property
    def first(self) -> datetime:
        """When its first frame was taken, as far as it is known."""
        return self.taken or self.valid_from or self.built_at

    @property
    def base(self) -> MasterStatus:
        """Its status for itself, whatever other masters there are."""
        if self.bad is not None:
            return MasterStatus.BAD
        if self.certified is not None:
            return MasterStatus.CERTIFIED
        return self.judged or self.stood_as or self.status

    def holds_at(self, at: datetime) -> bool:
        """Return whether a moment lies in its validity, which is half-open: never two of a group hold at one."""
        return (self.valid_from or at) <= at and (self.valid_until is None or at < self.valid_until)

    @property
    def may_serve(self) -> bool:
        """Whether it serves at some time: from `valid_from` until just before `valid_until`."""
        ended = self.status is MasterStatus.SUPERSEDED and self.valid_until is not None
        return (self.status in USABLE or ended) and (self.valid_until is None or self.valid_from != self.valid_until)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` gives the row back."""
        record: dict[str, Any] = {f.name: plain(getattr(self, f.name)) for f in fields(self)}
        record["key"] = key_to_dict(self.key)
        return record

    @classmethod
    def from_dict(cls, record: Any) -> "MasterRow":
        """Return the row of plain JSON values; members that a newer version added are ignored.

        Raises
        ------
        KeyError, ValueError, TypeError
            The values are no master's.
        """
        if not isinstance(record, Mapping) or not isinstance(record["key"], Mapping):
            raise TypeError("a master's record is an object with an object `key`")
        known = {name: record[name] for name in cls.__slots__ if name in record}
        for name in ("built_at", "taken", "begins", "valid_from", "valid_until"):
            known[name] = parse_time(known.get(name))
        known["key"] = key_from_dict(record["key"])
        known["status"] = MasterStatus(record["status"])
        for name in ("stood_as", "judged"):
            known[name] = None if known.get(name) is None else MasterStatus(known[name])
        for name in ("certified", "bad"):
            known[name] = Said.from_dict(known.get(name))
        known["invalid"] = tuple(said for each in known.get("invalid", ()) if (said := Said.from_dict(each)))
        for name in ("inputs", "darks"):
            known[name] = tuple(known.get(name, ()))
        row = cls(**known)
        check_types(row)
        check_types(row.key)
        return row


class Mark(NamedTuple):
    """A frame that was rejected: its pixels, where it lay, why, and when. It holds wherever these pixels turn up."""

    pixel_sha256: str
    path: str
    reason: str = ""
    at: datetime | None = None


class KnownMaster(NamedTuple):
    """A master as far as it takes to find one by its recipe; a tuple, for all of them are read at once.

    Size and time are those of its file when its pixels were last checked; `status` is a word of `MasterStatus`;
    `stands` is 1 for one that need not be built again, whether it serves or waits for somebody's word, else 0;
    `chosen` is 1 for one that somebody has certified.
    """

    path: str
    recipe: str
    status: str
    size: int | None
    mtime_ns: int | None
    stands: int
    chosen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run; `finished_at` None while it runs, or when it was killed.

    `campaign` is the run that began to take everything anew (`--fresh`), which this one belongs to. `early`: it ended
    in time (`--until`), before all was taken.
    """

    run_id: str
    started_at: datetime
    finished_at: datetime | None = None
    exit_code: int | None = None
    code: str | None = None
    detail: str = ""
    steps: tuple[str, ...] = ()
    software: str | None = None
    campaign: str | None = None
    early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRow:
    """One thing measured about a detector: `settings` names gain, offset, readout mode, binning."""

    camera: str
    name: str
    value: float
    at: datetime
    settings: Mapping[str, Any] = field(default_factory=dict)

    def holds_for(self, settings: Mapping[str, Any]) -> bool:
        """Return whether it was measured with these settings; one that either side does not name fits any."""
        pairs = ((self.settings.get(name), value) for name, value in settings.items())
        return all(known is None or value is None or known == value for known, value in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRow:
    """One set of frames, from its usable members.

    `key` is that of its first frame, which also fixes `exposure_us`, `panel_brightness` and `level_adu` for a flat set
    that is resumed; `mean_level_adu` is that of all. `next_frame_no` is one above the highest, bad ones included: no
    number is given twice. `rejected` frames were marked bad.
    """

    set_id: str
    key: GroupKey
    count: int
    oldest: datetime | None
    newest: datetime | None
    exposure_us: int | None
    panel_brightness: int | None
    filter: str | None
    level_adu: float | None
    mean_level_adu: float | None
    set_temp_c: float | None
    ccd_temp_c: float | None
    night: str | None
    origin: Origin
    next_frame_no: int
    rejected: int = 0
    warmest_c: float | None = None
    coldest_c: float | None = None


def is_unchanged(row: FrameRow | MasterRow | KnownMaster, path: Path) -> bool:
    """Return whether a file has the size and time under which the catalogue knows it; False when it is gone."""
    try:
        status = path.stat()
    except OSError:
        return False
    return (row.size, row.mtime_ns) == (status.st_size, status.st_mtime_ns)
