"""How models of all kinds go over the rows of their frames: in bands that fit the memory, on any executor."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from typing import TypeVar

from services.bands import Band, Source, ahead, bands_of, held_open, map_bands, rows_for
from services.models.gathering import Progress

W = TypeVar("W")
R = TypeVar("R")

WORKERS = 2
"""Bands worked on at once."""


def fit_in_bands(
    sources: tuple[Source, ...],
    work: Callable[[tuple[Source, ...]], W],
    on: Callable[[W, Band], R],
    take: Callable[[Band, R], None],
    *,
    sizes: Sequence[int],
    held: int,
    memory_mb: float = 256.0,
    executor: Executor | None = None,
    progress: Progress = lambda *_: None,
) -> None:
    """Fit a model band by band; the memory does not depend on the number of frames.

    Parameters
    ----------
    sources : tuple of Source
        The frames.
    work : callable
        Returns what a band needs, frozen and picklable, of the sources with their files open.
    on : callable
        Module-level; fits one band.
    take : callable
        Gets each band with its result, in this thread, from the top.
    sizes : sequence of int
        Frames of each group, which are read one group after the other.
    held : int
        Values of 8 bytes that are held for a pixel beside them.
    memory_mb : float
        For the bands that are worked on at once.
    executor : Executor, optional
        Threads of our own by default; processes give the same planes.
    progress : callable
    """
    height, width = sources[0].location.shape
    rows = rows_for(memory_mb=memory_mb, frames=max(sizes), columns=width, workers=WORKERS, held=held)

    def taken(band: Band, done: R) -> None:
        take(band, done)
        progress("rows fitted", None, band.rows)

    progress("rows fitted", height, 0)
    with reading(sources, rows, executor) as (opened, workers, bands):
        map_bands(work(opened), on, taken, workers, bands, workers=WORKERS)


@contextmanager
def reading(
    sources: tuple[Source, ...], rows: int, executor: Executor | None = None
) -> Iterator[tuple[tuple[Source, ...], Executor, Iterator[Band]]]:
    """Give the sources with their files open, an executor (threads of our own by default), and bands to be read."""
    height = sources[0].location.shape[0]
    threads = ThreadPoolExecutor(WORKERS, "nightcal-models") if executor is None else nullcontext(executor)
    with (
        threads as workers,
        held_open(sources) as opened,
        closing(ahead(opened, bands_of(height, rows))) as bands,
    ):
        yield opened, workers, bands
