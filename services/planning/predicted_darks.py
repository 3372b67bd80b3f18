"""Darks that nobody measured: what the model of a typical pixel predicts for flats, and where that may be used.

The planes are predicted when the flats are combined (`services.predicting`); whether they are wanted at all is decided
here, of what the catalogue holds: a typical pixel of the model, without reading a plane.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from math import isfinite
from pathlib import PurePath

import numpy as np

from calibration.frames import GroupKey
from calibration.models.dark.model import DarkModel, Parameters, Prediction, predict
from services.catalogue.catalogue import Catalogue
from services.catalogue.models import ModelRow
from services.words import count

KIND = "dark"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedDark:
    """The dark signal that a model predicts at a temperature and an exposure.

    Attributes
    ----------
    row : ModelRow
    celsius, exposure_s : float
    signal_adu, sigma_adu : float
        Of a typical pixel.
    newest : datetime or None
        When the newest dark of the model was taken.
    """

    row: ModelRow
    celsius: float
    exposure_s: float
    signal_adu: float
    sigma_adu: float
    newest: datetime | None = None

    @property
    def name(self) -> str:
        """The model, and for what it is asked."""
        return f"{self.row.path} at {self.exposure_s:g} s, {self.celsius:.1f} °C"

    @property
    def identity(self) -> str:
        """What a recipe holds of it."""
        return f"{self.row.identity} {self.exposure_s:.6f} {self.celsius:.1f}"

    @property
    def words(self) -> str:
        """What is subtracted, in words."""
        newest = "" if self.newest is None else f" (its newest dark is of {self.newest:%Y-%m-%d})"
        return (
            f"{self.signal_adu:.2f} +- {self.sigma_adu:.2f} ADU that the model {PurePath(self.row.path).name} predicts "
            f"for {self.exposure_s:g} s at {self.celsius:.1f} °C{newest}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeLimit:
    """How old the newest dark of a model may be when flats are taken, and in words where that is said."""

    days: float
    said: str

    def passed(self, newest: datetime | None, at: datetime | None) -> str:
        """Return in words that a dark is too old for flats of a time; "" where it is not.

        Parameters
        ----------
        newest : datetime or None
            When it was taken.
        at : datetime or None
            When the flats were taken.
        """
        if newest is None or at is None:
            whose = "its newest dark was" if newest is None else "the flats were"
            return f"when {whose} taken is not known, and {self.said}"
        if at - newest <= timedelta(days=self.days):
            return ""
        return f"its newest dark was {count((at - newest).days, 'day')} old when the flats were taken, {self.said}"


def no_limit(_: GroupKey) -> AgeLimit | None:
    """Return that darks may be of any age."""
    return None


@dataclass(frozen=True, kw_only=True)
class DarkModels:
    """The models of the dark that a catalogue holds.

    Attributes
    ----------
    catalogue : Catalogue
    max_error : float
        Of a flat's light, that a prediction may be wrong by.
    max_beyond_c : float
        Degrees beyond the temperatures that were measured.
    age_limit : callable
        Returns how old the darks of flats with a key may be; None: of any age.
    """

    catalogue: Catalogue
    max_error: float
    max_beyond_c: float
    age_limit: Callable[[GroupKey], AgeLimit | None] = no_limit

    def predicted(
        self, key: GroupKey, exposure_us: int | None, celsius: float | None, at: datetime | None = None
    ) -> PredictedDark | str:
        """Return the dark signal of frames with these settings, or in words why no model gives it.

        Parameters
        ----------
        key : GroupKey
        exposure_us : int or None
        celsius : float or None
        at : datetime, optional
            When the frames were taken.
        """
        if exposure_us is None or celsius is None:
            return "exposure and temperature of the flats are not both known"
        row = self._serving(key, at)
        if isinstance(row, str):
            return row
        celsius, exposure_s = round(celsius, 1), exposure_us / 1e6
        try:
            model, found = typical_dark(row, celsius, exposure_s)
        except (KeyError, TypeError, ValueError) as error:
            return f"what is known of {row.path} is damaged ({error!r})"
        if why := outside(model, celsius, exposure_s, self.max_beyond_c):
            return f"{row.path}: {why}"
        if not isfinite(float(found.sigma)):
            return f"{row.path} has no error at {celsius:.1f} °C"
        return PredictedDark(
            row=row,
            celsius=celsius,
            exposure_s=exposure_s,
            signal_adu=float(found.mean),
            sigma_adu=float(found.sigma),
            newest=self.catalogue.newest_of(row),
        )

    def _serving(self, key: GroupKey, at: datetime | None) -> ModelRow | str:
        """Return the model for frames of a time, or in words why there is none, or why it is too old."""
        if key not in self._rows:
            self._rows[key] = self.catalogue.model_for(KIND, key)
        row, limit = self._rows[key], self.age_limit(key)
        if isinstance(row, str) or limit is None:
            return row
        why = limit.passed(self.catalogue.newest_of(row), at)
        return f"{row.path}: {why} — take darks" if why else row

    @cached_property
    def _rows(self) -> dict[GroupKey, ModelRow | str]:
        return {}


def typical_dark(row: ModelRow, celsius: float, exposure_s: float) -> tuple[DarkModel, Prediction]:
    """Return a dark model and what it predicts for a typical pixel.

    Raises
    ------
    KeyError, TypeError, ValueError
        What is known of the model is damaged.
    """
    model = DarkModel.from_plain(row.said["model"])
    theta, covariance = (np.array(row.said["typical"][name], float) for name in ("theta", "covariance"))
    return model, predict(model, Parameters(theta=theta, covariance=covariance), celsius, exposure_s)


def outside(model: DarkModel, celsius: float, exposure_s: float, beyond_c: float) -> str:
    """Return in words what a model was not measured at; "" where it was, or nearly."""
    if not model.holds_at(min(max(celsius, model.coldest_c), model.warmest_c), exposure_s):
        return f"it was measured at {model.shortest_s:g} to {model.longest_s:g} s, not at {exposure_s:g} s"
    away_c = max(model.coldest_c - celsius, celsius - model.warmest_c)
    if away_c <= beyond_c or model.has_measured(celsius):
        return ""
    measured = f"{model.coldest_c:.1f} to {model.warmest_c:.1f} °C"
    return f"it was measured at {measured}, not at {celsius:.1f} °C (models.max_beyond: {beyond_c:g} °C)"
