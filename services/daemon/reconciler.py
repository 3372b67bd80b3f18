"""What is taken next: the smallest piece that is useful now, by what is wanted, what is open, and what time there is.

Pure. What fewest windows take comes first, because the others can be had at other times; of that begun sets, then what
is missing and what is too old. What only ages is taken last, where a window has time to spare. One piece is of one
temperature. The simulated year drives exactly these functions.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from functools import lru_cache

from calibration.frames import FrameKind
from calibration.plans.sequence import Costs, WantedSet, estimate
from services.config.models import Config
from services.config.moments import zone
from services.config.serve import Kind, Serve
from services.daemon.parts import Begin, Nothing
from services.daemon.windows import OpenWindow, continued_until, served
from services.planning.wanted_master import Happens, Serves, WantedMaster
from services.words import celsius, length, some

SAME_TEMPERATURE_C = 0.5
"""A cooler that stands so near to a set-point need not be waited for."""
TAKEN_AS: dict[FrameKind, Kind] = {FrameKind.BIAS: "bias", FrameKind.DARK: "darks", FrameKind.FLAT: "flats"}
"""The word for each kind in `takes` of a window."""


class IdleReason(StrEnum):
    """Why the reconciler begins nothing."""

    NOTHING_DUE = "nothing_due"
    OUTSIDE_WINDOWS = "outside_windows"
    BACKING_OFF = "backing_off"


class Urgency(IntEnum):
    """In which order what is due is taken."""

    BEGUN = 0
    MISSING = 1
    STALE = 2
    AGEING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What frames cost in time, and the temperature at which the cooler stands (None: off, or unknown)."""

    costs: Costs
    stands_c: float | None = None

    def cooling_s(self, set_temp_c: float | None) -> float:
        """Return how long a set-point is waited for."""
        if set_temp_c is None:
            return 0.0
        is_there = self.stands_c is not None and abs(self.stands_c - set_temp_c) <= SAME_TEMPERATURE_C
        return 0.0 if is_there else self.costs.temperature_s

    def seconds(self, master: WantedMaster, frames: int | None = None) -> float:
        """Return how long frames of a wanted master take, without cooling; by default all that it lacks."""
        lacking = master.wanted.count - master.have if frames is None else frames
        return estimate([replace(master.wanted, count=lacking, set_temp_c=None)], self.costs).seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chance:
    """Something due that a window which is open now takes: until when, and how long it needs without cooling.

    `windows` is how many windows of the configuration take it, `open_in` the names of those that are open.
    """

    master: WantedMaster
    until: datetime
    whole_s: float
    least_s: float
    windows: int
    open_in: frozenset[str]

    @property
    def set_temp_c(self) -> float | None:
        """The set-point at which it is taken."""
        return self.master.wanted.set_temp_c

    @property
    def urgency(self) -> Urgency:
        """How soon it is to be taken."""
        if self.master.begun_at is not None:
            return Urgency.BEGUN
        if self.master.serves is Serves.NONE:
            return Urgency.MISSING
        return Urgency.AGEING if self.master.serves is Serves.AGEING else Urgency.STALE

    @property
    def rank(self) -> tuple[bool, int, Urgency]:
        """Before and after which others it is taken."""
        return self.urgency is Urgency.AGEING, self.windows, self.urgency

    def fits(self, left_s: float) -> bool:
        """Whether a frame at least ends in so much time; of what ages the whole set, for there is no hurry."""
        return (self.whole_s if self.urgency is Urgency.AGEING else self.least_s) <= left_s


def choose(
    masters: Iterable[WantedMaster],
    *,
    now: datetime,
    windows: Sequence[OpenWindow],
    pace: Pace,
    opens_next: datetime | None = None,
    windows_of: Callable[[WantedSet], int] = lambda _: 1,
) -> Begin | Nothing:
    """Return the piece that is begun now, or why nothing is.

    Parameters
    ----------
    masters : iterable of WantedMaster
        In the order of a run.
    now : datetime
    windows : sequence of OpenWindow
        Those that are open, and in which all is as they need it.
    pace : Pace
    opens_next : datetime, optional
        When the next window opens, as far as that is known.
    windows_of : callable, optional
        Returns how many windows of the configuration take a wanted set; see `windows_in`.
    """
    lacking = [each for each in masters if each.lacks_frames]
    if not lacking:
        return Nothing(reason=IdleReason.NOTHING_DUE, detail="nothing that is wanted is to be taken")
    open_for = {each.key: [window for window in windows if takes(window, each)] for each in lacking}
    ready = [each for each in lacking if _may_try(each, open_for[each.key])]
    chances = [_chance(each, open_for[each.key], pace, windows_of(each.wanted)) for each in ready if open_for[each.key]]
    useful = [each for each in chances if each.fits(_left_s(each.until, now, pace, each.set_temp_c))]
    if useful:
        return _piece(useful, now, pace)
    if not ready:
        return _backing_off(lacking)
    if chances:
        detail = f"{some(title(each.master) for each in chances)}: not of use before the window closes"
    else:
        detail = f"no open window takes {some(title(each) for each in ready)}"
    return Nothing(reason=IdleReason.OUTSIDE_WINDOWS, detail=detail, until=opens_next)


def takes(window: OpenWindow, master: WantedMaster) -> bool:
    """Whether a window takes a wanted master: flats of the sky only while the sun is as the window says."""
    is_sky = master.wanted.source == "sky"
    return TAKEN_AS[master.kind] in window.takes and (window.is_of_sun or not is_sky)


def title(master: WantedMaster) -> str:
    """Return a wanted master in words: "dark 300 s"."""
    wanted = master.wanted
    if master.kind is FrameKind.FLAT:
        return f"flat {wanted.filter}" if wanted.filter else "flat"
    return f"{master.kind.lower()} {(wanted.exposure_us or 0) / 1e6:g} s"


def _may_try(master: WantedMaster, windows: Iterable[OpenWindow]) -> bool:
    """Whether it is time to try again what failed: the next window is one that opened after that."""
    if master.happens is not Happens.FAILED:
        return True
    failed_at = master.failed_at
    return master.again_at is None and failed_at is not None and any(w.opens_at > failed_at for w in windows)


def _chance(master: WantedMaster, windows: Sequence[OpenWindow], pace: Pace, number: int) -> _Chance:
    return _Chance(
        master=master,
        until=max(window.closes_at for window in windows),
        whole_s=pace.seconds(master),
        least_s=pace.seconds(master, 1),
        windows=number,
        open_in=frozenset(window.name for window in windows),
    )


def _left_s(until: datetime, now: datetime, pace: Pace, set_temp_c: float | None) -> float:
    return (until - now).total_seconds() - pace.cooling_s(set_temp_c)


def _backing_off(waiting: Sequence[WantedMaster]) -> Nothing:
    """Return what failed, by its cause: that says when it is tried again, too."""
    first = min((each.again_at for each in waiting if each.again_at is not None), default=None)
    causes: dict[str, list[str]] = {}
    for each in waiting:
        causes.setdefault(each.happens_why, []).append(title(each))
    detail = "; ".join(f"{some(names)}: failed, {cause}" for cause, names in causes.items())
    return Nothing(reason=IdleReason.BACKING_OFF, detail=detail, until=first)


def _piece(chances: Sequence[_Chance], now: datetime, pace: Pace) -> Begin:
    """Return the most urgent of what is due at one temperature, as much of it as there is time for."""
    first = min(chances, key=lambda each: (each.rank, pace.cooling_s(each.set_temp_c)))
    at_once = [each for each in chances if each.set_temp_c == first.set_temp_c]
    alike = [each for each in at_once if each.rank == first.rank and each.until >= first.until]
    left_s = _left_s(first.until, now, pace, first.set_temp_c)
    taken = _fitting(alike, left_s)
    seconds = pace.cooling_s(first.set_temp_c) + min(sum(each.whole_s for each in taken), left_s)
    keys = tuple(each.master.key for each in taken)
    begun = [each.master.begun_at for each in taken if each.master.begun_at is not None]
    later = (each for each in at_once if each.master.key not in keys)
    return Begin(
        items=keys,
        until=first.until,
        holds_cooler=first.set_temp_c is not None
        and any(each.fits((each.until - now).total_seconds() - seconds) for each in later),
        anew=frozenset(each.master.key for each in taken if each.master.is_anew),
        resume_within_h=(first.until - min(begun)) / timedelta(hours=1) + 1.0 if begun else None,
        windows=frozenset[str]().union(*(each.open_in for each in taken)),
        set_temp_c=first.set_temp_c,
        seconds=seconds,
        detail=_words(taken, seconds),
    )


def _fitting(alike: Iterable[_Chance], left_s: float) -> list[_Chance]:
    """Return those that fit one after the other into the time that is left.

    The last may need more than that: its set is continued in the next window. What ages is taken whole.
    """
    taken: list[_Chance] = []
    for each in alike:
        if each.fits(left_s):
            taken.append(each)
            left_s -= each.whole_s
    return taken


def _words(taken: Sequence[_Chance], seconds: float) -> str:
    set_temp_c = taken[0].set_temp_c
    at = "" if set_temp_c is None else f" at {celsius(set_temp_c)}"
    return f"{some(title(each.master) for each in taken)}{at}, about {length(seconds)}"


def windows_in(serve: Serve) -> Callable[[WantedSet], int]:
    """Return what says how many windows take a wanted set: flats of the sky only those of the sun.

    Parameters
    ----------
    serve : Serve
        With the windows that hold (`services.daemon.windows.served`).
    """

    def number(wanted: WantedSet) -> int:
        is_sky = wanted.source == "sky"
        kind = TAKEN_AS[wanted.kind]
        return sum(kind in window.takes and (window.sun is not None or not is_sky) for window in serve.windows)

    return number


def by_order_only(serve: Serve) -> Callable[[WantedSet], str]:
    """Return what says in words why the schedule never takes a wanted set; "" where a window does.

    Parameters
    ----------
    serve : Serve
        With the windows that hold (`services.daemon.windows.served`).
    """
    windows_of = windows_in(serve)

    def obstacle(wanted: WantedSet) -> str:
        if windows_of(wanted):
            return ""
        what = "window of the sun" if wanted.source == "sky" else "window"
        return f"no {what} of `serve.windows` takes {TAKEN_AS[wanted.kind]}: by order only"

    return obstacle


def continued_in(config: Config) -> Callable[[datetime, WantedSet], datetime | None]:
    """Return what says until when a begun set is continued, by when it was begun: see `windows.continued_until`.

    Windows in which not one of its frames would end, cooling included, do not count.
    """
    serve, timezone = served(config), zone(config.serve.timezone)
    cooling_s = Costs(frame_bytes=0).temperature_s

    @lru_cache(maxsize=1024)
    def until(began: datetime, kind: Kind, least: timedelta) -> datetime | None:
        return continued_until(began, kind, serve, config.site, timezone, least=least)

    def of(began: datetime, wanted: WantedSet) -> datetime | None:
        exposure_s = (wanted.exposure_us or 0) / 1e6
        least_s = exposure_s if wanted.set_temp_c is None else exposure_s + cooling_s
        return until(began, TAKEN_AS[wanted.kind], timedelta(seconds=least_s))

    return of
