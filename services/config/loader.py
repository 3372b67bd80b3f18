"""YAML file → frozen models, with every error collected and each naming file:line:column, key, found and allowed.

Also the other ways a configuration comes about: options of the command line laid over a file, a mapping handed in by a
program, and the rehearsal of a configuration on the simulated observatory.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.config import allowed, hints
from services.config.access import NOT_USED, SECRETS, Access
from services.config.models import IGNORED_SECTIONS, Config, LoadedConfig
from services.config.positions import Key, Node, Problem, from_mapping, parse, read, with_value
from services.config.rules import findings
from services.config.serve import Serve
from services.config.serving_rules import Finding, folder_findings
from services.config.spellings import Translation
from services.config.values import PlainFloat, PlainInt
from services.errors import ConfigInvalid

DEFAULT_NAME = "config_calibration_frames.yaml"
"""The file that is meant when none is named: the one in the working folder."""
_LONGEST_SHOWN = 60
_LONGEST_LINE, _MOST_LINES = 1000, 50
_NOTHING = object()


def load(path: Path, *, overrides: Mapping[str, tuple[str, Any]] | None = None) -> LoadedConfig:
    """Load a configuration file.

    Parameters
    ----------
    path : Path
    overrides : mapping, optional
        Dotted key → (where the value comes from, value), laid over the file and checked like it:
        `{"dark_capture.num_darks": ("--num-darks", 20)}`.

    Raises
    ------
    ConfigInvalid
        Its detail has one line per error: `file:line:column: key: what — allowed`.
    """
    return loads(read(path), path, overrides=overrides)


def loads(text: str, path: Path, *, overrides: Mapping[str, tuple[str, Any]] | None = None) -> LoadedConfig:
    """Load a configuration from text; `path` names it in messages and is where relative paths start."""
    tree, problems = parse(text, str(path))
    return _build(tree, path, problems, overrides or {})


def from_dict(data: Mapping[str, Any], path: Path) -> LoadedConfig:
    """Load a configuration from a mapping with the YAML's sections and keys; relative paths start beside `path`."""
    return _build(from_mapping(data, "config"), path, (), {})


def as_loaded(config: "LoadedConfig | Mapping[str, Any] | Path | str | None") -> LoadedConfig:
    """Return the configuration that a program hands over: loaded, a mapping, a file, or None for the default file."""
    if isinstance(config, LoadedConfig):
        return config
    if isinstance(config, Mapping):
        return from_dict(config, Path(DEFAULT_NAME))
    return load(default_file() if config is None else Path(config))


def default_file() -> Path:
    """Return the configuration file of the working folder.

    Raises
    ------
    ConfigInvalid
        There is none. No other file is taken instead: frames would be stored in its folder.
    """
    path = Path(DEFAULT_NAME)
    if path.exists():
        return path
    advice = (
        f"go to the folder in which your frames are stored, or name its file with --config; for a new folder, copy "
        f"{shipped_file()} there and set your camera in it; --simulator rehearses without a file and without a camera"
    )
    raise ConfigInvalid(f"{path.absolute()}: there is no such file", advice=advice)


def shipped_file() -> Path:
    """Return the configuration file that comes with the program: in a clone at its top, else beside this module."""
    in_clone = Path(__file__).resolve().parents[2] / DEFAULT_NAME
    return in_clone if in_clone.exists() else Path(__file__).with_name(DEFAULT_NAME)


@cache
def document_schema() -> dict[str, Any]:
    """Return the models' JSON schema, as messages need it."""
    return Config.model_json_schema()


def _build(
    tree: Node, path: Path, problems: Iterable[Problem], overrides: Mapping[str, tuple[str, Any]]
) -> LoadedConfig:
    if tree.blank:
        text = "the file is empty — allowed: sections of keys, or {} for all defaults"
        raise ConfigInvalid(str(Problem(tree.where, "", text)))
    if not isinstance(tree.value, dict):
        raise ConfigInvalid(str(Problem(tree.where, "", f"found {_shown(tree)} — allowed: sections of keys")))
    translated = Translation(tree)
    tree = _overlaid(translated.tree, overrides)
    found = [*problems, *translated.problems]
    config, wrong = _validated(tree, path.absolute())
    found.extend(wrong)
    if found:
        raise ConfigInvalid("\n".join(_lines(sorted(set(found)))))
    config = _with_folder(_effective(config), path.absolute().parent)
    notes = (*translated.notes, *_notes(config, tree))
    return LoadedConfig(config=config, path=path, notes=notes, capture_notes=tuple(_capture_notes(config)))


def _effective(config: Config) -> Config:
    """Return the configuration with the defaults that follow other keys: a set has no more frames than it has."""
    flat = config.flat_capture
    if flat.min_flats <= flat.num_flats:
        return config
    return config.model_copy(update={"flat_capture": flat.model_copy(update={"min_flats": flat.num_flats})})


def _with_folder(config: Config, folder: Path) -> Config:
    """Return the configuration with the paths of secrets and published masters found from the YAML file's folder."""

    def placed(section: BaseModel) -> BaseModel:
        changed = {name: placed(value) for name, value in section if isinstance(value, BaseModel)}
        names = ("password_file",) if isinstance(section, Access) else ("token_file", "publish")
        for name in names if isinstance(section, Access | Serve) else ():
            if (written := getattr(section, name)) is not None:
                changed[name] = str(folder / Path(written).expanduser())  # type: ignore[assignment]
        return section.model_copy(update=changed) if changed else section

    return placed(config)  # type: ignore[return-value]


def _lines(problems: Sequence[Problem]) -> Iterator[str]:
    """Yield one line for each of the first problems, shortened: a file may contain anything."""
    yield from (str(problem)[:_LONGEST_LINE] for problem in problems[:_MOST_LINES])
    if len(problems) > _MOST_LINES:
        yield f"… and {len(problems) - _MOST_LINES} more"


def _overlaid(tree: Node, overrides: Mapping[str, tuple[str, Any]]) -> Node:
    for dotted, (source, value) in overrides.items():
        node = from_mapping({dotted: value}, source).children()[dotted]
        tree = with_value(tree, dotted.split("."), node)
    return tree


def _validated(tree: Node, file: Path) -> tuple[Config, list[Problem]]:
    """Return the configuration and all that is wrong with it; wrong keys then stand on their defaults."""
    data = tree.plain()
    problems: list[Problem] = []
    broken: set[tuple[Key, ...]] = set()
    while True:
        try:
            config = Config.model_validate(data)
            break
        except ValidationError as error:
            details = error.errors(include_url=False)
            problems = problems or _problems(tree, details[: 2 * _MOST_LINES])
            for detail in details:
                path = _droppable(tree.descend(detail["loc"])[1])
                broken.add(path)
                while not _drop(data, path):  # gone already, and its section needs it: the section goes
                    path = path[:-1]
    for where, text in (*findings(config), *folder_findings(config, file.parent), *_unknown_filters(config, file)):
        if not any(where[: len(bad)] == bad for bad in broken):
            node, walked = tree.descend(where)
            problems.append(_placed(node, where[len(walked) :], text))
    return config, problems


def _unknown_filters(config: Config, file: Path) -> Iterator[Finding]:
    """Yield filters of programmes that the simulated wheel does not have; a real one is asked when a run begins."""
    wanted = [
        (("programmes", i, "flats", "filters", k), name)
        for i, programme in enumerate(config.programmes if config.camera.is_simulator else ())
        for k, name in enumerate(programme.flats.filters if programme.flats is not None else ())
    ]
    if not wanted:
        return
    from services.config.simulation import wheel_filters

    try:
        known = wheel_filters(LoadedConfig(config=config, path=file))
    except ConfigInvalid:  # said when the observatory is made
        return
    for path, name in wanted:
        if name not in known:
            may = f"{', '.join(known)}, and what camera.simulator.filters adds" if known else "none: there is no wheel"
            yield path, f"found '{name}' — allowed: {may}"


def _problems(tree: Node, details: Iterable[ErrorDetails]) -> list[Problem]:
    """Turn pydantic's errors into ours; of the branches of a union only the deepest says something."""
    reached = [(tree.descend(detail["loc"])[1], detail) for detail in details]
    paths = {path for path, _ in reached}
    return [
        _problem(tree, path, detail)
        for path, detail in reached
        if detail["type"] in ("missing", "value_error")
        or not any(len(other) > len(path) and other[: len(path)] == path for other in paths)
    ]


def _problem(tree: Node, path: tuple[Key, ...], detail: ErrorDetails) -> Problem:
    node, _ = tree.descend(path)
    if detail["type"] == "extra_forbidden":
        return Problem(node.key_where, node.spelled, hints.of_secret(path) or f"unknown key — {_nearest(path)}")
    if detail["type"] == "missing" and isinstance(detail["loc"][-1], str):
        name = str(detail["loc"][-1])
        return _placed(node, (name,), f"missing — allowed: {allowed.describe(document_schema(), (*path, name))}")
    if detail["type"] == "value_error":
        return Problem(node.key_where, node.spelled, str(detail["ctx"]["error"]))
    may = detail.get("ctx", {}).get("allowed") or allowed.describe(document_schema(), path)
    hint = hints.of_value(path, node.value, may)
    return Problem(node.where, node.spelled, f"found {_shown(node)} — allowed: {may}{hint}")


def _placed(node: Node, rest: tuple[Key, ...], text: str) -> Problem:
    """Place a problem at a node, or at the key of the section in which `rest` is not written."""
    if not isinstance(node.value, dict):
        return Problem(node.where, node.spelled, text)
    names = [str(part) for part in rest if isinstance(part, str)]
    return Problem(node.key_where, ".".join(part for part in (node.spelled, *names) if part), text)


def _nearest(path: tuple[Key, ...]) -> str:
    """Return the best advice for an unknown key: the nearest one here, or the section where it belongs."""
    *section, key = path
    schema = document_schema()
    known = allowed.keys(schema, section) + (() if section else ("video", *IGNORED_SECTIONS))
    below = [name for name in known if key in allowed.keys(schema, (*section, name))]
    if below:
        return f"belongs to {' or '.join(f'`{name}`' for name in below)}: indent it further"
    close = difflib.get_close_matches(str(key).lower(), known, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    homes = [name for name in allowed.keys(schema, ()) if key in allowed.keys(schema, (name,))]
    if homes and section:
        return "belongs to " + ", ".join(f"`{name}`" for name in homes)
    return "allowed: " + ", ".join(known)


def _shown(node: Node) -> str:
    """Return a value as it is written, shortened."""
    value = node.value
    if node.blank:
        return "nothing"
    called = node.spelled.startswith(("serve.webhooks", "serve.heartbeat")) and "://" in str(value)
    if called or node.spelled.rpartition(".")[2] in SECRETS:
        return "something else"
    if isinstance(value, PlainInt | PlainFloat):
        return value.text
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…")
    text = json.dumps(node.plain(), ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _droppable(path: tuple[Key, ...]) -> tuple[Key, ...]:
    """Return the path up to its first list, which is dropped as a whole."""
    return tuple(takewhile(lambda part: isinstance(part, str), path))


def _drop(data: dict[str, Any], path: tuple[Key, ...]) -> bool:
    """Remove what stands at a path, everything for the empty path; return whether something stood there."""
    if not path:
        data.clear()
        return True
    for part in path[:-1]:
        data = data.get(str(part), {})
    return data.pop(str(path[-1]), _NOTHING) is not _NOTHING


def _notes(config: Config, tree: Node) -> Iterator[str]:
    yield from _not_used(config, tree)
    camera, _ = tree.descend(("camera",))
    for name in ("alpaca", "ascom"):
        if name in camera.children() and name != config.camera.camera_type and not config.camera.is_simulator:
            yield f"{camera.children()[name].spelled}: not used while camera_type is {config.camera.camera_type}"
    yield from _of_models(config)


def _of_models(config: Config) -> Iterator[str]:
    """Yield what keeps models from being fitted or used, where the file asks for them."""
    models, how, after_sets = config.models, config.master_frames.flat_dark, config.serve.after_sets
    key = f"master_frames.flat_dark: {how}"
    if how == "model":
        old = "flats without a dark get one only by a model that was fitted before"
        if models.fit == "off":
            yield f"{key}: models are off, so that {old} — write `models: auto`"
        elif "dark" not in models.kinds:
            yield f"{key}: no model of the dark is fitted, so that {old} — add dark to `models.kinds`"
        elif "models" not in after_sets:
            yield f"{key}: `nightcal serve` fits no models, so that {old} — add models to `serve.after_sets`"
        if not config.master_frames.create_master_bias:
            yield f"{key}: a model predicts what a master bias lacks — let create_master_bias be true"
    else:
        for name in ("max_error", "max_beyond"):
            if name in models.model_fields_set:
                yield f"models.{name}: not used while {key}"
    if models.fit == "off" and "after_sets" in config.serve.model_fields_set and "models" in after_sets:
        yield "serve.after_sets: models: not used while models are off"


def _capture_notes(config: Config) -> Iterator[str]:
    """Yield what whoever takes frames should know."""
    yield from _not_checked(config)
    panel = config.flat_panel is not None and config.flat_panel.enabled
    if config.darkness == "cover" and not panel and not config.camera.is_simulator:
        yield (
            "darkness: cover: there is no `flat_panel` section with a cover to close, so that darks are taken as it is "
            "then — close one yourself, or say what makes it dark"
        )


def _not_checked(config: Config) -> Iterator[str]:
    """Yield what of programmes nobody can check without the devices, and what they make idle."""
    if not config.programmes:
        return
    if config.gains:
        yield "gains: not used: `programmes` say which gains are wanted"
    filters = {name: None for each in config.programmes if each.flats is not None for name in each.flats.filters}
    if filters and not config.camera.is_simulator:
        yield f"programmes: whether the wheel has {', '.join(filters)} is not checked here, but when a run begins"


def _not_used(model: BaseModel, node: Node) -> Iterator[str]:
    """Name the keys that are written and not used."""
    for name, field in type(model).model_fields.items():
        child = node.children().get(name)
        value = getattr(model, name)
        if child is not None and field.description == NOT_USED:
            yield f"{child.spelled}: accepted, not used"
        elif child is not None and isinstance(value, BaseModel):
            yield from _not_used(value, child)
