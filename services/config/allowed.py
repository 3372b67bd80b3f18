"""What a key allows, in words, read from the models' own JSON schema: one source for checks, messages and editors."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.config.positions import Key

Schema = Mapping[str, Any]


def describe(schema: Schema, path: Sequence[Key]) -> str:
    """Return in words what may stand at `path`.

    Parameters
    ----------
    schema : mapping
        JSON schema of the document.
    path : sequence of str or int
        Keys and list indices from the top.

    Returns
    -------
    str
        For example "a whole number from 1 to 10000".
    """
    here = _at(schema, path)
    return str(here["x-allowed"]) if "x-allowed" in here else _words(schema, here)


def keys(schema: Schema, path: Sequence[Key]) -> tuple[str, ...]:
    """Return the keys that the section at `path` may have; empty when it is no section."""
    for choice in _choices(schema, _at(schema, path)):
        if "properties" in choice:
            return tuple(choice["properties"])
    return ()


def _at(schema: Schema, path: Sequence[Key]) -> Schema:
    here = schema
    for key in path:
        here = _child(schema, here, key)
    return here


def _child(schema: Schema, here: Schema, key: Key) -> Schema:
    for choice in _choices(schema, here):
        if isinstance(key, str) and key in choice.get("properties", {}):
            return dict(choice["properties"][key])
        if isinstance(key, int) and key < len(choice.get("prefixItems", ())):
            return dict(choice["prefixItems"][key])
        if isinstance(key, int) and "items" in choice:
            return dict(choice["items"])
    return {}


def _choices(schema: Schema, here: Schema) -> tuple[Schema, ...]:
    """Return the alternatives at one place, references followed."""
    if "$ref" in here:
        return _choices(schema, schema["$defs"][here["$ref"].rpartition("/")[2]])
    if "anyOf" in here:
        return tuple(inner for choice in here["anyOf"] for inner in _choices(schema, choice))
    return (here,)


def _words(schema: Schema, here: Schema) -> str:
    return " or ".join(dict.fromkeys(_one(schema, choice) for choice in _choices(schema, here)))


def _one(schema: Schema, here: Schema) -> str:
    if "x-allowed" in here:  # where the schema's own words (a pattern) are not a user's
        return str(here["x-allowed"])
    if "const" in here:
        return str(here["const"])
    if "enum" in here:
        return ", ".join(str(value) for value in here["enum"])
    kind = here.get("type")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(here)
    if kind == "array":
        return _list(schema, here)
    words = {"boolean": "true or false", "null": "null", "object": "a section of keys", "string": "text"}
    return words.get(str(kind), "any value")


def _list(schema: Schema, here: Schema) -> str:
    if "prefixItems" in here:
        each = dict.fromkeys(_words(schema, item) for item in here["prefixItems"])
        return f"a list of {len(here['prefixItems'])}, each {' and '.join(each)}"
    some = "not empty " if here.get("minItems") else ""
    return f"a {some}list, each {_words(schema, here['items'])}"


def _range(here: Schema) -> str:
    low, high = here.get("minimum"), here.get("maximum")
    above, below = here.get("exclusiveMinimum"), here.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low:.9g} to {high:.9g}"
    parts = [(low, "at least"), (above, "above"), (high, "at most"), (below, "below")]
    said = [f"{word} {limit:g}" for limit, word in parts if limit is not None]
    return " " + " and ".join(said) if said else ""
