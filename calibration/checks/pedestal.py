"""The pedestal that earlier nights promise."""

from collections.abc import Sequence

import numpy as np


def pedestal_limits(nights_adu: Sequence[float]) -> tuple[float, float] | None:
    """Return expected pedestal and tolerance from the levels of earlier nights, one value a night.

    The tolerance is max(10 ADU, 5 x scatter between nights); None below two earlier nights, so that the third is the
    first to be judged.
    """
    if len(nights_adu) < 2:
        return None
    scatter = float(np.std(nights_adu, ddof=1))
    return float(np.median(nights_adu)), max(10.0, 5 * scatter)
