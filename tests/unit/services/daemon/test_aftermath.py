"""What a daemon finds of a run that died with the daemon before it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import RunRow
from services.daemon.aftermath import READOUT, RESTART, run_left_behind
from services.events.records import Event, GroupStarted
from services.files.layout import Layout
from services.files.locks import RootLock
from services.observatory.in_use import LeftBehind

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
