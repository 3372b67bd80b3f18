"""Programmes: those that a configuration has, and the configuration as one of them sees it.

Everything that plans and takes frames works with a `Config` and knows no programmes: it is given the view of one.
"""

from typing import Any

from services.config.devices import Camera
from services.config.models import Config, LoadedConfig, Reuse
from services.config.programmes import SERVED_AGE_DAYS, Programme, Wanted, WantedBias, WantedDarks, WantedFlats

DEFAULT_NAME = "default"


def programmes_of(config: Config) -> tuple[Programme, ...]:
    """Return the programmes of a configuration: its own, else the default one, made of the other sections.

    Where `gains` lists several there is a default one for each.
    """
    if config.programmes:
        return config.programmes
    kinds: dict[str, Any] = {"bias": WantedBias(), "darks": WantedDarks(), "flats": WantedFlats()}
    if not config.gains:
        return (Programme(name=DEFAULT_NAME, **kinds),)
    several = len(config.gains) > 1
    return tuple(
        Programme(name=f"{DEFAULT_NAME} gain {gain}" if several else DEFAULT_NAME, gain=gain, **kinds)
        for gain in config.gains
    )


def views(config: Config) -> tuple[tuple[str, Config], ...]:
    """Return the configuration as each of its programmes sees it, by name; itself, named "", where it has none."""
    return tuple((each.name, view(config, each)) for each in config.programmes) or (("", config),)


def programmed(loaded: LoadedConfig) -> LoadedConfig:
    """Return a configuration that has programmes: its own, else the default one, whose ages are those of the daemon."""
    config = loaded.config.model_copy(update={"programmes": programmes_of(loaded.config)})
    return loaded.model_copy(update={"config": config})


def view(config: Config, programme: Programme) -> Config:
    """Return the configuration as a programme sees it; it has no programmes itself.

    Camera settings, temperatures, counts, exposures, filters and ages are the programme's, where it states them. A kind
    that it does not want has no frames: `num_biases` or `num_flats` is 0, `science_exposure_time` is empty.
    """
    return config.model_copy(
        update={
            "programmes": (),
            "gains": (),
            "camera": _camera(config.camera, programme),
            "temperatures": _temperatures(config, programme),
            "dark_capture": _darks(config, programme),
            "flat_capture": _flats(config, programme),
            "reuse": _reuse(config.reuse, programme),
        }
    )


def _camera(camera: Camera, programme: Programme) -> Camera:
    names = ("gain", "offset", "readout_mode", "binning")
    stated = {name: value for name in names if (value := getattr(programme, name)) is not None}
    return camera.model_copy(update={camera.camera_type: camera.active.model_copy(update=stated)})


def _temperatures(config: Config, programme: Programme) -> tuple[float, ...]:
    if isinstance(programme.temperatures, str):
        return ()
    return programme.temperatures or config.temperatures


def _darks(config: Config, programme: Programme) -> Any:
    dark, bias, darks = config.dark_capture, programme.bias, programme.darks
    update: dict[str, Any] = {"num_biases": 0 if bias is None else _count(bias, dark.bias_count)}
    if darks is None:
        update |= {"science_exposure_time": (), "exposure_factors": (1.0,)}
    else:
        update["num_darks"] = _count(darks, dark.num_darks)
    if darks is not None and darks.exposures:
        longest = max(dark.max_exposure, *darks.exposures)
        update |= {"science_exposure_time": darks.exposures, "exposure_factors": (1.0,), "max_exposure": longest}
    return dark.model_copy(update=update)


def _flats(config: Config, programme: Programme) -> Any:
    flat, flats = config.flat_capture, programme.flats
    if flats is None:
        return flat.model_copy(update={"num_flats": 0})
    number = _count(flats, flat.num_flats)
    lit = flat.temperatures
    if not isinstance(programme.temperatures, str) and programme.temperatures:
        lit = tuple(celsius for celsius in lit if celsius in programme.temperatures)
    return flat.model_copy(
        update={
            "num_flats": number,
            "min_flats": min(flat.min_flats, number),
            "filters": flats.filters or flat.filters,
            "source": flats.source or flat.source,
            "temperatures": lit,
        }
    )


def _count(wanted: Wanted, of_the_section: int) -> int:
    return of_the_section if wanted.frames is None else wanted.frames


def _reuse(reuse: Reuse, programme: Programme) -> Reuse:
    kinds = {"bias": programme.bias, "dark": programme.darks, "flat": programme.flats}
    update = {}
    for name, wanted in kinds.items():
        key = f"{name}_hours"
        of_file = getattr(reuse, key) if key in reuse.model_fields_set else None
        days = None if wanted is None else wanted.max_age_days
        update[key] = 24 * days if days is not None else of_file or 24 * SERVED_AGE_DAYS[name]
    stated = {"bias_hours", "dark_hours", "flat_hours"}
    if programme.resume_within is not None:
        update["resume_within_hours"] = programme.resume_within
        stated.add("resume_within_hours")  # hours of the file are those of `nightcal run`: the daemon goes by windows
    return Reuse.model_construct(_fields_set=stated, **{**reuse.model_dump(), **update})
