"""The system gain unmasks a camera that reads back a gain which it does not apply, already in its first night.

K (ADU per electron) is measured before flats. Two gains of one night with the same K are one gain; and a K that
differs from that of earlier nights belongs to another gain, whatever the camera reads back. A refused K is kept apart:
no master uses it, and it counts among the earlier ones from the next night on, so that a camera that was changed for
good costs one night. ElectronsPerADU is no help: drivers give one figure for all gains, or the figure of the converter
before its data are shifted. For that reason EGAIN of frames on disk is compared with the gain of their flats, too
(`gain_of_pairs`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import untruncated
from calibration.errors import GroupCode
from calibration.frames import Verdict

OTHER_NIGHTS = 0.1
"""Relative difference from the K of earlier nights that does not yet mean another gain."""
ONE_GAIN = 0.01
"""Gains whose K differs by less are one gain, where their numbers lead us to expect more."""
FINEST_STEP = 0.0116
"""Relative difference in K of the finest steps of cameras, 0.1 dB."""
STATED_WRONG = 0.1
"""Relative difference from the measured gain beyond which the one that a header states is not believed."""

_BLOCK = 32
"""Side of the blocks of a difference of flats of which each loses its own mean: lamps also change their shape."""
_CLIP = 4.0
NIGHTS = 10
SAME_NIGHT = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredGain:
    """The conversion gain of flats in electrons per ADU, its 1σ error, and from how many pairs."""

    e_adu: float
    error_e_adu: float
    pairs: int

    def contradicts(self, stated_e_adu: float | None) -> bool:
        """Return whether a stated gain is more than 10 % off, beyond what three errors explain."""
        if stated_e_adu is None:
            return False
        return abs(stated_e_adu / self.e_adu - 1) > STATED_WRONG + 3 * self.error_e_adu / self.e_adu


def gain_of_pairs(
    flats: NDArray[np.floating], dark: NDArray[np.floating], dark_variance_adu2: float
) -> MeasuredGain | None:
    """Return the gain by photon transfer from flats that follow one another: 1 / K, K = (σ² - σ_dark²) / signal.

    Each pair is brought to one level, so that a lamp that drifts takes no part, and of its difference each block of
    pixels loses its own mean. The median of the pairs counts: a pair between which something moved does no harm.

    Parameters
    ----------
    flats : ndarray, shape (n, rows, x)
        The same central part of flats of one exposure and filter, in the order of their times, in ADU.
    dark : ndarray, shape (rows, x)
        Level without light of the same part.
    dark_variance_adu2 : float
        Temporal variance of a frame without light.

    Returns
    -------
    MeasuredGain or None
        None where no pair is lit, or where noise hides what light adds.
    """
    net = [float(np.mean(frame, dtype=np.float64) - np.mean(dark, dtype=np.float64)) for frame in flats]
    found = []
    for i in range(1, len(flats)):
        if min(net[i - 1], net[i]) <= 0:
            continue
        ratio = net[i - 1] / net[i]
        difference = (flats[i - 1] - dark) - np.float32(ratio) * (flats[i] - dark)
        variance = _block_variance(difference) - dark_variance_adu2 * (1 + ratio**2)
        found.append(variance / (net[i - 1] * (1 + ratio)))
    k, pairs = float(np.median(found)) if found else 0.0, len(found)
    if not k > 0:
        return None
    error = 1.25 * math.sqrt(3 / (pairs * dark.size))
    if pairs >= 5:  # fewer have no reliable scatter
        error = max(error, 1.25 * math.sqrt(1.5 / pairs) * float(np.std(found, ddof=1)) / k)
    return MeasuredGain(e_adu=1 / k, error_e_adu=error / k, pairs=pairs)


def _block_variance(difference: NDArray[np.floating]) -> float:
    """Return the variance of a difference about the means of its blocks, without outliers."""
    rows, columns = (max(1, size // _BLOCK) for size in difference.shape)
    high, wide = difference.shape[0] // rows, difference.shape[1] // columns
    blocks = difference[: rows * high, : columns * wide].reshape(rows, high, columns, wide).astype(np.float64)
    blocks -= blocks.mean(axis=(1, 3), keepdims=True)
    values, sigma, reach = blocks.ravel(), float(blocks.std()), math.inf
    for _ in range(5):
        reach = _CLIP * sigma
        before, sigma = sigma, untruncated(float(values[np.abs(values) <= reach].std()), reach)
        if abs(sigma - before) <= 1e-4 * before:
            break
    return float(sigma**2 * high * wide / max(high * wide - 1, 1))


class KnownGain(Protocol):
    """K as it was measured earlier: its value, when, and with which settings (`gain` among them)."""

    @property
    def value(self) -> float:
        """K [ADU/e]."""

    @property
    def at(self) -> datetime:
        """When it was measured, UTC."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The camera's settings then."""

    def holds_for(self, settings: Mapping[str, Any]) -> bool:
        """Return whether it was measured with these settings, as far as both sides know them."""


def judge_gain(
    k_adu_e: float,
    settings: Mapping[str, Any],
    *,
    believed: Sequence[KnownGain],
    refused: Sequence[KnownGain],
    now: datetime,
    pixels: int,
) -> Verdict | None:
    """Compare a measured K with what is known of the camera.

    Parameters
    ----------
    k_adu_e : float
        K as just measured.
    settings : mapping
        Settings of this measurement; `gain` is among them.
    believed, refused : sequence of KnownGain
        Earlier values of K that were accepted and refused, the newest first.
    now : datetime
    pixels : int
        Number of pixels of each noise measurement: the difference of two frames gives K to sqrt(2 / pixels).

    Returns
    -------
    Verdict or None
        `setting_refused`, with the relative difference of K and its limit; None where nothing speaks against the gain.
    """
    error = math.sqrt(2 / max(1, pixels))
    measured = f"the system gain is {k_adu_e:.3g} ADU/e at gain {settings.get('gain')}"
    usual = _usual(believed, refused, settings, now)
    nearest, limit = min((abs(k_adu_e / k - 1) for k in usual), default=0.0), OTHER_NIGHTS + 5 * error
    if nearest > limit:
        return _refusal(nearest, limit, f"{measured}, it was {usual[0]:.3g} when it was measured last")
    scatter = 5 * math.sqrt(2) * error  # of the ratio of two K of one gain
    for known in (known for known in believed if now - known.at < SAME_NIGHT):
        # K of another gain differs at least by what is expected less the scatter; where that is nothing, nobody can say
        one = min(ONE_GAIN + scatter, _expected(known, settings) - scatter)
        apart = abs(k_adu_e / known.value - 1)
        if apart < one:
            return _refusal(apart, one, f"{measured}, as at gain {known.settings['gain']}")
    return None


def _usual(
    believed: Sequence[KnownGain], refused: Sequence[KnownGain], settings: Mapping[str, Any], now: datetime
) -> list[float]:
    """Return K as it was with these settings: what was believed, then what was refused on other nights."""
    accepted = [known.value for known in believed if known.holds_for(settings)]
    other = [known.value for known in refused if known.holds_for(settings) and now - known.at >= SAME_NIGHT]
    return accepted[:NIGHTS] + other[:NIGHTS]


def _expected(known: KnownGain, settings: Mapping[str, Any]) -> float:
    """Return the least relative difference in K between two gains, 0 where other settings differ or nothing is known.

    Gains are numbers of steps, or K is proportional to their numbers (percent, ISO): the smaller difference counts.
    """
    theirs, ours = known.settings.get("gain"), settings.get("gain")
    if not isinstance(theirs, int) or not isinstance(ours, int) or not known.holds_for({**settings, "gain": None}):
        return 0.0
    apart, largest = abs(theirs - ours), max(abs(theirs), abs(ours))
    return min(FINEST_STEP * apart, apart / largest) if apart else 0.0


def _refusal(measured: float, limit: float, detail: str) -> Verdict:
    return Verdict(
        code=GroupCode.SETTING_REFUSED,
        refuses=True,
        measured=measured,
        limit=limit,
        detail=f"{detail}: the gain is not what it reads (`--fresh` believes it)",
    )
