"""A dataset processed: its frames measured and judged, its masters made, its tables written."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from calibration.errors import CalibrationError
from calibration.frames import FrameKind
from calibration.keywords import normalised
from services.datasets import SEARCH_DEPTH
from services.datasets.frame import DatasetFrame, DatasetFrames
from services.datasets.frames import frames_of
from services.datasets.processing.building import NoMaster, build
from services.datasets.processing.cards import remarks_of
from services.datasets.processing.groups import FOLDERS, ProcessGroup, groups_of, of_foreign_size
from services.datasets.processing.measuring import FrameNumbers, Numbers, judged
from services.datasets.processing.wanted import Bias, Wanted
from services.errors import RunCode, StorageError, Usage
from services.files.disk import REAL_DISK, Disk
from services.files.fits import pixel_location, read_cards
from services.planning.master_settings import MasterSettings

Progress = Callable[[str, int | None, int], object]
"""Called with what is counted, how many there are when that becomes known, and how many were done since."""

_FATAL = {RunCode.DISK_FULL, RunCode.WRITE_FAILED}
_SCRATCH = ".unpacked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What became of one master: `state` is made, kept (it was there as it must be) or failed."""

    wanted: Wanted
    state: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """What a dataset gave.

    Attributes
    ----------
    groups : tuple of ProcessGroup
        With the frames that are combined.
    numbers : mapping of Path to FrameNumbers
        Of each frame that was measured.
    frames : tuple of DatasetFrame
        All that are frames of the dataset.
    unused : mapping of Path to str
        Files that are part of no master, with the reason in words.
    remarks : tuple of (str, str)
        What is to be said of whole groups, behind their names.
    masters : tuple of Made
    """

    groups: tuple[ProcessGroup, ...] = ()
    numbers: Mapping[Path, FrameNumbers] = field(default_factory=dict)
    frames: tuple[DatasetFrame, ...] = ()
    unused: Mapping[Path, str] = field(default_factory=dict)
    remarks: tuple[tuple[str, str], ...] = ()
    masters: tuple[Made, ...] = ()

    @property
    def failed(self) -> tuple[Made, ...]:
        """The masters that could not be made."""
        return tuple(each for each in self.masters if each.state == "failed")


def looked_at(
    base: Path, out: Path, *, depth: int = SEARCH_DEPTH, progress: Progress = lambda *_: None, disk: Disk = REAL_DISK
) -> Processed:
    """Return the frames of a dataset, measured, judged and grouped; masters are not made yet.

    Parameters
    ----------
    base : Path
        An index, a dataset's folder, a folder of FITS files, or a nightcal root; nothing in it is changed.
    out : Path
        The folder of results, which keeps what was measured.
    depth : int
        Folders below `base` that are looked into.
    progress : callable
    disk : Disk

    Raises
    ------
    Usage
        There are no frames, or `out` is no folder.
    StorageError
        The folder of results cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise Usage(f"{out} is a file", advice="name a folder for the results")
    found = frames_of(base, depth=depth, progress=lambda done: progress("frames read", None, done))
    unused = _unused(found)
    groups = groups_of((frame for frame in found.frames if frame.path not in unused), _numbers_of)
    if not groups and not found.frames:
        raise Usage(f"{base} holds no frames", advice="name the folder of the frames, or an index of them")
    progress("frames measured", sum(len(group.frames) for group in groups), 0)
    series = [frames for group in groups for frames in group.of_attempts().values()]
    numbers = Numbers(out, disk).of(series, lambda done: progress("frames measured", None, done))
    kept: list[ProcessGroup] = []
    remarks: list[tuple[str, str]] = []
    for group in groups:
        verdict = judged(group.frames, numbers)
        unused |= verdict.refused
        remarks += [(group.name, remark) for remark in verdict.remarks]
        frames = tuple(frame for frame in group.frames if frame.path not in verdict.refused)
        if frames:
            kept.append(replace(group, frames=frames))
        else:
            remarks.append((group.name, "there is no such master, since none of its frames can be used"))
    return Processed(groups=tuple(kept), numbers=numbers, frames=found.frames, unused=unused, remarks=tuple(remarks))


def _unused(found: DatasetFrames) -> dict[Path, str]:
    """Return what is left out before anything is measured."""
    unused = dict(found.left_out)
    unused |= {frame.path: frame.bad for frame in found.frames if frame.bad}
    other = (frame for frame in found.frames if frame.header.kind not in FOLDERS)
    unused |= {frame.path: f"it is a {frame.header.kind.lower()} frame, which makes no master" for frame in other}
    return of_foreign_size([frame for frame in found.frames if frame.path not in unused]) | unused


def _numbers_of(frame: DatasetFrame) -> str:
    """Return how a frame's file holds its numbers; empty for all but 8 bits, whose steps are others."""
    try:
        location = pixel_location(frame.path)
    except StorageError:
        return ""
    return "8bit" if location is not None and location.bitpix == 8 else ""


def with_masters(
    found: Processed,
    out: Path,
    settings: MasterSettings | None = None,
    *,
    progress: Progress = lambda *_: None,
    disk: Disk = REAL_DISK,
) -> Processed:
    """Return what `looked_at` found with the masters, which are in `out` then; those that are as they must be are kept.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written; masters that are there stay, and a second call goes on.
    """
    settings, biases, made = settings or MasterSettings(), list[Bias](), list[Made]()
    groups = sorted(found.groups, key=lambda group: list(FOLDERS).index(group.kind))
    progress("masters", sum(1 + len(group.of_attempts()) for group in groups), 0)
    scratch = out / _SCRATCH
    try:
        for group in groups:
            for wanted in _wanted(group, found, biases, out):
                made.append(_made(wanted, settings, scratch, disk))
                progress("masters", None, 1)
                shutil.rmtree(scratch, ignore_errors=True)
                is_bias = group.kind is FrameKind.BIAS and not wanted.attempt
                if is_bias and made[-1].state != "failed":
                    biases.append(Bias(path=wanted.path, group=group, recipe=wanted.recipe(settings)))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return replace(found, masters=tuple(made), remarks=(*found.remarks, *_older(made, out)))


def _older(made: Sequence[Made], out: Path) -> Iterator[tuple[str, str]]:
    """Yield masters that the dataset gives no longer: other frames may make other groups, and other names."""
    now = {each.wanted.path for each in made}
    for folder in FOLDERS.values():
        for path in sorted((out / "masters" / folder).glob("master_*.fits")):
            if path not in now:
                yield path.name, "it was there before, and is none of this dataset's masters any more"


def _wanted(group: ProcessGroup, found: Processed, biases: Sequence[Bias], out: Path) -> Iterator[Wanted]:
    """Yield the master of a group, then those of its attempts."""
    folder = out / "masters" / FOLDERS[group.kind]
    bias, note = _bias_for(group, biases) if group.kind is FrameKind.DARK else (None, "")
    whole = Wanted(
        path=folder / f"{group.name}.fits",
        group=group,
        frames=group.frames,
        numbers=found.numbers,
        bias=bias,
        note=note,
    )
    yield whole
    for attempt, frames in group.of_attempts().items():
        yield replace(whole, path=folder / f"{group.attempt_name(attempt)}.fits", frames=frames, attempt=attempt)


def _bias_for(group: ProcessGroup, biases: Iterable[Bias]) -> tuple[Bias | None, str]:
    """Return the master bias of the nearest temperature, of the same stage and dose if there is one; else why none."""
    if "B" in (group.key.calibrated or ""):
        return None, "no bias was subtracted: another program had done so before"
    alike = [each for each in biases if each.group.settings == group.settings and each.group.numbers == group.numbers]
    if not alike:
        return None, "no bias was subtracted: there is no master bias of these settings"
    celsius = group.temperature_c
    known = [each for each in alike if each.group.temperature_c is not None]
    if celsius is None or not known:
        if len(alike) == 1:
            return alike[0], "the temperature is not known: the only bias of these settings was subtracted"
        return None, "no bias was subtracted: which of them fits is not known without a temperature"

    def far(each: Bias) -> tuple[bool, bool, bool, float]:
        of = each.group
        apart = of.stage != group.stage, of.step != group.step, of.vacuum != group.vacuum
        return *apart, abs((of.temperature_c or 0.0) - celsius)

    return min(known, key=far), ""


def _made(wanted: Wanted, settings: MasterSettings, scratch: Path, disk: Disk) -> Made:
    """Make one master, or keep it as it is."""
    there = _cards_of(wanted.path)
    recipe = None if there is None else str(there.get("RECIPE", ""))
    if there and recipe == wanted.recipe(settings) and (wanted.planes is None or wanted.planes.is_file()):
        return Made(wanted=wanted, state="kept", remarks=remarks_of(there))
    if recipe == "":
        why = "another program made the file of this name, which is left as it is: name another folder for the results"
        return Made(wanted=wanted, state="failed", remarks=(why,))
    try:
        return Made(wanted=wanted, state="made", remarks=build(wanted, settings, scratch, disk))
    except (NoMaster, CalibrationError) as error:
        return Made(wanted=wanted, state="failed", remarks=(str(error),))
    except StorageError as error:
        if error.code in _FATAL:
            raise
        return Made(wanted=wanted, state="failed", remarks=(error.detail,))


def _cards_of(path: Path) -> dict[str, object] | None:
    """Return the cards of a master; None where there is none, none at all where it cannot be read."""
    if not path.exists():
        return None
    try:
        return normalised(read_cards(path))
    except (StorageError, CalibrationError):
        return {}
