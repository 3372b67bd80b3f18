"""Three simulated days over the wire: the daemon as a process, its real runs, and an observer who has the camera."""

from pathlib import Path
from typing import Any

import pytest

from drivers.base import CalibratorStatus, CameraStates, CoverStatus
from services.events.serving import ActivityChanged, ItemFailed
from tests.support.served_daemon import served
from tests.support.three_days import END, RESTART, UNSAFE, VISITS, ThreeDays, three_days


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_three_days_with_weather_an_observer_and_a_restart(tmp_path: Path) -> None:
    with three_days(tmp_path / "days") as days:
        with served(days.night):
            days.sleep_until(RESTART)
        with served(days.night) as daemon:
            days.sleep_until(END)
            state = daemon.state()
            library = days.frames()
        print(f"\n{len(library)} frames, {len(days.runs())} runs, {days.observer.exposures} of the observer's")
        check_library(state, days)
        check_idle(days)
        site = days.site
        assert (site.lamp, site.cover) == (CalibratorStatus.OFF, CoverStatus.CLOSED)
        assert (site.activity, site.cooler_on) == (CameraStates.IDLE, False)
        assert site._read("camera", "connected") is False


def check_library(state: dict[str, Any], days: ThreeDays) -> None:
    """All is there, once, from inside of the windows, and the runs are over."""
    plan = state["plan"]
    assert (plan["due"], plan["none"], plan["stale"], plan["suspect"]) == ([], 0, 0, []), plan
    assert days.outside_of_windows() == []
    assert days.exposed_outside() == []
    assert days.taken_twice() == []
    assert all(run.finished_at is not None for run in days.runs())
    assert days.observer.touched == []
    assert days.observer.exposures > 50


def check_idle(days: ThreeDays) -> None:
    """The daemon has said why it did nothing: the weather, and whose the camera was; nothing has failed."""
    said = days.said()
    idle = [(at, what.reason) for at, what in said if isinstance(what, ActivityChanged)]
    unsafe_at, unsafe_for = UNSAFE
    assert "unsafe" in {reason for at, reason in idle if unsafe_at <= at < unsafe_at + unsafe_for}
    second = VISITS[1]
    assert "camera_in_use" in {reason for at, reason in idle if second.comes <= at < second.goes}
    assert not [what for _, what in said if isinstance(what, ItemFailed)]
    codes = {run.code for run in days.runs()}
    assert {None, "unsafe", "cancelled"} <= codes <= {None, "unsafe", "cancelled", "camera_busy"}
    # he may come between a look at the camera and the run that follows it: that run sees him, and takes nothing
    busy = {run.run_id for run in days.runs() if run.code == "camera_busy"}
    assert len(busy) <= len(VISITS)
    assert not busy & {frame.run_id for frame in days.frames()}
