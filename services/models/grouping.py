"""The frames of a model put into groups whose means it is fitted to, and what is common to their pixels."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.models.means import Groups
from services.bands import Source, source_of
from services.errors import Usage
from services.files.units import Unreadable
from services.masters.prepare import SATURATED_FROM
from services.models.gathering import Member
from services.words import digits

Condition = Callable[[Member], Hashable]
"""What frames of one group have in common besides their attempt."""

_MOST_GROUPS = 40
"""More attempts than this are put together by their conditions."""

_MOST_FRAMES = 200
"""Of one group; larger ones are cut into parts."""

_ENDS = {float(1 << bits) for bits in (8, 10, 12, 14, 16)}
"""One step above the last count of a converter."""

_STATED = "a header states it"
_REACHED = "no header states it, but frames reach that value and never exceed it"
_SIXTEEN = "no header states it, and 16 bits end there"

_FAR = 20.0
"""Standard deviations above the level of a frame, where noise makes no two frames end at one value."""


def opened(
    members: Sequence[Member], unused: dict[Path, str], scratch: Path
) -> tuple[tuple[Member, ...], tuple[Source, ...]]:
    """Return the frames whose pixels can be read, with their pixels; the others join `unused`.

    Parameters
    ----------
    members : sequence of Member
    unused : dict of Path to str
    scratch : Path
        Folder for frames that are unpacked; the caller removes it.

    Raises
    ------
    Usage
        None can be read.
    StorageError
        There is no room to unpack a frame.
    """
    found: list[tuple[Member, Source]] = []
    for member in members:
        try:
            found.append((member, source_of(member.frame.path, scratch)))
        except Unreadable as error:
            unused[member.frame.path] = error.detail
    if not found:
        raise Usage("none of the frames can be read", advice="look at the frames")
    return tuple(member for member, _ in found), tuple(source for _, source in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """From where on samples are saturated, in ADU as they are stored (infinite: not known), and how that is known."""

    adu: float
    source: str

    @property
    def stated(self) -> bool:
        """Whether a header says so."""
        return self.source == _STATED

    @property
    def sentence(self) -> str:
        """Both in words."""
        if not np.isfinite(self.adu):
            return (
                "No saturation is known: no header states it and the frames show no highest value. Pixels that were "
                "full would be fitted as if they were measured; SATURATE in the headers (or DATAMAX) helps."
            )
        if self.source == _REACHED:
            return (
                f"No header states a saturation; the frames reach {digits(self.adu / SATURATED_FROM)} ADU and never "
                f"exceed it, and samples from {100 * SATURATED_FROM:.0f} % of that on ({digits(self.adu)} ADU) are "
                "left out as saturated."
            )
        return f"Samples from {digits(self.adu)} ADU on are left out as saturated: {self.source}."


def saturation_of(members: Sequence[Member], sources: Sequence[Source]) -> float:
    """Return the value from which on samples are saturated; see `saturation_in`."""
    return saturation_in(members, sources).adu


def saturation_in(members: Sequence[Member], sources: Sequence[Source]) -> Saturation:
    """Return the value from which on samples are saturated: as the headers say, else as the frames show.

    Cameras of 8, 12 or 14 bits hardly ever say where they end, and frames of floating-point numbers never do. Without a
    sign in the frames it is near the end of 16 bits. A raw file that is too short is a frame of floating-point numbers
    among others of 16 bits, and ends where they do.
    """
    stated = [m.frame.header.saturation_adu for m in members if m.frame.header.saturation_adu]
    if stated:
        return Saturation(adu=SATURATED_FROM * min(stated), source=_STATED)
    end, reached = 65535.0 if any(source.is_u16 for source in sources) else float("inf"), _ceiling(members)
    source = "none found" if np.isinf(min(end, reached)) else _REACHED if reached <= end else _SIXTEEN
    return Saturation(adu=SATURATED_FROM * min(end, reached), source=source)


def _ceiling(members: Sequence[Member]) -> float:
    """Return the value that many frames reach and none exceeds; infinite where they show none.

    Two frames are enough where it is the last count of a converter, else three, far above the level of their pixels.
    """
    numbers = [member.numbers for member in members if np.isfinite(member.numbers.maximum)]
    highest = max((each.maximum for each in numbers), default=float("inf"))
    there = [each for each in numbers if each.maximum == highest]
    step = min((each.step for each in there), default=1)
    if len(there) >= 2 and highest + step in _ENDS:
        return highest
    far = [each for each in there if highest - each.level > _FAR * max(each.sigma, each.step)]
    return highest if len(far) >= 3 else float("inf")


def by_temperature(member: Member) -> Hashable:
    """Return the condition of frames for which only the temperature counts."""
    return member.label_c


def together(members: Sequence[Member], condition: Condition = by_temperature) -> list[list[int]]:
    """Return the numbers of the frames that were taken together under one condition."""
    return _alike([(condition(member), member.attempt) for member in members])


def groups_of(members: Sequence[Member], condition: Condition = by_temperature) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of the frames of each group: of one attempt, or of one condition where there are many."""
    attempts = together(members, condition)
    if len(attempts) > _MOST_GROUPS:
        attempts = _alike([condition(member) for member in members])
    return tuple(in_parts(attempts))


def in_parts(groups: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """Yield groups of frames; those of too many are cut into parts."""
    for each in groups:
        yield from (tuple(map(int, part)) for part in np.array_split(each, -(-len(each) // _MOST_FRAMES)))


def _alike(keys: Sequence[Hashable]) -> list[list[int]]:
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        found[key].append(i)
    return list(found.values())


def numbered(keys: Sequence[Hashable]) -> NDArray[np.intp]:
    """Return the number of each key in the order in which they first appear."""
    places = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([places[key] for key in keys], np.intp)


def flat(groups: Groups) -> Groups:
    """Return the means of groups with all pixels in one row."""
    k = len(groups.mean)
    return Groups(
        mean=groups.mean.reshape(k, -1),
        count=groups.count.reshape(k, -1),
        squares=groups.squares.ravel(),
        freedom=groups.freedom.ravel(),
    )
