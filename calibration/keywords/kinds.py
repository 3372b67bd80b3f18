"""What kind of frame a file holds: by its header, else the beginning of its name, else a whole directory name.

Never by a substring: `/home/darko/` holds no darks and `prueba_previa` is no stage.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath

from calibration.errors import HeaderError
from calibration.frames import FrameKind
from calibration.keywords.values import integer, plain, text

KIND_KEYWORDS = ("IMAGETYP", "IMAGETYPE", "CALTYPE", "FRAMETYP", "FRAME_TYPE", "FRAME", "OBSTYPE")
"""Keywords that say the kind in words, the first understood one counts."""

_WORDS = {
    FrameKind.BIAS: ("bias", "biases", "zero", "zeros"),
    FrameKind.DARK: ("dark", "darks", "flatdark", "flatdarks", "darkflat", "darkflats"),
    FrameKind.FLAT: ("flat", "flats", "skyflat", "skyflats", "domeflat", "domeflats", "twilight", "twilightflat"),
    FrameKind.LIGHT: ("light", "lights", "object", "objects", "science", "oper", "tricolor"),
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words}
_SECTIONS = {"testsection1": FrameKind.BIAS, "testsection2": FrameKind.DARK, "testsection3": FrameKind.FLAT}
_PICTTYPE = {1: FrameKind.LIGHT, 2: FrameKind.BIAS, 3: FrameKind.DARK, 4: FrameKind.FLAT}
_PREFIX = re.compile(
    r"(?i:master[ _-]?)?"
    r"((?i:flat[ _-]?darks?|dark[ _-]?flats?|sky[ _-]?flats?|dome[ _-]?flats?"
    r"|bias(?:es)?|zeros?|darks?|flats?|lights?))"
    r"(?![a-z])"
)


def kind_of(cards: Mapping[str, object], path: PurePath | None = None) -> FrameKind:
    """Return the kind of a frame.

    Raises
    ------
    HeaderError
        Neither header nor path says it.
    """
    found: object = None
    for keyword in KIND_KEYWORDS:
        written = text(cards.get(keyword))
        if written is not None and (kind := kind_of_word(written)) is not None:
            return kind
        found = found or written
    numbered = _PICTTYPE.get(integer(cards.get("PICTTYPE")) or 0)
    kind = numbered or (kind_of_path(path) if path is not None else None)
    if kind is None:
        raise HeaderError(keyword="IMAGETYP", found=found, wanted="BIAS, DARK, FLAT or LIGHT, or a name that says so")
    return kind


def kind_of_word(written: str) -> FrameKind | None:
    """Return the kind that an IMAGETYP names: 'Dark Frame', 'MASTER BIAS', 'Flat Field' or 'FLATDARK'."""
    return _KINDS.get(_bare(written))


def kind_of_path(path: PurePath) -> FrameKind | None:
    """Return the kind that a file name begins with or carries as '.BIAS.', else that of the nearest directory."""
    if (match := _PREFIX.match(path.name)) is not None:
        return _KINDS[_bare(match[1])]
    for part in path.name.split(".")[1:-1]:
        if (kind := _KINDS.get(part.lower())) is not None:
            return kind
    for directory in reversed(path.parts[:-1]):
        kind = _KINDS.get(_bare(directory)) or _SECTIONS.get(directory.lower())
        if kind is not None:
            return kind
    return None


def is_master(cards: Mapping[str, object], path: PurePath | None = None) -> bool:
    """Whether a file is a combination of frames: by its type, by NCOMBINE, or by a name beginning with 'master'."""
    if any("master" in str(plain(cards.get(keyword, ""))).lower() for keyword in KIND_KEYWORDS):
        return True
    if (integer(cards.get("NCOMBINE")) or 0) > 1:
        return True
    return path is not None and path.name.lower().startswith("master")


def _bare(written: str) -> str:
    """Reduce a type to its word: no case, no punctuation, without 'master', 'frame', 'field'."""
    letters = re.sub(r"[^a-z]", "", written.lower()).removeprefix("master")
    return re.sub(r"(frames?|fields?|images?)$", "", letters)
