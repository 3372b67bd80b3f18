"""The models step: fit whatever models of the detector the frames support, and say why not where they do not."""

from services.events.records import StepFinished, StepStarted
from services.models.library import Library, Wishes
from services.planning.request import Step
from services.workflow.masters import index_frames
from services.workflow.work import Work


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
        wishes = Wishes(
            kinds=models.kinds,
            memory_mb=work.config.master_frames.memory_mb,
            min_free_mb=work.config.storage.min_free_mb,
        )
        outcomes = Library(work.place, work.events, work.clock.now, work.stop.edge).fit_all(wishes)
        fitted = [each for each in outcomes if each.row is not None and not each.kept]
        work.tally.models_fitted = len(fitted)
        if alone:
            kept = sum(each.kept for each in outcomes)
            lacking = "; ".join(f"no model of the {each.kind}: {each.detail}" for each in outcomes if each.row is None)
            there = f"{'the only model is' if kept == 1 else f'all {kept} models are'} there" if kept else ""
            work.tally.nothing = "; ".join(filter(None, (there, lacking)))
        work.events.emit(StepFinished(step=Step.MODELS))
