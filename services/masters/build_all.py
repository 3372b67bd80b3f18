"""All masters that the catalogue's frames allow: biases, darks, then flats with their own darks.

One failing group never stops the others; a full disk or a stop by the user does.
"""

import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from calibration.combine.recipe import Method
from calibration.errors import CalibrationError, GroupCode
from calibration.frames import FrameKind
from drivers.clock import Clock
from services import platform
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import USABLE, Flag, MasterRow, MasterStatus
from services.errors import RunCode, RunStopped, StorageError
from services.events.bus import EventName, Events
from services.files.disk import REAL_DISK, Disk, reported
from services.files.layout import Layout
from services.indexing.integrity import is_whole
from services.indexing.sidecar import restate_sidecar
from services.masters.build import Bench, build
from services.masters.darks import FlatDark
from services.masters.groups import MasterGroup, as_dark, master_groups
from services.masters.prepare import Refused, Surroundings, foreseen_darks, foreseen_method, prepare
from services.masters.settings import MasterOutcome, MasterSettings, Outcome

_FATAL = {RunCode.DISK_FULL, RunCode.WRITE_FAILED}
"""Storage errors after which no other master could be written either."""


def build_all(
    *,
    settings: MasterSettings,
    layout: Layout,
    catalogue: Catalogue,
    events: Events,
    clock: Clock,
    disk: Disk = REAL_DISK,
    wake: threading.Event | None = None,
    executor: Executor | None = None,
    sets: Collection[str] | None = None,
    quiet: bool = False,
) -> tuple[MasterOutcome, ...]:
    """Build every master that is wanted, possible and not there yet.

    Parameters
    ----------
    settings, layout
        What is wanted, and where files are.
    catalogue : Catalogue
        What frames and masters there are; gets the new masters' rows.
    events : Events
        Hears `master.built`, `master.refused` and `warning.raised`.
    clock, disk
        Give the stamps, and where to write.
    wake : threading.Event, optional
        Ends the work between two bands when set.
    executor : Executor, optional
        Works on bands; by default `settings.workers` threads.
    sets : collection of str, optional
        Only groups of these sets.
    quiet : bool
        Tell only what was built: refusals and warnings are left to the one who looks at everything at the end.

    Returns
    -------
    tuple of MasterOutcome
        One a group and product, in the order in which they were built.

    Raises
    ------
    StorageError
        The disk is full or cannot be written.
    RunStopped
        `wake` was set.
    """
    platform.raise_open_file_limit()
    with reported(layout.cache):
        disk.make_folder(layout.cache)
        scratch = Path(tempfile.mkdtemp(prefix="unpacked-", dir=layout.cache))
    try:
        with _workers(settings, executor) as workers:
            bench = Bench(
                settings=settings, layout=layout, disk=disk, executor=workers, run_id=events.run_id, wake=wake
            )
            step = _Step(bench=bench, catalogue=catalogue, events=events, clock=clock, scratch=scratch, quiet=quiet)
            groups = [g for g in _groups(settings, catalogue) if sets is None or g.rows[0].set_id in sets]
            return tuple(step.master(group, (i, len(groups))) for i, group in enumerate(groups, 1))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def foresee_all(
    *, settings: MasterSettings, layout: Layout, catalogue: Catalogue, clock: Clock
) -> tuple[MasterOutcome, ...]:
    """Return what `build_all` would do as far as the catalogue alone can tell: `kept`, or `built` of enough frames.

    Nothing is written, no frame is opened; frames that turn out bad may still leave too few.
    """
    bench = Bench(settings=settings, layout=layout, disk=REAL_DISK, executor=ThreadPoolExecutor(1), run_id="")
    events = Events(run_id="", clock=clock)
    step = _Step(bench=bench, catalogue=catalogue, events=events, clock=clock, scratch=layout.cache, quiet=True)
    return tuple(
        _outcome(group, Outcome.BUILT if step.foreseen(group) is None else Outcome.KEPT)
        for group in _groups(settings, catalogue)
        if len(group.rows) >= settings.least(group.product, group.key.source)
    )


def _workers(settings: MasterSettings, executor: Executor | None) -> AbstractContextManager[Executor]:
    """Return the caller's executor, which stays open, or threads of our own."""
    if executor is not None:
        return nullcontext(executor)
    return ThreadPoolExecutor(settings.workers, thread_name_prefix="nightcal-bands")


def _groups(settings: MasterSettings, catalogue: Catalogue) -> Iterator[MasterGroup]:
    """Yield what is to be built; flats last, when the darks are in the catalogue."""
    biases = master_groups(catalogue, FrameKind.BIAS)
    if settings.bias:
        yield from biases
    if settings.darks:
        yield from (as_dark(group) for group in biases if group.key.exposure_us)
        yield from master_groups(catalogue, FrameKind.DARK)
    if settings.flats:
        yield from master_groups(catalogue, FrameKind.FLAT)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """Everything the building of one master after the other needs."""

    bench: Bench
    catalogue: Catalogue
    events: Events
    clock: Clock
    scratch: Path
    quiet: bool = False

    def master(self, group: MasterGroup, place: tuple[int, int]) -> MasterOutcome:
        """Build one master, or say why not; `place`: the how manieth of how many it is."""
        try:
            return self._build(group, place)
        except Refused as refused:
            return self._refuse(group, refused.code, refused.detail)
        except CalibrationError as error:
            return self._refuse(group, GroupCode.NO_FRAMES, str(error))
        except StorageError as error:
            if error.code in _FATAL:
                raise
            return self._refuse(group, error.code, error.detail)
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)  # unpacked frames of one group may be gigabytes

    def _build(self, group: MasterGroup, place: tuple[int, int]) -> MasterOutcome:
        if self.bench.wake is not None and self.bench.wake.is_set():
            raise RunStopped("stopped before all masters were built")
        known = self.foreseen(group)
        if known is not None:
            return _outcome(group, Outcome.KEPT, path=self.bench.layout.absolute(known.path))
        prepared = prepare(group, self._surroundings())
        method = prepared.stack.recipe.method_for(len(prepared.stack.frames))
        recipe = self._recipe(prepared.group, prepared.darks, method)
        there = self._there(recipe)
        if there is not None:
            return _outcome(prepared.group, Outcome.KEPT, path=self.bench.layout.absolute(there.path))
        status = self._status(prepared.group)
        better = self._more_complete(prepared.group) if status is MasterStatus.PARTIAL else None
        if better is not None:
            return _outcome(prepared.group, Outcome.KEPT, path=self.bench.layout.absolute(better.path))
        if not self.quiet:
            self._tell_started(prepared.group, place)
        row = build(prepared, recipe=recipe, status=status, built_at=self.clock.now(), bench=self.bench)
        self.catalogue.add_master(row)
        self._supersede(row)
        self.events.emit(EventName.MASTER_BUILT, **_told(row))
        outcome = Outcome.PARTIAL if status is MasterStatus.PARTIAL else Outcome.BUILT
        return _outcome(prepared.group, outcome, path=self.bench.layout.absolute(row.path))

    def _surroundings(self) -> Surroundings:
        def warn(code: str, detail: str) -> None:
            if self.quiet:
                return
            self.events.emit(EventName.WARNING_RAISED, code=code, detail=detail)

        return Surroundings(
            settings=self.bench.settings,
            layout=self.bench.layout,
            catalogue=self.catalogue,
            scratch=self.scratch,
            warn=warn,
        )

    def foreseen(self, group: MasterGroup) -> MasterRow | None:
        """Return the master that is there already, where the catalogue alone can tell: no frame is opened, or unpacked.

        What rejects outliers among few frames depends on whether their gain is known; the levels of others' flats are
        known from their pixels only.
        """
        darks = foreseen_darks(group, self._surroundings())
        method = foreseen_method(group, self._surroundings())
        return None if darks is None else self._there(self._recipe(group, darks, method))

    def _recipe(self, group: MasterGroup, darks: Sequence[FlatDark], method: Method) -> str:
        """Return the recipe's hash: inputs, settings, what rejects, and the darks' own recipes.

        The numbers of the noise model are no part of it: the gain is measured anew in each night, and a master is not
        to be built anew for that.
        """
        parts = self.bench.settings.recipe_parts(group.product)
        parts["darks"] = sorted(f"{dark.how} {dark.master.recipe}" for dark in darks)
        parts["rejection"] = str(method)
        return group.recipe(parts)

    def _there(self, recipe: str) -> MasterRow | None:
        """Return the master of this recipe if its file is still there and whole, else one that was marked bad.

        That word stands: the same frames and settings would only give the same master again.
        """
        rows = self.catalogue.masters(recipe=recipe)
        usable = [row for row in rows if row.status in USABLE and self._serves(row)]
        bad = [row for row in rows if row.status is MasterStatus.BAD]
        return next(iter(usable + bad), None)

    def _serves(self, row: MasterRow) -> bool:
        """Whether a master's file is whole, and its planes are there where they are wanted; a certified one stays."""
        path = self.bench.layout.absolute(row.path)
        planes = row.status is MasterStatus.CERTIFIED or self.bench.layout.planes_path(path).exists()
        return is_whole(row, path) and (planes or not self.bench.settings.save_planes)

    def _more_complete(self, group: MasterGroup) -> MasterRow | None:
        """Return a complete master of these frames and others: frames that were lost since do not make it worse.

        Frames that were marked bad do.
        """
        inputs = {row.pixel_sha256 for row in group.rows}
        bad = {row.pixel_sha256 for row in self.catalogue.frames(flag=Flag.BAD)}
        for row in self.catalogue.masters(kind=group.product):
            more = row.key == group.key and inputs < set(row.inputs) and not bad & set(row.inputs)
            complete = row.status in USABLE and row.status is not MasterStatus.PARTIAL
            if more and complete and is_whole(row, self.bench.layout.absolute(row.path)):
                return row
        return None

    def _status(self, group: MasterGroup) -> MasterStatus:
        """Return `partial` for a set of ours that is not complete; a foreign set is what it is."""
        wanted = self.bench.settings.wanted(group.product)
        return MasterStatus.PARTIAL if group.own and len(group.rows) < wanted else MasterStatus.BUILT

    def _supersede(self, new: MasterRow) -> None:
        """Mark masters made of part of the same frames: the new one replaces them."""
        inputs = set(new.inputs)
        for old in self.catalogue.masters(kind=new.kind):
            replaced = old.path != new.path and old.key == new.key and set(old.inputs) <= inputs
            if replaced and old.status in {MasterStatus.BUILT, MasterStatus.PARTIAL}:
                self.catalogue.set_master_status(old.path, MasterStatus.SUPERSEDED)
                stated = replace(old, status=MasterStatus.SUPERSEDED)
                restate_sidecar(self.bench.layout, stated, disk=self.bench.disk)

    def _tell_started(self, group: MasterGroup, place: tuple[int, int]) -> None:
        number, of = place
        self.events.emit(
            EventName.MASTER_STARTED,
            kind=str(group.product),
            filter=group.key.filter,
            exposure_us=group.exposure_us,
            n=len(group.rows),
            number=number,
            of=of,
        )

    def _refuse(self, group: MasterGroup, code: str, detail: str) -> MasterOutcome:
        if not self.quiet:
            self._tell_refused(group, code, detail)
        return _outcome(group, Outcome.REFUSED, code=str(code), detail=detail)

    def _tell_refused(self, group: MasterGroup, code: str, detail: str) -> None:
        cameras = {row.camera for row in self.catalogue.frames()}
        if len(cameras) > 1:  # else it would seem to be about the camera that is there
            detail = f"{detail} (frames of {group.key.camera})"
        self.events.emit(
            EventName.MASTER_REFUSED,
            kind=str(group.product),
            filter=group.key.filter,
            exposure_us=group.exposure_us,
            code=str(code),
            detail=detail,
        )


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


def _told(row: MasterRow) -> dict[str, Any]:
    """Return the data of `master.built`."""
    return {
        "path": row.path,
        "kind": str(row.kind),
        "exposure_us": row.exposure_us,
        "filter": row.key.filter,
        "gain": row.key.gain,
        "n": row.n,
        "rejected": row.rejected,
        "status": str(row.status),
        "statistics": dict(row.statistics),
        "note": row.statistics.get("note", ""),
    }
