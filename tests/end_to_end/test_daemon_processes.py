"""Workers of the daemon over real processes: runs, orders, a daemon that is gone, and what a killed worker leaves."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from services.config import load
from services.daemon.messages import WorkKind, WorkRequest, heard_of, said_line
from services.daemon.orders import Order, OrderName, RefusalCode, Refused
from services.daemon.parts import Ended
from services.daemon.worker_child import Worker
from services.events.journal import read_journal
from services.events.records import DevicesLeft, Event, FrameStored, RunFinished
from services.planning.request import RunOptions, RunResult, Step
from services.workflow.job import Job
from tests.support import started
from tests.support.small_daemon import SOON_S, SmallDaemon, small_daemon
from tests.support.small_night import FRAMES, Night

SLOW: dict[str, Any] = {
    "dark_capture": {"science_exposure_time": 40.0, "exposure_factors": [1.0], "max_exposure": 4000.0},
    "camera": {"camera_type": "simulator", "simulator": {"width": 160, "height": 120, "rate": 100}},
}
"""Darks of 40 s, which take 0.4 s of real time."""
LONG: dict[str, Any] = {**SLOW, "dark_capture": {**SLOW["dark_capture"], "science_exposure_time": 3600.0}}
"""Darks that nobody here waits for: 36 s of real time each."""


def is_dark(event: Event) -> bool:
    return isinstance(event.what, FrameStored) and event.what.path.startswith("darks/exp_4")


def journal(night: Night, run_id: str) -> tuple[Event, ...]:
    return read_journal(night.root / ".nightcal" / "events" / f"{run_id}.jsonl")


def test_a_run_of_a_worker_is_the_run_of_a_job(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    by_job = Night(root=tmp_path / "job", config=tmp_path / "job" / "config_calibration_frames.yaml")
    by_job.write()
    result = Job(load(by_job.config), RunOptions()).run()
    with small_daemon(tmp_path / "worker") as daemon:
        daemon.begin()
        ended = daemon.heard.end()
        assert (ended.exit_code, ended.code, ended.died) == (result.exit_code, None, False)
        assert ended.detail == result.detail
        assert daemon.night.counts() == by_job.counts()
        masters = [len(list((n.root / "master_frames").glob("*.fits"))) for n in (daemon.night, by_job)]
        assert masters[0] == masters[1] > 0
        told = [event.to_json() for event in daemon.heard.events]
        assert ended.run_id is not None
        assert told == [event.to_json() for event in journal(daemon.night, ended.run_id)]
        daemon.assert_safe()
        daemon.begin()
        assert daemon.heard.end().detail.startswith("nothing to take")


@pytest.mark.parametrize(
    ("order", "code", "cooled"),
    [
        (OrderName.CANCEL, "cancelled", False),
        (OrderName.PAUSE, "paused", True),
        (OrderName.YIELD, "yielded", False),
        (OrderName.ABORT, "cancelled", False),
    ],
)
def test_a_run_ends_as_ordered_and_the_next_one_takes_the_rest(
    tmp_path: Path, order: OrderName, code: str, cooled: bool
) -> None:
    with small_daemon(tmp_path / "night", SLOW) as daemon:
        worker = daemon.begin(Step.DARKS)
        daemon.heard.until(is_dark)
        worker.order(order)
        ended = daemon.heard.end()
        assert (ended.code, ended.exit_code, ended.died) == (code, 0, False), ended
        there = daemon.night.counts()["DARK 40.000"]
        assert 0 < there <= ended.taken
        assert there < 6
        assert daemon.connected().read("cooleron") is cooled
        assert daemon.rows()[0].code == code
        daemon.begin(Step.DARKS)
        assert daemon.heard.end().code is None
        assert daemon.night.counts()["DARK 40.000"] == 6
        daemon.assert_safe()


@pytest.mark.parametrize("order", [OrderName.ABORT, OrderName.YIELD])
def test_a_long_exposure_is_given_up(tmp_path: Path, order: OrderName) -> None:
    with small_daemon(tmp_path / "night", LONG) as daemon:
        worker = daemon.begin(Step.DARKS)
        daemon.wait_for_set(3_600_000_000)
        worker.order(order)
        assert daemon.heard.end().exit_code == 0
        assert "DARK 3600.000" not in daemon.night.counts()
        daemon.assert_safe()


def test_when_the_daemon_is_gone_a_frame_that_is_nearly_done_is_finished(tmp_path: Path) -> None:
    with small_daemon(tmp_path / "night", SLOW) as daemon:
        worker = daemon.begin(Step.DARKS)
        daemon.heard.until(is_dark)
        daemon.wait_for_exposure()
        told = sum(is_dark(event) for event in daemon.heard.events)
        worker.close()
        assert_interrupted(daemon)
        assert told < daemon.night.counts()["DARK 40.000"] < 6


def test_the_observatory_of_a_daemon_that_is_gone_waits_for_the_run_to_leave_it_in_order(tmp_path: Path) -> None:
    with small_daemon(tmp_path / "night", SLOW) as daemon:
        worker = daemon.begin(Step.DARKS)
        daemon.heard.until(is_dark)
        worker.close()
        daemon.observatory.close()
        ended = daemon.heard.end()
        assert (ended.code, ended.exit_code) == ("interrupted", 130), ended
        (*_, left) = (event.what for event in daemon.heard.events if isinstance(event.what, DevicesLeft))
        assert {"lamp off", "cover closed"} <= set(left.done)


def test_when_the_daemon_is_gone_a_frame_that_takes_long_is_given_up(tmp_path: Path) -> None:
    with small_daemon(tmp_path / "night", LONG) as daemon:
        worker = daemon.begin(Step.DARKS)
        daemon.wait_for_set(3_600_000_000)
        worker.close()
        assert_interrupted(daemon)
        assert "DARK 3600.000" not in daemon.night.counts()


def assert_interrupted(daemon: SmallDaemon) -> None:
    ended = daemon.heard.end()
    assert (ended.code, ended.exit_code, ended.died) == ("interrupted", 130, False)
    daemon.assert_safe()
    assert daemon.rows()[0].code == "interrupted"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_ctrl_c_is_not_heard_and_a_request_to_terminate_ends_the_run_in_order(tmp_path: Path) -> None:
    with small_daemon(tmp_path / "night", LONG) as daemon:
        worker = daemon.begin(Step.DARKS)
        daemon.heard.named("frame.stored")
        os.kill(worker.pid, signal.SIGINT)
        daemon.heard.named("frame.stored")
        os.kill(worker.pid, signal.SIGTERM)
        assert daemon.heard.end().code == "interrupted"
        daemon.assert_safe()


def test_a_worker_whose_reader_is_slow_or_gone_takes_every_frame(tmp_path: Path) -> None:
    with small_daemon(tmp_path / "night") as daemon:
        for is_gone in (False, True):
            options = RunOptions(steps=(Step.DARKS,), fresh=True)
            request = WorkRequest(config_path=daemon.night.config, served=daemon.observatory.served, options=options)
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            with started.start([sys.executable, "-m", "services.daemon.worker"], **pipes) as process:
                process.stdin.write(said_line(request).encode() + b"\n")
                process.stdin.flush()
                if is_gone:
                    process.stdout.close()
                    assert process.wait(100) == 0
                    continue
                first = process.stdout.readline()
                _until_finished(daemon)  # nobody reads meanwhile
                *_, last = (heard_of(line.decode()) for line in (first, *process.stdout))
                assert isinstance(last, RunResult)
                assert last.exit_code == 0
        assert [row.code for row in daemon.rows()] == [None, None]
        assert daemon.night.counts()["DARK 2.000"] == 12


def _until_finished(daemon: SmallDaemon) -> None:
    while not (daemon.night.root / ".nightcal" / "catalogue.sqlite").exists() or not daemon.rows():
        os.sched_yield() if hasattr(os, "sched_yield") else None
    while daemon.rows()[0].finished_at is None:
        os.sched_yield() if hasattr(os, "sched_yield") else None


def test_what_a_library_prints_does_not_break_the_protocol(tmp_path: Path) -> None:
    shout = tmp_path / "shout.py"
    shout.write_text("print('{\"result\": {}}', flush=True)", encoding="utf-8")
    hook = {"hooks": {"before_run": {"command": [sys.executable, str(shout)]}}}
    with small_daemon(tmp_path / "night", hook) as daemon:
        daemon.begin(Step.DARKS)
        assert daemon.heard.end().exit_code == 0


def test_masters_are_built_and_orders_on_them_obeyed_by_whoever_holds_the_root(tmp_path: Path) -> None:
    with small_daemon(tmp_path / "night", {**SLOW, "serve": {"publish": "published"}}) as daemon:
        daemon.begin(Step.DARKS)
        daemon.heard.end()
        assert list((daemon.night.root / ".nightcal" / "cache" / "previews").iterdir())
        daemon.supervisor.begin(WorkRequest(kind=WorkKind.MASTERS, config_path=daemon.night.config))
        assert daemon.heard.end().exit_code == 0
        published = {path.name for path in (daemon.night.root / "published").glob("*.fits")}
        assert len(published) == len(list((daemon.night.root / "master_frames").glob("*.fits"))) > 0
        masters = sorted(path.name for path in (daemon.night.root / "master_frames").glob("*.fits"))
        reject = Order(order=OrderName.REJECT, names=(masters[0],), reason="a lamp was on", by="test")
        alone = daemon.supervisor.of_masters(reject, daemon.request, None)
        assert masters[0] in alone.result(100).detail
        assert len(set((daemon.night.root / "published").glob("*.fits"))) < len(published)
        nobody = daemon.supervisor.of_masters(
            Order(order=OrderName.CERTIFY, names=("master_x.fits",)), daemon.request, None
        )
        with pytest.raises(Refused, match="no master") as refused:
            nobody.result(100)
        assert refused.value.code is RefusalCode.UNKNOWN_MASTER
        worker = daemon.begin(Step.DARKS, fresh=True)
        daemon.heard.until(is_dark)
        back = Order(order=OrderName.UNREJECT, names=(masters[0],))
        assert masters[0] in daemon.supervisor.of_masters(back, daemon.request, worker).result(100).detail
        frame = next(e.what.path for e in daemon.heard.events if isinstance(e.what, FrameStored))
        bad = Order(order=OrderName.REJECT, names=(frame,), reason="clouds")
        worker.of_masters(bad).result(100)
        worker.order(OrderName.ABORT)
        assert daemon.heard.end().code == "cancelled"
        sidecar = daemon.night.root / "master_frames" / masters[0].replace(".fits", ".json")
        assert "a lamp was on" not in sidecar.read_text(encoding="utf-8")


def test_a_worker_that_cannot_begin_says_why(tmp_path: Path) -> None:
    with small_daemon(tmp_path / "night") as daemon:
        daemon.supervisor.begin(WorkRequest(config_path=tmp_path / "none.yaml"))
        ended = daemon.heard.end()
        assert (ended.code, ended.exit_code, ended.died) == ("config_invalid", 2, False)
        assert "none.yaml" in ended.detail
        bad = WorkRequest(config_path=daemon.night.config, config_text="camera: {camera_type: toaster}")
        daemon.supervisor.begin(bad)
        assert "config_calibration_frames.yaml:1:" in daemon.heard.end().detail


class Killed:
    """Nights whose workers are killed at random moments; after each kill the devices must be safe."""

    def __init__(self, daemon: SmallDaemon, dice: random.Random) -> None:
        self.daemon = daemon
        self.dice = dice
        self.kills = 0
        self.closed: Counter[str | None] = Counter()

    def strike(self) -> Ended:
        """Run, kill after some events and milliseconds, secure, look; return how the worker ended."""
        daemon = self.daemon
        worker = daemon.begin()
        self._wait(self.dice.randrange(60), worker)
        worker.wait(self.dice.uniform(0.0, 0.15))
        worker.kill()
        ended = daemon.heard.end()
        if ended.died:
            self.kills += 1
            assert ended.code == "worker_died"
            daemon.supervisor.secure(daemon.request, ended.run_id)
            secured = daemon.heard.safe.get(timeout=SOON_S)
            assert secured.left == (), secured
            daemon.assert_safe()
            self._look(ended.run_id)
        return ended

    def _wait(self, events: int, worker: Worker) -> None:
        for _ in range(events):
            while not worker.wait(0) and self.daemon.heard.coming.empty():
                worker.wait(0.01)
            if not self.daemon.heard.coming.empty():
                self.daemon.heard.coming.get_nowait()

    def _look(self, run_id: str | None) -> None:
        """Every frame that was told is there, no row says that a run runs, and the journal says the same."""
        night = self.daemon.night
        for event in self.daemon.heard.events:
            if isinstance(event.what, FrameStored):
                assert (night.root / event.what.path).is_file()
        rows = {row.run_id: row for row in self.daemon.rows()}
        assert all(row.finished_at is not None for row in rows.values())
        if run_id in rows:
            (*_, last) = journal(night, run_id)
            assert isinstance(last.what, RunFinished)
            assert rows[run_id].code == last.what.code
            self.closed[last.what.code] += 1  # None: killed when all was done but to say so


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.timeout(1800)
def test_a_worker_killed_at_random_moments_leaves_nothing_unsafe_open_or_half(
    tmp_path: Path, whole_files: Any, kills: int
) -> None:
    many = {"dark_capture": {"science_exposure_time": [1.0, 2.0, 3.0, 4.0]}}
    dice, closed, done = random.Random(20261129), Counter[str | None](), 0
    while done < kills:
        with small_daemon(tmp_path / f"night{done}", many) as daemon:
            killed = Killed(daemon, dice)
            while killed.strike().died and done + killed.kills < kills:
                pass
            daemon.begin()
            ended = daemon.heard.end()
            assert ended.exit_code == 0, ended
            assert set(daemon.night.counts().values()) == {FRAMES}
            whole_files(daemon.night)
            daemon.begin()
            assert daemon.heard.end().detail.startswith("nothing to take")
            daemon.assert_safe()
        done += killed.kills
        closed += killed.closed
    assert set(closed) <= {"worker_died", None}
    assert closed["worker_died"] > 0.8 * closed.total()
    print(f"\n{done} kills; runs closed: {dict(closed)}")


def test_the_command_secures_the_observatory_of_the_daemon_and_a_second_observatory_begins_after_the_first(
    tmp_path: Path,
) -> None:
    with small_daemon(tmp_path / "night", LONG) as daemon:
        worker = daemon.begin(Step.DARKS)
        daemon.heard.named("frame.stored")
        command = [sys.executable, "-m", "services.cli.main", "secure", "--config", str(daemon.night.config)]
        refused = started.run(command)
        assert refused.returncode == 3
        assert "nothing was touched" in refused.stderr
        worker.kill()
        assert daemon.heard.end().died
        done = started.run(command)
        assert done.returncode == 0, done.stderr
        assert "cooler off" in done.stdout
        daemon.assert_safe()
        newest = max(row.finished_at for row in daemon.rows())
    assert "ends with its run" in started.run(command).stdout
    with small_daemon(tmp_path / "night", LONG) as again:
        assert again.observatory.utc > newest.isoformat()
        assert json.loads(json.dumps(again.observatory.rate)) == 100.0
