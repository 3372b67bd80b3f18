"""What journals tell again when the catalogue is rebuilt: refusals, runs, and what was measured of detectors."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FactRow, RefusalRow, RunRow, parse_time
from services.catalogue.typed import check_types
from services.events.bus import EventName

log = structlog.get_logger(__name__)


def replay(catalogue: Catalogue, journal: Path) -> None:
    """Take refusals, runs and measured facts from a run's journal; a line cut off by a power cut is skipped."""
    try:
        lines = journal.read_bytes().decode("utf-8", errors="replace").strip("\n").split("\n")
    except OSError as error:
        log.warning("journal.unreadable", journal=journal.name, detail=str(error))
        return
    for line in lines:
        try:
            _take(catalogue, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            log.debug("journal.line_skipped", journal=journal.name)


def _take(catalogue: Catalogue, event: Mapping[str, Any]) -> None:
    at = parse_time(event["at"])
    if at is None:
        return
    name = event["name"]
    if name == EventName.RUN_STARTED:
        steps = tuple(str(step) for step in event.get("steps", ()))
        run = RunRow(run_id=event["run_id"], started_at=at, steps=steps, software=event.get("software"))
        check_types(run)
        catalogue.start_run(run)
    elif name == EventName.RUN_FINISHED:
        exit_code, code, detail = int(event["exit_code"]), event.get("code"), event.get("detail") or ""
        run = RunRow(
            run_id=event["run_id"], started_at=at, finished_at=at, exit_code=exit_code, code=code, detail=detail
        )
        check_types(run)
        catalogue.finish_run(run.run_id, finished_at=at, exit_code=exit_code, code=code, detail=detail)
    elif name == EventName.FRAME_REFUSED:
        refusal = refusal_of(event, at)
        check_types(refusal)
        catalogue.add_refusal(refusal)
    elif name == EventName.DETECTOR_MEASURED:
        for fact in facts_of(event, at):
            catalogue.add_fact(fact)


def refusal_of(event: Mapping[str, Any], at: datetime) -> RefusalRow:
    """Return the refusal that a `frame.refused` event tells."""
    return RefusalRow(
        run_id=event["run_id"],
        at=at,
        kind=FrameKind(event["kind"]),
        codes=tuple(event["codes"]),
        set_id=event.get("set_id"),
        filter=event.get("filter"),
        exposure_us=event.get("exposure_us"),
        level_adu=event.get("level_adu"),
        path=event.get("path"),
        verdicts=tuple(event.get("verdicts", ())),
    )


def facts_of(event: Mapping[str, Any], at: datetime) -> list[FactRow]:
    """Return the facts that a `detector.measured` event tells: its numbers, under its settings."""
    settings = {name: event[name] for name in ("gain", "offset", "readout_mode", "binning") if name in event}
    return [
        FactRow(camera=str(event.get("camera", "")), name=name, value=float(event[name]), at=at, settings=settings)
        for name in ("bias_adu", "saturation_adu", "step_adu", "k_adu_e", "k_adu_e_refused", "read_noise_adu")
        if isinstance(event.get(name), int | float)
    ]
