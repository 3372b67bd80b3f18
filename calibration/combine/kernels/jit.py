"""How the loops of this package are compiled.

No function here allocates or keeps an array, so none counts references: numba's atomic counting of every slice would
cost more than the arithmetic on it. What is called for every tile is inlined by force, for the same reason: handing
over a desk costs as much as ten rows of it.
"""

from typing import Any

from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}

inlined = njit(forceinline=True, **_OPTIONS)
"""For what is done for every tile."""

called = njit(**_OPTIONS)
"""For what is done now and then: compiled once, not wherever it is used."""

entry = njit(cache=True, **_OPTIONS)
"""For what is called from outside, the only loops that are kept on disk."""
