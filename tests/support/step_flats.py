"""Normalised flats whose noise and levels are known, as files of a step are read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calibration.frames import FrameHeader, FrameKind
from calibration.models.flat.model import Level
from services.bands import source_of
from services.models.flat.steps import StepFrame
from tests.support.flat_frames import write_one
from tests.support.made_flats import Plane


def step_flats(
    folder: Path,
    flat: Plane,
    conditions: Sequence[tuple[float, float]],
    noise: Sequence[float],
    *,
    n: int = 4,
    seed: int = 1,
    level_error: float = 0.0,
) -> tuple[StepFrame, ...]:
    """Write n flats of each condition, a temperature and an exposure.

    `noise` is that of their pixels, relative to the level; `level_error` the error of the level in units of it, which
    all pixels of a frame have in common.
    """
    rng, made = np.random.default_rng(seed), list[StepFrame]()
    for (celsius, seconds), own in zip(conditions, noise, strict=True):
        for i in range(n):
            level = 1 + level_error * own * rng.standard_normal()
            pixels = ((flat + own * rng.standard_normal(flat.shape)) / level).astype(np.float32)
            path = write_one(
                folder / f"T{celsius:g}_E{seconds:g}_{i}.fits", pixels, FrameKind.FLAT, celsius, seconds, len(made)
            )
            header = FrameHeader(
                kind=FrameKind.FLAT, shape=flat.shape, exposure_us=round(seconds * 1e6), ccd_temp_c=celsius
            )
            made.append(
                StepFrame(
                    path=path,
                    source=source_of(path, folder),
                    header=header,
                    label_c=celsius,
                    step_adu=1.0,
                    dark="none",
                    level=Level(value=1 / own**2, relative_sigma=max(level_error, 1e-6) * own),
                )
            )
    return tuple(made)
