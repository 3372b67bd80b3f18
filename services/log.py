"""The log: plain lines for an observer on the console, one JSON object per line in `logs/nightcal_YYYYMMDD.log`.

Configured once by the command, never at import. INFO is what an observer would write in the night log, DEBUG is the
wire. Values named like a secret are not written. Messages of other libraries (`logging`, `warnings`) join the same two
outputs, so that nothing is printed across a progress bar.
"""

import json
import logging
import queue
import re
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import ExitStack, suppress
from datetime import date, datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Any, TextIO

import structlog

from drivers.clock import Clock, SystemClock
from services.words import stamp

LEVELS = {name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}
WIRE = "nightcal.wire"
"""Logger of the drivers' calls, one line each at DEBUG."""
_DRAIN_S = 5.0
"""Real seconds at most that the end of the log waits for the wire's last lines."""
_MOST_LINES = 10_000
"""Lines of the wire that wait for a disk at most: some 10 MB, two minutes of a busy night."""
_SECRET = re.compile(r"(password|passwd|secret|token|authorization|api_?key)", re.IGNORECASE)
_UNITS = {
    "_s": "s",
    "_us": "µs",
    "_c": "°C",
    "_k": "K",
    "_adu": "ADU",
    "_e": "e-",
    "_um": "µm",
    "_pct": "%",
    "_mb": "MB",
}
FileOfDay = Callable[[datetime], Path]
"""Returns the log file of a moment."""

_OURS = frozenset({"event", "level", "exception", "name"})


def configure(
    level: str = "INFO",
    log_file: Path | FileOfDay | None = None,
    console: TextIO | bool = True,  # noqa: FBT001, FBT002
    *,
    clock: Clock | None = None,
    keep_days: float | None = None,
) -> None:
    """Send the log to the console and a file; may be called again, the last call counts.

    Parameters
    ----------
    level : str
        Least level written, a key of `LEVELS` in any case.
    log_file : Path or callable, optional
        File that lines are appended to; its folder is made. A callable returns the file of a moment: it is asked with
        each new day (UTC), and where it cannot be opened the last one goes on.
    console : stream or bool
        Where plain lines go: True for standard error, False for nowhere.
    clock : Clock, optional
        Gives the time of each line (UTC), the system's by default.
    keep_days : float, optional
        Logs of older days are removed, now and with each new day. None: all are kept.

    Raises
    ------
    ValueError
        `level` is not one of `LEVELS`.
    """
    if level.upper() not in LEVELS:
        raise ValueError(f"log level {level!r}: expected one of {', '.join(LEVELS)}")
    close()
    number = LEVELS[level.upper()]
    _sinks.clock = clock or SystemClock()
    _sinks.console = sys.stderr if console is True else (console or None)
    _sinks.keep_days = keep_days
    if log_file is not None:
        _sinks.file_of = log_file if callable(log_file) else None
        _sinks.open(log_file(_sinks.clock.now()) if callable(log_file) else log_file, _sinks.clock.now())
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, _finish],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _sinks,
        cache_logger_on_first_use=False,
    )
    _adopt_foreign(number)


def close() -> None:
    """Close the log file, and give `logging` and `warnings` back; our own later lines go to the console only."""
    _wire.drain()
    _borrowed.close()
    with _sinks.lock:
        if _sinks.file is not None:
            _sinks.file.close()  # nothing is held back, so nothing can fail for want of room
            _sinks.file = _sinks.file_of = None


def sentence(name: str, values: Mapping[str, Any]) -> str:
    """Return an event as an observer reads it: `flat.settled`, `level_adu=31999.8` → "flat settled: level 31999.8 ADU".

    Names carry their units (`_s _us _c _adu …`); None and empty values are left out, nested ones too.
    """
    parts = [_part(key, value) for key, value in values.items() if key not in _OURS]
    text = ", ".join(part for part in parts if part)
    words = name.replace(".", " ").replace("_", " ")
    return f"{words}: {text}" if text else words


class _Sinks:
    """The two outputs. structlog calls the method named like the level with what `_finish` returned."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.console: TextIO | None = None
        self.file: FileIO | None = None
        self.file_of: FileOfDay | None = None
        self.keep_days: float | None = None
        self._day = date.min
        self.lock = threading.Lock()

    def open(self, path: Path, at: datetime) -> None:
        """Write to a file from now on, in place of the one before, and remove the logs of days long past."""
        path.parent.mkdir(parents=True, exist_ok=True)
        before, self.file = self.file, path.open("ab", buffering=0)
        self._day = at.date()
        if before is not None:
            before.close()
        if self.keep_days is not None:
            _forget_old(path.parent, at - timedelta(days=self.keep_days))

    def _turn(self, at: datetime) -> None:
        """Go over to the file of a new day; where that cannot be opened the last one goes on for this day."""
        if self.file_of is not None and at.date() > self._day:
            self._day = at.date()
            with suppress(OSError):
                self.open(self.file_of(at), at)

    def write(self, *, at: datetime, level: str, event: str, values: Mapping[str, Any]) -> None:
        """Write one event, as a plain line to the console and as JSON to the file."""
        plain = sentence(event, values) + (f"\n{values['exception']}" if "exception" in values else "")
        mark = "" if level in {"debug", "info"} else f"{level.upper()}: "
        record = {"at": at.isoformat(timespec="milliseconds"), "level": level, "event": event, **values}
        with self.lock:
            if self.console is not None:
                with suppress(OSError):  # the terminal may be gone long before the night is over
                    _print(self.console, f"{stamp(at)}  {mark}{plain}\n")
            self._turn(at)
            if self.file is not None:
                line = json.dumps(record, default=str, ensure_ascii=False) + "\n"
                with suppress(OSError):  # a full disk ends a run where it stores frames, not where it logs them
                    self.file.write(line.encode("utf-8", "backslashreplace"))

    debug = info = warning = error = critical = write


_OLD = re.compile(r"nightcal_([0-9]{8})\.log")


def _forget_old(folder: Path, before: datetime) -> None:
    """Remove the logs of days that were over before a moment; what cannot be removed stays."""
    for path in folder.iterdir():
        named = _OLD.fullmatch(path.name)
        if named and named[1] < f"{before:%Y%m%d}":
            with suppress(OSError):
                path.unlink()


def _print(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # a Windows console in an old code page lacks µ and °
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def _finish(_logger: Any, method: str, fields: MutableMapping[str, Any]) -> tuple[tuple[()], dict[str, Any]]:
    event = str(fields.pop("event", ""))
    values = {key: "***" if _SECRET.search(key) else value for key, value in fields.items()}
    return (), {"at": _sinks.clock.now(), "level": method, "event": event, "values": values}


def _part(key: str, value: Any) -> str:
    if value is None or value == "" or isinstance(value, Mapping | list | tuple | set):
        return ""
    word, unit = key, ""
    for suffix, shown in _UNITS.items():
        if key.endswith(suffix) and len(key) > len(suffix):
            word, unit = key.removesuffix(suffix), shown
            break
    if unit == "µs" and isinstance(value, int):
        value, unit = value / 1e6, "s"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f"{word.replace('_', ' ')} {text}{' ' + unit if unit else ''}"


def _write_record(at: datetime, record: logging.LogRecord, event: str) -> None:
    _sinks.write(at=at, level=record.levelname.lower(), event=event, values={"logger": record.name})


class _Foreign(logging.Handler):
    """Messages of other libraries, in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the first line of a message."""
        _write_record(_sinks.clock.now(), record, next(iter(record.getMessage().splitlines()), ""))


_Lines = queue.SimpleQueue[tuple[datetime, logging.LogRecord] | None]


class _Wire(logging.Handler):
    """The wire's lines, written by a thread of their own.

    Calls of the safety watch are among them, and it must not wait for a disk that hangs, nor for who waits for it. Such
    a disk costs lines, not memory: those beyond `_MOST_LINES` are counted, and their number is logged in their place.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._lines: _Lines = queue.SimpleQueue()
        self._left_out = 0
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Take the wire's lines from now on."""
        self._lines = queue.SimpleQueue()  # the last one's thread may still hang in it
        self._thread = threading.Thread(target=self._work, args=(self._lines,), name="nightcal-wire-log", daemon=True)
        self._thread.start()
        logging.getLogger(WIRE).addHandler(self)

    def drain(self) -> None:
        """Take no more lines, and let all so far be written unless the disk hangs."""
        logging.getLogger(WIRE).removeHandler(self)
        if self._thread is not None:
            self._say_left_out()
            self._lines.put(None)
            self._thread.join(_DRAIN_S)
            self._thread = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, unless too many wait already: those are counted."""
        if self._lines.qsize() >= _MOST_LINES:
            self._left_out += 1
            return
        self._say_left_out()
        self._lines.put((_sinks.clock.now(), record))

    def _say_left_out(self) -> None:
        if self._left_out:
            words = f"{self._left_out} lines of the wire left out: the log was too slow for them"
            record = logging.makeLogRecord({"name": WIRE, "levelname": "WARNING", "msg": words})
            self._lines.put((_sinks.clock.now(), record))
            self._left_out = 0

    @staticmethod
    def _work(lines: "_Lines") -> None:
        while (line := lines.get()) is not None:
            at, record = line
            _write_record(at, record, record.getMessage())


def _adopt_foreign(level: int) -> None:
    """Take in what other libraries log from WARNING on, and our own drivers' wire from `level` on, until `close`.

    Whoever called us may want to log when we have ended: all that is changed here is remembered as it was.
    """
    root, wire = logging.getLogger(), logging.getLogger(WIRE)
    foreign = _Foreign(max(level, logging.WARNING))
    _borrowed.callback(root.removeHandler, foreign)
    root.addHandler(foreign)
    _borrowed.callback(wire.setLevel, wire.level)
    wire.setLevel(level)
    _borrowed.callback(setattr, wire, "propagate", wire.propagate)
    wire.propagate = False
    shown = warnings.showwarning
    logging.captureWarnings(capture=True)
    if warnings.showwarning is not shown:  # else the caller had them captured before, and wants them so
        _borrowed.callback(logging.captureWarnings, capture=False)
    _wire.begin()


_sinks = _Sinks()
_wire = _Wire()
_borrowed = ExitStack()
"""How to give Python's own logging back."""
