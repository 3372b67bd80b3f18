"""How loops over pixels are compiled, and how their machine code is kept on disk between runs.

Every loop that Python calls is compiled by `kept`. All of them release the interpreter lock, so that a frame can be
measured while the next one is exposed.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

F = TypeVar("F", bound=Callable[..., Any])


class _Kept(FunctionCache):
    """Compiled loops on disk: losing them costs a minute, so a full disk or a damaged file must never cost a night."""

    def load_overload(self, *arguments: Any) -> Any:
        """Return a loop as it was kept; None when it is not there or damaged, which is then forgotten."""
        found: Any = None
        try:
            found = super().load_overload(*arguments)  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001 - unpickling what a power cut left of a file may end in anything
            with suppress(Exception):
                self.flush()  # type: ignore[no-untyped-call]
        return found

    def save_overload(self, *arguments: Any) -> None:
        """Keep a loop, where that can be done."""
        with suppress(Exception):
            super().save_overload(*arguments)  # type: ignore[no-untyped-call]


def kept(**options: Any) -> Callable[[F], F]:
    """Compile a loop that is called from outside, and keep it on disk where that can be done."""

    def compiled(function: F) -> F:
        loop: Any = numba.njit(**options)(function)
        if hasattr(loop, "_cache"):  # not with NUMBA_DISABLE_JIT
            with suppress(RuntimeError):  # no folder can be written
                loop._cache = _Kept(function)  # type: ignore[no-untyped-call] # noqa: SLF001 - what `cache=True` does
        return cast("F", loop)

    return compiled
