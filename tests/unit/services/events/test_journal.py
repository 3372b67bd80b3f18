"""Journals of events: what is left of a line does not take the next one with it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.events.journal import JournalFile, read_journal
from services.events.records import Event, FrameMarked


def line(name: str) -> str:
    what = FrameMarked(pixels=(name,), paths=(f"{name}.fits",), reason="cloud")
    return f"{Event(run_id='marks', seq=0, at=datetime(2026, 5, 6, tzinfo=UTC), what=what).to_json()}\n"


def append(path: Path, *texts: str) -> None:
    journal = JournalFile(path)
    for text in texts:
        journal.write(text)
    journal.close()


@pytest.mark.parametrize("part", [1, 40, -1])
@pytest.mark.parametrize("at_once", [True, False])
def test_an_event_after_a_torn_line_is_not_lost(tmp_path: Path, part: int, at_once: bool) -> None:
    path = tmp_path / "events" / "marks.jsonl"
    texts = line("a"), line("b")[:part], line("c"), line("d")
    for some in [texts] if at_once else [texts[:2], texts[2:]]:
        append(path, *some)
    whole = ["a", "b", "c", "d"] if part == -1 else ["a", "c", "d"]
    assert [event.what.pixels[0] for event in read_journal(path) if isinstance(event.what, FrameMarked)] == whole


def test_a_whole_journal_gets_no_empty_lines(tmp_path: Path) -> None:
    append(tmp_path / "x.jsonl", line("a"))
    append(tmp_path / "x.jsonl", line("b"))
    assert (tmp_path / "x.jsonl").read_text("utf-8") == line("a") + line("b")
