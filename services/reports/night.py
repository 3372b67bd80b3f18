"""The night report as data: what was planned, taken, refused and why, per group; temperatures; masters; how it ended.

Everything comes from the run's journal of events and the catalogue, so that a report can be made again at any time.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.events import EventName
from services.storage.catalogue import Catalogue
from services.storage.disk import REAL_DISK, Disk, write_text
from services.storage.layout import Layout

FORMAT = 1
"""Version of the JSON document; raised when a member changes its meaning or goes away."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NightReport:
    """One run.

    Attributes
    ----------
    run : dict
        run_id, night, started_at, finished_at, steps, config, simulated, software, exit_code, code, detail.
    groups : tuple of dict
        One a set: what was wanted, what there was, what was taken, refusals by code, how it ended.
    frames : tuple of dict
        Every stored frame: time, set, level, sigma, temperature.
    refusals : tuple of dict
        Every refused frame with its verdicts.
    temperatures : tuple of dict
        Readings of the cooler: at, ccd_temp_c, set_point_c, cooler_power_pct.
    searches : tuple of dict
        Every step of the flat searches.
    detector : tuple of dict
    masters : tuple of dict
        Built ones with their statistics, refused ones with their code.
    warnings : tuple of dict
    """

    run: Record
    groups: tuple[Record, ...]
    frames: tuple[Record, ...]
    refusals: tuple[Record, ...]
    temperatures: tuple[Record, ...]
    searches: tuple[Record, ...]
    detector: tuple[Record, ...]
    masters: tuple[Record, ...]
    warnings: tuple[Record, ...]

    def to_json(self) -> str:
        """Return the document."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, default=str) + "\n"


def write_report(layout: Layout, catalogue: Catalogue, run_id: str, *, disk: Disk = REAL_DISK) -> tuple[Path, Path]:
    """Build and write the report of a run; return the paths of the JSON document and the page.

    Raises
    ------
    StorageError
        The files cannot be written.
    """
    from services.reports.page import render

    report = build_report(layout, catalogue, run_id)
    json_path, html_path = layout.report_paths(report.run["night"], run_id)
    json_path.parent.mkdir(parents=True, exist_ok=True)
    write_text(json_path, report.to_json(), disk, replace=True)
    write_text(html_path, render(report, layout), disk, replace=True)
    return json_path, html_path


def build_report(layout: Layout, catalogue: Catalogue, run_id: str) -> NightReport:
    """Return the report of a run from its journal; damaged lines of the journal are left out."""
    events = list(_journal(layout.events(run_id)))
    frames = tuple(_of(events, EventName.FRAME_STORED))
    refusals = tuple(_of(events, EventName.FRAME_REFUSED))
    return NightReport(
        run=_run(events, catalogue, run_id),
        groups=tuple(_groups(events, refusals)),
        frames=frames,
        refusals=refusals,
        temperatures=tuple(_of(events, EventName.COOLING_CHANGED, EventName.COOLING_STABLE)),
        searches=tuple(_of(events, EventName.FLAT_EXPOSURE_ADJUSTED, EventName.FLAT_SETTLED)),
        detector=tuple(_of(events, EventName.DETECTOR_MEASURED)),
        masters=tuple(_of(events, EventName.MASTER_BUILT, EventName.MASTER_REFUSED)),
        warnings=tuple(_of(events, EventName.WARNING_RAISED, EventName.DEVICE_LOST, EventName.STORAGE_LOW)),
    )


def _journal(path: Path) -> Iterable[Record]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _of(events: Iterable[Record], *names: EventName) -> Iterable[Record]:
    return ({k: v for k, v in e.items() if k not in ("run_id", "seq")} for e in events if e.get("name") in names)


def _run(events: Iterable[Record], catalogue: Catalogue, run_id: str) -> Record:
    known: Record = {"run_id": run_id}
    for event in events:
        if event.get("name") == EventName.RUN_STARTED:
            known |= {"started_at": event["at"], **_named(event, ("steps", "config", "root", "simulated", "software"))}
        elif event.get("name") == EventName.RUN_FINISHED:
            known |= {"finished_at": event["at"], **_named(event, ("exit_code", "code", "detail"))}
    nights = [row.night for row in catalogue.frames(run_id=run_id) if row.night]
    known["night"] = nights[0] if nights else str(known.get("started_at", ""))[:10]
    return known


def _groups(events: Iterable[Record], refusals: Iterable[Record]) -> Iterable[Record]:
    """Return a record a set: its start joined with its end; a set without an end was cut off."""
    begun: dict[str, Record] = {}
    for event in events:
        if event.get("name") not in (EventName.GROUP_STARTED, EventName.GROUP_FINISHED):
            continue
        key = str(event.get("set_id") or f"{event.get('kind')}-{event.get('filter')}-{event.get('seq')}")
        record = begun.setdefault(key, {"status": "cut_off", "refusals": {}})
        when = "started_at" if event["name"] == EventName.GROUP_STARTED else "finished_at"
        record |= {when: event["at"], **{k: v for k, v in event.items() if k not in ("name", "at", "seq", "run_id")}}
    for refusal in refusals:
        counts = begun.get(str(refusal.get("set_id")), {"refusals": {}})["refusals"]
        for code in refusal.get("codes", ()):
            counts[code] = counts.get(code, 0) + 1
    return begun.values()


def _named(event: Mapping[str, Any], names: Iterable[str]) -> Record:
    return {name: event.get(name) for name in names}
