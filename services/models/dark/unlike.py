"""Darks of one set that have not one signal: found on a sample of pixels, left out where few, and said in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark.model import Noise
from calibration.models.within_sets import Parts, factors_of, parts_of
from services.bands import Source
from services.models.contradicting import WITHIN, Contradiction, named
from services.models.gathering import Member
from services.models.sampling import Place
from services.words import some

_NAMES = 4
"""Frames that are named in a sentence."""

_MOST = 64
"""Frames of a set that are compared at once."""

Group = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unlike:
    """Darks whose signal is not that of the others of their set.

    Attributes
    ----------
    out : tuple of int
        Numbers of the darks that are left out.
    relative : float
        The relative error of the sets of which nothing shows which darks are right; 0 without any.
    contradictions : tuple of Contradiction
    """

    out: tuple[int, ...] = ()
    relative: float = 0.0
    contradictions: tuple[Contradiction, ...] = ()


def unlike_in(
    members: Sequence[Member],
    sources: Sequence[Source],
    groups: Sequence[Group],
    biases_adu: Sequence[float | NDArray[np.float64]],
    place: Place,
    *,
    noise: Noise,
    saturation_adu: float,
) -> Unlike:
    """Compare the signals of the darks of each set.

    Parameters
    ----------
    members, sources : sequences
        The darks, and their pixels.
    groups : sequence of tuples of int
        Numbers of the darks of each set.
    biases_adu : sequence of float or ndarray, shape (pixels,)
        The bias of each set on the sample.
    place : Place
    noise : Noise
    saturation_adu : float
        From where on samples are left out.
    """
    few, halves = list[tuple[Group, Parts]](), list[tuple[Group, Parts]]()
    for group, bias in zip(groups, biases_adu, strict=True):
        for part in (group[i : i + _MOST] for i in range(0, len(group), _MOST)):
            frames = np.stack([place.read(sources[i]) for i in part])
            signals = np.where(frames < saturation_adu, frames, np.nan) - bias
            factors, errors = factors_of(signals, read_adu2=noise.read_adu2, per_adu=noise.per_adu)
            celsius = np.array([members[i].temperature_c for i in part])
            found = parts_of(factors, errors, celsius - celsius.mean())
            if found is not None:
                (few if found.is_minority else halves).append((part, found))
    said = [_said(members, each, left_out=each is few) for each in (few, halves) if each]
    return Unlike(
        out=tuple(i for part, found in few for i, odd in zip(part, found.odd, strict=True) if odd),
        relative=max((found.scatter for _, found in halves), default=0.0),
        contradictions=tuple(said),
    )


def _said(members: Sequence[Member], sets: Sequence[tuple[Group, Parts]], *, left_out: bool) -> Contradiction:
    odd = [members[i] for part, found in sets for i, is_odd in zip(part, found.odd, strict=True) if is_odd]
    words = _words([member.frame.path.name for member in odd], sets)
    if not left_out:
        words += " Nothing shows which are right: all take part, and the errors are widened."
    return Contradiction(
        frames=named(odd),
        paths=tuple(str(member.frame.path) for member in odd),
        difference=WITHIN,
        factor=min((found for _, found in sets), key=lambda found: float(found.errors.mean())).ratio,
        offset_adu=0.0,
        shape_adu=0.0,
        words=words,
        left_out=left_out,
    )


def _words(odd: Sequence[str], sets: Sequence[tuple[Group, Parts]]) -> str:
    """Return how frames differ from the others of their sets."""
    others = sum(len(part) for part, _ in sets) - len(odd)
    ratios = sorted(found.ratio for _, found in sets)
    low, high = f"{ratios[0]:.2f}", f"{ratios[-1]:.2f}"
    times = low if low == high else f"{low} to {high}"
    of = f"their set{'' if len(sets) == 1 else f's ({len(sets)} sets)'}"
    return (
        f"they have {times} times the signal of the {others} others of {of}, first {some(odd, _NAMES)}: was the gain, "
        "the exposure or the temperature changed between them?"
    )
