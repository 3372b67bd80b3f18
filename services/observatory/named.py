"""Gains and offsets that a configuration gives by their names: the camera's list says which numbers they are."""

from collections.abc import Sequence

from services.config.models import Config


def with_numbers(config: Config, *, gains: Sequence[str], offsets: Sequence[str]) -> Config:
    """Return a configuration with the numbers of the settings that it names, in any case, as a camera lists them.

    A name that the camera does not list stays: what the camera cannot have is said when all devices are connected.

    Parameters
    ----------
    config : Config
    gains, offsets : sequence of str
        The camera's lists; the number of a name is its place.
    """
    section, kind = config.camera.active, config.camera.camera_type
    named = {
        "gain": _number(section.gain, gains),
        "offset": _number(section.offset, offsets),
    }
    camera = config.camera.model_copy(update={kind: section.model_copy(update=named)})
    numbers = tuple(_number(gain, gains) for gain in config.gains)
    programmes = tuple(
        each.model_copy(update={"gain": _number(each.gain, gains), "offset": _number(each.offset, offsets)})
        for each in config.programmes
    )
    return config.model_copy(update={"camera": camera, "gains": numbers, "programmes": programmes})


def _number(setting: int | str | None, listed: Sequence[str]) -> int | str | None:
    folded = [name.strip().casefold() for name in listed]
    if isinstance(setting, str) and setting.strip().casefold() in folded:
        return folded.index(setting.strip().casefold())
    return setting
