"""The tables of the page: sets, masters, searches, refused frames, warnings, and with what it was done."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from services.errors import meaning
from services.events.bus import EventName
from services.reports.columns import MASTERS, SETS, heads, key
from services.reports.journal import Record
from services.reports.markup import EMPTY, Markup, joined, table, tag
from services.reports.night import NightReport
from services.reports.summary import refusals
from services.words import NONE, clock, exposure, number, percent, significant, title

_STATUS = {
    "complete": ("ok", "complete"),
    "there": ("ok", "was there"),
    "partial": ("warn", "partial"),
    "failed": ("bad", "failed"),
    "cut_off": ("bad", "cut off"),
    "not_reached": ("bad", "not reached"),
}
_VERDICT = {"ok": "ok", "suspect": "warn"}
_MOST_REFUSED = 200


def status_mark(status: object) -> Markup:
    """Return the state of a set as a mark."""
    look, text = _STATUS.get(str(status), ("", str(status)))
    return tag("span", text, class_=f"mark {look}")


def verdict_mark(master: Record) -> Markup:
    """Return what a master is worth as a mark."""
    if master["outcome"] == "refused":
        return tag("span", "not built", class_="mark bad")
    verdict = str((master.get("statistics") or {}).get("verdict") or "not judged")
    marks = [tag("span", verdict, class_=f"mark {_VERDICT.get(verdict, '')}")]
    if master.get("status") == "partial":
        marks.append(tag("span", "partial", class_="mark warn"))
    if master["outcome"] == "kept":
        marks.append(tag("span", "was there", class_="mark"))
    return joined(part for mark in marks for part in (mark, " "))


def groups_table(groups: Sequence[Record]) -> Markup:
    """Return the sets of the run, a row each."""
    if not groups:
        return tag("p", "No set was begun.", class_="soft")
    gains = len({g.get("gain") for g in groups}) > 1
    shown = [name for name in SETS if gains or name != "Gain"]
    rows = ([*_group_cells(g), *([number(g.get("gain"))] if gains else [])] for g in groups)
    return joined((table(heads(SETS, shown), rows, numbers=range(2, len(shown))), key(SETS, shown)))


def _group_cells(group: Record) -> list[object]:
    code, why = group.get("code"), refusals(group)
    reason = ": ".join(filter(None, (meaning(str(code)).text if code else "", str(group.get("detail") or ""))))
    status = joined(
        (status_mark(group.get("status")), *(tag("small", text, class_="why") for text in (reason, why) if text))
    )
    return [
        title(group),
        status,
        number(group.get("wanted")),
        number(group.get("have")),
        number(group.get("taken")),
        number(group.get("refused")),
        exposure(group.get("exposure_us")),
        number(group.get("panel_brightness")) if group.get("kind") == "FLAT" else None,
        number(group.get("level_mean_adu"), 1 if (group.get("level_mean_adu") or 0) < 5000 else 0, "ADU"),
        number(group.get("level_spread_pct"), 2, "%"),
        number(group.get("set_temp_c"), 1, "°C"),
        _range(group.get("temp_min_c"), group.get("temp_max_c")),
    ]


def _range(low: Any, high: Any) -> str:
    if low is None or high is None:
        return NONE
    if round(low, 1) == round(high, 1):
        return number(low, 1, "°C")
    return f"{number(low, 1)} … {number(high, 1, '°C')}"


def masters_table(masters: Sequence[Record]) -> Markup:
    """Return the masters with their statistics, a row each."""
    if not masters:
        return tag("p", "No master was built.", class_="soft")
    shown = tuple(MASTERS)
    cells = (_master_cells(m) for m in masters)
    return joined((table(heads(MASTERS, shown), cells, numbers=range(2, len(shown))), key(MASTERS, shown)))


def _master_cells(master: Record) -> list[object]:
    found = master.get("statistics") or {}
    notes = [meaning(str(master.get("code"))).text if master["outcome"] == "refused" else ""]
    notes += [str(master.get("detail") or ""), ", ".join(map(str, found.get("verdicts") or ())).replace("_", " ")]
    verdict = joined((verdict_mark(master), *(tag("small", note, class_="why") for note in notes if note)))
    return [
        title(master),
        verdict,
        number(master.get("n")),
        percent(found.get("rejected_fraction")),
        number(found.get("median_adu"), 1 if (found.get("median_adu") or 0) < 5000 else 0, "ADU"),
        significant(found.get("pair_noise_adu"), 3, "ADU"),
        significant(found.get("master_noise_adu"), 3, "ADU"),
        number(found.get("hot")),
        number(found.get("dead")),
        number(found.get("noisy")),
        number(found.get("corner_centre_ratio"), 3),
    ]


def searches_table(searches: Sequence[Record]) -> Markup:
    """Return the steps of the searches for each flat's exposure, a row a filter."""
    if not searches:
        return EMPTY
    found: dict[str, list[Record]] = {}
    for step in searches:
        found.setdefault(str(step.get("filter") or "no filter"), []).append(step)
    rows = ((name, joined(_steps(steps)), _settled(steps)) for name, steps in found.items())
    return table(("Filter", "Tests: exposure, lamp → level of the target", "Settled at"), rows)


def _steps(steps: Iterable[Record]) -> Iterator[object]:
    for step in steps:
        if step["name"] == EventName.FLAT_EXPOSURE_ADJUSTED:
            yield tag("span", f"{_light(step)} → {_ratio(step)}", class_="mark")
            yield " "


def _light(step: Record) -> str:
    lamp = step.get("panel_brightness")
    return exposure(step.get("exposure_us")) + ("" if lamp is None else f", {lamp}")


def _ratio(step: Record) -> str:
    level, target = step.get("level_adu"), step.get("target_adu")
    return NONE if level is None or not target else percent(level / target, 1)


def _settled(steps: Sequence[Record]) -> str:
    ends = [step for step in steps if step["name"] == EventName.FLAT_SETTLED]
    if not ends:
        return NONE
    return f"{_light(ends[-1])}: {number(ends[-1].get('level_adu'), 0, 'ADU')}"


def refused_table(refused: Sequence[Record]) -> Markup:
    """Return the refused frames with what was measured against which limit."""
    rows = ((clock(r.get("at")), title(r), joined(_verdicts(r)), _file(r)) for r in refused[:_MOST_REFUSED])
    shown = table(("UTC", "Frame", "Why", "File"), rows)
    rest = len(refused) - _MOST_REFUSED
    return joined((shown, tag("p", f"{rest} more are in the JSON report.", class_="soft") if rest > 0 else None))


def _verdicts(refusal: Record) -> Iterator[Markup]:
    verdicts = [v for v in refusal.get("verdicts") or () if isinstance(v, dict)]
    told = verdicts or [{"code": code} for code in refusal.get("codes") or ()]
    for verdict in told:
        code = str(verdict.get("code"))
        measured, limit = verdict.get("measured"), verdict.get("limit")
        figures = "" if measured is None else f" ({significant(measured)}, limit {significant(limit)})"
        detail = verdict.get("detail")
        yield tag("div", f"{meaning(code).text}{figures}", tag("small", f" {detail}") if detail else None)


def _file(refusal: Record) -> Markup:
    path = refusal.get("path")
    return tag("code", path) if path else tag("span", "not kept", class_="soft")


def warnings_table(warnings: Sequence[Record]) -> Markup:
    """Return the warnings in the order they came, with advice."""
    if not warnings:
        return tag("p", "None.", class_="soft")
    return table(("UTC", "What", "Detail"), ((clock(w.get("at")), *_warning(w)) for w in warnings))


def _warning(event: Record) -> tuple[str, object]:
    told = {
        EventName.DEVICE_LOST: f"{event.get('device') or 'a device'} was lost",
        EventName.DEVICE_RESTORED: f"{event.get('device') or 'a device'} is back",
        EventName.STORAGE_LOW: f"storage is low: {_room(event)}",
        EventName.COOLING_STALLED: f"cooling stalled at {number(event.get('ccd_temp_c'), 1, '°C')}",
        EventName.SAFETY_UNSAFE: "the safety monitor said unsafe",
        EventName.SAFETY_STALE: "the safety monitor did not answer",
    }
    code, detail = event.get("code"), event.get("detail")
    text = next((said for name, said in told.items() if event.get("name") == name), None)
    advice = meaning(str(code)).advice if code else None
    return text or meaning(str(code)).text, joined(
        (detail, tag("small", f"{advice[:1].upper()}{advice[1:]}.", class_="why") if advice else None)
    )


def _room(event: Record) -> str:
    """Return what is free, needed and to be left free, as far as it is told."""
    named = {"free_mb": "free", "needed_mb": "needed", "floor_mb": "to be left"}
    told = ((event.get(name), words) for name, words in named.items())
    return ", ".join(f"{significant(mb, 3, 'MB')} {words}" for mb, words in told if mb is not None) or NONE


def settings_list(report: NightReport) -> Markup:
    """Return with what the run was made: program, devices, detector, settings."""
    run = report.run
    facts: list[tuple[str, object]] = [
        ("Run", run.get("run_id")),
        ("Software", run.get("software")),
        ("Steps", ", ".join(map(str, run.get("steps") or ()))),
        ("Configuration", run.get("config")),
        ("Files", run.get("root")),
        ("Exit code", run.get("exit_code")),
    ]
    facts += [(str(d.get("device")).capitalize(), _device(d)) for d in report.devices]
    facts += [("Detector", _detector(d)) for d in report.detector]
    lines = tag(
        "dl", *(joined((tag("dt", k), tag("dd", NONE if v is None else v))) for k, v in facts), class_="lines left"
    )
    settings = run.get("settings")
    if not isinstance(settings, dict):
        return tag("div", lines, class_="card")
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
    return tag("div", lines, tag("details", tag("summary", "All settings"), tag("pre", text)), class_="card")


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
