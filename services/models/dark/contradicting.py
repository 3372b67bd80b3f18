"""Sets of darks that contradict all others: found on a sample of pixels, and described in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.models.contradictions import Mask, Verdict, contradictions
from calibration.models.dark.classes import DarkRules, classes_of, rules_of
from calibration.models.dark.fit import Taken
from calibration.models.dark.model import BOLTZMANN_EV_K, ZERO_C_K, Noise
from calibration.models.means import GroupMean
from services.models.contradicting import Contradiction, Difference, contradictions_of, sets_of
from services.models.gathering import Member
from services.models.sampling import Place

_LEVEL = 0.001
"""Of the variance of a sample, what a level is never known better than."""

_CELLS = 4
"""Cells along a side of the frame."""

_SHAPED = 5.0
"""Errors of a cell of the frame from where on a difference has a shape."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """What groups of darks show on a sample of pixels.

    Attributes
    ----------
    taken : Taken
    first, second : sequence of GroupMean
        Means of the even and of the odd frames, less the bias; None where a group has none.
    noise : Noise
    limit_adu : float
        Signal above the bias from which on a pixel is saturated.
    drift_adu2 : float
        Variance of the levels of whole frames.
    known : bool
        Whether a bias was taken off.
    """

    taken: Taken
    first: Sequence[GroupMean]
    second: Sequence[GroupMean | None]
    noise: Noise
    limit_adu: float
    drift_adu2: float
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Which groups of darks are kept, and in words which contradict the others."""

    kept: Mask
    contradictions: tuple[Contradiction, ...]
    restless: bool


def judged(samples: Samples, place: Place, members: Sequence[Member], groups: Sequence[Sequence[int]]) -> Judged:
    """Find the groups of darks that contradict all others.

    Parameters
    ----------
    samples : Samples
        Of K groups.
    place : Place
        Where the pixels of the sample lie.
    members : sequence of Member
    groups : sequence of sequences of int
        Numbers of the darks of each group.
    """
    taken, noise = samples.taken, samples.noise
    classes = classes_of(
        samples.first,
        samples.second,
        place.cells(_CELLS),
        noise,
        limit_adu=samples.limit_adu,
        level_variance=samples.drift_adu2 / float(taken.frames.min()) + _LEVEL * noise.read_adu2,
    )
    rules = rules_of(taken, classes, noise, known=samples.known)
    verdict = contradictions(rules.predict, classes, sets_of(members, groups), rules.parameters)
    words = contradictions_of(verdict, members, groups, lambda mask: _difference(rules, verdict, mask))
    return Judged(kept=verdict.kept, contradictions=words, restless=verdict.restless)


def _difference(rules: DarkRules, verdict: Verdict, of: Mask) -> Difference:
    """Return how darks differ from the others, and what would explain it."""
    kept = verdict.kept & ~of
    found = verdict.deviations if (of & ~verdict.kept).all() else rules.deviations(kept)
    weight = np.square(found.about_adu[of] / found.level_errors[of])
    factor = float(np.average(found.factor[of], weights=weight + 1e-12))
    offset = float(np.average(found.offset_adu[of], weights=1 / np.square(found.level_errors[of])))
    shape = float(np.sqrt(np.mean(np.square(found.shape_adu[of]))))
    by_offset, by_factor = found.alone[:, of].sum(axis=1)
    if float(np.sqrt(np.mean(np.square(found.pulls[2, of])))) > _SHAPED:
        words = (
            f"their signal has a shape across the frame ({shape:.0f} ADU rms, {offset:+.0f} ADU on average) that no "
            "other dark has: light leaks in, or something near the sensor glows."
        )
        kind = "shape"
    elif by_factor <= by_offset:
        kind, words = "factor", _of_factor(rules, of, factor, rules.energy_ev(kept))
    else:
        kind, words = "offset", (
            f"all their pixels, hot or not, have {abs(offset):.0f} ADU {'more' if offset > 0 else 'less'} than the "
            "others predict: another level (offset) of the camera, or light that leaks in evenly."
        )  # fmt: skip
    return Difference(kind=kind, factor=factor, offset_adu=offset, shape_adu=shape, words=words)


def _of_factor(rules: DarkRules, of: Mask, factor: float, energy_ev: float) -> str:
    taken = rules.taken
    said = f"all their pixels have {factor:.2f} times the signal that the others predict"
    exposures, labels = np.unique(taken.exposure_s[of]), np.unique(taken.label_c[of])
    if factor <= 0:
        return f"{said}: light, a cover or a readout of another kind."
    time = f"of {exposures[0] * factor:.3g} s" if len(exposures) == 1 else f"{factor:.2f} times as long"
    fits = [f"a gain {factor:.2f} times as high", f"an exposure {time}"]
    if len(labels) == 1:
        celsius = _fitting(energy_ev, float(taken.temperature_c[of].mean()), factor)
        fits.append(f"a temperature of {celsius:.1f} °C")
    return f"{said}: {', or '.join(fits)}, other than stated, would fit."


def _fitting(energy_ev: float, celsius: float, factor: float) -> float:
    """Return the temperature at which the dark is that of another one times a factor."""
    inverse = 1 / (celsius + ZERO_C_K) - BOLTZMANN_EV_K * float(np.log(factor)) / energy_ev
    return 1 / inverse - ZERO_C_K
