"""The table of orders: what each does while the daemon is idle, while a run is at work, and while it is held."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.daemon.machine import Activity, Hold, Standing, Why, after_hold, decide
from services.daemon.orders import OF_MASTERS, Order, OrderName, RefusalCode, Refused

NOW = datetime(2026, 3, 1, 20, tzinfo=UTC)
PAUSED = Hold(why=Why.PAUSED, by="Ann", since=NOW - timedelta(hours=1))
YIELDED = Hold(why=Why.YIELDED, by="N.I.N.A.", since=NOW, until=NOW + timedelta(hours=8))
IDLE = Standing(plan="p1", due=frozenset({"dark_60s"}), known=frozenset({"dark_60s", "bias"}))
RUNNING = replace(IDLE, activity=Activity.RUNNING, run_id="r1", run_since=NOW, run_by="the schedule")
HELD = replace(IDLE, hold=PAUSED)


def _order(name: OrderName, **said: object) -> Order:
    return Order(order=name, **said)  # type: ignore[arg-type]


def _refused(order: Order, standing: Standing) -> RefusalCode:
    with pytest.raises(Refused) as refused:
        decide(order, standing, NOW)
    assert refused.value.detail
    return refused.value.code


def test_run_takes_what_is_due_or_what_is_named() -> None:
    assert decide(_order(OrderName.RUN), IDLE, NOW).start == {"dark_60s"}
    assert decide(_order(OrderName.RUN, items=("bias",)), IDLE, NOW).start == {"bias"}
    assert decide(_order(OrderName.RUN, plan="p1"), IDLE, NOW).activity is Activity.STARTING


def test_run_stays_held_after() -> None:
    assert decide(_order(OrderName.RUN), HELD, NOW).hold == PAUSED


def test_run_is_refused_with_the_reason() -> None:
    assert _refused(_order(OrderName.RUN), RUNNING) is RefusalCode.BUSY
    assert _refused(_order(OrderName.RUN, plan="p0"), IDLE) is RefusalCode.PLAN_CHANGED
    assert _refused(_order(OrderName.RUN, plan="p0"), HELD) is RefusalCode.PLAN_CHANGED
    assert _refused(_order(OrderName.RUN, plan="p0"), RUNNING) is RefusalCode.BUSY
    assert _refused(_order(OrderName.RUN, items=("flat_Ha",)), IDLE) is RefusalCode.UNKNOWN_ITEM
    assert _refused(_order(OrderName.RUN), replace(IDLE, due=frozenset())) is RefusalCode.NOTHING_DUE
    unsafe = replace(IDLE, obstacles=(Refused(RefusalCode.UNSAFE, "it rains"),))
    assert _refused(_order(OrderName.RUN, items=("bias",)), unsafe) is RefusalCode.UNSAFE


def test_pause_ends_the_run_after_its_frame_and_holds() -> None:
    running = decide(_order(OrderName.PAUSE, by="Ann"), RUNNING, NOW)
    assert (running.worker, running.activity) == (OrderName.PAUSE, Activity.FINISHING)
    assert running.hold == Hold(why=Why.PAUSED, by="Ann", since=NOW)
    idle = decide(_order(OrderName.PAUSE), IDLE, NOW)
    assert (idle.worker, idle.activity) == (None, None)
    assert decide(_order(OrderName.PAUSE, by="Bob"), HELD, NOW).hold == PAUSED  # no change


def test_a_pause_outlives_a_yield_that_stood_before() -> None:
    assert decide(_order(OrderName.PAUSE), replace(IDLE, hold=YIELDED), NOW).hold == Hold(
        why=Why.PAUSED, by="", since=NOW
    )


def test_resume_makes_it_automatic_where_something_is_held() -> None:
    assert decide(_order(OrderName.RESUME), HELD, NOW).hold is None
    assert decide(_order(OrderName.RESUME), replace(RUNNING, hold=PAUSED), NOW).hold is None
    assert _refused(_order(OrderName.RESUME), IDLE) is RefusalCode.NOT_HELD
    assert _refused(_order(OrderName.RESUME), RUNNING) is RefusalCode.NOT_HELD


@pytest.mark.parametrize(
    ("name", "activity"), [(OrderName.CANCEL, Activity.FINISHING), (OrderName.ABORT, Activity.STOPPING)]
)
def test_cancel_and_abort_end_the_run_and_its_window(name: OrderName, activity: Activity) -> None:
    decision = decide(_order(name, run_id="r1"), RUNNING, NOW)
    assert (decision.worker, decision.activity, decision.ends_window) == (name, activity, True)
    assert decision.hold is None
    assert _refused(_order(name), IDLE) is RefusalCode.NOTHING_RUNS
    assert _refused(_order(name), HELD) is RefusalCode.NOTHING_RUNS
    assert _refused(_order(name), replace(RUNNING, activity=Activity.SECURING)) is RefusalCode.NOTHING_RUNS


@pytest.mark.parametrize("name", [OrderName.PAUSE, OrderName.YIELD, OrderName.CANCEL])
def test_what_is_stopped_now_does_not_go_on_by_a_weaker_order(name: OrderName) -> None:
    stopping = replace(RUNNING, activity=Activity.STOPPING)
    assert decide(_order(name), stopping, NOW).activity is Activity.STOPPING


def test_yield_leaves_the_camera_for_as_long_as_is_asked() -> None:
    decision = decide(_order(OrderName.YIELD, for_s=3600.0, by="N.I.N.A."), RUNNING, NOW)
    assert (decision.worker, decision.activity) == (OrderName.YIELD, Activity.FINISHING)
    assert decision.hold == Hold(why=Why.YIELDED, by="N.I.N.A.", since=NOW, until=NOW + timedelta(hours=1))


def test_of_two_yields_the_longer_counts_and_a_pause_has_no_end() -> None:
    assert decide(_order(OrderName.YIELD, for_s=3600.0), replace(IDLE, hold=YIELDED), NOW).hold == YIELDED
    longer = decide(_order(OrderName.YIELD, for_s=36_000.0), replace(IDLE, hold=YIELDED), NOW).hold
    assert longer is not None
    assert longer.until == NOW + timedelta(hours=10)
    assert decide(_order(OrderName.YIELD, for_s=36_000.0), HELD, NOW).hold == PAUSED


def test_a_yield_ends_by_itself_and_a_pause_does_not() -> None:
    assert after_hold(YIELDED, NOW) == YIELDED
    assert after_hold(YIELDED, NOW + timedelta(hours=8)) is None
    assert after_hold(PAUSED, NOW + timedelta(days=900)) == PAUSED


def test_retry_forgets_the_failures_that_it_names() -> None:
    assert decide(_order(OrderName.RETRY, items=("bias",)), RUNNING, NOW).retry == {"bias"}
    assert decide(_order(OrderName.RETRY), HELD, NOW).retry == frozenset()
    assert decide(_order(OrderName.RETRY), HELD, NOW).hold == PAUSED
    assert _refused(_order(OrderName.RETRY, items=("nothing",)), IDLE) is RefusalCode.UNKNOWN_ITEM


_DECIDED = [name for name in OrderName if name not in {*OF_MASTERS, OrderName.RELOAD}]


@pytest.mark.parametrize("standing", [IDLE, RUNNING, HELD])
@pytest.mark.parametrize("name", _DECIDED)
def test_an_order_for_another_run_is_refused(name: OrderName, standing: Standing) -> None:
    assert _refused(_order(name, run_id="r0"), standing) is RefusalCode.OTHER_RUN


@pytest.mark.parametrize("name", _DECIDED)
def test_a_daemon_that_ends_takes_no_orders(name: OrderName) -> None:
    assert _refused(_order(name), replace(RUNNING, is_ending=True)) is RefusalCode.ENDING


@given(st.lists(st.sampled_from(_DECIDED), max_size=12), st.sampled_from(list(Activity)))
def test_whatever_is_ordered_a_run_is_begun_only_where_none_is_at_work(
    names: list[OrderName], activity: Activity
) -> None:
    """Follow the decisions: no order starts a second run, and a hold only ever goes by `resume`."""
    standing = replace(RUNNING, activity=activity)
    if activity is Activity.IDLE:
        standing = replace(standing, run_id=None)
    for name in names:
        try:
            decision = decide(_order(name), standing, NOW)
        except Refused:
            continue
        assert decision.start is None or standing.is_idle
        assert decision.worker is None or not standing.is_idle
        assert standing.hold is None or decision.hold is not None or name is OrderName.RESUME
        standing = replace(standing, hold=decision.hold, activity=decision.activity or standing.activity)
