"""Conditions between keys: each rule looks at one configuration and says what does not go together, and where.

A rule is a function `Config → (path, text) …`; the loader gives the path its line and column. Every rule sees a whole,
valid configuration: keys that are wrong by themselves stand on their defaults there, and what a rule says of them is
dropped.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import PureWindowsPath

from services.config.devices import AlpacaCamera, Device
from services.config.models import Config
from services.config.positions import Key
from services.config.serving_rules import Finding, serving_findings


def findings(config: Config) -> Iterator[Finding]:
    """Yield all that does not go together, as (path, text)."""
    for rule in (
        _dark_times,
        _flat_times,
        _flat_level,
        _counts,
        _folders,
        _cooling,
        _temperatures,
        _filters,
        _sky,
        _binning,
        _hosts,
        _access,
        _safety,
    ):
        yield from rule(config)
    yield from _repeats(config)
    yield from serving_findings(config)


def _dark_times(config: Config) -> Iterator[Finding]:
    dark = config.dark_capture
    if dark.min_exposure >= dark.max_exposure:
        yield (
            ("dark_capture", "min_exposure"),
            f"found {dark.min_exposure:g} — allowed: below max_exposure ({dark.max_exposure:g})",
        )
        return
    span = f"{dark.min_exposure:g} to {dark.max_exposure:g}"
    for index, time_s in enumerate(dark.science_exposure_time):
        if not dark.min_exposure <= time_s <= dark.max_exposure:
            text = f"found {time_s:g} — allowed: min_exposure to max_exposure ({span}); raise max_exposure for more"
            if time_s < dark.min_exposure:
                text = f"found {time_s:g} — allowed: min_exposure to max_exposure ({span})"
            yield ("dark_capture", "science_exposure_time", index), text


def _flat_times(config: Config) -> Iterator[Finding]:
    flat = config.flat_capture
    if flat.min_exposure >= flat.max_exposure:
        text = f"found {flat.min_exposure:g} — allowed: below max_exposure ({flat.max_exposure:g})"
        yield ("flat_capture", "min_exposure"), text
        return
    span = f"{flat.min_exposure:g} to {flat.max_exposure:g}"
    if flat.start_exposure is not None and not flat.min_exposure <= flat.start_exposure <= flat.max_exposure:
        text = f"found {flat.start_exposure:g} — allowed: min_exposure to max_exposure ({span})"
        yield ("flat_capture", "start_exposure"), text
    low, high = flat.window
    if low >= high:
        yield ("flat_capture", "window"), f"found [{low:g}, {high:g}] — allowed: the smaller number first"
    elif "window" in flat.model_fields_set and (high < flat.min_exposure or low > flat.max_exposure):
        text = f"found [{low:g}, {high:g}] — allowed: what overlaps min_exposure to max_exposure ({span})"
        yield ("flat_capture", "window"), text


def _flat_level(config: Config) -> Iterator[Finding]:
    flat = config.flat_capture
    top = flat.target_count_rate * (1 + flat.count_tolerance)
    if top >= 1:
        text = f"found {flat.count_tolerance:g} — allowed: less, {flat.target_count_rate:g} + it would saturate"
        yield ("flat_capture", "count_tolerance"), text


def _counts(config: Config) -> Iterator[Finding]:
    flat = config.flat_capture
    if "min_flats" in flat.model_fields_set and flat.min_flats > flat.num_flats:
        yield ("flat_capture", "min_flats"), f"found {flat.min_flats} — allowed: at most num_flats ({flat.num_flats})"


def _folders(config: Config) -> Iterator[Finding]:
    sections = {name: getattr(config, name).output_dir for name in ("dark_capture", "flat_capture", "master_frames")}
    parts = {name: [part.lower() for part in PureWindowsPath(text).parts] for name, text in sections.items()}
    for first, second in combinations(sections, 2):
        shorter = min(len(parts[first]), len(parts[second]))
        if parts[first][:shorter] == parts[second][:shorter]:
            text = f"found '{sections[second]}' — allowed: a folder apart from {first}.output_dir ('{sections[first]}')"
            yield (second, "output_dir"), text


def _cooling(config: Config) -> Iterator[Finding]:
    cooling = config.cooling
    if cooling is None:
        return
    off = cooling.mode == "off" or not cooling.enable_cooling
    if cooling.mode == "required" and not cooling.enable_cooling:
        yield ("cooling", "enable_cooling"), "found false — allowed: true where mode is required"
    elif not off and cooling.target_temperature is None and not config.temperatures:
        yield ("cooling", "target_temperature"), "missing — allowed: °C, or a list in `temperatures`"
    coldest = min((*config.temperatures, *_present(cooling.target_temperature)), default=None)
    if cooling.warmup_at_end and coldest is not None and cooling.warmup_final_temp <= coldest:
        text = f"found {cooling.warmup_final_temp:g} — allowed: above the set-point ({coldest:g})"
        yield ("cooling", "warmup_final_temp"), text


def _temperatures(config: Config) -> Iterator[Finding]:
    cooling = config.cooling
    off = cooling is None or cooling.mode == "off" or not cooling.enable_cooling
    if config.temperatures and off:
        yield ("temperatures",), "set-points are listed, but nothing cools — add a `cooling` section that is on"
        return
    target = cooling.target_temperature if cooling is not None else None
    if config.temperatures and target is not None and target not in config.temperatures:
        text = f"found {target:g} — allowed: one of `temperatures` ({_joined(config.temperatures)}), or null"
        yield ("cooling", "target_temperature"), text
    known = config.temperatures or _present(target)
    for index, celsius in enumerate(config.flat_capture.temperatures):
        if celsius not in known:
            text = f"found {celsius:g} — allowed: set-points that darks are taken at ({_joined(known) or 'none'})"
            yield ("flat_capture", "temperatures", index), text


def _filters(config: Config) -> Iterator[Finding]:
    wheel = config.filter_wheel if config.filter_wheel is not None and config.filter_wheel.enabled else None
    opaque = set(wheel.opaque) if wheel is not None else set()
    dark_filter = config.darkness.removeprefix("filter:") if config.darkness.startswith("filter:") else None
    if dark_filter is not None and wheel is None:
        yield ("darkness",), f"found '{config.darkness}' — it needs a `filter_wheel` section"
    simulated = config.camera.is_simulator and config.filter_wheel is None  # the simulated observatory has one
    if config.flat_capture.filters and wheel is None and not simulated:
        section = "a `filter_wheel` section" if config.filter_wheel is None else "`filter_wheel: enabled: true`"
        found = ", ".join(config.flat_capture.filters)
        text = f"found [{found}] — it needs {section} to select them with; without a wheel, nothing"
        yield ("flat_capture", "filters"), text
    for index, name in enumerate(config.flat_capture.filters):
        if name in opaque or name == dark_filter:
            yield ("flat_capture", "filters", index), f"found '{name}' — allowed: a filter that lets light through"


def _sky(config: Config) -> Iterator[Finding]:
    if config.flat_capture.source == "sky" and config.site is None:
        yield ("flat_capture", "source"), "found 'sky' — it needs a `site` section (dusk or dawn?); panel needs none"


def _binning(config: Config) -> Iterator[Finding]:
    x, y = config.camera.active.bin_xy
    if x != y:
        path = ("camera", config.camera.camera_type, "binning")
        yield path, f"found [{x}, {y}] — allowed: the same number for both"


def servers(config: Config) -> dict[tuple[str, ...], AlpacaCamera | Device]:
    """Return the sections that name a server, by their path."""
    found: dict[tuple[str, ...], AlpacaCamera | Device | None] = {
        ("camera", "alpaca"): config.camera.alpaca,
        ("camera", "ascom"): config.camera.ascom,
        ("filter_wheel",): config.filter_wheel,
        ("flat_panel",): config.flat_panel,
        ("safety_monitor",): config.safety_monitor,
        ("dome",): config.dome,
        ("telescope",): config.telescope,
    }
    return {path: section for path, section in found.items() if section is not None}


def _hosts(config: Config) -> Iterator[Finding]:
    for path, section in servers(config).items():
        if section.host is not None and "@" in section.host:  # what stands before it may be a password
            yield (*path, "host"), "found an @ — allowed: a name or an address alone; see user_env for who asks"
        elif section.host is not None and any(sign in section.host for sign in "/ \t"):
            text = f"found '{section.host}' — allowed: a name or an address alone; the port is a key of its own"
            yield (*path, "host"), text


def _access(config: Config) -> Iterator[Finding]:
    for path, section in servers(config).items():
        if section.password_env is not None and section.password_file is not None:
            yield (*path, "password_file"), "stands beside `password_env` — keep one of them"
        elif section.user_env is None and not section.asks_nothing:
            yield (*path, "user_env"), "missing — allowed: the name of an environment variable that holds the user name"
        elif section.user_env is not None and section.password_env is None and section.password_file is None:
            yield (*path, "user_env"), "stands alone — it needs `password_env` or `password_file` beside it"


def _safety(config: Config) -> Iterator[Finding]:
    safety = config.safety_monitor
    if safety is not None and safety.stale_after <= safety.poll:
        text = f"found {safety.stale_after:g} — allowed: longer than poll ({safety.poll:g})"
        yield ("safety_monitor", "stale_after"), text


def _repeats(config: Config) -> Iterator[Finding]:
    lists: dict[tuple[Key, ...], Sequence[object]] = {
        ("dark_capture", "science_exposure_time"): config.dark_capture.science_exposure_time,
        ("dark_capture", "exposure_factors"): config.dark_capture.exposure_factors,
        ("flat_capture", "filters"): config.flat_capture.filters,
        ("flat_capture", "temperatures"): config.flat_capture.temperatures,
        ("temperatures",): config.temperatures,
        ("gains",): config.gains,
    }
    for path, values in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (*path, index), f"{value!r} is listed twice — keep one of them"


def _present(value: float | None) -> tuple[float, ...]:
    return () if value is None else (value,)


def _joined(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
