"""What names say of frames: the file's number, exposure and temperature, and the words of the folders above it.

Folders count as whole components: `T-10` is a temperature, `attempt3` and `Set1` are none; `0.5s` is an exposure,
`disk2samples` is none.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath

from calibration.keywords.paths import folder_celsius, folder_exposure_us, name_exposure_us

_FRAME = re.compile(r"(?:frame|f)(\d+)", re.IGNORECASE)
_TEMPERATURE = re.compile(r"(?<![A-Z])T(-?\d+(?:\.\d+)?)")
STAGES = {"pre": "pre", "during": "radiating", "radiating": "radiating", "post": "post"}
"""How a call or a table may name the stages of an irradiation, and their names."""
_LONGEST_STEM = 240
"""Bytes: names of 255 are the longest, and a file that is being written has a longer one than the frame."""
_STAGES = (("pre", "pre"), ("during", "radiating"), ("radiating", "radiating"), ("post", "post"))
_STAGE_END = re.compile(r"(?:(?:ir)?rad(?:iation|iating)?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFacts:
    """What the name of a raw file says; None for what it does not."""

    frame: int | None = None
    exposure_s: float | None = None
    temperature_c: float | None = None


def name_facts(stem: str) -> NameFacts:
    """Return what the name of a raw file says, without its ending: "BiasT0_exp0.012sAt0f1"."""
    frame, temperature, exposure = _FRAME.search(stem), _TEMPERATURE.search(stem), name_exposure_us(stem)
    return NameFacts(
        frame=None if frame is None else int(frame[1]),
        exposure_s=None if exposure is None else exposure / 1e6,
        temperature_c=None if temperature is None else float(temperature[1]),
    )


def folder_temperature_c(folder: PurePath) -> float | None:
    """Return the temperature that the deepest folder so named states: `T-10`, `t20`."""
    return folder_celsius(folder)


def folder_exposure_s(folder: PurePath) -> float | None:
    """Return the exposure that the deepest folder so named states: `0.5s`, `exp_2s`."""
    found = folder_exposure_us(folder)
    return None if found is None else found / 1e6


@lru_cache(maxsize=1024)
def stage_of(parts: tuple[str, ...]) -> str:
    """Return the stage of an irradiation by the deepest folder that names one: pre, radiating or post; "" for none.

    A component counts that begins with the word and goes on with `irradiation`, or has it as a word of its own:
    `PreIrradiation`, `tests_duringradiation_novacuum`, `pre`. "prueba_previa" names no stage.
    """
    for part in reversed(parts):
        for word in re.split(r"[^a-z]+", part.casefold()):
            for start, stage in _STAGES:
                if word.startswith(start) and _STAGE_END.fullmatch(word.removeprefix(start)):
                    return stage
            if word == "irradiation":
                return "radiating"
    return ""


@lru_cache(maxsize=1024)
def vacuum_of(parts: tuple[str, ...]) -> str:
    """Return what surrounded the sensor by the deepest folder that says so: vacuum or air; "" for none.

    Words count as a whole: `no_vac`, `test_novacuum`, `InVacuum`, `atm`; "vacation" says nothing.
    """
    for part in reversed(parts):
        folded = part.casefold()
        if re.search(r"no_?vac(?:uum)?(?![a-z])", folded):
            return "air"
        if re.search(r"(?<![a-z])vac(?![a-z])|vacuum", folded):
            return "vacuum"
        if set(re.split(r"[^a-z]+", folded)) & {"atm", "air"}:
            return "air"
    return ""


def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts names as people count: frame2 before frame10."""
    pieces = re.split(r"(\d+)", text.casefold())
    return tuple((0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces if piece)


def stems_of(raws: Sequence[Path]) -> dict[Path, str]:
    """Return the stems of the frames of raw files, of which no two are equal on any system and none is too long."""
    taken: set[str] = set()
    found: dict[Path, str] = {}
    for raw in raws:
        stem = raw.stem
        is_plain = len(os.fsencode(stem)) <= _LONGEST_STEM and os.fsencode(stem).decode(errors="ignore") == stem
        if stem.casefold() in taken or not is_plain:
            digest = hashlib.sha256(os.fsencode(raw.name)).hexdigest()[:8]
            stem = f"{os.fsencode(stem)[: _LONGEST_STEM - 9].decode(errors='ignore')}-{digest}"
        taken.add(stem.casefold())
        found[raw] = stem
    return found
