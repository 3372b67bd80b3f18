"""What a daemon finds of a run that died with the daemon before it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from calibration.frames import FrameKind
from drivers.base import CameraState, CameraStates
from drivers.clock import ManualClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import RunRow
from services.daemon.aftermath import READOUT, RESTART, close_rows, is_cooler_held, run_left_behind
from services.events.records import Event, GroupStarted
from services.files.layout import Layout
from services.files.locks import RootLock
from services.observatory.in_use import LeftBehind
from services.observatory.remembered import CoolerMemory

NOW = datetime(2026, 3, 1, 20, tzinfo=UTC)


def begun(root: Path, *runs: tuple[str, timedelta], steps: tuple[str, ...] = ("darks",)) -> Layout:
    layout = Layout(root)
    with Catalogue(layout.catalogue) as catalogue:
        for run_id, ago in runs:
            catalogue.start_run(RunRow(run_id=run_id, started_at=NOW - ago, steps=steps, software="nightcal"))
    return layout


def test_nothing_is_left_where_no_run_was(tmp_path: Path) -> None:
    assert run_left_behind(Layout(tmp_path), NOW) is None
    assert not (tmp_path / ".nightcal").exists()


def test_the_newest_run_that_is_open_was_left_behind_unless_somebody_is_at_work(tmp_path: Path) -> None:
    layout = begun(tmp_path, ("old", timedelta(hours=9)), ("new", timedelta(hours=3)))
    assert run_left_behind(layout, NOW) == LeftBehind(
        run_id="new",
        exposing_until=NOW - timedelta(hours=3) + READOUT,
        connected_until=NOW - timedelta(hours=3) + RESTART,
    )
    with RootLock(tmp_path):
        assert run_left_behind(layout, NOW) is None
    with Catalogue(layout.catalogue) as catalogue:
        for run_id in ("old", "new"):
            catalogue.finish_run(run_id, finished_at=NOW, exit_code=0, code=None, detail="", early=False)
    assert run_left_behind(layout, NOW) is None


def test_devices_are_not_touched_for_a_run_of_last_week(tmp_path: Path) -> None:
    assert run_left_behind(begun(tmp_path, ("old", timedelta(days=7))), NOW) is None


def test_a_run_that_only_builds_masters_has_left_no_device(tmp_path: Path) -> None:
    assert run_left_behind(begun(tmp_path, ("new", timedelta(hours=1)), steps=("masters",)), NOW) is None


def test_its_last_exposure_began_when_it_last_said_something(tmp_path: Path) -> None:
    layout = begun(tmp_path, ("new", timedelta(hours=3)))
    said_at = NOW - timedelta(minutes=40)
    group = GroupStarted(kind=FrameKind.DARK, exposure_us=300_000_000, filter=None, set_id="s", wanted=3, have=0)
    event = Event(run_id="new", seq=1, at=said_at, what=group)
    layout.events("new").parent.mkdir(parents=True, exist_ok=True)
    layout.events("new").write_text(event.to_json() + "\n", encoding="utf-8")
    left = run_left_behind(layout, NOW)
    assert left is not None
    assert left.exposing_until == said_at + timedelta(seconds=300) + READOUT


def test_rows_of_runs_that_left_no_device_are_closed_unless_somebody_is_at_work(tmp_path: Path) -> None:
    layout = begun(tmp_path, ("old", timedelta(days=7)), ("new", timedelta(hours=1)), steps=("masters",))
    with RootLock(tmp_path):
        close_rows(layout)
        assert codes(layout) == {"old": None, "new": None}
    close_rows(layout)
    assert codes(layout) == {"old": "worker_died", "new": "worker_died"}


def test_where_no_run_was_nothing_is_made_to_close_rows_or_to_ask_for_a_cooler(tmp_path: Path) -> None:
    close_rows(Layout(tmp_path))
    assert not is_cooler_held(Layout(tmp_path), ManualClock(NOW))
    assert not (tmp_path / ".nightcal").exists()


def test_a_cooler_that_a_run_has_left_on_is_held_until_one_leaves_it_as_it_should_be(tmp_path: Path) -> None:
    layout, clock = begun(tmp_path, ("new", timedelta(hours=1))), ManualClock(NOW)
    assert not is_cooler_held(layout, clock)
    found = CameraState(
        activity=CameraStates.IDLE,
        image_ready=False,
        ccd_temperature_c=18.0,
        set_temperature_c=0.0,
        cooler_on=False,
        cooler_power_pct=0.0,
    )
    with Catalogue(layout.catalogue) as catalogue:
        CoolerMemory(catalogue, "QHY", clock).found(found)
    assert is_cooler_held(layout, clock)
    with RootLock(tmp_path):
        assert not is_cooler_held(layout, clock)
    clock.advance(60)
    with Catalogue(layout.catalogue) as catalogue:
        CoolerMemory(catalogue, "QHY", clock).left()
    assert not is_cooler_held(layout, clock)


def codes(layout: Layout) -> dict[str, str | None]:
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        return {run.run_id: run.code for run in catalogue.runs()}
