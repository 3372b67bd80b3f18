"""The safety watch and the interlock, on time that only tests move."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.base import CalibratorStatus, CoverStatus
from drivers.clock import ManualClock
from services.capture.safety import SafetyWatch
from services.config.devices import SafetyMonitor
from services.errors import RunCode, RunStopped
from services.events.bus import Events
from services.events.devices import CoverChanged, PanelChanged, SafetySafe, SafetyUnsafe
from services.events.journal import JournalFile
from services.events.records import Event, ExposureAborted, WarningRaised
from services.observatory import Interlock
from services.stopping import Stop
from tests.support.fakes import FakePanel, FakeSafety, lost


class HungJournal:
    """A journal on a disk that does not answer until it is let go; then it is full."""

    def __init__(self, _path: Path) -> None:
        self.let_go = threading.Event()

    def write(self, text: str, /) -> None:
        self.let_go.wait(100)
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.let_go.set()


class Rig:
    def __init__(self, open_journal: Callable[[Path], JournalFile] | None = None, **settings: object) -> None:
        self.clock = ManualClock()
        self.monitor = FakeSafety()
        self.panel = FakePanel(self.clock)
        self.panel.calibrator, self.panel.brightness = CalibratorStatus.READY, 100
        self.interlock = Interlock()
        self.heard: list[Event] = []
        journal = {} if open_journal is None else {"journal": Path("journal"), "open_journal": open_journal}
        self.events = Events(run_id="r", clock=self.clock, **journal)  # type: ignore[arg-type]
        self.events.subscribe(self.heard.append)
        self.camera_stopped = self.aborts = 0
        self.abort_fails = False
        self.watch = SafetyWatch(
            monitor=self.monitor,
            panel=self.panel,
            stop_camera=self._stop,
            abort_exposure=self._abort,
            clock=self.clock,
            events=self.events,
            interlock=self.interlock,
            settings=SafetyMonitor(**settings),
        )

    def _stop(self) -> None:
        self.camera_stopped += 1

    def _abort(self) -> None:
        self.aborts += 1
        if self.abort_fails:
            raise lost("camera")

    @property
    def dark(self) -> bool:
        return self.panel.calibrator is CalibratorStatus.OFF and self.panel.cover is CoverStatus.CLOSED

    def told(self) -> list[Event]:
        self.watch.stop()
        self.events.close()
        return self.heard

    def names(self) -> list[str]:
        return [event.name for event in self.told()]


def test_safe_changes_nothing() -> None:
    rig = Rig()
    for _ in range(5):
        rig.watch.look()
        rig.clock.advance(2.0)
    assert rig.interlock.code is None
    rig.interlock.check()
    assert rig.names() == [SafetySafe.name]
    assert rig.panel.calls == []


def test_unsafe_stops_the_run_makes_it_dark_and_closes_the_cameras_sockets() -> None:
    rig = Rig()
    rig.watch.look()
    rig.monitor.safe = False
    rig.watch.look()
    with pytest.raises(RunStopped) as caught:
        rig.interlock.check()
    assert caught.value.code is RunCode.UNSAFE
    assert rig.dark
    assert rig.camera_stopped == 1
    rig.watch.look()
    assert rig.camera_stopped == 1
    assert rig.aborts == 1
    names = rig.names()
    assert names[:2] == [SafetySafe.name, SafetyUnsafe.name]
    assert set(names[2:]) == {ExposureAborted.name, PanelChanged.name, CoverChanged.name}


def test_an_abort_that_gets_no_answer_is_told_and_does_not_keep_the_cover() -> None:
    rig = Rig()
    rig.abort_fails = True
    rig.monitor.safe = False
    rig.watch.look()
    assert rig.dark
    (told,) = [e for e in rig.told() if isinstance(e.what, ExposureAborted)]
    assert told.what.done is False
    assert told.what.detail


def test_a_disk_that_hangs_keeps_neither_lamp_nor_cover_waiting(tmp_path: Path) -> None:
    journal = HungJournal(tmp_path)
    rig = Rig(lambda _: journal)
    rig.watch.look()
    rig.monitor.safe = False
    rig.watch.look()
    assert rig.dark
    assert rig.aborts == rig.camera_stopped == 1
    assert not journal.let_go.is_set(), "nothing of it could be told yet"
    journal.let_go.set()
    assert SafetyUnsafe.name in rig.names(), "a full disk keeps the listeners from nothing"


def test_an_abort_that_breaks_in_an_unforeseen_way_is_told() -> None:
    rig = Rig()

    def break_down() -> None:
        raise ZeroDivisionError("unforeseen")

    rig.watch._emergency._abort_exposure = break_down
    rig.monitor.safe = False
    rig.watch.look()
    assert rig.dark
    assert [e.what.detail for e in rig.told() if isinstance(e.what, ExposureAborted)] == ["unforeseen"]


def test_ctrl_c_while_the_first_reading_does_not_come_ends_the_start_at_once() -> None:
    rig = Rig(stale_after=3600.0)
    asked, answer = threading.Event(), threading.Event()

    def silent() -> bool:
        asked.set()
        rig.interlock.wake.set()
        return answer.wait(100)

    rig.monitor.is_safe = silent  # type: ignore[method-assign]
    with pytest.raises(RunStopped) as caught:
        rig.watch.start()
    assert caught.value.code is RunCode.INTERRUPTED
    assert asked.is_set()
    answer.set()
    rig.watch.stop()


def test_cover_and_lamp_are_both_told_before_either_is_waited_for() -> None:
    rig = Rig()
    rig.panel.cover = CoverStatus.OPEN
    rig.monitor.safe = False
    rig.watch.look()
    assert rig.panel.calls == ["connect", "close cover", "off", "off", "close cover"]
    assert rig.dark


def test_ctrl_c_after_it_got_unsafe_also_stops_the_masters() -> None:
    for asked in (False, True):
        interlock = Interlock(stop := Stop())
        interlock.trip(RunCode.UNSAFE, "rain")
        if asked:
            stop.ask()
        interlock.release()
        assert stop.is_set() == asked


def test_what_ends_a_session_keeps_its_camera_when_it_gets_unsafe() -> None:
    rig = Rig(on_unsafe="finish_frame")
    rig.monitor.safe = False
    rig.watch.look()
    rig.watch.spare_camera()  # the frame was finished, and the sensor is warmed up
    rig.clock.advance(121.0)
    rig.watch.look()
    assert rig.dark
    assert (rig.camera_stopped, rig.aborts) == (0, 0)


def test_a_panel_that_cannot_be_made_dark_is_told() -> None:
    rig = Rig()

    def stuck(wake: threading.Event | None = None) -> None:
        raise lost("panel")

    rig.panel.calibrator_off = stuck  # type: ignore[method-assign]
    rig.monitor.safe = False
    rig.watch.look()
    assert [e.what.code for e in rig.told() if isinstance(e.what, WarningRaised)] == [RunCode.ENDING_FAILED]


def test_a_monitor_that_does_not_answer_is_unsafe_after_its_time() -> None:
    rig = Rig(stale_after=10.0)
    rig.watch.look()
    rig.monitor.silent = True
    rig.clock.advance(9.0)
    rig.watch.look()
    assert rig.interlock.code is None
    rig.clock.advance(2.0)
    rig.watch.look()
    assert rig.interlock.code is RunCode.SAFETY_STALE
    assert rig.dark


def test_a_monitor_that_answers_again_in_time_is_safe_again() -> None:
    rig = Rig(stale_after=10.0)
    rig.watch.look()
    for _ in range(5):
        rig.monitor.silent = True
        rig.clock.advance(8.0)
        rig.watch.look()
        rig.monitor.silent = False
        rig.watch.look()
    assert rig.interlock.code is None
    assert rig.monitor.connects == 6


def test_finish_frame_lets_the_frame_end_but_not_for_ever() -> None:
    rig = Rig(on_unsafe="finish_frame")
    rig.watch.look()
    rig.monitor.safe = False
    rig.watch.look()
    rig.interlock.check()
    with pytest.raises(RunStopped):
        rig.interlock.check_edge()
    assert not rig.dark
    rig.clock.advance(121.0)
    rig.watch.look()
    assert rig.interlock.wake.is_set()
    assert rig.dark


def test_a_panel_that_fails_once_is_told_again() -> None:
    rig = Rig()
    failures = iter([lost("panel"), None, None])
    off = rig.panel.calibrator_off

    def flaky(wake: threading.Event | None = None) -> None:
        if (error := next(failures)) is not None:
            raise error
        off(wake)

    rig.panel.calibrator_off = flaky  # type: ignore[method-assign]
    rig.monitor.safe = False
    rig.watch.look()
    assert rig.dark


def test_the_thread_refuses_to_start_a_run_that_is_not_safe() -> None:
    rig = Rig()
    rig.monitor.safe = False
    with pytest.raises(RunStopped) as caught:
        rig.watch.start()
    rig.watch.stop()
    assert caught.value.code is RunCode.UNSAFE


def test_a_watch_that_breaks_is_unsafe() -> None:
    rig = Rig()
    rig.monitor.is_safe = lambda: (_ for _ in ()).throw(ZeroDivisionError())  # type: ignore[method-assign]
    with pytest.raises(RunStopped) as caught:
        rig.watch.start()
    rig.watch.stop()
    assert caught.value.code is RunCode.SAFETY_STALE
    assert rig.dark


def test_the_first_reason_is_the_one_that_is_reported() -> None:
    interlock = Interlock()
    interlock.trip(RunCode.UNSAFE, "rain")
    interlock.trip(RunCode.SAFETY_STALE, "silence")
    assert interlock.code is RunCode.UNSAFE
    assert interlock.unsafe
    with pytest.raises(RunStopped, match="rain"):
        interlock.check()


def test_an_event_set_from_outside_is_an_interruption() -> None:
    wake = Stop()
    interlock = Interlock(wake)
    interlock.check_edge()
    wake.set()
    assert interlock.code is RunCode.INTERRUPTED
    assert not interlock.unsafe
    with pytest.raises(RunStopped) as caught:
        interlock.check()
    assert caught.value.exit == 130


def test_bad_weather_does_not_stop_what_needs_no_device_but_ctrl_c_does() -> None:
    weather = Interlock()
    weather.trip(RunCode.UNSAFE, "rain")
    weather.release()
    assert not weather.wake.is_set()
    assert weather.code is RunCode.UNSAFE
    user = Interlock()
    user.wake.set()
    user.trip(RunCode.UNSAFE, "rain")
    user.release()
    assert user.wake.is_set()
