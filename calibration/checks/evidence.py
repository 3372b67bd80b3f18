"""What the checks look at, and the one way in which they answer."""

import math
from dataclasses import dataclass

from calibration.errors import FrameCode
from calibration.frames import CaptureRequest, Frame, FrameKind, FrameResult, FrameStats, Verdict

DARK_KINDS = frozenset({FrameKind.BIAS, FrameKind.DARK})

DARK_CURRENT_PER_C = 0.12
"""Relative change of the dark current in one degree (it doubles in about 6 degrees)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousFrame:
    """The frame the camera returned just before, whatever it was for.

    Attributes
    ----------
    stats : FrameStats
        What was measured on it.
    difference_sigma_adu : float or None
        `stats.compare` of this frame and that one; None when their kind or exposure differ.
    identical_rows : float
        Fraction of rows that repeat it pixel for pixel (`stats.compare`).
    accepted : bool
        False when it was refused: the noise of a difference from a bad frame says nothing of this one.
    pair_sigma_adu : float or None
        Its own `difference_sigma_adu` from the good frame before it, of the same request.
    ccd_temp_c : float or None
        Temperature of the sensor.
    """

    stats: FrameStats
    difference_sigma_adu: float | None = None
    identical_rows: float = 0.0
    accepted: bool = True
    pair_sigma_adu: float | None = None
    ccd_temp_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the checks look at. `reference` is a good frame of the same set, None for the first."""

    frame: Frame
    stats: FrameStats
    request: CaptureRequest
    returned_after_s: float | None
    previous: PreviousFrame | None
    reference: FrameResult | None
    expected_shape: tuple[int, int] | None

    @property
    def is_dark(self) -> bool:
        """Whether no light is wanted on the frame."""
        return self.request.kind in DARK_KINDS

    @property
    def is_sky(self) -> bool:
        """Whether it is a flat without a panel: the sky's brightness, gradient and stars change by nature."""
        return self.request.kind is FrameKind.FLAT and self.request.panel_brightness is None

    @property
    def is_flooded(self) -> bool:
        """Whether the middle of the frame is at the end of a converter: light does that as well as a broken readout.

        Such a value is a row of ones, at least eight, with zeros behind it where the data are shifted.
        """
        if not math.isfinite(self.stats.max_adu):  # a frame without a finite pixel
            return False
        value = int(self.stats.max_adu)
        step = value & -value
        clipped = self.stats.sigma_adu == 0 and self.stats.level_adu == value
        return clipped and value >= 255 * step > 0 and (value // step + 1).bit_count() == 1

    @property
    def pair_sigma_adu(self) -> float | None:
        """Temporal noise from the frame before, where that was a good one of the same exposure."""
        if self.previous is None or not self.previous.accepted:
            return None
        return self.previous.difference_sigma_adu

    @property
    def faded(self) -> PreviousFrame | None:
        """The frame before, where that was a good dark of the same exposure: what glows in it glows hardly less now."""
        return self.previous if self.request.kind is FrameKind.DARK and self.pair_sigma_adu is not None else None

    @property
    def warmer_c(self) -> float:
        """How much warmer the sensor is than in the reference, 0 where one of them is not known."""
        return self.warmer_than(self.reference.header.ccd_temp_c if self.reference is not None else None)

    def warmer_than(self, ccd_temp_c: float | None) -> float:
        """Return by how much the sensor is warmer than it was, 0 where one of the temperatures is not known."""
        now = self.frame.header.ccd_temp_c
        return now - ccd_temp_c if now is not None and ccd_temp_c is not None else 0.0

    @property
    def temperature_change_c(self) -> float:
        """How far the sensor's temperature is from the reference's, 0 where one of them is not known."""
        return abs(self.warmer_c)

    @property
    def dark_signal_adu(self) -> float | None:
        """The dark current's part of the reference's level; None where the pedestal is not known."""
        if self.reference is None or self.request.limits.bias_adu is None:
            return None
        return max(0.0, self.reference.stats.level_adu - self.request.limits.bias_adu)

    @property
    def baseline(self) -> FrameStats | None:
        """The best frame for recognising lasting defects of the sensor: the reference, else the previous frame."""
        if self.reference is not None:
            return self.reference.stats
        if self.previous is None or self.previous.stats.saturated_fraction > 0.5:
            return None  # a saturated test flat shows nothing about lines
        return self.previous.stats


def beyond(
    code: FrameCode, measured: float, limit: float, detail: str = "", *, refuses: bool = True, over: bool = True
) -> Verdict | None:
    """Return the verdict if `measured` is above `limit` (below it when not `over`), else None."""
    if not (measured > limit if over else measured < limit):
        return None
    return Verdict(code=code, refuses=refuses, measured=float(measured), limit=float(limit), detail=detail)
