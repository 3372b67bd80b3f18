"""Records read from files that anybody may have written, held against the types they declare."""

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_INT64 = 1 << 63


def check_types(record: object) -> None:
    """Compare a dataclass's values with its annotations.

    Parameters
    ----------
    record : dataclass
        Of plain types, unions, tuples, mappings (whose contents are not looked into) and enumerations.

    Raises
    ------
    TypeError
        Names the first field whose value is something else, or a whole number of more than 64 bits.
    """
    kind: type = type(record)
    for name, hint in _hints(kind).items():
        value = getattr(record, name)
        if not fits(value, hint):
            raise TypeError(f"{name} is {type(value).__name__}")


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of a type as annotations write it; a float may be a whole number, a bool is none."""
    origin, parts = _shape(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and _fits_each(value, parts)
    if hint is int or (hint is float and isinstance(value, int)):
        return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
    return isinstance(value, Mapping if origin is not None and issubclass(origin, Mapping) else hint)


def _fits_each(values: tuple[object, ...], parts: tuple[Any, ...]) -> bool:
    kinds = parts[:1] * len(values) if parts[1:] == (Ellipsis,) else parts
    return len(kinds) == len(values) and all(fits(value, kind) for value, kind in zip(values, kinds, strict=True))


@cache
def _shape(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint), get_args(hint)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
