"""A snapshot of a run, made from its events alone."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from calibration.frames import FrameKind, GroupStatus
from services.events.devices import CoolingChanged, DeviceGone, DeviceRestored
from services.events.records import (
    Event,
    FrameSet,
    FrameStored,
    GroupFinished,
    GroupStarted,
    Record,
    RunEnding,
    RunFinished,
    RunProgress,
    RunStarted,
    StepStarted,
    Waiting,
    WarningRaised,
)
from services.workflow.snapshot import RunState, Snapshot, advance

AT = datetime(2026, 1, 1, tzinfo=UTC)
DARK = {"kind": FrameKind.DARK, "filter": None, "exposure_us": 60_000_000, "gain": 10, "set_temp_c": None}
FLAT = {"kind": FrameKind.FLAT, "filter": "L", "exposure_us": None, "gain": 10, "set_temp_c": None}
PLAN = RunProgress(done=2, wanted=30, sets=(FrameSet(**FLAT, wanted=10, have=2), FrameSet(**DARK, wanted=20)))
BEGUN = (RunStarted(), PLAN, StepStarted(step="flats"))


def after(events: Iterable[Record]) -> Snapshot:
    """Return the snapshot after events, one a minute."""
    snapshot = Snapshot(run_id="r")
    for n, what in enumerate(events):
        snapshot = advance(snapshot, Event(run_id="r", seq=n, at=AT + timedelta(minutes=n), what=what))
    return snapshot


def stored(number: int) -> FrameStored:
    return FrameStored(
        path=f"flats/{number}.fits",
        set_id="s",
        kind=FrameKind.FLAT,
        filter="L",
        exposure_us=1_000_000,
        level_adu=30_000.0 + number,
        ccd_temp_c=-9.9,
        set_temp_c=-10.0,
        cooler_power_pct=40.0,
        frame_no=number,
        wanted=10,
    )


def finished(status: GroupStatus, accepted: int, **more: object) -> GroupFinished:
    return GroupFinished(**(FLAT | {"exposure_us": 1_000_000}), set_id="s", status=status, accepted=accepted, **more)


def test_a_run_that_has_said_nothing_waits() -> None:
    now = Snapshot(run_id="r")
    assert (now.state, now.step, now.group, now.done, now.wanted, now.remaining_s) == (
        RunState.WAITING,
        None,
        None,
        0,
        0,
        0,
    )


def test_the_plan_says_how_much_there_is_to_do() -> None:
    now = after(BEGUN)
    assert (now.state, now.step, now.at) == (RunState.RUNNING, "flats", AT + timedelta(minutes=2))
    assert (now.done, now.wanted) == (2, 30)
    assert now.remaining_s > 20 * 60


def test_a_frame_moves_its_set_and_is_the_last_one() -> None:
    begun = after((*BEGUN, GroupStarted(**FLAT, set_id="s", wanted=10, have=2)))
    assert begun.group is not None
    assert (begun.group.filter, begun.frame, begun.frames) == ("L", 2, 10)
    now = after((*BEGUN, GroupStarted(**FLAT, set_id="s", wanted=10, have=2), stored(3)))
    assert (now.frame, now.frames, now.done, now.wanted) == (3, 10, 3, 30)
    assert (now.last_path, now.last_level_adu) == ("flats/3.fits", 30_003.0)
    assert (now.ccd_temp_c, now.set_temp_c, now.cooler_power_pct) == (-9.9, -10.0, 40.0)
    assert now.remaining_s < begun.remaining_s


def test_frames_are_counted_whatever_their_numbers_are() -> None:
    """Three frames were marked bad: 37 of 40 are there, and the next one has the number 41."""
    begun = GroupStarted(**FLAT, set_id="s", wanted=40, have=37)
    now = after((*BEGUN, begun, stored(41)))
    assert (now.frame, now.frames) == (38, 40)
    assert now.remaining_s > after((*BEGUN, begun, stored(41), stored(42))).remaining_s > 0


def test_a_set_that_failed_is_not_waited_for() -> None:
    now = after((*BEGUN, GroupStarted(**FLAT, set_id="s", wanted=10, have=2), finished(GroupStatus.FAILED, 2)))
    assert (now.group, now.frame, now.frames, now.done) == (None, 0, 0, 2)
    darks_alone = after((RunStarted(), RunProgress(sets=(FrameSet(**DARK, wanted=20),))))
    assert now.remaining_s == darks_alone.remaining_s


def test_a_set_that_was_not_foreseen_is_counted_when_it_begins() -> None:
    later = {**DARK, "exposure_us": 1_000_000}
    now = after((*BEGUN, GroupStarted(**later, set_id="d", wanted=5)))
    assert now.wanted == 35


def test_a_set_that_was_there_before_changes_nothing() -> None:
    assert after((*BEGUN, finished(GroupStatus.COMPLETE, 10, there=True))).sets == after(BEGUN).sets


def test_what_is_waited_for_is_said_until_something_else_happens() -> None:
    waiting = Waiting(wait_s=60.0, detail="the lamp warms up")
    cooling = CoolingChanged(ccd_temp_c=5.0, set_point_c=3.0, target_c=-10.0, cooler_power_pct=80.0)
    now = after((*BEGUN, waiting, cooling))
    assert (now.waiting, now.ccd_temp_c, now.set_temp_c, now.cooler_power_pct) == ("the lamp warms up", 5.0, 3.0, 80.0)
    assert not after((*BEGUN, waiting, cooling, stored(1))).waiting


def test_a_device_that_is_gone_is_what_is_waited_for_until_it_is_back() -> None:
    until = datetime(2026, 3, 1, 20, 15, tzinfo=UTC)
    gone = DeviceGone(device="camera", code="device_lost", detail="no server runs there", waiting_until=until)
    now = after((*BEGUN, gone, WarningRaised(code="clock_jump")))
    assert now.waiting.startswith("camera lost: no server runs there; waiting for it until 20:15 UTC")
    assert not after((*BEGUN, gone, DeviceRestored(device="camera"))).waiting


def test_warnings_are_kept_in_their_order() -> None:
    now = after((*BEGUN, WarningRaised(code="no_cover", detail="none"), WarningRaised(code="clock_jump")))
    assert now.warnings == (("no_cover", "none"), ("clock_jump", ""))


def test_a_run_that_ends_for_its_masters_goes_on() -> None:
    ending = (*BEGUN, RunEnding(code=None, warming_s=None))
    assert after(ending).state is RunState.ENDING
    building = after((*ending, StepStarted(step="masters")))
    assert (building.state, building.step) == (RunState.RUNNING, "masters")


def test_the_end_says_why() -> None:
    now = after((*BEGUN, RunFinished(exit_code=0, code="paused")))
    assert (now.state, now.step, now.code) == (RunState.FINISHED, None, "paused")


def test_a_set_that_nothing_needs_any_more_is_not_waited_for() -> None:
    dropped = RunProgress(done=2, wanted=10, dropped=(FrameSet(**DARK, wanted=20),))
    seen = after([*BEGUN, dropped])
    assert (seen.done, seen.wanted) == (2, 10)
    assert [each.wanted.kind for each in seen.sets] == [FrameKind.FLAT]
