"""The tables of a night: sets, masters, searches, refused frames, warnings, and with what it was done."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from services.errors import meaning
from services.events.devices import CoolingStalled, DeviceGone, DeviceRestored, SafetyStale, SafetyUnsafe
from services.events.records import FlatExposureAdjusted, FlatSettled, StorageLow
from services.reports.columns import MASTERS, SETS
from services.reports.event_records import Record
from services.reports.night import NightReport
from services.reports.parts import Cell, Column, Mark, Table
from services.reports.summary import refusals
from services.words import NONE, count, exposure, local, moment, number, percent, significant, title

_STATUS = {
    "complete": ("ok", "complete"),
    "there": ("ok", "was there"),
    "partial": ("warn", "partial"),
    "failed": ("bad", "failed"),
    "cut_off": ("bad", "cut off"),
    "not_reached": ("bad", "not reached"),
    "going_on": ("", "being taken"),
    "to_come": ("", "to come"),
}
_VERDICT = {"ok": "ok", "suspect": "warn"}
_MOST_REFUSED = 200
_MOST_FILES = 6
"""Of rejected frames in one row; the JSON report names all."""


def status_mark(status: object) -> Mark:
    """Return the state of a set as a mark."""
    look, text = _STATUS.get(str(status), ("", str(status)))
    return Mark(text=text, look=look)


def verdict_marks(master: Record) -> tuple[Mark, ...]:
    """Return what a master is worth as marks."""
    if master["outcome"] == "refused":
        return (Mark(text="not built", look="bad"),)
    verdict = str((master.get("statistics") or {}).get("verdict") or "not judged")
    marks = [Mark(text=verdict, look=_VERDICT.get(verdict, ""))]
    if master.get("status") == "partial":
        marks.append(Mark(text="partial", look="warn"))
    if master["outcome"] == "kept":
        marks.append(Mark(text="was there"))
    return tuple(marks)


def groups_table(groups: Sequence[Record], rejected: Sequence[Record] = ()) -> Table:
    """Return the sets of the run, a row for each; the gain is shown where there are several."""
    lost = Counter(each["set_id"] for each in rejected)
    gains = len({g.get("gain") for g in groups}) > 1
    columns = tuple(column for column in SETS if gains or column.name != "Gain")
    rows = tuple(
        (*_group_cells(g, lost[g.get("set_id")]), *((number(g.get("gain")),) if gains else ())) for g in groups
    )
    return Table(columns=columns, rows=rows, numbers=frozenset(range(2, len(columns))))


def _group_cells(group: Record, rejected: int) -> tuple[str | Cell | None, ...]:
    code = group.get("code")
    reason = ": ".join(filter(None, (meaning(str(code)).text if code else "", str(group.get("detail") or ""))))
    reasons = tuple(filter(None, (reason, refusals(group), f"{rejected} rejected" if rejected else "")))
    level_adu = group.get("level_mean_adu")
    return (
        title(group),
        Cell(marks=(status_mark(group.get("status")),), reasons=reasons),
        number(group.get("wanted")),
        number(group.get("have")),
        number(group.get("taken")),
        number(group.get("refused")),
        exposure(group.get("exposure_us")),
        number(group.get("panel_brightness")) if group.get("kind") == "FLAT" else None,
        number(level_adu, 1 if (level_adu or 0) < 5000 else 0, "ADU"),
        number(group.get("level_spread_pct"), 2, "%"),
        number(group.get("set_temp_c"), 1, "°C"),
        _range(group.get("temp_min_c"), group.get("temp_max_c")),
    )


def _range(low: Any, high: Any) -> str:
    if low is None or high is None:
        return NONE
    if round(low, 1) == round(high, 1):
        return number(low, 1, "°C")
    return f"{number(low, 1)} … {number(high, 1, '°C')}"


def masters_table(masters: Sequence[Record], *, older: int = 0) -> Table:
    """Return the masters with their statistics, a row for each; `older` ones were there already and have none."""
    rows = tuple(_master_cells(master) for master in masters)
    there = f"{count(older, 'older master')} of the library {'was' if older == 1 else 'were'} there already"
    note = f"{there}: `nightcal library list` names the masters." if older > 0 else ""
    return Table(columns=MASTERS, rows=rows, numbers=frozenset(range(2, len(MASTERS))), note=note)


def _master_cells(master: Record) -> tuple[str | Cell | None, ...]:
    found = master.get("statistics") or {}
    reasons = [meaning(str(master.get("code"))).text if master["outcome"] == "refused" else ""]
    reasons += [str(master.get("detail") or "")]
    reasons += [_remark(verdict) for verdict in found.get("verdicts") or () if isinstance(verdict, dict)]
    return (
        title(master),
        Cell(marks=verdict_marks(master), reasons=tuple(filter(None, reasons))),
        number(master.get("n")),
        percent(found.get("rejected_fraction")),
        number(found.get("median_adu"), 1 if (found.get("median_adu") or 0) < 5000 else 0, "ADU"),
        _both(significant(found.get("pair_noise_adu"), 3), significant(found.get("master_noise_adu"), 3), "ADU"),
        _both(number(found.get("hot")), number(found.get("dead"))),
        number(found.get("low_response" if master.get("kind") == "FLAT" else "warm")),
        number(found.get("noisy")),
        number(found.get("corner_centre_ratio"), 3),
    )


def _both(one: str, other: str, unit: str = "") -> str:
    return NONE if {one, other} == {NONE} else f"{one} / {other} {unit}".strip()


def _remark(verdict: Record) -> str:
    """Return what is suspect about a master, in words."""
    code, detail = str(verdict.get("code") or "").replace("_", " "), str(verdict.get("detail") or "")
    return ": ".join(filter(None, (code, detail)))


def searches_table(searches: Sequence[Record]) -> Table:
    """Return the steps of the searches for each flat's exposure, a row for each filter, gain and temperature."""
    found: dict[str, list[Record]] = {}
    for step in searches:
        apart = f" ({step['apart']})" if step.get("apart") else ""
        found.setdefault(f"{step.get('filter') or 'no filter'}{apart}", []).append(step)
    rows = tuple((name, Cell(marks=tuple(_steps(steps))), _settled(steps)) for name, steps in found.items())
    names = ("Filter", "Tests: exposure, lamp → level of the target", "Settled at")
    return Table(columns=_columns(names), rows=rows)


def _columns(names: Iterable[str]) -> tuple[Column, ...]:
    return tuple(Column(name=name) for name in names)


def _steps(steps: Iterable[Record]) -> Iterator[Mark]:
    for step in steps:
        if step["name"] == FlatExposureAdjusted.name:
            yield Mark(text=f"{_light(step)} → {_ratio(step)}")


def _light(step: Record) -> str:
    lamp = step.get("panel_brightness")
    return exposure(step.get("exposure_us")) + ("" if lamp is None else f", {lamp}")


def _ratio(step: Record) -> str:
    level, target = step.get("level_adu"), step.get("target_adu")
    return NONE if level is None or not target else percent(level / target, 1)


def _settled(steps: Sequence[Record]) -> str:
    ends = [step for step in steps if step["name"] == FlatSettled.name]
    if not ends:
        return NONE
    return f"{_light(ends[-1])}: {number(ends[-1].get('level_adu'), 0, 'ADU')}"


def time_cell(at: object, *, date: bool = False) -> Cell:
    """Return a time of day, UTC, with the computer's below it where that differs."""
    known, form = moment(at), "%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S"
    if known is None:
        return Cell(text=NONE)
    here = local(known, form)
    return Cell(text=f"{known:{form}}", notes=(here,) if here else ())


def refused_table(refused: Sequence[Record]) -> Table:
    """Return the refused frames with what was measured against which limit."""
    rows = tuple((time_cell(r.get("at")), title(r), Cell(lines=tuple(_verdicts(r))), _file(r)) for r in refused)
    rest = len(refused) - _MOST_REFUSED
    note = f"{rest} more are in the JSON report." if rest > 0 else ""
    return Table(columns=_columns(("UTC", "Frame", "Why", "File")), rows=rows[:_MOST_REFUSED], note=note)


def rejected_table(rejected: Sequence[Record]) -> Table:
    """Return the rejected frames, those of one set and one reason in a row, with what became of their masters."""
    together: dict[str, list[Record]] = {}
    for each in rejected:
        together.setdefault(str([each[name] for name in ("set_id", "reason", "spoilt", "anew")]), []).append(each)
    rows = tuple(
        (
            title(first) if first.get("kind") else NONE,
            Cell(lines=tuple(_files(frames))),
            str(first.get("reason") or "no reason given"),
            time_cell(first.get("at"), date=True),
            Cell(lines=tuple(_masters(first))),
        )
        for frames in together.values()
        for first in frames[:1]
    )
    return Table(columns=_columns(("Set", "Frames", "Why", "Rejected, UTC", "Masters")), rows=rows)


def _files(frames: Sequence[Record]) -> Iterator[tuple[str, str]]:
    yield from ((str(each["path"]).rpartition("/")[2], "") for each in frames[:_MOST_FILES])
    if len(frames) > _MOST_FILES:
        yield f"and {count(len(frames) - _MOST_FILES, 'other')}", ""


def _masters(rejected: Record) -> Iterator[tuple[str, str]]:
    said = (("spoilt", "suspect because of it"), ("anew", "built anew without it"))
    named = [(str(path).rpartition("/")[2], words) for name, words in said for path in rejected[name]]
    yield from named or [("none made with it", "")]


def _verdicts(refusal: Record) -> Iterator[tuple[str, str]]:
    verdicts = [v for v in refusal.get("verdicts") or () if isinstance(v, dict)]
    for verdict in verdicts or [{"code": code} for code in refusal.get("codes") or ()]:
        measured, limit = verdict.get("measured"), verdict.get("limit")
        figures = "" if measured is None else f" ({significant(measured)}, limit {significant(limit)})"
        yield f"{meaning(str(verdict.get('code'))).text}{figures}", str(verdict.get("detail") or "")


def _file(refusal: Record) -> Cell:
    path = refusal.get("path")
    return Cell(text=str(path), code=True) if path else Cell(text="not kept", soft=True)


def warnings_table(warnings: Sequence[Record]) -> Table:
    """Return the warnings in the order they came, with advice."""
    rows = tuple((time_cell(w.get("at")), *_warning(w)) for w in warnings)
    return Table(columns=_columns(("UTC", "What", "Detail")), rows=rows)


def _warning(event: Record) -> tuple[str, Cell]:
    device = event.get("device") or "a device"
    texts = {
        DeviceGone.name: f"{device} was lost",
        DeviceRestored.name: f"{device} is back",
        StorageLow.name: f"storage is low: {_room(event)}",
        CoolingStalled.name: f"cooling stalled at {number(event.get('ccd_temp_c'), 1, '°C')}",
        SafetyUnsafe.name: "the safety monitor said unsafe",
        SafetyStale.name: "the safety monitor did not answer",
    }
    code = event.get("code")
    text = next((text for name, text in texts.items() if event.get("name") == name), None)
    advice = meaning(str(code)).advice if code else ""
    notes = (f"{advice[:1].upper()}{advice[1:]}.",) if advice else ()
    return text or meaning(str(code)).text, Cell(text=str(event.get("detail") or ""), notes=notes)


def _room(event: Record) -> str:
    """Return what is free, needed and to be left free, as far as it is known."""
    named = {"free_mb": "free", "needed_mb": "needed", "floor_mb": "to be left"}
    known = ((event.get(name), words) for name, words in named.items())
    return ", ".join(f"{significant(mb, 3, 'MB')} {words}" for mb, words in known if mb is not None) or NONE


def facts(report: NightReport) -> tuple[tuple[str, object], ...]:
    """Return with what the run was made: program, devices, detector."""
    run = report.run
    return (
        ("Run", run.get("run_id")),
        ("Software", run.get("software")),
        ("Steps", ", ".join(map(str, run.get("steps") or ()))),
        ("Configuration", run.get("config")),
        ("Files", run.get("root")),
        ("Exit code", run.get("exit_code")),
        *((str(d.get("device")).capitalize(), _device(d)) for d in report.devices),
        *(("Detector", _detector(d)) for d in report.detector),
    )


def settings_text(report: NightReport) -> str:
    """Return the effective configuration of the run as YAML; nothing where the journal does not hold it."""
    settings = report.run.get("settings")
    if not isinstance(settings, dict):
        return ""
    return str(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100))


def _device(event: Record) -> str:
    unique = event.get("unique_id")
    return f"{event.get('device_name') or ''}{f' ({unique})' if unique else ''}"


def _detector(found: Record) -> str:
    k = found.get("k_adu_e")
    parts = [
        f"pedestal {number(found.get('bias_adu'), 1, 'ADU')}",
        f"saturation {number(found.get('saturation_adu'), 0, 'ADU')}",
        f"{number(k, 3, 'ADU/e⁻')}" if k else "",
        "" if found.get("gain") is None else f"gain {found['gain']}",
        "" if found.get("set_temp_c") is None else number(found["set_temp_c"], 1, "°C"),
    ]
    return ", ".join(part for part in parts if part)
