"""Frames as another program writes them, below a root, and the masters that become of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from services.indexing.foreign import index_folder
from services.indexing.problems import FileProblem
from services.masters import MasterOutcome
from tests.support.made_root import SHAPE, Root

DARK = {
    "IMAGETYP": "DARK", "EXPTIME": 30.0, "INSTRUME": "Cam", "DATE-OBS": "2024-01-02T20:00:00", "CCD-TEMP": -10.0,
    "SET-TEMP": -10.0, "GAIN": 100,
}  # fmt: skip
BIAS = DARK | {"IMAGETYP": "BIAS", "EXPTIME": 0.0}
FLAT = DARK | {"IMAGETYP": "FLAT", "EXPTIME": 1.0, "FILTER": "L"}


class ForeignRoot(Root):
    """A root folder with frames of another program."""

    def save(self, name: str, level: float, cards: Mapping[str, Any] = DARK, *, sigma: float = 7.0) -> Path:
        """Write a frame of a level; a card of None is left out."""
        path = self.layout.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(np.rint(self.rng.normal(level, sigma, SHAPE)), 0, 65535).astype(np.uint16)
        header = fits.Header([(keyword, value) for keyword, value in cards.items() if value is not None])
        fits.writeto(path, pixels, header)
        return path

    def masters(self, **settings: Any) -> tuple[MasterOutcome, ...]:
        """Index what was written and build its masters."""
        self.problems: tuple[FileProblem, ...] = index_folder(
            self.catalogue, self.layout.darks, self.layout.flats, layout=self.layout
        ).problems
        return self.build(num_darks=40, num_flats=40, **settings)
