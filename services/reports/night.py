"""The night report as data: what was planned, taken, refused and why, per group; temperatures; masters; how it ended.

Everything comes from the run's journal of events and the catalogue, so that a report can be made again at any time,
also of a run that was killed, whose journal ends in the middle of a line, or whose files are gone.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from calibration.grouping import night_label
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import RunRow
from services.events.decoder import plain
from services.events.devices import (
    CoolingChanged,
    CoolingStable,
    CoolingStalled,
    DetectorMeasured,
    DeviceConnected,
    DeviceGone,
    DeviceRestored,
    SafetyStale,
    SafetyUnsafe,
)
from services.events.journal import read_journal
from services.events.records import (
    Event,
    FlatExposureAdjusted,
    FlatSettled,
    FrameRefused,
    FrameStored,
    RunFinished,
    RunStarted,
    StorageLow,
    WarningRaised,
    members,
)
from services.files.layout import Layout
from services.files.locks import RootLock
from services.reports.event_records import Record, named
from services.reports.groups import groups_of
from services.reports.masters import kept_paths, masters_of
from services.reports.models import models_of
from services.reports.rejected import rejected_of

FORMAT = 1
"""Version of the JSON document; raised when a member changes its meaning or goes away."""

NO_NIGHT = "unknown"

_WARNINGS = (
    WarningRaised,
    DeviceGone,
    DeviceRestored,
    StorageLow,
    CoolingStalled,
    SafetyUnsafe,
    SafetyStale,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NightReport:
    """One run.

    Attributes
    ----------
    run : dict
        run_id, night, started_at, finished_at, steps, config, settings, simulated, software, exit_code, code, detail.
        Of a run that was killed `finished_at` and `exit_code` are None; of one that still goes on `running` is true.
    totals : dict
        Sums over groups and masters: wanted, there, taken, refused, masters_built, masters_kept, masters_refused.
    groups : tuple of dict
        One a set (`services.reports.groups.groups_of`).
    frames : tuple of dict
        Every frame that this run stored: time, set, level, sigma, temperature.
    refusals : tuple of dict
        Every refused frame with its verdicts.
    temperatures : tuple of dict
        Readings of the cooler: at, ccd_temp_c, set_point_c, cooler_power_pct.
    searches : tuple of dict
        Every step of the flat searches, and where they settled.
    detector : tuple of dict
        What was measured of it.
    devices : tuple of dict
        What was connected.
    masters : tuple of dict
        Those of this night (`services.reports.masters.masters_of`); `totals` counts all that were kept.
    models : tuple of dict
        What became of the models of the detector (`services.reports.models.models_of`).
    rejected : tuple of dict
        Frames that somebody rejected, and what was built anew (`services.reports.rejected.rejected_of`).
    warnings : tuple of dict
        Whatever an observer should know of, in the order it came.
    """

    run: Record
    totals: Record
    groups: tuple[Record, ...]
    frames: tuple[Record, ...]
    refusals: tuple[Record, ...]
    temperatures: tuple[Record, ...]
    searches: tuple[Record, ...]
    detector: tuple[Record, ...]
    devices: tuple[Record, ...]
    masters: tuple[Record, ...]
    models: tuple[Record, ...]
    rejected: tuple[Record, ...]
    warnings: tuple[Record, ...]

    def to_json(self) -> str:
        """Return the document: plain JSON, no NaN."""
        return json.dumps({"format": FORMAT, **plain(asdict(self))}, indent=1, default=str, allow_nan=False) + "\n"


def build_report(layout: Layout, catalogue: Catalogue, run_id: str) -> NightReport:
    """Return the report of a run; what its journal or the catalogue lack is left out, nothing of it raises."""
    events = _events(layout.events(run_id))
    groups, masters = groups_of(events, catalogue), masters_of(events, catalogue)
    run = _run(events, catalogue, run_id)
    run["running"] = run.get("exit_code") is None and still_runs(layout, run_id)
    if run["running"]:
        groups = tuple({**group, "status": _GOING_ON.get(group["status"], group["status"])} for group in groups)
    return NightReport(
        run=run,
        totals=_totals(groups, masters, kept=len(kept_paths(events))),
        groups=groups,
        frames=named(events, FrameStored),
        refusals=named(events, FrameRefused),
        temperatures=named(events, CoolingChanged, CoolingStable, CoolingStalled),
        searches=named(events, FlatExposureAdjusted, FlatSettled),
        detector=named(events, DetectorMeasured),
        devices=named(events, DeviceConnected),
        masters=masters,
        models=models_of(events),
        rejected=tuple(rejected_of(run_id, groups, masters, catalogue)),
        warnings=named(events, *_WARNINGS),
    )


_GOING_ON = {"cut_off": "going_on", "not_reached": "to_come"}
"""What the states of sets that are not complete mean while the run goes on."""


def still_runs(layout: Layout, run_id: str) -> bool:
    """Return whether a run goes on: it holds the lock of the folder, which the system frees when a process is gone."""
    return RootLock(layout.root).is_held_by(run_id)


def _events(journal: Path) -> tuple[Event, ...]:
    """Return the events of a journal; none when it is missing or cannot be read."""
    try:
        return read_journal(journal)
    except OSError:
        return ()


def _run(events: Iterable[Event], catalogue: Catalogue, run_id: str) -> Record:
    """Return how the run began and ended: from its journal, else from its row."""
    row = next((row for row in catalogue.runs() if row.run_id == run_id), None)
    known: Record = {"run_id": run_id, **_of_row(row)}
    for event in events:
        match event.what:
            case RunStarted() as started:
                known |= {"started_at": event.at.isoformat(), **members(started)}
            case RunFinished() as finished:
                known |= {"finished_at": event.at.isoformat(), **members(finished)}
    nights = [frame.night for frame in catalogue.frames(run_id=run_id) if frame.night]
    known["night"] = nights[0] if nights else known.get("night") or _night(known.get("started_at"))
    return known


def _of_row(row: RunRow | None) -> Record:
    if row is None:
        return {"started_at": None, "finished_at": None, "exit_code": None, "code": None, "detail": "", "steps": []}
    finished = None if row.finished_at is None else row.finished_at.isoformat()
    known: Record = {name: getattr(row, name) for name in ("exit_code", "code", "detail", "software")}
    return {**known, "started_at": row.started_at.isoformat(), "finished_at": finished, "steps": list(row.steps)}


def _night(started_at: object) -> str:
    try:
        return night_label(datetime.fromisoformat(str(started_at)))
    except ValueError:
        return NO_NIGHT


def _totals(groups: Iterable[Record], masters: Iterable[Record], *, kept: int) -> Record:
    groups = tuple(groups)
    found: Record = {name: _sum(groups, name) for name in ("wanted", "taken", "refused")}
    found["there"] = _sum(groups, "have")
    outcomes = [master["outcome"] for master in masters]
    return found | {
        "masters_built": outcomes.count("built"),
        "masters_kept": kept,
        "masters_refused": outcomes.count("refused"),
    }


def _sum(groups: Iterable[Record], name: str) -> int:
    return sum(int(group.get(name) or 0) for group in groups)
