"""Light where there should be none: too bright, too uneven, or a gradient that the set does not have."""

import numpy as np
from numpy.typing import NDArray

from calibration.checks.evidence import DARK_CURRENT_PER_C, Evidence, beyond
from calibration.errors import FrameCode
from calibration.frames import FrameKind, FrameResult, Verdict
from calibration.stats import GRID

ROW_NOISE = 0.3
"""Noise that all pixels of a row share, relative to that of a pixel: as much as ordinary CMOS sensors have."""


CLIP_MOVES = 0.013
"""How far the clipped level of a region moves when a bound of its clip moves by one step of the converter, in steps.

A bound lies 3 sigma away, where a normal distribution has a density of 0.0044 / sigma: 3 x 0.0044.
"""


def _contrasts() -> NDArray[np.float64]:
    """Weights of nine regions, in reading order: what a leak changes and a shift of the whole level does not."""
    table = np.zeros((9, GRID, GRID))
    for i in range(6):  # each band's left and right against its middle: free of row noise
        table[i, i // 2, 2 * (i % 2)], table[i, i // 2, 1] = 1, -1
    table[6, 0], table[6, 1] = 1 / 3, -1 / 3  # top and bottom against the middle
    table[7, 2], table[7, 1] = 1 / 3, -1 / 3
    table[8] = 1 / 8  # all around against the centre
    table[8, 1, 1] = -1
    return table.reshape(9, GRID * GRID)


CONTRASTS = _contrasts()
"""Shape (contrast, region)."""


def light_leak(e: Evidence) -> Verdict | None:
    """Refuse a dark frame that is brighter or less even than its limits allow, or has a gradient its set does not have.

    The change of the nine regions' levels since the reference is seen through contrasts (`CONTRASTS`); a leak of
    3 ADU from centre to edge shows in them as 1.3 ADU.
    """
    if not e.is_dark:
        return None
    absolute = _too_bright(e) or _too_uneven(e)
    if absolute is not None:
        return absolute
    if e.reference is None or len(e.reference.stats.region_adu) != len(e.stats.region_adu) or not e.stats.region_adu:
        return None
    contrasts = np.abs(CONTRASTS @ (np.array(e.stats.region_adu) - np.array(e.reference.stats.region_adu)))
    allowed = _leak_limits(e, e.reference)
    worst = int(np.argmax(contrasts / allowed))
    return beyond(FrameCode.LIGHT_LEAK, float(contrasts[worst]), float(allowed[worst]), "gradient gained, ADU")


def _too_bright(e: Evidence) -> Verdict | None:
    limit = e.request.limits.light_adu
    return None if limit is None else beyond(FrameCode.LIGHT_LEAK, e.stats.level_adu, limit + _coarse(e), "level, ADU")


def _too_uneven(e: Evidence) -> Verdict | None:
    limit = e.request.limits.gradient_adu
    if limit is None:
        return None
    return beyond(FrameCode.LIGHT_LEAK, e.stats.gradient_adu, limit + _coarse(e), "gradient, ADU")


def _coarse(e: Evidence) -> float:
    """Return what is allowed in addition where a converter's steps are coarse: levels are whole steps there."""
    return 2.0 * (e.stats.step_adu - 1)


def _temporal_noise(e: Evidence, reference: FrameResult) -> float:
    """Return the noise of the noisiest region; a pattern is in both frames and does not show.

    What glows has more shot noise than the middle, where it is measured. An electron is no more ADU than the noise
    has, nor than all of the noise being shot noise of the dark current would make it. The skewed pattern of a dark is
    clipped at whole steps of the converter: coarse ones let it show.
    """
    middle, dark = reference.pair_sigma_adu, e.request.kind is FrameKind.DARK
    if middle is None or (dark and e.stats.step_adu > 1):
        return e.stats.sigma_adu
    if not dark:
        return middle
    k_adu_e = min(middle, middle**2 / e.dark_signal_adu) if e.dark_signal_adu else middle
    return float(np.sqrt(middle**2 + k_adu_e * reference.stats.gradient_adu))


def _leak_limits(e: Evidence, reference: FrameResult) -> NDArray[np.float64]:
    """Return the limit of each contrast: 1 ADU, or what a healthy frame changes.

    These are 5 sigma of pixel and row noise in both frames, changes of glow, and the bounds of the clips, which move by
    whole steps of a coarse converter: independent of each other, two regions in two frames.
    """
    height, width = e.frame.pixels.shape
    noise = _temporal_noise(e, reference)
    pixel = (CONTRASTS**2).sum(axis=1) * GRID**2 / (height * width)
    row = (CONTRASTS.reshape(-1, GRID, GRID).sum(axis=2) ** 2).sum(axis=1) * ROW_NOISE**2 * GRID / height
    statistical = 5 * noise * np.sqrt(2 * (pixel + row))
    glow = np.zeros(len(CONTRASTS))
    if e.request.kind is FrameKind.DARK:  # follows the temperature, each contrast as far as the glow has it
        usual = np.abs(CONTRASTS @ np.array(reference.stats.region_adu))
        glow = (0.03 + DARK_CURRENT_PER_C * e.temperature_change_c) * usual
    coarse = 2 * CLIP_MOVES * (e.stats.step_adu - 1)
    return np.asarray(np.maximum(1.0, np.sqrt(statistical**2 + glow**2 + coarse**2)), dtype=np.float64)
