"""`combine_band`: the numba engine behind one pure function (no threads, no files)."""

import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.combine.kernels import tiles
from calibration.combine.recipe import BandPlanes, Method, Recipe
from calibration.errors import CombineError

MAX_FRAMES = 1000

_JUMPING = 0.03
"""A pixel that jumps in this part of the frames is a telegraph pixel."""


def combine_band(
    frames: NDArray[Any],
    recipe: Recipe,
    *,
    scale: NDArray[np.float32] | None = None,
    dark: NDArray[np.float32] | None = None,
    valid: NDArray[np.bool_] | None = None,
    stored: bool = False,
) -> BandPlanes:
    """Combine a band of rows of n frames, pixel by pixel.

    Each sample is ``(frame - dark) * scale``. Samples that are not finite or not `valid` do not exist.

    Parameters
    ----------
    frames : ndarray of uint16 or float32, shape (n, rows, x)
        1 to 1000 raw frames, in ADU.
    recipe : Recipe
    scale : ndarray, shape (n,), optional
        One factor per frame.
    dark : ndarray, shape (rows, x) or (n, rows, x), optional
        Subtracted from each frame, in ADU: one for all frames, or one per frame.
    valid : ndarray of bool, shape (n, rows, x), optional
        False where a sample must not be used.
    stored : bool
        Frames of uint16 are the words of FITS files as they lie there (big-endian int16, BZERO 32768), not yet values.

    Returns
    -------
    BandPlanes

    Raises
    ------
    CombineError
        Shapes or dtypes that do not fit, or a number of frames outside 1..1000.
    """
    planes, _, _ = _combine(frames, recipe, scale, dark, valid, stored=stored)
    return planes


def survivors(
    frames: NDArray[Any],
    recipe: Recipe,
    *,
    scale: NDArray[np.float32] | None = None,
    dark: NDArray[np.float32] | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return which samples `combine_band` keeps, shape (n, rows, x); among equal values all or none.

    `minmax` drops one of several equal extremes, and `winsorized` none when 4 samples are left; here equal ones are all
    shown as kept when any is.
    """
    _, low, high = _combine(frames, recipe, scale, dark, valid, bounds=True)
    values = calibrated(frames, scale=scale, dark=dark, valid=valid)
    return (values >= low) & (values <= high)


def calibrated(
    frames: NDArray[Any],
    *,
    scale: NDArray[np.float32] | None = None,
    dark: NDArray[np.float32] | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return the samples that are combined as float32, shape (n, rows, x); NaN where there is none."""
    values = frames.astype(np.float32)
    if dark is not None:
        values -= dark.astype(np.float32)
    if scale is not None:
        values *= scale.astype(np.float32)[:, None, None]
    usable = np.isfinite(values) if valid is None else np.isfinite(values) & valid
    values[~usable] = np.nan
    return values


def check(
    frames: NDArray[Any],
    scale: NDArray[Any] | None,
    dark: NDArray[Any] | None,
    valid: NDArray[Any] | None,
) -> None:
    """Raise CombineError where arrays do not fit one another."""
    if frames.ndim != 3 or not 1 <= frames.shape[0] <= MAX_FRAMES:
        raise CombineError(f"frames of shape {frames.shape}: expected (n, rows, x) with n from 1 to {MAX_FRAMES}")
    if frames.dtype not in {np.dtype(np.uint16), np.dtype(np.float32)}:
        raise CombineError(f"frames of {frames.dtype}: expected uint16 or float32")
    fits = {"scale": (frames.shape[:1],), "dark": (frames.shape[1:], frames.shape), "valid": (frames.shape,)}
    for name, array in (("scale", scale), ("dark", dark), ("valid", valid)):
        if array is not None and array.shape not in fits[name]:
            raise CombineError(f"{name} of shape {array.shape}: expected {' or '.join(map(str, fits[name]))}")


def _combine(
    frames: NDArray[Any],
    recipe: Recipe,
    scale: NDArray[Any] | None,
    dark: NDArray[Any] | None,
    valid: NDArray[Any] | None,
    *,
    stored: bool = False,
    bounds: bool = False,
) -> tuple[BandPlanes, NDArray[np.float32], NDArray[np.float32]]:
    from calibration.combine.kernels import entries  # numba takes 0.2 s to import: only who combines pays

    check(frames, scale, dark, valid)
    frames = np.ascontiguousarray(frames)
    n, rows, columns = frames.shape
    shape, extra = (rows, columns), (rows, columns) if bounds else (0, 0)
    planes = tiles.Planes(
        mean=np.empty(shape, np.float32),
        sigma=np.empty(shape, np.float32),
        counts=np.empty(shape, np.uint16),
        mask=np.empty(shape, np.uint16),
        low=np.empty(extra, np.float32),
        high=np.empty(extra, np.float32),
    )
    pairs, params = tiles.block_network(n), _params(recipe, n)
    if frames.dtype == np.uint16:  # float32 would round a limit between two values to one of them
        params = params._replace(saturation=float(np.ceil(params.saturation)), stored=stored)
    if frames.dtype == np.uint16 and scale is None and dark is None and valid is None:
        entries.combine_u16(frames, pairs, params, _bench(n, integers=True), planes)
    else:
        stack = (
            *_words_or_floats(decoded(frames) if stored else frames),
            np.empty((0, 0, 0), np.bool_) if valid is None else np.ascontiguousarray(valid, dtype=np.bool_),
            _dark(dark),
            np.ones(n, np.float32) if scale is None else np.ascontiguousarray(scale, dtype=np.float32),
        )
        entries.combine_f32(stack, pairs, params, _bench(n, integers=False), planes)
    return (
        BandPlanes(mean=planes.mean, sigma=planes.sigma, count=planes.counts, mask=planes.mask),
        planes.low,
        planes.high,
    )


def decoded(words: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the values of words as they lie in FITS files (big-endian int16, BZERO 32768), of any shape."""
    from calibration.combine.kernels.entries import decode_u16

    values = words.copy()
    decode_u16(values.reshape(-1))
    return values


_kept = threading.local()


def _bench(n: int, *, integers: bool) -> tiles.Bench:
    """Return this thread's working memory, made anew only for another number of frames: bands come by the hundred."""
    if getattr(_kept, "made_for", None) != (n, integers):
        _kept.bench, _kept.made_for = tiles.bench(n, integers=integers), (n, integers)
    bench: tiles.Bench = _kept.bench
    return bench


def _words_or_floats(frames: NDArray[Any]) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Return frames as the kernel takes them: in the place of their type, where the other array is empty."""
    words, floats = np.empty((0, 0, 0), np.uint16), np.empty((0, 0, 0), np.float32)
    return (frames, floats) if frames.dtype == np.uint16 else (words, frames)


def _dark(dark: NDArray[Any] | None) -> NDArray[np.float32]:
    """Return darks as the kernel takes them, shape (0 | 1 | n, rows, x)."""
    if dark is None:
        return np.empty((0, 0, 0), np.float32)
    whole = dark if dark.ndim == 3 else dark[None]
    return np.ascontiguousarray(whole, dtype=np.float32)


@lru_cache(maxsize=16)
def _params(recipe: Recipe, n: int) -> tiles.Params:
    numbers = {
        Method.NONE: tiles.NONE,
        Method.MEDIAN: tiles.MEDIAN,
        Method.MINMAX: tiles.MINMAX,
        Method.SIGMA_CLIP: tiles.SIGMA_CLIP,
        Method.MAD: tiles.MAD,
        Method.WINSORIZED: tiles.WINSORIZED,
        Method.NOISE_MODEL: tiles.NOISE_MODEL,
    }
    noise, step, method = recipe.noise, float(recipe.step_adu), recipe.method_for(n)
    # winsorized: its sigma shrinks to nothing when most samples are equal; of normal noise so coarse half is one value
    narrowest = 0.5 * tiles.MAD_TO_STD if method is Method.WINSORIZED else 12**-0.5
    return tiles.Params(
        method=numbers[method],
        k=float(recipe.sigma),
        iterations=int(recipe.max_iterations),
        step=step,
        narrowest=narrowest * step,
        rounding=step**2 / 12,
        read_variance=float("nan") if noise is None else float(noise.read_noise_adu) ** 2,
        inverse_gain=0.0 if noise is None else 1.0 / float(noise.gain_e_adu),
        pedestal=0.0 if noise is None else float(noise.pedestal_adu),
        saturation=float("inf") if recipe.saturation_adu is None else float(recipe.saturation_adu),
        min_count=min_count(recipe, n),
        typical=max(step**2 / 12, (recipe.sample_adu or 0.0) ** 2),
        jumps=jumps(n) if method not in {Method.NONE, Method.MEDIAN, Method.MINMAX} else n + 1,
        factor=recipe.factor_for(n),
        stored=False,
    )


def jumps(n: int) -> int:
    """Return how many rejected samples, each far from what is kept, make a pixel of n frames NOISY.

    One or two are cosmic hits. Of many frames it is a part: hits add up, and so do the jumps of a telegraph pixel.
    """
    return max(3, int(np.ceil(_JUMPING * n)))


def min_count(recipe: Recipe, n: int) -> int:
    """Return how many samples a pixel must keep not to be marked LOW_COUNT: a fraction of what the method can keep."""
    most = n - 2 if recipe.method is Method.MINMAX and n > 2 else n
    return max(1, int(np.ceil(recipe.min_fraction * most)))
