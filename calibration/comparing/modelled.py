"""What speaks against a new master by a model of older ones: what no comparison of one night with the next can see.

A bias that drifts by a little each night is like the one before it on every night, and a model that is fitted anew each
night follows it. So the level is held against the earlier half of the model's sessions, whose scatter from one session
to the next says how far it may be from them. A dark is held against a bias with the signal that a model predicts: the
level of both wanders as that of biases does, and a part of the signal may be wrong, for sensors of temperature are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from calibration.comparing.planes import CHANGED_SIGMAS, baseline, changed_pixels
from calibration.comparing.records import F32, Baseline, Changes, MasterFacts, MasterPlanes, known, over
from calibration.errors import MasterCode
from calibration.frames import FrameKind, Verdict

ENOUGH_SESSIONS = 6
"""From so many sessions on it is known how far the level wanders."""

_USUAL_ADU, _USUAL_FREEDOM = 3.0, 10.0
"""What the level of a camera wanders by from night to night, as in the comparison of two nights, and its weight."""

_PER_STEP = 2 / 3
"""Degrees of freedom of a variance for each difference of neighbours that it is made of."""

_QUANTILE = 4.17
"""Of the normal distribution, for one in 30,000 on both sides together."""

_SIGNAL_SHARE = 0.1
"""Part of a predicted dark signal that may be wrong: a sensor of temperature that is 0.8 °C off makes it."""

_UNLIKE = 0.02
_NOISE = 0.10
"""Part of the pixels that may have changed, and of the noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a model says of a master that is not in it.

    Attributes
    ----------
    name : str
        Of the model, for words.
    kind : FrameKind
    levels_adu : tuple of float
        Level of each of its sessions less that of the model, the oldest first, from when somebody accepted a level; of
        a dark those of the biases, where they are known.
    noise_adu : float or None
        Of a frame, pixel by pixel.
    signal_adu : float
        Dark signal of a typical pixel; 0 of biases.
    shot_per_adu : float
        Variance that each ADU of the dark signal gives a frame, in ADU².
    sessions : int
        Of the dark model: the mean of so many levels is in its signal.
    accepted_adu : float
        How far a dark was from its prediction whose level somebody accepted.
    """

    name: str
    kind: FrameKind
    levels_adu: tuple[float, ...] = ()
    noise_adu: float | None = None
    signal_adu: float = 0.0
    shot_per_adu: float = 0.0
    sessions: int = 1
    accepted_adu: float = 0.0

    @property
    def anchor_adu(self) -> float | None:
        """Level that is expected less that of the prediction: of the earlier half of the sessions; None of too few.

        What is predicted of a dark stands on a bias, whose level is the one to be expected.
        """
        if self.kind is FrameKind.DARK:
            return 0.0
        if len(self.levels_adu) < ENOUGH_SESSIONS:
            return None
        return float(np.mean(self.levels_adu[: self.first]))

    @property
    def first(self) -> int:
        """Number of sessions of the earlier half."""
        return len(self.levels_adu) // 2

    @property
    def level_limit_adu(self) -> float:
        """How far a healthy level may be from what is expected: one in thirty thousand is farther.

        The scatter of the levels is that from one session to the next (von Neumann 1941), which a drift hardly changes,
        joined with what is usual as if it were known from `_USUAL_FREEDOM` sessions; Student's quantile is that of
        Abramowitz & Stegun 26.7.5.
        """
        steps = np.diff(self.levels_adu)
        freedom = _PER_STEP * len(steps)
        total = _USUAL_FREEDOM + freedom
        scatter = sqrt((_USUAL_FREEDOM * _USUAL_ADU**2 + _PER_STEP * float(np.sum(steps**2)) / 2) / total)
        z = _QUANTILE
        student = z + (z**3 + z) / (4 * total) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * total**2)
        if self.kind is FrameKind.DARK:  # the bias and the dark are each of one night
            return student * scatter * sqrt(2) + _SIGNAL_SHARE * abs(self.signal_adu) + self.accepted_adu
        return student * scatter * sqrt(1 + 1 / max(self.first, 1))

    @property
    def noise_limit(self) -> float:
        """How far the noise of a healthy dark or bias may be from what is expected, relative.

        Levels that wander are in the signal of a dark model, too, and its shot noise is as wrong as it is.
        """
        expected = known(self.noise_adu)
        if not expected or self.shot_per_adu <= 0:
            return _NOISE
        variance = expected**2
        error = self.shot_per_adu * self.level_limit_adu / sqrt(max(self.sessions, 1))
        least = max(variance - error, variance - self.shot_per_adu * max(self.signal_adu, 0.0))
        return _NOISE + sqrt(max((variance + error) / variance, variance / least)) - 1.0


def compare_by_model(new: MasterPlanes, predicted: F32, sigma: F32, expected: Expected) -> tuple[Verdict, ...]:
    """Compare a master, or a sample of its pixels, with what a model predicts; return what speaks against it.

    Parameters
    ----------
    new : MasterPlanes
    predicted, sigma : ndarray of float32, shape (y, x)
        The prediction at the temperature of the master, and its error without that of the level; of a dark at its
        exposure, with a bias.
    expected : Expected
    """
    known_sigma = sigma[np.isfinite(sigma)]
    typical = float(np.median(known_sigma)) if known_sigma.size else None
    before = replace(new.facts, noise_adu=expected.noise_adu, sigma=typical, level_adu=None)
    common = baseline(new.mean, predicted, new.facts, before)
    _, changes = changed_pixels(common, new.mean, new.sigma, predicted, sigma)
    return verdicts_by_model(common, changes, new.facts, expected)


def verdicts_by_model(
    common: Baseline, changes: Changes, after: MasterFacts, expected: Expected
) -> tuple[Verdict, ...]:
    """Return what a model speaks against a new master.

    Parameters
    ----------
    common : Baseline
        Of the master and its prediction, on a sample of the pixels.
    changes : Changes
        On the same sample.
    after : MasterFacts
    expected : Expected
    """
    return tuple(_verdicts(common, changes, after, expected))


def _verdicts(common: Baseline, changes: Changes, after: MasterFacts, expected: Expected) -> Iterator[Verdict]:
    against = f"the model {expected.name}"
    anchor = expected.anchor_adu
    if anchor is not None and abs(shift := common.shift - anchor) > (limit := expected.level_limit_adu):
        detail = _of_level(shift, limit, expected, against)
        yield _verdict(MasterCode.LEVEL_DRIFTED, abs(shift), limit, detail)
    if common.shape > common.shape_limit:
        detail = f"the level has another shape over the frame than {against} predicts, by {common.shape:.1f} ADU"
        yield _verdict(MasterCode.STRUCTURE_CHANGED, common.shape, common.shape_limit, f"{detail}: light, or glow")
    share = changes.changed / max(changes.pixels, 1)
    if share > _UNLIKE:
        detail = (
            f"{100 * share:.1f} % of the pixels are more than {CHANGED_SIGMAS:g} sigma from what {against} predicts"
        )
        yield _verdict(MasterCode.UNLIKE_PIXELS, share, _UNLIKE, f"{detail}: another sensor, or a changed one")
    ratio = over(known(after.noise_adu), known(expected.noise_adu))
    if (
        ratio is not None
        and ratio > 0
        and (factor := max(ratio, 1.0 / ratio)) > 1.0 + expected.noise_limit + _noise_error(after)
    ):
        detail = f"the noise is {ratio:.2f} times that of the frames of {against}"
        yield _verdict(MasterCode.NOISE_CHANGED, factor - 1.0, expected.noise_limit, detail)


def _of_level(shift: float, limit: float, expected: Expected, against: str) -> str:
    where = f"the level is {abs(shift):.1f} ADU {'higher' if shift > 0 else 'lower'} than"
    usual = f"up to {limit:.1f} ADU are usual"
    if expected.kind is FrameKind.DARK:
        return f"{where} a bias with the signal that {against} predicts, {usual}: light, or a bias that has changed"
    return (
        f"{where} in the first {expected.first} of {len(expected.levels_adu)} sessions of {against}, {usual}: it drifts"
    )


def _noise_error(after: MasterFacts) -> float:
    """Return four errors of the noise of a small master: about the pixels of a sample are enough for the others."""
    return 4.0 * sqrt(2.0 / max(after.frames - 1, 1) / 1e4)


def _verdict(code: MasterCode, measured: float, limit: float, detail: str) -> Verdict:
    return Verdict(code=code, refuses=True, measured=measured, limit=limit, detail=detail)
