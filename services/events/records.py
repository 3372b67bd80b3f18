"""One frozen record per event: what a run says, with types that every reader can rely on (and see `devices`).

An event's name is its record's `name`, defined here and nowhere else. Names of fields carry their units (`_s _us _c
_adu _pct _mb`). None means "not known". A field without a default must be given by whoever emits the event, and admits
None all the same, because an old or damaged journal may lack it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any, ClassVar

from calibration.frames import FrameKind, GroupStatus
from services.events.findings import Finding, Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one event says."""

    name: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a run: the `seq`-th event, its moment (UTC), and what it says."""

    run_id: str
    seq: int
    at: datetime
    what: Record

    @property
    def name(self) -> str:
        """The name of the event."""
        return self.what.name

    def to_json(self) -> str:
        """Return the event as one line of JSON, without its end: this is the one encoder of events."""
        envelope = {"name": self.name, "run_id": self.run_id, "seq": self.seq, "at": self.at.isoformat()}
        return json.dumps(envelope | members(self.what))


def members(record: Any) -> dict[str, Any]:
    """Return the fields of a record by name, as JSON values."""
    return {each.name: json_value(getattr(record, each.name)) for each in fields(record)}


def json_value(value: Any) -> Any:
    """Return what JSON does not know as what it does: numbers of numpy as numbers, anything else as text."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): json_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    if is_dataclass(value):
        return members(value)
    if isinstance(value, datetime):
        return value.isoformat()
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", 1) == 0 else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSet:
    """The frames a plan wants of one kind and state, and how many there were when the run began.

    `apart`, here and in events, is the gain and the temperature in words, where the run has several of them; `item` the
    key of what is wanted, as plans name it ("" in older journals).
    """

    set_id: str | None = None
    kind: FrameKind | None = None
    filter: str | None = None
    exposure_us: int | None = None
    apart: str = ""
    item: str = ""
    gain: int | None = None
    set_temp_c: float | None = None
    why: tuple[str, ...] = ()
    wanted: int | None = None
    have: int = 0


# --- the run --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Record):
    """A run begins. `settings` is the configuration without what may hold a secret.

    `campaign` is the run that began to take everything anew (`--fresh`): this one, or an earlier one that goes on here.
    """

    name: ClassVar[str] = "run.started"
    steps: tuple[str, ...] = ()
    config: str | None = None
    root: str | None = None
    simulated: bool = False
    software: str | None = None
    night: str | None = None
    campaign: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnding(Record):
    """The end of a run begins: why (None when all is done), how long warming up takes, and what else is under way."""

    name: ClassVar[str] = "run.ending"
    code: str | None
    warming_s: float | None
    doing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Record):
    """A run has ended; `early`: in time (`--until`), before all was taken."""

    name: ClassVar[str] = "run.finished"
    exit_code: int | None
    code: str | None = None
    detail: str = ""
    early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesLeft(Record):
    """How the devices were left at the end: what succeeded."""

    name: ClassVar[str] = "devices.left"
    done: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(Record):
    """A step of a run begins."""

    name: ClassVar[str] = "step.started"
    step: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Record):
    """A step of a run has ended. `kept` are the paths of masters that were there already."""

    name: ClassVar[str] = "step.finished"
    step: str | None
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress(Record):
    """Frames done of all wanted.

    `sets` is the plan; it is given once, before the first set is taken. `taken_at` says when each set of the plan that
    is complete was begun, and is None for the sets that are still to be taken. `dropped` are sets of the plan that
    nothing needs any more, such as the darks of flats that were refused since. `needed_mb` and `seconds` are what the
    frames to take need; they are given once, too. `at_most` says that new flats may come to share darks, so that less
    may do.
    """

    name: ClassVar[str] = "progress"
    done: int = 0
    wanted: int = 0
    sets: tuple[FrameSet, ...] | None = None
    dropped: tuple[FrameSet, ...] = ()
    taken_at: tuple[datetime | None, ...] = ()
    needed_mb: float | None = None
    seconds: float | None = None
    at_most: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Record):
    """The run waits: how long, until when by the run's clock (None where another clock decides), and for what."""

    name: ClassVar[str] = "waiting"
    wait_s: float | None
    until: datetime | None = None
    at_most: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageLow(Record):
    """There is little room on the disk; `detail` says how far it reaches. Megabytes are of 1,000,000 bytes."""

    name: ClassVar[str] = "storage.low"
    free_mb: float | None
    floor_mb: float | None = None
    needed_mb: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningRaised(Record):
    """Something that an observer should know of; the run goes on. `paths` are all files that it is about."""

    name: ClassVar[str] = "warning.raised"
    code: str | None
    detail: str = ""
    paths: tuple[str, ...] = ()


# --- sets and frames ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfSet(Record):
    """A set of frames that an event is about."""

    set_id: str | None
    kind: FrameKind | None
    filter: str | None
    exposure_us: int | None
    apart: str = ""
    item: str = ""
    gain: int | None = None
    set_temp_c: float | None = None
    why: tuple[str, ...] = ()
    wanted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStarted(_OfSet):
    """A set of frames is begun or continued. `detail` says why an older set is not continued."""

    name: ClassVar[str] = "group.started"
    have: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFinished(_OfSet):
    """A set of frames has ended. `there`: it was complete before this run."""

    name: ClassVar[str] = "group.finished"
    have: int | None = None
    there: bool = False
    status: GroupStatus | None
    code: str | None = None
    accepted: int | None
    refused: int = 0
    panel_brightness: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameStored(Record):
    """A frame is on the disk and in the catalogue. `seconds` passed since its exposure began."""

    name: ClassVar[str] = "frame.stored"
    path: str | None
    set_id: str | None
    kind: FrameKind | None
    filter: str | None
    exposure_us: int | None
    level_adu: float | None
    sigma_adu: float | None = None
    ccd_temp_c: float | None = None
    set_temp_c: float | None = None
    cooler_power_pct: float | None = None
    frame_no: int | None = None
    apart: str = ""
    wanted: int | None = None
    seconds: float | None = None
    doubts: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRefused(Record):
    """A frame was refused by its checks. `path` is where it was kept for a look, if it was."""

    name: ClassVar[str] = "frame.refused"
    path: str | None
    set_id: str | None
    kind: FrameKind | None
    filter: str | None
    exposure_us: int | None
    level_adu: float | None
    apart: str = ""
    codes: tuple[str, ...] = ()
    verdicts: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMarked(Record):
    """Frames that were stored are rejected, or no longer rejected: `pixels` are the hashes that identify them."""

    name: ClassVar[str] = "frame.marked"
    rejected: bool = True
    pixels: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureAborted(Record):
    """The running exposure was to be aborted; `done` says whether it was, `detail` why not."""

    name: ClassVar[str] = "exposure.aborted"
    done: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatExposureAdjusted(Record):
    """A frame of the search for the exposure of a flat: the level it has, and the one wanted."""

    name: ClassVar[str] = "flat.exposure_adjusted"
    filter: str | None
    exposure_us: int | None
    panel_brightness: int | None = None
    level_adu: float | None
    target_adu: float | None
    attempt: int | None
    apart: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatSettled(Record):
    """The exposure of a flat is found, after so many attempts."""

    name: ClassVar[str] = "flat.settled"
    filter: str | None
    exposure_us: int | None
    panel_brightness: int | None = None
    level_adu: float | None
    attempts: int | None
    apart: str = ""


# --- masters --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OfMaster(Record):
    """The group of frames that a master is made of; `apart` says how it differs from others of its kind."""

    kind: FrameKind | None
    filter: str | None
    exposure_us: int | None
    apart: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterStarted(OfMaster):
    """Building a master of `n` frames begins: it is the `number`-th that is built, of `of` that are lacking."""

    name: ClassVar[str] = "master.started"
    n: int | None
    number: int | None
    of: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterBuilt(OfMaster):
    """A master of `n` frames is on the disk and in the catalogue; `doubts` say why it is suspect, if it is."""

    name: ClassVar[str] = "master.built"
    path: str | None
    gain: int | None
    n: int | None
    rejected: int | None
    status: str | None
    statistics: Statistics = field(default_factory=dict)
    doubts: tuple[Finding, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterRefused(OfMaster):
    """A master cannot be built."""

    name: ClassVar[str] = "master.refused"
    code: str | None
    detail: str = ""
