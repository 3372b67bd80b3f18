"""What a daemon finds of a run that died with the daemon before it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import RunRow
from services.daemon.aftermath import run_left_behind
from services.files.layout import Layout
from services.files.locks import RootLock

NOW = datetime(2026, 3, 1, 20, tzinfo=UTC)


def begun(root: Path, *runs: tuple[str, timedelta]) -> Layout:
    layout = Layout(root)
    with Catalogue(layout.catalogue) as catalogue:
        for run_id, ago in runs:
            catalogue.start_run(RunRow(run_id=run_id, started_at=NOW - ago, steps=("darks",), software="nightcal"))
    return layout


def test_nothing_is_left_where_no_run_was(tmp_path: Path) -> None:
    assert run_left_behind(Layout(tmp_path), NOW) is None
    assert not (tmp_path / ".nightcal").exists()


def test_the_newest_run_that_is_open_was_left_behind_unless_somebody_is_at_work(tmp_path: Path) -> None:
    layout = begun(tmp_path, ("old", timedelta(hours=9)), ("new", timedelta(hours=3)))
    assert run_left_behind(layout, NOW) == "new"
    with RootLock(tmp_path):
        assert run_left_behind(layout, NOW) is None
    with Catalogue(layout.catalogue) as catalogue:
        for run_id in ("old", "new"):
            catalogue.finish_run(run_id, finished_at=NOW, exit_code=0, code=None, detail="", early=False)
    assert run_left_behind(layout, NOW) is None


def test_devices_are_not_touched_for_a_run_of_last_week(tmp_path: Path) -> None:
    assert run_left_behind(begun(tmp_path, ("old", timedelta(days=7))), NOW) is None
