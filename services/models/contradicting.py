"""Sets of frames that contradict all others, in words and as rows: which they are, by how much, and why they may."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.models.contradictions import Mask, Verdict
from services.datasets import FITS_DIR
from services.files.disk import REAL_DISK, Disk, write_text
from services.models.gathering import PLURAL, Member
from services.models.records import ecsv
from services.reports.summary import Headline
from services.words import count, some

WITHIN = "within sets"
"""The difference of frames from others of their own set."""

_FOLDERS = 3
"""Folders that are named in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """A set of frames that contradicts the others.

    Attributes
    ----------
    frames : str
        Which they are, in words: how many, of which temperatures, exposures, nights and folders.
    paths : tuple of str
    difference : str
        What differs: factor, offset, shape; or `WITHIN` of frames that differ from others of their own set.
    factor, offset_adu, shape_adu : float
        What their pixels are multiplied by, what they have more, and the rms of the shape across the frame.
    words : str
        By how much they differ, and what explains it.
    left_out : bool
        Whether they take no part in the model; else nothing shows that not the others are wrong.
    """

    frames: str
    paths: tuple[str, ...]
    difference: str
    factor: float
    offset_adu: float
    shape_adu: float
    words: str
    left_out: bool

    @property
    def sentence(self) -> str:
        """Everything in one or two sentences."""
        those = "the others of their set" if self.difference == WITHIN else "all others"
        what = f"contradict {those} and are left out" if self.left_out else "contradict the others"
        return f"{self.frames} {what}: {self.words}"

    @property
    def row(self) -> dict[str, Any]:
        """A row for the sidecar and the table."""
        return {**asdict(self), "paths": list(self.paths), "sentence": self.sentence}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a set differs: its kind, its numbers, and both in words with what explains them."""

    kind: str
    factor: float
    offset_adu: float
    shape_adu: float
    words: str


_PARTS: tuple[Callable[[Member], object], ...] = (
    lambda member: member.label_c,
    lambda member: member.session,
    lambda member: member.frame.path.parent,
    lambda member: member.frame.path.parent.parent,
    lambda member: (member.session, member.label_c),
    lambda member: member.attempt,
)


def sets_of(members: Sequence[Member], groups: Sequence[Sequence[int]]) -> list[Mask]:
    """Return the sets of groups that may have something of their own, of half of the groups at most.

    They are one group, folder, night or temperature, or one temperature of a night.
    """
    found: dict[bytes, Mask] = {}
    first = [members[each[0]] for each in groups]
    keys: list[list[object]] = [list(range(len(groups))), *([part(member) for member in first] for part in _PARTS)]
    for key in keys:
        for value in dict.fromkeys(key):
            mask = np.array([each == value for each in key])
            if 2 * mask.sum() <= len(groups):
                found.setdefault(mask.tobytes(), mask)
    return list(found.values())


def named(members: Sequence[Member]) -> str:
    """Return which frames these are: `the 4 darks of 10.0 °C and 20 s, of 2026-03-01 (folder T10_20s)`."""
    temperatures = _listed(sorted({member.label_c for member in members}), "{:.1f}", "°C")
    exposures = sorted({member.exposure_s for member in members} if members[0].kind.name != "BIAS" else ())
    of = [temperatures, *([_listed(exposures, "{:g}", "s")] if exposures else [])]
    nights = sorted({member.session for member in members if member.session})
    night = f", of {', '.join(nights[:_FOLDERS])}" if 0 < len(nights) <= _FOLDERS else ""
    folders = sorted({_folder(member) for member in members})
    where = f" ({'folder' if len(folders) == 1 else 'folders'} {some(folders, _FOLDERS)})"
    kind = PLURAL[members[0].kind]
    return f"The {len(members)} {kind} of {' and '.join(of)}{night}{where}"


def _folder(member: Member) -> str:
    """Return the folder of a frame as it is known by; its attempt where an import named it like all others."""
    name = member.frame.path.parent.name
    return member.frame.attempt if name == FITS_DIR and member.frame.attempt else name


def _listed(values: Sequence[float], form: str, unit: str) -> str:
    texts = [form.format(value) for value in values]
    if len(texts) > _FOLDERS:
        texts = [texts[0], "…", texts[-1]]
    return f"{', '.join(texts)} {unit}"


def contradictions_of(
    verdict: Verdict,
    members: Sequence[Member],
    groups: Sequence[Sequence[int]],
    describe: Callable[[Mask], Difference],
) -> tuple[Contradiction, ...]:
    """Return what a verdict says of groups of frames, in words.

    Parameters
    ----------
    verdict : Verdict
    members : sequence of Member
    groups : sequence of sequences of int
        Numbers of the frames of each group.
    describe : callable
        Return how a set of groups differs from the others.
    """
    every = [(each, True) for each in verdict.sets] + [(each, False) for each in verdict.undecided]
    found = []
    for mask, left_out in every:
        of = [members[i] for k in np.flatnonzero(mask).tolist() for i in groups[k]]
        how = describe(mask)
        found.append(
            Contradiction(
                frames=named(of),
                paths=tuple(str(member.frame.path) for member in of),
                difference=how.kind,
                factor=how.factor,
                offset_adu=how.offset_adu,
                shape_adu=how.shape_adu,
                words=how.words,
                left_out=left_out,
            )
        )
    return tuple(found)


def notes_on(contradictions: Sequence[Contradiction], kind: str, *, restless: bool) -> list[str]:
    """Return what a model says of contradictions, in whole sentences: its `doubts`, the first of its notes."""
    notes = [each.sentence for each in contradictions]
    open_ones = [each for each in contradictions if not each.left_out and each.difference != WITHIN]
    if len(open_ones) > 1:
        notes.append(
            f"Leaving out any one of these {len(open_ones)} sets makes the rest agree: nothing shows which of them is "
            "wrong. All take part, and the errors are widened; leave out the wrong one and fit again."
        )
    elif open_ones:
        notes.append("Half of the frames contradict the other half: nothing shows which are right; all take part.")
    elif restless and all(each.left_out for each in contradictions):
        notes.append(
            f"The {kind} contradict each other by more than any model explains, and nothing shows which are right: "
            "a temperature, an exposure or a gain is not what the headers state. Little can be said of this sensor."
        )
    return notes


def write_contradictions(folder: Path, rows: Sequence[Mapping[str, Any]], disk: Disk = REAL_DISK) -> None:
    """Write the table `contradictions.ecsv` of a sidecar's rows in place of an older one; none where there are none.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    path = folder / "contradictions.ecsv"
    disk.remove(path)
    if rows:
        table = [{**row, "paths": " ".join(row["paths"])} for row in rows]
        write_text(path, ecsv(table), disk, replace=True)


def warning_of(said: Mapping[str, Any]) -> str:
    """Return in a few words that frames of a model contradict each other; "" where none do."""
    rows = said.get("contradictions", ())
    out = sum(bool(row["left_out"]) for row in rows)
    if len(rows) > out or said.get("restless"):
        return "frames contradict each other, and nothing shows which are right"
    return (
        f"{count(out, 'set')} of frames contradicted all others and {'was' if out == 1 else 'were'} left out"
        if out
        else ""
    )


def alarmed(headline: Headline, said: Mapping[str, Any]) -> Headline:
    """Return the head of a page, in red with the warning where frames of a model contradict each other."""
    warning = warning_of(said)
    if not warning:
        return headline
    sentences = " ".join(f"{doubt.rstrip('.')}." for doubt in said["doubts"])
    text = f"{warning[:1].upper()}{warning[1:]}"
    return Headline(look="bad", text=text, detail=sentences, advice=(headline.text, *headline.advice))


def without(unused: Mapping[Path, str], contradictions: Iterable[Contradiction]) -> dict[Path, str]:
    """Return the files that are left out, with those of sets that contradict all others."""
    more = {
        Path(path): f"contradicts the others: {c.words.rstrip('.')}"
        for c in contradictions
        if c.left_out
        for path in c.paths
    }
    return {**unused, **more}
