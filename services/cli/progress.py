"""What a run shows while it goes on: progress bars on a terminal, plain lines elsewhere. Both only listen to events."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from services.cli.narration import cooling, sentence, title
from services.events import Event, EventName

COOLING_EVERY = timedelta(minutes=1)
"""Of the run's own time: how often plain lines tell where the cooling stands."""


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


class Lines:
    """One plain line for each event worth it, with the run's own time in UTC."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._cooling_at: datetime | None = None

    def __call__(self, event: Event) -> None:
        """Print a line."""
        if event.name is EventName.COOLING_CHANGED and not self._due(event.at):
            return
        text = sentence(event)
        if text is not None:
            print(_timed(event, text), file=self._stream, flush=True)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Need nothing."""
        yield

    @contextmanager
    def still(self) -> Iterator[None]:
        """Need nothing."""
        yield

    def _due(self, at: datetime) -> bool:
        if self._cooling_at is not None and at - self._cooling_at < COOLING_EVERY:
            return False
        self._cooling_at = at
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
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=console or Console(highlight=False, markup=False),
            transient=True,
        )
        self._run: TaskID | None = None
        self._group: TaskID | None = None
        self._cooling: TaskID | None = None
        self._moves: dict[EventName, Callable[[Event], None]] = {
            EventName.PROGRESS: self._overall,
            EventName.GROUP_STARTED: self._begin_group,
            EventName.FRAME_STORED: self._advance_group,
            EventName.GROUP_FINISHED: self._end_group,
            EventName.COOLING_CHANGED: self._show_cooling,
            EventName.COOLING_STABLE: self._end_cooling,
            EventName.COOLING_STALLED: self._end_cooling,
        }

    def __call__(self, event: Event) -> None:
        """Move a bar, print a line, or both."""
        move = self._moves.get(event.name)
        if move is not None:
            move(event)
        text = None if event.name in _BARS_ONLY else sentence(event)
        if text is not None:
            self._progress.console.print(_timed(event, text))

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Draw the bars."""
        with self._progress:
            yield

    @contextmanager
    def still(self) -> Iterator[None]:
        """Take the bars away."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def _overall(self, event: Event) -> None:
        done, wanted = event.data.get("done", 0), event.data.get("wanted", 0)
        if self._run is None:
            self._run = self._progress.add_task("all frames", total=wanted)
        self._progress.update(self._run, completed=done, total=wanted)

    def _begin_group(self, event: Event) -> None:
        self._end_group(event)
        total, have = event.data.get("wanted"), event.data.get("have") or 0
        self._group = self._progress.add_task(title(event.data), total=total, completed=have)

    def _advance_group(self, event: Event) -> None:
        if self._group is not None:
            self._progress.update(self._group, completed=event.data.get("frame_no") or 0)

    def _show_cooling(self, event: Event) -> None:
        if self._cooling is None:
            self._cooling = self._progress.add_task("", total=None)
        self._progress.update(self._cooling, description=cooling(event.data))

    def _end_group(self, _event: Event) -> None:
        if self._group is not None:
            self._progress.remove_task(self._group)
            self._group = None

    def _end_cooling(self, _event: Event) -> None:
        if self._cooling is not None:
            self._progress.remove_task(self._cooling)
            self._cooling = None


_BARS_ONLY = frozenset({EventName.FRAME_STORED, EventName.COOLING_CHANGED, EventName.GROUP_STARTED})
"""Events that a bar tells; no line beside it."""


def _timed(event: Event, text: str) -> str:
    return f"{event.at:%H:%M:%S}  {text}"
