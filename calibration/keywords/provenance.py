"""What other programs have done to a file before: combined frames into it, or calibrated it.

Counts, types, histories and comments say so; a file's name only together with something in its header.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePath

from calibration.frames import FrameHeader
from calibration.keywords.kinds import KIND_KEYWORDS
from calibration.keywords.values import flag, integer, number, plain, text

_COUNTS = (
    "NCOMBINE", "NCOMB", "NCOMBINED", "STACKCNT", "NSTACK", "NSTACKED", "SNAPSHOT", "DARK_CNT", "BIAS_CNT", "FLAT_CNT",
    "LIGHT_CNT", "N_FILES", "NSOURCE", "NUMCOMB", "ESO PRO DATANCOM",
)  # fmt: skip
"""Cards that count the frames in a file; 1 is a single frame."""

_MASTER_TYPE = re.compile(r"master|super[ _-]?(?:bias|dark|flat|zero)|stack|combin|integrat|coadd", re.IGNORECASE)
_PRODUCT = ("COMBINED", "STACKED", "ISMASTER")
_OF_PRODUCTS = ("IMCMB001", "ESO PRO CATG")
_PROGRAMS = ("SOFTWARE", "PROGRAM", "CREATOR", "SWCREATE")
_OF_ANOTHER = re.compile(
    r"\b(?:for|into|to|with|using|from|minus|subtract\w*|divid\w*|correct\w*|calibrat\w*|applied|remov\w*|use[sd]?|load\w*"
    r"|select\w*|found|available)\b"
    r"|\b(?:bias|dark|flat|zero|frame)(?:e?s)?\s+(?:frames?\s+)?(?:librar\w+|folder|director\w+|path|catalog\w*|database)\b"
    r"|\s*[:=]\s*\S+\.(?:fits?|fts|xisf|tiff?)\b",
    re.IGNORECASE,
)
"""With such words a line speaks of a master that something is done with, not of this file."""

_CORRECTED = re.compile(r"subtract|divid|correct|calibrat|remov", re.IGNORECASE)
_MASTER_LINE = re.compile(r"\b(?:master|super)[ _-]?(?:bias|dark|flat|zero|frame)", re.IGNORECASE)
_FRAMES = r"(?:frames?|images?|files?|exposures?|subs?|bias(?:es)?|darks?|flats?)"
_DONE = r"(?:stacked|combined|averaged|integrated|coadded)"
_STACKING_PROGRAM = (
    r"(?:deep ?sky ?stacker|dss|siril|pixinsight|maxim|astroimagej|aij|ccdproc|iraf|astap|astroart|nebulosity|theli)\b"
)
_COMBINED = re.compile(
    r"(?:\b(?:(?:mean|median|average|sum|integration)\s+(?:of|stack\w*|combin\w*)|stack\w*|combin\w+|integrated|averaged"
    rf"|coadded)\b.*?\b(\d+)\s*(?:\w+\s+)?{_FRAMES}\b)"
    rf"|(?:\b(\d+)\s*(?:\w+\s+)?{_FRAMES}\b.*?\b{_DONE}\b)"
    rf"|(?:\b(?:{_FRAMES}\s+{_DONE}|{_DONE}\s+{_FRAMES}|stack[ _-]?count)\s*[:=]?\s*(\d+))"
    rf"|(?:\b{_DONE}\s+(\d+)\s*(?:of|/)\s*\d+)"
    rf"|(?:\b(?:made|created|built|generated|computed)\s+(?:from|of|out of)\s+(\d+)\s*(?:\w+\s+)?{_FRAMES}\b)"
    r"|(?:ImageIntegration\.(?:numberOfImages|totalPixels)\D*(\d+))",
    re.IGNORECASE,
)
_INTEGRATED = re.compile(
    r"ImageIntegration\b"
    r"|\b(?:mean|median|average|sum|rejection|sigma|kappa|winsorized)[- ](?:\w+ )?(?:stack(?:ing)?|combin\w*)\b"
    r"|\bstacking (?:result|with)\b|\bimcombine\b|\bwinsorized\b"
    r"|\b(?:pixel|sigma|linear fit|minmax|percentile)[- ](?:rejection|clipping|clipped)\b",
    re.IGNORECASE,
)
_STACKED = re.compile(
    rf"^[^a-z]*{_DONE}[^a-z]*$"
    r"|\b(?:stacked|coadded)\s+(?:\w+\s+)?(?:(?:image|frame|exposure|file|sub|bias(?:e)?|dark|flat)s?|master|result)\b"
    r"(?!\s+(?:sensor|chip|detector|array|transfer|store))"
    r"|\b(?:mean|median|average|sum)[ -]stacked\b"
    rf"|\b{_DONE}\s+(?:with|using|by|in|from)\s+(?:\w+\s+)?{_STACKING_PROGRAM}"
    rf"|\b{_STACKING_PROGRAM}\w*[\s:.]+(?:\w+\s+)?(?:combin\w+|stack\w*)\b"
    r"|\bstacking (?:complete|done|finished|of|by|using)",
    re.IGNORECASE,
)
"""Of a stack nothing else is stacked: sensors, filters and readouts are called so as well."""

_STACKERS = re.compile(r"deep ?sky ?stacker|astro ?pixel ?processor", re.IGNORECASE)
"""Programs that write nothing but what they have combined or calibrated."""

_DENIED = re.compile(
    r"\bto be\b|\b(?:will|should|must|can)\b|[=:]\s*(?:f|n|0|no|false)\b|\b0 subtracted\b|\b[fn]$"
    r"|\b(?:no|not|without|off|none|false|disabled|skipped|never|un\w+ed)\b",
    re.IGNORECASE,
)
_MEANT = re.compile(
    r"\b(?:frame|image|file|exposure|sub|dark|flat|bias|number|no\.?|sequence)\s*#?\d+\s*(?:of|out of|/)"
    r"\s*(?:\d+|an?|the)\b"
    r"|\b(?:for|before|during)\s+(?:\w+\s+){0,3}(?:stack|combin|integrat|averag|coadd|master)"
    r"|\bto\s+(?:stack|combine|integrate|average|coadd)\b|\b(?:part|one) of\b|\blive\b(?!.*\d)"
    r"|\b(?:possible|planned|later|suitable|recommended|intended|requested|expected|support\w*|headers?)\b"
    r"|\b(?:stack|combin|integrat|averag)\w*\s+(?:is\s+)?(?:enabled|active|ready)\b"
    r"|^\W*(?:please\s+)?(?:combine|stack|average|integrate)\s+(?:these|this|the|with|all|using|in)\b",
    re.IGNORECASE,
)
"""With such words a line speaks of what may be done with this frame, not of what was done."""

_OF_ONE = re.compile(r"\b(?:raw|enabled|active|ready)\b", re.IGNORECASE)
"""With such words a line speaks of a raw frame, or of a setting, unless it counts the frames that were combined."""

_WITHOUT = re.compile(
    r"\b(?:no|not|without)\s+(?:normali[sz]|scal|weight|reject|offset|clip)\w*"
    r"|\b(?:normali[sz]\w*|scal\w+|zero|weight\w*|reject\w*|offsets?|[lh]sigma)\s*[:=]\s*(?:none|no|off|false|f|0)\b",
    re.IGNORECASE,
)
"""Steps that a combination went without, which does not deny it."""

_FRAME_WORDS = {"B": r"(?:bias|zero)", "D": r"dark", "F": r"flat"}
_TAKEN_OUT = r"(?:subtract\w*|removed|divided)"
_SET_RIGHT = r"(?:correct(?:ed\b|ion(?=$|\s*\(| applied| done| made))|calibrated\b|applied\b)"
_STEP = (
    rf"\bauto[- ]?{{0}}|{{0}}\w*\b.{{{{0,30}}}}\b{_TAKEN_OUT}|\b{_TAKEN_OUT}\b.{{{{0,30}}}}\b(?:master[ _-]?)?{{0}}"
    rf"|\b{{0}}s?(?:[ -]?(?:frame|field|current|image|level|master)(?:s|ing|ed)?)?\s+(?:was |is |has been |have been )?"
    rf"{_SET_RIGHT}"
    rf"|\b{_SET_RIGHT}\s+(?:(?:with|by|using)\s+)?(?:(?:the|a)\s+)?(?:master[ _-]?)?{{0}}"
)
"""What was corrected stands beside the word: timestamps that were corrected in a dark are no calibration."""
_STEPS = {letter: re.compile(_STEP.format(word), re.IGNORECASE) for letter, word in _FRAME_WORDS.items()}
_STEP_CARDS = {
    "B": ("ZEROCOR", "BIASCOR", "BIASCORR", "SUBBIAS", "SUBTRACT_BIAS", "BIASSUB", "BIASFILE", "ZEROFILE"),
    "D": ("DARKCOR", "DARKCORR", "SUBDARK", "SUBTRACT_DARK", "DARKSUB", "AUTODARK", "DARKFILE"),
    "F": ("FLATCOR", "FLATCORR", "FLAT_CORRECT", "FLATDIV", "FLATFILE"),
}
"""Cards that other programs write when they calibrate."""


def master_evidence(cards: Mapping[str, object], path: PurePath | None = None, *, is_float: bool = False) -> str | None:
    """Return what says that a file is a combination of frames, in words; None for a single frame.

    Parameters
    ----------
    cards : mapping
        HISTORY and COMMENT as lines of text.
    path : PurePath, optional
        A name that begins with 'master' says so together with pixels that no camera writes.
    is_float : bool
        Whether the pixels are stored as floats.
    """
    cards_that_say_so = (
        *(k for k in KIND_KEYWORDS if k in cards and _MASTER_TYPE.search(str(plain(cards[k])))),
        *(k for k in (*_COUNTS, *_PRODUCT) if k in cards and (integer(cards[k]) or 0) > 1),
        *(k for k in _PRODUCT if k in cards and flag(cards[k])),
        *(k for k in _PROGRAMS if k in cards and _STACKERS.search(str(cards[k]))),
        *(k for k in _OF_PRODUCTS if k in cards and text(cards[k]) is not None),
    )
    if cards_that_say_so:
        return f"{cards_that_say_so[0]} = {plain(cards[cards_that_say_so[0]])}"
    named = path is not None and path.name.lower().startswith("master")
    return _master_line(cards) or ("its name, and pixels stored as floats" if named and is_float else None)


def is_master(cards: Mapping[str, object], path: PurePath | None = None, *, is_float: bool = False) -> bool:
    """Whether a file is a combination of frames; parameters as those of `master_evidence`."""
    return master_evidence(cards, path, is_float=is_float) is not None


def _master_line(cards: Mapping[str, object]) -> str | None:
    for keyword in ("HISTORY", "COMMENT"):
        for written in str(cards.get(keyword, "")).splitlines():
            line = _WITHOUT.sub("", written)
            if not (_DENIED.search(line) or _MEANT.search(line)) and _is_of_many(line, is_history=keyword == "HISTORY"):
                return f"{keyword} {written[:60].strip()}"
    return None


def _is_of_many(line: str, *, is_history: bool) -> bool:
    """Whether a line says that the file was made of several frames: how many goes before any word."""
    counted = _COMBINED.search(line)
    if counted is not None and _CORRECTED.search(line) is None:
        return max(int(number) for number in counted.groups() if number is not None) > 1
    if _OF_ONE.search(line):
        return False
    named = _MASTER_LINE.search(line) is not None and _OF_ANOTHER.search(line) is None
    return named or _INTEGRATED.search(line) is not None or (is_history and _STACKED.search(line) is not None)


def calibrated(cards: Mapping[str, object]) -> str | None:
    """Return what has been applied to the pixels in the letters of CALSTAT, in their order B, D, F; None: nothing."""
    lines = [line for k in ("HISTORY", "COMMENT") for line in str(cards.get(k, "")).splitlines()]
    lines = [line for line in lines if not _DENIED.search(line)]
    status = _status(cards)
    found = (
        letter
        for letter, step in _STEPS.items()
        if letter in status
        or any(keyword in cards and _is_done(cards[keyword]) for keyword in _STEP_CARDS[letter])
        or any(step.search(line) for line in lines)
    )
    return "".join(found) or None


def _status(cards: Mapping[str, object]) -> str:
    """Return the letters of CALSTAT, which is a word in some programs."""
    written = (text(cards.get("CALSTAT")) or "").upper()
    if re.fullmatch(r"[A-Z, +;]{1,8}", written) and not set(re.sub(r"[^A-Z]", "", written)) - set("BDFMLO"):
        return written
    return "".join(letter for letter, word in _FRAME_WORDS.items() if re.search(rf"\b{word}", written, re.IGNORECASE))


def _is_done(value: object) -> bool:
    """Whether a card says that a step was taken: not 'F', 'no', 0 or nothing."""
    said = flag(value)
    return text(value) is not None if said is None else said


class PedestalRule(StrEnum):
    """What the PEDESTAL of a file means."""

    ADD = "add"
    SUBTRACT = "subtract"
    UNKNOWN = "unknown"


def pedestal_to_subtract(header: FrameHeader) -> tuple[float | None, PedestalRule]:
    """Return the ADU to subtract from a file's values for a zero base, and by which rule.

    SBIG, MaxIm DL and CCDSoft write what is to be *added* (-100), PixInsight what is to be subtracted. Pedestals lift
    values, so a negative number is one to be added whatever program wrote it. A positive one of any other program is
    left alone: (None, UNKNOWN), to be reported. Without the card: (0, UNKNOWN).
    """
    return pedestal(header.extra, header.software)


def pedestal(cards: Mapping[str, object], software: str | None) -> tuple[float | None, PedestalRule]:
    """Return the pedestal as `pedestal_to_subtract`, from cards and the name of the program."""
    written = number(cards.get("PEDESTAL"))
    if not written:
        return 0.0, PedestalRule.UNKNOWN
    program = (software or "").lower()
    if "pixinsight" in program:
        return written, PedestalRule.SUBTRACT
    if written < 0 or any(name in program for name in ("sbig", "maxim", "ccdops", "ccdsoft", "theskyx")):
        return -written, PedestalRule.ADD
    return None, PedestalRule.UNKNOWN
