"""Events of devices: cooler, filter wheel, panel, safety monitor, detector (the rules are those of `records`)."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from services.events.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolingChanged(Record):
    """A reading of the cooler on its way to `target_c`, or held there."""

    name: ClassVar[str] = "cooling.changed"
    ccd_temp_c: float | None
    set_point_c: float | None = None
    target_c: float | None
    cooler_power_pct: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolingStable(Record):
    """The sensor is as cold as wanted, after so many seconds."""

    name: ClassVar[str] = "cooling.stable"
    ccd_temp_c: float | None
    target_c: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolingStalled(Record):
    """The sensor does not become as cold as wanted."""

    name: ClassVar[str] = "cooling.stalled"
    ccd_temp_c: float | None
    target_c: float | None
    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConnected(Record):
    """A device answers and is ours."""

    name: ClassVar[str] = "device.connected"
    device: str | None
    device_name: str | None
    unique_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceGone(Record):
    """A device does not answer any more."""

    name: ClassVar[str] = "device.lost"
    device: str | None
    code: str | None
    detail: str = ""
    waiting_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRestored(Record):
    """A device that was lost answers again."""

    name: ClassVar[str] = "device.restored"
    device: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChanged(Record):
    """The wheel stands at another filter."""

    name: ClassVar[str] = "filter.changed"
    filter: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelChanged(Record):
    """The lamp of the flat panel shines at another brightness; 0 is off."""

    name: ClassVar[str] = "panel.changed"
    brightness: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverChanged(Record):
    """The cover stands otherwise than before."""

    name: ClassVar[str] = "cover.changed"
    cover: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Safety(Record):
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySafe(_Safety):
    """The safety monitor said "safe" for the first time."""

    name: ClassVar[str] = "safety.safe"


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyUnsafe(_Safety):
    """The safety monitor said "unsafe"."""

    name: ClassVar[str] = "safety.unsafe"


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyStale(_Safety):
    """The safety monitor has not answered for too long, which counts as unsafe."""

    name: ClassVar[str] = "safety.stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorMeasured(Record):
    """What was measured of the detector at these settings. K that is not believed is `k_adu_e_refused`."""

    name: ClassVar[str] = "detector.measured"
    camera: str | None = None
    bias_adu: float | None
    saturation_adu: float | None
    saturation_source: str | None = None
    step_adu: float | None = None
    k_adu_e: float | None = None
    k_adu_e_refused: float | None = None
    gain: int | None = None
    offset: int | None = None
    readout_mode: str | None = None
    binning: tuple[int, int] | None = None
    set_temp_c: float | None = None
    apart: str = ""
