"""The HTML page of a model, of any kind: one file that loads nothing, with its plots inside."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.files.disk import REAL_DISK, Disk, write_text
from services.models.drawing import Plot, write_picture
from services.reports.parts import Cell, Column, Table, page
from services.reports.summary import Headline
from services.version import version
from services.words import count, number

NAME = "report.html"
_SEEN, _MOST = 8, 200
"""Files that are named of one reason: at once, and when they are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page: its title, sentences, tables and plots, in this order."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPage:
    """What the page of a model shows.

    Attributes
    ----------
    title : str
        What it is a model of.
    base : Path
        Folder of the model.
    headline : Headline
        What the model is good for, and what to look at first.
    facts : tuple of (str, str)
        Numbers at the head of the page, each with what it counts.
    notes : tuple of str
        What the frames do not show; the page makes sentences of them.
    sections : tuple of Section
    left_out : sequence of mapping
        Rows with `path` and `reason`, as the sidecar has them.
    """

    title: str
    base: Path
    headline: Headline
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    left_out: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a column of rows from a sidecar is shown.

    `name` is that of the values, `head` the head of the column, `decimals` those of its numbers, `meaning` its
    explanation below the table.
    """

    name: str
    head: str
    decimals: int = 2
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """A plot that is drawn; one `alone` in its row of two has its caption beside it, and leaves no empty column."""

    plot: Plot
    source: str
    alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reason:
    text: str
    files: int
    first: tuple[str, ...]
    folded: tuple[str, ...]
    rest: int


def table_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[Shown], *, note: str = "") -> Table:
    """Return rows of a sidecar as a table: numbers with their decimals, yes and no, a dash where a value is missing."""
    numeric = {i for i, each in enumerate(columns) if any(_is_number(row[each.name]) for row in rows)}
    return Table(
        columns=tuple(Column(name=each.head, meaning=each.meaning) for each in columns),
        rows=tuple(tuple(_cell(row[each.name], each.decimals) for each in columns) for row in rows),
        numbers=frozenset(numeric),
        note=note,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object, decimals: int) -> str | Cell | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value, decimals) if math.isfinite(value) else None
    return None if value is None else str(value)


def write_page(shown: ModelPage, out: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Draw the plots of a page, write them and the page in place of older ones, and return the files.

    Parameters
    ----------
    shown : ModelPage
    out : Path
        The folder of the report.
    disk : Disk

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    sections, paths = [], []
    for section in shown.sections:
        pictures = []
        for plot, alone in zip(section.plots, _alone(section.plots), strict=True):
            paths.append(out / plot.name)
            source = _embedded(write_picture(plot.name, plot.draw, out, disk))
            pictures.append(_Picture(plot=plot, source=source, alone=alone))
        sections.append((section, tuple(pictures)))
    text = page(
        "model.html",
        {
            "shown": shown,
            "notes": [sentence(note) for note in shown.notes],
            "sections": sections,
            "reasons": _reasons(shown.left_out),
            "left_out": count(len(shown.left_out), "file"),
            "software": f"nightcal {version()}",
        },
    )
    write_text(out / NAME, text, disk, replace=True)
    return [*paths, out / NAME]


def _alone(plots: Sequence[Plot]) -> list[bool]:
    """Return which plots have nothing beside them in rows of two: the last of an odd number of narrow ones."""
    found, run = list[bool](), 0
    for plot, after in zip(plots, (*plots[1:], None), strict=False):
        run = 0 if plot.wide else run + 1
        found.append(run % 2 == 1 and (after is None or after.wide))
    return found


def sentence(words: str) -> str:
    """Return words as a sentence: with a capital at the beginning and a full stop at the end."""
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _reasons(rows: Sequence[Mapping[str, str]]) -> tuple[_Reason, ...]:
    of: dict[str, list[str]] = {}
    for row in rows:
        of.setdefault(row["reason"], []).append(row["path"])
    return tuple(
        _Reason(
            text=text,
            files=len(paths),
            first=tuple(paths[:_SEEN]),
            folded=tuple(paths[_SEEN:_MOST]),
            rest=max(0, len(paths) - _MOST),
        )
        for text, paths in of.items()
    )
