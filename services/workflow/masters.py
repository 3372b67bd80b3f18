"""The masters step: index what lies in the folders, build, count."""

import threading
from collections.abc import Collection, Iterable, Iterator

from drivers.clock import Clock
from services.catalogue.rows import Flag, MasterStatus
from services.config.models import Config
from services.events.records import StepFinished, StepStarted, WarningRaised
from services.indexing.index import index_folder
from services.masters import MasterOutcome, MasterSettings, Outcome, build_all
from services.workflow.context import Tally
from services.workflow.night import Place


def build_masters(
    config: Config,
    place: Place,
    clock: Clock,
    tally: Tally,
    *,
    wake: threading.Event | None = None,
    built: Collection[str] = (),
    concerned: Collection[str] | None = None,
    told: Collection[str] = (),
) -> None:
    """Build every master that is wanted, possible and not there yet, of our own frames and of others' in our folders.

    Parameters
    ----------
    built : collection of str
        Paths of the masters that this run has built and counted already, beside its exposures.
    concerned : collection of str, optional
        Ids of the sets this run is about: only their refusals count as failures. What an old run left incomplete is
        told, but does not make a run fail that has all it wants.
    told : collection of str
        Paths of the files of which this run has told already that they cannot be read.

    Raises
    ------
    StorageError, RunStopped
        The disk, or `wake`.
    """
    place.events.emit(StepStarted(step="masters"))
    _index(config, place, told)
    settings = MasterSettings.of(config)
    outcomes = build_all(
        settings=settings,
        place=place,
        events=place.events,
        clock=clock,
        wake=wake,
    )
    tally.masters_built += sum(o.status in (Outcome.BUILT, Outcome.PARTIAL) for o in outcomes)
    refused = [o for o in outcomes if o.status is Outcome.REFUSED]
    failed = [*refused, *_short(outcomes, settings, place)]
    tally.masters_failed += sum(concerned is None or o.set_id in concerned for o in failed)
    there = [place.layout.relative(o.path) for o in outcomes if o.status is Outcome.KEPT and o.path is not None]
    kept = [path for path in there if path not in built]
    place.events.emit(StepFinished(step="masters", kept=tuple(kept)))


def _short(outcomes: Iterable[MasterOutcome], settings: MasterSettings, place: Place) -> Iterator[MasterOutcome]:
    """Yield what is partial though its set is complete: frames were left out. An incomplete set has been counted."""
    partial = {row.path for row in place.catalogue.masters(status=MasterStatus.PARTIAL)}
    for outcome in outcomes:
        if outcome.path is not None and place.layout.relative(outcome.path) in partial:
            frames = place.catalogue.frames(set_id=outcome.set_id, flag=Flag.OK)
            if len(frames) >= settings.wanted(outcome.kind):
                yield outcome


def _index(config: Config, place: Place, told: Collection[str]) -> None:
    """Take in frames that somebody else put into the folders; what cannot be read is told and left out."""
    longitude = None if config.site is None else config.site.longitude
    for folder in (place.layout.darks, place.layout.flats):
        if not folder.is_dir():
            continue
        report = index_folder(place.catalogue, folder, layout=place.layout, longitude_deg=longitude)
        for problem in (problem for problem in report.problems if problem.path not in told):
            detail = f"{problem.path}: {problem.reason}"
            place.events.emit(WarningRaised(code=problem.code, detail=detail))
