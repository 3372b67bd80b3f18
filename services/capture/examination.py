"""Measures a frame as it lands and holds it against its request, the frame before it and the first of its set."""

from dataclasses import dataclass

from calibration.checks import PreviousFrame, judge
from calibration.frames import CaptureRequest, Frame, FrameResult, FrameStats, Verdict
from calibration.stats import compare, measure
from drivers.base import CameraSettings
from services.capture.acquisition import TakenExposure


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The measurements and verdicts of a frame.

    `pair_sigma_adu` is the temporal noise from the frame before it in the same request; None for the first, and after a
    frame that was refused.
    """

    stats: FrameStats
    verdicts: tuple[Verdict, ...]
    pair_sigma_adu: float | None

    @property
    def accepted(self) -> bool:
        """Whether nothing refused the frame."""
        return not any(v.refuses for v in self.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The frame that the camera returned last, with its pixels and verdicts."""

    frame: Frame
    request: CaptureRequest
    examined: Examined


def examine(
    frame: Frame, taken: TakenExposure, *, previous: Seen | None, first: bool, reference: FrameResult | None
) -> Examined:
    """Measure and judge one frame.

    Parameters
    ----------
    frame : Frame
        As it will be written.
    taken : TakenExposure
        The exposure it came from.
    previous : Seen or None
        The frame returned just before, whatever it was for.
    first : bool
        Whether it is the first frame of its request.
    reference : FrameResult or None
        The first accepted frame of its set, with the temporal noise of the first good pair.
    """
    header = frame.header
    mosaic = header.bayer_pattern is not None
    mid_at = header.date_avg or taken.exposure.started_at
    stats = measure(frame.pixels, saturation_adu=header.saturation_adu, bayer=mosaic, mid_at=mid_at)
    before = _previous(frame, taken.request, previous, mosaic=mosaic)
    verdicts = judge(
        frame,
        stats,
        request=taken.request,
        returned_after_s=taken.exposure.returned_after_s,
        previous=before,
        reference=reference,
        expected_shape=_expected_shape(taken.reached.settings),
    )
    pair = None
    if before is not None and before.accepted and not first:
        pair = before.difference_sigma_adu
    return Examined(stats=stats, verdicts=verdicts, pair_sigma_adu=pair)


def _previous(frame: Frame, request: CaptureRequest, previous: Seen | None, *, mosaic: bool) -> PreviousFrame | None:
    if previous is None or previous.frame.pixels.shape != frame.pixels.shape:
        return None
    pair = compare(frame.pixels, previous.frame.pixels, bayer=mosaic)
    alike = (request.kind, request.exposure_us) == (previous.request.kind, previous.request.exposure_us)
    return PreviousFrame(
        stats=previous.examined.stats,
        difference_sigma_adu=pair.difference_sigma_adu if alike else None,
        identical_rows=pair.identical_rows,
        accepted=previous.examined.accepted,
        pair_sigma_adu=previous.examined.pair_sigma_adu,
        ccd_temp_c=previous.frame.header.ccd_temp_c,
    )


def _expected_shape(settings: CameraSettings) -> tuple[int, int] | None:
    if settings.num_x is None or settings.num_y is None:
        return None
    return settings.num_y, settings.num_x
