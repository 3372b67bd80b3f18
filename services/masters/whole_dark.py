"""A dark as it is expected: a bias of the same settings, with the signal that a model predicts for its exposure."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from calibration.comparing.records import F32
from calibration.frames import FrameKind, GroupKey
from services.bands import Band, read_rows
from services.catalogue.models import ModelRow
from services.masters.comparison import Before, certified_before
from services.predicting import BiasPrediction, DarkPrediction, bias_prediction
from services.root import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterBias:
    """The planes of a certified master bias."""

    before: Before

    @contextmanager
    def held(self) -> Iterator["MasterBias"]:
        """Give it with its files open, for reading it band by band."""
        with self.before.held() as before:
            yield replace(self, before=before)

    def read(self, band: Band) -> tuple[F32, F32]:
        """Return MEAN and SIGMA of a band, in ADU; the typical SIGMA where the planes have none."""
        assert self.before.mean is not None  # noqa: S101 - `bias_at_hand` has asked
        mean = read_rows(self.before.mean, band).astype(np.float32)
        if self.before.sigma is None:
            return mean, np.full_like(mean, self.before.row.statistics.get("master_noise_adu") or 0.0)
        return mean, read_rows(self.before.sigma, band).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeDark:
    """A dark that was not measured, its planes are read band by band."""

    bias: MasterBias | BiasPrediction
    signal: DarkPrediction

    @property
    def row(self) -> ModelRow:
        """The model of the signal."""
        return self.signal.row

    @contextmanager
    def held(self) -> Iterator["WholeDark"]:
        """Give it with its files open, for reading it band by band."""
        with self.bias.held() as bias, self.signal.held() as signal:
            yield replace(self, bias=bias, signal=signal)

    def read(self, band: Band) -> tuple[F32, F32]:
        """Return MEAN and SIGMA of a band, in ADU; both errors are joined."""
        (bias, error), (signal, more) = self.bias.read(band), self.signal.read(band)
        return bias + signal, np.hypot(error, more)


def bias_at_hand(
    key: GroupKey, start: datetime | None, celsius: float, place: Place, *, with_models: bool = True
) -> MasterBias | BiasPrediction | None:
    """Return the bias of darks: the certified master, else what a model predicts at their temperature, or None.

    Parameters
    ----------
    key : GroupKey
        Of the darks.
    start : datetime, optional
        When the first of them was taken.
    celsius : float
    place : Place
    with_models : bool
        Whether models of biases are fitted.

    Raises
    ------
    Unreadable
        The model of the bias is damaged.
    """
    of_bias = replace(key, kind=FrameKind.BIAS, exposure_us=None)
    before = certified_before(of_bias, start, place)
    if before is not None and before.mean is not None:
        return MasterBias(before=before)
    row = place.catalogue.model_for("bias", of_bias) if with_models else ""
    if isinstance(row, str):
        return None
    found = bias_prediction(row, place.layout, celsius)
    return found.of_pattern() if found.inside else None
