"""Is the lamp steady? A few frames of one setting, their slope in time, and the noise between them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from calibration.frames import FrameResult, Limits, Purpose
from calibration.plans.detector import Detector, photon_gain
from calibration.plans.reach import Setting
from calibration.plans.settings import FlatTask, PanelSettings, Plan

FRAMES = 3
"""Frames of one round."""
WINDOW = 6
"""Frames, the last ones, that are judged together."""
SLOPE_LIMIT = 0.005
"""Relative change in 10 s that counts as steady."""
ROUND_WAIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """What a lamp's last frames show.

    Attributes
    ----------
    level_adu : float
        Median level, pedestal included.
    slope : float
        Relative change of the signal in 10 s.
    slope_error : float
        Its standard error; infinite for fewer than four frames.
    scatter : float
        Relative rms about the slope.
    noise_adu : float, optional
        Temporal sigma of a frame; None where differences were not measured.
    noise_error : float
        Relative standard error of one such measurement, from the number of pixels it rests on.
    k_adu_e : float, optional
        System gain from the same differences.
    """

    level_adu: float
    slope: float
    slope_error: float
    scatter: float
    noise_adu: float | None
    noise_error: float
    k_adu_e: float | None

    @property
    def steady(self) -> bool:
        """Whether the lamp drifts less than the limit, or flickers so much more that no drift shows."""
        return abs(self.slope) < SLOPE_LIMIT or abs(self.slope) < 2 * self.slope_error < math.inf


def steadiness(frames: Sequence[FrameResult], detector: Detector) -> Steadiness:
    """Return slope, scatter and noise of equal frames (at least one), by least squares over their mid-exposures."""
    levels = np.array([r.stats.level_adu for r in frames], dtype=np.float64)
    begin = frames[0].stats.mid_at
    at = np.array([(r.stats.mid_at - begin).total_seconds() for r in frames]) / 10.0
    level_adu = float(np.median(levels[-FRAMES:]))
    signal = max(level_adu - detector.bias_adu, 1.0)
    spread = float(np.sum((at - at.mean()) ** 2))
    slope = float(np.sum((at - at.mean()) * (levels - levels.mean()))) / spread if spread > 0 else 0.0
    residuals = levels - levels.mean() - slope * (at - at.mean())
    free = len(frames) - 2
    scatter = math.sqrt(float(np.sum(residuals**2)) / free) if free > 0 else 0.0
    pixels = frames[-1].header.shape[0] * frames[-1].header.shape[1]  # measured in the central quarter, or one plane
    pairs = [r.pair_sigma_adu for r in frames if r.pair_sigma_adu is not None]
    return Steadiness(
        level_adu=level_adu,
        slope=slope / signal,
        slope_error=scatter / math.sqrt(spread) / signal if free > 1 and spread > 0 else math.inf,
        scatter=scatter / signal,
        noise_adu=median(pairs) if pairs else None,
        noise_error=1 / math.sqrt(2 * max(1, pixels // (16 if detector.bayer else 4))),
        k_adu_e=photon_gain(tuple(frames), detector),
    )


def settle(task: FlatTask, detector: Detector, setting: Setting, limits: Limits) -> Plan[Steadiness | None]:
    """Throw one frame away, then watch the lamp until it is steady or its time is up.

    Returns
    -------
    Steadiness or None
        Of the last frames; None when no frame came back.
    """
    timeout_s = (task.panel or PanelSettings()).settle_timeout_s
    yield task.request(Purpose.DISCARD, setting.exposure_us, setting.brightness, limits=limits)
    frames: tuple[FrameResult, ...] = ()
    # bounded by rounds as well: a clock that stands still must not keep us here
    for turn in range(1 + math.ceil(timeout_s / ROUND_WAIT_S)):
        frames += yield task.request(
            Purpose.TEST,
            setting.exposure_us,
            setting.brightness,
            limits=limits,
            count=FRAMES,
            wait_s=ROUND_WAIT_S if turn else 0.0,
        )
        if not frames:
            continue
        seen = steadiness(frames[-WINDOW:], detector)
        elapsed_s = (frames[-1].stats.mid_at - frames[0].stats.mid_at).total_seconds()
        if seen.steady or elapsed_s >= timeout_s:
            return seen
    return steadiness(frames[-WINDOW:], detector) if frames else None
