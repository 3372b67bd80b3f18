"""What a dark model is to be, decided on a sample of pixels before the first band is read: groups, bias, family."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values
from calibration.combine.recipe import Recipe
from calibration.models.dark.choosing import DarkChoice, choose, sample_from
from calibration.models.dark.fit import Taken
from calibration.models.dark.held import DarkHeld
from calibration.models.dark.model import DarkModel, Family, Noise
from calibration.models.dark.noise import noise_from, noise_of_pairs, still_from
from calibration.models.dark.ties import Levels
from calibration.models.means import GroupMean, group_mean, recipe_for
from services.bands import Source
from services.errors import Usage
from services.masters.prepare import SATURATED_FROM
from services.models.bias import plan as bias_plan
from services.models.contradicting import Contradiction, without
from services.models.dark.bias import Bias, bias_for, sampled_biases
from services.models.dark.contradicting import Judged, Samples, judged
from services.models.dark.levels import ties_of
from services.models.dark.unlike import Unlike, unlike_in
from services.models.gathering import Gathered, Member
from services.models.grouping import Saturation, groups_of, opened, saturation_in, together
from services.models.sampling import Place, place_of, sampled

_STILL = "no header states it, but the brightest pixels have one value in all equal frames"

_OF_A_STACK = 8
"""Frames of a group that show the noise."""


def condition(member: Member) -> Hashable:
    """Return what darks of one group have in common: temperature and exposure."""
    return member.label_c, member.frame.header.exposure_us


def taken_of(members: tuple[Member, ...], groups: tuple[tuple[int, ...], ...]) -> Taken:
    """Return how groups of darks were taken."""
    return Taken(
        temperature_c=np.array([np.mean([members[i].temperature_c for i in each]) for each in groups]),
        exposure_s=np.array([members[each[0]].exposure_s for each in groups]),
        frames=np.array([float(len(each)) for each in groups]),
        label_c=np.array([members[each[0]].label_c for each in groups]),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grouped:
    """Darks in their groups, with the bias that is taken off them, and a sample of their pixels.

    Attributes
    ----------
    members : tuple of Member
        The darks that are used.
    sources : tuple of Source
        Their pixels.
    groups : tuple of tuples of int
        Numbers of the darks of each group: of one temperature, exposure and attempt.
    drifts_adu : ndarray, shape (n,)
        Level of each dark less that of its group.
    bias : Bias
    step_adu : float
        Step of the values.
    saturation : Saturation
        From where on samples are left out.
    unused : mapping of Path to str
        Files that are left out, with the reason in words.
    biases : bias_plan.Plan or None
        The biases of `bias`.
    levels : Levels
        Of the groups, beside those of their bias.
    contradictions : tuple of Contradiction
        Sets of darks that contradict the others; those that are left out are in `unused`.
    restless : bool
        Whether the darks contradict each other, and nothing shows which are right.
    """

    members: tuple[Member, ...]
    sources: tuple[Source, ...]
    groups: tuple[tuple[int, ...], ...]
    drifts_adu: NDArray[np.float64]
    bias: Bias
    step_adu: float
    saturation: Saturation
    unused: Mapping[Path, str]
    biases: bias_plan.Plan | None
    levels: Levels
    contradictions: tuple[Contradiction, ...] = ()
    restless: bool = False

    def judged(self, found: Judged) -> "Grouped":
        """Return the darks without the groups that contradict all others, which join `unused`."""
        unused = without(self.unused, found.contradictions)
        kept = np.flatnonzero(found.kept).tolist()
        order = sorted(i for k in kept for i in self.groups[k])
        place = {i: number for number, i in enumerate(order)}
        return replace(
            self,
            members=tuple(self.members[i] for i in order),
            sources=tuple(self.sources[i] for i in order),
            groups=tuple(tuple(place[i] for i in self.groups[k]) for k in kept),
            drifts_adu=self.drifts_adu[order],
            bias=self.bias.part(found.kept),
            unused=unused,
            contradictions=(*self.contradictions, *found.contradictions),
            restless=self.restless or found.restless,
            levels=self.levels.part(np.flatnonzero(found.kept)),
        )

    def alike(self, found: Unlike) -> "Grouped":
        """Return the darks without the few whose signal is not that of the others of their group."""
        out = set(found.out)
        kept = [i for i in range(len(self.members)) if i not in out]
        place = {i: number for number, i in enumerate(kept)}
        groups = tuple(tuple(place[i] for i in each if i not in out) for each in self.groups)
        return replace(
            self,
            members=tuple(self.members[i] for i in kept),
            sources=tuple(self.sources[i] for i in kept),
            groups=groups,
            drifts_adu=_drifts(self.drifts_adu[kept], groups),
            unused=without(self.unused, found.contradictions),
            contradictions=found.contradictions,
            restless=found.relative > 0,
        )

    @property
    def firsts(self) -> tuple[Member, ...]:
        """The first frame of each group."""
        return tuple(self.members[each[0]] for each in self.groups)

    @property
    def drift_adu2(self) -> float:
        """Variance of the levels of whole frames about those of their groups; 0 where no group has two frames."""
        freedom = sum(len(each) - 1 for each in self.groups)
        return float(np.square(self.drifts_adu).sum()) / freedom if freedom else 0.0

    @property
    def taken(self) -> Taken:
        """How the groups were taken."""
        return taken_of(self.members, self.groups)

    @property
    def saturation_adu(self) -> float:
        """From where on samples are left out."""
        return self.saturation.adu

    @property
    def limit_adu(self) -> float:
        """Signal above the bias from where on a pixel is saturated."""
        return self.saturation_adu - float(self.bias.level_adu.max())

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.sources[0].location.shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DarkPlan:
    """A dark model before its pixels: its darks, what is decided on them, and shares of zeros of biases left out."""

    darks: Grouped
    choice: DarkChoice
    zeros: Mapping[Path, float]

    @property
    def model(self) -> DarkModel:
        """What holds for all pixels."""
        return self.choice.model

    @property
    def identity(self) -> str:
        """What identifies this model: a digest of its frames and of what was decided on them."""
        frames = [
            (m.numbers.sha256, m.temperature_c, m.exposure_s) for m in (*self.darks.members, *self.darks.bias.inputs)
        ]
        levels = self.darks.levels.value_adu.tolist()
        return hashlib.sha256(repr((frames, self.model, self.darks.bias.way, levels)).encode()).hexdigest()[:16]


def grouped(gathered: Gathered, scratch: Path) -> Grouped:
    """Put darks into groups, and decide how their bias is known.

    Parameters
    ----------
    gathered : Gathered
        Darks with the biases beside them.
    scratch : Path
        Folder for frames that are unpacked; the caller removes it.

    Raises
    ------
    Usage
        No dark can be used.
    StorageError
        There is no room to unpack a frame.
    """
    if not any(member.exposure_s > 0 for member in gathered.members):
        raise Usage("all darks have an exposure of 0 s", advice="name darks with an exposure, or fit a bias model")
    unused = dict(gathered.unused)
    members, sources = opened(gathered.members, unused, scratch)
    place = place_of(sources[0].location.shape)
    found = sampled(sources, together(members, condition), place)
    keep = ~found.unlike & np.isfinite(found.levels_adu)
    for member, kept in zip(members, keep, strict=True):
        if not kept:
            unused[member.frame.path] = "its level is not that of the other darks of its temperature and exposure"
    if not keep.any():
        raise Usage("none of the darks can be used", advice="look at the frames: none has a level")
    members = tuple(member for member, kept in zip(members, keep, strict=True) if kept)
    sources = tuple(source for source, kept in zip(sources, keep, strict=True) if kept)
    groups, levels = groups_of(members, condition), found.levels_adu[keep]
    temperature = taken_of(members, groups).temperature_c
    bias, biases = bias_for(gathered, [[members[i] for i in each] for each in groups], temperature, scratch / "biases")
    unused |= bias.unused
    return Grouped(
        members=members,
        sources=sources,
        groups=groups,
        drifts_adu=_drifts(levels, groups),
        levels=Levels.none(len(groups)),
        bias=bias,
        step_adu=float(max(member.numbers.step for member in members)),
        saturation=saturation_in(members, sources),
        unused=unused,
        biases=biases,
    )


def _drifts(levels: NDArray[np.float64], groups: tuple[tuple[int, ...], ...]) -> NDArray[np.float64]:
    drifts = np.zeros(len(levels))
    for each in groups:
        some = list(each)
        drifts[some] = levels[some] - levels[some].mean()
    return drifts


def _stacks(darks: Grouped, place: Place) -> list[NDArray[np.float32]]:
    """Return some frames of each group on the sample."""
    return [
        np.stack([place.read(darks.sources[i]).astype(np.float32) for i in each[:_OF_A_STACK]]) for each in darks.groups
    ]


def _unlike(darks: Grouped, place: Place, noise: Noise) -> Unlike:
    """Return the darks whose signal is not that of the others of their group."""
    limit, known = darks.saturation_adu, darks.biases
    biases: list[float | NDArray[np.float64]] = [0.0] * len(darks.groups)
    if known is not None:
        biases = [each.ravel() for each in darks.bias.planes(sampled_biases(known, place))]
    return unlike_in(darks.members, darks.sources, darks.groups, biases, place, noise=noise, saturation_adu=limit)


def _noise(darks: Grouped, place: Place) -> Noise:
    """Return the noise of darks as some frames of each group show it, else that of the biases."""
    stacks = _stacks(darks, place)
    usual = float("nan") if darks.biases is None else darks.biases.noise_adu**2
    if not np.isfinite(usual) and all(len(stack) == 1 for stack in stacks):
        usual = _most(darks, [stack[0] for stack in stacks])
    levels = list(darks.bias.level_adu)
    return noise_from(stacks, levels, saturation_adu=darks.saturation_adu, usual_adu2=usual)


def _limited(darks: Grouped, place: Place, noise: Noise) -> tuple[Grouped, Noise]:
    """Return darks whose saturation their own pixels show where no header states it, and their noise."""
    if darks.saturation.stated:
        return darks, noise
    found = SATURATED_FROM * still_from(_stacks(darks, place), noise.read_adu2)
    if not found < darks.saturation.adu:
        return darks, noise
    darks = replace(darks, saturation=Saturation(adu=found, source=_STILL))
    return darks, _noise(darks, place)


def _most(darks: Grouped, frames: list[NDArray[np.float32]]) -> float:
    """Return the variance of a sample at most, where no two frames are alike: that of the difference of unlike ones."""
    apart = [float(clip_values(b - a).sigma) ** 2 / 2 for a, b in pairwise(frames)]
    return max(min((each for each in apart if each > 0), default=0.0), darks.step_adu**2 / 12)


def _of_single_darks(darks: Grouped, noise: Noise, means: Sequence[GroupMean]) -> Noise:
    """Return the noise with what two exposures of a temperature show of it, where no two darks were taken alike."""
    if darks.biases is None or any(len(each) > 1 for each in darks.groups):
        return noise
    taken, signals = darks.taken, [np.where(each.count > 0, each.mean, np.nan) for each in means]
    return noise_of_pairs(
        signals,
        taken.label_c.tolist(),
        taken.exposure_s.tolist(),
        read_adu2=noise.read_adu2,
        limit_adu=darks.limit_adu,
    )


def halves_of(darks: Grouped, place: Place, noise: Noise) -> tuple[list[GroupMean], list[GroupMean | None]]:
    """Return the means of even and of odd frames of each group, less the bias; None where there is one frame."""
    bias = None if darks.biases is None else darks.bias.planes(sampled_biases(darks.biases, place))
    first, second = list[GroupMean](), list[GroupMean | None]()
    for number, each in enumerate(darks.groups):
        level = float(darks.bias.level_adu[number])
        of = partial(_sample, darks, place=place, noise=noise, level_adu=level)
        off = 0.0 if bias is None else level - bias[number].ravel()
        first.append(_less(of(each[0::2]), off))
        second.append(_less(of(each[1::2]), off) if len(each) > 1 else None)
    return first, second


def _sample(darks: Grouped, some: tuple[int, ...], *, place: Place, noise: Noise, level_adu: float) -> GroupMean:
    """Return the mean of some darks of a group on the sample, above the usual level of the bias."""
    frames = np.stack([place.read(darks.sources[i]).astype(np.float32) for i in some])[:, None]
    recipe = recipe_of(noise, len(some), darks.step_adu)
    return group_mean(frames, darks.drifts_adu[list(some)] + level_adu, recipe, saturation_adu=darks.saturation_adu)


def _less(found: GroupMean, off: float | NDArray[np.float64]) -> GroupMean:
    """Return a mean in one row of pixels, with what makes of the usual level of the bias that of each pixel."""
    return GroupMean(mean=found.mean.ravel() + off, squares=found.squares.ravel(), count=found.count.ravel())


def recipe_of(noise: Noise, n: int, step_adu: float) -> Recipe:
    """Return how n darks become a mean, less the usual level of the bias."""
    gain = 1 / noise.per_adu if noise.per_adu > 0 else float("inf")
    return recipe_for(n, noise_adu=noise.read_adu2**0.5, step_adu=step_adu, gain_e_adu=gain)


def plan_of(gathered: Gathered, scratch: Path, family: Family | None = None) -> DarkPlan:
    """Decide on everything that is common to all pixels.

    Parameters
    ----------
    gathered : Gathered
        Darks with the biases beside them.
    scratch : Path
        Folder for frames that are unpacked; the caller removes it.
    family : Family, optional
        The one to be fitted; by default that which predicts best what it has not seen.

    Raises
    ------
    Usage
        No dark can be used, or all of their pixels are saturated.
    StorageError
        There is no room to unpack a frame.
    """
    darks = grouped(gathered, scratch)
    place = place_of(darks.shape)
    noise = _noise(darks, place)
    darks, noise = _limited(darks, place, noise)
    unlike = _unlike(darks, place, noise)
    darks = darks.alike(unlike)
    noise = _noise(darks, place) if unlike.out else noise
    first, second = halves_of(darks, place, noise)
    if not any((half.count > 0).any() for half in (*first, *second) if half is not None):
        raise Usage(
            "all pixels of the darks are saturated", advice="name darks of a shorter exposure or of a colder sensor"
        )
    noise = _of_single_darks(darks, noise, first)
    samples = Samples(
        taken=darks.taken,
        first=first,
        second=second,
        noise=noise,
        limit_adu=darks.limit_adu,
        drift_adu2=darks.drift_adu2,
        known=darks.bias.work is not None,
    )
    found = judged(samples, place, darks.members, darks.groups)
    darks = darks.judged(found)
    kept = np.flatnonzero(found.kept).tolist()
    first, second = [first[k] for k in kept], [second[k] for k in kept]
    ties = ties_of(darks.taken, darks.firsts, darks.bias, drift_adu2=darks.drift_adu2, read_adu2=noise.read_adu2)
    sample = sample_from(
        darks.taken, darks.bias.pedestal, first, second, noise=noise, limit_adu=darks.limit_adu, ties=ties
    )
    choice = choose(sample, families=None if family is None else (family,))
    choice = replace(choice, model=replace(choice.model, relative=unlike.relative))
    if not choice.levels.before_adu2.any():
        choice = replace(choice, holdout=tuple(_with_drift(row, darks) for row in choice.holdout))
    return DarkPlan(darks=replace(darks, levels=choice.levels), choice=choice, zeros=gathered.zeros)


def _with_drift(row: DarkHeld, darks: Grouped) -> DarkHeld:
    """Return a row whose error knows of the drift of whole frames too, which is common to all pixels."""
    taken = darks.taken
    at = taken.label_c == row.temperature_c
    frames = taken.frames[at & (taken.exposure_s == taken.exposure_s[at].max())].sum()
    drift = np.sqrt(darks.drift_adu2 / frames) / max(abs(row.level_adu), darks.drift_adu2**0.5, 1e-9)
    return replace(row, sigma=float(np.hypot(row.sigma, drift)), noise=float(np.hypot(row.noise, drift)))
