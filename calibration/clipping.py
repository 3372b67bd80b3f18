"""What clipping takes from a standard deviation, and how it is put back."""

import math


def untruncated(sigma: float, reach: float) -> float:
    """Return the sigma of a normal distribution whose part within +-`reach` of its centre has `sigma`."""
    if sigma <= 0:
        return 0.0
    true = sigma
    for _ in range(5):
        c = reach / true
        if c > 8:
            break
        density = math.exp(-(c**2) / 2) / math.sqrt(2 * math.pi)
        true = sigma / math.sqrt(1 - 2 * c * density / math.erf(c / math.sqrt(2)))
    return true
