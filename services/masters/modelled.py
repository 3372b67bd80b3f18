"""The second reference of a new master: what the model of its kind, of older frames, predicts for its temperature."""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np

from calibration.comparing.modelled import Expected, compare_by_model
from calibration.comparing.planes import sample_of_rows
from calibration.comparing.records import F32, MasterFacts, MasterPlanes
from calibration.frames import FrameKind, Verdict
from services.bands import Band
from services.catalogue.models import ModelRow
from services.errors import StorageError
from services.files.planes import PlanesFile
from services.masters.comparison import with_findings
from services.masters.measured import Measured
from services.masters.prepare import Prepared
from services.planning.master_groups import MasterGroup
from services.predicting import BiasPrediction, bias_prediction
from services.root import Place

_KINDS = {FrameKind.BIAS: "bias"}

Verdicts = tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a model predicts for a master that is not in it."""

    prediction: BiasPrediction
    expected: Expected


def second_opinion(prepared: Prepared, result: Measured, said: Verdicts, mean: PlanesFile, place: Place) -> Measured:
    """Return a measured master with what a model of older frames speaks against it.

    Its statistics name the model (`modelled_by`), or say in words why none can judge it (`not_modelled`).

    Parameters
    ----------
    prepared : Prepared
    result : Measured
    said : tuple of Verdict
        What the comparison with the master before has said: nothing is said twice.
    mean : PlanesFile
        The growing master.
    place : Place

    Returns
    -------
    Measured
        `verdicts` are those of the model alone.
    """
    kind, celsius = _KINDS.get(prepared.group.product), _celsius(prepared)
    if kind is None:
        return replace(result, verdicts=())
    reference = _reference(kind, prepared.group, celsius, place)
    if isinstance(reference, str):
        return replace(result, verdicts=(), statistics={**result.statistics, "not_modelled": reference})
    facts = MasterFacts(
        kind=prepared.group.product,
        frames=len(prepared.group.rows),
        noise_adu=_number(result.statistics.get("pair_noise_adu")),
        sigma=_number(result.statistics.get("master_noise_adu")),
        level_adu=_number(result.statistics.get("level_adu")),
        temperature_c=celsius,
    )
    known = {verdict.code for verdict in said}
    found = tuple(each for each in _judged(reference, mean, facts, prepared.stack.shape) if each.code not in known)
    statistics = {**with_findings(result.statistics, found), "modelled_by": reference.prediction.row.path}
    return replace(result, verdicts=found, statistics=statistics)


def _celsius(prepared: Prepared) -> float | None:
    known = [row.ccd_temp_c for row in prepared.group.rows if row.ccd_temp_c is not None]
    return float(np.mean(known)) if known else None


def _reference(kind: str, group: MasterGroup, celsius: float | None, place: Place) -> Reference | str:
    """Return what a model predicts for the master of a group, or in words why none does."""
    if celsius is None:
        return "the temperature of its frames is not known"
    row = place.catalogue.model_for(kind, group.key, without=[frame.pixel_sha256 for frame in group.rows])
    if isinstance(row, str):
        return row
    try:
        found = bias_prediction(row, place.layout, celsius)
    except (StorageError, OSError) as error:
        return f"{row.path} cannot be read: {error}"
    if not found.inside:
        return f"{row.path} was measured at {row.coldest_c:.1f} to {row.warmest_c:.1f} °C, not at {celsius:.1f} °C"
    accepted = _accepted(row, place)
    expected = Expected(
        name=row.path.rpartition("/")[2],
        kind=group.product,
        levels_adu=tuple(float(level) for night, level in row.said.get("levels") or () if night >= accepted),
        noise_adu=_number(row.said.get("noise_adu")),
    )
    return Reference(prediction=found.of_pattern(), expected=expected)


def _accepted(row: ModelRow, place: Place) -> str:
    """Return the night of the last master whose level somebody accepted by certifying it; "" where nobody has."""
    masters = place.catalogue.masters(kind=row.key.kind, camera=row.key.camera, with_inputs=False)
    return max((each.night or "" for each in masters if each.certified is not None), default="")


def _judged(reference: Reference, mean: PlanesFile, facts: MasterFacts, shape: tuple[int, int]) -> Verdicts:
    """Return what a model speaks against a growing master, on a sample of its pixels."""
    lines, columns = sample_of_rows(*shape)
    new: F32 = np.concatenate([mean.read("MEAN", int(y), 1)[:, columns] for y in lines])
    with reference.prediction.held() as planes:
        read = [planes.read(Band(start=int(y), stop=int(y) + 1)) for y in lines]
    predicted, sigma = (np.concatenate([each[i][:, columns] for each in read]) for i in range(2))
    return compare_by_model(MasterPlanes(mean=new, sigma=None, facts=facts), predicted, sigma, reference.expected)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None
