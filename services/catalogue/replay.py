"""What a rebuilt catalogue takes from journals: refusals, runs, and what was measured of detectors."""

from datetime import datetime
from pathlib import Path

import structlog

from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FactRow, RefusalRow, RunRow
from services.catalogue.typed import check_types
from services.events.devices import DetectorMeasured
from services.events.journal import read_journal
from services.events.records import Event, FrameRefused, RunFinished, RunStarted, members

log = structlog.get_logger(__name__)


def replay(catalogue: Catalogue, journal: Path) -> None:
    """Take refusals, runs and measured facts from a run's journal; what cannot be understood is left out."""
    try:
        events = read_journal(journal)
    except OSError as error:
        log.warning("journal.unreadable", journal=journal.name, detail=str(error))
        return
    for event in events:
        try:
            _take(catalogue, event)
        except (ValueError, TypeError, OverflowError):
            log.debug("journal.event_skipped", journal=journal.name, seq=event.seq)


def _take(catalogue: Catalogue, event: Event) -> None:
    match event.what:
        case RunStarted() as started:
            run = RunRow(run_id=event.run_id, started_at=event.at, steps=started.steps, software=started.software)
            check_types(run)
            catalogue.start_run(run)
        case RunFinished(exit_code=int(exit_code), code=code, detail=detail):
            catalogue.finish_run(event.run_id, finished_at=event.at, exit_code=exit_code, code=code, detail=detail)
        case FrameRefused(kind=FrameKind()) as refused:
            refusal = refusal_of(event.run_id, event.at, refused)
            check_types(refusal)
            catalogue.add_refusal(refusal)
        case DetectorMeasured() as measured:
            for fact in facts_of(measured, event.at):
                catalogue.add_fact(fact)


def refusal_of(run_id: str, at: datetime, refused: FrameRefused) -> RefusalRow:
    """Return the catalogue's row of a refused frame.

    Raises
    ------
    ValueError
        Nobody knows what kind of frame it was.
    """
    return RefusalRow(
        run_id=run_id,
        at=at,
        kind=FrameKind(refused.kind or ""),
        codes=refused.codes,
        set_id=refused.set_id,
        filter=refused.filter,
        exposure_us=refused.exposure_us,
        level_adu=refused.level_adu,
        path=refused.path,
        verdicts=tuple(members(verdict) for verdict in refused.verdicts),
    )


def facts_of(measured: DetectorMeasured, at: datetime) -> list[FactRow]:
    """Return the facts that were measured of a detector: the numbers, under the settings they hold for."""
    values = members(measured)
    settings = {name: values[name] for name in ("gain", "offset", "readout_mode", "binning")}
    return [
        FactRow(camera=measured.camera or "", name=name, value=float(values[name]), at=at, settings=settings)
        for name in ("bias_adu", "saturation_adu", "step_adu", "k_adu_e", "k_adu_e_refused")
        if values[name] is not None
    ]
