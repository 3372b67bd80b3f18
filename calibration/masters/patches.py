"""Patches of a master: the dust shadows of a flat, and bright patches of a dark (amplifier glow or leaked light).

A reduced image is searched for connected cells that stand out from the large-scale shape, by the segmentation of
photutils. What a patch is worth is not judged: a dark alone cannot say whether light leaked in or the sensor glows.
"""

import warnings

import numpy as np

from calibration.clipping import clip_values
from calibration.masters.background import box_medians, large_scale, levelled
from calibration.masters.sketch import F32, Sketch

LEAST_SHADOW = 0.005
"""Relative depth below which a dip of a flat is no dust shadow."""

LEAST_GLOW_ADU = 1.0
"""Height above the median below which a patch of a dark is none."""

SIGMAS = 5.0
"""Robust standard deviations of the reduced image by which a cell of a patch stands out at least."""

LEAST_CELLS, LEAST_GLOW_CELLS = 6, 40
"""Cells of the smallest dust shadow and of the smallest bright patch: a cluster of hot pixels is neither."""

NARROW, WIDE = 2.0, 16.0
"""Standard deviations, in cells, of the Gaussians between whose scales a dust shadow lies."""


def dust_shadows(sketch: Sketch, *, mosaic: bool = False) -> int:
    """Return how many dust shadows a flat shows: connected dips of at least 0.5 % on a scale of 16 to 200 pixels.

    Parameters
    ----------
    sketch : Sketch
        Of a flat before its normalisation.
    mosaic : bool
        Whether the sensor has a 2 x 2 colour mosaic, whose colours are brought to one level before.
    """
    from scipy import ndimage  # 0.1 s to import: only who looks for patches pays

    cells = _cells(sketch, mosaic=mosaic)
    if min(cells.shape) < 8:
        return 0
    flat = cells / np.maximum(large_scale(cells).astype(np.float32), np.float32(1e-6))
    wide, narrow = (ndimage.gaussian_filter(flat, scale, mode="nearest") for scale in (WIDE, NARROW))
    depth = wide - narrow
    return _number_of(depth, max(LEAST_SHADOW, SIGMAS * clip_values(depth).sigma), LEAST_CELLS)


def bright_patches(sketch: Sketch) -> int:
    """Return how many bright patches a bias or dark shows: amplifier glow, or light that leaked in.

    They stand out from the frame's median by 1 ADU at least, and by more where the frame has a pattern or a gradient of
    its own; they are larger than any cluster of hot pixels.

    Parameters
    ----------
    sketch : Sketch
        Of a bias or dark.
    """
    from scipy import ndimage  # 0.1 s to import: only who looks for patches pays

    cells = _cells(sketch, mosaic=False)
    if min(cells.shape) < 8:
        return 0
    smooth = ndimage.gaussian_filter(cells, NARROW, mode="nearest")
    background = clip_values(smooth)
    smooth -= np.float32(background.median)
    return _number_of(smooth, max(LEAST_GLOW_ADU, SIGMAS * background.sigma), LEAST_GLOW_CELLS)


def _number_of(height: F32, least: float, cells: int) -> int:
    """Return how many connected parts of an image are higher than `least` and have so many cells."""
    if np.count_nonzero(height > least) < cells:  # the usual answer
        return 0
    from photutils.segmentation import detect_sources  # 1.5 s and 90 MB to import
    from photutils.utils.exceptions import NoDetectionsWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)  # single cells are no patch
        found = detect_sources(height, least, cells)
    return 0 if found is None else int(found.n_labels)


def _cells(sketch: Sketch, *, mosaic: bool) -> F32:
    """Return the medians of cells of about 8 x 8 pixels of MEAN, shape (y // 8, x // 8)."""
    side = 8
    values = levelled(sketch.mean, sketch.shape) if mosaic else sketch.mean
    down = max(1, side // sketch.stride)
    height, width = sketch.shape[0] // down, sketch.shape[1] // side
    small = np.empty((height, width), np.float32)
    for i in range(height):
        small[i] = box_medians(values(i * down, (i + 1) * down)[:, : width * side], side)
    empty = ~np.isfinite(small)
    small[empty] = np.median(small[~empty]) if not empty.all() else 0.0
    return small
