"""HTML and SVG from Python calls; every text is escaped unless it is markup already.

Texts of devices, files and the YAML thus never become part of the page's structure.
"""

from collections.abc import Iterable
from html import escape

Child = object
"""Markup, or anything else that is shown as its text; None shows nothing."""


class Markup(str):
    """Text that is HTML already; made by `tag` and `joined` only."""

    __slots__ = ()


EMPTY = Markup("")
_VOID = frozenset({"img", "meta", "br"})


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """Return an element.

    Parameters
    ----------
    name : str
        A name of ours.
    *children : object
        Inside it, one after the other.
    **attributes
        `class_` and `for_` lose their underscore, other underscores become hyphens; None and False leave one out, True
        gives it without a value.
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Markup:
    """Return markup one after the other, texts escaped."""
    return Markup("".join(_shown(child) for child in children))


def _shown(child: Child) -> str:
    if child is None:
        return ""
    return str.__str__(child) if isinstance(child, Markup) else escape(str(child))


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def table(heads: Iterable[Child], rows: Iterable[Iterable[Child]], *, numbers: Iterable[int] = ()) -> Markup:
    """Return a table that scrolls sideways within the page, its first column staying.

    Parameters
    ----------
    heads : iterable
    rows : iterable of iterables
        Cells; None is shown as a dash.
    numbers : iterable of int
        Columns of numbers: aligned to the right.
    """
    right = frozenset(numbers)

    def cells(name: str, row: Iterable[Child]) -> Markup:
        return joined(
            tag("th" if i == 0 else name, "–" if cell is None else cell, class_="n" if i in right else None)
            for i, cell in enumerate(row)
        )

    head = tag("thead", tag("tr", cells("th", heads)))
    body = tag("tbody", *(tag("tr", cells("td", row)) for row in rows))
    return tag("div", tag("table", head, body), class_="scroll")
