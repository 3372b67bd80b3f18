"""The system gain gives away a camera that reads back a gain which it does not apply, on its first night already.

K (ADU per electron) is measured before flats. Two gains of one night that measure the same K are one gain; and a K that
is not that of earlier nights is another gain, whatever it reads. A camera that was changed for good costs one night, as
its new K counts among the earlier ones from then on. ElectronsPerADU is no help: drivers tell one figure for all gains,
or that of the converter before its data are shifted.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from calibration.errors import GroupCode
from services.capture.failures import GroupFailed
from services.storage.rows import FactRow

OTHER_NIGHTS = 0.1
"""Relative difference from the K of earlier nights that is no other gain yet."""
ONE_GAIN = 0.01
"""Gains that differ by less are one; the finest steps of cameras (0.1 dB) differ by 1.2 %."""
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
        K as measured before, the newest first.
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
    usual = [fact.value for fact in known if fact.holds_for(settings)][:NIGHTS]
    if usual and all(abs(k_adu_e / k - 1) > OTHER_NIGHTS + 5 * error for k in usual):
        _refuse(f"{measured}, it was {usual[0]:.3g} when it was measured last")
    others = [fact for fact in known if now - fact.at < SAME_NIGHT and _differs_in_gain(fact, settings)]
    for fact in others:
        if abs(k_adu_e / fact.value - 1) < ONE_GAIN + 2 * error:
            _refuse(f"{measured}, as at gain {fact.settings['gain']}")


def _differs_in_gain(fact: FactRow, settings: Mapping[str, Any]) -> bool:
    gains = fact.settings.get("gain"), settings.get("gain")
    return None not in gains and gains[0] != gains[1] and fact.holds_for({**settings, "gain": None})


def _refuse(detail: str) -> NoReturn:
    raise GroupFailed(GroupCode.SETTING_REFUSED, f"{detail}: the gain is not what it reads (`--fresh` believes it)")
