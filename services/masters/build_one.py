"""One group becomes a master, unless that master exists already or the group cannot become one."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from calibration.errors import CalibrationError, GroupCode
from calibration.frames import FrameKind, Verdict
from drivers.clock import Clock
from services.catalogue.rows import USABLE, MasterStatus
from services.errors import RunCode, RunStopped, StorageError
from services.events.findings import Finding, findings_of
from services.library.standing import settle
from services.masters.build import BuildContext, build
from services.masters.gain import MeasuredGains
from services.masters.narration import Begin, Narration
from services.masters.prepare import Prepared, Surroundings, name_left_out, prepare
from services.masters.refusal import GroupRefused
from services.planning.flat_darks import FlatDark
from services.planning.master_groups import MasterGroup
from services.planning.master_plan import MasterPlan
from services.predicting import ModelDamaged

_FATAL = {RunCode.DISK_FULL, RunCode.WRITE_FAILED}
"""Storage errors after which no other master could be written either."""


class Outcome(StrEnum):
    """What became of one group."""

    BUILT = "built"
    PARTIAL = "partial"
    KEPT = "kept"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterOutcome:
    """What became of one group: a new master, one that exists already (`kept`), or a reason why there is none.

    `suspect` says what is suspect about a master that nobody has certified; `by_model` that its dark is one that a
    model predicts, or could be, had no other served.
    """

    kind: FrameKind
    status: Outcome
    n: int = 0
    filter: str | None = None
    exposure_us: int | None = None
    gain: int | None = None
    set_id: str | None = None
    path: Path | None = None
    code: str | None = None
    detail: str = ""
    suspect: tuple[Finding, ...] = ()
    by_model: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterBuilding:
    """Everything that the building of one master after the other needs.

    Attributes
    ----------
    plan : MasterPlan
    context : BuildContext
    narration : Narration
    clock : Clock
    scratch : Path
        Folder for frames that are unpacked; it is emptied after each group.
    gains : MeasuredGains
        Measured once for all groups of a camera.
    ready : callable
        Called before frames are combined; returns when they can be, raises when the run must end first.
    """

    plan: MasterPlan
    context: BuildContext
    narration: Narration
    clock: Clock
    scratch: Path
    gains: MeasuredGains
    ready: Callable[[], object] = lambda: None

    def master(self, group: MasterGroup, begin: Begin, doubt: Verdict | None = None) -> MasterOutcome:
        """Build one master, or return why not.

        Parameters
        ----------
        group : MasterGroup
        begin : callable
            Called when it is built: returns its number among those that are built, and how many these are.
        doubt : Verdict, optional
            What other groups say against this one.

        Raises
        ------
        StorageError
            The disk is full or cannot be written; any other failure concerns this group alone and is its outcome.
        RunStopped
            The work was ended.
        """
        try:
            return self._with_models(group, begin, () if doubt is None else (doubt,))
        except GroupRefused as refused:
            return self._refuse(group, refused.code, refused.detail)
        except CalibrationError as error:
            return self._refuse(group, GroupCode.NO_FRAMES, str(error))
        except StorageError as error:
            if error.code in _FATAL:
                raise
            return self._refuse(group, error.code, error.detail)
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)  # unpacked frames of one group may be gigabytes

    def _with_models(self, group: MasterGroup, begin: Begin, doubts: tuple[Verdict, ...]) -> MasterOutcome:
        """Build one master; a damaged model is forgotten, and another one, or none, serves in its place."""
        while True:
            try:
                return self._master(group, begin, doubts)
            except ModelDamaged as damaged:
                self.plan.place.catalogue.remove_models([damaged.path])
                self.plan.forget()
                self.narration.warn(group, damaged.code, damaged.detail)

    def _master(self, group: MasterGroup, begin: Begin, doubts: tuple[Verdict, ...]) -> MasterOutcome:
        if self.context.wake is not None and self.context.wake.is_set():
            raise RunStopped("stopped before all masters were built")
        warn = partial(self.narration.warn, group)
        found = self.plan.chosen(group)
        known = self.plan.existing(found)
        if found is not None and known is not None:
            name_left_out(found.left_out, warn)
            by_model = self._by_model(group, found.group, found.darks.values())
            return replace(self._kept(found.group, known, doubts), by_model=by_model)
        self.ready()
        around = Surroundings(plan=self.plan, scratch=self.scratch, warn=warn, gains=self.gains)
        prepared = replace(prepare(group, around), doubts=doubts, rejected=self.plan.rejected_of(group))
        method = prepared.stack.recipe.method_for(len(prepared.stack.frames))
        recipe = self.plan.recipe(prepared.group, prepared.darks, method)
        status = self.plan.status_of(prepared.group)
        known = self.plan.with_recipe(recipe)
        if known is None and status is MasterStatus.PARTIAL:
            known = self.plan.more_complete(prepared.group)
        by_model = self._by_model(group, prepared.group, prepared.darks)
        if known is not None:
            return replace(self._kept(prepared.group, known, doubts), by_model=by_model)
        self.narration.started(prepared.group, begin)
        return replace(self._built(prepared, recipe, status), by_model=by_model)

    def _by_model(self, group: MasterGroup, combined: MasterGroup, darks: Iterable[FlatDark]) -> bool:
        """Whether flats have a dark that a model predicts, or some were left out, perhaps for want of one."""
        asks = group.product is FrameKind.FLAT and self.plan.settings.flat_dark == "model"
        return asks and (len(combined.rows) < len(group.rows) or any(dark.predicted is not None for dark in darks))

    def _built(self, prepared: Prepared, recipe: str, status: MasterStatus) -> MasterOutcome:
        row = build(prepared, recipe=recipe, status=status, built_at=self.clock.now(), context=self.context)
        catalogue = self.plan.place.catalogue
        with catalogue.at_once():
            catalogue.add_master(row)
            changed = settle(self.plan.place, self.plan.alike(row))
        self.plan.forget()
        self.narration.built(prepared.group, row)
        self.narration.compared(prepared.group, row, changed)
        outcome = Outcome.PARTIAL if status is MasterStatus.PARTIAL else Outcome.BUILT
        suspect = () if row.base is MasterStatus.CERTIFIED else findings_of(row.statistics)
        return _outcome(prepared.group, outcome, path=self.plan.place.layout.absolute(row.path), suspect=suspect)

    def _kept(self, group: MasterGroup, path: str, doubts: tuple[Verdict, ...]) -> MasterOutcome:
        """Return the master that exists; what was suspect about it still is, until somebody certifies it."""
        place = self.plan.place
        (row,) = place.catalogue.masters(path=path, with_inputs=False)
        if row.status is MasterStatus.SUSPECT:  # unlike the one before it: that was said when it was built
            return _outcome(group, Outcome.KEPT, path=place.layout.absolute(path))
        suspect = {finding.code: finding for finding in findings_of(row.statistics)}
        for doubt in doubts if self.plan.settings.quality_control else ():
            suspect[doubt.code] = Finding(
                code=doubt.code, measured=doubt.measured, limit=doubt.limit, detail=doubt.detail
            )
        is_open = row.status in USABLE and row.status is not MasterStatus.CERTIFIED
        found = tuple(suspect.values()) if is_open else ()
        return _outcome(group, Outcome.KEPT, path=place.layout.absolute(path), suspect=found)

    def _refuse(self, group: MasterGroup, code: str, detail: str) -> MasterOutcome:
        self.narration.refused(group, code, detail)
        asks = code == GroupCode.NO_MATCHING_DARK and self.plan.settings.flat_dark == "model"
        return _outcome(group, Outcome.REFUSED, code=str(code), detail=detail, by_model=asks)


def _outcome(group: MasterGroup, status: Outcome, **more: Any) -> MasterOutcome:
    return MasterOutcome(
        kind=group.product,
        status=status,
        n=len(group.rows),
        filter=group.key.filter,
        exposure_us=group.exposure_us,
        gain=group.key.gain,
        set_id=group.rows[0].set_id,
        **more,
    )
