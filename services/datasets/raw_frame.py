"""One raw file as a FITS frame: its pixels, what settings, log and name say of it, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.frames import Frame, FrameHeader, FrameKind, us
from calibration.keywords import Card
from calibration.keywords.letters import ascii_text
from calibration.keywords.values import integer
from services.datasets.log import CardValue
from services.datasets.names import NameFacts
from services.datasets.settings import ImageFormat, keyword_of
from services.files.units import is_structure

SIGNATURE = "RAWSIGN"
"""Keyword that identifies what a frame was made of; frames of other programs have none."""


_LONGEST_S = 1e8
"""No exposure takes longer: what says so is no exposure."""
_LONGEST_HIERARCH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFacts:
    """What is known of a raw file beside its pixels.

    Attributes
    ----------
    kind : FrameKind or None
        None for frames of operation.
    row : mapping
        Its row of the log, as cards; empty where there is none.
    name : NameFacts
        What its name says.
    folder_s : float or None
        The exposure that its folders state.
    settings : mapping
        The settings of its attempt.
    signature : str
        Identifies the raw file and all that its header is made of.
    """

    kind: FrameKind | None
    row: Mapping[str, CardValue]
    name: NameFacts
    folder_s: float | None
    settings: Mapping[str, str]
    signature: str

    @property
    def exposure_s(self) -> float | None:
        """Its exposure: the log's, else that of its name, else that of its folders."""
        logged = self.row.get("EXPTIME")
        if isinstance(logged, int | float) and 0 <= logged <= _LONGEST_S:
            return float(logged)
        return self.folder_s if self.name.exposure_s is None else self.name.exposure_s

    @property
    def frame(self) -> int | None:
        """Its number."""
        return self.name.frame


def pixels_of_raw(data: bytes, image: ImageFormat) -> tuple[NDArray[Any], int]:
    """Return the pixels of a raw file and how many bytes it has too few (negative) or too many.

    Pixels that are missing are NaN in an image of float32, so that no master and no model takes them for counts.

    Parameters
    ----------
    data : bytes
    image : ImageFormat

    Returns
    -------
    pixels : ndarray
        Shape (height, width): uint8 or uint16, float32 where some are missing.
    excess : int
        Bytes beyond the image; 0 where the size is right.
    """
    excess = len(data) - image.bytes
    dtype = np.dtype(image.dtype)
    whole = min(len(data), image.bytes) // dtype.itemsize
    values = np.frombuffer(data, dtype, count=whole)
    if excess >= 0:
        return values.reshape(image.height, image.width).astype(dtype.newbyteorder("="), copy=False), excess
    pixels = np.full(image.height * image.width, np.nan, np.float32)
    pixels[:whole] = values
    return pixels.reshape(image.height, image.width), excess


def frame_of(pixels: NDArray[Any], facts: RawFacts) -> Frame:
    """Return a frame with what a header of any camera says of it."""
    temperature, gain, reported = (facts.row.get(name) for name in ("TEMP", "GAIN", "REXPTIME"))
    header = FrameHeader(
        kind=facts.kind or FrameKind.LIGHT,
        shape=(pixels.shape[0], pixels.shape[1]),
        exposure_us=None if facts.exposure_s is None else us(facts.exposure_s),
        reported_exposure_us=us(reported) if isinstance(reported, float) and 0 <= reported <= _LONGEST_S else None,
        ccd_temp_c=temperature if isinstance(temperature, float) else None,
        gain=integer(gain) if isinstance(gain, float) else None,
        instrument=next((value for key, value in facts.settings.items() if keyword_of(key) == "CAMERA"), None),
    )
    return Frame(header=header, pixels=pixels)


def cards_of(pixels: NDArray[Any], excess: int, facts: RawFacts, image: ImageFormat) -> tuple[Card, ...]:
    """Return the cards that users of earlier conversions read: CALTYPE, TEMP, FILETEMP, BADSIZE and the settings.

    ZEROFRAC is the share of pixels that are 0, counted here once; RAWSIGN says what the file was made of.
    """
    zeros = pixels.size - int(np.count_nonzero(pixels))
    known: dict[str, CardValue] = {keyword_of(key): value for key, value in facts.settings.items()}
    of_row = {key[:_LONGEST_HIERARCH]: value for key, value in facts.row.items()}
    known |= {key: value for key, value in of_row.items() if key not in _OF_THE_HEADER or isinstance(value, str)}
    known["CALTYPE"] = "OPER" if facts.kind is None else facts.kind.value
    named = {"FRAMENUM": facts.frame, "FILETEMP": facts.name.temperature_c}
    known |= {key: value for key, value in named.items() if value is not None}
    if excess:
        known |= {"BADSIZE": True, "RAWEXCES": excess}
    known |= {"RAWBITS": image.bit_depth, "NZEROS": zeros, "ZEROFRAC": zeros / pixels.size, SIGNATURE: facts.signature}
    return tuple(_card(key, value) for key, value in known.items() if key and not is_structure(key))


def _card(keyword: str, value: CardValue) -> Card:
    """Return a card; one of a longer keyword than eight characters is written as the ESO's hierarchical ones are."""
    plain = ascii_text(value) if isinstance(value, str) else value
    return Card(keyword, plain, _COMMENTS.get(keyword, ""))


_OF_THE_HEADER = frozenset({"EXPTIME", "GAIN"})
"""Keywords of the log that stand in the header anyway; their text, where they are no numbers, is kept."""
_COMMENTS = {
    "CALTYPE": "type of frame",
    "TEMP": "[deg C] sensor",
    "EQTEMP": "[deg C] outside",
    "FILETEMP": "[deg C] by the name of the raw file",
    "REXPTIME": "[s] exposure that was made",
    "BADSIZE": "the raw file has too few or too many bytes",
    "RAWEXCES": "[byte] too many, or too few",
    "RAWBITS": "bits of a count in the raw file",
    "NZEROS": "pixels that are 0",
    "ZEROFRAC": "share of pixels that are 0",
    SIGNATURE: "what this file was made of",
}
