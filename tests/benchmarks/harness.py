"""What all benchmarks share: alternated runs, medians with their spread, peak memory of a child, and the table.

A benchmark is a module `bench_….py` with a function `rows(*, quick)` that yields `Row`s: one a figure, with its goal,
what was measured, and the same of a peer or a limit taken in the same run. A ratio of medians of alternated runs says
more than seconds do: both sides see the same machine in the same mood.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

FULL = (6388, 9576)
"""Rows and columns of a 61-megapixel sensor (IMX455)."""

QUICK = (798, 1197)
"""The same sensor, an eighth as high and as wide: for looking whether a benchmark still runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds of repeated runs."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.runs)

    @property
    def spread(self) -> str:
        """Lowest to highest, in the unit of `__str__`."""
        return f"{_number(min(self.runs), self.median)}-{_number(max(self.runs), self.median)}"

    def __str__(self) -> str:
        return f"{_number(self.median, self.median)} {'ms' if self.median < 1 else 's'} ({self.spread})"

    def __truediv__(self, other: "Timing") -> float:
        return self.median / other.median


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One figure.

    Attributes
    ----------
    figure : str
        What was measured.
    goal : str
        What it should be; "" where there is none.
    measured, peer : str
        Medians with their spread.
    ratio : float or None
        Measured to peer, or the other way round where `figure` says so.
    met : bool or None
        Whether the goal is met.
    peak_mb : float or None
        Peak memory of the process that did it.
    """

    figure: str
    measured: str
    goal: str = ""
    peer: str = ""
    ratio: float | None = None
    met: bool | None = None
    peak_mb: float | None = None

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        peak = "" if self.peak_mb is None else f"{self.peak_mb:.0f} MB"
        met = {None: "", True: "met", False: "MISSED"}[self.met]
        cells = (self.figure, self.goal, self.measured, ratio, peak, met, self.peer)
        return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


COLUMNS = ("figure", "goal", "measured (lowest-highest)", "ratio", "peak", "", "against")
WIDTHS = (48, 22, 28, 7, 8, 6, 30)


def heading() -> str:
    """Return the table's first line."""
    return "  ".join(f"{name:<{width}}" for name, width in zip(COLUMNS, WIDTHS, strict=True)).rstrip()


def alternated(
    runs: Mapping[str, Callable[[], object]], *, repeats: int = 5, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Timing]:
    """Run each in turn, once unmeasured (caches, compiled code) and `repeats` times measured.

    Parameters
    ----------
    runs : mapping of name to callable
        A callable that returns a float measured itself: that is taken instead of the clock's difference.
    repeats : int
    clock : callable
        `time.thread_time` for the work of one core, undisturbed by what else runs.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start = clock()
            result = run()
            took = result if type(result) is float else clock() - start
            if turn:
                taken[name].append(took)
    return {name: Timing(runs=tuple(seconds)) for name, seconds in taken.items()}


def peak_mb() -> float:
    """Return the peak memory of this process in MB; NaN where the system does not tell.

    On Linux `ru_maxrss` starts at what the parent held when it forked; VmHWM is this program's own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return _most_resident_mb("RUSAGE_SELF")


def peak_of_children_mb() -> float:
    """Return the highest peak memory of the processes that this one started and waited for; NaN as of `peak_mb`.

    At least what this process held when it started them: to be called in a small process (`in_child`).
    """
    return _most_resident_mb("RUSAGE_CHILDREN")


def _most_resident_mb(whose: str) -> float:
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1 if os.uname().sysname == "Darwin" else 1 << 10
    return resource.getrusage(getattr(resource, whose)).ru_maxrss * unit / 1e6


def in_child(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Call a module-level function in a process of its own; return its result and its peak memory in MB."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, function, arguments))
    process.start()
    there.close()
    try:
        result, peak = here.recv()
    except EOFError:
        raise RuntimeError(f"{function.__module__}.{function.__name__} died") from None
    finally:
        process.join()
    return result, peak


def _answer(answer: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    with suppress(KeyboardInterrupt):  # the parent hears it too, and ends
        result = function(*arguments)
        answer.send((result, peak_mb()))


def cold(*paths: Path) -> bool:
    """Make the system forget what it keeps of files in memory; False where we may not ask for it.

    Only dropping all caches works: asking for single files leaves most of them where they are.
    """
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    try:
        Path("/proc/sys/vm/drop_caches").write_text("1", encoding="ascii")
    except OSError:
        return False
    return True


def forgotten(*paths: Path) -> None:
    """Make the system forget what it keeps of these files in memory, and nothing of others; Linux alone can."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def show(rows: Iterator[Row], *, quick: bool) -> bool:
    """Print rows as they come; return whether every goal was met. Goals are for full frames: `quick` judges none."""
    met = True
    for row in rows:
        shown = replace(row, met=None) if quick else row
        print(shown, flush=True)
        met = met and shown.met is not False
    return met


def _number(seconds: float, scale: float) -> str:
    return f"{seconds * 1e3:.1f}" if scale < 1 else f"{seconds:.2f}"
