"""What a run teaches: which items failed, which can be had again, and what was no failure at all."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from calibration.frames import FrameKind, GroupStatus
from services.catalogue.catalogue import Catalogue
from services.catalogue.models import ModelRow
from services.catalogue.rows import FrameRow, RunRow
from services.config import loads
from services.daemon.building import Building
from services.daemon.ended_windows import ended
from services.daemon.mind import ALL_MASTERS, Calm, Mind
from services.daemon.orders import RefusalCode
from services.daemon.parts import Begin, Ended, Nothing
from services.daemon.state_file import LastRun, Remembered
from services.daemon.windows import OpenWindow
from services.events.records import GroupFinished
from services.files.locks import RootLock
from services.planning.programmes import programmes_of
from services.root import layout_of

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DARK, BIAS = "dark_5.000s", "bias_0.001s"


def mind_of(tmp_path: Path, text: str = "") -> Mind:
    loaded = loads(f"camera: {{alpaca: {{host: h}}}}\nserve: {{timezone: UTC{text}}}\n", tmp_path / "c.yaml")
    config = loaded.config.model_copy(update={"programmes": programmes_of(loaded.config)})
    loaded = loaded.model_copy(update={"config": config})
    return Mind(loaded, read=lambda: loaded)


def finished(item: str, code: str | None = None, *, there: bool = False) -> GroupFinished:
    status = GroupStatus.COMPLETE if code is None else GroupStatus.FAILED
    return GroupFinished(
        set_id="s", kind=FrameKind.DARK, filter=None, exposure_us=1, item=item, status=status, code=code,
        accepted=0 if there or code else 3,
        there=there,
    )  # fmt: skip


def learn(mind: Mind, ended: Ended, *outcomes: GroupFinished, state: Remembered | None = None) -> Remembered:
    return mind.learn(ended, (DARK, BIAS), outcomes, state or Remembered(), NOW)


def test_a_set_that_fails_is_tried_later_and_one_that_is_had_is_forgotten(tmp_path: Path) -> None:
    mind = mind_of(tmp_path)
    state = learn(mind, Ended(run_id="r", exit_code=1), finished(DARK, "not_dark"), finished(BIAS))
    assert list(state.failures) == [DARK]
    assert state.failures[DARK]["code"] == "not_dark"
    again = datetime.fromisoformat(state.failures[DARK]["again_at"])
    assert again == NOW + timedelta(minutes=15)
    assert learn(mind, Ended(run_id="r", exit_code=0), finished(DARK), state=state).failures == {}
    both = finished(BIAS), finished(DARK, there=True)
    assert learn(mind, Ended(run_id="r", exit_code=0), *both, state=state).failures == {}


@pytest.mark.parametrize("code", ["device_lost", "worker_died", "disk_full", "internal_error"])
def test_a_run_that_fails_fails_all_that_it_was_begun_for(tmp_path: Path, code: str) -> None:
    ended = Ended(run_id="r", exit_code=3, code=code, died=code == "worker_died")
    state = learn(mind_of(tmp_path), ended, finished(BIAS))
    assert {key: each["code"] for key, each in state.failures.items()} == {DARK: code}


@pytest.mark.parametrize(
    "code", ["cancelled", "paused", "yielded", "unsafe", "safety_stale", "interrupted", "camera_busy"]
)
def test_what_an_order_the_weather_or_another_program_ended_has_not_failed(tmp_path: Path, code: str) -> None:
    assert learn(mind_of(tmp_path), Ended(run_id="r", exit_code=0, code=code)).failures == {}


@pytest.mark.parametrize(("code", "noted"), [("unsafe", [NOW]), ("safety_stale", [NOW]), ("device_lost", [])])
def test_that_it_was_unsafe_for_a_run_is_noted_for_the_next(tmp_path: Path, code: str, noted: list[datetime]) -> None:
    class Windy(Calm):
        def note_unsafe(self, now: datetime) -> None:
            seen.append(now)

    seen: list[datetime] = []
    mind = mind_of(tmp_path)
    mind = Mind(mind.loaded, read=lambda: mind.loaded, surroundings=Windy())
    learn(mind, Ended(run_id="r", exit_code=4, code=code))
    assert seen == noted


def test_what_failed_is_due_at_once_when_its_cause_is_seen_to_be_over_and_stays_known(tmp_path: Path) -> None:
    class Mended(Calm):
        def is_mended(self, code: str, at: datetime, now: datetime) -> bool:
            return is_over and (code, at) == ("disk_full", NOW)

    is_over = False
    mind = mind_of(tmp_path)
    mind = Mind(mind.loaded, read=lambda: mind.loaded, surroundings=Mended())
    with Catalogue(tmp_path / ".nightcal" / "catalogue.sqlite"):
        pass
    state = learn(mind, Ended(run_id="r", exit_code=5, code="disk_full", detail="no room"), finished(BIAS, "not_dark"))
    soon = NOW + timedelta(minutes=1)
    assert not {DARK, BIAS} & mind.look(soon, state).due
    is_over = True
    assert mind.look(soon, state).due & {DARK, BIAS} == {DARK}
    assert set(state.failures) == {DARK, BIAS}


def test_what_hinders_all_is_said_rather_than_what_it_has_failed(tmp_path: Path) -> None:
    class Full(Calm):
        def unmet(self, _window: OpenWindow, _now: datetime) -> str:
            return "make room"

    mind = mind_of(tmp_path)
    mind = Mind(mind.loaded, read=lambda: mind.loaded, surroundings=Full())
    state = learn(mind, Ended(run_id="r", exit_code=5, code="disk_full"))
    choice = mind.look(NOW, state).choice
    assert isinstance(choice, Nothing)
    assert (choice.reason, "make room" in choice.detail) == ("conditions", True)


def test_a_run_whose_window_closed_has_not_failed(tmp_path: Path) -> None:
    assert learn(mind_of(tmp_path), Ended(run_id="r", exit_code=0), finished(BIAS)).failures == {}


def test_a_set_that_is_longer_than_its_window_has_not_failed_where_frames_of_it_were_taken(tmp_path: Path) -> None:
    assert learn(mind_of(tmp_path), Ended(run_id="r", exit_code=0, taken=2)).failures == {}


@pytest.mark.parametrize("outcomes", [(), (finished(DARK, there=True), finished(BIAS, there=True))])
def test_a_run_that_takes_nothing_of_what_is_due_is_not_begun_again_at_once(
    tmp_path: Path, outcomes: tuple[GroupFinished, ...]
) -> None:
    state = learn(mind_of(tmp_path), Ended(run_id="r", exit_code=0), *outcomes)
    assert {key: each["code"] for key, each in state.failures.items()} == dict.fromkeys((DARK, BIAS), "nothing_taken")


def test_that_all_is_there_of_the_temperature_that_a_sensor_happens_to_have_is_no_failure(tmp_path: Path) -> None:
    text = "camera: {alpaca: {host: h}}\ncooling: {mode: off}\nfilter_wheel: null\n"
    text += "programmes: [{name: a, temperatures: as_they_come, bias: {}, darks: {exposures: [5]}}]\n"
    loaded = loads(text, tmp_path / "c.yaml")
    mind = Mind(loaded, read=lambda: loaded)
    mind.look(NOW, Remembered())
    there = finished(DARK, there=True), finished(BIAS, there=True)
    assert learn(mind, Ended(run_id="r", exit_code=0), *there).failures == {}
    state = learn(mind, Ended(run_id="r", exit_code=0), there[0])  # of the biases nothing was said
    assert {key: each["code"] for key, each in state.failures.items()} == {BIAS: "nothing_taken"}


def test_an_empty_library_is_begun_where_no_window_is_named_with_biases_and_darks_alone(tmp_path: Path) -> None:
    found = mind_of(tmp_path).look(NOW, Remembered())
    assert isinstance(found.choice, Begin)
    assert not any(key.startswith("flat") for key in found.choice.items)
    assert any(key.startswith("flat") for key in found.due)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (', windows: [{name: noon, cron: "0 16 * * *", hours: 1}]', "outside_windows"),
        (", blackout: [2026-06-01]", "blackout"),
    ],
)
def test_nothing_is_begun_where_no_window_is_open_and_it_says_until_when(
    tmp_path: Path, text: str, reason: str
) -> None:
    found = mind_of(tmp_path, text).look(NOW, Remembered())
    assert isinstance(found.choice, Nothing)
    assert (found.choice.reason, found.choice.until is not None) == (reason, True)


def test_a_clock_that_cannot_be_right_begins_nothing(tmp_path: Path) -> None:
    found = mind_of(tmp_path).look(datetime(1970, 1, 2, tzinfo=UTC), Remembered())
    assert isinstance(found.choice, Nothing)
    assert found.choice.reason == "clock_not_credible"


def test_a_window_that_an_order_ended_stays_over(tmp_path: Path) -> None:
    mind = mind_of(tmp_path)
    state = Remembered(windows_over={"always": NOW + timedelta(hours=1)})
    found = mind.look(NOW, state).choice
    assert isinstance(found, Nothing)
    assert (found.until, found.detail) == (NOW + timedelta(hours=1), "the run of the window always was ended by order")
    assert isinstance(mind.look(NOW + timedelta(hours=1), state).choice, Begin)
    assert isinstance(mind.look(NOW - timedelta(days=3), state).choice, Begin)  # the clock was wrong when it was noted


DAY_AND_NOON = (
    ", windows: [{name: day, cron: '0 6 * * *', hours: 20, takes: [bias, darks]}, "
    "{name: noon, cron: '0 12 * * *', hours: 2, takes: [bias]}]"
)


def test_another_window_is_not_touched_when_the_run_of_one_is_ended(tmp_path: Path) -> None:
    mind, close = mind_of(tmp_path, DAY_AND_NOON), NOW.replace(hour=2) + timedelta(days=1)
    morning = NOW - timedelta(hours=2)
    first = mind.look(morning, Remembered())
    assert isinstance(first.choice, Begin)
    assert (first.choice.windows, first.closing) == ({"day"}, {"day": close})
    state = Remembered(windows_over=ended({}, morning, names=first.choice.windows, closing=first.closing))
    found = mind.look(morning, state).choice
    assert isinstance(found, Nothing)
    assert found.until == NOW  # then the other one opens
    noon = mind.look(NOW, state).choice
    assert isinstance(noon, Begin)
    assert (noon.items, noon.windows) == ((BIAS,), {"noon"})
    assert isinstance(mind.look(NOW + timedelta(hours=3), state).choice, Nothing)
    assert isinstance(mind.look(morning + timedelta(days=1), state).choice, Begin)  # its next opening


def test_what_two_open_windows_take_is_ended_in_both(tmp_path: Path) -> None:
    mind = mind_of(tmp_path, DAY_AND_NOON)
    bias = Begin(items=(BIAS,), windows=frozenset({"day", "noon"}))
    state = Remembered(windows_over=ended({}, NOW, names=bias.windows, closing=mind.look(NOW, Remembered()).closing))
    assert set(state.windows_over) == {"day", "noon"}
    assert isinstance(mind.look(NOW, state).choice, Nothing)


def test_a_window_that_does_not_close_is_over_for_half_a_day_and_what_is_past_is_forgotten() -> None:
    closing = {"always": NOW + timedelta(hours=40), "evening": NOW + timedelta(hours=2)}
    before = {"midday": NOW - timedelta(hours=1), "dawn": NOW + timedelta(hours=9)}
    half_a_day = {"always": NOW + timedelta(hours=12)}
    assert ended(before, NOW, names={"always"}, closing=closing) == {"dawn": before["dawn"], **half_a_day}
    ordered = ended({}, NOW, names=(), closing=closing)
    assert ordered == {"evening": closing["evening"], **half_a_day}


def test_while_another_program_is_at_work_in_the_folder_nothing_is_begun_and_it_is_named(tmp_path: Path) -> None:
    mind = mind_of(tmp_path)
    with RootLock(layout_of(mind.loaded).root):
        found = mind.look(NOW, Remembered(masters_due=True))
        assert isinstance(found.choice, Nothing)
        assert found.choice.reason == "root_in_use"
        assert f"(pid {os.getpid()} on " in found.choice.detail
        assert [each.code for each in found.obstacles] == [RefusalCode.ROOT_IN_USE]
        assert not found.to_build
    found = mind.look(NOW, Remembered(masters_due=True))
    assert isinstance(found.choice, Begin)
    assert found.to_build


def test_a_plan_is_not_compared_again_while_nothing_changes(tmp_path: Path) -> None:
    mind = mind_of(tmp_path)
    mind.look(NOW, Remembered())
    first = mind.plan
    mind.look(NOW + timedelta(minutes=5), Remembered())
    assert mind.plan is first
    mind.look(NOW + timedelta(minutes=5), Remembered(failures={BIAS: {"code": "not_dark", "at": NOW.isoformat()}}))
    assert mind.plan is not first
    before = mind.plan
    mind.look(NOW - timedelta(days=1), Remembered())  # the clock was set back
    assert mind.plan is not before


@pytest.mark.parametrize(
    ("text", "builds"), [("", True), (", after_sets: []", False), (", after_sets: [models]", False)]
)
def test_masters_follow_their_sets_where_the_file_says_so(tmp_path: Path, text: str, builds: bool) -> None:
    mind = mind_of(tmp_path, text)
    layout = layout_of(mind.loaded)
    with Catalogue(layout.catalogue) as catalogue:
        catalogue.add_frames(
            FrameRow(
                path=f"darks/{i}.fits",
                pixel_sha256=str(i),
                size=1,
                mtime_ns=1,
                kind=FrameKind.BIAS,
                camera="c",
                height=4,
                width=4,
                exposure_us=1000,
                set_id="s",
                frame_no=i,
                date_obs=NOW,
            )
            for i in range(40)
        )
    assert mind.look(NOW, Remembered()).to_build == (frozenset({BIAS}) if builds else frozenset())


@pytest.mark.parametrize(("text", "due"), [("", True), (", after_sets: [models]", True), (", after_sets: []", False)])
def test_what_follows_a_completed_set_is_what_the_file_names(tmp_path: Path, text: str, due: bool) -> None:
    mind = mind_of(tmp_path, text)
    state = mind.learn(Ended(run_id="r", exit_code=0), (BIAS,), (finished(BIAS),), Remembered(), NOW)
    assert mind.look(NOW, state).to_build == (frozenset({ALL_MASTERS}) if due else frozenset())


def test_the_masters_step_is_due_from_a_completed_set_until_it_has_reached_its_end(tmp_path: Path) -> None:
    """It alone knows which masters that serve are built anew: of sets that have grown, of flats with new darks."""
    mind, done, state = mind_of(tmp_path, ""), Ended(run_id="r", exit_code=0), Remembered()
    partial = replace(finished(BIAS), status=GroupStatus.PARTIAL)
    for nothing_new in (partial, finished(BIAS, there=True), finished(BIAS, "not_dark")):
        assert not mind.learn(done, (BIAS,), (nothing_new,), state, NOW).masters_due
    state = mind.learn(done, (BIAS,), (finished(BIAS),), state, NOW)
    assert mind.look(NOW, state).to_build == {ALL_MASTERS}
    state = mind.learn(done, (BIAS,), (partial,), state, NOW)  # a run for other frames
    for broken_off in (replace(done, code="paused"), replace(done, died=True)):
        state = mind.learn(broken_off, (), (), state, NOW)
        assert state.masters_due
    state = mind.learn(done, (), (), state, NOW)
    assert mind.look(NOW, state).to_build == frozenset()


def test_darks_of_an_open_window_make_room_for_the_flats_of_the_evening(tmp_path: Path) -> None:
    text = (
        ", windows: [{name: day, cron: '0 6 * * *', hours: 20, takes: [bias, darks]}, "
        "{name: evening, cron: '0 18 * * *', hours: 1, takes: [flats]}]"
    )
    choice = mind_of(tmp_path, text).look(NOW, Remembered()).choice
    assert isinstance(choice, Begin)
    assert choice.until == NOW.replace(hour=18)


def test_what_another_run_was_killed_at_is_seen_once_when_the_folder_is_free(tmp_path: Path) -> None:
    mind = mind_of(tmp_path)
    layout = layout_of(mind.loaded)
    with Catalogue(layout.catalogue) as catalogue:
        catalogue.start_run(RunRow(run_id="theirs", started_at=NOW, steps=("flats",), software="nightcal"))

    def seen(state: Remembered) -> list[str]:
        with RootLock(layout.root):
            assert mind.look(NOW, state).left_behind is None  # it is at work
        found = [mind.look(NOW, state).left_behind for _ in range(3)]
        return [each.run_id for each in found if each is not None]

    assert mind.look(NOW, Remembered()).left_behind is None  # before it began; what there was at the start is known
    assert seen(Remembered()) == ["theirs"]
    ours = LastRun(run_id="theirs", finished_at=NOW, exit_code=5, code="disk_full")
    assert seen(Remembered(last_run=ours)) == []  # its row could not be closed, but how it ended is known


def test_flats_that_were_tried_are_tried_again_with_another_model_of_the_dark(tmp_path: Path) -> None:
    mind = mind_of(tmp_path, "}\nmaster_frames: {flat_dark: model")
    flats = [
        FrameRow(
            path=f"flats/{i}.fits", pixel_sha256=str(i), size=1, mtime_ns=1, kind=FrameKind.FLAT, camera="c", height=4,
            width=4, exposure_us=1_000_000, set_id="s", frame_no=i, date_obs=NOW, source="panel",
        )
        for i in range(40)
    ]  # fmt: skip
    model = ModelRow(
        path="models/dark", kind="dark", key=flats[0].key(), recipe="", identity="one", fitted_at=NOW, coldest_c=-10.0,
        warmest_c=0.0, temperatures=2, sessions=2,
    )  # fmt: skip
    building, tried = Building(), []
    with Catalogue(layout_of(mind.loaded).catalogue) as catalogue:
        catalogue.add_frames(flats)
        for number, row in enumerate((None, model, model, replace(model, identity="two"))):
            if row is not None:
                catalogue.add_model(row)
            to_build = mind.look(NOW + number * timedelta(minutes=11), Remembered()).to_build
            tried.append(building.is_due(to_build, 0.0))
            building.begun(to_build)
    assert tried == [True, True, False, True]
