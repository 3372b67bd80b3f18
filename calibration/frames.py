"""The records a frame travels in: the request, the result, and the verdicts on it.

Everything here is frozen data without behaviour beyond small derived properties, and `pixel_sha256`, the identity of a
frame whatever its file. Units are part of the names (`_us _s _c _adu _e _um _pct`); arrays are `[y, x]`; None means
"not known", which is never the same as 0.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""Pixel values of one frame, shape (y, x): uint16 from a camera, any real dtype from a foreign file."""


class FrameKind(StrEnum):
    """What an exposure is for (IMAGETYP). A flat dark is a DARK."""

    BIAS = "BIAS"
    DARK = "DARK"
    FLAT = "FLAT"
    LIGHT = "LIGHT"


class Purpose(StrEnum):
    """What becomes of an exposure: thrown away unseen, measured, or measured and kept."""

    DISCARD = "discard"
    TEST = "test"
    KEEP = "keep"


class Cover(StrEnum):
    """Where the cover is wanted."""

    OPEN = "open"
    CLOSED = "closed"
    LEAVE = "leave"


class GroupStatus(StrEnum):
    """How the capture of a group ended."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Roi:
    """A subframe in binned pixels, as ASCOM counts it."""

    start_x: int = 0
    start_y: int = 0
    num_x: int
    num_y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """What is known of one frame; `calibration.keywords` turns it into FITS cards and back.

    `exposure_us` is the *requested* time (EXPTIME, EXPOSURE), `reported_exposure_us` what the camera said (XPOSURE).
    `gain` is the driver's setting, never e-/ADU; that is `egain_e_adu`. `frame_no` counts from 1 within the set.
    `extra` keeps cards of foreign files that have no field here. `calibrated` names what another program has applied to
    the pixels, in the letters of CALSTAT (B bias, D dark, F flat), `pedestal_adu` what it then added to them; both are
    None for a raw frame. `unread` holds the settings whose text is not understood, as 'GAIN=High': they keep frames
    apart all the same.
    """

    kind: FrameKind
    shape: tuple[int, int]
    exposure_us: int | None = None
    reported_exposure_us: int | None = None
    asked_exposure_us: int | None = None
    """What the driver was asked for, where the camera makes another exposure of it, which is `exposure_us` then."""
    date_obs: datetime | None = None
    date_avg: datetime | None = None
    date_end: datetime | None = None
    night: str | None = None
    run_id: str | None = None
    set_id: str | None = None
    frame_no: int | None = None
    instrument: str | None = None
    camera_id: str | None = None
    detector: str | None = None
    telescope: str | None = None
    focal_length_mm: float | None = None
    site_latitude_deg: float | None = None
    site_longitude_deg: float | None = None
    gain: int | None = None
    offset: int | None = None
    readout_mode: str | None = None
    egain_e_adu: float | None = None
    saturation_adu: float | None = None
    step_adu: int | None = None
    bin_x: int = 1
    bin_y: int = 1
    origin_x: int = 0
    origin_y: int = 0
    pixel_size_x_um: float | None = None
    pixel_size_y_um: float | None = None
    row_order: str | None = None
    bayer_pattern: str | None = None
    bayer_offset_x: int | None = None
    bayer_offset_y: int | None = None
    ccd_temp_c: float | None = None
    temp_begin_c: float | None = None
    temp_end_c: float | None = None
    set_temp_c: float | None = None
    cooler_power_pct: float | None = None
    filter: str | None = None
    filter_label: str | None = None
    """The filter's name in the driver of its wheel, where a header cannot hold it, or another position has it too."""
    rotator_angle_deg: float | None = None
    panel_brightness: int | None = None
    source: str | None = None
    """What lit a flat: `panel` or `sky`; None for darks and foreign files that do not say."""
    cover: str | None = None
    median_adu: float | None = None
    std_adu: float | None = None
    min_adu: float | None = None
    max_adu: float | None = None
    simulated: bool = False
    software: str | None = None
    calibrated: str | None = None
    pedestal_adu: float | None = None
    unread: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def exposure_s(self) -> float | None:
        """Requested exposure in seconds."""
        return None if self.exposure_us is None else self.exposure_us / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One exposure with its header."""

    header: FrameHeader
    pixels: Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameStats:
    """What is measured on every frame (docs/contracts.md, "Records").

    `level_adu` is the 3-sigma-clipped median of the central 50 % x 50 % (colour sensors: of the brightest Bayer
    plane); `sigma_adu` a robust sigma of the same region; `step_adu` the greatest common divisor of the values;
    `gradient_adu` the largest difference between the levels of corners, edges and centre, which `region_adu` holds in
    reading order. `saturated_lines` counts mostly saturated rows and columns, `constant_rows` the rows of a single
    value; `jump_adu` is the largest step between neighbouring bands of rows or columns beyond their scatter.
    """

    level_adu: float
    mean_adu: float
    sigma_adu: float
    min_adu: float
    max_adu: float
    saturated_fraction: float
    zero_fraction: float
    step_adu: int
    gradient_adu: float
    mid_at: datetime
    pixel_sha256: str
    region_adu: tuple[float, ...] = ()
    saturated_lines: int = 0
    constant_rows: int = 0
    jump_adu: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of one check: `measured` against `limit`; `refuses` says whether the frame is lost by it."""

    code: str
    refuses: bool
    measured: float
    limit: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a plan knows about the frames it asks for; None switches a check off.

    Attributes
    ----------
    level_adu, level_tolerance_adu : float
        Level wanted and half-width allowed around it (absolute ADU, pedestal included).
    saturation_adu : float
        Saturation level; pixels at or above 0.98 of it count as saturated.
    max_saturated_fraction : float
        More than this refuses the frame.
    pedestal_adu, pedestal_tolerance_adu : float
        Expected level of a bias or dark and the difference allowed.
    bias_adu : float
        Of a dark: the pedestal it stands on, the rest of its level being dark current.
    noise_adu, noise_tolerance : float
        Expected sigma of the difference of successive frames over sqrt 2, and the relative difference allowed; of
        flats at `level_adu`.
    light_adu : float
        Level above which a bias or dark is lit.
    gradient_adu : float
        Largest gradient allowed.
    temperature_tolerance_c : float
        |CCD-TEMP - SET-TEMP| allowed at both ends.
    temperature_span_c : float
        How far the temperatures of the frames of a set may lie apart; the set is left before it is more.
    stop_early : bool
        End the request at the first refused frame (series under a drifting lamp).
    """

    level_adu: float | None = None
    level_tolerance_adu: float | None = None
    saturation_adu: float | None = None
    max_saturated_fraction: float | None = None
    pedestal_adu: float | None = None
    pedestal_tolerance_adu: float | None = None
    bias_adu: float | None = None
    noise_adu: float | None = None
    noise_tolerance: float | None = None
    light_adu: float | None = None
    gradient_adu: float | None = None
    temperature_tolerance_c: float | None = 0.5
    temperature_span_c: float | None = None
    stop_early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """`count` equal exposures and the whole state they need; nothing else moves a device.

    A setting that is None is left as found, read back, recorded and reported — never set to 0.
    `panel_brightness` None means the panel is off. `wait_s` is waited after the state is reached, before exposing.
    `source` says where the light of flats comes from: `panel` or `sky`.
    """

    kind: FrameKind
    purpose: Purpose
    exposure_us: int
    count: int = 1
    gain: int | None = None
    offset: int | None = None
    readout_mode: int | str | None = None
    binning: int | None = None
    roi: Roi | None = None
    filter: str | None = None
    panel_brightness: int | None = None
    source: str | None = None
    cover: Cover = Cover.LEAVE
    set_temp_c: float | None = None
    wait_s: float = 0.0
    limits: Limits = field(default_factory=Limits)
    set_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameResult:
    """What came of one exposure of a request. `path` is None when the frame was not kept.

    `pair_sigma_adu` is the robust sigma of the difference to the frame before it in the same request, over sqrt 2:
    the temporal noise (`calibration.stats.compare`); None for the first frame of a request.
    """

    request: CaptureRequest
    header: FrameHeader
    stats: FrameStats
    verdicts: tuple[Verdict, ...] = ()
    path: PurePath | None = None
    pair_sigma_adu: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether no check refused the frame."""
        return not any(v.refuses for v in self.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkSeen:
    """The dark current that one good frame shows, at the temperature of the sensor in it."""

    rate_adu_s: float
    exposure_us: int
    ccd_temp_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOutcome:
    """How the capture of one set ended. `code` is None when complete; `detail` says it in words.

    `darkest` is what the darkest good frame of a dark set showed, test frames included.
    """

    status: GroupStatus
    code: str | None = None
    accepted: int = 0
    refused: int = 0
    exposure_us: int | None = None
    panel_brightness: int | None = None
    detail: str = ""
    darkest: DarkSeen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupKey:
    """What frames must share to be combined (docs/contracts.md, "Records"). Missing is not 0 and matches only missing.

    `exposure_us` and `temperature_c` are None for flats, `filter`, `night`, `source` and `rotator_angle_deg` None for
    biases and darks. `camera` includes whether the frames are simulated. `temperature_c` is the cluster's label.
    `egain_e_adu` is the gain of cameras that state it in e-/ADU alone, None where there is a gain setting.
    """

    kind: FrameKind
    camera: str
    shape: tuple[int, int]
    binning: tuple[int, int]
    origin: tuple[int, int]
    gain: int | None
    offset: int | None
    readout_mode: str | None
    row_order: str | None = None
    exposure_us: int | None = None
    temperature_c: float | None = None
    filter: str | None = None
    night: str | None = None
    source: str | None = None
    rotator_angle_deg: float | None = None
    egain_e_adu: float | None = None
    bayer_pattern: str | None = None
    calibrated: str | None = None
    pedestal_adu: float | None = None
    unread: str | None = None


def us(seconds: float) -> int:
    """Return an exposure in whole microseconds, the form in which exposures are compared."""
    return int(np.rint(seconds * 1e6))


def pixel_sha256(pixels: Pixels) -> str:
    """Return the SHA-256 of the pixels: row by row, little-endian, in the dtype they have, in hexadecimal."""
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return hashlib.sha256(little.view(np.uint8).data).hexdigest()
