"""Which frames make a master suspect, and groups whose level the others of the same night contradict."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from calibration.frames import FrameKind, Verdict
from calibration.grouping import DEFAULT_TOLERANCES
from calibration.series import Exposed, odd_exposures, odd_frames
from services.catalogue.rows import FrameRow
from services.planning.chosen import measured
from services.planning.master_groups import MasterGroup
from services.words import celsius, seconds, some

_BY_TEMPERATURE = "temperature_off"
_BY_FRAMES = {"noise_off", "rejected"}


def with_causes(verdicts: Sequence[Verdict], kind: FrameKind, rows: Sequence[FrameRow]) -> tuple[Verdict, ...]:
    """Return what is suspect about a master, with the frames that cause it in the details."""
    return tuple(
        replace(verdict, detail=f"{verdict.detail} ({cause})") if cause else verdict
        for verdict in verdicts
        for cause in [_cause(verdict.code, kind, rows)]
    )


def _cause(code: str, kind: FrameKind, rows: Sequence[FrameRow]) -> str:
    if code == _BY_TEMPERATURE:
        known = sorted((row.ccd_temp_c, row.path) for row in rows if row.ccd_temp_c is not None)
        return " to ".join(f"{celsius(t)}: {PurePosixPath(path).name}" for t, path in known[:1] + known[-1:])
    if code not in _BY_FRAMES:
        return ""
    odd = odd_frames(kind, measured(rows))
    return some(PurePosixPath(rows[i].path).name for i in sorted(odd)) if odd else "no single frame stands out"


def contradicted(groups: Sequence[MasterGroup]) -> dict[int, Verdict]:
    """Return the groups of other programs' biases and darks whose level is off, by their place among all groups.

    Held against one another are the biases and the exposures of one night, of the same settings and temperature.
    """
    judged = [(place, group) for place, group in enumerate(groups) if _has_pedestal(group)]
    foreign = {_shelf(group) for _, group in judged if not group.own}  # no other group's frames are read for this
    shelves: defaultdict[Hashable, list[tuple[int, MasterGroup, float]]] = defaultdict(list)
    for place, group in judged:
        if (shelf := _shelf(group)) in foreign and (level := _level_adu(group)) is not None:
            shelves[shelf].append((place, group, level))
    return {place: verdict for shelf in shelves.values() for place, verdict in _judged(shelf)}


def _has_pedestal(group: MasterGroup) -> bool:
    """Whether it is a group of biases or darks, once: biases become the dark of their exposure as well."""
    return group.product is group.rows[0].kind and group.product is not FrameKind.FLAT


def _level_adu(group: MasterGroup) -> float | None:
    levels = [member.level_adu for member in group.members if member.level_adu is not None]
    return float(np.median(levels)) if levels else None


def _shelf(group: MasterGroup) -> Hashable:
    key = replace(group.key, kind=FrameKind.DARK, exposure_us=None, temperature_c=None)
    return key, group.rows[0].night


def _judged(shelf: Sequence[tuple[int, MasterGroup, float]]) -> Iterator[tuple[int, Verdict]]:
    for place, group, _ in shelf:
        if group.own:
            continue
        near = [each for each in shelf if _is_as_warm(each[1], group) and _exposure_us(each[1]) is not None]
        levels = [
            Exposed(exposure_us=_exposure_us(g) or 0, level_adu=level, step_adu=g.rows[0].step_adu or 1)
            for _, g, level in near
        ]
        found = odd_exposures(levels)
        for i, verdict in found.items():
            if near[i][0] == place:
                others = some(_named(g) for j, (_, g, _) in enumerate(near) if j not in found)
                level = f"the level is {verdict.measured:.1f} ADU, expected from {others}: {verdict.limit:.1f} ADU"
                yield place, replace(verdict, detail=f"{level}; was the offset another one?")


def _is_as_warm(a: MasterGroup, b: MasterGroup) -> bool:
    if a.temperature_c is None or b.temperature_c is None:
        return a.temperature_c is b.temperature_c
    return abs(a.temperature_c - b.temperature_c) <= DEFAULT_TOLERANCES.cluster_c


def _exposure_us(group: MasterGroup) -> int | None:
    return (group.exposure_us or 0) if group.product is FrameKind.BIAS else group.exposure_us


def _named(group: MasterGroup) -> str:
    return "the biases" if group.product is FrameKind.BIAS else f"the darks of {seconds(group.exposure_us)}"
