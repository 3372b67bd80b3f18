"""Upkeep of a library: which masters its programmes want, what serves of each, and what happens to it.

The comparison is the one that a run makes (`look`, `having`), asked of the catalogue alone. A master serves while the
oldest of its frames is younger than its programme allows. A wanted master that two programmes want is one, with the
smaller age and the larger number of frames.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache

from calibration.frames import FrameKind
from calibration.grouping import DEFAULT_TOLERANCES
from calibration.plans.sequence import Costs, Estimate, WantedSet
from services.catalogue.history import SENSOR_C
from services.catalogue.masters import Spent
from services.catalogue.rows import FactRow, MasterRow, MasterStatus, SetRow
from services.config.models import Config, LoadedConfig
from services.planning.having import NOTHING, Requirement, Standing, having, requirement_of
from services.planning.item import item_key
from services.planning.look import Look
from services.planning.pace import pace_of
from services.planning.request import RunOptions, Step
from services.planning.room import PlannedSet, Sizes, costs_of, needed
from services.planning.wanted_master import Failure, Happens, Plan, Serves, WantedMaster, comes_as_it_is
from services.planning.wishes import Wish, joined
from services.root import Place
from services.words import both_clocks, count

ContinuedUntil = Callable[[datetime, WantedSet], datetime | None]
Obstacle = Callable[[WantedSet], str]
_ANY_HOURS = 24.0 * 366
CAPTURE = RunOptions(steps=(Step.FLATS, Step.DARKS))


def plan_of(
    loaded: LoadedConfig,
    place: Place,
    *,
    now: datetime,
    failures: Mapping[str, Failure] | None = None,
    continued_until: ContinuedUntil | None = None,
    by_order_only: Obstacle = lambda _wanted: "",
    look: Look | None = None,
) -> Plan:
    """Compare what programmes want with what the catalogue has.

    Parameters
    ----------
    loaded : LoadedConfig
        With the programmes that are meant.
    place : Place
        Its catalogue is read.
    now : datetime
    failures : mapping, optional
        By key.
    continued_until : callable, optional
        Says, of when a set was begun and of what is wanted, until when it is continued (None: not any more) where
        neither its programme nor the file does; by default what `reuse` says.
    by_order_only : callable, optional
        Says in words why frames are never taken by the schedule; "" where they are.
    look : Look, optional
        The look into the catalogue, for whoever has one.

    Raises
    ------
    StorageError
    """
    look = look or Look(loaded, place.catalogue, CAPTURE, now=now)
    compared = _Comparison(
        rows=place.catalogue.masters(with_inputs=False),
        sets=look.serving,
        spent=look.spent,
        now=now,
        ageing_at=loaded.config.serve.ageing_at,
        failures=failures or {},
        continued_until=continued_until,
        obstacle=look.obstacle,
        by_order_only=by_order_only,
        sensor=look.sensor,
    )
    found = (compared.of(wish) for wish in joined(look.wanted_sets()).values())
    costs = pace_of(place.catalogue, costs_of(Sizes(pixels=look.frame_pixels or 0)), now=now)
    masters = tuple(replace(each, cost=cost_of((each,), costs, loaded.config, cooling=False)) for each in found)
    return Plan(
        at=now,
        masters=masters,
        cost=cost_of(masters, costs, loaded.config),
        costs=costs,
        fingerprint=_fingerprint(masters, loaded.config),
        filters_known=look.knows_filters,
        frame_pixels=look.frame_pixels,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """What is compared at one moment: see `plan_of`; `ageing_at` is the share of the age at which a set is renewed.

    Biases and darks of a sensor that nothing cools are wanted of the temperature that it has (`sensor`); where nobody
    has read that for some time, they are due, because only a run can read it and see what is there of it.
    """

    rows: Sequence[MasterRow]
    sets: Sequence[SetRow]
    spent: Spent
    now: datetime
    ageing_at: float
    failures: Mapping[str, Failure]
    continued_until: ContinuedUntil | None
    obstacle: Callable[[Wish], str]
    by_order_only: Obstacle
    sensor: FactRow | None

    def of(self, wish: Wish) -> WantedMaster:
        """Return a wanted master with what serves of it and what happens to it."""
        required = self._required(wish)
        fits = cache(required.fits)  # of thousands of masters few keys differ
        like = [row for row in self.rows if row.kind is wish.wanted.kind and fits(row.key) and _as_warm(required, row)]
        found = self._happening(self._serving(wish, like), wish, required, like)
        if found.as_it_comes and self.sensor is None and found.happens is Happens.NOTHING and not found.to_build:
            found = replace(found, happens=Happens.DUE, happens_why=_NOT_READ)
        obstacle, by_order_only = self.obstacle(wish), self.by_order_only(wish.wanted)
        if found.is_due and (why := obstacle or by_order_only):
            return replace(found, happens=Happens.BLOCKED, happens_why=why, by_order_only=not obstacle)
        failure = self.failures.get(found.key)
        if not found.is_due or failure is None or failure.is_over(self.now):
            return found
        at = failure.again_at
        again = "in the next window" if at is None else f"at {both_clocks(at, '%Y-%m-%d %H:%M')}"
        why = f"{failure.detail or failure.code}; it is tried again {again}"
        return replace(found, happens=Happens.FAILED, happens_why=why, failed_at=failure.at, again_at=at)

    def _required(self, wish: Wish) -> Requirement:
        required = requirement_of(wish.config, wish.wanted)
        if not comes_as_it_is(wish.wanted) or self.sensor is None or self.sensor.name != SENSOR_C:
            return required
        return replace(required, ccd_temp_c=self.sensor.value)

    def _serving(self, wish: Wish, like: Sequence[MasterRow]) -> WantedMaster:
        """Return what serves, of the masters that are what is wanted, whatever they are good for."""
        base = WantedMaster(
            key=item_key(wish.wanted),
            wanted=wish.wanted,
            max_age_days=wish.age / timedelta(days=1),
            programmes=wish.programmes,
        )
        valid = [row for row in like if _is_valid(row, self.now)]
        best = max(valid, key=lambda row: (row.valid_from or row.built_at, row.built_at), default=None)
        if best is None:
            return replace(base, serves_why=self._why_none(like))
        oldest = _oldest(best, self.sets)
        ageing_at, stale_at = oldest + self.ageing_at * wish.age, oldest + wish.age
        serves = Serves.STALE if self.now >= stale_at else Serves.AGEING if self.now >= ageing_at else Serves.FRESH
        allowed = f"only {_days(wish.age)} are allowed" if serves is Serves.STALE else f"{_days(wish.age)} are allowed"
        return replace(
            base,
            serves=serves,
            serves_why=f"its oldest frame is {count(max(0, (self.now - oldest).days), 'day')} old, {allowed}",
            master=best.path,
            oldest=oldest,
            ageing_at=ageing_at,
            stale_at=stale_at,
        )

    def _why_none(self, like: Sequence[MasterRow]) -> str:
        """Return why nothing serves: none was ever made, or those there are have ended, are suspect or rejected."""
        last = max(like, key=lambda row: row.built_at, default=None)
        if last is None:
            return "there is no master yet"
        if last.status in _WHY:
            return f"the last one {_WHY[last.status]}{f': {last.detail}' if last.detail else ''}"
        if last.valid_until is not None and last.valid_until <= self.now:
            return f"the last one was valid until {both_clocks(last.valid_until, '%Y-%m-%d %H:%M')}"
        return f"the last one is {last.status}"

    def _happening(
        self, master: WantedMaster, wish: Wish, required: Requirement, like: Sequence[MasterRow]
    ) -> WantedMaster:
        fits = cache(required.fits)
        of_kind = [each for each in self.sets if each.key.kind is master.kind and fits(each.key)]
        reuse, ends = wish.reuse, self.continued_until
        if ends is not None and "resume_within_hours" not in reuse.model_fields_set:
            reuse = reuse.model_copy(update={"resume_within_hours": _ANY_HOURS})
            count_of = wish.wanted.count
            of_kind = [s for s in of_kind if s.count + s.rejected >= count_of or self._goes_on(s, wish.wanted, ends)]
        of_kind = [s for s in of_kind if s.count >= wish.wanted.count or not self.spent.holds(s)]  # none is continued
        there = having(required, wish.wanted.count, of_kind, now=self.now, reuse=reuse)
        if there.row is None:
            is_small = master.serves in {Serves.FRESH, Serves.AGEING}
            why = "what serves was made of fewer frames, or others" if is_small else master.serves_why
            return replace(master, happens=Happens.DUE, happens_why=there.why or why)
        if there.standing is not Standing.COMPLETE:
            return _partial(master, there.row, wish.wanted.count)
        found = self._complete(master, like, there.row)
        if not found.is_anew:
            return found
        begun = [each for each in of_kind if each.count < wish.wanted.count]  # the new set, if it was begun already
        newer = having(required, wish.wanted.count, begun, now=self.now, reuse=reuse)
        return found if newer.row is None else _partial(found, newer.row, wish.wanted.count)

    def _goes_on(self, row: SetRow, wanted: WantedSet, ends: ContinuedUntil) -> bool:
        end = None if row.oldest is None else ends(row.oldest, wanted)
        return end is not None and self.now < end

    def _complete(self, master: WantedMaster, like: Sequence[MasterRow], row: SetRow) -> WantedMaster:
        """Return what happens to a wanted master of which all frames are there."""
        found = replace(master, set_id=row.set_id)
        is_newer = row.oldest is not None and (master.oldest is None or row.oldest > master.oldest + _SAME)
        if not is_newer and master.serves is not Serves.AGEING:
            return found
        anew = replace(master, happens=Happens.DUE, is_anew=True)
        if not is_newer:
            return replace(anew, happens_why="it is renewed before it is too old")
        last = max((each for each in like if _is_of(each, row)), key=lambda each: each.built_at, default=None)
        if last is None or last.base is MasterStatus.PARTIAL or _is_spoilt(last):
            return replace(found, to_build=True, happens_why="its frames are there, its master is to be built")
        if last.status is MasterStatus.BAD or _is_over(last, self.now):
            return replace(anew, happens_why=f"{last.path}: {last.detail}")
        why = f"{last.path} does not serve ({last.detail or last.status}): certify or reject it"
        return replace(found, happens=Happens.SUSPECT, happens_why=why)


_SAME = timedelta(seconds=1)
"""Moments of one frame, as header and catalogue have it."""
_NOT_READ = "a run is to read how warm the sensor is, and to take what is missing at that temperature"
_WHY = {MasterStatus.SUSPECT: "is suspect", MasterStatus.BAD: "was rejected"}


def _partial(master: WantedMaster, row: SetRow, wanted: int) -> WantedMaster:
    """Return a wanted master of which a set was begun, and is continued."""
    return replace(
        master,
        happens=Happens.PARTIAL,
        happens_why=f"{row.count} of {count(wanted, 'frame')} are there",
        have=row.count,
        set_id=row.set_id,
        begun_at=row.oldest,
    )


def _is_valid(row: MasterRow, now: datetime) -> bool:
    return row.may_serve and row.holds_at(now)


def _is_spoilt(row: MasterRow) -> bool:
    """Whether a master is suspect for a rejected frame alone: it is built again of the others."""
    return row.status is MasterStatus.SUSPECT and row.stood_as is not None


def _is_over(row: MasterRow, now: datetime) -> bool:
    """Whether a master has served and does so no more: nothing newer is there, so it was invalidated."""
    return row.valid_until is not None and row.valid_from != row.valid_until and row.valid_until <= now


def _is_of(master: MasterRow, row: SetRow) -> bool:
    """Whether a master is that of a set: it is valid from its first frame on, a flat from the noon before."""
    if master.valid_from is None or row.oldest is None:
        return False
    if master.kind is FrameKind.FLAT:
        return master.night == row.night and row.oldest - master.valid_from + _SAME >= timedelta()
    return abs(row.oldest - master.valid_from) <= _SAME


def _as_warm(required: Requirement, row: MasterRow) -> bool:
    """Whether a master is of the temperature at which the sensor is, where no set-point is wanted."""
    wanted_c, found_c = required.ccd_temp_c, row.key.temperature_c
    return wanted_c is None or found_c is None or abs(found_c - wanted_c) <= DEFAULT_TOLERANCES.cluster_c


def _oldest(row: MasterRow, sets: Iterable[SetRow]) -> datetime:
    """Return when the oldest frame of a master was taken: a flat is valid from the noon before its night."""
    first = row.valid_from or row.built_at
    if row.kind is not FrameKind.FLAT:
        return first
    of_night = (each for each in sets if each.key.kind is FrameKind.FLAT and each.night == row.night)
    taken = [each.oldest for each in of_night if each.filter == row.key.filter and each.oldest is not None]
    return max((at for at in taken if at >= first), default=first)


def cost_of(masters: Iterable[WantedMaster], costs: Costs, config: Config, *, cooling: bool = True) -> Estimate:
    """Return what it costs to take what some masters lack, in their order; with one cooling for each temperature.

    Parameters
    ----------
    masters : iterable of WantedMaster
    costs : Costs
    config : Config
    cooling : bool
        Whether the time for cooling counts.
    """
    left = [replace(each.wanted, count=each.wanted.count - each.have) for each in masters if each.lacks_frames]
    left = left if cooling else [replace(each, set_temp_c=None) for each in left]
    return needed([PlannedSet(wanted=each, there=NOTHING) for each in left], None, config, costs)


def _fingerprint(masters: Sequence[WantedMaster], config: Config) -> str:
    """Return a hash of what is wanted and due, and of how it would be taken; minutes that pass change nothing."""
    parts = [(each.key, each.wanted.count, each.max_age_days, str(each.happens), each.have) for each in masters]
    taken_with = config.model_dump_json(exclude={"serve"})
    return hashlib.sha256(f"{sorted(parts)!r}{taken_with}".encode()).hexdigest()[:12]


def _days(age: timedelta) -> str:
    days = age / timedelta(days=1)
    return f"{days:g} days" if days != 1 else "1 day"
