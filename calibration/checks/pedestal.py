"""The pedestal that earlier nights promise."""

from collections.abc import Sequence

import numpy as np


def pedestal_limits(nights_adu: Sequence[float], *, step_adu: int = 1) -> tuple[float, float] | None:
    """Return expected pedestal and tolerance from the levels of earlier nights, one value a night.

    The tolerance is max(10 ADU, 3 steps of the converter, 5 x scatter between nights): a median is a whole step on a
    coarse sensor. None below two earlier nights, so that the third is the first to be judged.
    """
    if len(nights_adu) < 2:
        return None
    scatter = float(np.std(nights_adu, ddof=1))
    return float(np.median(nights_adu)), max(10.0, 3.0 * step_adu, 5 * scatter)
