"""What frames of a model have in common before they are read: the value at which they are saturated."""

from pathlib import Path

import numpy as np
from astropy.io import fits

from services.bands import source_of
from services.models.grouping import saturation_of


def test_one_frame_of_floating_point_numbers_leaves_the_others_their_saturation(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "whole.fits", np.full((4, 6), 65520, np.uint16))
    fits.writeto(tmp_path / "short.fits", np.full((4, 6), 65520, np.float32))
    whole, short = (source_of(tmp_path / name, tmp_path / "scratch") for name in ("whole.fits", "short.fits"))
    assert saturation_of([], [whole, whole]) == saturation_of([], [whole, short]) < 65520
    assert saturation_of([], [short]) == np.inf
