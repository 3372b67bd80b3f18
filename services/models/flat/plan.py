"""What a flat model is to be, decided on a sample of pixels before the first band is read: groups, terms, noise."""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.models.flat.model import FlatModel, Level, terms_for
from calibration.models.flat.noise import Shared, in_units_of_noise, relative_noise, shared_errors
from calibration.models.linear import excess_scatter
from calibration.models.means import stacked
from services.bands import Source, plane_of
from services.errors import Usage
from services.files.units import Unreadable
from services.models.flat.darks import FOLDER as DARKS
from services.models.flat.steps import StepFrame
from services.models.grouping import flat
from services.models.sampling import Place, Sampled, place_of, sample_means, sampled

_MOST_FRAMES = 200
"""Of one group; larger ones are cut into parts."""

_OCTAVE = 2
"""Exposures of the sky are put together in so many steps for each doubling: no two frames of it have the same."""


class FlatType(StrEnum):
    """What lit the flats: the SKY at twilight, the panel of a LAB, or something in front of a SATELLITE."""

    SKY = "sky"
    LAB = "lab"
    SATELLITE = "satellite"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatPlan:
    """A flat model before its pixels.

    Attributes
    ----------
    frames : tuple of StepFrame
        Normalised flats that are used.
    groups : tuple of tuples of int
        Numbers of the frames of each group: of one temperature and exposure.
    model : FlatModel
    noise, step : float
        Noise of a sample (NaN: not known) and step of the values, both relative to the level.
    relative_noise : tuple of float
        Noise of a sample of each group, relative to `noise`: flats of a fainter light have more.
    shared : Shared
        What the errors of their levels do to all pixels alike.
    unlike : mapping of Path to str
        Files whose level is not that of the others of their group.
    notes : tuple of str
        What the frames do not show.
    darks : tuple of Source
        Errors of the darks that were taken off, in ADU.
    dark_shares : tuple of tuples of float
        Of each dark and group: mean of the frames' 1 / level where they have this dark, else 0.
    """

    frames: tuple[StepFrame, ...]
    groups: tuple[tuple[int, ...], ...]
    model: FlatModel
    noise: float
    step: float
    relative_noise: tuple[float, ...]
    shared: Shared
    unlike: dict[Path, str]
    notes: tuple[str, ...]
    darks: tuple[Source, ...]
    dark_shares: tuple[tuple[float, ...], ...]

    @property
    def temperature_c(self) -> NDArray[np.float64]:
        """Mean temperature of each group, shape (K,)."""
        return _means(self.groups, [frame.temperature_c for frame in self.frames])

    @property
    def exposure_s(self) -> NDArray[np.float64]:
        """Mean exposure of each group, shape (K,)."""
        return _means(self.groups, [frame.exposure_s for frame in self.frames])

    @property
    def labels(self) -> tuple[tuple[float, float], ...]:
        """What temperature and exposure of each group are called; equal of the parts of a large one."""
        return tuple(
            (self.frames[g[0]].label_c, round(e, 6)) for g, e in zip(self.groups, self.exposure_s, strict=True)
        )

    def noise_of(self, label: tuple[float, float] | None) -> float:
        """Return the noise of the frames of a temperature and exposure; the largest of all where there is none."""
        own = [r for r, one in zip(self.relative_noise, self.labels, strict=True) if label in {None, one}]
        return self.noise * max(own)

    @property
    def identity(self) -> str:
        """What identifies this model: a digest of its frames and of what was decided on them."""
        frames = [(frame.path.name, frame.level) for frame in self.frames]
        return hashlib.sha256(repr((frames, self.model)).encode()).hexdigest()[:16]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.frames[0].source.location.shape


def _means(groups: Sequence[Sequence[int]], values: Sequence[float]) -> NDArray[np.float64]:
    return np.array([np.mean([values[i] for i in group]) for group in groups])


def condition_of(frame: StepFrame, kind: FlatType) -> Hashable:
    """Return what frames of one group have in common."""
    if kind is FlatType.SKY:
        return frame.label_c, round(_OCTAVE * float(np.log2(max(frame.exposure_s, 1e-6))))
    return frame.label_c, frame.header.exposure_us


def groups_of(frames: Sequence[StepFrame], kind: FlatType) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of the frames of each group, by temperature and exposure."""
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for i in sorted(range(len(frames)), key=lambda i: (frames[i].label_c, frames[i].exposure_s, frames[i].path)):
        found[condition_of(frames[i], kind)].append(i)
    parts = (np.array_split(each, -(-len(each) // _MOST_FRAMES)) for each in found.values())
    return tuple(tuple(map(int, part)) for some in parts for part in some)


def plan_of(
    frames: Sequence[StepFrame], folder: Path, kind: FlatType, *, t_ref: float = 0.0, exp_ref: float = 0.0
) -> FlatPlan:
    """Decide on everything that is common to all pixels.

    Parameters
    ----------
    frames : sequence of StepFrame
        Normalised.
    folder : Path
        Of the model: the darks are below it.
    kind : FlatType
    t_ref, exp_ref : float
        Temperature (°C) and exposure (s) at which A is the flat.

    Raises
    ------
    Usage
        No frame has a level.
    """
    place = place_of(frames[0].source.location.shape)
    found = sampled([frame.source for frame in frames], groups_of(frames, kind), place)
    keep = ~found.unlike & np.isfinite(found.levels_adu)
    unlike = {
        frame.path: "its pattern is not that of the other flats of its temperature and exposure"
        for frame, kept in zip(frames, keep, strict=True)
        if not kept
    }
    used = tuple(frame for frame, kept in zip(frames, keep, strict=True) if kept)
    if not used:
        raise Usage("none of the flats can be used", advice="look at the frames: none has a level")
    groups = groups_of(used, kind)
    step = float(np.median([frame.step_adu / _level(frame) for frame in used]))
    model, notes = _model(used, groups, (t_ref, exp_ref))
    model, noise, shared = _weighed(model, used, groups, found.of(keep), place, step=step)
    darks = _dark_errors(used, folder)
    return FlatPlan(
        frames=used,
        groups=groups,
        model=model,
        noise=found.noise_adu,
        step=step,
        relative_noise=tuple(map(float, noise)),
        shared=shared,
        unlike=unlike,
        notes=notes,
        darks=tuple(darks.values()),
        dark_shares=tuple(
            tuple(float(np.mean([(used[i].dark == name) / _level(used[i]) for i in group])) for group in groups)
            for name in darks
        ),
    )


def _weighed(
    model: FlatModel,
    used: Sequence[StepFrame],
    groups: Sequence[Sequence[int]],
    found: Sampled,
    place: Place,
    *,
    step: float,
) -> tuple[FlatModel, NDArray[np.float64], Shared]:
    """Return the model with its errors, the relative noise of each group, and what the levels have in common."""
    noise = relative_noise(
        _means(groups, found.own_noise_adu.tolist()), _means(groups, list(map(_level, used))), found.noise_adu
    )
    design = model.design(_means(groups, [f.temperature_c for f in used]), _means(groups, [f.exposure_s for f in used]))
    design /= noise[:, None]
    shared = _shared(used, groups, design, noise, found.levels_adu)
    means = sample_means(
        [frame.source for frame in used],
        groups,
        found.levels_adu * (1 - shared.factors),
        place,
        noises_adu=(noise * found.noise_adu).tolist(),
        step_adu=step,
    )
    scaled = stacked([in_units_of_noise(each, own) for each, own in zip(means, noise.tolist(), strict=True)])
    excess = excess_scatter(design, np.array([float(len(group)) for group in groups]), flat(scaled))
    common = tuple(tuple(map(float, row)) for row in shared.covariance)
    return replace(model, excess=excess, common=common), noise, shared


def _level(frame: StepFrame) -> float:
    return 1.0 if frame.level is None else frame.level.value


def _model(
    frames: Sequence[StepFrame], groups: Sequence[Sequence[int]], reference: tuple[float, float]
) -> tuple[FlatModel, tuple[str, ...]]:
    celsius, seconds = [f.temperature_c for f in frames], [f.exposure_s for f in frames]
    terms, notes = terms_for(_means(groups, celsius), _means(groups, seconds))
    model = FlatModel(
        terms=terms,
        reference_c=reference[0],
        reference_s=reference[1],
        coldest_c=min(celsius),
        warmest_c=max(celsius),
        shortest_s=min(seconds),
        longest_s=max(seconds),
    )
    return model, notes


def _shared(
    frames: Sequence[StepFrame],
    groups: Sequence[Sequence[int]],
    design: NDArray[np.float64],
    noise: NDArray[np.float64],
    levels: NDArray[np.float64],
) -> Shared:
    """Return what the errors of the frames' levels do to all pixels alike."""
    pixels = int(np.prod(frames[0].source.location.shape))
    divided = [Level(value=1.0, relative_sigma=0.0) if frame.level is None else frame.level for frame in frames]
    return shared_errors(
        design,
        noise,
        _group_of(groups),
        levels,
        stated=np.array([level.relative_sigma for level in divided]),
        rise=np.array([level.rise(pixels) for level in divided]),
    )


def _group_of(groups: Sequence[Sequence[int]]) -> NDArray[np.intp]:
    """Return the number of the group of each frame."""
    order = np.concatenate([np.asarray(group, np.intp) for group in groups])
    return np.repeat(np.arange(len(groups)), list(map(len, groups)))[np.argsort(order)]


def _dark_errors(frames: Sequence[StepFrame], folder: Path) -> dict[str, Source]:
    """Return the errors of the darks of the frames, by their names; those that have none are taken as exact."""
    found = {}
    for name in sorted({frame.dark for frame in frames}):
        try:
            found[name] = plane_of(folder / DARKS / name, "SIGMA")
        except Unreadable:
            continue
    return {name: source for name, source in found.items() if source.location.shape == frames[0].source.location.shape}
