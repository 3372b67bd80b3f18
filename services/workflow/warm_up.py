"""Compiling before it is waited for: every compiled loop of capture and combining, called once on a few pixels.

What is compiled is kept on disk (`platform.prepare_numba_cache`): only the first run on a machine, and the first after
an update, compiles at all. During a run a child process does it while the camera cools (`services.workflow.compiling`).
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum

import numpy as np

_SHAPE = (4, 300)  # more than one tile of the combining kernels
_FRAMES = 6
_AT = datetime(2000, 1, 1, tzinfo=UTC)


class Need(StrEnum):
    """What loops are needed for, in the order in which a run needs them."""

    FRAMES = "frames"
    MASTERS = "masters"


def warm_up(need: Need, wake: threading.Event | None = None, announce: Callable[[str], object] | None = None) -> None:
    """Compile the loops of one need, or load what was compiled before.

    Parameters
    ----------
    need : Need
    wake : threading.Event, optional
        Ends it between two loops.
    announce : callable
        Called before each part with what its loops do, in words.
    """
    for part in _PARTS[need]:
        if wake is not None and wake.is_set():
            return
        if announce is not None:
            announce(part.__name__.lstrip("_").replace("_", " "))
        part()


def _frames() -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    rng = np.random.default_rng(1)
    return rng.integers(400, 600, (_FRAMES, *_SHAPE), dtype=np.uint16)


def _measuring() -> None:
    from calibration.stats import compare, measure

    a, b = np.tile(_frames()[:2], (1, 200, 3))  # of small frames the values are counted without a loop
    measure(a, saturation_adu=65_535.0, bayer=False, mid_at=_AT)
    compare(a, b)


def _writing() -> None:
    from services.files.cards import sum_of
    from services.files.pixels import encode_summed

    flat = _frames().reshape(-1)
    for values in (flat, flat.astype(np.float32)):
        encode_summed(values, np.empty_like(values))
    sum_of(bytes(1 << 20))


def _reading() -> None:
    from calibration.combine.kernels.entries import decode_u16

    decode_u16(_frames().reshape(-1))


def _combining() -> None:
    from calibration.combine.engine import combine_band
    from calibration.combine.recipe import Recipe
    from calibration.masters.noise import pair_counts

    combine_band(_frames(), Recipe())
    pair_counts(*_frames()[:2])


def _combining_flats() -> None:
    from calibration.combine.engine import combine_band
    from calibration.combine.recipe import Recipe

    combine_band(_frames(), Recipe(), scale=np.ones(_FRAMES, np.float32), dark=np.zeros(_SHAPE, np.float32))


def _flagging() -> None:
    from calibration.combine.engine import combine_band
    from calibration.combine.recipe import Recipe
    from calibration.frames import FrameKind
    from calibration.masters.flags import flag_rows, thresholds
    from calibration.masters.sketch import Sketch

    planes = combine_band(_frames(), Recipe())
    flag_rows(planes, 0, thresholds(FrameKind.DARK, Sketch.of(planes), samples=_FRAMES, factor=1.0))


_PARTS = {
    Need.FRAMES: (_measuring, _writing),
    Need.MASTERS: (_reading, _combining, _combining_flats, _flagging),
}
