"""What a bias model is to be, decided on a sample of pixels before the first band is read: groups, levels, family."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.models.bias import BiasModel
from calibration.models.choosing import Choice, Sample, choose, excess_of
from calibration.models.levels import Levels, fit_levels, levels_of
from services.bands import Source
from services.errors import Usage
from services.models.bias.contradicting import judged_biases
from services.models.contradicting import Contradiction, without
from services.models.gathering import Gathered, Member
from services.models.grouping import flat, groups_of, numbered, opened, saturation_of, together
from services.models.sampling import Place, Sampled, place_of, sample_groups, sampled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A bias model before its pixels.

    Attributes
    ----------
    members : tuple of Member
        The frames that are used.
    sources : tuple of Source
        Their pixels.
    groups : tuple of tuples of int
        Numbers of the frames of each group.
    levels_adu : ndarray, shape (n,)
        Level of each frame.
    levels : Levels
        The levels of groups of frames that were taken together.
    sessions : tuple of str
        Names of the sessions, in the order of their offsets.
    choice : Choice
    model : BiasModel
    noise_adu, step_adu, saturation_adu : float
        Noise of a sample (NaN: not known), step of the values, and from where on samples are left out.
    unused : mapping of Path to str
        Files that are left out, with the reason in words.
    contradictions : tuple of Contradiction
        Sets of biases that contradict the others; those that are left out are in `unused`.
    restless : bool
        Whether the biases contradict each other, and nothing shows which are right.
    """

    members: tuple[Member, ...]
    sources: tuple[Source, ...]
    groups: tuple[tuple[int, ...], ...]
    levels_adu: NDArray[np.float64]
    levels: Levels
    sessions: tuple[str, ...]
    choice: Choice
    model: BiasModel
    noise_adu: float
    step_adu: float
    saturation_adu: float
    unused: dict[Path, str]
    contradictions: tuple[Contradiction, ...] = ()
    restless: bool = False

    @property
    def group_temperature_c(self) -> NDArray[np.float64]:
        """Mean temperature of each group, shape (K,)."""
        return np.array([np.mean([self.members[i].temperature_c for i in each]) for each in self.groups])

    @property
    def group_label_c(self) -> NDArray[np.float64]:
        """What the temperature of each group is called, shape (K,)."""
        return np.array([self.members[each[0]].label_c for each in self.groups])

    @property
    def identity(self) -> str:
        """What identifies this model: a digest of its frames and of what was decided on them."""
        frames = [(member.numbers.sha256, member.temperature_c) for member in self.members]
        return hashlib.sha256(repr((frames, self.model)).encode()).hexdigest()[:16]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.sources[0].location.shape


def plan_of(gathered: Gathered, scratch: Path) -> Plan:
    """Decide on everything that is common to all pixels.

    Parameters
    ----------
    gathered : Gathered
    scratch : Path
        Folder for frames that are unpacked; the caller removes it.

    Raises
    ------
    Usage
        No frame can be used.
    StorageError
        There is no room to unpack a frame.
    """
    unused = dict(gathered.unused)
    members, sources = opened(gathered.members, unused, scratch)
    place = place_of(sources[0].location.shape)
    found = sampled(sources, together(members), place)
    keep = ~found.unlike & np.isfinite(found.levels_adu)
    for member, kept in zip(members, keep, strict=True):
        if not kept:
            unused[member.frame.path] = "its level is not that of the other frames of its temperature"
    members = tuple(member for member, kept in zip(members, keep, strict=True) if kept)
    if not members:
        raise Usage("none of the biases can be used", advice="look at the frames: none has a level")
    sources, found = tuple(source for source, kept in zip(sources, keep, strict=True) if kept), found.of(keep)
    step = float(max(member.numbers.step for member in members))
    judged = judged_biases(members, sources, found, place, step)
    plan = _planned(
        tuple(member for member, kept in zip(members, judged.kept, strict=True) if kept),
        tuple(source for source, kept in zip(sources, judged.kept, strict=True) if kept),
        found.of(judged.kept),
        place,
        without(unused, judged.contradictions),
    )
    return replace(plan, contradictions=judged.contradictions, restless=judged.restless)


def _planned(
    members: tuple[Member, ...], sources: tuple[Source, ...], found: Sampled, place: Place, unused: dict[Path, str]
) -> Plan:
    groups, step = groups_of(members), float(max(member.numbers.step for member in members))
    sessions = tuple(sorted({member.session for member in members}))
    temperature = np.array([member.temperature_c for member in members])
    levels = levels_of(
        temperature,
        found.levels_adu,
        np.array([member.label_c for member in members]),
        numbered([(member.label_c, *member.attempt) for member in members]),
        np.array([sessions.index(member.session) for member in members]),
    )
    means = sample_groups(sources, groups, found.levels_adu, place, noise_adu=found.noise_adu, step_adu=step)
    sample = Sample(
        temperature_c=np.array([temperature[list(each)].mean() for each in groups]),
        frames=np.array([float(len(each)) for each in groups]),
        label_c=np.array([members[each[0]].label_c for each in groups]),
        groups=flat(means),
        levels=levels,
    )
    choice = choose(sample)
    model = BiasModel(
        basis=choice.basis,
        coldest_c=float(sample.label_c.min()),
        warmest_c=float(sample.label_c.max()),
        level=fit_levels(choice.basis.design(levels.temperature_c), levels),
        excess=excess_of(choice.basis, sample),
    )
    return Plan(
        members=members,
        sources=sources,
        groups=groups,
        levels_adu=found.levels_adu,
        levels=levels,
        sessions=sessions,
        choice=choice,
        model=model,
        noise_adu=found.noise_adu,
        step_adu=step,
        saturation_adu=saturation_of(members, sources),
        unused=unused,
    )
