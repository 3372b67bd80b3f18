"""What speaks against a new master; and the comparison of two masters in memory."""

from collections.abc import Iterator
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from calibration.comparing.planes import CHANGED_SIGMAS, baseline, changed_pixels, sample_of_rows
from calibration.comparing.records import (
    DOUBLING_C,
    Baseline,
    Changes,
    MasterFacts,
    MasterPlanes,
    apart_c,
    known,
    minus,
    over,
)
from calibration.errors import MasterCode
from calibration.frames import FrameKind, Verdict

_LEVEL_ADU, _WANDER_SIGMAS = 12.5, 4.2
"""Shift of the level from night to night that is usual: 4.2 standard deviations of 3 ADU, or of what is learned."""

_SIGNAL_SHARE = 0.3
"""Part of a predicted change of the dark signal that may be wrong."""

_NOISE, _FLAT_NOISE, _GAIN = 0.06, 0.10, 0.07
"""Relative changes of the noise of a bias or dark, of a flat, and of a flat's noise² over its level."""

_GAIN_PER_LEVEL = 0.05
"""A brighter flat has up to this part less noise² for its level, for a level that is e times as high; never more."""

_LIGHT, _LIGHT_OTHERWISE = 1.3, 2.5
"""Factor of the light of a lamp at the same brightness, and at another one."""

_UNLIKE = 0.02
"""Part of the pixels that may have changed in a bias or dark."""

_NEW_PER_MEGAPIXEL, _FEW = 150.0, 3.0
"""Pixels that may become bright, or dark, from one night to the next by more than `_STRONG_ADU` and `_STRONG_NOISE`."""


def verdicts(common: Baseline | None, changes: Changes, after: MasterFacts, before: MasterFacts) -> tuple[Verdict, ...]:
    """Return what speaks against a new master; `refuses` is False for what is right for its night (new dust).

    Parameters
    ----------
    common : Baseline, optional
        None where the planes of the old one are gone: then the facts alone are compared.
    changes : Changes
    after, before : MasterFacts
    """
    judge = _of_flat if after.kind is FrameKind.FLAT else _of_dark
    return tuple(judge(common, changes, after, before))


def compare(new: MasterPlanes, old: MasterPlanes, *, rows: int = 256) -> tuple[tuple[Verdict, ...], NDArray[np.bool_]]:
    """Compare two masters in memory, band by band; return the verdicts and where CHANGED is to be set.

    Parameters
    ----------
    new, old : MasterPlanes
        Of one kind, shape and settings.
    rows : int
        Of a band.
    """
    height, width = new.mean.shape
    lines, columns = sample_of_rows(height, width)
    common = baseline(new.mean[lines, columns], old.mean[lines, columns], new.facts, old.facts)
    mask, changes = np.zeros((height, width), np.bool_), Changes()
    for start in range(0, height, rows):
        band = slice(start, start + rows)
        sigmas = (None if each.sigma is None else each.sigma[band] for each in (new, old))
        new_sigma, old_sigma = sigmas
        at, counts = changed_pixels(common, new.mean[band], new_sigma, old.mean[band], old_sigma)
        mask[band].reshape(-1)[at] = True
        changes.add(counts)
    return verdicts(common, changes, new.facts, old.facts), mask


def _of_dark(common: Baseline | None, changes: Changes, after: MasterFacts, before: MasterFacts) -> Iterator[Verdict]:
    yield from _level(common, after, before)
    expected = sqrt(1.0 + _shot_share(before) * (2.0 ** (apart_c(after, before) / DOUBLING_C) - 1.0))
    error = 4.0 * _noise_error(changes.pixels, after, before)
    yield from _ratio(
        MasterCode.NOISE_CHANGED, over(after.noise_adu, before.noise_adu, expected), _NOISE + error, "the noise"
    )
    if common is None:
        return
    if common.shape > common.shape_limit:
        detail = f"the level has another shape over the frame, by {common.shape:.1f} ADU: light, or another glow"
        yield _verdict(MasterCode.STRUCTURE_CHANGED, common.shape, common.shape_limit, detail)
    share = changes.changed / max(changes.pixels, 1)
    if share > _UNLIKE:
        detail = f"{100 * share:.1f} % of the pixels differ by more than {CHANGED_SIGMAS:g} sigma"
        yield _verdict(MasterCode.UNLIKE_PIXELS, share, _UNLIKE, detail)
    megapixels = max(changes.pixels, 1) / 1e6
    usual = _NEW_PER_MEGAPIXEL * megapixels
    limit = usual + sqrt(usual) + _FEW
    for number, word in ((changes.brighter, "brighter"), (changes.darker, "darker")):
        if number > limit:
            each = f"{number / megapixels:.0f} pixels per megapixel"
            detail = f"{each} are {word} by more than {common.strong:.0f} ADU, usual are {limit / megapixels:.0f}"
            yield _verdict(MasterCode.PIXELS_CHANGED, number / megapixels, limit / megapixels, detail)


def _level(common: Baseline | None, after: MasterFacts, before: MasterFacts) -> Iterator[Verdict]:
    """Judge the shift of the level, without what the temperature explains."""
    shift = minus(after.level_adu, before.level_adu) if common is None else common.shift
    signal = minus(before.level_adu, before.pedestal_adu) if after.kind is FrameKind.DARK else None
    explained = max(signal or 0.0, 0.0) * (2.0 ** (apart_c(after, before) / DOUBLING_C) - 1.0)
    limit = max(_LEVEL_ADU, _WANDER_SIGMAS * (known(after.level_wander_adu) or 0.0)) + _SIGNAL_SHARE * abs(explained)
    if shift is not None and abs(shift - explained) > limit:
        where = "higher" if shift > explained else "lower"
        detail = f"the level is {abs(shift - explained):.1f} ADU {where}, up to {limit:.1f} ADU are usual"
        yield _verdict(MasterCode.LEVEL_CHANGED, abs(shift - explained), limit, detail)


def _of_flat(common: Baseline | None, changes: Changes, after: MasterFacts, before: MasterFacts) -> Iterator[Verdict]:
    noise = over(after.noise_adu, before.noise_adu, 1.0)
    level = over(after.level_adu, before.level_adu, 1.0)
    if noise is not None and level is not None and level > 0:
        error = 4.0 * _noise_error(changes.pixels, after, before)
        ratio = noise**2 / level / _usual_gain(noise**2 / level, level)
        found = tuple(_ratio(MasterCode.NOISE_CHANGED, sqrt(ratio), _FLAT_NOISE + error, _FOR_LIGHT))
        yield from found or _ratio(MasterCode.GAIN_CHANGED, ratio, _GAIN + error, f"the square of {_FOR_LIGHT}")
        yield from _light(level, after, before)
    if common is None:
        return
    if common.shape > common.shape_limit:
        detail = f"the light is {100 * common.shape:.1f} % less even over the frame, or in another way"
        yield _verdict(MasterCode.GRADIENT_CHANGED, common.shape, common.shape_limit, detail)
    share, usual = changes.changed / max(changes.pixels, 1), _NEW_PER_MEGAPIXEL / 1e6
    if share > usual:
        detail = f"{100 * share:.2g} % of the pixels have another response than before: new dust, or dust that is gone"
        yield _verdict(MasterCode.NEW_DUST, share, usual, detail, refuses=False)


_FOR_LIGHT = "the noise for this level of light"


def _usual_gain(ratio: float, level: float) -> float:
    """Return which usual ratio of noise² over level is nearest to one: that of a flat so much brighter, or 1."""
    brightest = float(level**-_GAIN_PER_LEVEL)
    return min(max(ratio, min(1.0, brightest)), max(1.0, brightest))


def _light(level: float, after: MasterFacts, before: MasterFacts) -> Iterator[Verdict]:
    """Judge the light of a lamp by exposure and brightness."""
    longer = over(after.exposure_us, before.exposure_us, 1.0)
    lamps = [known(each.brightness) for each in (after, before)]
    if longer is None or longer <= 0 or None in lamps:
        return
    same = lamps[0] == lamps[1]
    brighter = over(lamps[0], lamps[1], 1.0) or 1.0
    ratio, limit = level / (longer * brighter), _LIGHT if same else _LIGHT_OTHERWISE
    if (factor := max(ratio, 1.0 / ratio)) > limit:
        detail = f"the lamp gives {ratio:.2f} times the light for its brightness and exposure"
        yield _verdict(MasterCode.LIGHT_CHANGED, factor, limit, detail)


def _ratio(code: MasterCode, ratio: float | None, limit: float, what: str) -> Iterator[Verdict]:
    if ratio is not None and ratio > 0 and (factor := max(ratio, 1.0 / ratio)) > 1.0 + limit:
        where = f"{100 * (ratio - 1):.0f} % higher" if ratio > 1 else f"{100 * (1 - ratio):.0f} % lower"
        yield _verdict(code, factor - 1.0, limit, f"{what} is {where}: another gain, or a disturbance")


def _verdict(code: MasterCode, measured: float, limit: float, detail: str, *, refuses: bool = True) -> Verdict:
    return Verdict(code=code, refuses=refuses, measured=measured, limit=limit, detail=detail)


def _shot_share(facts: MasterFacts) -> float:
    """Return which part of a dark's noise² is that of its dark signal."""
    signal, noise, gain = minus(facts.level_adu, facts.pedestal_adu), known(facts.noise_adu), known(facts.gain_e_adu)
    if not signal or not noise or not gain or facts.kind is not FrameKind.DARK:
        return 0.0
    return min(1.0, max(0.0, signal / gain) / noise**2)


def _noise_error(pixels: int, after: MasterFacts, before: MasterFacts) -> float:
    """Return the relative error of a ratio of noises: each is known from the pairs of frames that follow each other."""
    pairs = min(after.frames, before.frames) - 1
    return sqrt(2.0 / max(pairs * pixels, 1)) if pixels else 0.0
