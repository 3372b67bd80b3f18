"""Events of a run as sentences an observer reads; None for what is not worth a line."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from services.errors import RunCode, meaning
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
from services.events.records import (
    DevicesLeft,
    Event,
    FlatExposureAdjusted,
    FlatSettled,
    FrameRefused,
    FrameStored,
    GroupFinished,
    GroupStarted,
    MasterBuilt,
    MasterRefused,
    MasterStarted,
    RunEnding,
    RunFinished,
    RunStarted,
    StepStarted,
    StorageLow,
    Waiting,
    WarningRaised,
)
from services.words import adu, celsius, count, seconds, size, wait

Data = Mapping[str, Any]


def sentence(event: Event) -> str | None:
    """Return the sentence for an event, without its time."""
    tell = _SENTENCES.get(event.name)
    return None if tell is None else tell(event.data)


def title(data: Data) -> str:
    """Return the name of a group: "flat L", "dark 5 s", "bias"; whatever filter stands before a dark."""
    kind = str(data.get("kind", "")).lower()
    detail = {"flat": data.get("filter"), "dark": seconds(data.get("exposure_us"))}.get(kind)
    return f"{kind} {detail}" if detail else kind


def cooling(data: Data) -> str:
    """Return where the cooling stands."""
    power = data.get("cooler_power_pct")
    shown = "" if power is None else f", cooler {power:.0f} %"
    now, target = data.get("ccd_temp_c"), data.get("target_c")
    way = "warming" if now is not None and target is not None and target > now else "cooling"
    return f"{way}: {celsius(data.get('ccd_temp_c'))} → {celsius(data.get('target_c'))}{shown}"


def _run_started(data: Data) -> str:
    simulated = data.get("simulated")
    told = " on the simulated observatory" if simulated else ""
    times = "simulated UTC; the log has real ones too" if simulated else "UTC"
    steps = ", ".join(map(str, data.get("steps", ())))
    return f"run started{told}: {steps} → {data.get('root', '')} (times are {times})"


def _run_finished(data: Data) -> str | None:
    code = data.get("code")
    how = "run finished, but" if code == RunCode.LEFT_UNSAFE else "run stopped:"
    return None if code is None else f"{how} {meaning(code).text}"


def _run_ending(data: Data) -> str | None:
    code, warming_s = data.get("code"), data.get("warming_s")
    if code is None and not warming_s:
        return None
    doing = [str(step) for step in data.get("doing") or ()]
    if warming_s:
        hurry = "Ctrl-C once more" if code == RunCode.INTERRUPTED else "Ctrl-C twice"
        doing.append(f"warming up takes about {max(1, round(warming_s / 60))} min ({hurry} cuts it short)")
    if code is None:
        return doing[-1]
    return f"stopping, {meaning(code).text}{': ' if doing else ''}{', '.join(doing)}"


def _devices_left(data: Data) -> str | None:
    done = [str(state) for state in data.get("done") or ()]
    return f"left: {', '.join(done)}" if done else None


def _group_started(data: Data) -> str:
    settings = [
        "" if data.get("gain") is None else f"gain {data['gain']}",
        "" if data.get("set_temp_c") is None else celsius(data["set_temp_c"]),
    ]
    shown = ", ".join(part for part in settings if part)
    there = f", {data['have']} of them there" if data.get("have") else ""
    why = f": {data['detail']}" if data.get("detail") else ""
    return f"{title(data)}: {data.get('wanted')} wanted{there}{f' ({shown})' if shown else ''}{why}"


def _group_finished(data: Data) -> str:
    if data.get("there"):
        return f"{title(data)}: all {data.get('accepted')} are there"
    refused = f", {data['refused']} refused" if data.get("refused") else ""
    code = data.get("code")
    detail = f" ({data['detail']})" if data.get("detail") else ""
    why = f": {meaning(code).text}{detail} — {meaning(code).advice}" if code else ""
    return f"{title(data)}: {data.get('status')}, {data.get('accepted')} kept{refused}{why}"


def _frame_stored(data: Data) -> str:
    level, temp_c = adu(data.get("level_adu")), data.get("ccd_temp_c")
    return f"{title(data)}: frame {data.get('frame_no')}, {level}{'' if temp_c is None else f', {celsius(temp_c)}'}"


def _frame_refused(data: Data) -> str:
    reasons = "; ".join(meaning(code).text for code in data.get("codes", ()))
    return f"{title(data)}: frame refused: {reasons}"


def _adjusted(data: Data) -> str:
    exposure = f"{seconds(data.get('exposure_us'))}{_lamp(data)}"
    level, target = adu(data.get("level_adu")), adu(data.get("target_adu"))
    return f"{title({**data, 'kind': 'flat'})}: test {data.get('attempt')}, {exposure}: {level}, wanted {target}"


def _settled(data: Data) -> str:
    exposure = f"{seconds(data.get('exposure_us'))}{_lamp(data)}"
    tests = count(data.get("attempts") or 0, "test")
    return f"{title({**data, 'kind': 'flat'})}: {exposure} gives {adu(data.get('level_adu'))} after {tests}"


def _stable(data: Data) -> str:
    return f"cooled: stable at {celsius(data.get('ccd_temp_c'))} after {data.get('seconds') or 0:.0f} s"


def _stalled(data: Data) -> str:
    code = data.get("code")
    why = f": {meaning(code).text}" if code else ""
    return f"cooling stalled at {celsius(data.get('ccd_temp_c'))}, wanted {celsius(data.get('target_c'))}{why}"


def _detector(data: Data) -> str:
    gain = data.get("k_adu_e")
    shown = f", {gain:.3f} ADU/e-" if gain else ""
    return f"detector: pedestal {adu(data.get('bias_adu'))}, saturation {adu(data.get('saturation_adu'))}{shown}"


def _master_started(data: Data) -> str:
    return f"building master {data.get('number')} of {data.get('of')}: {title(data)} ({data.get('n')} frames)"


def _master_built(data: Data) -> str:
    doubt = "" if data.get("status") in (None, "built") else f", {data['status']}"
    name = str(data.get("path", "")).rpartition("/")[2]
    return f"{name}: {count(data.get('n', 0), 'frame')}{doubt}"


def _master_refused(data: Data) -> str:
    code = str(data.get("code"))
    detail = f" ({data['detail']})" if data.get("detail") else ""
    return f"no master {title(data)}: {meaning(code).text}{detail} — {meaning(code).advice}"


def _warning(data: Data) -> str:
    code = str(data.get("code"))
    return f"warning: {meaning(code).text}: {data.get('detail') or meaning(code).advice}"


def _device(what: str) -> Callable[[Data], str]:
    def tell(data: Data) -> str:
        more = data.get("device_name") or data.get("detail")
        return f"{data.get('device', 'device')} {what}{f': {more}' if more else ''}"

    return tell


def _lost(data: Data) -> str:
    try:
        waiting = f"; waiting for it until {datetime.fromisoformat(str(data.get('waiting_until'))):%H:%M}"
    except ValueError:
        waiting = ""
    return f"{_device('lost')(data)}{waiting}"


def _waiting(data: Data) -> str:
    try:
        until = f" until {datetime.fromisoformat(str(data.get('until'))):%H:%M:%S}"
    except ValueError:
        until = ""
    length = wait(data.get("wait_s") or 0.0)
    return f"waiting{until} ({'at most ' if data.get('at_most') else ''}{length}): {data.get('detail') or ''}"


def _safety(what: str) -> Callable[[Data], str]:
    return lambda data: f"safety: {what} {data.get('detail') or ''}".rstrip()


def _storage_low(data: Data) -> str:
    named = {"free": data.get("free_mb") or 0, "needed": data.get("needed_mb"), "to be left": data.get("floor_mb")}
    return f"storage: {', '.join(f'{size(1e6 * mb)} {name}' for name, mb in named.items() if mb is not None)}"


def _lamp(data: Data) -> str:
    level = data.get("panel_brightness")
    return "" if level is None else f" at brightness {level}"


_SENTENCES: dict[str, Callable[[Data], str | None]] = {
    RunStarted.name: _run_started,
    RunFinished.name: _run_finished,
    RunEnding.name: _run_ending,
    DevicesLeft.name: _devices_left,
    StepStarted.name: lambda data: f"— {data.get('step')} —",
    GroupStarted.name: _group_started,
    GroupFinished.name: _group_finished,
    FrameStored.name: _frame_stored,
    FrameRefused.name: _frame_refused,
    FlatExposureAdjusted.name: _adjusted,
    FlatSettled.name: _settled,
    CoolingChanged.name: cooling,
    CoolingStable.name: _stable,
    CoolingStalled.name: _stalled,
    DeviceConnected.name: _device("connected"),
    DeviceGone.name: _lost,
    DeviceRestored.name: _device("is back"),
    FilterChanged.name: lambda data: f"filter {data.get('filter')}",
    CoverChanged.name: lambda data: f"cover {data.get('cover')}",
    SafetySafe.name: _safety("safe"),
    SafetyUnsafe.name: _safety("unsafe"),
    SafetyStale.name: _safety("no answer"),
    DetectorMeasured.name: _detector,
    MasterStarted.name: _master_started,
    MasterBuilt.name: _master_built,
    MasterRefused.name: _master_refused,
    StorageLow.name: _storage_low,
    WarningRaised.name: _warning,
    Waiting.name: _waiting,
}
