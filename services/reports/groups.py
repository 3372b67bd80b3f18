"""The sets of a run, one record each: what was planned, what was there, what came of it, and how even it is."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag
from services.events.records import FrameRefused, FrameStored, GroupFinished, GroupStarted, RunProgress
from services.reports.journal import Record, named, numbers, plain

_GROUP = ("kind", "filter", "exposure_us", "gain", "set_temp_c")


def groups_of(events: Iterable[Record], catalogue: Catalogue) -> tuple[Record, ...]:
    """Return the sets of a run in the order they were met; planned ones that were never begun come last.

    Members: those of `group.started` and `group.finished`, and

    - `wanted`, `have` (frames there before), `taken` (by this run), `accepted` (there now), `refused`, `refusals` (code
      to number);
    - `status`: `complete`, `partial` or `failed`, `there` (complete before), `cut_off` (begun, never finished) or
      `not_reached`;
    - `level_mean_adu`, `level_spread_pct` (half of the range over the mean), `temp_min_c`, `temp_max_c` over all good
      frames of the set, those of earlier runs included.
    """
    events = tuple(events)
    begun = _begun(events)
    _count(begun, events)
    begun = _last_attempts(begun)
    for record in begun.values():
        record.update(_evenness(record, events, catalogue))
    return (*begun.values(), *_not_reached(events, begun.values()))


def _begun(events: Iterable[Record]) -> dict[str, Record]:
    """Return the start of each set joined with its end."""
    begun: dict[str, Record] = {}
    for event in named(events, GroupStarted.name, GroupFinished.name):
        started = event.pop("name") == GroupStarted.name
        at = event.pop("at")
        key = str(event.get("set_id") or f"{[event.get(name) for name in _GROUP]}")
        record = begun.setdefault(key, {"status": "there" if event.get("there") else "cut_off"})
        status = record["status"] if event.pop("there", False) else event.get("status", "cut_off")
        record |= {"started_at" if started else "finished_at": at, **event, "status": status}
    return begun


def _count(begun: Mapping[str, Record], events: Iterable[Record]) -> None:
    stored = Counter(str(e.get("set_id")) for e in named(events, FrameStored.name))
    refused = Counter(str(e.get("set_id")) for e in named(events, FrameRefused.name))
    reasons: dict[str, Counter[str]] = {}
    for event in named(events, FrameRefused.name):
        reasons.setdefault(str(event.get("set_id")), Counter()).update(map(str, event.get("codes") or ("unknown",)))
    for key, record in begun.items():
        taken, have = stored[key], int(record.get("have") or 0)
        record |= {"taken": taken, "have": have, "refusals": dict(reasons.get(key, {}))}
        record["refused"] = max(refused[key], int(record.get("refused") or 0))
        if record.get("accepted") is None:
            record["accepted"] = have + taken


def _last_attempts(begun: Mapping[str, Record]) -> dict[str, Record]:
    """Leave out sets that gave no frame and were begun again; what they refused counts with the last attempt."""
    last: dict[str, Record] = {}
    kept: dict[str, Record] = {}
    for key, record in reversed(list(begun.items())):
        again = last.setdefault(_identity(record), record)
        if again is record or record["accepted"] or record["taken"]:
            kept[key] = record
            continue
        again["refused"] += record["refused"]
        again["refusals"] = dict(Counter(record["refusals"]) + Counter(again["refusals"]))
    return dict(reversed(list(kept.items())))


def _evenness(record: Record, events: Iterable[Record], catalogue: Catalogue) -> Record:
    set_id = record.get("set_id")
    if set_id is None:
        return {}
    frames: list[Record] = [asdict(row) for row in catalogue.frames(set_id=set_id, flag=Flag.OK)]
    frames = frames or [e for e in named(events, FrameStored.name) if e.get("set_id") == set_id]
    levels, temperatures = numbers(frames, "level_adu"), numbers(frames, "ccd_temp_c")
    found: dict[str, Any] = {}
    if levels:
        mean = sum(levels) / len(levels)
        found = {"level_mean_adu": mean, "level_min_adu": min(levels), "level_max_adu": max(levels)}
        found["level_spread_pct"] = 50 * (max(levels) - min(levels)) / mean if mean else None
    if temperatures:
        found |= {"temp_min_c": min(temperatures), "temp_max_c": max(temperatures)}
    lamps = {f.get("panel_brightness") for f in frames} - {None}
    if record.get("panel_brightness") is None and len(lamps) == 1:
        found["panel_brightness"] = lamps.pop()
    return dict(plain(found))


def _not_reached(events: Iterable[Record], begun: Iterable[Record]) -> Iterator[Record]:
    """Yield the sets of the plan (the first `progress` event) that the run ended before."""
    plans = [e["sets"] for e in named(events, RunProgress.name) if isinstance(e.get("sets"), list)]
    met = Counter(_identity(record) for record in begun)
    for wanted in plans[0] if plans else ():
        if not isinstance(wanted, dict):
            continue
        met[_identity(wanted)] -= 1
        if met[_identity(wanted)] < 0:
            have = int(wanted.get("have") or 0)
            status = "there" if have >= int(wanted.get("wanted") or 0) else "not_reached"
            yield {**wanted, "status": status, "have": have, "accepted": have, "taken": 0, "refused": 0, "refusals": {}}


def _identity(record: Mapping[str, Any]) -> str:
    """Return what names a set before it is begun: flats have no exposure yet."""
    flat = record.get("kind") == "FLAT"
    return str([record.get(name) for name in _GROUP if not (flat and name == "exposure_us")])
