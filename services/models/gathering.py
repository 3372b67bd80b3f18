"""The biases of a dataset that a model is made of: measured, judged, and sorted by temperature and session."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from calibration.frames import FrameKind, GroupKey
from calibration.grouping import night_of
from services.datasets import SEARCH_DEPTH
from services.datasets.frame import DatasetFrame
from services.datasets.frames import frames_of
from services.datasets.processing.groups import ProcessGroup, groups_of, of_foreign_size
from services.datasets.processing.measuring import FrameNumbers, Judged, Numbers, judged
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk
from services.files.layout import sanitise

Progress = Callable[[str, int | None, int], object]

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
    unused : mapping of Path to str
        Files that are left out, with the reason in words.
    remarks : tuple of str
    """

    name: str = ""
    members: tuple[Member, ...] = ()
    unused: Mapping[Path, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def labels_c(self) -> tuple[float, ...]:
        """The temperatures, rising."""
        return tuple(sorted({member.label_c for member in self.members}))


def gather(
    base: Path, out: Path, *, depth: int = SEARCH_DEPTH, progress: Progress = lambda *_: None, disk: Disk = REAL_DISK
) -> tuple[Gathered, ...]:
    """Return the biases of a dataset, by the settings of their camera.

    Parameters
    ----------
    base : Path
        A dataset, an index, or the root of a nightcal; nothing in it is changed.
    out : Path
        The folder of results, which keeps what was measured.
    depth : int
        Folders below `base` that are looked into.
    progress : callable
    disk : Disk

    Raises
    ------
    Usage
        No bias can be used, with what to do.
    StorageError
        The folder of results cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise Usage(f"{out} is a file", advice="name a folder for the model")
    found = frames_of(base, depth=depth, progress=lambda done: progress("frames read", None, done))
    biases = [frame for frame in found.frames if frame.header.kind is FrameKind.BIAS]
    if not biases:
        raise Usage(f"{base} holds no biases among its {len(found.frames)} frames", advice=_NO_BIASES)
    unused = {path: why for path, why in found.left_out if path not in {frame.path for frame in biases}}
    unused |= {frame.path: frame.bad for frame in biases if frame.bad}
    unused |= of_foreign_size([frame for frame in biases if frame.path not in unused])
    unused |= {f.path: "the temperature of its sensor is not known" for f in biases if _celsius(f) is None}
    groups = groups_of(frame for frame in biases if frame.path not in unused)
    kept, remarks, numbers = _judged(groups, unused, out, progress, disk)
    sorted_in = _by_settings(kept, numbers)
    if not sorted_in:
        raise Usage(f"none of the {len(biases)} biases of {base} can be used", advice=_why(unused))
    return tuple(_gathered(sorted_in, unused, remarks))


_NO_BIASES = (
    "name a folder with biases; the kind of a frame is in its header (IMAGETYP), in an index (CALTYPE), or in the "
    "names of its folders"
)


def _why(unused: Mapping[Path, str]) -> str:
    """Return why frames were left out, the most frequent reasons first, as an advice."""
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
    numbers = Numbers(out, disk).of(series, lambda done: progress("frames measured", None, done))
    remarks: list[str] = []
    for group in groups:
        flat = [frame for frame in group.frames if not numbers[frame.path].problem and not numbers[frame.path].std > 0]
        unused |= {frame.path: "all its pixels have the same value" for frame in flat}
        rest = [frame for frame in group.frames if frame.path not in unused]  # flat ones are no measure for the others
        verdict = judged(rest, numbers) if rest else Judged(refused={})
        unused |= verdict.refused
        remarks += [f"{group.name}: {remark}" for remark in verdict.remarks]
    return list(groups), remarks, numbers


_Settings = tuple[GroupKey, str, str, str]


def _by_settings(
    groups: Sequence[ProcessGroup], numbers: Mapping[Path, FrameNumbers]
) -> dict[_Settings, list[tuple[DatasetFrame, FrameNumbers, float]]]:
    found: defaultdict[_Settings, list[tuple[DatasetFrame, FrameNumbers, float]]] = defaultdict(list)
    for group in groups:
        for frame in group.frames:
            label = group.temperature_c if group.temperature_c is not None else _celsius(frame)
            found[group.settings, group.stage, group.vacuum, group.numbers].append(
                (frame, numbers[frame.path], float(label or 0.0))
            )
    return dict(found)


def _gathered(
    sorted_in: Mapping[_Settings, list[tuple[DatasetFrame, FrameNumbers, float]]],
    unused: Mapping[Path, str],
    remarks: Sequence[str],
) -> Iterator[Gathered]:
    """Yield the frames of each setting that has enough; the frames of the others are left out."""
    usable = {
        settings: [each for each in frames if each[0].path not in unused] for settings, frames in sorted_in.items()
    }
    usable = {settings: frames for settings, frames in usable.items() if frames}
    if not usable:
        raise Usage("none of the biases can be used", advice=_why(unused))
    most = max(map(len, usable.values()))
    alone = {
        frame.path: "no other frame was taken with its settings"
        for frames in usable.values()
        if len(frames) < min(_LEAST, most)
        for frame, *_ in frames
    }
    kept = {settings: frames for settings, frames in usable.items() if len(frames) >= min(_LEAST, most)}
    for number, (settings, frames) in enumerate(kept.items()):
        members = sorted(
            (_member(frame, numbers, label) for frame, numbers, label in frames),
            key=lambda member: (member.label_c, *member.attempt, member.frame.path),
        )
        yield Gathered(
            name=_name(settings, number) if len(kept) > 1 else "",
            members=tuple(members),
            unused={**unused, **alone},
            remarks=tuple(remarks),
        )


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
    key, *words = settings
    parts = [str(number + 1), f"{key.shape[1]}x{key.shape[0]}", f"bin{key.binning[0]}"]
    parts += [f"{letter}{value}" for letter, value in (("g", key.gain), ("o", key.offset)) if value is not None]
    parts += [word for word in (key.readout_mode, *words) if word]
    return sanitise("-".join(parts))
