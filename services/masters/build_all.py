"""All masters that the catalogue's frames allow: biases, darks, then flats with their own darks.

One failing group never stops the others; a full disk or a stop by the user does.
"""

import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor
from functools import cached_property, partial
from pathlib import Path

from drivers.clock import Clock
from services import platform
from services.events.bus import Events
from services.files.disk import reported
from services.indexing.checksums import is_whole
from services.indexing.reading import cards_of
from services.masters.build import BuildContext
from services.masters.build_one import MasterBuilding, MasterOutcome
from services.masters.doubts import contradicted
from services.masters.gain import MeasuredGains
from services.masters.narration import Narration
from services.planning.group_names import GroupNames
from services.planning.master_plan import MasterPlan
from services.planning.master_settings import MasterSettings
from services.planning.outlook import PlannedMaster, planned_masters
from services.root import Place


def build_all(
    *,
    settings: MasterSettings,
    place: Place,
    events: Events,
    clock: Clock,
    wake: threading.Event | None = None,
    executor: Executor | None = None,
    sets: Collection[str] | None = None,
    quiet: bool = False,
    put_off: Collection[str] = (),
    ready: Callable[[], object] = lambda: None,
) -> tuple[MasterOutcome, ...]:
    """Build every master that is wanted, possible and does not exist yet; return an outcome for each, in that order.

    Parameters
    ----------
    settings : MasterSettings
    place : Place
        Files and catalogue; the catalogue gets the new masters' rows.
    events : Events
        Hears `master.started`, `master.built`, `master.refused` and `warning.raised`.
    clock : Clock
        Gives the time at which a master was built.
    wake : threading.Event, optional
        Ends the work between two bands when set.
    executor : Executor, optional
        Works on bands; by default `settings.workers` threads.
    sets : collection of str, optional
        Only groups of these sets.
    quiet : bool
        Report only what was built: refusals and warnings are left to the masters step, which sees every group.
    put_off : collection of str
        Codes of refusals that are not reported: the caller tries these groups once more.
    ready : callable
        Called before a master is built; returns when frames can be combined, raises when the run must end first.

    Raises
    ------
    StorageError, RunStopped
        The disk is full or cannot be written; `wake` was set.
    """
    platform.raise_open_file_limit()
    scratch = _scratch(place)
    try:
        plan = MasterPlan(settings, place, is_whole=is_whole)
        groups = plan.groups(sets)
        names = GroupNames(groups, gain=settings.name_gain, temperature=settings.name_temperature)
        narration = Narration(events, names=names, quiet=quiet, put_off=put_off)
        doubts = contradicted(groups)
        context = BuildContext(settings=settings, place=place, executor=executor, run_id=events.run_id, wake=wake)
        gains = MeasuredGains(plan, scratch)
        building = MasterBuilding(
            plan=plan, context=context, narration=narration, clock=clock, scratch=scratch, gains=gains, ready=ready
        )
        foresight = MasterPlan(settings, place, is_whole=is_whole)
        count = _Count(planned_masters(foresight, partial(cards_of, place.layout), sets=sets))
        return tuple(building.master(group, partial(count.begin, i), doubts.get(i)) for i, group in enumerate(groups))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Count:
    """Which of the masters that are built a new one is, and how many these are: no place in the list of all groups.

    They are not foreseen before the first is built.
    """

    def __init__(self, planned: Iterable[PlannedMaster]) -> None:
        self._planned = planned
        self._begun = 0

    def begin(self, place: int) -> tuple[int, int]:
        """Count the master of a group that is built now; return its number, and of how many."""
        self._begun += 1
        return self._begun, self._begun + sum(i > place for i in self._to_build)

    @cached_property
    def _to_build(self) -> list[int]:
        return [i for i, each in enumerate(self._planned) if each.is_built]


def _scratch(place: Place) -> Path:
    """Make a folder for frames that are unpacked."""
    with reported(place.layout.cache):
        place.disk.make_folder(place.layout.cache)
        return Path(tempfile.mkdtemp(prefix="unpacked-", dir=place.layout.cache))
