"""What kind of frame a file holds: by its header; where that says nothing, by its name or a whole directory name.

A type that is there but not known is an error: the folder does not overrule what the header says. A name never counts
by a substring: `/home/darko/` holds no darks and `prueba_previa` is no stage.
"""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePath

from calibration.errors import HeaderError
from calibration.frames import FrameKind
from calibration.keywords.values import integer, text

KIND_KEYWORDS = (
    "IMAGETYP", "IMAGETYPE", "IMGTYPE", "IMTYPE", "CALTYPE", "FRAMETYP", "FRAMETYPE", "FRAME_TYPE", "OBSTYPE",
    "OBS_TYPE", "OBS-TYPE", "EXPTYPE", "DATA-TYP", "CCDTYPE", "ESO DPR TYPE",
)  # fmt: skip
"""Keywords that say the kind in words, the first understood one counts."""

_MAYBE = ("FRAME", "ESO DPR CATG")
"""Keywords that may say the kind or something else, such as a system of coordinates."""

_WORDS = {
    FrameKind.BIAS: "bias biases biais zero zeros offset offsets pedestal nullbild biasbild sesgo cero",
    FrameKind.DARK: "dark darks flatdark flatdarks darkflat darkflats dunkel dunkelflat dunkelbild dunkelbilder "
    "dunkelstrom noir noirs oscuro oscuros oscura buio scuro escuro donker",
    FrameKind.FLAT: "flat flats twiflat twiflats flatfield flatfields skyflat skyflats domeflat domeflats "
    "twilightflat twilightflats twilight lampflat dflat sflat tflat plu plus hellbild hellbilder weissbild flatbild "
    "flatfeld plano planos campoplano piatto campopiatto",
    FrameKind.LIGHT: "light lights object objects science sci oper tricolor licht lichtbild lichtbilder objekt lumiere "
    "luz luces objeto luce oggetto brute brutes",
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_MORE = (
    "master frame frames field fields image images raw exposure exp sky dome lamp lampe twilight dusk dawn evening "
    "morning panel screen internal quartz tungsten halogen led calib cal calibration toma "
    "imagen imagem immagine bild for of de des"
)
_BESIDE = frozenset(_MORE.split())
"""Words that say more of a frame beside the word for its kind."""

_NO_CALIBRATION = (
    "focus focusing autofocus test testing acq acquire acquisition point pointing arc arcs comp comparison wave neon "
    "thar argon standard std stds telluric flux skyview slitview slitviewer viewer guide guider guiding autoguide "
    "align alignment centering centring finder finding preview platesolve solve solving sync spectrum spectra "
    "spectroscopic pinhole etalon hartmann wfs fringe trace orderdef fmtchk setup engineering junk trash collimation "
    "polar fokus fokussierung"
)
_OTHER = frozenset(_NO_CALIBRATION.split())
"""Words for exposures of a telescope's night that are neither calibration frames nor science."""

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
        The header says a kind that is not known, or neither header nor path says any.
    """
    unknown: tuple[str, str] | None = None
    for keyword in (*KIND_KEYWORDS, *_MAYBE):
        written = text(cards.get(keyword))
        if written is None:
            continue
        if (kind := kind_of_word(written)) is not None:
            return kind
        unknown = unknown or ((keyword, written) if keyword in KIND_KEYWORDS else None)
    if (numbered := _PICTTYPE.get(integer(cards.get("PICTTYPE")) or 0)) is not None:
        return numbered
    if unknown is not None:
        raise HeaderError(keyword=unknown[0], found=unknown[1], wanted="BIAS, DARK, FLAT or LIGHT")
    kind = kind_of_path(path) if path is not None else None
    if kind is None:
        raise HeaderError(keyword="IMAGETYP", found=None, wanted="BIAS, DARK, FLAT or LIGHT, or a name that says so")
    return kind


def kind_of_word(written: str) -> FrameKind | None:
    """Return the kind that an IMAGETYP names: 'Dark Frame', 'MASTER BIAS', 'FLAT,LAMP', 'Toma oscura', 'FLATDARK'."""
    folded = unicodedata.normalize("NFKD", written.casefold())
    words = re.findall(r"[a-z]+", folded.encode("ascii", "ignore").decode())
    whole = "".join(words).removeprefix("master")
    if (kind := _KINDS.get(whole) or _KINDS.get(re.sub(r"(frames?|fields?|images?)$", "", whole))) is not None:
        return kind
    meant = [word for word in words if word not in _BESIDE]
    kinds = {_KINDS.get(word) for word in meant}
    if kinds == {FrameKind.DARK, FrameKind.FLAT}:  # the dark of a flat
        return FrameKind.DARK
    return kinds.pop() if len(kinds) == 1 else None


def is_of_other_use(written: str) -> bool:
    """Whether an IMAGETYP names an exposure that nobody calibrates with, such as 'FOCUS' or 'LAMP,WAVE'."""
    words = set(re.findall(r"[a-z]+", written.casefold()))
    return bool(words & _OTHER) and not words & _KINDS.keys()


def says_kind(word: str) -> bool:
    """Whether a word is about a calibration frame, such as 'Flat', 'skyflat', 'dome' or 'raw'."""
    return word.lower() in _BESIDE or kind_of_word(word) is not None


def kind_of_path(path: PurePath) -> FrameKind | None:
    """Return the kind that a file name begins with or carries as '.BIAS.', else that of the nearest directory."""
    if (match := _PREFIX.match(path.name)) is not None:
        return kind_of_word(match[1])
    for part in path.name.split(".")[1:-1]:
        if (kind := _KINDS.get(part.lower())) is not None:
            return kind
    for directory in reversed(path.parts[:-1]):
        kind = _KINDS.get(_bare(directory)) or _SECTIONS.get(directory.lower()) or _beside_settings(directory)
        if kind is not None:
            return kind
    return None


def _beside_settings(directory: str) -> FrameKind | None:
    """Return the kind that a directory names beside settings alone: 'darks-expos1', 'flats_V_10s', 'bias T-10'.

    Settings are words with a digit, and filters of one or two letters.
    """
    words = re.findall(r"[^\W_]+", directory)
    said = [word for word in words if len(word) > 2 and not any(letter.isdigit() for letter in word)]
    if len(said) == len(words) or not all(_PREFIX.fullmatch(word) or word.lower() in _BESIDE for word in said):
        return None
    return kind_of_word(" ".join(said))


def _bare(written: str) -> str:
    """Reduce a directory's name to its word: no case, no punctuation, without 'master', 'frame', 'field'."""
    letters = re.sub(r"[^a-z]", "", written.lower()).removeprefix("master")
    return re.sub(r"(frames?|fields?|images?)$", "", letters)
