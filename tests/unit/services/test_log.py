"""The log: plain lines for an observer, JSON for machines, no secrets, nothing lost from other libraries."""

import io
import json
import logging
import re
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from drivers.clock import ManualClock
from services import log

CLOCK = ManualClock(datetime(2026, 1, 1, 18, 30, 5, 250_000, tzinfo=UTC))


@pytest.fixture
def console():
    handlers, shown = list(logging.getLogger().handlers), warnings.showwarning
    stream = io.StringIO()
    yield stream
    log.close()
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger(log.WIRE).handlers.clear()
    warnings.showwarning = shown


def test_an_observer_reads_plain_lines(console: io.StringIO) -> None:
    log.configure("INFO", None, console, clock=CLOCK)
    structlog.get_logger("x").info("flat.settled", filter="L", exposure_us=1_259_000, level_adu=32011.26, attempts=3)
    structlog.get_logger("x").warning("cooling.stalled", ccd_temp_c=-7.5, code="cooler_limit", empty=None)
    structlog.get_logger("x").debug("wire.sent", url="/api")
    assert console.getvalue().splitlines() == [
        "18:30:05  flat settled: filter L, exposure 1.259 s, level 32011.3 ADU, attempts 3",
        "18:30:05  WARNING: cooling stalled: ccd temp -7.5 °C, code cooler_limit",
    ]


def test_a_machine_reads_json(console: io.StringIO, tmp_path: Path) -> None:
    file = tmp_path / "logs" / "nightcal_20260101.log"
    log.configure("debug", file, console, clock=CLOCK)
    structlog.get_logger("x").info("frame.stored", path=Path("a/b"), level_adu=500.5, nested={"µ": 1})
    structlog.get_logger("x").debug("wire.sent", status=200)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines] == ["frame.stored", "wire.sent"]
    assert lines[0]["level_adu"] == 500.5
    assert lines[0]["at"] == "2026-01-01T18:30:05.250+00:00"
    assert lines[0]["nested"] == {"µ": 1}
    log.configure("INFO", file, console, clock=CLOCK)
    structlog.get_logger("x").info("again")
    assert len(file.read_text(encoding="utf-8").splitlines()) == 3, "a log is appended to"


def test_secrets_are_not_written(console: io.StringIO, tmp_path: Path) -> None:
    log.configure("INFO", tmp_path / "l.log", console, clock=CLOCK)
    secrets = {"api_key": "s3cr3t", "Authorization": "s3cr3t", "mail_password": "s3cr3t"}
    structlog.get_logger("x").info("hook.called", **secrets)
    assert "s3cr3t" not in console.getvalue() + (tmp_path / "l.log").read_text()
    assert "***" in console.getvalue()


def test_errors_keep_their_trace(console: io.StringIO, tmp_path: Path) -> None:
    log.configure("INFO", tmp_path / "l.log", console, clock=CLOCK)
    try:
        int("odd")
    except ValueError:
        structlog.get_logger("x").exception("listener.failed", name="x")
    assert "ERROR: listener failed" in console.getvalue()
    assert "ValueError: invalid literal" in console.getvalue()
    assert "ValueError: invalid literal" in json.loads((tmp_path / "l.log").read_text())["exception"]


def test_messages_and_warnings_of_other_libraries_join(console: io.StringIO) -> None:
    log.configure("INFO", None, console, clock=CLOCK)
    log.configure("INFO", None, console, clock=CLOCK)
    logging.getLogger("uvicorn").warning("port %d is odd", 5)
    logging.getLogger("urllib3").info("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("something is deprecated", UserWarning, stacklevel=1)
    lines = console.getvalue().splitlines()
    assert lines[0] == "18:30:05  WARNING: port 5 is odd: logger uvicorn"
    assert "something is deprecated" in lines[1]
    assert len(lines) == 2


def test_a_console_in_an_old_code_page_still_gets_its_line() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="cp437", errors="strict")
    log._print(stream, "level 5 ADU — 漢 -10 °C\n")
    assert raw.getvalue().decode("cp437").startswith("level 5 ADU ? ? -10 °C")


def test_an_unknown_level_is_named(console: io.StringIO) -> None:
    with pytest.raises(ValueError, match="'LOUD': expected one of DEBUG, INFO"):
        log.configure("LOUD", None, console)


def test_nothing_goes_to_a_console_that_is_off(
    console: io.StringIO, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("INFO", tmp_path / "l.log", console=False, clock=CLOCK)
    structlog.get_logger("x").info("run.started")
    assert capsys.readouterr() == ("", "")
    assert console.getvalue() == ""
    assert (tmp_path / "l.log").read_text()


def test_sentences_leave_out_what_is_empty_or_nested() -> None:
    assert log.sentence("run.started", {}) == "run started"
    assert log.sentence("x", {"a": None, "b": "", "c": [1], "d": {"e": 1}, "f": 0}) == "x: f 0"
    assert log.sentence("cooling.changed", {"cooler_power_pct": 55.0, "set_point_c": -10}) == (
        "cooling changed: cooler power 55 %, set point -10 °C"
    )


def test_debug_shows_the_wire(tmp_path: Path, console) -> None:
    """`--debug` promised the wire and showed nothing of it."""
    file = tmp_path / "night.log"
    log.configure("DEBUG", file, console=False)
    logging.getLogger("nightcal.wire").debug("camera 0: name: HTTP 200, 85 bytes")
    log.configure("INFO", file, console=False)
    logging.getLogger("nightcal.wire").debug("camera 0: name: HTTP 200, 86 bytes")
    log.close()
    assert file.read_text(encoding="utf-8").count("HTTP 200") == 1


class Stuck(io.StringIO):
    """A terminal that takes nothing until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.freed = threading.Event()

    def write(self, text: str) -> int:
        self.freed.wait(5.0)
        return super().write(text)


def test_wire_waits_for_nobody_who_writes_the_log() -> None:
    """The safety watch asks its devices over the wire: with `--debug` a disk that hung would have kept it."""
    stuck = Stuck()
    log.configure("DEBUG", None, console=stuck)
    logging.getLogger(log.WIRE).debug("safety monitor 0: issafe: HTTP 200, 85 bytes")
    assert stuck.getvalue() == ""
    stuck.freed.set()
    log.close()
    assert "issafe" in stuck.getvalue()


def test_the_wires_warnings_stay_in_the_log_above_debug_too(
    console: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """They went to `logging`'s last resort: onto standard error, across the progress bar."""
    log.configure("INFO", None, console, clock=CLOCK)
    logging.getLogger(log.WIRE).warning("camera 0: answered twice")
    log.close()
    assert console.getvalue() == "18:30:05  WARNING: camera 0: answered twice: logger nightcal.wire\n"
    assert capsys.readouterr().err == ""


def test_a_disk_that_hangs_costs_lines_of_the_wire_and_not_memory(
    console: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    del console  # tidies up
    monkeypatch.setattr(log, "_MOST_LINES", 20)
    stuck = Stuck()
    log.configure("DEBUG", None, console=stuck)
    for number in range(100):
        logging.getLogger(log.WIRE).debug("camera 0: line %d", number)
    stuck.freed.set()
    log.close()
    lines = stuck.getvalue().splitlines()
    written = sum("camera 0: line" in line for line in lines)
    left_out = sum(int(found[1]) for line in lines if (found := re.search(r"(\d+) lines of the wire left out", line)))
    assert 20 <= written < 100
    assert written + left_out == 100


def test_what_was_borrowed_from_logging_is_given_back_as_it_was(console: io.StringIO) -> None:
    wire, root = logging.getLogger(log.WIRE), logging.getLogger()
    handlers, shown = list(root.handlers), warnings.showwarning
    wire.setLevel(logging.ERROR)
    try:
        log.configure("DEBUG", None, console, clock=CLOCK)
        log.configure("INFO", None, console, clock=CLOCK)
        log.close()
        assert (wire.level, wire.propagate, wire.handlers) == (logging.ERROR, True, [])
        assert root.handlers == handlers
        assert warnings.showwarning is shown
    finally:
        wire.setLevel(logging.NOTSET)


def test_a_caller_that_had_its_warnings_captured_keeps_them_so(console: io.StringIO) -> None:
    logging.captureWarnings(capture=True)
    captured = warnings.showwarning
    log.configure("INFO", None, console, clock=CLOCK)
    log.close()
    assert warnings.showwarning is captured


def test_a_program_that_runs_for_months_has_a_file_for_each_day_and_no_old_ones(
    console: io.StringIO, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("nightcal_20251201.log", "nightcal_20251231.log", "worker.log", "nightcal_x.log", "mine_20200101.log"):
        (folder / name).write_text("old")
    clock = ManualClock(datetime(2026, 1, 1, 23, 59, 50, tzinfo=UTC))
    log.configure("INFO", lambda at: folder / f"nightcal_{at:%Y%m%d}.log", console, clock=clock, keep_days=10)
    for _ in range(3):
        structlog.get_logger("x").info("tick")
        clock.advance(8.0)
    names = {path.name: path.read_text().count("tick") for path in folder.iterdir()}
    assert names == {
        "nightcal_20251231.log": 0, "nightcal_20260101.log": 2, "nightcal_20260102.log": 1, "worker.log": 0,
        "nightcal_x.log": 0, "mine_20200101.log": 0,
    }  # fmt: skip
    clock.advance(12 * 86_400.0)
    structlog.get_logger("x").info("tick")
    kept = {path.name for path in folder.glob("nightcal_2*.log")}
    assert kept == {"nightcal_20260114.log"}


def test_a_new_day_without_a_new_file_goes_on_in_the_old_one(console: io.StringIO, tmp_path: Path) -> None:
    clock = ManualClock(datetime(2026, 1, 1, 23, 59, 50, tzinfo=UTC))
    log.configure("INFO", lambda at: tmp_path / f"nightcal_{at:%Y%m%d}.log", console, clock=clock)
    (tmp_path / "nightcal_20260102.log").mkdir()
    for _ in range(3):
        structlog.get_logger("x").info("tick")
        clock.advance(20.0)
    assert (tmp_path / "nightcal_20260101.log").read_text().count("tick") == 3
