"""What the daemon says is written at once and heard by everybody; a disk that fails costs lines, never the daemon."""

import json
from pathlib import Path

from drivers.clock import ManualClock
from services.daemon.hub import Hub
from services.daemon.own_journal import OwnJournal, last_seq
from services.events.journal import JournalFile, read_journal
from services.events.serving import ItemRecovered, ServeStarted


class Failing:
    """Opens journals, or fails as a full disk does."""

    def __init__(self) -> None:
        self.full = False

    def __call__(self, path: Path) -> JournalFile:
        if self.full:
            raise OSError(28, "No space left on device")
        return JournalFile(path)


def test_what_is_said_is_in_the_file_and_heard(tmp_path: Path) -> None:
    hub, path = Hub(), tmp_path / "events" / "serve.jsonl"
    heard = hub.subscribe(lambda: None)
    journal = OwnJournal(path, ManualClock(), hub)
    journal.say(ServeStarted(root="/data"))
    assert heard.take() == []  # not before the board shows it
    journal.publish()
    assert [json.loads(line.text)["name"] for line in heard.take()] == ["serve.started"]
    assert [event.what for event in read_journal(path)] == [ServeStarted(root="/data")]
    journal.close()


def test_numbers_go_on_over_a_restart_whatever_a_power_cut_left_of_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "serve.jsonl"
    for _ in range(2):
        journal = OwnJournal(path, ManualClock(), Hub())
        journal.say(ItemRecovered(item="bias"))
        journal.close()
        with path.open("a") as file:
            file.write('{"name": "item.rec')
    assert [event.seq for event in read_journal(path)] == [1, 2]
    assert last_seq(path) == 2


def test_a_long_journal_is_not_read_through(tmp_path: Path) -> None:
    path = tmp_path / "serve.jsonl"
    journal = OwnJournal(path, ManualClock(), Hub())
    for _ in range(2000):
        journal.say(ItemRecovered(item="dark_60s_g26_o30_T-10"))
    journal.close()
    assert path.stat().st_size > 2 << 16
    assert last_seq(path) == 2000


def test_a_disk_that_fails_costs_lines_and_is_tried_again(tmp_path: Path) -> None:
    hub, path, disk = Hub(), tmp_path / "serve.jsonl", Failing()
    heard = hub.subscribe(lambda: None)
    disk.full = True
    journal = OwnJournal(path, ManualClock(), hub, open_journal=disk)
    journal.say(ItemRecovered(item="first"))
    assert "No space left" in journal.problem
    disk.full = False
    journal.say(ItemRecovered(item="second"))
    journal.publish()
    journal.close()
    assert journal.problem == ""
    assert len(heard.take()) == 2
    assert [event.seq for event in read_journal(path)] == [2]
