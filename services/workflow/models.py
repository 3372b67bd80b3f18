"""The models step: fit whatever models of the detector the frames support, and say why not where they do not."""

from collections.abc import Collection

from services.events.records import StepFinished, StepStarted
from services.models.library import Library, Wishes
from services.planning.request import Step
from services.workflow.masters import build_flats, flats_to_build, index_frames
from services.workflow.work import Work

_OF_DARKS = frozenset({"bias", "dark"})
"""Models that a dark is predicted by."""


class ModelsStep:
    """The step that makes models of what the catalogue holds; where they are switched off it does nothing."""

    def run(self, work: Work) -> None:
        """Fit every model that is wanted, possible and not there yet.

        That frames do not support a model is no failure: it is said, with what they lack.

        Raises
        ------
        StorageError, RunStopped
            The disk, or the run was stopped.
        """
        models, alone = work.config.models, work.options.steps == (Step.MODELS,)
        if models.fit == "off":
            work.tally.nothing = "models are switched off (models: off)" if alone else work.tally.nothing
            return
        work.events.emit(StepStarted(step=Step.MODELS))
        if alone:
            index_frames(work)
        library = Library(work.place, work.events, work.clock.now, work.stop.edge)
        outcomes = library.fit_all(_wishes(work, _OF_DARKS))
        is_new = any(each.kind == "dark" and each.row is not None and not each.kept for each in outcomes)
        if again := flats_to_build(work, is_new=is_new):  # before flat models: these take long, and are made of flats
            work.events.emit(StepFinished(step=Step.MODELS))
            build_flats(work, again)
            work.events.emit(StepStarted(step=Step.MODELS))
        outcomes += library.fit_all(_wishes(work, set(models.kinds) - _OF_DARKS))
        work.tally.models_fitted = sum(each.row is not None and not each.kept for each in outcomes)
        if alone:
            kept = sum(each.kept for each in outcomes)
            lacking = "; ".join(each.words for each in outcomes if each.row is None)
            there = f"{'the only model is' if kept == 1 else f'all {kept} models are'} there" if kept else ""
            work.tally.nothing = "; ".join(filter(None, (there, lacking)))
        work.events.emit(StepFinished(step=Step.MODELS))


def _wishes(work: Work, kinds: Collection[str]) -> Wishes:
    return Wishes(
        kinds=tuple(each for each in work.config.models.kinds if each in kinds),
        memory_mb=work.config.master_frames.memory_mb,
        min_free_mb=work.config.storage.min_free_mb,
    )
