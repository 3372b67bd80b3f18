"""How the loops of this package are compiled.

No function here allocates or keeps an array, so none counts references: numba's atomic counting of every slice would
cost more than the arithmetic on it. What is called for every tile is inlined by force, for the same reason: handing
over a desk costs as much as ten rows of it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.core import options

from calibration.compiled_kernels import kept

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
if hasattr(getattr(options, "DefaultOptions", None), "_nrt"):  # numba's own: a version without it is slower, not broken
    _OPTIONS["_nrt"] = False


def inlined(function: F) -> F:
    """Compile what is done for every tile."""
    compiled: F = njit(forceinline=True, **_OPTIONS)(function)
    return compiled


def called(function: F) -> F:
    """Compile what is done now and then: once, not wherever it is used."""
    compiled: F = njit(**_OPTIONS)(function)
    return compiled


def entry(function: F) -> F:
    """Compile what is called from outside: the only loops that are kept on disk."""
    compiled: F = kept(**_OPTIONS)(function)
    return compiled
