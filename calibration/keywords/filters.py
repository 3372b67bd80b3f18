"""The filter of a flat: its name as headers hold it, and where it is found in those of other programs.

A name is found in the cards of single wheels, else in words. A folder counts only as a whole (`V`, `flats_V_10s`):
`Red Cat 51` and `telescope B` are no filters. In a file's name the word stands beside the kind, numbers or the edge
(`flat_V_001`). All words that count must mean the same filter.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from calibration.keywords.kinds import kind_of_word, says_kind
from calibration.keywords.letters import ascii_text, shortened
from calibration.keywords.values import text

_LONGEST = 48
"""Characters of a filter's name in a header: the rest of a card holds the checksum that makes equal names different."""

WHEELS = ("FILTER1", "FILTER2", "FILTER3", "FILTER4", "FILTERA", "FILTERB", "FILT1", "FILT2")
"""Cards of single wheels in one beam: the filter is what stands in them, open positions left out."""

_OPEN = frozenset({"clear", "open", "empty", "air", "free", "no filter", "nofilter", "blank", "out", "gap", "0"})
_LETTERS = {letter: letter for letter in ("L", "R", "G", "B", "U", "V", "I", "u", "g", "r", "i", "z", "y")}
_BY_NAME = {
    "L": "lum luminance", "R": "red", "G": "green", "B": "blue", "Ha": "ha halpha hα", "Hb": "hb hbeta hβ",
    "OIII": "oiii o3", "SII": "sii s2", "NII": "nii n2", "Clear": "clear", "Dual": "dualband lextreme lenhance",
    "u": "up sdssu", "g": "gp sdssg", "r": "rp sdssr", "i": "ip sdssi", "z": "zp zs sdssz",
}  # fmt: skip
_NAMES = {name: known for known, names in _BY_NAME.items() for name in names.split()}
_LINE = re.compile(r"(h[ab]|hα|hβ|oiii|o3|sii|s2|nii|n2)[- ]?\d+(?:[.,]\d+)?nm", re.IGNORECASE)
_ALPHA = re.compile(r"\bh[-_ ]?(alpha|beta)\b|(?<=_)h[-_ ]?(alpha|beta)(?=_|\b)", re.IGNORECASE)
_JOINED = re.compile(r"(?i:sky|dome|twilight|auto)?(?i:flats?)(L|R|G|B|U|V|I|Ha|Hb|OIII|SII|Lum|Red|Green|Blue)\d*")
_TOKEN = re.compile(r"[^\W_]+(?:[.,]\d+nm)?")
_BESIDE = (
    "filter filters filt filtre band johnson cousins bessell bessel kron sloan sdss ps1 baader astrodon chroma antlia "
    "optolong astronomik zwo narrowband broadband panorot nofilt fits fit fts gz bz2 fz"
)
_OF_FILTERS = frozenset(_BESIDE.split())
"""Words that may stand beside the name of a filter, endings of files included."""

_NO_NAME = frozenset({"wheel", "test", "tests", "set", "change", "changed", "name", "none", "unknown"})
_MEASURE = re.compile(
    r"\d+(?:[.,]\d+)?(?:s|sec|ms|us|c|degc|nm|mm|adu|e)?|m?\d+(?:[.,]\d+)?|\d+x\d+|bin\d(?:x\d)?|(?:g|gain|o|offset)\d+"
    r"|\d{8}t\d{6}|pa\d+",
    re.IGNORECASE,
)
"""Numbers in names: dates, exposures, temperatures, binning, counters."""

_STATED = re.compile(r"(?:^|[_\W])filt(?:er|re)?[ _=-]+([^\s_/\\=]+?)(?:\.\w{2,4})*(?=_|\s|$)", re.IGNORECASE)


def filter_name(written: str) -> str | None:
    """Return a filter's name as it is had back from a header; None where a header would hold none, as for "N/A".

    Texts that a header cannot keep apart (`Hα` and `Ha`, blanks around a name) are one name.
    """
    return text(shortened(ascii_text(written), _LONGEST))


def distinct_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Return names for the positions of a wheel, in their order, of which no two are equal in a header.

    Parameters
    ----------
    labels : sequence of str
        As the wheel's driver has them. A position without a name is called by its number, as positions with the same
        name are: "Filter 3", "Empty (position 4)". Numbers are ASCOM's, which begin at 0.
    """
    names = [filter_name(label) or f"Filter {place}" for place, label in enumerate(labels)]
    while doubles := {name for name, count in Counter(names).items() if count > 1}:
        names = [f"{name} (position {place})" if name in doubles else name for place, name in enumerate(names)]
    return tuple(names)


def filter_of_wheels(cards: Mapping[str, object]) -> tuple[str | None, frozenset[str]]:
    """Return the filter that the cards of single wheels state together, and the cards that were read."""
    found = {keyword: name for keyword in WHEELS if (name := text(cards.get(keyword))) is not None}
    closed = [name for name in found.values() if name.lower() not in _OPEN]
    names = closed or list(found.values())[:1]
    return "+".join(dict.fromkeys(names)) or None, frozenset(found)


def filter_of_path(path: PurePath, subject: object = None) -> str | None:
    """Return the filter that file, folders or OBJECT name, e.g. 'FILTER_R' or 'flats/V/flat_V_001.fits'.

    Parameters
    ----------
    path : PurePath
        Folders above the one that names the kind ('flats') are not looked at; without such a folder only the nearest.
    subject : object
        The OBJECT card; it counts when all its other words are about a calibration frame.
    """
    folders = _folders(path)
    stated = {name for part in (path.name, *folders) if (name := _stated(part)) is not None}
    if stated:
        return stated.pop() if len(stated) == 1 else None
    found = set(_named_file(path.name)) | {name for folder in folders for name in _named_folder(folder)}
    found |= set(_named_subject(subject))
    return found.pop() if len(found) == 1 else None


def _stated(part: str) -> str | None:
    """Return what stands behind the word 'filter'; a number of three digits is that of a frame."""
    match = _STATED.search(part)
    if match is None or match[1].lower() in _NO_NAME or says_kind(match[1]) or re.fullmatch(r"\d{3,}", match[1]):
        return None
    return match[1]


def is_filter_name(value: object) -> bool:
    """Whether a value is the name of a filter as many have it: 'V', 'Halpha', 'OIII 7nm'."""
    written = text(value)
    return written is not None and _name(re.sub(r"[- _](?=\d+nm$)", "", written, flags=re.IGNORECASE)) is not None


def _folders(path: PurePath) -> list[str]:
    folders = list(path.parts[:-1])
    kinds = [i for i, folder in enumerate(folders) if kind_of_word(folder) is not None]
    return folders[kinds[-1] :] if kinds else folders[-1:]


def _tokens(written: str) -> list[str]:
    return _TOKEN.findall(_ALPHA.sub(lambda match: f"H{match[1] or match[2]}", written))


def _named_folder(written: str) -> Iterator[str]:
    tokens = _tokens(written)
    if all(_named(token) or _is_beside(token) for token in tokens):
        yield from (name for token in tokens if (name := _named(token)) is not None)


def _named_file(written: str) -> Iterator[str]:
    tokens = _tokens(written)
    for i, token in enumerate(tokens):
        around = [each for each in tokens[max(i - 1, 0) : i] + tokens[i + 1 : i + 2] if len(each) > 1]
        if (name := _named(token)) is not None and all(_named(each) or _is_beside(each) for each in around):
            yield name


def _is_beside(token: str) -> bool:
    """Whether a word may stand beside the name of a filter: it is about the frame, or a number."""
    return token.lower() in _OF_FILTERS or says_kind(token) or _MEASURE.fullmatch(token) is not None


def _named(token: str) -> str | None:
    joined = _JOINED.fullmatch(token)
    return _name(joined[1] if joined else token)


def _name(token: str) -> str | None:
    line = _LINE.fullmatch(token)
    return _LETTERS.get(token) or _NAMES.get((line[1] if line else token).lower())


def _named_subject(subject: object) -> Iterator[str]:
    written = text(subject) or ""
    tokens = _tokens(written)
    names = [name for token in tokens if (name := _named(token)) is not None]
    others = [token for token in tokens if not token.isdigit() and _named(token) is None]
    if kind_of_word(" ".join(others)) is not None:
        yield from names
