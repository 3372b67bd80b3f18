"""What pages are made of, as data, and the templates that show it; a daemon's pages use the same parts.

Imports no astropy and no numpy. All texts are escaped by the templates, so that the names of devices and what a YAML
says never become part of a page's structure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A short word with a colour: `look` is `ok`, `warn`, `bad` or empty."""

    text: str
    look: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A table's cell that is more than a text.

    Attributes
    ----------
    text : str
        Shown as code with `code`, in a weaker colour with `soft`.
    marks : tuple of Mark
        Come first.
    lines : tuple of (str, str)
        Texts below one another, each with a detail in small print.
    notes : tuple of str
        In small print below everything else.
    reasons : tuple of str
        Longer notes, in small print below the whole row, so that they make no column wide.
    """

    text: str = ""
    code: bool = False
    soft: bool = False
    marks: tuple[Mark, ...] = ()
    lines: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The head of a column; its meaning is shown when a pointer rests on it and in a list below the table."""

    name: str
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table.

    Attributes
    ----------
    columns : tuple of Column
    rows : tuple of tuple
        Cells: texts, `Cell`, or None, which is shown as a dash.
    numbers : frozenset of int
        Indices of the columns that are aligned to the right.
    note : str
        A sentence below the table.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str | Cell | None, ...], ...]
    numbers: frozenset[int] = frozenset()
    note: str = ""

    @property
    def reasons(self) -> tuple[tuple[str, ...], ...]:
        """What is shown below each row."""
        return tuple(
            tuple(reason for cell in row if isinstance(cell, Cell) for reason in cell.reasons) for row in self.rows
        )

    @property
    def is_explained(self) -> bool:
        """Whether any column says what it means."""
        return any(column.meaning for column in self.columns)

    @property
    def meanings(self) -> tuple[tuple[str, str], ...]:
        """The columns' names with their meanings: touch screens and paper know no tooltips."""
        return tuple((column.name, column.meaning) for column in self.columns)


@cache
def templates() -> Environment:
    """Return the templates of all pages; a name that a page does not give is an error, not an empty text."""
    loader = PackageLoader("services.reports")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def page(template: str, shown: Mapping[str, Any]) -> str:
    """Return a page made of a template and what it shows."""
    return templates().get_template(template).render(shown) + "\n"  # a text file ends with a line end
