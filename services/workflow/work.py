"""What every step of a run works with, and what came of it so far."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from calibration.frames import GroupOutcome, GroupStatus
from calibration.plans.sequence import WantedSet
from drivers.base import Camera
from drivers.clock import Clock
from services.config.models import Config
from services.errors import RunCode
from services.events.bus import Events, Listener
from services.events.records import Waiting
from services.files.disk import REAL_DISK, Disk
from services.planning.campaign import Campaign, campaign_of
from services.planning.item import Item
from services.planning.request import RunOptions
from services.planning.wanted import State
from services.planning.wishes import Wish
from services.root import Place
from services.stopping import Stop
from services.workflow.compiling import LOADING_S, Loops
from services.workflow.warm_up import Need

if TYPE_CHECKING:
    from services.masters import MasterOutcome


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of the sets and masters of a run."""

    outcomes: list[tuple[WantedSet, GroupOutcome]] = field(default_factory=list)
    already: int = 0
    """Sets that were complete before the run."""
    met: set[str] = field(default_factory=set)
    """Ids of the sets that were taken or found complete."""
    last_set: str = ""
    """Id of the set that was begun or continued last."""
    progress: dict[tuple[object, ...], tuple[int, int]] = field(default_factory=dict)
    """Frames there and frames wanted of each set that is known of."""
    foreseen: tuple[tuple[State, WantedSet], ...] = ()
    """Sets that were known to be wanted before the first was taken, each with a state that wants it."""
    wishes: dict[Item, Wish] = field(default_factory=dict)
    """The same, each once, as the more demanding of several programmes wants it."""
    begun: set[tuple[object, ...]] = field(default_factory=set)
    """What identifies the sets that this run began to take, or to fill up."""
    too_late: set[tuple[object, ...]] = field(default_factory=set)
    """What identifies the sets of which no frame could be finished before the run was to end."""
    is_early: bool = False
    """Whether the run ended in time, before all was taken."""
    taken: int = 0
    """Frames kept by this run; counted when it has ended."""
    unused: dict[str, RunCode | None] = field(default_factory=dict)
    """Files that are not used and have been reported: why; None for frames of ours, which are taken again."""
    nothing: str = ""
    """Why there was nothing to do, in words, where the steps know it."""
    masters: tuple["MasterOutcome", ...] = ()
    """What became of all masters that were looked at."""
    masters_built: int = 0
    masters_failed: int = 0
    masters_suspect: int = 0
    models_fitted: int = 0
    files_failed: int = 0
    """Files that should have served, and could not."""
    left_unsafe: tuple[str, ...] = ()
    """What could not be left in a known state, in words."""

    @property
    def not_reached(self) -> int:
        """Sets known to be wanted that are incomplete and were not started."""
        begun = self.begun.union(identity(wanted) for wanted, _ in self.outcomes)
        return sum(have < wanted and key not in begun for key, (have, wanted) in self.progress.items())

    @property
    def cut_off(self) -> int:
        """Sets in the middle of which the run was ended."""
        return len(self.begun.difference(identity(wanted) for wanted, _ in self.outcomes))

    @property
    def failed(self) -> int:
        """Groups and masters that did not end complete; of a group tried again the last end counts."""
        last = {identity(wanted): outcome for wanted, outcome in self.outcomes}
        return sum(o.status is not GroupStatus.COMPLETE for o in last.values()) + self.masters_failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a run is given beside its configuration: see `services.workflow.job.Job`."""

    run_id: str
    options: RunOptions
    stop: Stop
    disk: Disk = REAL_DISK
    camera: Camera | None = None
    listeners: tuple[Listener, ...] = ()
    ask: Callable[[str], bool] | None = None
    beside: Callable[[Place], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every step of a run works with.

    Attributes
    ----------
    config : Config
    place : Place
        Where files are read and written.
    events : Events
    clock : Clock
    options : RunOptions
    stop : Stop
        Ends the run.
    loops : Loops
        The compiled loops, which may not be there yet.
    campaign : Campaign or None
        With `--fresh`: the runs whose sets count.
    ask : callable or None
        Shows a prompt and returns whether to go on; None: nothing is asked.
    tally : Tally
    """

    config: Config
    place: Place
    events: Events
    clock: Clock
    options: RunOptions
    stop: Stop
    loops: Loops
    campaign: Campaign | None = None
    ask: Callable[[str], bool] | None = None
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def of(cls, asked: Asked, *, config: Config, place: Place, events: Events, clock: Clock) -> Self:
        """Return what the steps of a run work with, as it was asked for."""
        options = asked.options
        fresh = options.fresh and any(step.takes_frames for step in options.steps)
        runs, now = place.catalogue.runs() if fresh else (), clock.now()
        return cls(
            config=config,
            place=place,
            events=events,
            clock=clock,
            options=options,
            stop=asked.stop,
            loops=Loops(),
            campaign=campaign_of(asked.run_id, runs, now=now, reuse=config.reuse) if fresh else None,
            ask=asked.ask,
        )

    def built(self) -> set[str]:
        """Return the paths of the masters that this run has built so far, below the root."""
        return {row.path for row in self.place.catalogue.masters(with_inputs=False) if row.run_id == self.events.run_id}

    def wait_for_loops(self, need: Need, check: Callable[[], object]) -> None:
        """Wait until frames can be measured, or masters combined, at once; `check` raises to end the wait."""

        def announce(wait_s: float, passed_s: float) -> None:
            why = f"the fast loops for {need} are compiled, once on this machine; in real time, also when rehearsing"
            if passed_s > LOADING_S:
                why = f"the fast loops for {need} are still being compiled, after {passed_s:.0f} s of real time"
            self.events.emit(Waiting(wait_s=wait_s, at_most=passed_s <= LOADING_S, detail=why))

        self.loops.wait(need, check, announce)


def identity(wanted: WantedSet) -> tuple[object, ...]:
    """Return what identifies a wanted set of a run."""
    return Item.of(wanted), wanted.exposure_us
