"""What a rebuilt catalogue takes from journals: refusals, runs, rejected frames, and what was measured of detectors."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import structlog

from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FactRow, Flag, Mark, RefusalRow, RunRow
from services.catalogue.typed import check_types
from services.events.devices import DetectorMeasured
from services.events.journal import read_journal
from services.events.records import Event, FrameMarked, FrameRefused, RunFinished, RunStarted, members

log = structlog.get_logger(__name__)


def replay(catalogue: Catalogue, journals: Iterable[Path]) -> None:
    """Take what journals say of runs, frames and detectors; what cannot be understood is left out.

    Marks of frames are taken in the order in which they were made, whatever journal they are in.
    """
    marked: list[Event] = []
    for journal in journals:
        try:
            events = read_journal(journal)
        except OSError as error:
            log.warning("journal.unreadable", journal=journal.name, detail=str(error))
            continue
        for event in events:
            if isinstance(event.what, FrameMarked):
                marked.append(event)
                continue
            try:
                _take(catalogue, event)
            except (ValueError, TypeError, OverflowError):
                log.debug("journal.event_skipped", journal=journal.name, seq=event.seq)
    for event in sorted(marked, key=lambda each: each.at):
        take_marks(catalogue, event)


def take_marks(catalogue: Catalogue, event: Event) -> None:
    """Reject the frames that an event names, or take that back."""
    if not isinstance(event.what, FrameMarked):
        return
    for sha, path in zip(event.what.pixels, event.what.paths, strict=False):
        if event.what.rejected:
            catalogue.put_mark(Mark(sha, path, event.what.reason, event.at))
        else:
            catalogue.set_flag(Flag.OK, pixels=(sha,))


def _take(catalogue: Catalogue, event: Event) -> None:
    match event.what:
        case RunStarted() as started:
            run = RunRow(
                run_id=event.run_id,
                started_at=event.at,
                steps=started.steps,
                software=started.software,
                campaign=started.campaign,
            )
            check_types(run)
            catalogue.start_run(run)
        case RunFinished(exit_code=int(exit_code)) as end:
            catalogue.finish_run(
                event.run_id,
                finished_at=event.at,
                exit_code=exit_code,
                code=end.code,
                detail=end.detail,
                early=end.early,
            )
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
