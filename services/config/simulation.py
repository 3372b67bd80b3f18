"""YAML of a simulated observatory → the simulator's parameter records, with the care for places of the main file."""

import json
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from calibration.keywords.filters import filter_name
from drivers.simulator.params import CameraParameters, FilterParameters, ObservatoryParameters, WheelParameters
from drivers.simulator.presets import from_mapping
from services.config.devices import SimulatorCamera
from services.config.models import Config, LoadedConfig
from services.config.positions import Key, Node, Problem, parse, read
from services.errors import ConfigInvalid

_PATH = re.compile(r"([\w.\[\]]+): (.+)", re.DOTALL)
_PART = re.compile(r"\[(\d+)\]|(\w+)")


def load_observatory(path: Path, base: ObservatoryParameters | None = None) -> ObservatoryParameters:
    """Load the parameters of a simulated observatory.

    Parameters
    ----------
    path : Path
        YAML with the names of `drivers.simulator.params`; `preset: NAME` starts from a preset.
    base : ObservatoryParameters, optional
        What keys that are not named keep.

    Raises
    ------
    ConfigInvalid
        With file:line:column, the key, what was found and what is allowed.
    """
    tree, problems = parse(read(path), str(path))
    if problems:
        raise ConfigInvalid("\n".join(str(problem) for problem in problems))
    if not isinstance(tree.value, dict):
        raise ConfigInvalid(str(Problem(tree.where, "", "allowed: keys of an observatory")))
    try:
        return from_mapping(json.loads(json.dumps(tree.plain())), base)
    except ValueError as error:
        raise ConfigInvalid(str(_placed(tree, str(error)))) from None


def _placed(tree: Node, message: str) -> Problem:
    """Give the dotted path that a message begins with its place in the file."""
    match = _PATH.match(message)
    if match is None:
        return Problem(tree.where, "", message)
    path: list[Key] = [int(index) if index else name for index, name in _PART.findall(match[1])]
    node, walked = tree.descend(path)
    if not walked:
        return Problem(tree.where, match[1], match[2])
    return Problem(node.key_where if match[2].startswith("unknown key") else node.where, match[1], match[2])


def wheel_filters(loaded: LoadedConfig) -> tuple[str, ...]:
    """Return the filters of the simulated wheel, called as frames of them are; raises `ConfigInvalid`."""
    wheel = parameters_of(loaded.config.camera.simulator, loaded).wheel
    return () if wheel is None else tuple(filter_name(each.name) or each.name for each in wheel.filters)


def parameters_of(section: SimulatorCamera, loaded: LoadedConfig) -> ObservatoryParameters:
    """Return the observatory of a section: its file over the defaults, what the section itself names over both.

    Raises
    ------
    ConfigInvalid
        The file cannot be used.
    """
    base = ObservatoryParameters(camera=CameraParameters(width=section.width, height=section.height), seed=section.seed)
    if section.config is None:
        return replace(base, wheel=_with_filters(base.wheel, section.filters, loaded.config))
    try:
        parameters = load_observatory(loaded.path.parent / Path(section.config).expanduser(), base)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{loaded.path}: camera.simulator.config: {error.detail}") from None
    named = section.model_fields_set
    size = {name: getattr(section, name) for name in ("width", "height") if name in named}
    seed = section.seed if "seed" in named else parameters.seed
    wheel = _with_filters(parameters.wheel, section.filters, loaded.config)
    return replace(parameters, camera=replace(parameters.camera, **size), seed=seed, wheel=wheel)


def _with_filters(wheel: WheelParameters | None, names: Collection[str], config: Config) -> WheelParameters | None:
    """Return the wheel with more filters; those that the configuration calls opaque are."""
    if wheel is None:
        return None
    opaque = () if config.filter_wheel is None else config.filter_wheel.opaque
    dark = {config.darkness.removeprefix("filter:"), *opaque}
    known = {filter_name(each.name) or each.name for each in wheel.filters}
    more = (FilterParameters(name=name, throughput=name not in dark) for name in names if name not in known)
    return replace(wheel, filters=(*wheel.filters, *more))
