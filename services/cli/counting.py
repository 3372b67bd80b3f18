"""Progress on a terminal of work that is counted; nothing is shown where nobody looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bars() -> Iterator[Callable[[str, int | None, int], None]]:
    """Give a function that shows progress: what is counted, how many there are (or None), how many were done since."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        tasks = {}

        def show(what: str, total: int | None, done: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            if total is not None:
                bar.update(tasks[what], total=total)
            bar.advance(tasks[what], done)

        yield show
