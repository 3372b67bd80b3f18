"""What names say of a frame where its header says nothing: exposure, temperature, gain and number.

A folder counts as a whole: `T-10` is a temperature and `0.5s` an exposure; `Set1`, `attempt3`, `20Frames`, `pytest-0`
and `disk2samples` are neither. The deepest folder that says something counts, the file's own name before it.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import TypeVar

from calibration.keywords import values

_NUMBER = r"\d+(?:[.,]\d+)?(?:e[+-]?\d+)?"
_UNITS = r"(?:s|secs?|seconds?|ms|us|µs|min|mins|minutes?)"
_PARTS = r"\d+m\d+(?:[.,]\d+)?s"
_FOLDER = re.compile(rf"(?:exp(?:osure)?[ _-]?)?({_NUMBER} ?{_UNITS}|{_PARTS})", re.IGNORECASE)
_MINUTES = re.compile(r"(?:.*[^a-z0-9])?expos[_-]?(\d+(?:[.,]\d+)?)(?:[^a-z0-9].*)?", re.IGNORECASE)
"""'darks-expos1' are darks of one minute."""

_IN_NAME = re.compile(rf"[Ee]xp_?({_NUMBER}{_UNITS})(?=[^a-z]|$|f\d|frame)|(?<![A-Za-z0-9.,])({_PARTS})(?![A-Za-z0-9])")
_SETTINGS = re.compile(r"(?:dark|bias|flat|light)_(\d+(?:\.\d+)?)sec_g(\d{1,6})_(\d{1,9})(?:\.\w+)*", re.IGNORECASE)
"""'dark_02sec_g0100_0016.fits': exposure, gain and number."""

_MASTER = re.compile(
    r"master_(?:bias|dark|flat)_(?:.*_)?T(-?\d+(?:\.\d+)?)(?:_E(\d+(?:\.\d+)?))?(?:\.\w+)*", re.IGNORECASE
)
"""'master_dark_attempt1_T-10.1_E0.5.fits': temperature and exposure, the latter in tenths of a second."""

_CELSIUS = re.compile(
    r"[Tt](?:emp(?:eratur[ae]?)?)?[ _=]?(-?\d+(?:[.,]\d+)?)(?: ?[°º]? ?[Cc])?|([+-]?\d+(?:[.,]\d+)?) ?(?:deg|[°º])? ?C"
)
_NAMED_BY_OTHERS = re.compile(
    r"/(?:run/media/[^/]+|media/[^/]+|media|mnt|Volumes|home)/[^/]+|(?:[A-Z]:)?/Users/[^/]+", re.IGNORECASE
)
"""Where systems put drives and people: one that is called T7 is no temperature."""

_Fact = TypeVar("_Fact")


def exposure_us_of(path: PurePath) -> int | None:
    """Return the exposure that a file's name states, else the deepest folder that states one."""
    found = name_exposure_us(path.name)
    return folder_exposure_us(path.parent) if found is None else found


def name_exposure_us(name: str) -> int | None:
    """Return the exposure that a file's name states: `exp_1.2e-05s_frame0.raw`, `dark_0m30s_1.fit`, `darks-expos1.fit`.

    It stands behind `exp`, or has a unit of its own for minutes and seconds: other numbers in names count something.
    """
    if (match := _SETTINGS.fullmatch(name)) is not None:
        return values.duration_us(float(match[1]))
    if (match := _MASTER.fullmatch(name)) is not None:
        return values.duration_us(float(match[2])) or None if match[2] else None  # of 0.0 it is not known what it was
    if (match := _IN_NAME.search(name)) is not None:
        return values.duration_us((match[1] or match[2]).lower())
    match = _MINUTES.fullmatch(name)
    return None if match is None else values.duration_us(f"{match[1]} min")


def folder_exposure_us(folder: PurePath) -> int | None:
    """Return the exposure that the deepest folder so named states, itself included."""
    return _deepest(folder, _exposure_us)


def celsius_of(path: PurePath) -> float | None:
    """Return the temperature that the name of a master states, else the deepest folder that states one."""
    match = _MASTER.fullmatch(path.name)
    return folder_celsius(path.parent) if match is None else values.celsius(f"{match[1]} C")


def folder_celsius(folder: PurePath) -> float | None:
    """Return the temperature that the deepest folder so named states, itself included: `T-10`, `Temp 20`, `-5 °C`."""
    return _deepest(folder, _celsius)


def gain_of(path: PurePath) -> int | None:
    """Return the gain that a file's name states: `dark_02sec_g0100_0016.fits`."""
    match = _SETTINGS.fullmatch(path.name)
    return None if match is None else int(match[2])


def number_of(path: PurePath) -> int | None:
    """Return the number that stands behind all settings in a file's name: 16 of `dark_02sec_g0100_0016.fits`."""
    match = _SETTINGS.fullmatch(path.name)
    return None if match is None else int(match[3])


def _exposure_us(folder: str) -> int | None:
    if (match := _FOLDER.fullmatch(folder)) is not None:
        return values.duration_us(match[1].lower())
    match = _MINUTES.fullmatch(folder)
    return None if match is None else values.duration_us(f"{match[1]} min")


def _celsius(folder: str) -> float | None:
    match = _CELSIUS.fullmatch(folder)
    return None if match is None else values.celsius(f"{(match[1] or match[2]).replace(',', '.')} C")


def _deepest(folder: PurePath, read: Callable[[str], _Fact | None]) -> _Fact | None:
    return next((found for part in _own_names(folder) if (found := read(part)) is not None), None)


def _own_names(folder: PurePath) -> Iterator[str]:
    """Yield folders, the deepest first, without those that name a mounted drive or a user of the system."""
    named = _NAMED_BY_OTHERS.match(folder.as_posix())
    parts = folder.parts if named is None else folder.parts[1 + named[0].count("/") :]
    yield from reversed(parts)
