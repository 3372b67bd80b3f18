"""The board shows one whole snapshot at a time, as JSON that anybody can read."""

import json
import threading
from datetime import UTC, datetime, timedelta

from services.daemon.board import ActivityNow, Board, ClockNow, ModeNow, Reading, RunNow, Seen
from services.daemon.machine import Activity, Hold, Why
from services.workflow.snapshot import Snapshot

NOW = datetime(2026, 3, 1, 20, tzinfo=UTC)
SEEN = Seen(at=NOW, clock=ClockNow(utc=NOW))


def test_each_reading_has_its_age() -> None:
    devices = {
        "safety": Reading(value=True, at=NOW - timedelta(seconds=12)),
        "dome": Reading(problem="no answer"),
    }
    said = json.loads(Board(Seen(at=NOW, clock=ClockNow(utc=NOW), devices=devices)).state())
    assert said["devices"]["safety"]["age_s"] == 12.0
    assert said["devices"]["dome"] == {"value": None, "at": None, "problem": "no answer", "age_s": None}


def test_a_snapshot_of_an_earlier_start_is_never_taken_for_the_present_one() -> None:
    earlier, later = Board(SEEN), Board(SEEN)
    assert earlier.seq == later.seq
    assert earlier.tag != later.tag


def test_what_is_no_number_in_json_is_none() -> None:
    run = RunNow(run_id="r1", by="the schedule", since=NOW).heard(Snapshot(run_id="r1", ccd_temp_c=float("nan")))
    said = json.loads(Board(Seen(at=NOW, clock=ClockNow(utc=NOW), run=run)).state())
    assert said["run"]["ccd_temp_c"] is None
    assert said["run"]["run_id"] == "r1"


def test_a_hold_is_shown_with_who_and_until_when() -> None:
    hold = Hold(why=Why.YIELDED, by="N.I.N.A.", since=NOW, until=NOW + timedelta(hours=8))
    said = json.loads(Board(Seen(at=NOW, clock=ClockNow(utc=NOW), mode=ModeNow.of(hold))).state())
    assert said["mode"] == {
        "name": "held",
        "why": "yielded",
        "by": "N.I.N.A.",
        "since": "2026-03-01T20:00:00+00:00",
        "until": "2026-03-02T04:00:00+00:00",
    }


def test_number_snapshot_and_bytes_always_belong_together() -> None:
    board, wrong, over = Board(SEEN), [], threading.Event()

    def look() -> None:
        while not over.is_set():
            before, said = board.seq, json.loads(board.state())
            if not before <= said["seq"] <= board.seq or said["activity"]["detail"] not in {"", str(said["seq"])}:
                wrong.append(said)

    thread = threading.Thread(target=look)
    thread.start()
    for seq in range(2, 300):
        board.show(Seen(at=NOW, clock=ClockNow(utc=NOW), activity=ActivityNow(name=Activity.IDLE, detail=str(seq))))
    over.set()
    thread.join()
    assert not wrong
    assert board.seq == 299
