"""Windows are asked "open now?": by the clock, by the sun, in both changes of the year, on blackout days."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.config import loads
from services.config.models import Site
from services.config.moments import zone
from services.config.serve import Serve
from services.daemon.windows import blackout_end, continued_until, next_opening, next_openings, open_now, served
from services.observatory.sun import Sun
from tests.support.places import ROOT
from tests.support.reference_cron import MINUTES, START, Minutes, minute_of

BERLIN, NEW_YORK, LORD_HOWE = (ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"))
MUNICH = Site(latitude=48.0, longitude=11.0)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def serve_of(*windows: dict[str, Any], **more: Any) -> Serve:
    return Serve.model_validate({"windows": [{"name": f"w{i}", **each} for i, each in enumerate(windows)], **more})


def cron(expression: str, hours: float, **more: Any) -> Serve:
    return serve_of({"cron": expression, "hours": hours}, **more)


@cache
def minutes_of(zone: ZoneInfo) -> Minutes:
    return Minutes(zone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


FIELDS = st.tuples(
    st.sampled_from(["0", "30", "59", "15,45", "*/20", "*", "10-12"]),
    st.sampled_from(["2", "10", "0", "23", "1,2,3", "0-4", "*/6", "*", "1-5/2"]),
    st.sampled_from(["*", "*", "1", "29", "25-31", "*/7"]),
    st.sampled_from(["*", "*", "3,10,11", "4-9", "2"]),
    st.sampled_from(["*", "*", "0", "7", "1-5", "6"]),
).map(" ".join)
CHANGES = [utc(f"2026-{text}") for text in (
    "03-29 01:00", "10-25 01:00", "03-08 07:00", "11-01 06:00", "04-04 15:00", "10-03 15:30"
)]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(FIELDS, st.sampled_from([0.05, 0.5, 1.0, 6.0, 12.25, 24.0, 25.0, 30.0, 200.0, 744.0]),
       st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE]), st.integers(0, 1_000_000))  # fmt: skip
def test_open_now_agrees_with_every_minute_of_two_years(
    expression: str, hours: float, place: ZoneInfo, seed: int
) -> None:
    serve, is_open = cron(expression, hours), minutes_of(place).is_open(expression, hours)
    rng = random.Random(seed)
    times = [START + MINUTE * rng.randrange(50_000, MINUTES - 50_000) for _ in range(5)]
    times += [change + MINUTE * rng.randrange(-2000, 2000) for change in CHANGES]
    edges = (is_open[1:] != is_open[:-1]).nonzero()[0]
    times += [START + MINUTE * int(edge + shift) for edge in edges[edges > 50_000][:6] for shift in (0, 1)]
    for at in times:
        now, minute = at + timedelta(seconds=rng.choice([0, 29, 59.9])), minute_of(at)
        found = open_now(now, serve, None, place)
        assert bool(found) == is_open[minute], now
        if found and found[0].closes_at - now <= 2 * DAY:
            end = minute_of(found[0].closes_at)
            assert is_open[minute:end].all()
            assert not is_open[end]
        following = is_open[minute + 1 :] if not found else is_open[minute_of(found[0].closes_at) + 1 :]
        upcoming = next_opening(now, serve, None, place)
        if not found and following.any():
            assert upcoming is not None
            assert minute_of(upcoming.opens_at) == minute + 1 + int(following.argmax())
        elif upcoming is not None:
            assert not open_now(upcoming.opens_at - timedelta(seconds=1), serve, None, place)


@pytest.mark.parametrize(
    ("place", "expression", "day", "fires"),
    [
        (BERLIN, "30 2 * * *", "2026-03-29", ["01:00"]),  # 02:30 does not exist: at 03:00 summer time
        (BERLIN, "30 2 * * *", "2026-10-25", ["00:30"]),  # 02:30 comes twice: the first
        (BERLIN, "0 12 * * 0", "2026-03-29", ["10:00"]),  # weekday 0 is Sunday, after the change
        (NEW_YORK, "15 2 * * *", "2026-03-08", ["07:00"]),
        (NEW_YORK, "30 1 * * *", "2026-11-01", ["05:30"]),
        (NEW_YORK, "*/30 1 * * *", "2026-11-01", ["05:00", "05:30", "06:00", "06:30"]),  # a star follows the wall
        (LORD_HOWE, "15 2 * * *", "2026-10-03", ["15:30"]),  # half an hour is skipped
        (LORD_HOWE, "45 1 * * *", "2026-04-04", ["14:45"]),  # half an hour is repeated
        (LORD_HOWE, "0 */6 * * *", "2026-10-03", ["01:30", "07:30", "13:30", "19:00"]),
    ],
)
def test_the_changes_of_the_year_are_those_of_debians_cron(
    place: ZoneInfo, expression: str, day: str, fires: list[str]
) -> None:
    serve, opened = cron(expression, 0.05), []
    for minute in range(1440):
        now = utc(day) + MINUTE * minute
        opened += [f"{each.opens_at:%H:%M}" for each in open_now(now, serve, None, place)]
    assert sorted(set(opened)) == fires


def test_a_window_that_is_longer_than_its_period_is_one_window() -> None:
    always = served(loads("{darkness: cover}", Path("o.yaml")).config)
    for change in CHANGES:
        for hours in range(-30, 30):
            (found,) = open_now(change + HOUR * hours, always, None, BERLIN)
            assert found.opens_at <= change + HOUR * hours < found.closes_at
            assert found.closes_at - change - HOUR * hours > DAY
            assert found.opens_at.astimezone(BERLIN).hour == 12
    assert next_openings(CHANGES[0], always, None, BERLIN) == ()


@pytest.mark.parametrize(
    ("darkness", "takes"),
    [("cover", ("bias", "darks")), ("shutter", ("bias", "darks")), ("filter:Dark", ("bias", "darks")),
     ("roof", None), ("manual", None), ("none", None)],
)  # fmt: skip
def test_without_windows_darks_are_taken_where_something_makes_it_dark(darkness: str, takes: tuple[str, ...]) -> None:
    config = loads(f"{{darkness: '{darkness}', filter_wheel: {{}}}}", Path("o.yaml")).config
    found = open_now(utc("2026-11-29 08:00"), served(config), None, BERLIN)
    assert [each.takes for each in found] == ([] if takes is None else [takes])


def test_a_clock_that_cannot_be_right_opens_nothing() -> None:
    serve = cron("* * * * *", 1)
    assert open_now(utc("2000-01-01 00:10"), serve, None, BERLIN) == ()
    assert next_opening(utc("1970-01-01 00:10"), serve, None, BERLIN) is None


@pytest.mark.parametrize(
    ("at", "is_open", "closes"),
    [
        ("2026-12-23 22:59:59", True, "2026-12-23 23:00"),  # midnight in Berlin
        ("2026-12-23 23:00", False, None),
        ("2026-12-26 22:59:59", False, None),
        ("2026-12-26 23:00", True, None),
        ("2026-12-31 23:00", False, None),  # a day by itself
        ("2027-01-01 23:00", False, None),  # the next one adjoins it
        ("2027-01-02 23:00", True, None),
    ],
)
def test_nothing_opens_on_blackout_days_which_are_local(at: str, is_open: bool, closes: str | None) -> None:
    serve = cron("0 12 * * *", 25, blackout=["2026-12-24/2026-12-26", "2027-01-02", "2027-01-01"])
    found = open_now(utc(at), serve, None, BERLIN)
    assert bool(found) is is_open
    assert (blackout_end(utc(at), serve, BERLIN) is None) is is_open
    if closes is not None:
        assert found[0].closes_at == utc(closes)


def test_a_blackout_that_ends_in_the_middle_of_a_window_opens_it() -> None:
    serve = cron("0 20 * * *", 8, blackout=["2026-12-24"])
    opening = next_opening(utc("2026-12-24 01:00"), serve, None, BERLIN)
    assert opening is not None
    assert (opening.opens_at, opening.closes_at) == (utc("2026-12-24 23:00"), utc("2026-12-25 03:00"))
    (found,) = open_now(utc("2026-12-25 01:00"), serve, None, BERLIN)
    assert (found.opens_at, found.closes_at) == (opening.opens_at, opening.closes_at)
    assert blackout_end(utc("2026-12-24 11:00"), serve, BERLIN) == utc("2026-12-24 23:00")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 600), st.integers(0, 40), st.integers(0, 47), st.integers(1, 60))
def test_blackouts_take_their_days_and_nothing_else(first: int, length: int, hour: int, hours: int) -> None:
    days = [date(2026, 2, 1) + timedelta(days=first), date(2026, 2, 1) + timedelta(days=first + length)]
    plain, black = cron("0 */9 * * *", hours / 10), cron("0 */9 * * *", hours / 10, blackout=[f"{days[0]}/{days[1]}"])
    now = datetime.combine(days[hour % 2], datetime.min.time(), NEW_YORK).astimezone(UTC) + HOUR * (hour - 24)
    inside = days[0] <= now.astimezone(NEW_YORK).date() <= days[1]
    assert bool(open_now(now, black, None, NEW_YORK)) == (bool(open_now(now, plain, None, NEW_YORK)) and not inside)
    for found in open_now(now, black, None, NEW_YORK):
        assert not open_now(found.closes_at, black, None, NEW_YORK) or found.closes_at - now > 2 * DAY
    opening = next_opening(now, black, None, NEW_YORK)
    assert opening is not None
    assert open_now(opening.opens_at, black, None, NEW_YORK)[0].closes_at == opening.closes_at
    assert not open_now(opening.opens_at - timedelta(seconds=1), black, None, NEW_YORK)


SITES = {"Munich": (48.0, 11.0), "Sydney": (-33.9, 151.2), "Tromsø": (69.6, 18.9), "Quito": (0.0, -78.5),
         "Vostok": (-78.5, 106.9)}  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SITES)), st.integers(40, 700), st.floats(-20, 30), st.floats(0.1, 40), st.booleans())
def test_a_window_of_the_sun_agrees_with_every_minute_of_a_day(
    site: str, day: int, low: float, width: float, rises: bool
) -> None:
    latitude, longitude = SITES[site]
    ends = (low, min(90.0, low + width))
    serve = serve_of({"sun": ends if rises else ends[::-1], "half": "morning" if rises else "evening"})
    place, sun = Site(latitude=latitude, longitude=longitude), Sun(latitude_deg=latitude, longitude_deg=longitude)
    start = START + DAY * day
    altitudes = [sun.altitude_deg(start + MINUTE * m) for m in range(-1, 1442)]
    for m in range(0, 1440, 13):
        before, at, after = altitudes[m : m + 3]
        if (before < at) is not (at < after) or min(abs(at - end) for end in ends) < 0.01:
            continue  # at a turn, or at an end of the window
        inside = (ends[0] < at < ends[1]) and (at < after) is rises
        found = open_now(start + MINUTE * m, serve, place, UTC)
        assert bool(found) is inside, (m, at)
        for each in found:
            assert each.opens_at <= start + MINUTE * m < each.closes_at
            assert not open_now(each.closes_at + timedelta(seconds=1), serve, place, UTC)
            assert not open_now(each.opens_at - timedelta(seconds=1), serve, place, UTC)
            assert open_now(each.opens_at + (each.closes_at - each.opens_at) / 2, serve, place, UTC) == found


def test_the_next_window_of_the_sun_comes_after_the_polar_night() -> None:
    serve, tromso = serve_of({"sun": [8, -1]}), Site(latitude=69.6, longitude=18.9)
    december = utc("2026-12-01 12:00")
    opening = next_opening(december, serve, tromso, UTC)
    assert opening is not None
    assert date(2027, 1, 8) <= opening.opens_at.date() <= date(2027, 1, 16)  # the sun's centre is above -1° again
    assert open_now(opening.opens_at, serve, tromso, UTC)
    assert next_opening(december, serve_of({"sun": [60, 50]}), tromso, UTC) is None
    assert next_opening(december, serve, None, UTC) is None


@pytest.mark.parametrize("moment", ["2026-06-21 18:00", "2026-12-21 14:30", "2026-03-20 16:30"])
def test_an_interval_is_the_same_whenever_it_is_asked_for(moment: str) -> None:
    serve = serve_of({"sun": [20, -1]})
    (first,) = open_now(utc(moment), serve, MUNICH, UTC)
    asked = [first.opens_at + (first.closes_at - first.opens_at) * part / 50 for part in range(50)]
    assert {each for at in asked for each in open_now(at, serve, MUNICH, UTC)} == {first}


def test_a_begun_set_is_continued_to_the_end_of_the_second_window_that_takes_its_kind() -> None:
    serve = serve_of(
        {"cron": "0 10 * * 1", "hours": 6, "takes": ["darks"]}, {"cron": "0 9 * * *", "hours": 1, "takes": ["flats"]}
    )
    began = utc("2026-11-30 11:00")  # a Monday
    assert continued_until(began, "darks", serve, None, UTC) == utc("2026-12-14 16:00")
    assert continued_until(began, "flats", serve, None, UTC) == utc("2026-12-02 10:00")
    assert continued_until(began, "bias", serve, None, UTC) is None


def test_windows_that_are_too_short_for_a_frame_do_not_count_for_a_begun_set() -> None:
    windows = [
        {"name": "noon", "cron": "0 10 * * *", "hours": 6, "takes": ["darks"]},
        {"name": "tea", "cron": "0 17 * * *", "hours": 1, "takes": ["darks"]},
    ]
    serve, began = Serve.model_validate({"windows": windows}), utc("2026-12-01 11:00")
    until = [continued_until(began, "darks", serve, None, UTC, least=timedelta(minutes=m)) for m in (0, 60, 75, 400)]
    assert until == [utc("2026-12-02 16:00"), utc("2026-12-02 16:00"), utc("2026-12-03 16:00"), utc("2026-12-02 16:00")]


@pytest.fixture
def computers_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if not hasattr(time, "tzset"):
        pytest.skip("this system's zone cannot be set for one process")
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    assert os.environ.get("TZ") == before
    time.tzset()


@pytest.mark.parametrize("computers_zone", ["Europe/Berlin", "Australia/Lord_Howe", "UTC"], indirect=True)
def test_without_a_time_zone_the_computers_is_taken_with_its_changes(computers_zone: str) -> None:
    here, named = zone(None), ZoneInfo(computers_zone)
    for expression in ("30 2 * * *", "45 1 * * *", "*/30 2 * * *", "0 12 * * 0"):
        serve = cron(expression, 1.5)
        for change in CHANGES:
            for minutes in range(-1500, 1500, 97):
                at = change + MINUTE * minutes
                assert at.astimezone(here).replace(tzinfo=None) == at.astimezone(named).replace(tzinfo=None)
                assert open_now(at, serve, None, here) == open_now(at, serve, None, named)


def test_windows_load_nothing_heavy() -> None:
    heavy = "numba scipy astropy photutils matplotlib PIL services.capture services.masters services.bands"
    program = f"import sys, services.daemon.windows; print([n for n in '{heavy}'.split() if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
