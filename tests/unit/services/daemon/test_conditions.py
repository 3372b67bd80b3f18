"""Rules of the conditions: what forbids work, for how long, and in which words. Nothing is read, no time passes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.surroundings import DomeState, ShutterStatus, TelescopeState
from services.config.models import Config
from services.daemon.conditions import (
    Block,
    CameraUse,
    Reading,
    Readings,
    Reason,
    blocked,
    forbidding,
    is_mended,
    seen_unsafe,
    unsafe,
    with_safety,
    with_troubles,
)
from services.daemon.pace import POLL_S

NIGHT, NOON = datetime(2026, 3, 20, 0, 30, tzinfo=UTC), datetime(2026, 3, 20, 11, 30, tzinfo=UTC)
SITE = {"latitude": 50.0, "longitude": 10.0}


def config(**sections: object) -> Config:
    return Config.model_validate({"safety_monitor": {"poll": 2, "stale_after": 10}} | sections)


def well(now: datetime) -> Readings:
    return Readings(
        safety=Reading(value=True, at=now),
        dome=Reading(value=DomeState(shutter=ShutterStatus.CLOSED, at_park=True), at=now),
        telescope=Reading(value=TelescopeState(at_park=True, tracking=False, altitude_deg=12.0), at=now),
        camera=Reading(value=CameraUse(), at=now),
        free_bytes=Reading(value=10**12, at=now),
    )


def reasons(blocks: tuple[Block, ...]) -> list[str]:
    return [block.reason.value for block in blocks]


ALL_NEEDS = ("roof_closed", "parked", "not_tracking", "sun_below:-12")
EVERYTHING = {"dome": {}, "telescope": {"device_id": 0}, "site": SITE}


def test_nothing_is_forbidden_when_all_is_well() -> None:
    assert blocked(well(NIGHT), ALL_NEEDS, config(**EVERYTHING), now=NIGHT) == ()


@pytest.mark.parametrize("change", ["dome", "telescope"])
def test_a_device_that_says_nothing_allows_nothing_that_depends_on_it(change: str) -> None:
    silent = replace(well(NIGHT), **{change: Reading(problem="no answer in time to GET devicestate")})
    found = blocked(silent, ALL_NEEDS, config(**EVERYTHING), now=NIGHT)
    assert set(reasons(found)) == {"conditions"}
    assert all("it has said nothing yet (no answer in time" in block.detail for block in found)
    unasked = blocked(replace(well(NIGHT), **{change: Reading()}), ALL_NEEDS, config(**EVERYTHING), now=NIGHT)
    assert all("has not been asked yet" in block.detail for block in unasked)


@pytest.mark.parametrize(
    ("need", "dome", "says"),
    [
        ("roof_closed", ShutterStatus.OPENING, "the roof is opening"),
        ("roof_closed", ShutterStatus.OPEN, "the roof is open"),
        ("roof_closed", ShutterStatus.ERROR, "in error"),
        ("roof_open", ShutterStatus.CLOSED, "the roof is closed"),
        ("roof_open", ShutterStatus.CLOSING, "the roof is closing"),
        ("roof_open", None, "does not say whether its shutter is open"),
        ("roof_closed", None, "does not say whether its shutter is open"),
    ],
)
def test_a_shutter_on_its_way_is_neither_open_nor_closed(need: str, dome: ShutterStatus | None, says: str) -> None:
    readings = replace(well(NIGHT), dome=Reading(value=DomeState(shutter=dome, at_park=None), at=NIGHT))
    (block,) = blocked(readings, (need,), config(**EVERYTHING), now=NIGHT)
    assert block.reason is Reason.CONDITIONS
    assert says in block.detail
    assert block.detail.startswith(need)


@pytest.mark.parametrize(
    ("need", "mount", "says"),
    [
        (
            "parked",
            TelescopeState(at_park=False, tracking=True, altitude_deg=61.2),
            "is not parked, it points 61° high",
        ),
        ("parked", TelescopeState(at_park=None, tracking=True, altitude_deg=None), "does not say whether it is parked"),
        ("not_tracking", TelescopeState(at_park=True, tracking=True, altitude_deg=None), "is tracking"),
        ("not_tracking", TelescopeState(at_park=True, tracking=None, altitude_deg=None), "does not say whether it"),
    ],
)
def test_a_mount_is_asked_for_park_and_tracking(need: str, mount: TelescopeState, says: str) -> None:
    readings = replace(well(NIGHT), telescope=Reading(value=mount, at=NIGHT))
    (block,) = blocked(readings, (need,), config(**EVERYTHING), now=NIGHT)
    assert says in block.detail


def test_old_readings_say_nothing_and_tell_their_age() -> None:
    later = NIGHT + timedelta(minutes=5)
    readings = replace(well(later), dome=Reading(value=DomeState(shutter=ShutterStatus.CLOSED, at_park=True), at=NIGHT))
    (block,) = blocked(readings, ("roof_closed",), config(**EVERYTHING), now=later)
    assert "its last answer is 5 min old" in block.detail


def test_the_sun_is_judged_by_the_site() -> None:
    day, night = (blocked(well(at), ("sun_below:-12",), config(site=SITE), now=at) for at in (NOON, NIGHT))
    assert night == ()
    assert "the sun is at" in day[0].detail


def test_by_day_darks_wait_for_a_closed_roof_where_there_is_a_dome() -> None:
    opened = replace(well(NOON), dome=Reading(value=DomeState(shutter=ShutterStatus.OPEN, at_park=None), at=NOON))
    (block,) = blocked(opened, (), config(dome={}, site=SITE), now=NOON)
    assert list(forbidding((block,), "darks")) == list(forbidding((block,), "bias")) == [block]
    assert list(forbidding((block,), "flats")) == []
    assert "no darks while the sun is up: the roof is open" in block.detail
    assert blocked(well(NOON), (), config(dome={}, site=SITE), now=NOON) == ()  # closed
    at_night = replace(opened, dome=replace(opened.dome, at=NIGHT))
    assert blocked(replace(well(NIGHT), dome=at_night.dome), (), config(dome={}, site=SITE), now=NIGHT) == ()
    assert blocked(opened, (), config(site=SITE), now=NOON) == ()  # no dome: the judge of the first dark decides
    assert blocked(opened, (), config(dome={"enabled": False}, site=SITE), now=NOON) == ()
    (unknown,) = blocked(opened, (), config(dome={}), now=NOON)
    assert "nobody knows whether it is day" in unknown.detail


def test_a_full_disk_a_camera_in_use_and_a_wrong_clock_have_their_own_reasons() -> None:
    full = replace(well(NIGHT), free_bytes=Reading(value=10**9, at=NIGHT))
    assert "keeps 2 GB free" in blocked(full, (), config(), now=NIGHT)[0].detail
    used = replace(well(NIGHT), camera=Reading(value=CameraUse(by_others="another program exposes with it"), at=NIGHT))
    assert reasons(blocked(used, (), config(), now=NIGHT)) == ["camera_in_use"]
    at_first = datetime(1970, 1, 1, tzinfo=UTC)
    assert reasons(blocked(well(at_first), (), config(), now=at_first)) == ["clock_not_credible"]


def test_a_camera_that_does_not_answer_is_no_observer() -> None:
    away = replace(well(NIGHT), camera=Reading(value=None, at=None, problem="no server runs on this port"))
    assert blocked(away, (), config(), now=NIGHT) == ()


def test_without_a_safety_monitor_it_is_safe() -> None:
    assert blocked(replace(well(NIGHT), safety=Reading()), (), Config(), now=NIGHT) == ()
    off = Config.model_validate({"safety_monitor": {"enabled": False}})
    assert blocked(replace(well(NIGHT), safety=Reading()), (), off, now=NIGHT) == ()


# --- troubles that fail a run -----------------------------------------------------------------------------------------

THERE = Reading(value=CameraUse(), at=NIGHT)
AWAY = replace(THERE, problem="no server runs there")
FULL, ROOM = Reading(value=1_000, at=NIGHT), Reading(value=10**12, at=NIGHT)
PLAIN = config()


def after(*seen: Readings, code: str, failed_s: float = 0.5) -> bool:
    """Whether what failed at a second is mended after readings, one a second."""
    readings = Readings()
    for i, each in enumerate(seen):
        readings = with_troubles(replace(each, troubles=readings.troubles), PLAIN, NIGHT + timedelta(seconds=i))
    now = NIGHT + timedelta(seconds=len(seen))
    return is_mended(readings, PLAIN, now, code=code, at=NIGHT + timedelta(seconds=failed_s))


@pytest.mark.parametrize(
    ("code", "trouble", "well"),
    [
        ("device_lost", Readings(camera=AWAY), Readings(camera=THERE)),
        ("login_refused", Readings(camera=AWAY), Readings(camera=THERE)),
        ("disk_full", Readings(free_bytes=FULL), Readings(free_bytes=ROOM)),
    ],
)
def test_what_failed_is_tried_again_when_its_trouble_was_seen_after_that_and_is_over(
    code: str, trouble: Readings, well: Readings
) -> None:
    assert after(well, trouble, well, code=code)
    assert not after(well, trouble, code=code)
    assert not after(well, well, code=code)  # nobody has seen it: it may last
    assert not after(trouble, well, well, code=code)  # that was over before it failed
    assert not after(well, trouble, well, code="not_dark")
    assert not after(well, trouble, well, code="")


def test_a_camera_that_is_not_asked_has_not_come_back() -> None:
    ours = Readings(camera=Reading(value=CameraUse(ours="a run is at work"), at=NIGHT))
    assert not after(ours, Readings(camera=AWAY), ours, code="device_lost")


# --- safe, unsafe, silent ---------------------------------------------------------------------------------------------

ASKED_S, STALE_S, WAIT_S = 2, POLL_S + 10, 60
SETTINGS = config(serve={"resume_after_unsafe": WAIT_S})
MISSING = "it has said nothing yet (lost)"


def folded(answers: list[bool | None], began: datetime = NIGHT) -> Readings:
    """Return the readings after questions every two seconds; None is one without an answer."""
    readings = Readings()
    for i, answer in enumerate(answers):
        now = began + timedelta(seconds=ASKED_S * i)
        said = replace(readings.safety, problem="lost") if answer is None else Reading(value=answer, at=now)
        readings = with_safety(readings, said, SETTINGS, now=now, since=began)
    return readings


def allowed(answers: list[bool | None], after_s: float = 0.0) -> bool:
    now = NIGHT + timedelta(seconds=ASKED_S * (len(answers) - 1) + after_s)
    return unsafe(folded(answers), SETTINGS, now) is None


def expected(answers: list[bool | None]) -> bool:
    """The same, from the whole history at once: safe now, and at every question of the last minute known to be safe."""
    known = [i for i, answer in enumerate(answers) if answer is not None]
    if not known or ASKED_S * (len(answers) - 1 - known[-1]) > STALE_S:
        return False

    def was_well(i: int) -> bool:
        before = [k for k in known if k <= i]
        if not before:
            return ASKED_S * i <= STALE_S
        # the answer before this one must not have been too old when this question was asked
        gap_from = before[-2] if before[-1] == i and len(before) > 1 else before[-1]
        first = before[-1] == i and len(before) == 1
        stale = ASKED_S * (i - gap_from) > STALE_S and not first
        return answers[before[-1]] is True and not stale

    last = len(answers) - 1
    return answers[known[-1]] is True and all(was_well(i) for i in range(len(answers)) if ASKED_S * (last - i) < WAIT_S)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([True, True, False, None]), st.integers(1, 35)), min_size=1, max_size=8))
def test_safe_counts_when_it_has_been_known_to_be_safe_for_long_enough(spells: list[tuple[bool | None, int]]) -> None:
    answers = [answer for answer, times in spells for _ in range(times)]
    assert allowed(answers) is expected(answers)


def test_at_the_start_the_first_safe_answer_is_enough() -> None:
    assert allowed([True])
    assert allowed([None, None, True])
    assert not allowed([])
    assert not allowed([None] * 25 + [True])


def test_before_the_first_answer_nothing_is_begun_but_nobody_calls_it_unsafe() -> None:
    block = unsafe(Readings(), SETTINGS, NIGHT)
    assert block is not None
    assert block.reason is Reason.CONDITIONS
    block = unsafe(folded([None]), SETTINGS, NIGHT)
    assert block is not None
    assert (block.reason, block.detail) == (Reason.UNSAFE, "the safety monitor does not answer: " + MISSING)


def test_a_gust_that_only_a_run_has_seen_is_waited_out_as_any_other() -> None:
    readings = seen_unsafe(folded([True] * 5), NIGHT + timedelta(seconds=8))
    block = unsafe(readings, SETTINGS, NIGHT + timedelta(seconds=9))
    assert block is not None
    assert (block.until, "safe for 1 min" in block.detail) == (NIGHT + timedelta(seconds=8 + WAIT_S), True)
    short = config(serve={"resume_after_unsafe": 15})
    block = unsafe(readings, short, NIGHT + timedelta(seconds=9))
    assert block is not None
    assert "safe for 15 s" in block.detail


def test_one_unsafe_answer_waits_the_whole_time() -> None:
    assert not allowed([True] * 50 + [False] + [True] * 29)
    assert allowed([True] * 50 + [False] + [True] * 30)
    block = unsafe(folded([False, True]), SETTINGS, NIGHT + timedelta(seconds=2))
    assert block is not None
    assert block.until == NIGHT + timedelta(seconds=WAIT_S)


def test_an_answer_that_is_missed_now_and_then_is_no_bad_weather() -> None:
    assert allowed([True, None, None, None, None, True] * 20)


def test_what_is_asked_too_late_is_stale_without_a_new_answer() -> None:
    assert allowed([True], after_s=STALE_S)
    assert not allowed([True], after_s=STALE_S + 1)


@pytest.mark.parametrize("jump_s", [-86_400, -3600, 3600, 86_400])
def test_a_clock_that_jumps_delays_work_by_no_more_than_the_usual_time(jump_s: float) -> None:
    readings, now = folded([True, False, True]), NIGHT + timedelta(seconds=jump_s)
    for i in range(WAIT_S // ASKED_S + 2):
        at = now + timedelta(seconds=ASKED_S * i)
        readings = with_safety(readings, Reading(value=True, at=at), SETTINGS, now=at, since=NIGHT)
    assert unsafe(readings, SETTINGS, at) is None


def test_on_a_fast_clock_a_reading_may_be_older() -> None:
    readings = Readings(safety=Reading(value=True, at=NIGHT), least_age_s=500.0)
    assert unsafe(readings, SETTINGS, NIGHT + timedelta(seconds=400)) is None
