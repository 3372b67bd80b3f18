"""Sets of biases that contradict all others: found on a sample of pixels, and described in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.models.bias_sets import BiasRules, bias_classes
from calibration.models.contradictions import Deviations, Mask, contradictions, deviations_of
from services.bands import Source
from services.models.contradicting import Contradiction, Difference, contradictions_of, sets_of
from services.models.gathering import Member
from services.models.grouping import groups_of
from services.models.sampling import Place, Sampled, sample_groups

_CELLS = 4
"""Cells along a side of what is sampled."""

_RESTLESS = 0.5
"""Of the noise of a sample, what levels of healthy groups may always differ by."""

_FAR = 5.0
"""Errors from where on a difference has a shape, or a factor."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedBiases:
    """Which biases are kept, shape (n,), and in words which sets contradict the others."""

    kept: Mask
    contradictions: tuple[Contradiction, ...] = ()
    restless: bool = False


def judged_biases(
    members: Sequence[Member], sources: Sequence[Source], found: Sampled, place: Place, step_adu: float
) -> JudgedBiases:
    """Find the groups of biases that contradict all others.

    Parameters
    ----------
    members, sources : sequence
        The biases and their pixels.
    found : Sampled
        Their levels and noise.
    place : Place
    step_adu : float
    """
    groups, every = groups_of(members), np.ones(len(members), np.bool_)
    if len(groups) < 3 or not np.isfinite(found.noise_adu):
        return JudgedBiases(kept=every)
    means = sample_groups(sources, groups, found.levels_adu, place, noise_adu=found.noise_adu, step_adu=step_adu)
    classes = bias_classes(
        means,
        np.array([found.levels_adu[list(each)].mean() for each in groups]),
        place.cells(_CELLS),
        noise_adu=found.noise_adu,
        level_variance=(_RESTLESS * found.noise_adu) ** 2,
    )
    rules = BiasRules(
        temperature_c=np.array([np.mean([members[i].temperature_c for i in each]) for each in groups]), classes=classes
    )
    verdict = contradictions(rules.predict, classes, sets_of(members, groups), rules.parameters)

    def describe(of: Mask) -> Difference:
        level = classes.level_variance
        return _difference(deviations_of(classes, rules.predict(verdict.kept & ~of, level), level), of)

    for k in np.flatnonzero(~verdict.kept).tolist():
        every[list(groups[k])] = False
    words = contradictions_of(verdict, members, groups, describe)
    return JudgedBiases(kept=every, contradictions=words, restless=verdict.restless)


def _difference(found: Deviations, of: Mask) -> Difference:
    """Return how biases differ from the others, and what would explain it."""
    offset, slope = float(found.offset_adu[of].mean()), float(found.slope[of].mean())
    shape = float(np.sqrt(np.mean(np.square(found.shape_adu[of]))))
    _, turned, shaped = np.sqrt(np.mean(np.square(found.pulls[:, of]), axis=1))
    level = f"a level that is {abs(offset):.1f} ADU {'higher' if offset > 0 else 'lower'} than the others predict"
    if turned > max(_FAR, shaped):
        words = f"their pattern is {1 + slope:.2f} times that of the others, with {level}: another gain than stated."
        kind = "factor"
    elif shaped > _FAR:
        words = f"they have a shape across the frame ({shape:.1f} ADU rms) that no other bias has, with {level}: light."
        kind = "shape"
    else:
        words = f"they have {level}: another offset of the camera than stated, or light that leaks in evenly."
        kind = "offset"
    return Difference(kind=kind, factor=1 + slope, offset_adu=offset, shape_adu=shape, words=words)
