"""Records read from files that anybody may have written, held against the types they declare."""

from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_INT64 = 1 << 63

Fits = Callable[[object], bool]


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
    for name, fits in _fields(kind):
        value = getattr(record, name)
        if not fits(value):
            raise TypeError(f"{name} is {type(value).__name__}")


@cache
def _fields(kind: type) -> tuple[tuple[str, Fits], ...]:
    """Return each field of a dataclass with the check of its values; made once, for thousands of rows are checked."""
    return tuple((name, _check(hint)) for name, hint in get_type_hints(kind).items())


def _check(hint: Any) -> Fits:
    """Return whether a value is of a type as annotations write it; a float may be a whole number, a bool is neither."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda _value: True
    if origin in (Union, UnionType):
        return _check_union(parts)
    if origin is tuple:
        return _check_tuple(parts)
    if hint is int:
        return _is_whole
    if hint is float:
        return lambda value: isinstance(value, float) or _is_whole(value)
    kind = Mapping if origin is not None and issubclass(origin, Mapping) else hint
    return lambda value: isinstance(value, kind)


def _check_union(parts: tuple[Any, ...]) -> Fits:
    fits, *others = checks = [_check(part) for part in parts if part is not NoneType]
    optional = NoneType in parts
    if optional and not others:  # nearly all
        return lambda value: value is None or fits(value)
    return lambda value: (optional and value is None) or any(check(value) for check in checks)


def _check_tuple(parts: tuple[Any, ...]) -> Fits:
    if parts[1:] == (Ellipsis,):
        each = _check(parts[0])
        return lambda value: isinstance(value, tuple) and all(map(each, value))
    checks = tuple(map(_check, parts))

    def fits(value: object) -> bool:
        alike = isinstance(value, tuple) and len(value) == len(checks)
        return alike and all(check(part) for check, part in zip(checks, value, strict=True))  # type: ignore[call-overload]

    return fits


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
