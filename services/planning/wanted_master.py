"""A wanted master of a programme: what serves of it, and what happens to it; and the plan, which is all of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from calibration.frames import FrameKind
from calibration.plans.sequence import Costs, Estimate, WantedSet

_NOTHING = Estimate(frames=0, seconds=0.0, bytes=0)


class Serves(StrEnum):
    """What serves of a wanted master."""

    FRESH = "fresh"
    AGEING = "ageing"
    STALE = "stale"
    NONE = "none"


class Happens(StrEnum):
    """What happens to a wanted master."""

    NOTHING = "nothing"
    DUE = "due"
    PARTIAL = "partial"
    FAILED = "failed"
    SUSPECT = "suspect"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """That a wanted master could not be had.

    Attributes
    ----------
    code, detail : str
        Why.
    tries : int
        How often in a row.
    at : datetime or None
        When it failed last.
    again_at : datetime or None
        When it is tried again; None: in the next window that opens after `at`.
    """

    code: str
    detail: str = ""
    tries: int = 1
    at: datetime | None = None
    again_at: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        """Whether the time to wait has passed. One of the future was recorded by a clock that was wrong."""
        if self.at is not None and self.at > now:
            return True
        return self.again_at is not None and now >= self.again_at


def comes_as_it_is(wanted: WantedSet) -> bool:
    """Return whether a set is taken at whatever temperature the sensor has: biases and darks without a set-point."""
    return wanted.kind is not FrameKind.FLAT and wanted.set_temp_c is None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedMaster:
    """One wanted master, what serves of it, and what happens to it.

    Attributes
    ----------
    key : str
        `services.planning.item`.
    wanted : WantedSet
        Its frames.
    max_age_days : float
        Of its oldest frame.
    programmes : tuple of str
        Who wants it.
    serves, serves_why
        With the reason in words.
    master : str or None
        Path of the master that serves, below the root.
    oldest, ageing_at, stale_at : datetime or None
        The oldest frame of what serves; from when on it is taken early; from when on it serves no more.
    happens, happens_why
        With the reason in words.
    have : int
        Frames that the set to be taken has already.
    set_id : str or None
        The set that is complete, or continued.
    begun_at : datetime or None
        When a set that is continued was begun.
    failed_at : datetime or None
        When it failed last, if it is to be tried again later.
    again_at : datetime or None
        When it is tried again; None after a failure: in the next window.
    is_anew : bool
        A new set is due although there is a complete one that is young enough.
    by_order_only : bool
        It would be due, but nothing takes it by itself.
    to_build : bool
        Its frames are there, and no master is made of them yet.
    cost : Estimate
        Of the frames to take; without cooling.
    """

    key: str
    wanted: WantedSet
    max_age_days: float
    programmes: tuple[str, ...]
    serves: Serves = Serves.NONE
    serves_why: str = ""
    master: str | None = None
    oldest: datetime | None = None
    ageing_at: datetime | None = None
    stale_at: datetime | None = None
    happens: Happens = Happens.NOTHING
    happens_why: str = ""
    have: int = 0
    set_id: str | None = None
    begun_at: datetime | None = None
    failed_at: datetime | None = None
    again_at: datetime | None = None
    is_anew: bool = False
    by_order_only: bool = False
    to_build: bool = False
    cost: Estimate = _NOTHING

    @property
    def kind(self) -> FrameKind:
        """What it is a master of."""
        return self.wanted.kind

    @property
    def as_it_comes(self) -> bool:
        """Whether it is wanted of whatever temperature the sensor has, which only a run can read."""
        return comes_as_it_is(self.wanted)

    @property
    def is_due(self) -> bool:
        """Whether frames are to be taken for it, as far as nothing else stands in the way."""
        return self.happens in {Happens.DUE, Happens.PARTIAL}

    @property
    def lacks_frames(self) -> bool:
        """Whether it is due, or will be when it is tried again."""
        return self.is_due or self.happens is Happens.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All wanted masters at one moment, and what taking those that lack frames costs, cooling included.

    `costs` are those of single frames, as this camera has shown them.
    `fingerprint` changes when something else is wanted or due, not while time passes.
    """

    at: datetime
    masters: tuple[WantedMaster, ...]
    cost: Estimate
    costs: Costs
    fingerprint: str
    filters_known: bool = True
    frame_pixels: int | None = None

    @property
    def due(self) -> tuple[WantedMaster, ...]:
        """Those whose frames are to be taken."""
        return tuple(each for each in self.masters if each.is_due)

    def count(self, serves: Serves) -> int:
        """Return of how many masters so much serves."""
        return sum(each.serves is serves for each in self.masters)
