"""Compiling before it is waited for: every compiled loop of capture and combining, called once on a few pixels.

What is compiled is kept on disk (`platform.prepare_numba_cache`): only the first run on a machine, and the first after
an update, compiles at all. During a run a child process does it while the camera cools (`services.workflow.compiling`).
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from calibration.models.dark.model import DarkModel

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


def _dark_model() -> "DarkModel":
    from calibration.models.dark.model import DarkModel, Family, Law, Noise

    return DarkModel(
        law=Law(family=Family.TWO_COMPONENT, reference_c=0.0),
        coldest_c=0.0,
        warmest_c=2.0,
        shortest_s=1.0,
        longest_s=3.0,
        noise=Noise(read_adu2=3600.0, per_adu=1.0),
        limit_adu=65_535.0,
    )


def fit_models() -> None:
    """Compile what fits models of the detector. No run waits for it: the models step compiles what is missing."""
    from calibration.models.dark.fit import Pedestal, Taken, fit_darks
    from calibration.models.left_out import leave_out
    from calibration.models.linear import fit_groups
    from calibration.models.means import group_mean, recipe_for, stacked

    frames, recipe = _frames(), recipe_for(2, noise_adu=60.0, step_adu=1.0)
    means = [group_mean(frames[i : i + 2], np.zeros(2), recipe) for i in range(0, _FRAMES, 2)]
    groups, weights, times = stacked(means), np.full(len(means), 2.0), np.arange(1.0, 1 + len(means))
    design = np.stack([np.ones_like(times), times], axis=1)
    fit_groups(design, weights, groups)
    leave_out(design, weights, groups.mean, times == 1.0)
    taken = Taken(temperature_c=times - 1, exposure_s=times, frames=weights, label_c=times - 1)
    fit_darks(_dark_model(), taken, Pedestal.none(len(times)), groups)


_PARTS = {
    Need.FRAMES: (_measuring, _writing),
    Need.MASTERS: (_reading, _combining, _combining_flats, _flagging),
}
