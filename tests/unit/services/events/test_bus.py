"""Events: in the journal at once and in order; a listener never reaches the run."""

import errno
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from drivers.clock import ManualClock
from services.errors import RunCode, StorageError
from services.events.bus import Events
from services.events.decoder import record_of
from services.events.devices import CoverChanged, FilterChanged
from services.events.records import Event, FrameStored, RunFinished, RunProgress

AT = datetime(2026, 1, 1, 18, tzinfo=UTC)


def journal(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_event_is_in_the_journal_before_emit_returns(tmp_path: Path) -> None:
    clock, path = ManualClock(AT), tmp_path / "events" / "run-1.jsonl"
    events = Events(run_id="run-1", clock=clock, journal=path)
    events.emit(CoverChanged(cover="open"))
    clock.advance(1.5)
    events.emit(RunProgress(done=1, wanted=2))
    first, second = journal(path)
    assert first == {
        "name": "cover.changed", "run_id": "run-1", "seq": 1, "at": "2026-01-01T18:00:00+00:00",
        "cover": "open",
    }  # fmt: skip
    assert (second["seq"], second["at"]) == (2, "2026-01-01T18:00:01.500000+00:00")
    events.close()
    events.close()


def test_numbers_of_numpy_are_numbers_in_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    events = Events(run_id="r", clock=ManualClock(AT), journal=path)
    stored = record_of(FrameStored, {"kind": "DARK"})
    events.emit(replace(stored, level_adu=np.float32(500.5), frame_no=np.int64(3), doubts=(np.True_, Path("a") / "b")))
    events.close()
    (record,) = journal(path)
    assert (record["level_adu"], record["frame_no"], record["doubts"]) == (500.5, 3, [True, str(Path("a") / "b")])
    assert record["kind"] == "DARK"


def test_listeners_hear_everything_in_order_on_a_thread_of_their_own() -> None:
    heard: list[tuple[int, str]] = []
    events = Events(run_id="r", clock=ManualClock(AT))
    events.subscribe(lambda event: heard.append((event.seq, threading.current_thread().name)))
    for n in range(200):
        events.emit(RunProgress(done=n))
    events.close()
    assert [seq for seq, _ in heard] == list(range(1, 201))
    assert {name for _, name in heard} == {"nightcal-events"}


def test_a_listener_that_fails_reaches_neither_the_run_nor_the_others() -> None:
    heard: list[Event] = []

    def fails(event: Event) -> None:
        raise RuntimeError(event.name)

    events = Events(run_id="r", clock=ManualClock(AT))
    events.subscribe(fails)
    events.subscribe(heard.append)
    events.emit(RunProgress())
    events.emit(RunProgress())
    events.close()
    assert [event.seq for event in heard] == [1, 2]


def test_a_stuck_listener_holds_up_neither_run_nor_journal(tmp_path: Path) -> None:
    release, path = threading.Event(), tmp_path / "j.jsonl"
    events = Events(run_id="r", clock=ManualClock(AT), journal=path)
    events.subscribe(lambda _: bool(release.wait(30)))
    count = Events._CAPACITY + 50
    for n in range(count):
        events.emit(RunProgress(done=n))
    assert len(journal(path)) == count
    release.set()
    events.close()


def test_emitting_from_many_threads_numbers_every_event_once(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    events = Events(run_id="r", clock=ManualClock(AT), journal=path)
    threads = [threading.Thread(target=lambda: [events.emit(RunProgress()) for _ in range(50)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events.close()
    assert [record["seq"] for record in journal(path)] == list(range(1, 301))


class FullFile:
    """A journal on a full disk."""

    def __init__(self) -> None:
        self.closed = False

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", text[:0])

    def close(self) -> None:
        self.closed = True
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_the_run_once_and_lets_it_say_so(tmp_path: Path) -> None:
    heard: list[Event] = []
    events = Events(run_id="r", clock=ManualClock(AT), journal=tmp_path / "j.jsonl")
    events.subscribe(heard.append)
    events._file.close()  # type: ignore[union-attr]
    events._file = FullFile()  # type: ignore[assignment]
    with pytest.raises(StorageError) as caught:
        events.emit(FilterChanged(filter="L"))
    assert caught.value.code is RunCode.DISK_FULL
    events.emit(RunFinished(exit_code=5))
    events.close()
    assert [event.name for event in heard] == [FilterChanged.name, RunFinished.name]


def test_without_journal_and_listeners_events_are_only_returned() -> None:
    events = Events(run_id="r", clock=ManualClock(AT))
    event = events.emit(CoverChanged(cover="closed"))
    assert event == Event(run_id="r", seq=1, at=AT, what=CoverChanged(cover="closed"))
    assert event.name == "cover.changed"
    events.close()
