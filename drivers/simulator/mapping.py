"""A plain mapping laid over a frozen dataclass: nested, typed, and every error with the path of its key."""

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

D = TypeVar("D")


def merged(base: D, mapping: Mapping[str, Any], *, path: str) -> D:
    """Return `base` with the fields that `mapping` names replaced.

    Raises `ValueError` whose text begins with the path of the key concerned.
    """
    hints = get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for key, value in mapping.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in hints:
            raise ValueError(f"{where}: unknown key{_nearest(str(key), hints)}")
        changes[key] = _converted(hints[key], value, getattr(base, key), where)
    return _checked(base, changes, path)


def _checked(base: D, changes: dict[str, Any], path: str) -> D:
    try:
        return replace(base, **changes)  # type: ignore[type-var]  # every record here is a dataclass
    except ValueError as error:
        raise ValueError(f"{path or 'observatory'}: {error}") from None


def _converted(hint: Any, value: Any, current: Any, where: str) -> Any:
    if get_origin(hint) in {Union, types.UnionType}:
        inner = [a for a in get_args(hint) if a is not types.NoneType]
        return None if value is None else _converted(inner[0], value, current, where)
    if get_origin(hint) is tuple:
        return _items(get_args(hint), value, where)
    if is_dataclass(hint):
        return _record(hint, value, current, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint, value, where)
    return _scalar(hint, value, where)


def _items(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(where, value, "a list")
    if args[-1] is not Ellipsis and len(value) != len(args):
        raise ValueError(f"{where}: {len(value)} values where {len(args)} are wanted")
    return tuple(_converted(args[0], v, None, f"{where}[{i}]") for i, v in enumerate(value))


def _record(cls: Any, value: Any, current: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(where, value, "a mapping")
    if current is not None:
        return merged(current, value, path=where)
    missing = [f.name for f in fields(cls) if f.name not in value and _obligatory(f)]
    if missing:
        raise ValueError(f"{where}: {', '.join(missing)} missing")
    first = {
        f.name: _converted(get_type_hints(cls)[f.name], value[f.name], None, f"{where}.{f.name}")
        for f in fields(cls)
        if _obligatory(f)
    }
    try:
        start = cls(**first)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return merged(start, {k: v for k, v in value.items() if k not in first}, path=where)


def _obligatory(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _member(cls: type[Enum], value: Any, where: str) -> Enum:
    try:
        return cls(value)
    except ValueError:
        allowed = ", ".join(str(m.value) for m in cls)
        raise ValueError(f"{where}: {value!r} is unknown; allowed: {allowed}") from None


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, str):  # PyYAML reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            raise _wrong(where, value, "a number") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        words = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
        raise _wrong(where, value, words.get(hint, hint.__name__))
    return value


def _wrong(where: str, value: object, wanted: str) -> ValueError:
    return ValueError(f"{where}: {value!r} is not {wanted}")


def _nearest(key: str, hints: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, hints, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(hints)}"
