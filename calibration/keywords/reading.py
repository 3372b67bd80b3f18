"""Cards to records: the table's rows, and the few rules that need more than one card."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Protocol

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import values
from calibration.keywords.kinds import KIND_KEYWORDS, kind_of, kind_of_word
from calibration.keywords.master import MASTER_KEYWORDS, MasterInfo, read_percentiles
from calibration.keywords.table import FRAME_KEYWORDS, Keyword


class HasItems(Protocol):
    """Anything that lists its cards as `dict` does, a FITS header included."""

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return pairs of keyword and value."""
        ...


Cards = HasItems | Iterable[tuple[Any, ...]]

_NOT_EXTRA = frozenset(
    {"", "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "END", "BZERO", "BSCALE", "XTENSION"}
    | {"PCOUNT", "GCOUNT", "EXTNAME", "CHECKSUM", "DATASUM", "HISTORY", "COMMENT", "BUNIT", "TIMESYS", "MJD-OBS"}
    | {"PICTTYPE", *KIND_KEYWORDS}
    | {spelling for row in FRAME_KEYWORDS for spelling in row.known_as}
)
_EXPOSURE_DIRECTORY = "exp_"


def from_cards(cards: Cards, *, shape: tuple[int, int], path_hint: PurePath | None = None) -> FrameHeader:
    """Read the header of a frame, ours or another program's.

    Parameters
    ----------
    cards : mapping or iterable
        Keyword → value, or (keyword, value[, comment]) in the order of the file; of repeated keywords the first counts.
    shape : tuple of int
        Rows and columns.
    path_hint : PurePath, optional
        Where the file lies: names the kind, and the exposure of an `exp_1.000s` folder, when the header does not.

    Returns
    -------
    FrameHeader
        Fields of cards that are missing or not understood are None.

    Raises
    ------
    HeaderError
        The kind of frame is not to be found.
    """
    known = normalised(cards)
    fields = _read(FRAME_KEYWORDS, known)
    kind = kind_of(known, path_hint)
    fields["exposure_us"] = _exposure(known, fields.get("exposure_us"), path_hint)
    fields["date_obs"] = fields.get("date_obs") or _date_obs(known)
    if "egain_e_adu" not in fields and "gain" not in fields:
        fields["egain_e_adu"] = values.electrons_per_adu(known.get("GAIN"))  # a fraction is no setting
    if kind is FrameKind.FLAT and "source" not in fields:
        fields["source"] = _source(known)
    if fields.get("row_order"):
        fields["row_order"] = fields["row_order"].upper()
    extra = {k: v for k, v in known.items() if k not in _NOT_EXTRA and isinstance(v, str | int | float | bool)}
    return FrameHeader(kind=kind, shape=shape, extra=extra, **{k: v for k, v in fields.items() if v is not None})


def master_from_cards(cards: Cards) -> MasterInfo | None:
    """Read what a master's header says of its making; None if it has no NCOMBINE."""
    known = normalised(cards)
    fields = _read(MASTER_KEYWORDS, known)
    if "n_combined" not in fields:
        return None
    return MasterInfo(percentiles_adu=read_percentiles(known), **fields)


def normalised(cards: Cards) -> dict[str, object]:
    """Return cards by upper-case keyword, values as plain Python; the first of a repeated keyword counts."""
    pairs = cards.items() if hasattr(cards, "items") else ((card[0], card[1]) for card in cards)
    found: dict[str, object] = {}
    for keyword, value in pairs:
        found.setdefault(str(keyword).upper().removeprefix("HIERARCH ").strip(), values.plain(value))
    return found


class PedestalRule(StrEnum):
    """What the PEDESTAL of a file means."""

    ADD = "add"
    SUBTRACT = "subtract"
    UNKNOWN = "unknown"


def pedestal_to_subtract(header: FrameHeader) -> tuple[float | None, PedestalRule]:
    """Return the ADU to subtract from a file's values for a zero base, and by which rule.

    SBIG, MaxIm DL and CCDSoft write what is to be *added* (-100), PixInsight what is to be subtracted. Of any other
    program the number is left alone: (None, UNKNOWN), to be reported. Without the card: (0, UNKNOWN).
    """
    written = values.number(header.extra.get("PEDESTAL"))
    if not written:
        return 0.0, PedestalRule.UNKNOWN
    program = (header.software or "").lower()
    if any(name in program for name in ("sbig", "maxim", "ccdops", "ccdsoft", "theskyx")):
        return -written, PedestalRule.ADD
    if "pixinsight" in program:
        return written, PedestalRule.SUBTRACT
    return None, PedestalRule.UNKNOWN


def _read(table: tuple[Keyword, ...], known: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of which some spelling is there and understood."""
    fields: dict[str, Any] = {}
    for row in table:
        for spelling in row.known_as:
            if spelling in known and (value := row.read(known[spelling])) is not None:
                fields[row.field] = value
                break
    return fields


def _exposure(known: Mapping[str, object], found: int | None, path: PurePath | None) -> int | None:
    """Return the exposure, knowing the one keyword in microseconds and the folders named for it."""
    seconds = ("EXPTIME", "EXPOSURE", "EXP", "EXPTIME(S)", "EXP-TIME")
    if "EXPOINUS" in known and not any(k in known for k in seconds):
        return values.microseconds(known["EXPOINUS"])
    if found is None and path is not None:
        for directory in reversed(path.parts[:-1]):
            if directory.lower().startswith(_EXPOSURE_DIRECTORY) and directory.lower().endswith("s"):
                return values.duration_us(directory[len(_EXPOSURE_DIRECTORY) :])
    return found


def _date_obs(known: Mapping[str, object]) -> datetime | None:
    """Return the start from date and time in two cards, else from MJD-OBS or JD."""
    times = [known[k] for k in ("TIME-OBS", "UT", "UTSTART", "TIME-BEG") if k in known]
    for date in (known.get("DATE-OBS"), known.get("DATE")):
        for time in times:
            if (at := values.date_and_time(date, time)) is not None:
                return at
    julian = values.number(known.get("JD"))
    return values.from_mjd(known.get("MJD-OBS")) or values.from_mjd(None if julian is None else julian - 2_400_000.5)


def _source(known: Mapping[str, object]) -> str | None:
    """Return `sky` for a flat whose type says so."""
    words = [written for k in KIND_KEYWORDS if (written := values.text(known.get(k))) is not None]
    spoken = " ".join(word.lower() for word in words if kind_of_word(word) is FrameKind.FLAT)
    return "sky" if "sky" in spoken or "twilight" in spoken else None
