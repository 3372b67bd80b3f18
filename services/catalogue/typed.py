"""Records read from files that anybody may have written, held against the types they declare."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_INT64 = 1 << 63

_PLAIN = {str, float, bool, datetime, NoneType}

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
    names, values_of, checks = _fields(kind)
    for name, value, (plain, fits) in zip(names, values_of(record), checks, strict=True):
        if type(value) not in plain and not fits(value):
            raise TypeError(f"{name} is {type(value).__name__}")


@cache
def _fields(
    kind: type,
) -> tuple[tuple[str, ...], Callable[[object], tuple[Any, ...]], tuple[tuple[frozenset[type], Fits], ...]]:
    """Return the names of a dataclass's fields, what reads them, and the check of each; thousands of rows are checked.

    Values of the plain types need no check.
    """
    hints = get_type_hints(kind)
    checks = tuple((_plain(hint), _check(hint)) for hint in hints.values())
    return tuple(hints), attrgetter(*hints), checks


def _plain(hint: Any) -> frozenset[type]:
    return frozenset(_PLAIN.intersection(get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)))


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
