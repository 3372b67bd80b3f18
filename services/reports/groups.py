"""The sets of a run, one record each: what was planned, what was there, what came of it, and how even it is."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag, FrameRow
from services.events.decoder import plain
from services.events.records import (
    Event,
    FrameRefused,
    FrameStored,
    GroupFinished,
    GroupStarted,
    RunProgress,
    members,
)
from services.reports.event_records import Record

_GROUP = ("kind", "filter", "exposure_us", "gain", "set_temp_c")
_OF_THE_START = ("wanted", "have")


def groups_of(events: Iterable[Event], catalogue: Catalogue) -> tuple[Record, ...]:
    """Return the sets of a run in the order they were met; planned ones that were never begun come last.

    Members: those of `group.started` and `group.finished`, and

    - `wanted`, `have` (frames there before), `taken` (by this run), `accepted` (there now), `refused`, `refusals` (code
      to number);
    - `status`: `complete`, `partial` or `failed`, `there` (complete before), `cut_off` (begun, never finished) or
      `not_reached` (while the run goes on these two are `going_on` and `to_come`);
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


def _begun(events: Iterable[Event]) -> dict[str, Record]:
    """Return the start of each set joined with its end."""
    begun: dict[str, Record] = {}
    for event in events:
        match event.what:
            case GroupStarted() as what:
                record = begun.setdefault(_key(what), {})
                record |= {**members(what), "status": "cut_off", "started_at": event.at.isoformat()}
            case GroupFinished() as what:
                record = begun.setdefault(_key(what), {"status": "there" if what.there else "cut_off"})
                end = members(what)
                status = record["status"] if end.pop("there") else end["status"]
                # older journals say with the start only how many are wanted and there
                end = {name: value for name, value in end.items() if value is not None or name not in _OF_THE_START}
                record |= {**end, "status": status, "finished_at": event.at.isoformat()}
    return begun


def _key(what: GroupStarted | GroupFinished) -> str:
    return what.set_id or str([getattr(what, name) for name in _GROUP])


def _count(begun: Mapping[str, Record], events: Iterable[Event]) -> None:
    stored, refused = Counter[str | None](), Counter[str | None]()
    reasons: dict[str | None, Counter[str]] = {}
    for event in events:
        match event.what:
            case FrameStored(set_id=set_id):
                stored[set_id] += 1
            case FrameRefused(set_id=set_id, codes=codes):
                refused[set_id] += 1
                reasons.setdefault(set_id, Counter()).update(codes or ("unknown",))
    for key, record in begun.items():
        taken, have = stored[key], record.get("have") or 0
        record |= {"taken": taken, "have": have, "refusals": dict(reasons.get(key, {}))}
        record["refused"] = max(refused[key], record.get("refused") or 0)
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


def _evenness(record: Record, events: Iterable[Event], catalogue: Catalogue) -> Record:
    set_id = record.get("set_id")
    if set_id is None:
        return {}
    rows = catalogue.frames(set_id=set_id, flag=Flag.OK)
    stored = [e.what for e in events if isinstance(e.what, FrameStored) and e.what.set_id == set_id]
    frames: Sequence[FrameRow | FrameStored] = rows or stored
    levels = [frame.level_adu for frame in frames if frame.level_adu is not None]
    temperatures = [frame.ccd_temp_c for frame in frames if frame.ccd_temp_c is not None]
    found: Record = {}
    if levels:
        mean = sum(levels) / len(levels)
        found = {"level_mean_adu": mean, "level_min_adu": min(levels), "level_max_adu": max(levels)}
        found["level_spread_pct"] = 50 * (max(levels) - min(levels)) / mean if mean else None
    if temperatures:
        found |= {"temp_min_c": min(temperatures), "temp_max_c": max(temperatures)}
    lamps = {row.panel_brightness for row in rows} - {None}
    if record.get("panel_brightness") is None and len(lamps) == 1:
        found["panel_brightness"] = lamps.pop()
    return dict(plain(found))


def _not_reached(events: Iterable[Event], begun: Iterable[Record]) -> Iterator[Record]:
    """Yield the sets of the plan (the first one of the run) that the run ended before, but for those it dropped."""
    steps = [event.what for event in events if isinstance(event.what, RunProgress)]
    plans = [step.sets for step in steps if step.sets is not None]
    met = Counter(_identity(record) for record in begun)
    met.update(_identity(members(dropped)) for step in steps for dropped in step.dropped)
    for planned in plans[0] if plans else ():
        wanted = members(planned)
        met[_identity(wanted)] -= 1
        if met[_identity(wanted)] < 0:
            have = planned.have
            status = "there" if have >= (planned.wanted or 0) else "not_reached"
            yield {**wanted, "status": status, "have": have, "accepted": have, "taken": 0, "refused": 0, "refusals": {}}


def _identity(record: Mapping[str, Any]) -> str:
    """Return what names a set before it is begun: flats have no exposure yet."""
    flat = record.get("kind") == "FLAT"
    return str([record.get(name) for name in _GROUP if not (flat and name == "exposure_us")])
