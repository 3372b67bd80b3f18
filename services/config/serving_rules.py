"""Conditions between the keys of `programmes` and `serve`, and what they ask of the other sections.

As in `rules`, each rule says what does not go together, and where.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from services.config.models import Config
from services.config.moments import is_loopback, sun_below_deg
from services.config.positions import Key
from services.config.programmes import Programme
from services.config.serve import Window
from services.config.values import OWN_FOLDERS

Finding = tuple[tuple[Key, ...], str]
_OBLIQUITY_DEG = 23.45
_ORDERS = {
    "evening": "the higher altitude first, as the sun sinks in the evening",
    "morning": "the lower altitude first, as the sun rises in the morning",
    None: "two altitudes that differ",
}


def serving_findings(config: Config) -> Iterator[Finding]:
    """Yield all that does not go together in `programmes` and `serve`, as (path, text)."""
    yield from _names(("programmes",), [each.name for each in config.programmes])
    for index, programme in enumerate(config.programmes):
        for rule in (_wants_something, _exposures, _flats, _temperatures, _binning, _repeats):
            for path, text in rule(config, programme):
                yield ("programmes", index, *path), text
    yield from _contradictions(config)
    yield from _names(("serve", "windows"), [each.name for each in config.serve.windows])
    for index, window in enumerate(config.serve.windows):
        for check in (_sun, _dark, _needs, _listed_twice):
            for path, text in check(config, window):
                yield ("serve", "windows", index, *path), text
    yield from _token(config)


def folder_findings(config: Config, folder: Path) -> Iterator[Finding]:
    """Yield what is wrong with the folder of published masters, as (path, text); `folder` is that of the YAML file."""
    if config.serve.publish is None:
        return
    root = folder / Path(config.storage.root or ".").expanduser()
    taken = taken_folder(config, root, folder / Path(config.serve.publish).expanduser())
    if taken is not None:
        yield ("serve", "publish"), f"found '{config.serve.publish}' — allowed: a folder of its own, apart from {taken}"


def taken_folder(config: Config, root: Path, folder: Path) -> Path | None:
    """Return the folder of frames, masters or our own files that a folder is, or lies in; None where it is apart.

    Parameters
    ----------
    config : Config
    root : Path
        The folder that everything lies below.
    folder : Path
        Where others would find their files among ours.
    """
    root, folder = root.resolve(), folder.resolve()
    sections = (config.dark_capture, config.flat_capture, config.master_frames)
    ours = {(root / name).resolve() for name in (*OWN_FOLDERS, *(section.output_dir for section in sections))}
    if folder == root:
        return root
    return next((each for each in sorted(ours) if folder == each or each in folder.parents), None)


def _names(path: tuple[Key, ...], names: Sequence[str]) -> Iterator[Finding]:
    folded = [name.casefold() for name in names]
    for index, name in enumerate(names):
        if (first := folded.index(folded[index])) < index:
            yield (*path, index, "name"), f"found '{name}', as number {first + 1} is named — allowed: a name of its own"


def _wants_something(_config: Config, programme: Programme) -> Iterator[Finding]:
    if programme.bias is None and programme.darks is None and programme.flats is None:
        yield (), "it wants nothing — allowed: at least one of bias, darks and flats"


def _exposures(config: Config, programme: Programme) -> Iterator[Finding]:
    shortest = config.dark_capture.min_exposure
    for index, time_s in enumerate(programme.darks.exposures if programme.darks is not None else ()):
        if time_s < shortest:
            text = f"found {time_s:g} — allowed: at least dark_capture.min_exposure ({shortest:g})"
            yield ("darks", "exposures", index), text


def _flats(config: Config, programme: Programme) -> Iterator[Finding]:
    if programme.flats is None:
        return
    wheel = config.filter_wheel if config.filter_wheel is not None and config.filter_wheel.enabled else None
    simulated = config.camera.is_simulator and config.filter_wheel is None  # the simulated observatory has one
    if programme.flats.filters and wheel is None and not simulated:
        found = ", ".join(programme.flats.filters)
        text = f"found [{found}] — it needs a `filter_wheel` section that is enabled; without one leave it empty"
        yield ("flats", "filters"), text
    dark = {*(wheel.opaque if wheel is not None else ()), config.darkness.removeprefix("filter:")}
    for index, name in enumerate(programme.flats.filters):
        if name in dark:
            yield ("flats", "filters", index), f"found '{name}' — allowed: a filter that lets light through"
    if programme.flats.source == "sky" and config.site is None:
        yield ("flats", "source"), "found 'sky' — it needs a `site` section (dusk or dawn?); panel needs none"


def _temperatures(config: Config, programme: Programme) -> Iterator[Finding]:
    cooling = config.cooling
    cools = cooling is not None and cooling.mode != "off" and cooling.enable_cooling
    if programme.temperatures == "as_they_come" and cools:
        text = "found 'as_they_come' — allowed: set-points in °C while `cooling` is on; as_they_come with mode: off"
        yield ("temperatures",), text
    elif programme.temperatures and programme.temperatures != "as_they_come" and not cools:
        yield ("temperatures",), "set-points are listed, but nothing cools — add a `cooling` section that is on"


def _binning(_config: Config, programme: Programme) -> Iterator[Finding]:
    if isinstance(programme.binning, tuple) and len(set(programme.binning)) > 1:
        x, y = programme.binning
        yield ("binning",), f"found [{x}, {y}] — allowed: the same number for both"


def _repeats(_config: Config, programme: Programme) -> Iterator[Finding]:
    darks, flats = programme.darks, programme.flats
    lists: dict[tuple[Key, ...], Sequence[Any]] = {
        ("temperatures",): () if isinstance(programme.temperatures, str) else programme.temperatures,
        ("darks", "exposures"): () if darks is None else [round(1e6 * time_s) for time_s in darks.exposures],
        ("flats", "filters"): () if flats is None else flats.filters,
    }
    for path, values in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (*path, index), "it is listed twice in this programme — keep one of them"


def _contradictions(config: Config) -> Iterator[Finding]:
    """Yield programmes that want the flats of one filter and one state of the camera from two sources of light."""
    seen: dict[tuple[Any, ...], list[tuple[Programme, str]]] = defaultdict(list)
    for index, programme in enumerate(config.programmes):
        if programme.flats is None:
            continue
        source = programme.flats.source or config.flat_capture.source
        filters = programme.flats.filters or config.flat_capture.filters
        before = seen[_state(config, programme)]
        for other, other_source in before:
            assert other.flats is not None  # noqa: S101 - only those with flats are kept
            theirs = other.flats.filters or config.flat_capture.filters
            shared = sorted({*filters} & {*theirs}) if filters and theirs else list(filters or theirs or ("all",))
            if shared and source != other_source:
                text = (
                    f"flats of {', '.join(shared)} are wanted from the {source} here, and from the {other_source} in "
                    f"'{other.name}' — allowed: one source for the flats of a filter and a state of the camera"
                )
                yield ("programmes", index, "flats"), text
        before.append((programme, source))


def _state(config: Config, programme: Programme) -> tuple[Any, ...]:
    names = ("gain", "offset", "readout_mode", "binning")
    stated = ((getattr(programme, name), getattr(config.camera.active, name)) for name in names)
    return tuple(theirs if own is None else own for own, theirs in stated)


def _sun(config: Config, window: Window) -> Iterator[Finding]:
    if window.sun is None:
        if window.half is not None:
            yield ("half",), f"found {window.half} — allowed: only with `sun`"
        return
    opens, closes = window.sun
    orders = {"evening": opens > closes, "morning": opens < closes, None: opens != closes}
    if not orders[window.half]:
        yield ("sun",), f"found [{opens:g}, {closes:g}] — allowed: {_ORDERS[window.half]}"
    if config.site is None:
        yield ("sun",), "it needs to be known where the sun stands — add a `site` section"
        return
    highest = 90 - max(0.0, abs(config.site.latitude) - _OBLIQUITY_DEG)
    if min(opens, closes) >= highest or max(opens, closes) <= -highest:
        text = f"it never opens: at this latitude the sun stands between {-highest:.1f} and {highest:.1f} degrees"
        yield ("sun",), f"found [{opens:g}, {closes:g}]: {text}"


def _dark(config: Config, window: Window) -> Iterator[Finding]:
    if "flats" not in window.takes and config.darkness == "none" and not window.needs:
        text = (
            f"found [{', '.join(window.takes)}] with `darkness: none` — allowed: that, where `darkness` says what "
            "keeps the light out, or with `needs` that make it dark, such as [roof_closed] or ['sun_below:-12']"
        )
        yield ("takes",), text


def _needs(config: Config, window: Window) -> Iterator[Finding]:
    sections = {"roof_closed": "dome", "roof_open": "dome", "parked": "telescope", "not_tracking": "telescope"}
    for index, need in enumerate(window.needs):
        name = sections.get(need)
        device = getattr(config, name) if name is not None else None
        is_there = device.enabled if device is not None else config.camera.is_simulator
        if name is not None and not is_there:
            yield ("needs", index), f"found {need} — it needs a `{name}` section that is enabled"
        if name is None and sun_below_deg(need) is not None and config.site is None:
            yield ("needs", index), f"found {need} — it needs a `site` section"
    if {"roof_closed", "roof_open"} <= {*window.needs}:
        yield ("needs",), "a roof is never both open and closed — keep one of roof_closed and roof_open"


def _listed_twice(_config: Config, window: Window) -> Iterator[Finding]:
    lists: dict[str, Sequence[str]] = {"takes": window.takes, "needs": window.needs}
    for name, values in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (name, index), f"'{value}' is listed twice — keep one of them"


def _token(config: Config) -> Iterator[Finding]:
    serve = config.serve
    if serve.token_env is not None and serve.token_file is not None:
        yield ("serve", "token_file"), "stands beside `token_env` — keep one of them"
    if not is_loopback(serve.listen) and serve.token_env is None and serve.token_file is None:
        text = "beyond this computer a token is asked for: add token_env or token_file — allowed without: 127.0.0.1"
        yield ("serve", "listen"), f"found '{serve.listen}': {text}"
