"""Events of a run as sentences an observer reads, for the command line and for pages."""

from functools import singledispatch
from typing import Protocol

from calibration.frames import FrameKind
from services.errors import RunCode, how_ended, meaning
from services.events.devices import (
    CoolingChanged,
    CoolingStable,
    CoolingStalled,
    CoverChanged,
    DetectorMeasured,
    DeviceConnected,
    DeviceGone,
    DeviceRestored,
    FilterChanged,
    SafetySafe,
    SafetyStale,
    SafetyUnsafe,
)
from services.events.findings import Finding, Statistics
from services.events.records import (
    DevicesLeft,
    FlatExposureAdjusted,
    FlatSettled,
    FrameMarked,
    FrameRefused,
    FrameStored,
    GroupFinished,
    GroupStarted,
    MasterBuilt,
    MasterRefused,
    MasterStarted,
    Record,
    RunEnding,
    RunFinished,
    RunProgress,
    RunStarted,
    StepStarted,
    StorageLow,
    Waiting,
    WarningRaised,
)
from services.events.serving import (
    ActivityChanged,
    ConfigReloaded,
    DevicesSecured,
    ItemFailed,
    ItemRecovered,
    ItemStale,
    ModeChanged,
    OrderTaken,
    ServeEnded,
    ServeStarted,
    WorkerDied,
)
from services.words import activity, adu, both_clocks, celsius, count, length, seconds, size, small_percent, some, wait

_NEAR_C = 1.0
"""So near to its target a sensor is neither being cooled nor warmed: it swings about it."""


@singledispatch
def sentence(what: Record) -> str | None:
    """Return the sentence for what an event says, without its time; None when it is not worth a line."""
    del what
    return None


class Exposed(Protocol):
    """What frames, sets and masters are named by."""

    @property
    def kind(self) -> FrameKind | None:
        """What it is for."""

    @property
    def filter(self) -> str | None:
        """The filter in the light path."""

    @property
    def exposure_us(self) -> int | None:
        """The exposure."""


def title(what: Exposed) -> str:
    """Return the name of a group: "flat L", "dark 5 s", "bias"; a dark is not named by a filter.

    Events add what keeps it apart from others of the same name: "dark 5 s (gain 26, -10.0 °C)".
    """
    name = {
        FrameKind.FLAT: what.filter or "",
        FrameKind.DARK: seconds(what.exposure_us),
    }.get(what.kind or FrameKind.BIAS, "")
    return _apart(f"{(what.kind or '').lower()} {name}".strip(), what)


def _apart(name: str, what: object) -> str:
    apart = getattr(what, "apart", "")
    return f"{name} ({apart})" if apart else name


@sentence.register
def cooling(what: CoolingChanged) -> str:
    """Return how far the cooling is."""
    shown = "" if what.cooler_power_pct is None else f", cooler {what.cooler_power_pct:.0f} %"
    now, target = what.ccd_temp_c, what.target_c
    way = "cooling"
    if now is not None and target is not None:
        way = "settling" if abs(target - now) < _NEAR_C else "warming" if target > now else "cooling"
    return f"{way}: {celsius(now)} → {celsius(target)}{shown}"


@sentence.register
def _(what: RunStarted) -> str:
    where = " on the simulated observatory" if what.simulated else ""
    times = "simulated UTC; the log has real ones too" if what.simulated else "UTC"
    return f"run started{where}: {', '.join(what.steps)} → {what.root or ''} (times are {times})"


@sentence.register
def _(what: RunFinished) -> str | None:
    return None if what.code is None else f"run {how_ended(what.code)}"


@sentence.register
def _(what: RunProgress) -> str | None:
    if what.needed_mb is not None:
        lacking = count(what.wanted - what.done, "frame")
        most = "at most " if what.at_most else ""
        return f"{most}{lacking} to take: about {length(what.seconds or 0)}, {size(1e6 * what.needed_mb)}"
    dated = zip(what.sets or (), what.taken_at, strict=False)
    there = [f"{title(each)} ({at:%Y-%m-%d})" for each, at in dated if at is not None]
    serve = "serves" if len(there) == 1 else "serve"
    return f"{count(len(there), 'set')} of earlier runs still {serve}: {some(there)}" if there else None


@sentence.register
def _(what: FrameMarked) -> str:
    return f"{count(len(what.paths), 'frame')} {'rejected' if what.rejected else 'restored'}: {what.reason}"


@sentence.register
def _(what: RunEnding) -> str | None:
    doing = list(what.doing)
    if what.warming_s:
        hurry = "Ctrl-C once more" if what.code == RunCode.INTERRUPTED else "Ctrl-C twice"
        doing.append(f"warming up takes about {max(1, round(what.warming_s / 60))} min ({hurry} cuts it short)")
    if what.code is None:
        return doing[-1] if what.warming_s else None
    if what.code == RunCode.INTERRUPTED:  # who stops a run knows it
        return ", ".join(doing) or None
    return f"stopping, {meaning(what.code).text}{': ' if doing else ''}{', '.join(doing)}"


@sentence.register
def _(what: DevicesLeft) -> str | None:
    return f"left: {', '.join(what.done)}" if what.done else None


@sentence.register
def _(what: StepStarted) -> str:
    return f"— {what.step} —"


@sentence.register
def _(what: GroupStarted) -> str:
    gain = "" if what.gain is None else f"gain {what.gain}"
    held = "" if what.set_temp_c is None else celsius(what.set_temp_c)
    shown = ", ".join(part for part in (gain, held) if part and part not in what.apart)
    there = f", {what.have} of them there" if what.have else ""
    why = f": {what.detail}" if what.detail else ""
    return f"{title(what)}: {what.wanted} wanted{there}{f' ({shown})' if shown else ''}{why}"


@sentence.register
def _(what: GroupFinished) -> str:
    if what.there:
        return f"{title(what)}: all {what.accepted} are there"
    refused = f", {what.refused} refused" if what.refused else ""
    why = f": {_reason(what.code, what.detail)}" if what.code else ""
    return f"{title(what)}: {what.status}, {what.accepted} kept{refused}{why}"


@sentence.register
def _(what: FrameStored) -> str:
    held = "" if what.ccd_temp_c is None else f", {celsius(what.ccd_temp_c)}"
    return f"{title(what)}: frame {what.frame_no}, {adu(what.level_adu)}{held}"


@sentence.register
def _(what: FrameRefused) -> str:
    return f"{title(what)}: frame refused: {'; '.join(meaning(code).text for code in what.codes)}"


@sentence.register
def _(what: FlatExposureAdjusted) -> str:
    found = f"{adu(what.level_adu)}, wanted {adu(what.target_adu)}"
    return f"{_flat(what)}: test {what.attempt}, {_light(what)}: {found}"


@sentence.register
def _(what: FlatSettled) -> str:
    tests = count(what.attempts or 0, "test")
    return f"{_flat(what)}: {_light(what)} gives {adu(what.level_adu)} after {tests}"


@sentence.register
def _(what: CoolingStable) -> str:
    return f"cooled: stable at {celsius(what.ccd_temp_c)} after {what.seconds or 0:.0f} s"


@sentence.register
def _(what: CoolingStalled) -> str:
    why = f": {meaning(what.code).text}" if what.code else ""
    return f"cooling stalled at {celsius(what.ccd_temp_c)}, wanted {celsius(what.target_c)}{why}"


@sentence.register
def _(what: DeviceConnected) -> str:
    return f"{what.device or 'device'} connected{f': {what.device_name}' if what.device_name else ''}"


@sentence.register
def _(what: DeviceGone) -> str:
    waiting = "" if what.waiting_until is None else f"; waiting for it until {both_clocks(what.waiting_until, '%H:%M')}"
    return f"{what.device or 'device'} lost{f': {what.detail}' if what.detail else ''}{waiting}"


@sentence.register
def _(what: DeviceRestored) -> str:
    return f"{what.device or 'device'} is back"


@sentence.register
def _(what: FilterChanged) -> str:
    return f"filter {what.filter}"


@sentence.register
def _(what: CoverChanged) -> str:
    return f"cover {what.cover}"


@sentence.register
def _(what: SafetySafe) -> str:
    return f"safety: {what.detail or 'safe'}"


@sentence.register
def _(what: SafetyUnsafe) -> str:
    return f"safety: {what.detail or 'unsafe'}"


@sentence.register
def _(what: SafetyStale) -> str:
    return f"safety: {what.detail or 'no answer'}"


@sentence.register
def _(what: DetectorMeasured) -> str:
    gain = f", {what.k_adu_e:.3f} ADU/e-" if what.k_adu_e else ""
    return f"{_apart('detector', what)}: pedestal {adu(what.bias_adu)}, saturation {adu(what.saturation_adu)}{gain}"


@sentence.register
def _(what: MasterStarted) -> str:
    return f"building master {what.number} of {what.of}: {title(what)} ({count(what.n or 0, 'frame')})"


@sentence.register
def _(what: MasterBuilt) -> str:
    doubt = "" if what.status in (None, "built") else f", {what.status}"
    name = (what.path or "").rpartition("/")[2]
    suspect = f", suspect: {'; '.join(map(finding, what.doubts))}" if what.doubts else ""
    return f"{name}: {count(what.n or 0, 'frame')}{doubt}{_dark_of(what.statistics)}{suspect}"


def finding(what: Finding) -> str:
    """Return what a check found, in words: its code, what was measured, and what caused it."""
    return ": ".join(part for part in (what.code.replace("_", " "), what.detail) if part)


def _dark_of(found: Statistics) -> str:
    """Return what was subtracted from the frames of a flat, and its predicted error."""
    if not found.get("dark"):
        return ""
    error = found.get("dark_error")
    known = f", error {small_percent(error, ' ')} of the light" if isinstance(error, float) and error > 0 else ""
    return f", minus {found['dark']}{known}"


@sentence.register
def _(what: MasterRefused) -> str:
    return f"no master {title(what)}: {_reason(what.code or '', what.detail)}"


@sentence.register
def _(what: StorageLow) -> str:
    rooms = {"free": what.free_mb or 0, "needed": what.needed_mb, "to be left": what.floor_mb}
    known = ", ".join(f"{size(1e6 * mb)} {name}" for name, mb in rooms.items() if mb is not None)
    return f"storage: {known}{f'; {what.detail}' if what.detail else ''}"


@sentence.register
def _(what: WarningRaised) -> str:
    known = meaning(what.code or "")
    return f"warning: {known.text}{f': {what.detail}' if what.detail else ''} — {known.advice}"


@sentence.register
def _(what: Waiting) -> str:
    until = "" if what.until is None else f" until {both_clocks(what.until)}"
    return f"waiting{until} ({'at most ' if what.at_most else ''}{wait(what.wait_s or 0.0)}): {what.detail}"


# --- the daemon -----------------------------------------------------------------------------------------------------


@sentence.register
def _(what: ServeStarted) -> str:
    where = " with the simulated observatory (all times are simulated UTC)" if what.simulated else ""
    others = ", to other computers too" if what.everywhere else ""
    return f"serving {what.root or ''}{where}{others}{f', at {what.url}' if what.url else ''}"


@sentence.register
def _(what: ServeEnded) -> str:
    return f"the daemon has ended{f': {what.detail}' if what.detail else ''}"


@sentence.register
def _(what: ModeChanged) -> str:
    if what.mode == "automatic":
        return "what is due is begun when windows and conditions allow it"
    until = "" if what.until is None else f" until {both_clocks(what.until, '%Y-%m-%d %H:%M')}"
    return f"{what.why or 'held'}{f' by {what.by}' if what.by else ''}{until}: nothing is begun by the schedule"


@sentence.register
def _(what: ActivityChanged) -> str:
    return activity(what.activity or "", what.detail or "", what.until)


@sentence.register
def _(what: OrderTaken) -> str:
    by = f" by {what.by}" if what.by else ""
    return f"order {what.order or ''}{by}{'' if what.code is None else f' refused ({what.code})'}: {what.detail}"


@sentence.register
def _(what: ItemFailed) -> str:
    again = "" if what.again_at is None else f"; tried again at {both_clocks(what.again_at, '%Y-%m-%d %H:%M')}"
    return f"{some(what.items)} cannot be had: {_reason(what.code or '', what.detail)}{again}"


@sentence.register
def _(what: ItemRecovered) -> str:
    return f"{some(what.items)} can be had again"


@sentence.register
def _(what: ItemStale) -> str:
    return f"{some(what.items)} {'are' if what.others else 'is'} too old: {what.detail}"


@sentence.register
def _(what: WorkerDied) -> str:
    detail = f" ({what.detail})" if what.detail else ""
    return f"the process of run {what.run or ''} died{detail}: the devices are made safe"


@sentence.register
def _(what: DevicesSecured) -> str:
    left = f"; go and see: {'; '.join(what.left)}" if what.left else ""
    return f"devices made safe: {', '.join(what.done) or 'nothing to do'}{left}"


@sentence.register
def _(what: ConfigReloaded) -> str:
    if what.valid:
        return "the configuration was read again: it is in force from the next run on"
    return f"the changed configuration cannot be used, the one before it stays in force: {what.detail}"


def _flat(what: FlatExposureAdjusted | FlatSettled) -> str:
    return _apart(f"flat {what.filter or ''}".strip(), what)


def _light(what: FlatExposureAdjusted | FlatSettled) -> str:
    lamp = "" if what.panel_brightness is None else f" at brightness {what.panel_brightness}"
    return f"{seconds(what.exposure_us)}{lamp}"


def _reason(code: str, detail: str) -> str:
    known = meaning(code)
    return f"{known.text}{f' ({detail})' if detail else ''} — {known.advice}"
