"""What a flat's master owes to its darks: their uncertainty is part of its own, however they were kept."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.masters import Outcome
from tests.support.made_root import Root


def flat_sigma(folder: Path, *, save_planes: bool) -> np.ndarray:
    """Return SIGMA of a faint flat, in ADU, whose darks were combined with or without planes."""
    root = Root(folder)
    root.add(FrameKind.DARK, 1.0, 12)
    root.build(save_planes=save_planes)
    root.add(FrameKind.FLAT, 1.0, 12, light=100.0)
    (flat,) = root.build(darks=False)
    assert flat.status is Outcome.BUILT
    assert flat.path is not None
    found = root.planes(flat.path)["SIGMA"] * fits.getheader(flat.path)["FLATNORM"]
    root.catalogue.close()
    return np.asarray(found)


def test_a_flats_sigma_holds_that_of_a_dark_whose_planes_were_not_kept(tmp_path: Path) -> None:
    exact = flat_sigma(tmp_path / "with", save_planes=True)
    filled = flat_sigma(tmp_path / "without", save_planes=False)
    assert np.median(filled) == pytest.approx(np.median(exact), rel=0.02)
    assert np.median(filled) == pytest.approx(np.sqrt((5.0**2 + 95 / 0.5 + 5.0**2) / 12), rel=0.1)
