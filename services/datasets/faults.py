"""What of a dataset is missing or bad, in words, each with its files and with what to do about it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath

from calibration.frames import FrameKind
from calibration.grouping import is_own
from calibration.keywords.kinds import kind_of_path
from calibration.keywords.values import flag, number
from services.datasets import FITS_DIR, SEARCH_DEPTH
from services.datasets.attempts import Attempt, Section, attempts_of
from services.datasets.names import stems_of
from services.datasets.reading import MOST_ZEROS
from services.datasets.settings import NAMES, NoFormat, decoded, format_of, parse_settings
from services.datasets.survey import LEAST, Part, Seen, Survey, celsius
from services.datasets.words import of_kind
from services.words import GAP, count, percent

Left = tuple[Path, str]
_ZEROS = "Too many zeros"
_SIZE = "Wrong size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong, and where.

    Attributes
    ----------
    what : str
        A heading.
    means : str
        What it means for the frames, and what can be done: whole sentences.
    places : tuple of (str, str)
        Files or groups, each with what is wrong with it.
    files : int
        Files that it concerns.
    bad : bool
        Whether these files count for nothing; else they are only to be looked at.
    """

    what: str
    means: str
    places: tuple[tuple[str, str], ...]
    files: int
    bad: bool = True


def raws_without_frames(root: Path, survey: Survey, *, depth: int = SEARCH_DEPTH) -> tuple[Left, ...]:
    """Return the raw files below a folder that have no frame in the dataset, each with the reason in words.

    Parameters
    ----------
    root : Path
    survey : Survey
    depth : int
        Folders below the root that are looked into.
    """
    found = attempts_of(Section(root=root), depth=depth)
    known = {each.frame.path for each in survey.frames}
    lost = [pair for attempt in found.attempts for pair in _lost(attempt, known)]
    lost += [(raw, _OUTSIDE) for raw in found.outside]
    return tuple(lost)


def _lost(attempt: Attempt, known: set[Path]) -> Iterator[Left]:
    stems = stems_of(attempt.raws)
    missing = [raw for raw in attempt.raws if attempt.folder / FITS_DIR / f"{stems[raw]}.fits" not in known]
    if not missing:
        return
    why = _why_no_size(attempt)
    for raw in missing:
        there = (attempt.folder / FITS_DIR / f"{stems[raw]}.fits").exists()
        yield raw, _NOT_LISTED if there else _why_unread(raw) or why or _NOT_YET


def _why_unread(raw: Path) -> str:
    with suppress(OSError):
        return "" if raw.stat().st_size else _EMPTY
    return _UNREADABLE


def _why_no_size(attempt: Attempt) -> str:
    if attempt.settings is None:
        return f"there is no {' or '.join(NAMES)}"
    try:
        format_of(parse_settings(decoded(attempt.settings.read_bytes())))
    except NoFormat as error:
        return str(error)
    except OSError as error:
        return f"{attempt.settings.name} cannot be read: {error.strerror}"
    return ""


def faults_of(
    survey: Survey, root: Path, *, left_out: Sequence[Left] = (), lost: Sequence[Left] = ()
) -> tuple[Fault, ...]:
    """Return what is missing or bad, what keeps files from being used first.

    Parameters
    ----------
    survey : Survey
    root : Path
        Folder as seen from which files are named.
    left_out, lost : sequence of (Path, str)
        Files that are no frames, and raw files without a frame, each with the reason.
    """
    names = _Names(root)
    damaged = [(names(path), _without(why, path)) for path, why in left_out]
    found = [
        *_lost_faults(lost, names),
        *_listed("Files that are no frames", _LEFT_OUT, damaged),
        *_listed(_ZEROS, _ZEROS_MEAN, [(names(e.frame.path), _zeros(e)) for e in survey.frames if e.has_zeros]),
        *_listed(_SIZE, _SIZE_MEANS, [(names(e.frame.path), _excess(e)) for e in survey.frames if _is_cut(e)]),
        *_others(survey, names),
        *_listed("Kind in doubt", _DISAGREE, list(_contradictions(survey, names)), bad=False),
        *_sizes(survey, names),
        *_few(survey),
        *_unknown(survey, names, "No temperature", _NO_TEMPERATURE, lambda e: celsius(e.frame.header) is None),
        *_unknown(survey, names, "No exposure time", _NO_EXPOSURE, _has_no_exposure),
    ]
    return tuple(found)


_LEFT_OUT = (
    "They are damaged, hold no image or one that is a master, or nothing says of what kind they are. They are part of "
    "nothing that is made of this dataset."
)
_ZEROS_MEAN = (
    f"More than {percent(MOST_ZEROS, 0)} of their pixels are 0, as when a transfer broke off (BADFITS). "
    "They are left out of masters and models."
)
_SIZE_MEANS = (
    "Their raw files have too few or too many bytes for their image (BADSIZE, BADFITS). They are left out of "
    "masters and models. Look whether the settings of the attempt belong to these files, or copy them again."
)
_DISAGREE = (
    "Their header says another kind than the index, their folder or their name. The index counts where there is one, "
    "else the header. Look whether these frames lie in the right folder."
)
_NO_TEMPERATURE = (
    "Neither the headers nor the log, names or folders say how warm the sensor was. Such frames make a group of "
    "their own, and no model that depends on temperature can use them."
)
_NO_EXPOSURE = (
    "Neither the headers nor names or folders say how long the exposure was. Such frames make a group of their own."
)


class _Names:
    """Names of files as seen from the dataset's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, path: Path) -> str:
        """Return the name of a file."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def of_attempt(self, part: Part, attempt: str) -> str:
        """Return the name of an attempt with that of its section; attempts are seen from outside the dataset."""
        return f"{part.title}: {attempt.removeprefix(f'{self.root.name}/')}"


def _listed(
    what: str, means: str, places: Sequence[tuple[str, str]], *, files: int | None = None, bad: bool = True
) -> Iterator[Fault]:
    """Yield a fault, unless it is nowhere; every place is a file where their number is not given."""
    if places:
        yield Fault(
            what=what, means=means, places=tuple(places), files=len(places) if files is None else files, bad=bad
        )


def _without(why: str, path: Path) -> str:
    """Return a reason without the path with which it begins."""
    return why.removeprefix(f"{path}: ")


def _lost_faults(lost: Sequence[Left], names: _Names) -> Iterator[Fault]:
    """Yield the raw files that have no frame, those for one reason together."""
    for why, (what, means) in _LOST.items():
        yield from _listed(what, means, [(names(path), "") for path, said in lost if said == why])
    unknown = [(names(path), said) for path, said in lost if said not in _LOST]
    yield from _listed(_NO_SIZE, _NO_SIZE_MEANS, unknown)


_NO_SIZE = "Raw files of unknown size"
_NO_SIZE_MEANS = (
    "How many rows and columns their images have is not known, and nothing is guessed: they have no frame. Put a "
    f"{NAMES[0]} with HEIGHT, WIDTH and BIT_DEPTH beside their folder of frames, then import again."
)
_OUTSIDE, _NOT_YET, _NOT_LISTED = "outside of attempts", "not converted", "not in the index"
_EMPTY, _UNREADABLE = "empty", "cannot be read"
_LOST = {
    _OUTSIDE: (
        "Raw files outside of attempts",
        (
            "They lie neither in a folder whose name begins with “attempt” nor in a folder of frames beside settings "
            "or a log, and have no frame. Name the folder of frames with --frames-dir when you import, or move them."
        ),
    ),
    _EMPTY: (
        "Raw files that are empty",
        "They have no byte, as when a disk was full. Copy them again, if there is a copy.",
    ),
    _UNREADABLE: ("Raw files that cannot be read", "They are links that lead nowhere, or may not be read."),
    _NOT_YET: (
        "Raw files that are not converted",
        "Their frames are missing. Import the dataset again: nightcal dataset import.",
    ),
    _NOT_LISTED: (
        "Frames that are not in the index",
        "They were made since the index was. Make it again: nightcal dataset index.",
    ),
}


def _zeros(seen: Seen) -> str:
    return f"{percent(seen.zero_fraction)} zeros"


def _is_cut(seen: Seen) -> bool:
    return bool(seen.frame.bad) and flag(seen.frame.header.extra.get("BADSIZE")) is True


def _excess(seen: Seen) -> str:
    excess = number(seen.frame.header.extra.get("RAWEXCES"))
    if excess is None:
        return "BADSIZE"
    return f"{count(abs(int(excess)), 'byte')} too {'few' if excess < 0 else 'many'}"


def _others(survey: Survey, names: _Names) -> Iterator[Fault]:
    """Yield what is wrong with bad frames beside zeros and sizes."""
    found = [
        (names(each.frame.path), _without(each.problem, each.frame.path) or each.frame.bad)
        for each in survey.frames
        if not each.counts and not each.has_zeros and not _is_cut(each)
    ]
    yield from _listed("Other bad frames", "They are left out of masters and models.", found)


def _contradictions(survey: Survey, names: _Names) -> Iterator[tuple[str, str]]:
    """Yield the frames that the list, their folders or their name call another kind than they count as.

    Our own frames lie where nightcal puts them: biases among the darks.
    """
    for each in (each for each in survey.frames if not is_own(each.frame.header)):
        name = names(each.frame.path)
        kind, own = each.frame.header.kind, each.frame.own_kind
        if own is not None:
            yield name, f"index: {of_kind(kind)}; the file itself: {of_kind(own)}"
        elif (other := _other_kind(PurePath(names.root.name, name), kind)) is not None:
            yield name, f"header: {of_kind(kind)}; {other[0]}: {of_kind(other[1])}"


def _other_kind(path: PurePath, kind: FrameKind) -> tuple[str, FrameKind] | None:
    """Return which part of a path says another kind: of its folders all must, since a section may have any folder."""
    folders = [said for part in path.parts[:-1] if (said := _kind_of_folder(part)) is not None]
    if folders and kind not in folders:
        return "folder", folders[-1]
    by_name = kind_of_path(PurePath(path.name))
    return None if by_name is None or by_name is kind else ("name", by_name)


@lru_cache(maxsize=4096)
def _kind_of_folder(name: str) -> FrameKind | None:
    return kind_of_path(PurePath(name, "x"))


def _sizes(survey: Survey, names: _Names) -> Iterator[Fault]:
    """Yield the attempts whose images have another size, or other bits, than most of their part."""
    odd = [group for group in survey.groups if group.form]
    places = [
        (names.of_attempt(group.part, name), f"{count(len(frames), 'frame', GAP)}: {group.form}")
        for group in odd
        for name, frames in group.attempts.items()
    ]
    means = "They make groups of their own, and are never combined with the others."
    files = sum(len(group.frames) for group in odd)
    yield from _listed("Images of another size or depth", means, places, files=files, bad=False)


def _few(survey: Survey) -> Iterator[Fault]:
    few = [group for group in survey.groups if group.is_small]
    places = [(group.title, f"{group.good} of {count(len(group.frames), 'frame', GAP)} can be used") for group in few]
    means = f"With fewer than {LEAST} frames that can be used nothing shows which of them is wrong. Take more of these."
    files = sum(len(group.frames) for group in few)
    yield from _listed("Groups with too few frames", means, places, files=files, bad=False)


def _unknown(survey: Survey, names: _Names, what: str, means: str, lacks: Callable[[Seen], bool]) -> Iterator[Fault]:
    """Yield what is not known of frames, by attempt."""
    found: Counter[tuple[Part, str]] = Counter()
    for group in survey.groups:
        found.update((group.part, each.frame.attempt) for each in group.frames if lacks(each))
    places = [(names.of_attempt(part, attempt), count(n, "frame", GAP)) for (part, attempt), n in found.items()]
    yield from _listed(what, means, places, files=found.total(), bad=False)


def _has_no_exposure(seen: Seen) -> bool:
    return seen.frame.header.exposure_us is None and seen.frame.header.kind is not FrameKind.BIAS
