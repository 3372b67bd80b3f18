"""Command lines as earlier programs spelled them: options with underscores, and BASE and OUT as options."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

_NAMED = ("--basepath", "--output-dir")
"""What BASE and OUT were called, in the order of the arguments."""


def dashed(option: str) -> str:
    """Return an option as it is spelled here: ``--temp_single`` is ``--temp-single``."""
    return option.replace("_", "-")


def as_arguments(words: Sequence[str]) -> list[str]:
    """Return a command line whose BASE and OUT are arguments where they were given as options.

    Parameters
    ----------
    words : sequence of str
        ``--basepath B --output_dir OUT`` or ``--basepath=B``, among others that stay as they are.
    """
    named: dict[str, str] = {}
    rest: list[str] = []
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        name = dashed(option)
        following = value if equals else None
        if name not in _NAMED or (following is None and (following := next(left, None)) is None):
            rest.append(word)
        else:
            named[name] = following
    return [*(named[name] for name in _NAMED if name in named), *rest]


class EarlierCommand(TyperCommand):
    """A command that takes the command lines of the earlier program that did its work."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line, as click does."""
        return super().parse_args(ctx, as_arguments(args))
