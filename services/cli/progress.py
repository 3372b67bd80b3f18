"""What a run shows while it goes on: progress bars on a terminal, plain lines elsewhere. Both only listen to events."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from services.events.devices import CoolingChanged, CoolingStable, CoolingStalled
from services.events.records import (
    Event,
    FrameStored,
    GroupFinished,
    GroupStarted,
    Record,
    RunFinished,
    RunProgress,
)
from services.events.sentences import cooling, sentence, title
from services.words import stamp

FRAMES_EVERY = 10
"""Plain lines name each frame whose number is a multiple of it; bars show every one."""
COOLING_EVERY = timedelta(minutes=1)
"""Of the run's own time: how often plain lines say where the cooling stands."""


class Display(Protocol):
    """A listener that shows a run."""

    def __call__(self, event: Event) -> None:
        """Show an event."""
        ...

    def showing(self) -> AbstractContextManager[None]:
        """Show while the context lasts, and leave the terminal in order."""
        ...

    def still(self) -> AbstractContextManager[None]:
        """Leave the terminal to something else while the context lasts."""
        ...


class _Gate:
    """Passes lines on, and holds them back while a question stands on the terminal."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._held: list[str] | None = None
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Write a line, now or when the question is answered."""
        with self._lock:
            if self._held is None:
                self._write(text)
            else:
                self._held.append(text)

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Hold lines back."""
        with self._lock:
            self._held = []
        try:
            yield
        finally:
            with self._lock:
                held, self._held = self._held, None
                for text in held:
                    self._write(text)


class Lines:
    """One plain line for each event worth it, with the run's own time in UTC.

    Parameters
    ----------
    stream : TextIO
    tells_end : bool
        Whether what stopped the run is a line, too: not where the command itself says it last.
    """

    def __init__(self, stream: TextIO, *, shows_end: bool = True) -> None:
        self._silent = () if shows_end else (RunFinished,)
        self._gate = _Gate(lambda text: print(text, file=stream, flush=True))
        self._cooling_at: datetime | None = None

    def __call__(self, event: Event) -> None:
        """Print a line."""
        text = sentence(event.what) if self._is_due(event) and not isinstance(event.what, self._silent) else None
        if text is not None:
            self._gate.say(_timed(event, text))

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Need nothing."""
        yield

    def still(self) -> AbstractContextManager[None]:
        """Hold the lines back."""
        return self._gate.shut()

    def _is_due(self, event: Event) -> bool:
        if isinstance(event.what, FrameStored):
            return (event.what.frame_no or 0) % FRAMES_EVERY == 0
        if isinstance(event.what, CoolingChanged):
            if self._cooling_at is not None and event.at - self._cooling_at < COOLING_EVERY:
                return False
            self._cooling_at = event.at
        return True


class Bars:
    """A bar for the whole run, one for the group in hand, one line for the cooling; sentences scroll by above them.

    Parameters
    ----------
    console : Console, optional
        Standard output's by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[shown]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console or Console(highlight=False, markup=False),
            transient=True,
        )
        self._gate = _Gate(self._progress.console.print)
        self._run: TaskID | None = None
        self._group: TaskID | None = None
        self._cooling: TaskID | None = None
        self._wanted = self._have = 0
        self._warmest = 0.0

    def __call__(self, event: Event) -> None:
        """Move a bar, print a line, or both."""
        self._move(event.what)
        text = None if isinstance(event.what, _BARS_ONLY) else sentence(event.what)
        if text is not None:
            self._gate.say(_timed(event, text))

    def _move(self, what: Record) -> None:
        match what:
            case RunProgress():
                self._overall(what)
            case GroupStarted():
                self._begin_group(what)
            case FrameStored():
                self._advance_group(what)
            case GroupFinished():
                self._end_group()
            case CoolingChanged():
                self._show_cooling(what)
            case CoolingStable() | CoolingStalled():
                self._end_cooling()

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Draw the bars."""
        with self._progress:
            yield

    @contextmanager
    def still(self) -> Iterator[None]:
        """Take the bars away, and hold the lines back."""
        with self._gate.shut():
            self._progress.stop()
            try:
                yield
            finally:
                self._progress.start()

    def _overall(self, what: RunProgress) -> None:
        if self._run is None:
            self._run = self._progress.add_task("all frames", shown="")
        shown = f"{what.done}/{what.wanted}"
        self._progress.update(self._run, completed=what.done, total=what.wanted, shown=shown)

    def _begin_group(self, what: GroupStarted) -> None:
        self._end_group()
        self._wanted, self._have = what.wanted or 0, what.have
        self._group = self._progress.add_task(title(what), total=self._wanted, shown=f"{what.have}/{self._wanted}")
        self._progress.update(self._group, completed=what.have)

    def _advance_group(self, _stored: FrameStored) -> None:
        if self._group is not None:
            self._have += 1
            self._progress.update(self._group, completed=self._have, shown=f"{self._have}/{self._wanted}")

    def _show_cooling(self, what: CoolingChanged) -> None:
        now, target = what.ccd_temp_c, what.target_c
        if now is None or target is None:
            return
        if self._cooling is None:
            self._warmest = now
            self._cooling = self._progress.add_task("", shown="", total=None)
        way = abs(self._warmest - target)
        done = max(0.0, way - abs(now - target))
        self._progress.update(self._cooling, description=cooling(what), total=way or None, completed=done)

    def _end_group(self) -> None:
        if self._group is not None:
            self._progress.remove_task(self._group)
            self._group = None

    def _end_cooling(self) -> None:
        if self._cooling is not None:
            self._progress.remove_task(self._cooling)
            self._cooling = None


_BARS_ONLY = (FrameStored, CoolingChanged, GroupStarted, RunFinished)
"""Events that a bar shows, or that the command says last: no line beside it."""


def _timed(event: Event, text: str) -> str:
    return f"{stamp(event.at)}  {text}"
