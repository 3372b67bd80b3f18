"""The planes of a dark model that was written, and the header of its darks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.frames import FrameHeader, FrameKind
from calibration.models.dark.model import DarkModel, Parameters
from services.bands import Band, Source, plane_of, read_rows
from services.models.dark.bands import covariance_names
from services.models.dark.files import mask_name
from services.models.dark.records import Loaded
from services.models.products import header_in, header_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What predicting a band needs: the planes of a model, and what holds for all pixels; frozen and picklable."""

    theta: tuple[Source, ...]
    covariance: tuple[Source, ...]
    mask: Source
    model: DarkModel
    header: FrameHeader
    frames: int

    @classmethod
    def of(cls, loaded: Loaded) -> "Read":
        """Return the planes of a model that was written."""
        law = loaded.model.law
        return cls(
            theta=tuple(plane_of(loaded.planes, name) for name in law.names),
            covariance=tuple(plane_of(loaded.planes, name) for name in covariance_names(law)),
            mask=plane_of(loaded.planes, "MASK"),
            model=loaded.model,
            header=_header(loaded),
            frames=loaded.frames,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.theta[0].location.shape

    def parameters(self, band: Band) -> Parameters:
        """Return the parameters of a band."""
        return Parameters(theta=_planes(self.theta, band), covariance=_planes(self.covariance, band))


def _planes(sources: tuple[Source, ...], band: Band) -> NDArray[np.float64]:
    return np.stack([read_rows(source, band) for source in sources]).astype(np.float64)


def _header(loaded: Loaded) -> FrameHeader:
    """Return the header of the darks of a model, as one of its means has it."""
    path = loaded.folder / mask_name(next(shot for shot in loaded.shots if shot.exposure_s > 0))
    return header_of(header_in(path, FrameKind.DARK), FrameKind.DARK)
