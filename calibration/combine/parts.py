"""Combining of more frames than the engine takes at once: in parts, which are then one.

The parts are every k-th frame each, so that a drift over the frames is in all of them alike.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.combine.engine import MAX_FRAMES, combine_band
from calibration.combine.recipe import BandPlanes, MaskBit, Recipe

MOST_FRAMES = (1 << 16) - 1
"""What COUNT can hold."""


def combine_parts(
    frames: NDArray[Any],
    recipe: Recipe,
    *,
    scale: NDArray[np.float32] | None = None,
    dark: NDArray[np.float32] | None = None,
    stored: bool = False,
    most: int = MAX_FRAMES,
) -> BandPlanes:
    """Combine a band of rows of any number of frames up to `MOST_FRAMES`; parameters and errors as `combine_band`.

    Parameters
    ----------
    most : int
        Frames of a part. Up to so many are combined at once.
    """
    parts = -(-len(frames) // most)
    if parts <= 1:
        return combine_band(frames, recipe, scale=scale, dark=dark, stored=stored)
    own_darks = dark is not None and dark.ndim == 3
    return joined(
        [
            combine_band(
                frames[part::parts],
                recipe,
                scale=None if scale is None else scale[part::parts],
                dark=dark[part::parts] if dark is not None and own_darks else dark,
                stored=stored,
            )
            for part in range(parts)
        ]
    )


def joined(parts: Sequence[BandPlanes]) -> BandPlanes:
    """Return the planes of all samples that parts have kept.

    Each part counts by its samples; the uncertainties of means of different samples are independent. A pixel has
    NO_DATA where no part has any, and every other flag that a part has.
    """
    counts = np.stack([part.count for part in parts]).astype(np.float64)
    kept = counts.sum(axis=0)
    share = counts / np.maximum(kept, 1)
    mean = _sum([part.mean for part in parts], share)
    variance = _sum([part.sigma.astype(np.float64) ** 2 for part in parts], share**2)
    flags = np.bitwise_or.reduce([part.mask for part in parts])
    nothing = kept == 0
    no_data = np.uint16(MaskBit.NO_DATA)
    return BandPlanes(
        mean=np.where(nothing, np.nan, mean).astype(np.float32),
        sigma=np.where(nothing, np.nan, np.sqrt(variance)).astype(np.float32),
        count=kept.astype(np.uint16),
        mask=np.where(nothing, flags | no_data, flags & ~no_data).astype(np.uint16),
    )


def _sum(values: Sequence[NDArray[Any]], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted sum; what has no weight may be no number."""
    total = np.zeros(weights.shape[1:])
    for value, weight in zip(values, weights, strict=True):
        total += np.where(weight > 0, weight * np.where(weight > 0, value, 0.0), 0.0)
    return total
