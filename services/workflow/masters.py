"""The masters step: index the files in the folders, build, count."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from calibration.errors import GroupCode
from calibration.frames import FrameKind
from services.catalogue.rows import Flag, MasterStatus
from services.errors import RunCode, RunStopped
from services.events.records import StepFinished, StepStarted, WarningRaised
from services.events.sentences import finding
from services.indexing.index import index_folder
from services.library.publish import publish_as_configured
from services.library.standing import settle
from services.masters import MasterOutcome, MasterSettings, Outcome, build_all
from services.planning.request import Step
from services.root import Place
from services.stopping import Stop
from services.workflow.unused import should_have_served, warn_of_unused
from services.workflow.warm_up import Need
from services.workflow.work import Work

_TO_COME = frozenset({GroupCode.TOO_FEW_FRAMES, GroupCode.NO_MATCHING_DARK})
"""Why there is no master of frames of which a run that ended in time has not taken all."""


class MastersStep:
    """The step that builds masters, of our own frames and of others' in our folders."""

    def run(self, work: Work) -> None:
        """Build every master that is wanted, possible and not there yet.

        Only refusals of sets that this run is about count as failures, unless it takes no frames and is about all of
        them: what an old run left incomplete is reported, but a run that has all it wants does not fail by it.

        Raises
        ------
        StorageError, RunStopped
            The disk, or the run was stopped.
        """
        work.events.emit(StepStarted(step=Step.MASTERS))
        index_frames(work)
        settle(work.place)
        settings = MasterSettings.of(work.config)
        sets = None if work.options.only is None else frozenset(work.tally.met)
        put_off = (GroupCode.NO_MATCHING_DARK,) if _models_follow(work) else ()
        outcomes = _built(work, settings, sets=sets, put_off=put_off)
        if not work.options.takes_frames:
            unused = work.tally.unused.values()
            work.tally.files_failed = should_have_served(unused, nothing_served=not outcomes)
        _conclude(work, settings, outcomes, outcomes)


def flats_to_build(work: Work, *, is_new: bool) -> frozenset[str | None]:
    """Return the sets of flats that the masters step of this run has put off until models were fitted.

    Parameters
    ----------
    work : Work
    is_new : bool
        Whether a model that predicts darks was fitted: then also those that have such a dark already.
    """
    waiting = [each for each in work.tally.masters if each.by_model and (is_new or each.status is Outcome.REFUSED)]
    is_asked = Step.MASTERS in work.options.steps and _models_follow(work)
    return frozenset(each.set_id for each in waiting) if is_asked else frozenset()


def build_flats(work: Work, again: frozenset[str | None]) -> None:
    """Build the flats of these sets with the models that there are by now; what becomes of them replaces what did.

    Raises
    ------
    StorageError, RunStopped
        The disk, or the run was stopped.
    """
    work.events.emit(StepStarted(step=Step.MASTERS))
    settings = replace(MasterSettings.of(work.config), bias=False, darks=False)
    sets = None if None in again else {each for each in again if each is not None}
    outcomes = _built(work, settings, sets=sets)
    others = (each for each in work.tally.masters if each.kind is not FrameKind.FLAT or each.set_id not in again)
    _conclude(work, settings, outcomes, (*others, *outcomes))


def _models_follow(work: Work) -> bool:
    """Whether flats without a dark are looked at again when models of the dark were fitted, later in this run."""
    is_on = work.config.models.fit != "off" and "dark" in work.config.models.kinds
    return is_on and Step.MODELS in work.options.steps and work.config.master_frames.flat_dark == "model"


def _built(
    work: Work, settings: MasterSettings, *, sets: Collection[str] | None, put_off: Collection[str] = ()
) -> tuple[MasterOutcome, ...]:
    return build_all(
        settings=settings,
        place=work.place,
        events=work.events,
        clock=work.clock,
        wake=work.stop.edge,
        sets=sets,
        put_off=put_off,
        ready=lambda: work.wait_for_loops(Need.MASTERS, lambda: _check(work.stop)),
    )


def _conclude(
    work: Work, settings: MasterSettings, new: Sequence[MasterOutcome], outcomes: Sequence[MasterOutcome]
) -> None:
    """Count what became of all masters, the `new` outcomes among them; say what is suspect, and publish."""
    place, tally = work.place, work.tally
    seen = {each.path for each in tally.masters}
    tally.masters = tuple(outcomes)
    alone = not work.options.takes_frames
    built = work.built()
    tally.masters_built = len(built)
    lacking = _TO_COME if tally.is_early else frozenset()
    refused = [o for o in outcomes if o.status is Outcome.REFUSED and o.code not in lacking]
    failed = [*refused, *_short(outcomes, settings, place)]
    tally.masters_failed = sum(alone or o.set_id in tally.met for o in failed)
    suspect = [o for o in outcomes if o.suspect and (alone or o.set_id in tally.met)]
    tally.masters_suspect = len(suspect)
    there = [place.layout.relative(o.path) for o in new if o.status is Outcome.KEPT and o.path is not None]
    kept = tuple(path for path in there if path not in built)
    for outcome in suspect:  # those that this run has built have been reported
        if outcome.path is not None and outcome.path not in seen and place.layout.relative(outcome.path) in kept:
            detail = f"{outcome.path.name}: {'; '.join(map(finding, outcome.suspect))}"
            work.events.emit(WarningRaised(code=RunCode.SUSPECT_MASTER, detail=detail))
    tally.nothing = _nothing(place, len(kept)) if new is outcomes else tally.nothing
    for detail in publish_as_configured(place, work.config).problems:
        work.events.emit(WarningRaised(code=RunCode.NOT_PUBLISHED, detail=detail))
    work.events.emit(StepFinished(step=Step.MASTERS, kept=kept))


def _check(stop: Stop) -> None:
    if stop.edge.is_set():
        raise RunStopped("stopped before all masters were built")


def _nothing(place: Place, kept: int) -> str:
    """Return why no master was built, for a run that did nothing else."""
    if kept:
        return f"nothing to do: {'the only master is' if kept == 1 else f'all {kept} masters are'} there"
    layout = place.layout
    return "" if place.catalogue.sets() else f"there are no frames in {layout.darks} or {layout.flats}"


def _short(outcomes: Iterable[MasterOutcome], settings: MasterSettings, place: Place) -> Iterator[MasterOutcome]:
    """Yield what is partial though its set is complete: frames were left out. An incomplete set has been counted."""
    partial = {row.path for row in place.catalogue.masters(status=MasterStatus.PARTIAL)}
    for outcome in outcomes:
        if outcome.path is not None and place.layout.relative(outcome.path) in partial:
            frames = place.catalogue.frames(set_id=outcome.set_id, flag=Flag.OK)
            if frames and len(frames) >= settings.wanted(frames[0].kind, frames[0]):
                yield outcome


def index_frames(work: Work) -> None:
    """Take in frames that somebody else put into the folders; what cannot be used is reported and left out."""
    place = work.place
    longitude = None if work.config.site is None else work.config.site.longitude
    folders = (place.layout.darks, place.layout.flats)
    report = index_folder(
        place.catalogue,
        *folders,
        layout=place.layout,
        longitude_deg=longitude,
        aliases=work.config.header_aliases,
        on_new=work.loops.start,
    )
    warn_of_unused(work, report.problems)
