"""Files that are not used: each with its reason, and summed up to one line for one kind of reason."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.errors import RunCode
from services.events.records import WarningRaised
from services.words import count, some

SHOULD_SERVE = frozenset({RunCode.READ_FAILED, RunCode.TYPE_UNKNOWN, RunCode.CARD_UNKNOWN, RunCode.SEVERAL_IMAGES})
"""Reasons why a calibration frame could not serve, in contrast to files that are none."""

_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|[-+]?\d+(?:\.\d+)?")
"""What differs between reasons of one kind: numbers, and what is quoted from a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """A file (or an image in it) that was left out.

    Attributes
    ----------
    path : str
        As the catalogue names files; an image beside the frame as `file.fits[NAME]`.
    reason : str
        Why, for this file: what was found and what to do.
    code : RunCode
        Why, for counting: one code for one kind of reason (`services.errors.MEANINGS` has the words).
    """

    path: str
    reason: str
    code: RunCode = RunCode.READ_FAILED


def warnings_of(problems: Iterable[FileProblem]) -> Iterator[WarningRaised]:
    """Yield one warning for the files of each kind of reason, in the order in which the kinds were met.

    A run emits them and a dry run announces them. Reasons that differ in numbers and quoted values alone are of one
    kind; that of the first file is shown, with how many files there are and the first few of them.
    """
    kinds: dict[tuple[RunCode, str], list[FileProblem]] = {}
    for problem in problems:
        kinds.setdefault((problem.code, _PARTICULAR.sub("#", problem.reason)), []).append(problem)
    for (code, _), found in kinds.items():
        paths = tuple(problem.path for problem in found)
        files = paths[0] if len(paths) == 1 else f"{count(len(paths), 'file')} ({some(paths)})"
        yield WarningRaised(code=code, detail=f"{files}: {found[0].reason}", paths=paths)
