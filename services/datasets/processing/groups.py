"""Frames of a dataset sorted into what becomes one master each, and the names of the masters.

Frames are of one group when nothing in their headers keeps them apart: kind, camera, size, binning, gain and the other
settings, exposure (not of biases), filter and source of flats, stage and vacuum of an irradiation, the width of their
numbers, and the temperature of the sensor, which wanders by up to a degree within a group.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from statistics import median

from calibration.frames import FrameHeader, FrameKind, GroupKey
from calibration.grouping import camera_of, cooled_to, group, group_key, order, temperature_labels
from calibration.keywords.kinds import kind_of_word
from services.datasets.frame import DatasetFrame
from services.datasets.names import stage_of
from services.files.layout import sanitise

FOLDERS = {FrameKind.BIAS: "bias", FrameKind.DARK: "darks", FrameKind.FLAT: "flats"}
"""Below `masters/`; kinds that are not here become no masters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """Frames that become one master, in their order.

    Attributes
    ----------
    kind : FrameKind
    key : GroupKey
        What their headers have in common; of flats that of a dark with the same settings.
    frames : tuple of DatasetFrame
    name : str
        Of the master, without the ending.
    temperature_c : float or None
        What the group is called by: the set-point, else the median to a tenth of a degree.
    exposure_us : int or None
        None: not known, or of biases, where it does not matter.
    filter, source, stage, step, vacuum, numbers : str
        Empty: none is stated. `step` is the folder of one dose of an irradiation. `numbers` is empty for all but
        numbers of 8 bits.
    """

    kind: FrameKind
    key: GroupKey
    frames: tuple[DatasetFrame, ...]
    name: str = ""
    temperature_c: float | None = None
    exposure_us: int | None = None
    filter: str = ""
    source: str = ""
    stage: str = ""
    step: str = ""
    vacuum: str = ""
    numbers: str = ""

    @property
    def settings(self) -> GroupKey:
        """What a bias must have in common with the frames that it is subtracted from."""
        return replace(self.key, kind=FrameKind.BIAS, exposure_us=None, temperature_c=None)

    def of_attempts(self) -> Mapping[str, tuple[DatasetFrame, ...]]:
        """Return the frames by their attempts, under names that are as short as they are different."""
        attempts: defaultdict[str, list[DatasetFrame]] = defaultdict(list)
        for frame in self.frames:
            attempts[frame.attempt].append(frame)
        names = _shortest(list(attempts))
        return {names[attempt]: tuple(frames) for attempt, frames in attempts.items()}

    def attempt_name(self, attempt: str) -> str:
        """Return the name of the master of one attempt: that of the group with the attempt behind the kind."""
        kind = f"master_{self.kind.lower()}"
        return f"{kind}_{attempt}{self.name.removeprefix(kind)}"


def groups_of(
    frames: Iterable[DatasetFrame], numbers_of: Callable[[DatasetFrame], str] = lambda _: ""
) -> tuple[ProcessGroup, ...]:
    """Return the groups of biases, darks and flats, in a fixed order: kind, temperature, exposure, name.

    Parameters
    ----------
    frames : iterable of DatasetFrame
        Those that count.
    numbers_of : callable
        Says how a frame's file holds its numbers, where that is not usual.
    """
    counted = [frame for frame in frames if frame.header.kind in FOLDERS]
    labels = temperature_labels([replace(frame.header, kind=FrameKind.DARK) for frame in counted])
    shelves: defaultdict[ProcessGroup, list[DatasetFrame]] = defaultdict(list)
    warmths: defaultdict[tuple[str, float | None], list[DatasetFrame]] = defaultdict(list)
    for frame, label in zip(counted, labels, strict=True):
        shelves[_shelf(frame, numbers_of(frame), label)].append(frame)
        warmths[camera_of(frame.header), label].append(frame)
    called = {warmth: _called(members) for warmth, members in warmths.items()}
    found = [
        replace(shelf, key=key, frames=tuple(alike), exposure_us=key.exposure_us, temperature_c=called[warmth])
        for shelf, members in shelves.items()
        for key, alike in group(members, lambda frame: _as_dark(frame.header)).items()
        for warmth in [(key.camera, shelf.temperature_c)]
    ]
    found.sort(key=lambda each: (order(replace(each.key, kind=each.kind)), _words(each)))
    return tuple(sorted(_named(found), key=_place))


def _place(each: ProcessGroup) -> tuple[int, float, int, str]:
    unknown = float("-inf")
    celsius = unknown if each.temperature_c is None else each.temperature_c
    return list(FOLDERS).index(each.kind), celsius, each.exposure_us or 0, each.name


def _shelf(frame: DatasetFrame, numbers: str, temperature_c: float | None) -> ProcessGroup:
    """Return a group without frames that says what keeps a frame apart besides its settings, which its key has."""
    header, lit = frame.header, frame.header.kind is FrameKind.FLAT
    return ProcessGroup(
        kind=header.kind,
        key=_NOTHING,
        frames=(),
        temperature_c=temperature_c,
        filter=(lit and header.filter) or "",
        source=(lit and header.source) or "",
        stage=frame.stage,
        step=step_of(frame),
        vacuum=frame.vacuum,
        numbers=numbers,
    )


_DOSE = re.compile(r"\d+(?:[.,]\d+)?[ _]?[kM]?rads?", re.IGNORECASE)


def step_of(frame: DatasetFrame) -> str:
    """Return the folder of one dose that a frame is in: one so named, else the one below that of the irradiation."""
    parts = PurePosixPath(frame.attempt).parts
    for part in reversed(parts):
        if _DOSE.fullmatch(part):
            return part
    if frame.stage != stage_of(parts) or frame.stage != "radiating":
        return ""
    below = [part for folder, part in pairwise(parts) if stage_of((folder,)) == "radiating"]
    return below[-1] if below and kind_of_word(below[-1]) is None else ""


_NOTHING = group_key(FrameHeader(kind=FrameKind.DARK, shape=(0, 0)))


def _words(each: ProcessGroup) -> tuple[str, ...]:
    return each.filter, each.source, each.stage, each.step, each.vacuum, each.numbers


def _as_dark(header: FrameHeader) -> FrameHeader:
    """Return the header of a dark with the same settings, whose temperature does not count: it was sorted by before.

    So exposures keep flats apart as well, and biases not.
    """
    exposure_us = None if header.kind is FrameKind.BIAS else header.exposure_us
    return replace(header, kind=FrameKind.DARK, exposure_us=exposure_us, ccd_temp_c=None, set_temp_c=None)


def _called(frames: Sequence[DatasetFrame]) -> float | None:
    """Return what frames of one temperature are called by: their set-point, else their median to 0.1 degrees."""
    set_points = [label for frame in frames if (label := cooled_to(frame.header)) is not None]
    known = [frame.header.ccd_temp_c for frame in frames if frame.header.ccd_temp_c is not None]
    if set_points:
        return set_points[0]
    return round(median(known), 1) + 0.0 if known else None


def exposure_text(exposure_us: int) -> str:
    """Return an exposure in seconds for names: one decimal, more where it has more."""
    whole, _, decimals = f"{exposure_us / 1e6:.6f}".partition(".")
    return f"{whole}.{decimals.rstrip('0') or '0'}"


def stem_of(kind: FrameKind, temperature_c: float | None, exposure_us: int | None, *more: str) -> str:
    """Return the common part of names: `dark_T20.0_E0.5`; what is not known is left out."""
    parts = [
        kind.lower(),
        "" if temperature_c is None else f"T{temperature_c:.1f}",
        "" if exposure_us is None else f"E{exposure_text(exposure_us)}",
        *more,
    ]
    return "_".join(part for part in parts if part)


def _named(groups: Sequence[ProcessGroup]) -> Iterator[ProcessGroup]:
    """Yield the groups with names; what keeps groups apart is part of the names that would be equal without it."""
    alike: defaultdict[str, list[ProcessGroup]] = defaultdict(list)
    for each in groups:
        alike[f"master_{stem_of(each.kind, each.temperature_c, each.exposure_us)}"].append(each)
    usual = {(kind, what): _usual(groups, kind, what) for kind in FOLDERS for what in _USUAL}
    for stem, same in alike.items():
        seen: Counter[str] = Counter()
        for each in same:
            mine = {what: value for what, value in _parts(each).items() if usual.get((each.kind, what)) != value}
            differing = [value for what, value in mine.items() if len({_parts(other)[what] for other in same}) > 1]
            name = "_".join([stem, *(sanitise(value) for value in differing if value)])
            seen[name.lower()] += 1
            yield replace(each, name=name if seen[name.lower()] == 1 else f"{name}_{seen[name.lower()]}")


_USUAL = ("size", "numbers", "camera", "unread")
"""What is named only where it is another one than that of most frames: faults, mostly."""


def _usual(groups: Sequence[ProcessGroup], kind: FrameKind, what: str) -> str | None:
    """Return the value that most frames of a kind have, None without such a one."""
    values: Counter[str] = Counter()
    for each in groups:
        if each.kind is kind:
            values[_parts(each)[what]] += len(each.frames)
    best = values.most_common(1)
    return best[0][0] if best and 2 * best[0][1] > values.total() else None


def _parts(each: ProcessGroup) -> dict[str, str]:
    key = each.key
    found: dict[str, object] = {
        "filter": each.filter,
        "source": each.source,
        "stage": each.stage,
        "step": each.step,
        "vacuum": each.vacuum,
        "gain": None if key.gain is None else f"g{key.gain}",
        "egain": None if key.egain_e_adu is None else f"eg{key.egain_e_adu:g}",
        "offset": None if key.offset is None else f"o{key.offset}",
        "mode": None if key.readout_mode is None else f"r{key.readout_mode}",
        "binning": f"b{key.binning[0]}x{key.binning[1]}",
        "size": f"{key.shape[1]}x{key.shape[0]}",
        "numbers": each.numbers,
        "camera": key.camera,
        "unread": key.unread,
    }
    return {name: "" if value is None else str(value) for name, value in found.items()}


def _shortest(attempts: Sequence[str]) -> dict[str, str]:
    """Return the last folder of each attempt, with as many of those above it as it takes to tell them apart."""
    parts = {attempt: PurePosixPath(attempt).parts or ("frames",) for attempt in attempts}
    names: dict[str, str] = {}
    for depth in range(1, max(map(len, parts.values()), default=1) + 1):
        names = {attempt: "-".join(map(sanitise, parts[attempt][-depth:])) for attempt in attempts}
        if len({name.lower() for name in names.values()}) == len(names):
            return names
    taken: Counter[str] = Counter()
    for attempt, name in names.items():
        taken[name.lower()] += 1
        if taken[name.lower()] > 1:
            names[attempt] = f"{name}_{taken[name.lower()]}"
    return names


def of_foreign_size(frames: Sequence[DatasetFrame]) -> dict[Path, str]:
    """Return frames, by their paths, whose size is not that of most beside them, with the reason in words."""
    beside: defaultdict[Hashable, list[DatasetFrame]] = defaultdict(list)
    for frame in frames:
        beside[frame.attempt, frame.header.kind, frame.header.bin_x, frame.header.bin_y].append(frame)
    found: dict[Path, str] = {}
    for members in beside.values():
        sizes = Counter(frame.header.shape for frame in members)
        (usual, number), *_ = sizes.most_common(1)
        if len(sizes) > 1 and 2 * number > len(members):
            words = f"that of the others beside it {usual[1]} x {usual[0]}"
            for frame in members:
                if (size := frame.header.shape) != usual:
                    found[frame.path] = f"its size is {size[1]} x {size[0]} pixels, {words}"
    return found
