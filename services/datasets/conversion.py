"""Raw frames become FITS frames: each once, beside where they were, and again only when something of them changed."""

import codecs
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from calibration.keywords import to_cards
from services.datasets import FITS_DIR
from services.datasets import log as logs
from services.datasets import settings as described
from services.datasets.attempts import Attempt
from services.datasets.fits_index import row_of
from services.datasets.names import name_facts
from services.datasets.raw_frame import SIGNATURE, RawFacts, cards_of, frame_of, pixels_of_raw
from services.datasets.settings import ImageFormat, NoFormat
from services.errors import RunCode, StorageError
from services.files.disk import REAL_DISK, Disk, Stream, reported
from services.files.fits import Unreadable, read_cards, write_frame

_UNDER_WAY = ".importing"
_RULES = 1
"""Counts the versions of what is written: frames of another one are made again."""


class Outcome(StrEnum):
    """What became of a raw file."""

    MADE = "made"
    THERE = "there"
    NO_SIZE = "no_size"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    NOT_WRITTEN = "not_written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A raw file and its frame.

    Attributes
    ----------
    raw, fits : Path
        `fits` is where the frame is, or would be.
    outcome : Outcome
    attempt : Attempt
    notes, of_attempt : tuple of str
        What is wrong with it or unknown, in words; and what of all frames of its attempt.
    row : mapping
        Its cards, as the table of frames has them; empty where its frame is not there.
    """

    raw: Path
    fits: Path
    outcome: Outcome
    attempt: Attempt
    notes: tuple[str, ...] = ()
    of_attempt: tuple[str, ...] = ()
    row: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        """Whether its frame is there now."""
        return self.outcome in {Outcome.MADE, Outcome.THERE, Outcome.FOREIGN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """How frames are converted.

    Attributes
    ----------
    out, base : Path or None
        Folder in which the tree of the dataset below `base` is made again; None: `fits/` in each attempt.
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

    The frames of an attempt become visible together, when all of them are durable. A disk that is full ends the
    conversion: what is left is yielded as not written, and a second call goes on there.

    Parameters
    ----------
    attempts : iterable of Attempt
    how : Conversion
    progress : callable
        Called, from any thread, with the number of files that were done.
    """
    full = ""
    with ThreadPoolExecutor(how.workers, thread_name_prefix="nightcal-import") as pool:
        for attempt in attempts:
            described_as = _Described.of(attempt, how)
            if full:
                yield from (described_as.left(raw, full) for raw in attempt.raws)
                continue
            batch = _Batch(described_as.folder / _UNDER_WAY, how.disk)
            yield from _of_attempt(described_as, batch, pool, progress)
            full = batch.full


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    """An attempt with what its settings and its log say."""

    attempt: Attempt
    folder: Path
    settings: Mapping[str, str]
    log: logs.FrameLog
    image: ImageFormat | None
    notes: tuple[str, ...]
    names: Mapping[Path, str]

    @classmethod
    def of(cls, attempt: Attempt, how: Conversion) -> "_Described":
        """Read what describes an attempt; what cannot be read is noted."""
        notes: list[str] = []
        settings = described.parse_settings(_text(attempt.settings, notes))
        image: ImageFormat | None = None
        try:
            image = described.format_of(settings, big_endian=how.big_endian)
        except NoFormat as error:
            why = f"there is no {' or '.join(described.NAMES)}" if attempt.settings is None else str(error)
            notes.append(f"the size of its image is not known: {why}")
        log = logs.read_log(_text(attempt.log, notes)) if attempt.log is not None else logs.FrameLog()
        if attempt.log is None:
            notes.append("there is no log: its temperature is not known")
        notes += log.problems
        return cls(
            attempt=attempt,
            folder=how.folder_of(attempt),
            settings=settings,
            log=log,
            image=image,
            notes=tuple(notes),
            names=stems_of(attempt.raws),
        )

    def fits(self, raw: Path) -> Path:
        """Return where the frame of a raw file goes."""
        return self.folder / f"{self.names[raw]}.fits"

    def left(self, raw: Path, why: str) -> Converted:
        """Return that a raw file was not converted."""
        return self.done(raw, Outcome.NOT_WRITTEN, why)

    def done(self, raw: Path, outcome: Outcome, *notes: str, cards: Mapping[str, object] | None = None) -> Converted:
        """Return what became of a raw file, with what is to be noted of its attempt as well."""
        return Converted(
            raw=raw,
            fits=self.fits(raw),
            outcome=outcome,
            attempt=self.attempt,
            notes=notes,
            of_attempt=self.notes,
            row={} if cards is None else row_of(cards),
        )

    def facts(self, raw: Path) -> tuple[RawFacts, tuple[str, ...]]:
        """Return what is known of a raw file, and in words what is not; raises `OSError`."""
        name = name_facts(raw.stem)
        kind = self.attempt.kind_of(raw)
        notes: list[str] = []
        if kind is None:
            notes.append("neither folders nor its name say of what kind it is: it is marked OPER")
        if name.frame is None:
            notes.append("its name has no frame number: its row of the log cannot be known")
        elif self.attempt.log is not None and name.frame not in self.log.rows:
            notes.append(f"the log has no row that can be believed for frame {name.frame}")
        row = {} if name.frame is None else self.log.rows.get(name.frame, {})
        status = raw.stat()
        parts = (_RULES, raw.name, status.st_size, status.st_mtime_ns, self.image, kind, self.attempt.exposure_s)
        signature = hashlib.sha256(
            repr((*parts, sorted(row.items()), sorted(self.settings.items()))).encode()
        ).hexdigest()[:24]
        facts = RawFacts(
            kind=kind,
            row=row,
            name=name,
            folder_s=self.attempt.exposure_s,
            settings=self.settings,
            signature=signature,
        )
        return facts, tuple(notes)


def _text(path: Path | None, notes: list[str]) -> str:
    if path is None:
        return ""
    try:
        data = path.read_bytes()
    except OSError as error:
        notes.append(f"{path.name} cannot be read: {error.strerror}")
        return ""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # "Unicode text" of spreadsheets
    return data.decode("utf-16" if is_wide else "utf-8-sig", errors="replace")


def stems_of(raws: Sequence[Path]) -> dict[Path, str]:
    """Return the stems of the frames, of which no two are equal on any system."""
    taken: set[str] = set()
    found: dict[Path, str] = {}
    for raw in raws:
        stem = (
            raw.stem
            if raw.stem.casefold() not in taken
            else f"{raw.stem}-{hashlib.sha256(raw.name.encode()).hexdigest()[:8]}"
        )
        taken.add(stem.casefold())
        found[raw] = stem
    return found


def _of_attempt(
    of: _Described, batch: "_Batch", pool: ThreadPoolExecutor, progress: Callable[[int], object]
) -> Iterator[Converted]:
    """Convert the raw files of an attempt, and yield what became of each when all of them are durable."""
    image = of.image
    if image is None or not of.attempt.raws:
        yield from (of.done(raw, Outcome.NO_SIZE) for raw in of.attempt.raws)
        progress(len(of.attempt.raws))
        return

    def one(raw: Path) -> Converted:
        found = _one(raw, image, of, batch)
        progress(1)
        return found

    try:
        batch.open()
        made = list(pool.map(one, of.attempt.raws))
        batch.commit(of.folder, pool)
    except StorageError as error:
        batch.note(error)
        yield from (of.left(raw, error.detail) for raw in of.attempt.raws)
    else:
        yield from made
    finally:
        batch.close()


def _one(raw: Path, image: ImageFormat, of: _Described, batch: "_Batch") -> Converted:
    """Convert one raw file, unless its frame is there and as it would be made."""
    if batch.full:
        return of.left(raw, batch.full)
    try:
        facts, notes = of.facts(raw)
        notes += _sized(raw.stat().st_size - image.bytes)
        there = _cards_there(of.fits(raw))
        if there is not None and there.get(SIGNATURE) == facts.signature:
            return of.done(raw, Outcome.THERE, *notes, cards=there)
        if there is not None and SIGNATURE not in there:
            words = f"{of.fits(raw).name} is there and was made by another program: it is kept"
            return of.done(raw, Outcome.FOREIGN, *notes, words, cards=there)
        data = raw.read_bytes()
    except OSError as error:
        return of.done(raw, Outcome.UNREADABLE, f"it cannot be read: {error.strerror or error}")
    pixels, excess = pixels_of_raw(data, image)
    frame, cards = frame_of(pixels, facts), cards_of(pixels, excess, facts, image)
    try:
        write_frame(batch.place(of.fits(raw).name), frame, batch, pixel_sha256=facts.signature, more=cards)
    except StorageError as error:
        batch.note(error)
        return of.left(raw, error.detail)
    written = {card.keyword: card.value for card in (*cards, *to_cards(frame.header))}
    return of.done(raw, Outcome.MADE, *notes, cards=written)


def _sized(excess: int) -> tuple[str, ...]:
    """Return in words that a file has too few or too many bytes."""
    if excess < 0:
        return (f"it has {-excess} bytes too few: the pixels that are missing are NaN (BADSIZE)",)
    return (f"it has {excess} bytes too many, which are left out (BADSIZE)",) if excess else ()


def _cards_there(fits: Path) -> dict[str, object] | None:
    """Return the cards of a frame that is there already; None where there is none that can be read."""
    with suppress(Unreadable):
        return read_cards(fits)
    return None


class _Batch(Disk):
    """Frames that become durable and visible together: written without syncing each, then synced and renamed."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.full = ""
        """In words that the disk is full, once it is."""
        self._folder = folder
        self._disk = disk
        self._lock = threading.Lock()
        self._written: list[str] = []

    def open(self) -> None:
        """Make the folder of what is under way, without what an end in its midst has left there."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with reported(self._folder):
            self._disk.make_folder(self._folder)

    def note(self, error: StorageError) -> None:
        """Note whether an error means that nothing more can be written anywhere."""
        if error.code is RunCode.DISK_FULL:
            self.full = error.detail

    def place(self, name: str) -> Path:
        """Return where a frame is written until all are."""
        with self._lock:
            self._written.append(name)
        return self._folder / name

    def create(self, path: Path) -> Stream:
        """Create a file that is synced with all others."""
        stream = self._disk.create(path)
        stream.syncs = False
        return stream

    def rename_no_replace(self, source: Path, target: Path) -> None:
        """As the disk."""
        self._disk.rename_no_replace(source, target)

    def remove(self, path: Path) -> None:
        """As the disk."""
        self._disk.remove(path)

    def make_folder(self, folder: Path) -> None:
        """As the disk."""
        self._disk.make_folder(folder)

    def fsync_folder(self, folder: Path) -> None:
        """Do nothing: the folder is synced when all are there."""

    def commit(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        """Make all that was written durable, several at a time, then visible under their names."""
        there = [self._folder / name for name in self._written if (self._folder / name).is_file()]
        with reported(folder):
            list(pool.map(self._disk.sync, there))
            for path in there:
                self._disk.replace(path, folder / path.name)
            if there:
                self._disk.fsync_folder(folder)

    def close(self) -> None:
        """Remove the folder of what was under way."""
        shutil.rmtree(self._folder, ignore_errors=True)
