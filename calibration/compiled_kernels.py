"""How loops over pixels are compiled, and how their machine code is kept on disk between runs.

Every loop that Python calls is compiled by `kept`. All of them release the interpreter lock, so that a frame can be
measured while the next one is exposed.
"""

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast
from weakref import WeakSet

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

F = TypeVar("F", bound=Callable[..., Any])

_SUM = hashlib.sha256

_LOADED: WeakSet[Any] = WeakSet()
"""numba's libraries of the loops that were loaded."""


class _Summed(IndexDataCacheFile):
    """numba's two kinds of file, the index and the machine code, each after a checksum of itself.

    Machine code that a power cut left with zeroed pages ends the process when it is loaded, and nothing can catch that:
    it is never looked at before its checksum fits.
    """

    def _dump(self, what: Any) -> bytes:
        content: bytes = super()._dump(what)  # type: ignore[no-untyped-call]
        return _SUM(content).digest() + content

    def _load_data(self, name: str) -> Any:
        return _unsealed(self._data_path(name))  # type: ignore[no-untyped-call]

    def load(self, key: Any) -> Any:
        """Return a loop without its LLVM code, whose reading would take most of the time of loading.

        Only what would copy the loop into its own code needs it; the machine code can be called without. In its place
        stands what numba looks up there: the name under which Python calls the loop.
        """
        found = super().load(key)  # type: ignore[no-untyped-call]
        if found is None:
            return None
        (name, form, (machine_code, _)), function, *more = found
        from numba.core.codegen import ll as llvm  # type: ignore[attr-defined] # where it is not, see `load_overload`

        names = llvm.parse_assembly(f'@"{function.llvm_cpython_wrapper_name}" = global i8 0')
        return ((name, form, (machine_code, names.as_bitcode())), function, *more)

    def _save_index(self, overloads: dict[Any, str]) -> None:
        with self._open_for_write(self._index_path) as file:
            file.write(self._dump((self._version, self._source_stamp, overloads)))

    def _load_index(self) -> dict[Any, str]:
        try:
            version, stamp, overloads = _unsealed(self._index_path)
        except FileNotFoundError:
            return {}
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}


def _unsealed(path: str) -> Any:
    """Return what a file holds; raises `ValueError` where that is not what its checksum says."""
    with open(path, "rb") as file:  # noqa: PTH123 - as numba does: nothing else in this package touches a file
        content = file.read()
    length = _SUM().digest_size
    if _SUM(content[length:]).digest() != content[:length]:
        raise ValueError(f"{path} is damaged")
    return pickle.loads(content[length:])  # noqa: S301 - numba's own form, written by this user's runs alone


class _Kept(FunctionCache):
    """Compiled loops on disk: losing them costs a minute, so a full disk or a damaged file must never cost a night."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file = _Summed(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )  # type: ignore[no-untyped-call]

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return a loop as it was kept; None when it is not there or damaged, which is then forgotten.

        Of what numba does before, only its memory management is needed: the rest, which imports half of scipy, serves
        whoever compiles.
        """
        found: Any = None
        try:
            from numba.core.runtime.nrt import rtsys

            rtsys.initialize(context)
            with self._guard_against_spurious_io_errors():
                found = self._load_overload(signature, context)  # type: ignore[no-untyped-call]
            if found is not None:
                _LOADED.add(found.library)
        except Exception:  # noqa: BLE001 - damaged, of another machine, or another numba: compiled anew, whatever it was
            with suppress(Exception):
                self.flush()  # type: ignore[no-untyped-call]
        return found

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a loop, where that can be done: not one that calls a loaded loop, of which it has no copy in itself."""
        with suppress(Exception):
            if not _calls_loaded(compiled.library):
                super().save_overload(signature, compiled)  # type: ignore[no-untyped-call]


def _calls_loaded(library: Any) -> bool:
    """Whether a compiled loop needs a loaded one: loaded by itself, it would end the process when it is called."""
    return any(each in _LOADED or _calls_loaded(each) for each in library._linking_libraries)  # noqa: SLF001 - as above


def kept(**options: Any) -> Callable[[F], F]:
    """Compile a loop that is called from outside, and keep it on disk where that can be done."""

    def compiled(function: F) -> F:
        loop: Any = numba.njit(**options)(function)
        if hasattr(loop, "_cache"):  # not with NUMBA_DISABLE_JIT
            with suppress(RuntimeError):  # no folder can be written
                loop._cache = _Kept(function)  # noqa: SLF001 - what `cache=True` does
        return cast("F", loop)

    return compiled
