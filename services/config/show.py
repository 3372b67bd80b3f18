"""The configuration as text: the effective YAML with every default, and the JSON schema for editors."""

import math
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from services.config.loader import document_schema
from services.config.models import IGNORED_SECTIONS, NOT_USED, Camera, LoadedConfig
from services.config.spellings import COOLING_WORDS

_COMMENT_COLUMN = 44


def show(loaded: LoadedConfig) -> str:
    """Return the effective configuration, each key with its description; it loads again as it stands."""
    header = [f"# effective configuration of {loaded.path}", f"# files go to {loaded.root}"]
    return "\n".join([*header, *_lines(loaded.config, 0)]) + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON schema of the file, with the older spellings that the loader accepts."""
    document = deepcopy(document_schema())
    properties = document["properties"]
    properties["video"] = {**properties["camera"], "description": "the older spelling of `camera`"}
    for name in IGNORED_SECTIONS:
        properties[name] = {"description": "accepted from the guide's program, not used here"}
    for name in ("DarkCapture", "FlatCapture", "MasterFrames"):
        old = {"type": "string", "description": "the older spelling of `output_dir`"}
        document["$defs"][name]["properties"]["output_directory"] = old
    properties["cooling"]["anyOf"].append({"enum": list(COOLING_WORDS)})
    section = {"$ref": properties["reuse"].pop("$ref")}
    properties["reuse"]["anyOf"] = [section, {"type": "number", "description": "hours, for every kind"}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "title": "nightcal configuration"}


def _lines(model: BaseModel, depth: int) -> Iterator[str]:
    for name, field in _shown_fields(model):
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            if depth == 0:
                yield ""
            yield _line(f"{name}:", field, depth)
            yield from _lines(value, depth + 1)
        else:
            plain = model.model_dump(mode="json", include={name})[name]
            flow = yaml.safe_dump([plain], default_flow_style=True, allow_unicode=True, width=math.inf)
            yield _line(f"{name}: {flow.strip()[1:-1]}", field, depth)


def _shown_fields(model: BaseModel) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the fields that have an effect: not the accepted ones, nor the sections of another camera type."""
    for name, field in type(model).model_fields.items():
        idle = isinstance(model, Camera) and name in ("alpaca", "ascom", "cooling") and name != model.camera_type
        if field.description != NOT_USED and not idle:
            yield name, field


def _line(text: str, field: FieldInfo, depth: int) -> str:
    written = "  " * depth + text
    return f"{written:<{_COMMENT_COLUMN}} # {field.description}" if field.description else written
