"""Amounts of storage as text."""

import math


def size(count: float) -> str:
    """Return a number of bytes as "1.3 GB", "640 MB" or "0.6 MB": rounded down, for room."""
    if not math.isfinite(count):
        return "unknown"
    unit, name = (1e9, "GB") if count >= 1e9 else (1e6, "MB")
    decimals = 0 if unit == 1e6 and count >= 10e6 else 1
    shown = math.floor(count / unit * 10**decimals) / 10**decimals
    return f"{shown:.0f} {name}" if shown == int(shown) else f"{shown:.1f} {name}"
