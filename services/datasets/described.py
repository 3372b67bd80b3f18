"""An attempt with what its settings and its log say, and what became of each of its raw files."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from services.datasets import log as logs
from services.datasets import settings as described
from services.datasets.attempts import Attempt
from services.datasets.fits_index import row_of
from services.datasets.names import name_facts, stems_of
from services.datasets.raw_frame import RawFacts
from services.datasets.settings import ImageFormat, NoFormat
from services.words import some

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
    data_sum : int or None
        The sum of its pixels as they are stored: files of different sums differ.
    """

    raw: Path
    fits: Path
    outcome: Outcome
    attempt: Attempt
    notes: tuple[str, ...] = ()
    of_attempt: tuple[str, ...] = ()
    row: Mapping[str, str] = field(default_factory=dict)
    data_sum: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether its frame is there now."""
        return self.outcome in {Outcome.MADE, Outcome.THERE, Outcome.FOREIGN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """An attempt with what its settings and its log say; its frames go to `folder`."""

    attempt: Attempt
    folder: Path
    settings: Mapping[str, str]
    log: logs.FrameLog
    image: ImageFormat | None
    notes: tuple[str, ...]
    names: Mapping[Path, str]
    repeated: Mapping[int, str]

    @classmethod
    def of(cls, attempt: Attempt, folder: Path, *, big_endian: bool) -> "Described":
        """Read what describes an attempt; what cannot be read is noted."""
        notes: list[str] = []
        settings = described.parse_settings(_text(attempt.settings, notes))
        image: ImageFormat | None = None
        try:
            image = described.format_of(settings, big_endian=big_endian)
        except NoFormat as error:
            why = f"there is no {' or '.join(described.NAMES)}" if attempt.settings is None else str(error)
            notes.append(f"the size of its image is not known: {why}")
        wanted = {number for raw in attempt.raws if (number := name_facts(raw.stem).frame) is not None}
        log = logs.read_log(_text(attempt.log, notes), wanted) if attempt.log is not None else logs.FrameLog()
        if attempt.log is None:
            notes.append("there is no log: its temperature is not known")
        notes += log.problems
        return cls(
            attempt=attempt,
            folder=folder,
            settings=settings,
            log=log,
            image=image,
            notes=tuple(notes),
            names=stems_of(attempt.raws),
            repeated=_repeated(attempt.raws),
        )

    def fits(self, raw: Path) -> Path:
        """Return where the frame of a raw file goes."""
        return self.folder / f"{self.names[raw]}.fits"

    def left(self, raw: Path, why: str) -> Converted:
        """Return that a raw file was not converted."""
        return self.done(raw, Outcome.NOT_WRITTEN, why)

    def done(
        self,
        raw: Path,
        outcome: Outcome,
        *notes: str,
        cards: Mapping[str, object] | None = None,
        data_sum: int | None = None,
    ) -> Converted:
        """Return what became of a raw file, with what is to be noted of its attempt as well."""
        return Converted(
            raw=raw,
            fits=self.fits(raw),
            outcome=outcome,
            attempt=self.attempt,
            notes=notes,
            of_attempt=self.notes,
            row={} if cards is None else row_of(cards),
            data_sum=data_sum,
        )

    def facts(self, raw: Path, status: os.stat_result) -> tuple[RawFacts, tuple[str, ...]]:
        """Return what is known of a raw file, and in words what is not."""
        name = name_facts(raw.stem)
        kind = self.attempt.kind_of(raw)
        notes: list[str] = []
        if kind is None:
            notes.append("neither folders nor its name say of what kind it is: it is marked OPER")
        if name.frame is None:
            notes.append("its name has no frame number: its row of the log cannot be known")
        elif self.attempt.log is not None and name.frame not in self.log.rows:
            notes.append(f"the log has no row that can be believed for frame {name.frame}")
        if name.frame is not None and name.frame in self.repeated:
            notes.append(f"frame {name.frame} is there more than once: {self.repeated[name.frame]}")
        row = {} if name.frame is None else self.log.rows.get(name.frame, {})
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


def _repeated(raws: Sequence[Path]) -> dict[int, str]:
    """Return the numbers that several raw files of an attempt have, with the names of those."""
    files: dict[int, list[str]] = {}
    for raw in raws:
        if (number := name_facts(raw.stem).frame) is not None:
            files.setdefault(number, []).append(raw.name)
    return {number: some(names) for number, names in files.items() if len(names) > 1}


def _text(path: Path | None, notes: list[str]) -> str:
    if path is None:
        return ""
    try:
        data = path.read_bytes()
    except OSError as error:
        notes.append(f"{path.name} cannot be read: {error.strerror}")
        return ""
    return described.decoded(data)
