"""The second reference of a new master: what the model of its kind, of older frames, predicts for its temperature."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np

from calibration.comparing.modelled import Expected, compare_by_model
from calibration.comparing.planes import sample_of_rows
from calibration.comparing.records import F32, MasterFacts, MasterPlanes
from calibration.errors import MasterCode
from calibration.frames import FrameKind, Verdict
from services.bands import Band
from services.catalogue.models import ModelRow, settings_of
from services.catalogue.plain import time_text
from services.catalogue.rows import MasterRow
from services.errors import StorageError
from services.events.findings import findings_of
from services.files.planes import PlanesFile
from services.masters.comparison import with_findings
from services.masters.measured import Measured
from services.masters.prepare import Prepared
from services.masters.whole_dark import WholeDark, bias_at_hand
from services.planning.master_groups import MasterGroup
from services.planning.predicted_darks import outside, typical_dark
from services.predicting import BiasPrediction, ModelDamaged, bias_prediction, dark_prediction
from services.root import Place

_NOT_FITTED = "models of the {} are not fitted any more (models.fit, models.kinds)"
_KINDS = {FrameKind.BIAS: "bias", FrameKind.DARK: "dark"}

Verdicts = tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a model predicts for a master that is not in it."""

    prediction: BiasPrediction | WholeDark
    expected: Expected


def second_opinion(
    prepared: Prepared, result: Measured, said: Verdicts, mean: PlanesFile, place: Place, *, kinds: Collection[str]
) -> Measured:
    """Return a measured master with what a model of older frames speaks against it.

    Its statistics name the model (`modelled_by`) and its newest frame (`modelled_until`), or say in words why none can
    judge it (`not_modelled`).

    Parameters
    ----------
    prepared : Prepared
    result : Measured
    said : tuple of Verdict
        What the comparison with the master before has said: nothing is said twice.
    mean : PlanesFile
        The growing master.
    place : Place
    kinds : collection of str
        Of which models are fitted. Another model learns nothing of masters that somebody certifies: it would suspect a
        sensor that ages for ever.

    Returns
    -------
    Measured
        `verdicts` are those of the model alone.
    """
    kind, celsius = _KINDS.get(prepared.group.product), _celsius(prepared)
    if kind is None or prepared.group.product is not prepared.group.taken_as:  # biases that are a dark, too
        return replace(result, verdicts=())
    reference = _reference(kind, prepared.group, celsius, place, kinds) if kind in kinds else _NOT_FITTED.format(kind)
    if isinstance(reference, str):
        return replace(result, verdicts=(), statistics={**result.statistics, "not_modelled": reference})
    facts = MasterFacts(
        kind=prepared.group.product,
        frames=len(prepared.group.rows),
        noise_adu=_number(result.statistics.get("pair_noise_adu")),
        sigma=_number(result.statistics.get("master_noise_adu")),
        level_adu=_number(result.statistics.get("level_adu")),
        temperature_c=celsius,
        gain_e_adu=_number(result.statistics.get("gain_e_adu")) or prepared.group.key.egain_e_adu,
    )
    known = {verdict.code for verdict in said}
    found = tuple(each for each in _judged(reference, mean, facts, prepared.stack.shape) if each.code not in known)
    row = reference.prediction.row
    by = {"modelled_by": row.path, "modelled_until": time_text(place.catalogue.newest_of(row))}
    known_by = {name: words for name, words in by.items() if words is not None}
    return replace(result, verdicts=found, statistics={**with_findings(result.statistics, found), **known_by})


def _celsius(prepared: Prepared) -> float | None:
    known = [row.ccd_temp_c for row in prepared.group.rows if row.ccd_temp_c is not None]
    return float(np.mean(known)) if known else None


def _reference(
    kind: str, group: MasterGroup, celsius: float | None, place: Place, kinds: Collection[str]
) -> Reference | str:
    """Return what a model predicts for the master of a group, or in words why none does."""
    if celsius is None:
        return "the temperature of its frames is not known"
    row = place.catalogue.model_for(kind, group.key, without=[frame.pixel_sha256 for frame in group.rows])
    if isinstance(row, str):
        return row
    try:
        if group.product is FrameKind.BIAS:
            return _of_bias(row, group, celsius, place)
        return _of_dark(row, group, celsius, place, with_bias_models="bias" in kinds)
    except ModelDamaged as damaged:  # the next models step fits it anew
        place.catalogue.remove_models([damaged.path])
        return damaged.detail
    except (StorageError, OSError) as error:
        return f"{row.path} cannot be read: {error}"


def _of_bias(row: ModelRow, group: MasterGroup, celsius: float, place: Place) -> Reference | str:
    found = bias_prediction(row, place.layout, celsius)
    if not found.inside:
        return _not_measured(row, celsius)
    accepted = max((each.night or "" for each in _accepted(row, place)), default="")
    expected = Expected(
        name=_name(row),
        kind=group.product,
        levels_adu=_levels(row, accepted),
        noise_adu=_number(row.said.get("noise_adu")),
    )
    return Reference(prediction=found.of_pattern(), expected=expected)


def _of_dark(
    row: ModelRow, group: MasterGroup, celsius: float, place: Place, *, with_bias_models: bool
) -> Reference | str:
    if group.exposure_us is None:
        return "the exposure of its frames is not known"
    exposure_s = group.exposure_us / 1e6
    try:
        model, typical = typical_dark(row, celsius, exposure_s)
    except (KeyError, TypeError, ValueError) as error:
        return f"what is known of {row.path} is damaged ({error!r})"
    if not model.has_measured(celsius):
        return _not_measured(row, celsius)
    if why := outside(model, celsius, exposure_s, 0.0):
        return f"{row.path}: {why}"
    bias = bias_at_hand(group.key, group.started, celsius, place, with_models=with_bias_models)
    if bias is None:
        return "there is neither a certified bias nor a model of one that the predicted signal could be added to"
    of_biases = place.catalogue.model_for("bias", group.key)
    signal_adu = float(typical.mean)
    doubts = (each for master in _accepted(row, place) for each in findings_of(master.statistics))
    accepted = (each.measured or 0.0 for each in doubts if each.code == MasterCode.LEVEL_DRIFTED)
    expected = Expected(
        name=_name(row),
        kind=group.product,
        levels_adu=() if isinstance(of_biases, str) else _levels(of_biases),
        noise_adu=model.noise.sigma_adu(signal_adu, group.key.egain_e_adu),
        signal_adu=signal_adu,
        shot_per_adu=model.noise.per_adu,
        sessions=row.sessions,
        accepted_adu=max(accepted, default=0.0),
    )
    signal = dark_prediction(row, place.layout, celsius=celsius, exposure_s=exposure_s)
    return Reference(prediction=WholeDark(bias=bias, signal=signal), expected=expected)


def _name(row: ModelRow) -> str:
    return row.path.rpartition("/")[2]


def _levels(row: ModelRow, since: str = "") -> tuple[float, ...]:
    """Return the levels of the sessions of a model of biases, from a night on."""
    return tuple(float(level) for night, level in row.said.get("levels") or () if night >= since)


def _not_measured(row: ModelRow, celsius: float) -> str:
    return f"{row.path} was measured at {row.coldest_c:.1f} to {row.warmest_c:.1f} °C, not at {celsius:.1f} °C"


def _accepted(row: ModelRow, place: Place) -> list[MasterRow]:
    """Return the masters with the settings of a model that somebody has certified."""
    masters = place.catalogue.masters(kind=row.key.kind, camera=row.key.camera, with_inputs=False)
    return [each for each in masters if each.certified is not None and settings_of(row.key.kind, each.key) == row.key]


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
