"""The frames of a dataset that a model is made of: measured, judged, and sorted by temperature and session."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

from calibration.frames import FrameKind, GroupKey
from calibration.grouping import night_of
from services.datasets import SEARCH_DEPTH
from services.datasets.frame import DatasetFrame, DatasetFrames
from services.datasets.frames import frames_of
from services.datasets.processing.groups import ProcessGroup, groups_of, of_foreign_size
from services.datasets.processing.measuring import FrameNumbers, Judged, Numbers, judged
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk
from services.files.layout import sanitise
from services.models.products import refuse_file
from services.words import count

Progress = Callable[[str, int | None, int], object]
SCRATCH = ".unpacked"
"""Folder of frames that are unpacked, in that of the results; it is gone in the end."""

_LEAST = 2
"""Frames of one setting from which on they make a model of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A frame of a model: the temperature of its sensor, that of its group, its session and its attempt."""

    frame: DatasetFrame
    numbers: FrameNumbers
    temperature_c: float
    label_c: float
    session: str

    @property
    def kind(self) -> FrameKind:
        """Bias, dark or flat."""
        return self.frame.header.kind

    @property
    def exposure_s(self) -> float:
        """Exposure in seconds; NaN of a bias without one."""
        exposure_us = self.frame.header.exposure_us
        return float("nan") if exposure_us is None else exposure_us / 1e6

    @property
    def attempt(self) -> tuple[str, str]:
        """What was taken together."""
        return self.session, self.frame.attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Frames of one camera with the same settings, in the order of their temperatures.

    Attributes
    ----------
    name : str
        Of the settings, for a folder; empty where all frames of the dataset have the same.
    members : tuple of Member
        Of the kind that is modelled.
    beside : tuple of Member
        Frames of other kinds with the same settings.
    unused : mapping of Path to str
        Files that are left out, with the reason in words.
    zeros : mapping of Path to float
        Share of zeros of the biases that are left out for it.
    remarks : tuple of str
    """

    name: str = ""
    members: tuple[Member, ...] = ()
    beside: tuple[Member, ...] = ()
    unused: Mapping[Path, str] = field(default_factory=dict)
    zeros: Mapping[Path, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def labels_c(self) -> tuple[float, ...]:
        """The temperatures, rising."""
        return tuple(sorted({member.label_c for member in self.members}))


Refused = Callable[[str, Usage], object]
"""Hears the name of settings of which nothing can be made, and why."""

R = TypeVar("R")


def of_each(
    found: Sequence[Gathered], out: Path, make: Callable[[Gathered, Path], R], refused: Refused | None = None
) -> tuple[R, ...]:
    """Make something of the frames of each setting; one of which nothing can be made does not end the others.

    Parameters
    ----------
    found : sequence of Gathered
    out : Path
        The folder of what is made; of several settings the folder of their folders.
    make : callable
        Makes it of frames in a folder.
    refused : callable, optional
        Hears of settings of which nothing can be made. Without it they raise, once the others are made.

    Raises
    ------
    Usage
        Nothing can be made of any.
    """
    made, missed = list[R](), list[tuple[str, Usage]]()
    for each in found:
        try:
            made.append(make(each, out / each.name if each.name else out))
        except Usage as error:
            missed.append((each.name, error))
    for name, why in missed:
        if refused is None or not made:
            raise Usage(f"{name}: {why.detail}" if name else why.detail, advice=why.advice) from why
        refused(name, why)
    return tuple(made)


def gather(
    base: Path | DatasetFrames,
    out: Path,
    kind: FrameKind,
    *beside: FrameKind,
    depth: int = SEARCH_DEPTH,
    progress: Progress = lambda *_: None,
    disk: Disk = REAL_DISK,
) -> tuple[Gathered, ...]:
    """Return the frames of one kind of a dataset, by the settings of their camera.

    Parameters
    ----------
    base : Path or DatasetFrames
        A dataset, an index, or the root of a nightcal; nothing in it is changed. Or frames that were chosen.
    out : Path
        The folder of results, which keeps what was measured.
    kind : FrameKind
        Of the frames that are modelled.
    *beside : FrameKind
        Of frames that are wanted beside them, with the same settings.
    depth : int
        Folders below `base` that are looked into.
    progress : callable
    disk : Disk

    Raises
    ------
    Usage
        No frame of the kind can be used, with what to do.
    StorageError
        The folder of results cannot be written.
    """
    refuse_file(out, "name a folder for the model")
    found = base if isinstance(base, DatasetFrames) else _found(base, depth, progress)
    name = "the choice" if isinstance(base, DatasetFrames) else str(base)
    wanted = [frame for frame in found.frames if frame.header.kind in {kind, *beside}]
    number = sum(frame.header.kind is kind for frame in wanted)
    if not number:
        advice = _why(dict(found.left_out)) if found.left_out and not found.frames else _none_of(kind)
        raise Usage(f"{name} holds no {PLURAL[kind]} among its {len(found.frames)} frames", advice=advice)
    unused = {path: why for path, why in found.left_out if path not in {frame.path for frame in wanted}}
    unused |= {frame.path: frame.bad for frame in wanted if frame.bad}
    unused |= of_foreign_size([frame for frame in wanted if frame.path not in unused])
    unused |= {f.path: _NO_TEMPERATURE for f in wanted if _celsius(f) is None}
    unused |= {f.path: "its exposure is not known" for f in wanted if _is_timeless(f)}
    groups = groups_of(frame for frame in wanted if frame.path not in unused)
    if isinstance(base, DatasetFrames):  # sets were compared when they became masters: their levels differ by nights
        groups = tuple(replace(group, frames=each) for group in groups for each in group.of_attempts().values())
    else:
        groups = tuple(chain.from_iterable(map(_by_night, groups)))
    kept, remarks, numbers = _judged(groups, unused, out, progress, disk)
    sorted_in = _by_settings(kept, numbers, unused)
    if not any(frame.header.kind is kind for frames in sorted_in.values() for frame, *_ in frames):
        mine = {f.path: unused[f.path] for f in wanted if f.header.kind is kind and f.path in unused}
        raise Usage(f"none of the {number} {PLURAL[kind]} of {name} can be used", advice=_why(mine or unused))
    zeros = {f.path: f.zero_fraction or 0.0 for f in wanted if f.bad and f.header.kind is FrameKind.BIAS}
    return tuple(replace(each, zeros=zeros) for each in _gathered(kind, sorted_in, unused, remarks))


def _found(base: Path, depth: int, progress: Progress) -> DatasetFrames:
    return frames_of(base, depth=depth, progress=lambda done: progress("frames read", None, done), by_rows=True)


PLURAL = {FrameKind.BIAS: "biases", FrameKind.DARK: "darks", FrameKind.FLAT: "flats"}


_NO_TEMPERATURE = "the temperature of its sensor is not known"


def _none_of(kind: FrameKind) -> str:
    return (
        f"name a folder with {PLURAL[kind]}; the kind of a frame is in its header (IMAGETYP), in an index (CALTYPE), "
        "or in the names of its folders"
    )


def _by_night(group: ProcessGroup) -> Iterator[ProcessGroup]:
    """Yield the frames of each night: a camera has another level in another year, which is no fault of a frame."""
    nights: defaultdict[str, list[DatasetFrame]] = defaultdict(list)
    for frame in group.frames:
        nights[frame.header.night or night_of(frame.header) or ""].append(frame)
    yield from (replace(group, frames=tuple(frames)) for frames in nights.values())


def _is_timeless(frame: DatasetFrame) -> bool:
    return frame.header.kind is not FrameKind.BIAS and frame.header.exposure_us is None


def _why(unused: Mapping[Path, str]) -> str:
    """Return why frames were left out, the most frequent reasons first, as an advice."""
    if set(unused.values()) == {_NO_TEMPERATURE}:
        return (
            "the headers state no temperature of the sensor: write it into them (CCD-TEMP, in °C), or name the folders "
            "of the frames by it, e.g. T-10"
        )
    reasons: defaultdict[str, int] = defaultdict(int)
    for why in unused.values():
        reasons[why] += 1
    first = sorted(reasons.items(), key=lambda each: -each[1])[:3]
    return "look at the frames: " + "; ".join(f"{why} ({n} of them)" for why, n in first)


def _celsius(frame: DatasetFrame) -> float | None:
    header = frame.header
    return header.set_temp_c if header.ccd_temp_c is None else header.ccd_temp_c


def _judged(
    groups: Sequence[ProcessGroup], unused: dict[Path, str], out: Path, progress: Progress, disk: Disk
) -> tuple[list[ProcessGroup], list[str], dict[Path, FrameNumbers]]:
    """Measure the frames and return the groups without those that the checks refuse, which join `unused`."""
    series = [frames for group in groups for frames in group.of_attempts().values()]
    progress("frames measured", sum(map(len, series)), 0)
    numbers = Numbers(out, disk, by_rows=True).of(series, lambda done: progress("frames measured", None, done))
    remarks: list[str] = []
    for group in groups:
        flat = [frame for frame in group.frames if not numbers[frame.path].problem and not numbers[frame.path].std > 0]
        unused |= {frame.path: "all its pixels have the same value" for frame in flat}
        rest = [frame for frame in group.frames if frame.path not in unused]  # flat ones are no measure for the others
        verdict = judged(rest, numbers) if rest else Judged(refused={})
        unused |= verdict.refused
        remarks += [f"{group.name}: {remark}" for remark in verdict.remarks]
    remarks += _asked_of([frame for group in groups for frame in group.frames if frame.path not in unused])
    return list(groups), remarks, numbers


def _asked_of(frames: Sequence[DatasetFrame]) -> Iterator[str]:
    """Say of how many frames the temperature is the set-point of the cooler."""
    asked = sum(frame.header.ccd_temp_c is None for frame in frames)
    if asked:
        yield (
            f"{count(asked, 'frame')} {'states' if asked == 1 else 'state'} what the cooler was asked for and not what "
            "was measured: the set-point is taken for the temperature"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What keeps frames apart; filter and source of flats only, so that biases and darks are beside all of them."""

    key: GroupKey
    stage: str
    vacuum: str
    numbers: str
    filter: str = ""
    source: str = ""

    @property
    def unlit(self) -> "_Settings":
        """The settings of biases and darks beside them."""
        return replace(self, filter="", source="")


_Found = tuple[DatasetFrame, FrameNumbers, float]


def _by_settings(
    groups: Sequence[ProcessGroup], numbers: Mapping[Path, FrameNumbers], unused: Mapping[Path, str]
) -> dict[_Settings, list[_Found]]:
    """Return the frames that are used by their settings, with what they show and what their temperature is called."""
    found: defaultdict[_Settings, list[_Found]] = defaultdict(list)
    for group in groups:
        settings = _Settings(
            key=group.settings,
            stage=group.stage,
            vacuum=group.vacuum,
            numbers=group.numbers,
            filter=group.filter,
            source=group.source,
        )
        for frame in group.frames:
            if frame.path not in unused:
                label = group.temperature_c if group.temperature_c is not None else _celsius(frame)
                found[settings].append((frame, numbers[frame.path], float(label or 0.0)))
    return dict(found)


def _gathered(
    kind: FrameKind,
    sorted_in: Mapping[_Settings, list[_Found]],
    unused: Mapping[Path, str],
    remarks: Sequence[str],
) -> Iterator[Gathered]:
    """Yield the frames of each setting that has enough; the frames of the others are left out."""
    of_kind = {settings: _of(kind, frames) for settings, frames in sorted_in.items() if _of(kind, frames)}
    least = min(_LEAST, max(map(len, of_kind.values())))
    alone = {
        frame.path: "no other frame was taken with its settings"
        for frames in of_kind.values()
        if len(frames) < least
        for frame, *_ in frames
    }
    kept = {settings: frames for settings, frames in of_kind.items() if len(frames) >= least}
    for number, (settings, frames) in enumerate(kept.items()):
        beside = dict.fromkeys((settings, settings.unlit))
        others = [found for each in beside for found in sorted_in.get(each, []) if found[0].header.kind is not kind]
        yield Gathered(
            name=_name(settings, number) if len(kept) > 1 else "",
            members=_members(frames),
            beside=_members(others),
            unused={**unused, **alone},
            remarks=tuple(remarks),
        )


def _of(kind: FrameKind, frames: Sequence[_Found]) -> list[_Found]:
    return [each for each in frames if each[0].header.kind is kind]


def _members(frames: Sequence[_Found]) -> tuple[Member, ...]:
    members = (_member(frame, numbers, label) for frame, numbers, label in frames)
    return tuple(sorted(members, key=lambda member: (member.label_c, *member.attempt, member.frame.path)))


def _member(frame: DatasetFrame, numbers: FrameNumbers, label: float) -> Member:
    celsius = _celsius(frame)
    return Member(
        frame=frame,
        numbers=numbers,
        temperature_c=label if celsius is None else celsius,
        label_c=label,
        session=frame.header.night or night_of(frame.header) or "",
    )


def _name(settings: _Settings, number: int) -> str:
    key, words = settings.key, (settings.stage, settings.vacuum, settings.numbers, settings.filter, settings.source)
    parts = [str(number + 1), f"{key.shape[1]}x{key.shape[0]}", f"bin{key.binning[0]}"]
    parts += [f"{letter}{value}" for letter, value in (("g", key.gain), ("o", key.offset)) if value is not None]
    parts += [word for word in (key.readout_mode, *words) if word]
    return sanitise("-".join(parts))
