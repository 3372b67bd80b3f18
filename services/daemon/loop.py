"""The loop of the daemon: one thread that hears orders, workers and time, and decides what is begun.

Everything that changes the daemon's state arrives as a message in one inbox and is handled here, one after the other,
so that no two threads ever decide at once. What is due is asked anew at each tick; nothing is stored that a restart, a
suspended computer or a jump of the clock could make wrong.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from drivers.clock import Clock
from services.daemon import ended_windows, news
from services.daemon.at_work import RunAtWork
from services.daemon.board import RunNow
from services.daemon.building import Building, makes_way
from services.daemon.inbox import Inbox
from services.daemon.machine import Activity, Decision, Standing, Why, after_hold, decide
from services.daemon.orders import OF_MASTERS, Answer, Order, OrderName, RefusalCode, Refused
from services.daemon.pace import LOOK_AFTER_S, to_next_s
from services.daemon.parts import Begin, Ended, Hands, Mind, Nothing, Outlook, Secured
from services.daemon.present import Present
from services.daemon.securing import Securing
from services.daemon.state_file import LastRun, Remembered
from services.errors import RunCode
from services.events.records import Event
from services.events.serving import ConfigReloaded, OrderTaken
from services.observatory.in_use import LeftBehind
from services.workflow.snapshot import Snapshot

log = structlog.get_logger(__name__)

ANSWER_S, MASTERS_S = 10.0, 50.0
"""Real seconds in which an order is answered, and one on masters, whose files are read before they are certified."""
PAUSE_S = 60.0
"""Nothing is begun by the schedule for so long after a run that did not reach its end: what ended it may go on."""


class Loop:
    """Decides, one message after the other; the methods of its first half are for other threads.

    All of it stands in one class, because all of it changes one state, in one thread.

    Parameters
    ----------
    clock : Clock
    mind : Mind
    hands : Hands
    present : Present
        The state of the daemon, which only this loop changes.
    show : callable
        Called after every message: the board is made anew.
    """

    def __init__(
        self, *, clock: Clock, mind: Mind, hands: Hands, present: Present, show: Callable[["Loop"], None]
    ) -> None:
        self.present = present
        self.outlook = Outlook(choice=Nothing(reason="starting"))
        self.is_ending = False
        self._clock = clock
        self._inbox = Inbox()
        self._mind = mind
        self._hands = hands
        self._show = show
        self._run: RunAtWork | None = None
        self._securing = Securing(present, hands, clock)
        self._weather = news.Weather()
        self._building = Building()
        self._begin_at_s = clock.monotonic()
        self._look_at_s = clock.monotonic()

    # --- for other threads ------------------------------------------------------------------------------------------

    def take(self, order: Order) -> Answer:
        """Do an order; the answer is that of the loop's thread, or of the writer of the catalogue.

        Raises
        ------
        Refused
            With the reason.
        """
        timeout_s = MASTERS_S if order.order in OF_MASTERS else ANSWER_S
        try:
            return self.give(order).result(timeout_s)
        except TimeoutError:
            raise Refused(RefusalCode.NOT_ANSWERED, f"the daemon has not answered within {timeout_s:.0f} s") from None

    def give(self, order: Order) -> "Future[Answer]":
        """Give an order, and return at once what its answer will be."""
        answer: Future[Answer] = Future()
        self._inbox.put(lambda: self._given(order, answer))
        return answer

    def heard(self, event: Event) -> None:
        """Take an event of the child at work."""
        self._inbox.put(lambda: self._hear(event))

    def ended(self, ended: Ended) -> None:
        """Take the end of the child."""
        self._inbox.put(lambda: self._end(ended))

    def secured(self, secured: Secured) -> None:
        """Take that the devices were made safe."""
        self._inbox.put(lambda: self._after_securing(secured))

    def look_again(self) -> None:
        """Look at once at what is due: a condition has changed."""
        self._inbox.put(self._look_now)

    def reload(self) -> None:
        """Read the configuration again."""
        self._inbox.put(self._reload)

    def stop(self, *, hurry: bool = False) -> None:
        """End the daemon: the run is ended now, its devices are left in order; `hurry` cuts waits short."""
        self._inbox.put(lambda: self._stop(hurry=hurry))

    # --- the thread of the loop -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the daemon is stopped and its child has ended."""
        while not (self.is_ending and self.present.is_idle):
            self.step()

    def step(self) -> None:
        """Wait for messages or for the next tick, and handle what there is; a message that fails stops nothing else."""
        to_next_look_s = to_next_s(self._clock.monotonic(), after_s=LOOK_AFTER_S)
        for message in (*self._inbox.take(self._clock, to_next_look_s), self._tick):
            try:
                message()
            except Exception:
                log.exception("serve.message_failed")
        self._show(self)

    @property
    def run_now(self) -> RunNow | None:
        """The run at work."""
        return None if self._run is None else self._run.now

    @property
    def standing(self) -> Standing:
        """The state in which an order is heard."""
        run = self.run_now
        return Standing(
            activity=self.present.activity.name,
            hold=self.present.state.hold,
            run_id=None if run is None else run.run_id,
            run_since=None if run is None else run.since,
            run_by="" if run is None else run.by,
            plan=self.outlook.plan,
            due=self.outlook.due,
            known=self.outlook.known,
            obstacles=self.outlook.obstacles,
            is_ending=self.is_ending,
        )

    def _tick(self) -> None:
        """Begin what is due, if it is time to look; while a run is at work, only the plan is looked at."""
        state, now = self.present.state, self._clock.now()
        if (over := ended_windows.still(state.windows_over, now)) != state.windows_over:  # also for what is to be built
            state = replace(state, windows_over=over)
            self._building.try_all()
            self.present.remember(state)
        if (hold := after_hold(state.hold, now)) is not state.hold:
            self.present.remember(replace(state, hold=hold))
            self._look_now()
        if self._clock.monotonic() < self._look_at_s:
            return
        now_s = self._clock.monotonic()
        self._look_at_s = now_s + to_next_s(now_s, after_s=LOOK_AFTER_S)
        self._look(now)
        self._make_way()
        if not self.present.is_idle or self.is_ending or self._securing.begun(self.outlook, may_try=self._may_begin):
            return
        if hold is not None:
            self._rest(Nothing.while_held(hold), keeps_cooler=hold.why is Why.PAUSED)
        elif self._may_begin and self._building.is_due(self.outlook.to_build, self._clock.monotonic()):
            self._begin(Begin())
        elif isinstance(choice := self.outlook.choice, Nothing):
            self._rest(choice)
        elif self._may_begin:
            self._begin(choice)
        else:
            self.present.wait(self._clock.now() + timedelta(seconds=self._begin_at_s - self._clock.monotonic()))

    def _look(self, now: datetime) -> None:
        """Ask what is due, and say of each item once that it has become too old."""
        self.outlook = self._mind.look(now, self.present.state)
        if self._run is not None:  # it is our own run that has the folder
            others = tuple(each for each in self.outlook.obstacles if each.code is not RefusalCode.ROOT_IN_USE)
            self.outlook = replace(self.outlook, obstacles=others)
        state, stale = self.present.state, self.outlook.stale
        for what in news.of_ages(state.stale, stale):
            self.present.say(what)
        for what in self._weather.seen(self.outlook) if self.present.is_idle else ():
            self.present.say(what)
        self.present.remember(replace(state, stale=frozenset(stale)))

    def _rest(self, why: Nothing, *, keeps_cooler: bool = False) -> None:
        """Do nothing; a cooler that was held for a next run is left as it was found, unless that run is to come."""
        if self._may_release and not keeps_cooler and self._may_begin:
            self._release_cooler()
        else:
            self.present.idle(why)

    @property
    def _may_begin(self) -> bool:
        """Whether it is long enough ago that something failed."""
        return self._clock.monotonic() >= self._begin_at_s

    @property
    def _is_used_by_others(self) -> bool:
        """Whether another program uses the camera, or is at work in the folder."""
        used = {RefusalCode.CAMERA_IN_USE, RefusalCode.ROOT_IN_USE}
        return any(each.code in used for each in self.outlook.obstacles)

    @property
    def _may_release(self) -> bool:
        """Whether a cooler of ours is held, and nobody else has the camera by now."""
        return self.present.state.cooler_held and not self._is_used_by_others

    def _release_cooler(self) -> None:
        self._begin_at_s = self._clock.monotonic() + PAUSE_S  # where it fails it is tried again, but not at once
        self._securing.release_cooler()

    def _make_way(self) -> None:
        """End a fit of models, which may take long, when frames are due or ordered; it goes on after them."""
        run = self._run if self.present.activity.name is Activity.RUNNING else None
        if run is not None and makes_way(run.what, run.now.step, self._building.ordered or self.outlook.choice):
            run.child.order(OrderName.CANCEL)
            self.present.become(Activity.FINISHING, Nothing(reason="", detail="models are fitted later"))

    def _look_now(self) -> None:
        self._look_at_s = self._clock.monotonic()

    def _begin(self, what: Begin) -> None:
        if what.builds_only:
            self._building.begun(self.outlook.to_build)
        run = RunNow(run_id=None, by=what.by, since=self._clock.now(), items=what.items)
        self._run = RunAtWork(child=self._hands.begin(what), what=what, now=run, seen=Snapshot(run_id=""))
        doing = what.detail or ("masters are built" if what.builds_only else "what was ordered is taken")
        self.present.become(Activity.STARTING, Nothing(reason="", detail=doing, until=what.until))

    def _hear(self, event: Event) -> None:
        if (run := self._run) is None:
            return
        run.hear(event)
        if (activity := self.present.activity).name is Activity.STARTING:
            self.present.become(Activity.RUNNING, Nothing(reason="", detail=activity.detail, until=activity.until))

    def _end(self, ended: Ended) -> None:
        """Learn from the end of a child; where it died, make the devices safe before anything else is begun."""
        run, now, state = self._run, self._clock.now(), self.present.state
        if run is None:
            return
        run_id = ended.run_id or run.now.run_id
        learned = self._mind.learn(ended, run.now.items, tuple(run.outcomes), state, now)
        self._weather.after_run(ended.code)
        for what in news.of_failures(state.failures, learned.failures):
            self.present.say(what)
        last = LastRun(
            run_id=run_id or "", finished_at=now, exit_code=ended.exit_code, code=ended.code, detail=ended.detail
        )
        held = not ended.died and (ended.code == RunCode.PAUSED or (run.what.holds_cooler and ended.code is None))
        if run.what.builds_only:  # what came of the frames is what is looked for
            self.present.remember(learned)
        else:
            held_c = run.what.set_temp_c if held else None
            self.present.remember(replace(learned, last_run=last, cooler_held=held, held_c=held_c))
        self._wait_after(ended, run.what)
        self._look_now()
        if ended.died and not run.what.builds_only:  # who builds masters has touched no device
            self._securing.after_death(run_id, Nothing(reason=ended.code or "", detail=ended.detail))
            return
        self._run = None
        self._securing.after_run(run_id, tuple(run.left))
        self.present.idle(Nothing(reason=ended.code or "run_ended", detail=ended.detail))
        if self.is_ending and self._may_release:
            self._release_cooler()
        self._begin_next(self._building.ordered)

    def _wait_after(self, ended: Ended, what: Begin) -> None:
        """Begin nothing at once after a run that was not ended by order and did not reach its end."""
        is_ordered = self.present.activity.name in {Activity.FINISHING, Activity.STOPPING}
        if what.builds_only:
            is_held, now_s = self.present.state.hold is not None, self._clock.monotonic()
            self._building.ended(ended, now_s, is_ordered=is_ordered, is_held=is_held)
        else:
            self._building.try_all()
        if ended.code is None or is_ordered:
            return
        self._begin_at_s = self._clock.monotonic() + PAUSE_S

    def _after_securing(self, secured: Secured) -> None:
        self._run = None
        self._look_now()
        if not self._securing.done(secured):
            self._begin_at_s = self._clock.monotonic() + PAUSE_S

    def recover(self, left: LeftBehind) -> None:
        """Make the devices safe after a run that died with the daemon before; called before the loop runs."""
        self._securing.recover(left)

    def _given(self, order: Order, answer: "Future[Answer]") -> None:
        try:
            done = self._obeyed(order)
        except Exception as error:  # noqa: BLE001 - answered, whatever it is
            self._answer(order, answer, error)
            return
        if isinstance(done, Answer):
            self._answer(order, answer, done)
        else:
            done.add_done_callback(
                lambda later: self._inbox.put(lambda: self._answer(order, answer, later.exception() or later.result()))
            )

    def _answer(self, order: Order, answer: "Future[Answer]", said: Answer | BaseException) -> None:
        """Answer an order, and say in the journal what became of it."""
        if isinstance(said, Answer):
            self.present.say(OrderTaken(order=order.order, by=order.by, detail=said.detail))
            answer.set_result(said)
            return
        if not isinstance(said, Refused):
            log.error("serve.order_failed", order=order.order, exc_info=said)
            said = Refused(RefusalCode.ORDER_FAILED, f"{type(said).__name__}: {said}")
        self.present.say(OrderTaken(order=order.order, by=order.by, code=said.code, detail=said.detail))
        answer.set_exception(said)

    def _obeyed(self, order: Order) -> "Answer | Future[Answer]":
        if order.order in OF_MASTERS:
            return self._hands.of_masters(order, None if self._run is None else self._run.child)
        if order.order is OrderName.RELOAD:
            if wrong := self._reload():
                raise Refused(RefusalCode.CONFIG_INVALID, wrong)
            return Answer(order=order.order, detail="the configuration is in force from the next run on")
        now = self._clock.now()
        if order.order is OrderName.RUN:  # what is due may have changed since the last look
            self._look(now)
        what = None if self._run is None else self._run.what
        decision = decide(order, self._building.while_it_builds(order, self.standing, what), now)
        self._carry_out(order, decision)
        run = self.run_now if self._building.ordered is None else None
        run_id, is_done = None if run is None else run.run_id, decision.activity is None
        waits = decision.start is not None and self._building.ordered is not None
        detail = "the run begins when the masters are built, models make way for it" if waits else decision.detail
        return Answer(order=order.order, detail=detail, run_id=run_id, is_done=is_done)

    def _carry_out(self, order: Order, decision: Decision) -> None:
        self.present.remember(self._decided(decision))
        self._look_now()
        if decision.worker is not None and self._run is not None:
            self._run.child.order(decision.worker)
            self._building.ordered = None
            doing = decision.activity or self.present.activity.name
            self.present.become(doing, Nothing(reason="", detail=f"ordered: {decision.worker}"))
        if decision.start is not None:
            items = decision.start
            anew = items & self.outlook.complete
            self._begin_next(Begin(items=tuple(sorted(items)), by=order.by or "an order", anew=anew))

    def _begin_next(self, what: Begin | None) -> None:
        """Begin what was ordered, at once or when the masters that are being built are done."""
        self._building.ordered = what if self._run is not None else None
        if self._run is None and what is not None and not self.is_ending:
            self._begin(what)

    def _decided(self, decision: Decision) -> Remembered:
        state = replace(self.present.state, hold=decision.hold)
        if decision.ends_window and self._run is not None:
            names, closing = self._run.what.windows, self.outlook.closing
            over = ended_windows.ended(state.windows_over, self._clock.now(), names=names, closing=closing)
            state = replace(state, windows_over=over)
        if decision.retry is not None:
            state = self._mind.forget(decision.retry, state, self._clock.now())
        return state

    def _reload(self) -> str:
        wrong = self._mind.reload()
        self.present.say(ConfigReloaded(valid=not wrong, detail=wrong))
        self._look_now()
        return wrong

    def _stop(self, *, hurry: bool) -> None:
        if self._run is None and self.present.is_idle and self._may_release:
            self._release_cooler()
        if self._run is not None and self.present.activity.name is not Activity.SECURING:
            self._run.child.order(OrderName.ABORT)
            self.present.become(Activity.STOPPING, Nothing(reason="", detail="the daemon ends"))
            if hurry:
                self._run.child.order(OrderName.ABORT)  # a second one cuts short what the run waits for
        self.is_ending = True
