"""Exposure times worth asking for: a ladder of round times, and times a camera can keep.

Dark frames must have their flats' exposures. Where the lamp's brightness can be chosen, flats therefore use only the
ladder 10^(k/20) s, so that dark times are few and repeat from night to night.
"""

import math

STEPS_PER_DECADE = 20


def quantise(exposure_us: float, resolution_us: int = 1) -> int:
    """Return the nearest multiple of the camera's resolution, at least one."""
    step = max(1, resolution_us)
    return max(1, round(exposure_us / step)) * step


def tidy(exposure_us: float, resolution_us: int = 1) -> int:
    """Return the exposure in three significant digits (0.5 % at worst) that the camera can keep."""
    if exposure_us <= 0:
        return quantise(1, resolution_us)
    unit = 10 ** max(0, math.floor(math.log10(exposure_us)) - 2)
    return quantise(round(exposure_us / unit) * unit, resolution_us)


def rung(k: int, resolution_us: int = 1) -> int:
    """Return 10^(k/20) s in microseconds: whole milliseconds from 0.1 s on, three digits below.

    Examples
    --------
    >>> rung(0), rung(7), rung(-40)
    (1000000, 2239000, 10000)
    """
    exact = 10 ** (k / STEPS_PER_DECADE) * 1e6
    return quantise(round(exact, -3), resolution_us) if exact >= 100_000 else tidy(exact, resolution_us)


def rungs(low_us: int, high_us: int, resolution_us: int = 1) -> tuple[int, ...]:
    """Return the ladder's times within [low, high], ascending, without repeats (coarse resolutions make some)."""
    if high_us < low_us:
        return ()
    first = math.floor(STEPS_PER_DECADE * math.log10(max(low_us, 1) / 1e6)) - 1
    last = math.ceil(STEPS_PER_DECADE * math.log10(max(high_us, 1) / 1e6)) + 1
    times = {rung(k, resolution_us) for k in range(first, last + 1)}
    return tuple(sorted(t for t in times if low_us <= t <= high_us))


def middle(low_us: float, high_us: float) -> float:
    """Return the geometric middle of two exposures."""
    return math.sqrt(low_us * high_us)
