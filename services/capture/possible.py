"""What the configuration asks for and the connected devices cannot have, before anything is cooled or exposed.

All of it is found at once, so that an observer corrects the file once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from drivers.base import CameraInfo, PanelInfo, SettingMode
from services.capture.state import mode_number
from services.config.models import Config
from services.observatory import Observatory
from services.planning.programmes import view


def impossible(
    observatory: Observatory,
    info: CameraInfo,
    panel: PanelInfo | None,
    refused_c: Callable[[Sequence[float]], Iterator[str]],
) -> tuple[str, ...]:
    """Return, in words, the settings that the devices cannot have.

    Parameters
    ----------
    observatory : Observatory
        Its wheel is connected.
    info : CameraInfo
    panel : PanelInfo or None
    refused_c : callable
        Says in words which of the set-points, °C, the camera refuses.
    """
    config = observatory.config
    if not config.programmes:
        return tuple(_of(observatory, config, info, panel, refused_c))
    wanting: defaultdict[str, list[str]] = defaultdict(list)
    for programme in config.programmes:
        for words in _of(observatory, view(config, programme), info, panel, refused_c):
            wanting[words].append(programme.name)
    return tuple(f"{words} (wanted by {', '.join(names)})" for words, names in wanting.items())


def _of(
    observatory: Observatory,
    config: Config,
    info: CameraInfo,
    panel: PanelInfo | None,
    refused_c: Callable[[Sequence[float]], Iterator[str]],
) -> Iterator[str]:
    """Yield what the devices cannot have of a configuration, as one programme sees it."""
    wheel = observatory.wheel
    yield from _of_the_camera(config, info)
    yield from (f"{where}: {words}" for where, wanted_c in _set_points(config) for words in refused_c(wanted_c))
    yield from (() if wheel is None else _of_the_wheel(config, wheel.names))
    yield from _of_the_panel(config, panel)


def _set_points(config: Config) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Yield where set-points are written, and those, °C; flats are taken at some of them."""
    cooling = config.cooling
    if config.temperatures:
        yield "temperatures", config.temperatures
    elif cooling is not None and cooling.target_temperature is not None:
        yield "cooling: target_temperature", (cooling.target_temperature,)


def _of_the_camera(config: Config, info: CameraInfo) -> Iterator[str]:
    section = config.camera.active
    try:
        if section.readout_mode is not None:
            mode_number(info, section.readout_mode)
    except LookupError as error:
        yield f"camera: readout_mode: {error}"
    x, y = section.bin_xy
    if x > info.max_bin_x or y > info.max_bin_y:
        yield f"camera: binning: the camera bins up to {info.max_bin_x} x {info.max_bin_y}, not {x} x {y}"
    for gain in config.gains or (section.gain,):
        yield from _number("gain", gain, info.gain_mode, (info.gain_min, info.gain_max), info.gains)
    limits = info.offset_min, info.offset_max
    yield from _number("offset", section.offset, info.offset_mode, limits, info.offsets)


def _number(
    name: str, wanted: object, mode: SettingMode, limits: tuple[int | None, int | None], listed: Sequence[str]
) -> Iterator[str]:
    if isinstance(wanted, str):
        known = ", ".join(f"{each} is {place}" for place, each in enumerate(listed)) or "it takes numbers"
        yield f"camera: {name}: the camera lists no {name} {wanted!r} ({known})"
    if not isinstance(wanted, int):
        return
    if mode is SettingMode.NONE:
        yield f"camera: {name}: the camera has no {name} to set to {wanted}"
    elif mode is SettingMode.INDEX and wanted >= len(listed):
        known = ", ".join(f"{place} is {each}" for place, each in enumerate(listed))
        yield f"camera: {name}: {wanted} is no place in the camera's list ({known})"
    elif mode is SettingMode.VALUE:
        low, high = limits
        if (low is not None and wanted < low) or (high is not None and wanted > high):
            yield f"camera: {name}: {wanted} is not within the camera's {low} to {high}"


def _of_the_wheel(config: Config, names: Sequence[str]) -> Iterator[str]:
    wheel = config.filter_wheel
    dark = config.darkness.removeprefix("filter:") if config.darkness.startswith("filter:") else None
    asked = {
        "flat_capture: filters": config.flat_capture.filters,
        "filter_wheel: opaque": () if wheel is None else wheel.opaque,
        "darkness": () if dark is None else (dark,),
    }
    for where, filters in asked.items():
        if unknown := sorted(set(filters) - set(names)):
            yield f"{where}: the wheel has no {', '.join(unknown)} (it has {', '.join(names)})"


def _of_the_panel(config: Config, panel: PanelInfo | None) -> Iterator[str]:
    wanted = None if config.flat_panel is None else config.flat_panel.brightness
    if panel is not None and panel.has_calibrator and wanted is not None and wanted > panel.max_brightness:
        yield f"flat_panel: brightness: {wanted} is beyond the panel's {panel.max_brightness}"


def namesakes(names: Sequence[str], labels: Sequence[str]) -> Iterator[str]:
    """Yield, in words, the positions of a wheel that share a name, and what they are called instead."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        places[label.strip()].append(place)
    for label, found in places.items():
        if label and len(found) > 1:
            numbers = ", ".join(map(str, found))
            called = ", ".join(names[place] for place in found)
            yield (
                f"the filter wheel has the same name, {label}, at positions {numbers} (counted from 0): they are "
                f"taken for different filters and called {called}"
            )
