"""Flats as they are calibrated while they are read: no copy of a flat is written for it."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.bands import Band, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedSource(Source):
    """A flat as ``(flat - less) / by / level``, of float32; samples from `saturation_adu` on have no value.

    Attributes
    ----------
    flat : Source
    less, by : Source, optional
        Its dark, and its vignetting.
    level : float
    saturation_adu : float
        In the values of `flat`.
    """

    flat: Source
    less: Source | None = None
    by: Source | None = None
    level: float = 1.0
    saturation_adu: float = np.inf

    @property
    def is_u16(self) -> bool:
        """Whether the pixels are a camera's: they are not."""
        return False

    def rows(self, band: Band) -> NDArray[Any]:
        """Return calibrated rows, shape (rows, x)."""
        rows = self.flat.rows(band)
        values = rows.astype(np.float32)
        values[~(rows < self.saturation_adu)] = np.nan
        if self.less is not None:
            values -= self.less.rows(band).astype(np.float32)
        if self.by is not None:
            values /= self.by.rows(band).astype(np.float32)
        if self.level != 1.0:
            values /= np.float32(self.level)
        return values

    def held(self, handles: ExitStack) -> Source:
        """Return the source with the file of its flat open until `handles` ends."""
        return replace(self, flat=self.flat.held(handles))


def calibrated(
    flat: Source,
    *,
    less: Source | None = None,
    by: Source | None = None,
    level: float = 1.0,
    saturation_adu: float = np.inf,
) -> CalibratedSource:
    """Return a flat less its dark, over its vignetting and its level, worked out when it is read."""
    return CalibratedSource(
        path=flat.path,
        location=flat.location,
        flat=flat,
        less=less,
        by=by,
        level=level,
        saturation_adu=saturation_adu,
    )
