"""Files that are not used: each with its reason, and summed up to one line for one kind of reason."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.errors import RunCode
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutFiles:
    """Files that are not used for one kind of reason."""

    code: RunCode
    reason: str
    paths: tuple[str, ...]

    @property
    def detail(self) -> str:
        """How many there are, the first few of them, and why."""
        if len(self.paths) == 1:
            return f"{self.paths[0]}: {self.reason}"
        return f"{count(len(self.paths), 'file')} ({some(self.paths)}): {self.reason}"


def summed_up(problems: Iterable[FileProblem]) -> Iterator[LeftOutFiles]:
    """Yield the files of each kind of reason, in the order in which the kinds were met.

    Reasons that differ in numbers and quoted values alone are of one kind; that of the first file is shown.
    """
    kinds: dict[tuple[RunCode, str], list[FileProblem]] = {}
    for problem in problems:
        kinds.setdefault((problem.code, _PARTICULAR.sub("#", problem.reason)), []).append(problem)
    for (code, _), found in kinds.items():
        yield LeftOutFiles(code=code, reason=found[0].reason, paths=tuple(problem.path for problem in found))
