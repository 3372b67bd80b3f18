"""What the commands for models have in common: their arguments, and how they name frames that are left out."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from services.errors import Exit, Usage

_SHOWN = 10
"""Files that are named of one reason; the sidecar of the model names all."""

Base = Annotated[
    Path, typer.Argument(metavar="BASE", help="An index.csv, the folder of a dataset or of frames, a nightcal root")
]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder of the model")]
SearchDepth = Annotated[int, typer.Option("--search-depth", min=0, help="Folders below BASE that are looked into")]


class Refusals:
    """The settings of which no model could be made, while those of others were; they are named at the end."""

    def __init__(self) -> None:
        self._missed: list[tuple[str, Usage]] = []

    def hear(self, name: str, error: Usage) -> None:
        """Keep what `services.models.gathering.of_each` says."""
        self._missed.append((name, error))

    def end(self) -> int:
        """Name them on standard error, and return the exit code of the command."""
        for name, error in self._missed:
            print(f"nothing was made of {name}: {error.detail}\nWhat to do: {error.advice}", file=sys.stderr)
        return Exit.SOME_FAILED if self._missed else Exit.DONE


def alarm_of(said: Mapping[str, Any]) -> str:
    """Return what the line that sums a model up says of frames that contradict each other; "" where none do."""
    from services.models.contradicting import warning_of

    warning = warning_of(said)
    return f" - WARNING: {warning}" if warning else ""


def left_out_lines(rows: Sequence[Mapping[str, str]], remarks: Sequence[str]) -> Iterator[str]:
    """Yield each reason with the files that it left out."""
    of: dict[str, list[str]] = {}
    for row in rows:
        of.setdefault(row["reason"], []).append(row["path"])
    for reason, paths in of.items():
        yield f"left out: {reason}:"
        yield from (f"  {path}" for path in paths[:_SHOWN])
        if len(paths) > _SHOWN:
            yield f"  and {len(paths) - _SHOWN} more"
    yield from (f"note: {remark}" for remark in remarks)
