"""The system gain gives away a camera that reads back a gain which it does not apply, on its first night already.

K (ADU per electron) is measured before flats. Two gains of one night that measure the same K are one gain; and a K that
is not that of earlier nights is another gain, whatever it reads. A K that was refused is kept apart: no master uses it,
and it counts among the earlier ones from the next night on, so that a camera that was changed for good costs one night.
ElectronsPerADU is no help: drivers tell one figure for all gains, or that of the converter before its data are shifted.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from calibration.errors import GroupCode
from services.capture.failures import GroupFailed
from services.catalogue.rows import FactRow

BELIEVED = "k_adu_e"
REFUSED = "k_adu_e_refused"
"""The facts that K was measured, and that it was measured and refused."""

OTHER_NIGHTS = 0.1
"""Relative difference from the K of earlier nights that is no other gain yet."""
ONE_GAIN = 0.01
"""Gains that measure the same K but for this are one, where their numbers let expect more."""
FINEST_STEP = 0.0116
"""Relative difference in K of the finest steps of cameras, 0.1 dB."""
NIGHTS = 10
SAME_NIGHT = timedelta(hours=12)


def check_gain(
    k_adu_e: float, known: Sequence[FactRow], settings: Mapping[str, Any], *, now: datetime, pixels: int
) -> None:
    """Hold a measured K against what is known of the camera.

    Parameters
    ----------
    k_adu_e : float
    known : sequence of FactRow
        K as measured before, `BELIEVED` and `REFUSED`, each the newest first.
    settings : mapping
        Those of this measurement; `gain` among them.
    now : datetime
    pixels : int
        How many each noise was measured on: two frames' difference tells K to sqrt(2 / pixels).

    Raises
    ------
    GroupFailed
        `setting_refused`.
    """
    error, gain = math.sqrt(2 / max(1, pixels)), settings.get("gain")
    measured = f"the system gain is {k_adu_e:.3g} ADU/e at gain {gain}"
    usual = _usual(known, settings, now)
    if usual and all(abs(k_adu_e / k - 1) > OTHER_NIGHTS + 5 * error for k in usual):
        _refuse(f"{measured}, it was {usual[0]:.3g} when it was measured last")
    scatter = 5 * math.sqrt(2) * error  # of the ratio of two K of one gain
    tonight = (fact for fact in known if fact.name == BELIEVED and now - fact.at < SAME_NIGHT)
    for fact in tonight:
        # K of another gain comes no nearer than its difference less the scatter: where that is nothing, who could tell
        one = min(ONE_GAIN + scatter, _expected(fact, settings) - scatter)
        if abs(k_adu_e / fact.value - 1) < one:
            _refuse(f"{measured}, as at gain {fact.settings['gain']}")


def _usual(known: Sequence[FactRow], settings: Mapping[str, Any], now: datetime) -> list[float]:
    """Return K as it was before with these settings: what was believed, then what was refused on other nights."""
    here = [fact for fact in known if fact.holds_for(settings)]
    believed = [fact.value for fact in here if fact.name == BELIEVED]
    refused = [fact.value for fact in here if fact.name == REFUSED and now - fact.at >= SAME_NIGHT]
    return believed[:NIGHTS] + refused[:NIGHTS]


def _expected(fact: FactRow, settings: Mapping[str, Any]) -> float:
    """Return by how much K differs at least between the gains of a fact and of settings that agree otherwise, else 0.

    Gains are numbers of steps, or K is proportional to their numbers (percent, ISO): the smaller difference counts.
    """
    theirs, ours = fact.settings.get("gain"), settings.get("gain")
    if not isinstance(theirs, int) or not isinstance(ours, int) or not fact.holds_for({**settings, "gain": None}):
        return 0.0
    apart, largest = abs(theirs - ours), max(abs(theirs), abs(ours))
    return min(FINEST_STEP * apart, apart / largest) if apart else 0.0


def _refuse(detail: str) -> NoReturn:
    raise GroupFailed(GroupCode.SETTING_REFUSED, f"{detail}: the gain is not what it reads (`--fresh` believes it)")
