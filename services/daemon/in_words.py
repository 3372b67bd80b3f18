"""What programmes and windows mean, in sentences for `nightcal config check`: what is wanted, and when it is taken."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo

from services.config.models import Config
from services.config.moments import days_of, zone
from services.config.programmes import Programme
from services.config.serve import Kind, Serve, Window
from services.daemon.windows import closed_spells, next_openings, open_now, served
from services.observatory.login import missing_secrets
from services.planning.programmes import programmes_of, view
from services.words import lasting

_KINDS: dict[Kind, str] = {"bias": "biases", "darks": "darks", "flats": "flats"}


def explained(config: Config, now: datetime) -> Iterator[str]:
    """Yield what `nightcal serve` would do with a configuration, one sentence each.

    Parameters
    ----------
    config : Config
    now : datetime
        Aware; for each window's next opening.
    """
    serve, timezone = served(config), zone(config.serve.timezone)
    programmes = programmes_of(config)
    if not config.programmes:
        yield "serve: without `programmes`, what the sections above want is kept: " + _named(programmes)
    yield from (_programme(config, each) for each in programmes)
    yield from (line for each in config.serve.windows for line in _window(config, each, timezone, now))
    if not config.serve.windows:
        yield _default(config, serve)
    else:
        yield from _never(programmes, serve)
        yield from _too_short(config, programmes, serve)
    yield from _blackouts(serve, now.astimezone(timezone))
    yield from (
        f"{each}: `nightcal serve` would end at once if it were started from here" for each in missing_secrets(serve)
    )


def _named(programmes: Sequence[Programme]) -> str:
    return f"programme{'s' if len(programmes) > 1 else ''} {_list([each.name for each in programmes])}"


def _programme(config: Config, programme: Programme) -> str:
    seen = view(config, programme)
    wanted = []
    if programme.bias is not None:
        wanted.append(f"{seen.dark_capture.bias_count} biases{_age(seen.reuse.bias_hours)}")
    if programme.darks is not None:
        wanted.append(_darks(seen))
    if programme.flats is not None:
        flat = seen.flat_capture
        filters = f" in {_list(flat.filters)}" if flat.filters else " in every filter that lets light through"
        wanted.append(f"{flat.num_flats} flats{filters} from the {flat.source}{_age(seen.reuse.flat_hours or 0)}")
    return f"programme {programme.name} ({_camera(seen, programme)}): {'; '.join(wanted)}"


def _darks(seen: Config) -> str:
    times = _list([f"{time_s:g}" for time_s in _dark_times_s(seen)])
    return f"{seen.dark_capture.num_darks} darks of {times} s and of the flats' times{_age(seen.reuse.dark_hours)}"


def _dark_times_s(seen: Config) -> list[float]:
    """Return the exposures of darks that the configuration itself names."""
    dark = seen.dark_capture
    times_s = {time_s * factor for time_s in dark.science_exposure_time for factor in (1.0, *dark.exposure_factors)}
    return [time_s for time_s in sorted(times_s) if dark.min_exposure <= time_s <= dark.max_exposure]


def _camera(seen: Config, programme: Programme) -> str:
    active = seen.camera.active
    parts = [f"{name} {value}" for name in ("gain", "offset") if (value := getattr(active, name)) is not None]
    parts += [] if active.readout_mode is None else [f"readout mode {active.readout_mode}"]
    parts += [f"binning {active.bin_xy[0]}"] if active.bin_xy[0] > 1 else []
    cooling = seen.cooling
    if programme.temperatures == "as_they_come" or cooling is None or cooling.mode == "off":
        parts.append("at whatever temperature")
    elif cooling.enable_cooling:
        target = () if cooling.target_temperature is None else (cooling.target_temperature,)
        parts.append(f"at {_list([f'{celsius:g}' for celsius in seen.temperatures or target])} °C")
    return ", ".join(parts)


def _age(hours: float) -> str:
    days = hours / 24
    return f", anew after {days:g} days" if days >= 2 else f", anew after {hours:g} hours"


def _default(config: Config, serve: Serve) -> str:
    if not serve.windows:
        return (
            f"serve: there are no windows, and `darkness: {config.darkness}` is nothing that nightcal closes: nothing "
            "is taken by itself, only by order (`nightcal run`)"
        )
    dome = config.dome is not None and config.dome.enabled
    by_day = "while the roof is closed" if dome else "if the first dark shows that it is dark enough"
    return (
        f"serve: without windows, biases and darks are taken at any time (darkness: {config.darkness}), by day "
        f"{by_day}; flats only by order (`nightcal run --step flats`)"
    )


def _window(config: Config, window: Window, timezone: tzinfo, now: datetime) -> Iterator[str]:
    """Yield what a window takes and needs, when it is open next, and when the sun keeps it closed for long."""
    serve = config.serve.model_copy(update={"windows": (window,)})
    takes = _list([_KINDS[kind] for kind in window.takes])
    needs = f", needs {_list(window.needs)}" if window.needs else ""
    openings = next_openings(now, serve, config.site, timezone)
    is_open = open_now(now, serve, config.site, timezone)
    if is_open:
        when = f"is open until {_local(is_open[0].closes_at, timezone)}"
    elif openings:
        opens, closes = (_local(at, timezone) for at in (openings[0].opens_at, openings[0].closes_at))
        when = f"opens next {opens}, closes {closes}"
    else:
        when = "does not open within two years"
    yield f"window {window.name}: takes {takes}{needs}; {when} ({config.serve.timezone or 'local time'})"
    if _is_unseen(config, window):
        yield (
            f"window {window.name}: nobody sees there whether it is dark (darkness: {config.darkness}): the first dark "
            "shows it; `needs: [roof_closed]` with a `dome` section waits for the roof"
        )
    spells = closed_spells(window, now, config.site) if window.sun is not None and config.site is not None else ()
    for first, last in spells:
        days = f"from {first.astimezone(timezone):%Y-%m-%d} to {last.astimezone(timezone):%Y-%m-%d}"
        yield f"window {window.name}: the sun does not come to these altitudes {days}: it stays closed then"


def _is_unseen(config: Config, window: Window) -> bool:
    """Whether a window takes darks where nothing that nightcal moves or reads keeps the light out."""
    made_dark = config.darkness in ("cover", "shutter") or config.darkness.startswith("filter:")
    waits = any(need == "roof_closed" or need.startswith("sun_below") for need in window.needs)
    return bool({"bias", "darks"} & {*window.takes}) and not made_dark and not waits


def _never(programmes: Sequence[Programme], serve: Serve) -> Iterator[str]:
    """Yield which kinds are wanted that no window takes."""
    taken = {kind for window in serve.windows for kind in window.takes}
    wanted: dict[Kind, bool] = {
        "bias": any(each.bias is not None for each in programmes),
        "darks": any(each.darks is not None or each.flats is not None for each in programmes),
        "flats": any(each.flats is not None for each in programmes),
    }
    if lacking := [_KINDS[kind] for kind, is_wanted in wanted.items() if is_wanted and kind not in taken]:
        yield f"serve: no window takes {_list(lacking)}: these are taken by order only (`nightcal run`)"


def _too_short(config: Config, programmes: Sequence[Programme], serve: Serve) -> Iterator[str]:
    """Yield which darks no window is long enough for; how long the sun opens one changes with the season."""
    hours = [window.hours for window in serve.windows if "darks" in window.takes]
    known = [each for each in hours if each is not None]
    if not hours or len(known) < len(hours):
        return
    longest_s = 3600 * max(known)
    times_s = {time_s for each in programmes if each.darks is not None for time_s in _dark_times_s(view(config, each))}
    if lacking := [f"{time_s:g}" for time_s in sorted(times_s) if time_s >= longest_s]:
        yield (
            f"serve: no window is long enough for one dark of {_list(lacking)} s, the longest is {lasting(longest_s)}: "
            "these are taken by order only (`nightcal run`); give a window more `hours`"
        )


def _blackouts(serve: Serve, local: datetime) -> Iterator[str]:
    for text in serve.blackout:
        first, last = days_of(text)
        span = f"on {first}" if first == last else f"from {first} to {last}"
        if last < local.date():
            yield f"blackout {text}: it is over"
        else:
            yield f"blackout {text}: nothing is taken {span}, but by order; local days"


def _local(at: datetime, timezone: tzinfo) -> str:
    rounded = (at + timedelta(seconds=30)).astimezone(timezone)
    return f"{rounded:%Y-%m-%d %H:%M}"


def _list(words: Sequence[object]) -> str:
    *others, last = map(str, words)
    return f"{', '.join(others)} and {last}" if others else last
