"""What is taken next, of wanted masters, open windows and what things cost; nothing is read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from calibration.frames import FrameKind
from calibration.plans.sequence import Costs, WantedSet
from services.config.serve import Kind, Serve
from services.daemon.parts import Begin, Nothing
from services.daemon.reconciler import IdleReason, Pace, by_order_only, choose, windows_in
from services.daemon.windows import OpenWindow
from services.planning.item import item_key
from services.planning.wanted_master import Happens, Serves, WantedMaster

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
PACE = Pace(costs=Costs(frame_bytes=1000))
ALL: tuple[Kind, ...] = ("bias", "darks", "flats")


def window(hours: float = 6.0, takes: tuple[Kind, ...] = ALL, **fields: Any) -> OpenWindow:
    """Return a window that opened an hour ago and is open for some hours more."""
    opened = NOW - timedelta(hours=1)
    return OpenWindow(
        **{
            "name": "w",
            "opens_at": opened,
            "closes_at": NOW + timedelta(hours=hours),
            "takes": takes,
            "needs": (),
            **fields,
        }
    )


def dark(exposure_s: float = 60.0, count: int = 10, *, at: float | None = -10.0, **fields: Any) -> WantedMaster:
    """Return a dark of which frames are due."""
    wanted = WantedSet(
        kind=FrameKind.DARK,
        count=count,
        why=("science",),
        exposure_us=round(exposure_s * 1e6),
        gain=26,
        set_temp_c=at,
    )
    return of(wanted, **fields)


def flat(name: str, source: str = "panel", **fields: Any) -> WantedMaster:
    """Return a flat of which frames are due."""
    wanted = WantedSet(kind=FrameKind.FLAT, count=10, why=("flat",), filter=name, source=source, set_temp_c=-10.0)
    return of(wanted, **fields)


def of(wanted: WantedSet, **fields: Any) -> WantedMaster:
    made: dict[str, Any] = {"happens": Happens.DUE, "programmes": ("p",), "max_age_days": 60.0, **fields}
    return WantedMaster(key=item_key(wanted), wanted=wanted, **made)


def begin(*masters: WantedMaster, windows: tuple[OpenWindow, ...] = (window(),), pace: Pace = PACE) -> Begin:
    """Return the piece that is chosen."""
    found = choose(masters, now=NOW, windows=windows, pace=pace)
    assert isinstance(found, Begin), found
    return found


def nothing(*masters: WantedMaster, windows: tuple[OpenWindow, ...] = (window(),), **more: Any) -> Nothing:
    """Return why nothing is chosen."""
    found = choose(masters, now=NOW, windows=windows, pace=PACE, **more)
    assert isinstance(found, Nothing), found
    return found


BEGUN = dark(60, happens=Happens.PARTIAL, have=4, begun_at=NOW - timedelta(hours=20), serves=Serves.STALE)
MISSING = dark(120)
STALE = dark(180, serves=Serves.STALE)
AGEING = dark(240, serves=Serves.AGEING, is_anew=True)


def test_begun_sets_come_first_then_what_is_missing_then_what_is_too_old_then_what_ages() -> None:
    order, left = [], [AGEING, STALE, MISSING, BEGUN]
    while left:
        (key,) = begin(*left).items
        order.append(key)
        left = [each for each in left if each.key != key]
    assert order == [BEGUN.key, MISSING.key, STALE.key, AGEING.key]


def test_what_fewest_windows_take_comes_first_for_the_rest_can_be_had_at_other_times() -> None:
    serve = Serve.model_validate(
        {
            "windows": [
                {"name": "midday", "cron": "0 10 * * *", "hours": 6, "takes": ["bias", "darks"]},
                {"name": "evening", "sun": [8.0, -1.0], "half": "evening", "takes": ["flats", "darks"]},
            ]
        }
    )
    flats = flat("L", serves=Serves.STALE)
    masters = (dark(60), dark(120, have=3, begun_at=NOW), flats, flat("Ha", serves=Serves.AGEING))

    def chosen(*wanted: WantedMaster) -> tuple[str, ...]:
        found = choose(wanted, now=NOW, windows=(window(),), pace=PACE, windows_of=windows_in(serve))
        assert isinstance(found, Begin)
        return found.items

    assert chosen(*masters) == (flats.key,)
    assert chosen(*masters[:2], masters[3]) == (masters[1].key,)  # what only ages has no hurry
    assert begin(*masters).items == (masters[1].key,)  # one window takes all of them


def test_nothing_is_a_normal_state() -> None:
    fine = replace(STALE, happens=Happens.NOTHING)
    stuck = [replace(STALE, happens=each) for each in (Happens.SUSPECT, Happens.BLOCKED)]
    assert nothing(fine, *stuck).reason == IdleReason.NOTHING_DUE
    assert nothing().reason == IdleReason.NOTHING_DUE


def test_outside_of_windows_it_says_what_waits_and_until_when() -> None:
    opens = NOW + timedelta(hours=3)
    found = nothing(dark(), flat("Ha"), windows=(), opens_next=opens)
    assert (found.reason, found.until) == (IdleReason.OUTSIDE_WINDOWS, opens)
    assert "dark 60 s, flat Ha" in found.detail
    assert nothing(flat("Ha"), windows=(window(takes=("bias", "darks")),)).reason == IdleReason.OUTSIDE_WINDOWS


@pytest.mark.parametrize(
    ("minutes", "stands_c", "is_taken"),
    [(26, None, True), (25, None, False), (25, -20.0, False), (11, -10.0, True), (11, -9.7, True), (10, -10.0, False)],
)
def test_nothing_is_begun_of_which_not_one_frame_ends_in_the_window(
    minutes: float, stands_c: float | None, is_taken: bool
) -> None:
    """600 s, readout and start: 607 s; cooling: 900 s."""
    pace = replace(PACE, stands_c=stands_c)
    found = choose([dark(600)], now=NOW, windows=(window(minutes / 60),), pace=pace)
    assert isinstance(found, Begin) is is_taken
    if isinstance(found, Nothing):
        assert "not of use before the window closes" in found.detail


def test_a_set_that_is_longer_than_its_window_is_taken_in_pieces() -> None:
    found = begin(dark(600, count=100), windows=(window(2),))
    assert found.until == NOW + timedelta(hours=2)
    assert found.seconds == 7200
    assert not found.holds_cooler


def test_what_ages_is_taken_only_whole_and_when_nothing_else_is_of_use() -> None:
    assert begin(AGEING, windows=(window(1.5),)).anew == {AGEING.key}
    assert nothing(AGEING, windows=(window(0.8),)).reason == IdleReason.OUTSIDE_WINDOWS
    long = dark(3600, serves=Serves.STALE)
    assert begin(AGEING, long, windows=(window(1.2),)).items == (AGEING.key,)  # of the other no frame would end
    assert begin(AGEING, long, windows=(window(1.3),)).items == (long.key,)


def test_one_piece_is_of_one_temperature_and_prefers_the_one_at_which_the_cooler_stands() -> None:
    cold, warm, long = dark(60, at=-20.0), dark(60, at=-10.0), dark(300, at=-10.0)
    assert begin(cold, warm, long, pace=replace(PACE, stands_c=-10.0)).items == (warm.key, long.key)
    found = begin(cold, warm, long)
    assert (found.items, found.set_temp_c) == ((cold.key,), -20.0)
    assert begin(cold, replace(warm, serves=Serves.STALE), pace=replace(PACE, stands_c=-10.0)).items == (cold.key,)
    assert begin(dark(at=None)).set_temp_c is None


def test_the_cooler_is_held_where_more_is_to_follow_at_this_temperature() -> None:
    assert begin(BEGUN, MISSING).holds_cooler
    assert not begin(BEGUN, replace(MISSING, wanted=replace(MISSING.wanted, set_temp_c=-20.0))).holds_cooler
    assert not begin(BEGUN, MISSING, windows=(window(0.38),)).holds_cooler
    assert not begin(MISSING, dark(300)).holds_cooler  # both are of this piece


def test_a_piece_holds_what_fits_and_later_ones_that_are_shorter() -> None:
    long, short = dark(3000, count=30), dark(10)
    assert begin(long, short, windows=(window(4),)).items == (long.key,)
    assert begin(dark(600, count=5), long, short, windows=(window(1.5),)).items == (
        dark(600).key,
        short.key,
    )


def test_a_run_ends_with_the_window_of_what_it_takes() -> None:
    day, evening = window(1, takes=("darks",)), window(3, takes=("flats",))
    found = begin(flat("L"), dark(), windows=(day, evening))
    assert (found.items, found.until) == ((flat("L").key,), evening.closes_at)
    found = begin(dark(), flat("L"), windows=(day, evening))
    assert (found.items, found.until) == ((dark().key, flat("L").key), day.closes_at)


def test_flats_of_the_sky_are_taken_in_windows_of_the_sun_alone() -> None:
    sky = flat("L", source="sky")
    assert nothing(sky).reason == IdleReason.OUTSIDE_WINDOWS
    assert begin(sky, windows=(window(is_of_sun=True),)).items == (sky.key,)
    assert begin(flat("L"), windows=(window(is_of_sun=True),)).items == (flat("L").key,)


def test_what_failed_is_tried_again_once_in_a_window_that_opened_later() -> None:
    failed = replace(dark(), happens=Happens.FAILED, failed_at=NOW - timedelta(minutes=30))
    assert nothing(failed).reason == IdleReason.BACKING_OFF
    assert begin(replace(failed, failed_at=NOW - timedelta(hours=2))).items == (failed.key,)
    other = window(takes=("flats",), opens_at=NOW - timedelta(minutes=1))
    assert nothing(failed, windows=(window(), other)).reason == IdleReason.BACKING_OFF


def test_what_failed_stops_nothing_else() -> None:
    again_at = NOW + timedelta(minutes=10)
    failed = replace(dark(), happens=Happens.FAILED, failed_at=NOW, again_at=again_at)
    assert begin(failed, dark(120)).items == (dark(120).key,)
    found = nothing(failed)
    assert (found.reason, found.until) == (IdleReason.BACKING_OFF, again_at)


def test_a_run_continues_sets_as_long_as_the_window_of_their_end_says() -> None:
    found = begin(BEGUN)
    assert found.resume_within_h == pytest.approx(20 + 6 + 1)
    assert begin(MISSING).resume_within_h is None


@pytest.mark.parametrize(
    ("windows", "by_order"),
    [
        ([], ["dark", "flat", "sky"]),
        ([{"name": "a", "cron": "0 10 * * *", "hours": 6, "takes": ["flats", "darks"]}], ["sky"]),
        ([{"name": "a", "sun": [-9, -1], "half": "morning", "takes": ["flats"]}], ["dark"]),
        ([{"name": "a", "sun": [-9, -1], "half": "morning", "takes": ["bias", "darks"]}], ["flat", "sky"]),
    ],
)
def test_what_no_window_takes_is_taken_by_order_only(windows: list[Any], by_order: list[str]) -> None:
    obstacle = by_order_only(Serve.model_validate({"windows": windows}))
    masters = {"dark": dark(), "flat": flat("L"), "sky": flat("L", source="sky")}
    assert [name for name, each in masters.items() if obstacle(each.wanted)] == by_order
    assert all("by order only" in obstacle(masters[name].wanted) for name in by_order)
