"""Runs that are ended in order go on exactly where they ended: no frame is lost, none is taken twice."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.events.records import Event, FrameStored
from services.planning.request import DarkTimes, Step
from services.stopping import Stop
from tests.support.served_night import FRAMES, FRAMES_ONLY, ServedNight, served_night

COOLED: dict[str, Any] = {"cooling": {"target_temperature": 5.0}}
WHOLE = 36
"""Frames of such a night: a bias, a dark, two flats and the darks of these, of six frames each."""


def at_frame(number: int, act: Callable[[], object]) -> Callable[[Event], None]:
    """Return a listener that acts when so many frames are stored."""
    stored: list[Event] = []

    def hear(event: Event) -> None:
        if isinstance(event.what, FrameStored):
            stored.append(event)
            if len(stored) == number:
                act()

    return hear


def assert_goes_on(night: ServedNight, taken: int) -> None:
    night.wake = Stop()
    again = night.run(steps=FRAMES_ONLY, **COOLED)
    assert (again.exit_code, again.result.code) == (0, None)
    assert len(again.said("frame.stored")) == WHOLE - taken
    assert set(Counter(header["SETID"] for header in night.headers()).values()) == {FRAMES}
    assert (night.cooler_on, night.set_point_c) == (False, 0.0)


@pytest.mark.parametrize(
    ("code", "order", "holds"),
    [
        ("cancelled", {}, False),
        ("paused", {"hold_cooler": True}, True),
        ("yielded", {"at_most_s": 60.0}, False),
    ],
)
def test_what_an_order_ends_is_continued_exactly(tmp_path: Path, code: str, order: dict[str, Any], holds: bool) -> None:
    with served_night(tmp_path) as night:
        end = at_frame(7, lambda: night.wake.after_frame(code, **order))
        ended = night.run(steps=FRAMES_ONLY, hear=end, **COOLED)
        assert (ended.exit_code, ended.result.code) == (0, code)
        taken = len(night.headers())
        assert 7 <= taken <= 9  # those on their way are stored, too
        assert night.cooler_on is holds
        assert night.set_point_c == (5.0 if holds else 0.0)
        assert_goes_on(night, taken)


def test_a_run_may_leave_the_cooler_to_the_next_one(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        steps = (Step.DARKS,)
        first = night.run(steps=steps, options={"hold_cooler": True, "dark_times": DarkTimes.BIAS}, **COOLED)
        assert (first.exit_code, first.result.code) == (0, None)
        assert (night.cooler_on, night.set_point_c) == (True, 5.0)
        second = night.run(steps=steps, options={"dark_times": DarkTimes.SCIENCE}, **COOLED)
        assert (second.exit_code, second.result.code) == (0, None)
        assert (night.cooler_on, night.set_point_c) == (False, 0.0), "as it was before the first of them"


def test_a_run_that_ends_in_time_begins_nothing_that_cannot_be_finished_and_ends_well(tmp_path: Path) -> None:
    """The long darks are not begun, and the short ones that come after them are taken all the same."""
    two = [
        {"name": name, "temperatures": [5.0], "gain": gain, "darks": {"exposures": exposures, "frames": FRAMES}}
        for name, gain, exposures in (("long", 20, [7200.0]), ("short", 60, [2.0]))
    ]
    with served_night(tmp_path) as night:
        until = night.observatory.clock.now() + timedelta(hours=1)
        ended = night.run(options={"until": until}, **COOLED, programmes=two)
        assert (ended.exit_code, ended.result.code) == (0, None)
        assert ended.said("run.finished")[-1]["early"]
        assert {(header["GAIN"], header["EXPTIME"]) for header in night.headers()} == {(60, 2.0)}
        assert len(night.headers()) == FRAMES
        assert [each["exposure_us"] for each in ended.said("group.started")] == [2_000_000]
        assert ended.result.detail.startswith("stopped in time")
