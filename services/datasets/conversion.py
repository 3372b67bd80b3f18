"""Raw frames become FITS frames: each once, beside where they were, and again only when something of them changed."""

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from calibration.errors import CalibrationError
from calibration.keywords import to_cards
from calibration.keywords.values import integer
from services.datasets import FITS_DIR
from services.datasets.attempts import Attempt
from services.datasets.batch import Batch
from services.datasets.described import Converted, Described, Outcome
from services.datasets.raw_frame import SIGNATURE, RawFacts, cards_of, frame_of, pixels_of_raw
from services.datasets.settings import ImageFormat
from services.errors import RunCode, StorageError
from services.files.disk import REAL_DISK, Disk
from services.files.fits import Unreadable, write_frame
from services.files.units import Unit, image_unit

_TOGETHER = 200
"""Frames that become visible together: so many are made again after an end in their midst."""
_IN_MEMORY_BYTES = 1 << 27
"""Raw files that are read at the same time hold no more, unless a single one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """How frames are converted.

    Attributes
    ----------
    out, base : Path or None
        Folder in which the tree of the dataset below `base` is made again; None: `fits/` in each attempt. Without a
        `base` it is the folder that all sections are in.
    big_endian : bool
    workers : int
        Files at a time.
    disk : Disk
    """

    out: Path | None = None
    base: Path | None = None
    big_endian: bool = False
    workers: int = 2
    disk: Disk = field(default_factory=lambda: REAL_DISK)

    def folder_of(self, attempt: Attempt) -> Path:
        """Return where the frames of an attempt go."""
        if self.out is None or self.base is None:
            return attempt.folder / FITS_DIR
        return self.out / attempt.folder.relative_to(self.base) / FITS_DIR


def convert(
    attempts: Iterable[Attempt], how: Conversion, *, progress: Callable[[int], object] = lambda _: None
) -> Iterator[Converted]:
    """Convert the raw files of attempts, and yield what became of each, in their order.

    The frames of an attempt become visible together, when all of them are durable (those of a large one some hundred at
    a time). When the disk is full nothing more is written: what is left is yielded as not written, and a second call
    goes on there.

    Parameters
    ----------
    attempts : iterable of Attempt
    how : Conversion
    progress : callable
        Called, from any thread, with the number of files that were done.
    """
    room = _Room()
    with ThreadPoolExecutor(how.workers, thread_name_prefix="nightcal-import") as pool:
        for attempt in attempts:
            of = Described.of(attempt, how.folder_of(attempt), big_endian=how.big_endian)
            for start in range(0, len(attempt.raws), _TOGETHER):
                raws = attempt.raws[start : start + _TOGETHER]
                if of.image is None:
                    yield from (of.done(raw, Outcome.NO_SIZE) for raw in raws)
                    progress(len(raws))
                    continue
                with Batch(of.folder, how.disk) as batch:
                    yield from _Work(of=of, image=of.image, batch=batch, room=room).done(raws, pool, progress)


@dataclass(slots=True)
class _Room:
    """Whether there is room on the disk: `full` says in words that there is none, once it is so."""

    full: str = ""

    def note(self, error: StorageError) -> str:
        """Return an error in words, without the place, and note that the disk is full if it says so."""
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else None
        words = f"it was not written: {reason or error.detail}"
        if error.code is RunCode.DISK_FULL:
            self.full = words
        return words


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The conversion of raw files of one attempt."""

    of: Described
    image: ImageFormat
    batch: Batch
    room: _Room

    def done(
        self, raws: Sequence[Path], pool: ThreadPoolExecutor, progress: Callable[[int], object]
    ) -> list[Converted]:
        """Convert raw files, and return what became of each when all of them are durable."""
        in_memory = threading.Semaphore(max(1, _IN_MEMORY_BYTES // self.image.bytes))

        def one(raw: Path) -> Converted:
            with in_memory:
                found = self._one(raw)
            progress(1)
            return found

        found = _results(pool, [pool.submit(one, raw) for raw in raws])
        try:
            self.batch.commit(pool)
        except StorageError as error:
            why = self.room.note(error)
            return [self.of.left(each.raw, why) if each.outcome is Outcome.MADE else each for each in found]
        return found

    def _one(self, raw: Path) -> Converted:
        """Convert one raw file, unless its frame is there and as it would be made."""
        fits = self.of.fits(raw)
        try:
            status = raw.stat()
            if why := _refused(status, self.image):
                return self.of.done(raw, Outcome.UNREADABLE, why)
            facts, notes = self.of.facts(raw, status)
            notes += _sized(status.st_size, self.image)
            if (there := _unit_there(fits)) is not None and (kept := self._kept(raw, there, facts, notes)) is not None:
                return kept
            return self._made(raw, facts, notes)
        except Unreadable:
            words = f"{fits.name} is there and is no FITS image: it is kept; move it away to have one made"
            return self.of.left(raw, words)
        except OSError as error:
            return self.of.done(raw, Outcome.UNREADABLE, f"it cannot be read: {error.strerror or error}")

    def _kept(self, raw: Path, there: Unit, facts: RawFacts, notes: Sequence[str]) -> Converted | None:
        """Return that the frame that is there stays; None where it was made of something else than is there now."""
        cards, data_sum = there.facts, integer(there.cards.get("DATASUM"))
        if SIGNATURE not in cards:
            words = f"{self.of.fits(raw).name} is there and was made by another program: it is kept"
            return self.of.done(raw, Outcome.FOREIGN, *notes, words, cards=cards, data_sum=data_sum)
        if cards[SIGNATURE] != facts.signature:
            return None
        return self.of.done(raw, Outcome.THERE, *notes, cards=cards, data_sum=data_sum)

    def _made(self, raw: Path, facts: RawFacts, notes: Sequence[str]) -> Converted:
        """Write the frame of a raw file; raises `OSError` where that cannot be read."""
        if self.room.full:
            return self.of.left(raw, self.room.full)
        pixels, excess = pixels_of_raw(raw.read_bytes(), self.image)
        try:
            frame, cards = frame_of(pixels, facts), cards_of(pixels, excess, facts, self.image)
            path = self.batch.place(self.of.fits(raw).name)
            stored = write_frame(path, frame, self.batch, pixel_sha256=facts.signature, more=cards)
        except StorageError as error:
            return self.of.left(raw, self.room.note(error))
        except (CalibrationError, ValueError, OverflowError) as error:  # one bad file never stops a tree
            return self.of.left(raw, f"its header cannot be written: {error}")
        self.batch.wrote(path)
        written = {card.keyword: card.value for card in (*cards, *to_cards(frame.header))}
        return self.of.done(raw, Outcome.MADE, *notes, cards=written, data_sum=stored.data_sum)


def _results(pool: ThreadPoolExecutor, asked: Sequence[Future[Converted]]) -> list[Converted]:
    """Return all results; an interrupt waits until nobody is at work any more."""
    try:
        return [each.result() for each in asked]
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise


def _refused(status: os.stat_result, image: ImageFormat) -> str:
    """Return in words why a raw file is not read at all; "" where it is."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no file"
    if status.st_size == 0:
        return "it is empty"
    if status.st_size == image.packed_bytes:
        return (
            f"its size is that of packed counts of {image.bit_depth} bits, of which nightcal does not know how they "
            "lie: have the camera program write two bytes a pixel, or unpack them before"
        )
    return ""


def _sized(size: int, image: ImageFormat) -> tuple[str, ...]:
    """Return in words that a file has too few or too many bytes, and what it looks like."""
    excess = size - image.bytes
    pixels = image.height * image.width
    like = {pixels: "one byte a pixel", 2 * pixels: "two bytes a pixel", -(-3 * pixels // 2): "packed 12-bit counts"}
    hint = f" (it is as long as {like[size]} are: is BIT_DEPTH right?)" if excess and size in like else ""
    if excess < 0:
        return (f"it has {-excess} bytes too few: the pixels that are missing are NaN (BADSIZE){hint}",)
    return (f"it has {excess} bytes too many, which are left out (BADSIZE){hint}",) if excess else ()


def _unit_there(fits: Path) -> Unit | None:
    """Return the image that is there already; None where nothing is.

    Raises
    ------
    Unreadable
        Something else is there.
    """
    try:
        return image_unit(fits)
    except Unreadable:
        if os.path.lexists(fits):
            raise
        return None
