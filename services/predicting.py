"""What a model predicts, band by band: which model is valid the catalogue says (`model_for`), its planes are read here.

Whoever uses predictions needs no more: fitting is the business of `services.models`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.models import bias
from calibration.models.dark import model as dark
from services.bands import Band, Source, held_open, plane_of, read_rows
from services.catalogue.models import ModelRow
from services.errors import RunCode
from services.files.layout import Layout
from services.files.sums import check_planes
from services.files.units import Unreadable

F32 = NDArray[np.float32]


class ModelDamaged(Unreadable):
    """A file of a model is not what was written; `path` is that of the model, as the catalogue has it."""

    code = RunCode.MODEL_DAMAGED

    def __init__(self, detail: str, *, path: str) -> None:
        super().__init__(detail)
        self.path = path


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasPrediction:
    """The bias that a model predicts at a temperature; frozen and picklable, its planes are read band by band.

    Attributes
    ----------
    row : ModelRow
    model : BiasModel
    theta, covariance : tuple of Source
    celsius : float
    """

    row: ModelRow
    model: bias.BiasModel
    theta: tuple[Source, ...]
    covariance: tuple[Source, ...]
    celsius: float

    @property
    def inside(self) -> bool:
        """Whether the temperature is in the range that was measured."""
        return self.model.holds_at(self.celsius)

    def of_pattern(self) -> "BiasPrediction":
        """Return the same with the error of the pixels alone, without the scatter of the sessions' levels."""
        return replace(self, model=replace(self.model, level=replace(self.model.level, session_sigma_adu=0.0)))

    @contextmanager
    def held(self) -> Iterator["BiasPrediction"]:
        """Give it with its files open, for reading it band by band."""
        with _held(self.theta, self.covariance) as (theta, covariance):
            yield replace(self, theta=theta, covariance=covariance)

    def read(self, band: Band) -> tuple[F32, F32]:
        """Return MEAN and SIGMA of a band, in ADU."""
        parameters = bias.Parameters(theta=_planes(self.theta, band), covariance=_planes(self.covariance, band))
        found = bias.predict(self.model, parameters, self.celsius)
        return found.mean, found.sigma


def bias_prediction(row: ModelRow, layout: Layout, celsius: float) -> BiasPrediction:
    """Return what a bias model predicts at a temperature.

    Raises
    ------
    ModelDamaged
        The planes are not those that were written, or are not there.
    """
    try:
        model = bias.BiasModel.from_plain(row.said)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(row, error) from error
    theta, covariance = _sources(row, layout)
    return BiasPrediction(row=row, model=model, theta=theta, covariance=covariance, celsius=celsius)


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkPrediction:
    """The dark signal that a model predicts; frozen and picklable, its planes are read band by band.

    Attributes
    ----------
    row : ModelRow
    model : DarkModel
    theta, covariance : tuple of Source
    celsius, exposure_s : float
    """

    row: ModelRow
    model: dark.DarkModel
    theta: tuple[Source, ...]
    covariance: tuple[Source, ...]
    celsius: float
    exposure_s: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.theta[0].location.shape

    @property
    def inside(self) -> bool:
        """Whether temperature and exposure are in the ranges that were measured."""
        return self.model.holds_at(self.celsius, self.exposure_s)

    @contextmanager
    def held(self) -> Iterator["DarkPrediction"]:
        """Give it with its files open, for reading it band by band."""
        with _held(self.theta, self.covariance) as (theta, covariance):
            yield replace(self, theta=theta, covariance=covariance)

    def read(self, band: Band) -> tuple[F32, F32]:
        """Return the signal above the bias, and its error, of a band, in ADU."""
        parameters = dark.Parameters(theta=_planes(self.theta, band), covariance=_planes(self.covariance, band))
        found = dark.predict(self.model, parameters, self.celsius, self.exposure_s)
        return found.mean, found.sigma


def dark_prediction(row: ModelRow, layout: Layout, *, celsius: float, exposure_s: float) -> DarkPrediction:
    """Return what a dark model predicts at a temperature and an exposure.

    Raises
    ------
    ModelDamaged
        The planes are not those that were written, or are not there.
    """
    try:
        model = dark.DarkModel.from_plain(row.said["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(row, error) from error
    theta, covariance = _sources(row, layout)
    return DarkPrediction(
        row=row, model=model, theta=theta, covariance=covariance, celsius=celsius, exposure_s=exposure_s
    )


@contextmanager
def _held(*planes: tuple[Source, ...]) -> Iterator[tuple[tuple[Source, ...], ...]]:
    with ExitStack() as stack:
        yield tuple(stack.enter_context(held_open(each)) for each in planes)


def _sources(row: ModelRow, layout: Layout) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """Return the planes of the parameters of a model, and those of their covariance, once their sums were checked."""
    try:
        planes = row.said["planes"]
        path = layout.absolute(row.path) / str(planes["file"])
        theta, covariance = ([str(name) for name in planes[each]] for each in ("theta", "covariance"))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(row, error) from error
    try:
        check_planes(path, (*theta, *covariance))
        return tuple(plane_of(path, name) for name in theta), tuple(plane_of(path, name) for name in covariance)
    except Unreadable as error:
        why = error.detail.removeprefix(f"{path}: ")
        raise ModelDamaged(f"{layout.relative(path)}: {why}", path=row.path) from error


def _damaged(row: ModelRow, error: Exception) -> ModelDamaged:
    return ModelDamaged(f"{row.path}: what is known of the model is damaged ({error!r})", path=row.path)


def _planes(sources: tuple[Source, ...], band: Band) -> NDArray[np.float64]:
    return np.stack([read_rows(source, band) for source in sources]).astype(np.float64)
