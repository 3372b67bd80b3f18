"""Verdicts on a frame as it lands: one small function per check, values in, verdicts out.

`judge` runs them all. A frame is held against the request's limits, against the frame the camera returned just before
(`PreviousFrame`: stale buffers, temporal noise) and against a good frame of the same set (`reference`, best the first
accepted one: leaks, gain and lamp that change within a set). What is not known switches its checks off. Limits are
set where healthy frames do not fall: each says why. Nothing here decides what happens next.
"""

from collections.abc import Callable, Iterable

from calibration.checks.evidence import DARK_KINDS, Evidence, PreviousFrame
from calibration.checks.integrity import (
    constant,
    duplicate,
    exposure_mismatch,
    partial,
    saturated_lines,
    size_changed,
    temperature_off,
    too_fast,
)
from calibration.checks.levels import lamp_drift, level_off, noise_off, pedestal_limits, pedestal_off
from calibration.checks.light import CONTRASTS, light_leak
from calibration.frames import CaptureRequest, Frame, FrameResult, FrameStats, Verdict

__all__ = [
    "CHECKS",
    "CONTRASTS",
    "DAMAGE",
    "Evidence",
    "PreviousFrame",
    "judge",
    "pedestal_limits",
]

DAMAGE: tuple[Callable[[Evidence], Verdict | None], ...] = (constant, partial, duplicate, too_fast)
"""Of frames that are not this exposure, or not whole: their level and noise show only the damage."""

CHECKS: tuple[Callable[[Evidence], Verdict | None], ...] = (
    *DAMAGE,
    saturated_lines,
    level_off,
    pedestal_off,
    noise_off,
    light_leak,
    temperature_off,
    exposure_mismatch,
    lamp_drift,
)
"""In the order in which verdicts are reported; `size_changed` goes before them all."""


def judge(
    frame: Frame,
    stats: FrameStats,
    *,
    request: CaptureRequest,
    returned_after_s: float | None = None,
    previous: PreviousFrame | None = None,
    reference: FrameResult | None = None,
    expected_shape: tuple[int, int] | None = None,
) -> tuple[Verdict, ...]:
    """Judge one frame.

    Parameters
    ----------
    frame : Frame
        The frame as it will be written; its header holds what the device reported.
    stats : FrameStats
        `stats.measure` of its pixels.
    request : CaptureRequest
        What was asked for, with its limits.
    returned_after_s : float, optional
        Clock seconds from the start of the exposure to the image.
    previous : PreviousFrame, optional
        The frame returned just before.
    reference : FrameResult, optional
        A good frame of the same set, best the first accepted one; with its `pair_sigma_adu` (or that of the next)
        the temporal noise is judged too.
    expected_shape : tuple of int, optional
        Rows and columns of the region that was set.

    Returns
    -------
    tuple of Verdict
        Empty when nothing was found. A verdict with `refuses` False is a doubt that does not cost the frame.
    """
    evidence = Evidence(
        frame=frame,
        stats=stats,
        request=request,
        returned_after_s=returned_after_s,
        previous=previous,
        reference=reference if _comparable(request, reference) else None,
        expected_shape=expected_shape,
    )
    size = size_changed(evidence)
    if size is not None:
        return (size,)  # nothing else can be compared
    damage = _found(DAMAGE, evidence)
    if any(v.refuses for v in damage) and not evidence.is_flooded:
        return damage
    return _found(CHECKS, evidence)


def _found(checks: Iterable[Callable[[Evidence], Verdict | None]], evidence: Evidence) -> tuple[Verdict, ...]:
    return tuple(verdict for check in checks if (verdict := check(evidence)) is not None)


def _comparable(request: CaptureRequest, reference: FrameResult | None) -> bool:
    """Whether a reference is of the same kind and, for biases and darks, of the same exposure."""
    if reference is None or reference.request.kind is not request.kind:
        return False
    return request.kind not in DARK_KINDS or reference.request.exposure_us == request.exposure_us
