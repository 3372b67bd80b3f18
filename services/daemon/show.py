"""What the board shows: the state of loop and mind, put together anew after every message."""

from datetime import datetime

from drivers.clock import Clock
from services.config.moments import zone
from services.daemon.board import ClockNow, ModeNow, PlanNow, Reading, Seen, Warned, WindowNow
from services.daemon.loop import Loop
from services.daemon.mind import Mind
from services.daemon.windows import next_openings, served
from services.planning.wanted_master import Happens, Plan, Serves
from services.version import version


class Showing:
    """Makes the board anew; called by the thread of the loop.

    Parameters
    ----------
    mind : Mind
    clock : Clock
    simulated : bool
        Whether the clock is that of a simulated observatory.
    """

    def __init__(self, mind: Mind, clock: Clock, *, simulated: bool) -> None:
        self._mind = mind
        self._clock = clock
        self._simulated = simulated
        self._began_s = clock.real()
        self._since: dict[tuple[str, str], datetime] = {}
        self._opening: tuple[datetime, tuple[WindowNow, ...]] | None = None

    def first(self) -> Seen:
        """Return what is shown before the loop has begun."""
        now = self._clock.now()
        return Seen(at=now, version=version(), root=str(self._mind.loaded.root), clock=self._clock_now(now))

    def seen(self, loop: Loop, *, devices: dict[str, Reading], problems: dict[str, str]) -> Seen:
        """Return what is shown now.

        Parameters
        ----------
        loop : Loop
        devices : dict
            Readings of the conditions, by name.
        problems : dict
            What is wrong with the daemon itself, by code, in words.
        """
        now, present = self._clock.now(), loop.present
        return Seen(
            at=now,
            version=version(),
            root=str(self._mind.loaded.root),
            uptime_s=self._clock.real() - self._began_s,
            clock=self._clock_now(now),
            mode=ModeNow.of(present.state.hold),
            activity=present.activity,
            run=loop.run_now,
            last_run=present.state.last_run,
            devices=devices,
            windows=self._windows(now),
            plan=PlanNow() if self._mind.plan is None else plan_now(self._mind.plan),
            warnings=self._warnings(now, problems),
        )

    def _clock_now(self, now: datetime) -> ClockNow:
        return ClockNow(utc=now, rate=float(getattr(self._clock, "rate", 1.0)), simulated=self._simulated)

    def _windows(self, now: datetime) -> tuple[WindowNow, ...]:
        """Return the windows; those that are closed are asked for their opening only once a minute."""
        opened = tuple(
            WindowNow(name=w.name, open=True, opens_at=w.opens_at, closes_at=w.closes_at, takes=w.takes)
            for w in self._mind.windows
        )
        if self._opening is None or not 0 <= (now - self._opening[0]).total_seconds() < 60:
            config = self._mind.loaded.config
            coming = next_openings(now, served(config), config.site, zone(config.serve.timezone))
            closed = tuple(
                WindowNow(name=w.name, open=False, opens_at=w.opens_at, closes_at=w.closes_at, takes=w.takes)
                for w in coming
            )
            self._opening = now, closed
        names = {window.name for window in opened}
        return (*opened, *(window for window in self._opening[1] if window.name not in names))

    def _warnings(self, now: datetime, problems: dict[str, str]) -> tuple[Warned, ...]:
        found = {(code, detail) for code, detail in problems.items() if detail}
        self._since = {key: self._since.get(key, now) for key in sorted(found)}
        return tuple(Warned(code=code, detail=detail, since=at) for (code, detail), at in self._since.items())


def plan_now(plan: Plan) -> PlanNow:
    """Return a plan in numbers."""
    by = {happens: tuple(each.key for each in plan.masters if each.happens is happens) for happens in Happens}
    return PlanNow(
        fingerprint=plan.fingerprint,
        at=plan.at,
        fresh=plan.count(Serves.FRESH),
        ageing=plan.count(Serves.AGEING),
        stale=plan.count(Serves.STALE),
        none=plan.count(Serves.NONE),
        due=tuple(each.key for each in plan.due),
        failed=by[Happens.FAILED],
        suspect=by[Happens.SUSPECT],
        frames=plan.cost.frames,
        seconds=plan.cost.seconds,
        bytes=plan.cost.bytes,
    )
