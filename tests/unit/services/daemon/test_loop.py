"""The loop: orders, workers and time become runs, holds and answers, one after the other, in one thread."""

from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from calibration.frames import FrameKind, GroupStatus
from drivers.clock import ManualClock
from services.daemon.loop import Loop
from services.daemon.machine import Activity, Hold, Why
from services.daemon.orders import Answer, Order, OrderName, RefusalCode, Refused
from services.daemon.parts import Begin, Child, Ended, Nothing, Outlook, Secured
from services.daemon.present import Present
from services.daemon.state_file import Remembered
from services.events.records import Event, GroupFinished, Record, RunStarted, StepStarted, WarningRaised
from services.events.serving import (
    ActivityChanged,
    DevicesSecured,
    ItemFailed,
    ItemStale,
    ModeChanged,
    OrderTaken,
    WorkerDied,
)
from services.observatory.in_use import LeftBehind

START = datetime(2026, 3, 1, 20, tzinfo=UTC)
DUE = Outlook(choice=Begin(items=("dark_60s",)), plan="p1", due=frozenset({"dark_60s"}), known=frozenset({"dark_60s"}))
LEFT = LeftBehind(run_id="r0", exposing_until=START, connected_until=START)
CALM = replace(DUE, choice=Nothing(reason="nothing_due"), due=frozenset())


@dataclass
class SmallChild:
    """A child that notes what it is ordered."""

    orders: list[OrderName] = field(default_factory=list)

    def order(self, name: OrderName) -> None:
        self.orders.append(name)


@dataclass
class SmallHands:
    """Hands that note what they do; the answers to orders on masters are given by the test."""

    begun: list[Begin] = field(default_factory=list)
    secured: list[str | None] = field(default_factory=list)
    child: SmallChild = field(default_factory=SmallChild)
    masters: Future[Answer] = field(default_factory=Future)

    def begin(self, what: Begin) -> Child:
        self.begun.append(what)
        self.child = SmallChild()
        return self.child

    def secure(self, run_id: str | None, left: LeftBehind | None = None) -> None:
        self.secured.append(run_id)

    def of_masters(self, order: Order, child: Child | None) -> Future[Answer]:
        return self.masters


@dataclass
class SmallMind:
    """A mind that sees what the test shows it, and counts how often it looks."""

    outlook: Outlook = CALM
    wrong: str = ""
    looks: int = 0

    def look(self, now: datetime, state: Remembered) -> Outlook:
        self.looks += 1
        if isinstance(self.outlook, Outlook):
            return self.outlook
        raise OSError("the disk is gone")

    def learn(
        self,
        ended: Ended,
        items: tuple[str, ...],
        outcomes: tuple[GroupFinished, ...],
        state: Remembered,
        now: datetime,
    ) -> Remembered:
        return replace(state, failures={item: {"code": ended.code} for item in items if ended.code})

    def forget(self, items: frozenset[str], state: Remembered, now: datetime) -> Remembered:
        return replace(state, failures={k: v for k, v in state.failures.items() if items and k not in items})

    def reload(self) -> str:
        return self.wrong


class Bench:
    """A loop with small parts, and what it has said and kept."""

    def __init__(self, outlook: Outlook = CALM, state: Remembered | None = None) -> None:
        self.clock, self.mind, self.hands = ManualClock(START), SmallMind(outlook), SmallHands()
        self.said: list[Record] = []
        self.kept: list[Remembered] = []
        present = Present(self.clock, state or Remembered(), keep=self.kept.append, say=self.said.append)
        self.loop = Loop(clock=self.clock, mind=self.mind, hands=self.hands, present=present, show=lambda _: None)

    def past_the_first_masters(self) -> "Bench":
        """Let the masters that an earlier end left be built, while nothing else is due."""
        outlook, self.mind.outlook = self.mind.outlook, replace(CALM, to_build=frozenset({"dark_5s"}))
        self.loop.step()
        assert self.hands.begun == [Begin()]
        self.mind.outlook = CALM
        self.end(Ended(run_id="m1", exit_code=0))
        self.hands.begun.clear()
        self.mind.outlook = outlook
        self.loop.look_again()
        return self

    def end(self, ended: Ended) -> None:
        self.loop.ended(ended)
        self.loop.step()

    def order(self, name: OrderName, **said: object) -> Answer:
        """Give an order as a thread of the API does, and let the loop hear it."""
        answer: Future[Answer] = Future()
        self.loop._inbox.put(lambda: self.loop._given(Order(order=name, **said), answer))  # type: ignore[arg-type]
        self.loop.step()
        return answer.result(0)

    @property
    def activity(self) -> Activity:
        return self.loop.present.activity.name

    def complete_a_set(self) -> None:
        what = GroupFinished(
            set_id="s",
            kind=FrameKind.DARK,
            filter=None,
            exposure_us=60_000_000,
            item="dark_60s",
            status=GroupStatus.COMPLETE,
            accepted=3,
        )
        self.loop.heard(Event(run_id="r1", seq=9, at=START, what=what))

    def hear_start(self, run_id: str = "r1") -> None:
        self.loop.heard(Event(run_id=run_id, seq=1, at=START, what=RunStarted(steps=("darks",))))
        self.loop.step()


def test_masters_that_an_earlier_end_left_are_built_first_then_what_is_due_is_begun() -> None:
    bench = Bench(DUE).past_the_first_masters()
    assert bench.hands.begun == []
    bench.loop.step()
    assert bench.hands.begun == [Begin(items=("dark_60s",))]
    assert bench.activity is Activity.STARTING
    bench.hear_start()
    assert bench.activity is Activity.RUNNING
    assert bench.loop.run_now is not None
    assert bench.loop.run_now.run_id == "r1"


def test_no_second_run_is_begun_beside_one() -> None:
    bench = Bench(DUE).past_the_first_masters()
    for _ in range(20):
        bench.clock.advance(60)
        bench.loop.step()
    assert len(bench.hands.begun) == 1


def test_after_a_run_its_masters_are_built_and_the_next_run_waits_for_them() -> None:
    bench = Bench(DUE).past_the_first_masters()
    bench.loop.step()
    bench.mind.outlook = replace(DUE, to_build=frozenset({"dark_60s"}))
    bench.end(Ended(run_id="r1", exit_code=0))
    bench.loop.step()
    assert bench.hands.begun == [Begin(items=("dark_60s",)), Begin()]
    last = bench.loop.present.state.last_run
    bench.mind.outlook = CALM
    bench.end(Ended(run_id="m2", exit_code=1))
    assert bench.loop.present.state.last_run == last  # what came of the frames is what is looked for


def test_masters_that_cannot_be_built_are_tried_again_only_when_others_are_to_be_built() -> None:
    bench = Bench(replace(CALM, to_build=frozenset({"dark_60s"}))).past_the_first_masters()
    bench.loop.step()
    for _ in range(5):
        bench.end(Ended(run_id="m2", exit_code=1))
        bench.clock.advance(3600)
        bench.loop.step()
    assert bench.hands.begun == [Begin()]
    bench.mind.outlook = replace(CALM, to_build=frozenset({"dark_60s", "bias"}))
    bench.clock.advance(60)
    bench.loop.step()
    assert bench.hands.begun == [Begin(), Begin()]


def test_the_masters_of_an_item_are_built_each_time_its_frames_were_taken_anew() -> None:
    bench = Bench(replace(CALM, to_build=frozenset({"dark_60s"}))).past_the_first_masters()
    bench.loop.step()
    bench.mind.outlook = DUE
    bench.end(Ended(run_id="m2", exit_code=0))
    bench.loop.step()
    bench.mind.outlook = replace(CALM, to_build=frozenset({"dark_60s"}))
    bench.end(Ended(run_id="r2", exit_code=0))
    bench.loop.step()
    assert bench.hands.begun == [Begin(), Begin(items=("dark_60s",)), Begin()]


@pytest.mark.parametrize("word", [OrderName.PAUSE, OrderName.YIELD])
def test_a_build_that_made_room_for_somebody_goes_on_when_that_is_over(word: OrderName) -> None:
    bench = Bench(replace(CALM, to_build=frozenset({"dark_60s"}))).past_the_first_masters()
    bench.loop.step()
    bench.order(word)
    bench.end(Ended(run_id="m2", exit_code=0, code="paused"))
    bench.loop.step()
    assert len(bench.hands.begun) == 1
    bench.order(OrderName.RESUME)
    bench.loop.step()
    assert bench.hands.begun == [Begin(), Begin()]


def test_a_fit_of_models_makes_way_for_frames_that_are_due_and_goes_on_after_them() -> None:
    bench = Bench(replace(CALM, to_build=frozenset({"masters"}))).past_the_first_masters()
    bench.loop.step()
    bench.hear_start("m2")
    for step, orders in (("masters", []), ("models", [OrderName.CANCEL])):
        bench.loop.heard(Event(run_id="m2", seq=2, at=START, what=StepStarted(step=step)))
        bench.mind.outlook = replace(DUE, to_build=frozenset({"masters"}))
        for _ in range(3):
            bench.clock.advance(60)
            bench.loop.step()
        assert bench.hands.child.orders == orders
    bench.end(Ended(run_id="m2", exit_code=0, code="cancelled"))
    bench.loop.step()
    assert bench.hands.begun == [Begin(), Begin(items=("dark_60s",))]
    bench.mind.outlook = replace(CALM, to_build=frozenset({"masters"}))
    bench.end(Ended(run_id="r2", exit_code=0))
    bench.loop.step()
    assert bench.hands.begun == [Begin(), Begin(items=("dark_60s",)), Begin()]


def fitting(bench: Bench, step: str = "models") -> Bench:
    """Let masters be due, and hear that a step of them is at work."""
    bench.past_the_first_masters()
    bench.mind.outlook = replace(CALM, to_build=frozenset({"masters"}))
    bench.loop.step()
    bench.hear_start("m2")
    bench.loop.heard(Event(run_id="m2", seq=2, at=START, what=StepStarted(step=step)))
    bench.loop.step()
    assert bench.activity is Activity.RUNNING
    return bench


@pytest.mark.parametrize(("step", "orders"), [("models", [OrderName.CANCEL]), ("masters", [])])
def test_a_run_that_is_ordered_while_masters_or_models_are_made_begins_when_they_have_made_way(
    step: str, orders: list[OrderName]
) -> None:
    bench = fitting(Bench(), step)
    answer = bench.order(OrderName.RUN, items=("dark_60s",), by="me")
    assert (answer.detail, answer.run_id) == ("the run begins when the masters are built, models make way for it", None)
    bench.loop.step()
    assert bench.hands.child.orders == orders
    with pytest.raises(Refused) as refused:
        bench.order(OrderName.RUN, items=("dark_60s",))
    assert refused.value.code is RefusalCode.BUSY
    bench.end(Ended(run_id="m2", exit_code=0, code="cancelled" if orders else None))
    assert bench.hands.begun == [Begin(), Begin(items=("dark_60s",), by="me")]
    assert bench.activity is Activity.STARTING
    bench.end(Ended(run_id="r2", exit_code=0))
    bench.loop.step()
    assert bench.hands.begun[2:] == [Begin()], "masters and models go on"


def test_models_that_begin_after_the_masters_make_way_for_a_run_that_was_ordered() -> None:
    bench = fitting(Bench(), "masters")
    bench.order(OrderName.RUN, items=("dark_60s",))
    bench.loop.heard(Event(run_id="m2", seq=3, at=START, what=StepStarted(step="models")))
    bench.clock.advance(60)
    bench.loop.step()
    assert bench.hands.child.orders == [OrderName.CANCEL]


def test_a_pause_or_the_end_of_the_daemon_takes_back_a_run_that_waits_for_masters() -> None:
    bench = fitting(Bench())
    bench.order(OrderName.RUN, items=("dark_60s",))
    bench.order(OrderName.PAUSE)
    bench.end(Ended(run_id="m2", exit_code=0, code="paused"))
    assert bench.hands.begun == [Begin()]
    bench = fitting(Bench())
    bench.order(OrderName.RUN, items=("dark_60s",))
    bench.loop.stop()
    bench.end(Ended(run_id="m2", exit_code=0, code="interrupted"))
    assert bench.hands.begun == [Begin()]


def test_a_build_that_was_ended_by_order_is_not_begun_again_in_this_window() -> None:
    closes = START + timedelta(hours=1)
    bench = Bench(replace(CALM, to_build=frozenset({"dark_60s"}), closing={"day": closes})).past_the_first_masters()
    bench.loop.step()
    bench.order(OrderName.CANCEL)
    bench.end(Ended(run_id="m2", exit_code=0, code="cancelled"))
    for _ in range(5):
        bench.clock.advance(60)
        bench.loop.step()
    assert len(bench.hands.begun) == 1
    bench.clock.advance(3600)
    bench.loop.step()
    assert bench.hands.begun == [Begin(), Begin()]  # the window is over


def test_a_build_that_was_broken_off_is_tried_again_after_a_while_and_secures_nothing() -> None:
    bench = Bench(replace(CALM, to_build=frozenset({"dark_60s"}))).past_the_first_masters()
    bench.loop.step()
    bench.end(Ended(run_id="m2", exit_code=1, code="worker_died", died=True))
    assert (bench.activity, bench.hands.secured) == (Activity.IDLE, [])  # who builds masters has touched no device
    assert len(bench.hands.begun) == 1
    bench.clock.advance(61)
    bench.loop.look_again()
    bench.loop.step()
    assert len(bench.hands.begun) == 2


@pytest.mark.parametrize("code", ["camera_busy", "unsafe", "safety_stale"])
def test_after_a_run_that_others_or_the_weather_ended_nothing_is_begun_at_once(code: str) -> None:
    bench = Bench(DUE).past_the_first_masters()
    bench.loop.step()
    bench.end(Ended(run_id="r1", exit_code=3, code=code))
    for _ in range(20):
        bench.loop.look_again()
        bench.loop.step()
    assert len(bench.hands.begun) == 1
    assert (bench.activity, bench.loop.present.activity.reason) == (Activity.IDLE, code)
    assert bench.loop.present.activity.until == bench.clock.now() + timedelta(seconds=60)
    bench.clock.advance(60)
    bench.loop.look_again()
    bench.loop.step()
    assert len(bench.hands.begun) == 2


def test_after_a_run_that_failed_it_is_shown_what_stands_in_the_way_now() -> None:
    bench = Bench(DUE).past_the_first_masters()
    bench.loop.step()
    bench.end(Ended(run_id="r1", exit_code=4, code="unsafe", detail="the safety monitor says unsafe"))
    until = START + timedelta(minutes=10)
    bench.mind.outlook = replace(DUE, choice=Nothing(reason="unsafe", detail="it is safe again", until=until))
    bench.loop.look_again()
    bench.loop.step()
    shown = bench.loop.present.activity
    assert (shown.reason, shown.detail, shown.until) == ("unsafe", "it is safe again", until)


def test_a_cooler_is_not_let_go_while_the_observer_has_the_camera() -> None:
    in_use = Refused(RefusalCode.CAMERA_IN_USE, "another program has it connected")
    outlook = replace(CALM, choice=Nothing(reason="camera_in_use"), obstacles=(in_use,))
    bench = Bench(outlook, state=Remembered(cooler_held=True)).past_the_first_masters()
    bench.hands.secured.clear()
    bench.loop.present.state = replace(bench.loop.present.state, cooler_held=True)
    bench.clock.advance(120)
    bench.loop.step()
    bench.loop.stop()
    bench.loop.step()
    assert bench.hands.secured == []


def test_a_daemon_that_ends_lets_go_a_cooler_that_its_last_run_has_held() -> None:
    bench = Bench(replace(DUE, choice=Begin(items=("dark_60s",), holds_cooler=True))).past_the_first_masters()
    bench.loop.step()
    bench.loop.stop()  # too late for a run that has come to its end by itself
    bench.loop.ended(Ended(run_id="r1", exit_code=0))
    bench.loop.step()
    assert (bench.activity, bench.hands.secured) == (Activity.SECURING, [None])


def test_nothing_due_is_said_once_and_is_no_failure() -> None:
    bench = Bench().past_the_first_masters()
    for _ in range(10):
        bench.clock.advance(31)
        bench.loop.step()
    said = [each.reason for each in bench.said if isinstance(each, ActivityChanged) and each.activity == "idle"]
    assert said.count("nothing_due") == 1


def test_a_hold_survives_a_restart_and_nothing_is_begun_while_it_lasts() -> None:
    first = Bench(DUE).past_the_first_masters()
    first.order(OrderName.YIELD, for_s=3600.0, by="N.I.N.A.")
    second = Bench(DUE, state=first.kept[-1])
    second.loop.step()
    assert second.hands.begun == []
    assert second.loop.present.activity.reason == "yielded"
    second.clock.advance(3601)
    second.loop.step()
    assert second.hands.begun
    assert [each.mode for each in second.said if isinstance(each, ModeChanged)] == ["automatic"]


def test_pause_ends_the_run_and_resume_begins_a_new_one() -> None:
    bench = Bench(DUE).past_the_first_masters()
    bench.loop.step()
    bench.hear_start()
    answer = bench.order(OrderName.PAUSE, by="Ann")
    assert bench.hands.child.orders == [OrderName.PAUSE]
    assert (bench.activity, answer.run_id) == (Activity.FINISHING, "r1")
    bench.end(Ended(run_id="r1", exit_code=0, code="paused"))
    assert bench.activity is Activity.IDLE
    hold = bench.loop.present.state.hold
    assert hold is not None
    assert (hold.why, hold.by) == (Why.PAUSED, "Ann")
    bench.hands.begun.clear()
    bench.order(OrderName.RESUME)
    assert bench.hands.begun
    assert bench.hands.secured == []  # the cooler is still held for this run


def test_a_cooler_that_is_held_is_left_as_found_when_no_run_comes() -> None:
    choice = Begin(items=("dark_60s",), holds_cooler=True, set_temp_c=-10.0)
    bench = Bench(replace(DUE, choice=choice)).past_the_first_masters()
    bench.loop.step()
    assert not bench.loop.present.state.cooler_held
    bench.mind.outlook = replace(CALM, to_build=frozenset({"dark_60s"}))
    bench.complete_a_set()
    bench.end(Ended(run_id="r1", exit_code=0))  # its masters are built now
    assert bench.loop.present.state.cooler_held
    assert bench.loop.present.state.held_c == -10.0
    bench.mind.outlook = CALM
    bench.end(Ended(run_id="m2", exit_code=0))
    bench.loop.look_again()
    bench.loop.step()
    assert bench.hands.secured == [None]
    assert bench.activity is Activity.SECURING
    bench.loop.secured(Secured())
    bench.loop.step()
    assert (bench.activity, bench.loop.present.state.cooler_held) == (Activity.IDLE, False)


@pytest.mark.parametrize(("why", "released"), [(Why.PAUSED, []), (Why.YIELDED, [None])])
def test_a_pause_keeps_the_cooler_and_a_yield_lets_it_go(why: Why, released: list[None]) -> None:
    hold = Hold(why=why, by="", since=START, until=None if why is Why.PAUSED else START + timedelta(hours=1))
    bench = Bench(DUE, state=Remembered(cooler_held=True, hold=hold))
    bench.loop.step()
    assert bench.hands.secured == released


def test_what_fails_is_said_once_and_once_when_it_can_be_had_again() -> None:
    bench = Bench(DUE).past_the_first_masters()
    bench.loop.step()
    bench.end(Ended(run_id="r1", exit_code=1, code="not_dark"))
    assert ItemFailed(item="dark_60s", code="not_dark") in bench.said
    bench.loop.present.state = replace(bench.loop.present.state, failures={"dark_60s": {"code": "not_dark"}})
    before = len(bench.said)
    bench.end(Ended(run_id="m2", exit_code=0))
    bench.loop.step()
    assert not [each for each in bench.said[before:] if isinstance(each, ItemFailed)]


def test_a_run_that_died_with_the_daemon_is_answered_before_anything_is_begun() -> None:
    bench = Bench(DUE)
    bench.loop.recover(LEFT)
    bench.loop.step()
    assert (bench.hands.secured, bench.hands.begun) == (["r0"], [])
    assert bench.activity is Activity.SECURING
    assert any(isinstance(each, WorkerDied) and each.run == "r0" for each in bench.said)
    bench.loop.secured(Secured(run_id="r0", done=("lamp off",)))
    bench.loop.step()
    assert len(bench.hands.begun) == 1


def test_a_run_that_died_with_the_daemon_is_the_last_one() -> None:
    bench = Bench(DUE)
    bench.loop.recover(LEFT)
    last = bench.loop.present.state.last_run
    assert last is not None
    assert (last.run_id, last.code) == ("r0", "worker_died")


def test_a_build_that_fails_is_tried_again_less_and_less_often_and_stops_no_frames() -> None:
    bench = Bench(replace(CALM, to_build=frozenset({"dark_5s"})))
    begun_at_s: list[float] = []
    for _ in range(1500):
        bench.loop.step()
        if bench.hands.begun:
            assert bench.hands.begun == [Begin()]
            begun_at_s.append(bench.clock.monotonic())
            bench.hands.begun.clear()
            bench.end(Ended(run_id="m", exit_code=5, code="disk_full"))
        bench.clock.advance(10)
    pauses = [later - earlier for earlier, later in pairwise(begun_at_s)]
    assert [round(each / 60) for each in pauses[:7]] == [1, 2, 4, 8, 16, 32, 60]
    bench.mind.outlook = replace(DUE, to_build=frozenset({"dark_5s"}))
    bench.clock.advance(31)
    bench.loop.step()
    assert bench.hands.begun == [Begin(items=("dark_60s",))]


def test_devices_that_somebody_else_uses_since_the_death_are_made_safe_when_he_has_let_go_of_them() -> None:
    bench = Bench(DUE)
    bench.loop.recover(LEFT)
    refused = Secured(run_id="r0", refused="the camera is not ours now: it exposes for another program")
    bench.loop.secured(refused)
    bench.mind.outlook = replace(CALM, obstacles=(Refused(RefusalCode.CAMERA_IN_USE, "it exposes"),))
    for _ in range(5):
        bench.clock.advance(31)
        bench.loop.step()
    assert bench.hands.secured == ["r0"]
    bench.mind.outlook = DUE
    bench.clock.advance(31)
    bench.loop.step()
    bench.loop.secured(refused)  # he was faster
    bench.loop.step()
    bench.clock.advance(61)
    bench.loop.step()
    assert (bench.hands.secured, bench.hands.begun) == (["r0", "r0", "r0"], [])
    bench.loop.secured(Secured(run_id="r0", done=("lamp off",)))
    bench.loop.step()
    assert len(bench.hands.begun) == 1
    said = [each for each in bench.said if isinstance(each, DevicesSecured)]
    assert [(each.done, each.left) for each in said] == [((), (refused.refused,)), (("lamp off",), ())]


def test_what_a_run_could_not_leave_safe_is_tried_again_until_it_is_and_lets_others_work_meanwhile() -> None:
    bench = Bench(DUE).past_the_first_masters()
    bench.loop.step()
    bench.hear_start()
    words = "flat panel: how it stands is not known"
    left = WarningRaised(code="left_unsafe", detail=words)
    bench.loop.heard(Event(run_id="r1", seq=2, at=START, what=left))
    bench.mind.outlook = CALM
    bench.end(Ended(run_id="r1", exit_code=3, code="left_unsafe"))
    assert (bench.loop.present.state.left, bench.hands.secured) == ((words,), [])
    times, ended = [], bench.clock.now()
    for _ in range(60):
        bench.clock.advance(60)
        bench.loop.look_again()
        bench.loop.step()
        if bench.activity is Activity.SECURING:
            times.append((bench.clock.now() - ended).total_seconds() / 60)
            bench.loop.secured(Secured(run_id="r1", left=(words,)))
            bench.loop.step()
    assert times == [1, 3, 7, 15, 31]
    assert not [each for each in bench.said if isinstance(each, DevicesSecured)]  # the run has said so itself
    again = Bench(CALM, state=bench.kept[-1])  # a restart does not forget it
    again.loop.step()
    assert again.hands.secured == ["r1"]
    again.loop.secured(Secured(run_id="r1", done=("lamp off",)))
    again.loop.step()
    assert again.loop.present.state.left == ()
    assert [each.done for each in again.said if isinstance(each, DevicesSecured)] == [("lamp off",)]


def test_another_run_that_was_killed_in_the_folder_is_answered_like_one_of_the_daemons_own() -> None:
    bench = Bench(replace(DUE, left_behind=LEFT)).past_the_first_masters()
    bench.loop.step()
    bench.mind.outlook = DUE
    assert (bench.hands.secured, bench.hands.begun) == (["r0"], [])
    assert WorkerDied(run="r0", detail="it was killed") in bench.said
    bench.loop.secured(Secured(run_id="r0", done=("lamp off",)))
    bench.loop.step()
    assert len(bench.hands.begun) == 1


def test_a_camera_that_was_away_is_made_safe_when_it_is_back_and_later_is_whoevers_uses_it() -> None:
    words = "nothing at 10.0.0.5:11111 answers any more: camera, flat panel, cooler"
    connected = (Refused(RefusalCode.CAMERA_IN_USE, "another program has it connected"),)
    bench = Bench(CALM, state=Remembered(left=(words,)))

    def seen(*obstacles: Refused, away: bool = False) -> None:
        bench.mind.outlook = replace(CALM, obstacles=obstacles, is_camera_away=away)
        bench.clock.advance(31)
        bench.loop.look_again()
        bench.loop.step()

    seen(*connected)
    assert bench.hands.secured == []  # after a restart nobody knows whose connection that is
    for _ in range(200):
        seen(away=True)
    assert bench.hands.secured == []
    seen(*connected)
    assert len(bench.hands.secured) == 1  # what stands connected when it is back is what the run has left
    bench.loop.secured(Secured(run_id="", left=(words,)))
    for _ in range(200):
        seen(*connected)
    assert len(bench.hands.secured) == 2  # once more within two minutes; then it is somebody's


def test_what_was_left_is_not_touched_while_the_camera_was_given_away() -> None:
    hold = Hold(why=Why.YIELDED, by="Ann", since=START, until=START + timedelta(hours=1))
    bench = Bench(CALM, state=Remembered(hold=hold, left=("flat panel: lamp on",)))
    for _ in range(5):
        bench.clock.advance(31)
        bench.loop.step()
    assert bench.hands.secured == []
    bench.clock.advance(3600)
    bench.loop.step()
    assert bench.hands.secured == [""]


def test_what_has_become_too_old_is_said_once() -> None:
    bench = Bench(replace(CALM, stale={"dark_60s": "61 days"})).past_the_first_masters()
    for _ in range(5):
        bench.clock.advance(31)
        bench.loop.step()
    assert [each for each in bench.said if isinstance(each, ItemStale)] == [
        ItemStale(item="dark_60s", detail="61 days")
    ]
    assert Bench(bench.mind.outlook, state=bench.kept[-1]).loop.present.state.stale == {"dark_60s"}


def test_whoever_orders_what_is_there_wants_it_anew() -> None:
    bench = Bench(replace(CALM, complete=frozenset({"dark_60s"}))).past_the_first_masters()
    bench.order(OrderName.RUN, items=("dark_60s",), by="Ann")
    assert bench.hands.begun == [Begin(items=("dark_60s",), by="Ann", anew=frozenset({"dark_60s"}))]


def test_a_run_by_order_is_begun_while_it_is_held_and_stays_held() -> None:
    bench = Bench(DUE, state=Remembered()).past_the_first_masters()
    bench.mind.outlook = CALM
    bench.order(OrderName.PAUSE)
    answer = bench.order(OrderName.RUN, items=("dark_60s",), by="Ann")
    assert bench.hands.begun == [Begin(items=("dark_60s",), by="Ann")]
    assert answer.detail
    bench.end(Ended(run_id="r2", exit_code=0))
    assert bench.loop.present.state.hold is not None


def test_an_order_is_refused_with_its_reason_and_the_refusal_is_kept_in_the_journal() -> None:
    bench = Bench().past_the_first_masters()
    with pytest.raises(Refused) as refused:
        bench.order(OrderName.CANCEL, by="Ann")
    assert refused.value.code is RefusalCode.NOTHING_RUNS
    assert OrderTaken(order="cancel", by="Ann", code="nothing_runs", detail="no run is at work") in bench.said


def test_an_obstacle_stands_in_the_way_of_an_order() -> None:
    bench = Bench(replace(DUE, choice=Nothing(reason="unsafe"))).past_the_first_masters()
    bench.mind.outlook = replace(bench.mind.outlook, obstacles=(Refused(RefusalCode.UNSAFE, "it rains"),))
    with pytest.raises(Refused, match="it rains"):
        bench.order(OrderName.RUN)
    assert bench.hands.begun == []


@pytest.mark.parametrize("order", [OrderName.CANCEL, OrderName.ABORT])
def test_a_cancelled_run_is_over_for_its_window_and_no_other_one(order: OrderName) -> None:
    closing = {"day": START + timedelta(hours=3), "noon": START + timedelta(hours=1)}
    due = replace(DUE, choice=Begin(items=("dark_60s",), windows=frozenset({"day"})), closing=closing)
    bench = Bench(due).past_the_first_masters()
    bench.loop.step()
    bench.hear_start()
    bench.order(order, run_id="r1")
    assert bench.loop.present.state.windows_over == {"day": closing["day"]}
    assert bench.kept[-1].windows_over == {"day": closing["day"]}  # a restart knows it


def test_a_run_that_was_ordered_is_over_for_all_windows_that_are_open() -> None:
    bench = Bench(replace(CALM, closing={"day": START + timedelta(hours=3)})).past_the_first_masters()
    bench.order(OrderName.RUN, items=("dark_60s",))
    bench.order(OrderName.CANCEL)
    assert set(bench.loop.present.state.windows_over) == {"day"}


ROOT_IN_USE = Refused(RefusalCode.ROOT_IN_USE, "/data is in use by `nightcal run` (pid 7 on host)")


def test_an_order_to_run_is_refused_by_who_is_at_work_in_the_folder() -> None:
    bench = Bench(replace(DUE, choice=Nothing(reason="root_in_use"))).past_the_first_masters()
    bench.mind.outlook = replace(bench.mind.outlook, obstacles=(ROOT_IN_USE,))
    with pytest.raises(Refused, match="pid 7 on host") as refused:
        bench.order(OrderName.RUN)
    assert (refused.value.code, bench.hands.begun) == (RefusalCode.ROOT_IN_USE, [])


def test_the_folder_of_our_own_run_is_in_nobodys_use() -> None:
    bench = Bench(replace(DUE, choice=Begin(items=("dark_60s",), holds_cooler=True))).past_the_first_masters()
    bench.loop.step()
    bench.mind.outlook = replace(bench.mind.outlook, obstacles=(ROOT_IN_USE,))
    bench.clock.advance(60)
    bench.loop.step()
    bench.loop.stop()
    bench.loop.ended(Ended(run_id="r1", exit_code=0))
    bench.loop.step()
    assert bench.hands.secured == [None]  # the cooler is let go at the end


def test_a_worker_that_dies_is_answered_by_making_the_devices_safe_before_anything_else() -> None:
    bench = Bench(DUE).past_the_first_masters()
    bench.loop.step()
    bench.hear_start()
    bench.end(Ended(run_id=None, exit_code=-9, code="worker_died", detail="killed by signal 9", died=True))
    assert bench.hands.secured == ["r1"]
    assert bench.activity is Activity.SECURING
    assert WorkerDied(run="r1", detail="killed by signal 9") in bench.said
    for _ in range(5):
        bench.clock.advance(60)
        bench.loop.step()
    assert len(bench.hands.begun) == 1
    bench.loop.secured(Secured(run_id="r1", left=("flat panel: the lamp may be on",)))
    bench.loop.step()
    last = bench.loop.present.state.last_run
    assert last is not None
    assert (last.run_id, last.code) == ("r1", "worker_died")
    assert len(bench.hands.begun) == 2  # what is due is begun again


def test_orders_on_masters_are_answered_when_their_writer_answers() -> None:
    bench = Bench().past_the_first_masters()
    answer: Future[Answer] = Future()
    order = Order(order=OrderName.CERTIFY, names=("master_bias.fits",))
    bench.loop._inbox.put(lambda: bench.loop._given(order, answer))
    bench.loop.step()
    assert not answer.done()
    bench.hands.masters.set_result(Answer(order="certify", detail="certified"))
    bench.loop.step()
    assert answer.result(0).detail == "certified"


def test_what_no_part_foresaw_is_answered_and_stops_nothing() -> None:
    bench = Bench(DUE).past_the_first_masters()
    bench.mind.outlook = None  # type: ignore[assignment]
    bench.loop.step()
    with pytest.raises(Refused) as refused:
        bench.order(OrderName.RUN)
    assert refused.value.code is RefusalCode.ORDER_FAILED
    bench.mind.outlook = DUE
    bench.clock.advance(31)
    bench.loop.step()
    assert bench.hands.begun


def test_a_configuration_that_cannot_be_used_is_refused_with_what_is_wrong() -> None:
    bench = Bench().past_the_first_masters()
    assert bench.order(OrderName.RELOAD).detail
    bench.mind.wrong = "night.yaml:3:1: programmes: …"
    with pytest.raises(Refused, match=r"night\.yaml:3:1") as refused:
        bench.order(OrderName.RELOAD)
    assert refused.value.status == 422


def test_the_daemon_ends_when_its_run_has_left_the_devices() -> None:
    bench = Bench(DUE).past_the_first_masters()
    bench.loop.step()
    bench.loop.stop()
    bench.loop.step()
    assert bench.hands.child.orders == [OrderName.ABORT]
    assert bench.activity is Activity.STOPPING
    with pytest.raises(Refused) as refused:
        bench.order(OrderName.RUN)
    assert refused.value.code is RefusalCode.ENDING
    bench.loop.ended(Ended(run_id="r1", exit_code=0, code="interrupted"))
    bench.loop.run()  # returns, for there is nothing left to wait for
    assert bench.activity is Activity.IDLE


def test_while_a_run_is_at_work_events_do_not_make_the_mind_look() -> None:
    bench = Bench(DUE).past_the_first_masters()
    bench.loop.step()
    before = bench.mind.looks
    for _ in range(100):
        bench.hear_start()
    assert bench.mind.looks <= before + 1
