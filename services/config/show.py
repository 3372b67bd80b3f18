"""The configuration as text: the effective YAML with every default, and the JSON schema for editors."""

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from services.config import allowed
from services.config.access import NOT_USED
from services.config.devices import Camera
from services.config.loader import document_schema
from services.config.models import IGNORED_SECTIONS, Config, LoadedConfig
from services.config.positions import Key
from services.config.spellings import COOLING_WORDS, MODELS_WORDS

_COMMENT_COLUMN = 44
_SHOWN_ELSEWHERE = ("camera", "cooling")
_SAYS_NOTHING = frozenset({"text", "text or null", "null or text"})


def show(loaded: LoadedConfig) -> str:
    """Return the effective configuration, each key with what it means and allows; it loads again as it stands."""
    header = [f"# effective configuration of {loaded.path}", f"# files go to {loaded.root}"]
    return "\n".join([*header, *_lines(Config, loaded.config)]) + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON schema of the file, with the older spellings that the loader accepts."""
    document = deepcopy(document_schema())
    properties = document["properties"]
    properties["video"] = {**properties["camera"], "description": "the older spelling of `camera`"}
    for name in IGNORED_SECTIONS:
        if name not in properties:
            properties[name] = {"description": NOT_USED}
    properties["telescope"]["anyOf"].append({"not": {"required": ["device_id"]}})
    for name in ("DarkCapture", "FlatCapture", "MasterFrames"):
        old = {"type": "string", "description": "the older spelling of `output_dir`"}
        document["$defs"][name]["properties"]["output_directory"] = old
    properties["cooling"]["anyOf"].append({"enum": list(COOLING_WORDS)})
    models = {"$ref": properties["models"].pop("$ref")}
    properties["models"]["anyOf"] = [models, {"enum": list(MODELS_WORDS)}]
    section = {"$ref": properties["reuse"].pop("$ref")}
    properties["reuse"]["anyOf"] = [section, {"type": "number", "description": "hours, for every kind"}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "title": "nightcal configuration"}


def _lines(section: type[BaseModel], model: BaseModel | None, path: tuple[Key, ...] = ()) -> Iterator[str]:
    """Yield a section's keys, each with its value: the default where there is no `model`.

    Sections that are not there follow as comments: to uncomment them is all it takes.
    """
    described: dict[type[BaseModel], str] = {}
    apart = False
    for name, field in section.model_fields.items():
        here, inner = (*path, name), _section(field)
        if field.description == NOT_USED or here == _SHOWN_ELSEWHERE:
            continue
        if not path and (apart or inner is not None):
            yield ""
        apart = inner is not None
        if inner is None:
            yield _line(f"{name}:{_value(section, model, name)}", _about(field, here, model), len(path))
            continue
        value = None if model is None or _is_idle(model, name) else getattr(model, name)
        title = _line(f"{name}:", field.description, len(path))
        if isinstance(value, tuple) or (value is None and _is_list(field)):
            block = [title, *_items(inner, value or (), here)]
        elif value is None and inner in described:
            block = [_line(f"{name}:", f"{field.description}; its keys are those of `{described[inner]}`", len(path))]
        else:
            block = [title, *_lines(inner, value, here)]
        yield from block if value else (f"# {line}" for line in block)
        described.setdefault(inner, name)


def _items(section: type[BaseModel], models: Sequence[BaseModel], path: tuple[Key, ...]) -> Iterator[str]:
    """Yield the sections of a list, each behind its dash; one of defaults where there are none."""
    for index, model in enumerate(models or (None,)):
        first, *others = _lines(section, model, (*path, index))
        dash = 2 * len(path)
        yield f"{first[:dash]}- {first[dash + 2 :]}"
        yield from others


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the section that stands under a key, None for a key with a value."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _is_idle(model: BaseModel, name: str) -> bool:
    """Whether a section belongs to another camera type and nothing was written in it."""
    value = getattr(model, name)
    other = isinstance(model, Camera) and name in ("alpaca", "ascom") and name != model.camera_type
    return other and value == type(value)()


def _value(section: type[BaseModel], model: BaseModel | None, name: str) -> str:
    """Return a value as YAML behind its colon; nothing for one that has no default."""
    if model is None and section.model_fields[name].is_required():
        return ""
    shown = section.model_construct() if model is None else model
    plain = shown.model_dump(mode="json", include={name})[name]
    return " " + yaml.safe_dump([plain], default_flow_style=True, allow_unicode=True, width=math.inf).strip()[1:-1]


def _about(field: FieldInfo, path: tuple[Key, ...], model: BaseModel | None) -> str:
    """Return what a key means, what is allowed, and the default where another value stands."""
    words = allowed.describe(document_schema(), path)
    parts = [field.description or "", "" if words in _SAYS_NOTHING else words]
    if field.is_required():
        parts.append("must be given")
    elif model is not None and getattr(model, str(path[-1])) != field.default:
        parts.append(f"default {_value(type(model), None, str(path[-1])).strip()}")
    return " — ".join(part for part in parts if part)


def _line(text: str, about: str | None, depth: int) -> str:
    written = "  " * depth + text
    return f"{written:<{_COMMENT_COLUMN}} # {about}" if about else written
