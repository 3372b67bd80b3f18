"""The files of a bias model: their names, which earlier programs had too, and what their headers say."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import Card
from calibration.models.bias import BiasModel, Family
from services.files.disk import REAL_DISK, Disk
from services.files.planes import Plane, PlanesFile, create_planes
from services.models.bias.fit import LETTERS, Targets, covariance_names
from services.models.bias.plan import Plan
from services.models.products import base_cards, decimal_text, header_of

FOLDER = "bias_model"
MODEL, SIDECAR = f"{FOLDER}/bias_model.fits", f"{FOLDER}/bias_model.json"
MASTERS, SYNTHETIC, EVALUATION = "bias_grouped_by_temp", "bias_masks_by_temp", "evaluation"
_UNITS = {"A": "adu", "B": "adu/degC"}


def master_name(celsius: float) -> str:
    """Return the path of the mean of the frames of a temperature."""
    return f"{MASTERS}/master_bias_{decimal_text(celsius, 1)}C.fits"


def synthetic_name(celsius: float) -> str:
    """Return the name of a predicted bias."""
    return f"synthetic_bias_{decimal_text(celsius, 1)}C.fits"


def map_name(letter: str) -> str:
    """Return the path of a parameter as a map of its own."""
    return f"{FOLDER}/bias_{letter.lower()}_map.fits"


def model_cards(model: BiasModel, frames: int) -> list[Card]:
    """Return what a header says of a model."""
    basis, level = model.basis, model.level
    cards = [
        Card("MODEL", basis.family.value, "how the bias depends on temperature"),
        Card("MODTREF", basis.reference_c, "[degC] reference temperature of the model"),
        Card("MODTMIN", model.coldest_c, "[degC] coldest frames of the model"),
        Card("MODTMAX", model.warmest_c, "[degC] warmest frames of the model"),
        Card("MODFRAMS", frames, "frames of the model"),
        Card("MODEXCES", model.excess, "factor of the pixels' variances"),
        Card("MODSLOPE", level.separable, "T: level apart from sessions"),
        Card("MODSESSN", len(level.offsets_adu), "sessions; of one no scatter is in SIGMA"),
    ]
    if basis.doubling_c is not None:
        cards.append(Card("MODDOUBL", basis.doubling_c, "[degC] in which dark charge doubles"))
    if np.isfinite(level.session_sigma_adu):
        cards.append(Card("MODSESSG", level.session_sigma_adu, "[adu] scatter of the sessions' offsets"))
    return cards


def predicted_cards(model: BiasModel, header: FrameHeader, celsius: float, frames: int) -> list[Card]:
    """Return the cards of a predicted bias; MODEXTRA says whether it is an extrapolation."""
    inside = model.holds_at(celsius)
    cards = [
        *base_cards(replace(header, ccd_temp_c=celsius), "MASTER BIAS"),
        Card("TEMP", celsius, "[degC] temperature it was predicted for"),
        Card("MODEXTRA", not inside, "T: outside of the temperatures measured"),
        *model_cards(model, frames),
    ]
    if not inside:
        cards.append(Card("HISTORY", extrapolation(model, celsius)))
    return cards


def extrapolation(model: BiasModel, celsius: float) -> str:
    """Return in words that a prediction is an extrapolation."""
    measured = f"{model.coldest_c:.1f} to {model.warmest_c:.1f} degC"
    if model.basis.family is Family.CONSTANT:
        said = "the model has one temperature and no slope: its error there is not known (SIGMA is NaN)"
    else:
        said = "nothing has checked the model there"
    return f"{celsius:.1f} degC is an extrapolation from {measured}: {said}"


@contextmanager
def open_targets(
    out: Path, plan: Plan, *, synthetic: bool, evaluation: bool, disk: Disk = REAL_DISK
) -> Iterator[Targets]:
    """Give the files of a model to be written; those that were not finished when the block ends are removed."""
    header, model, p = header_of(plan.members[0].frame.header, FrameKind.BIAS), plan.model, plan.model.basis.size
    counts = {t: sum(m.label_c == t for m in plan.members) for t in sorted({m.label_c for m in plan.members})}
    about = [*model_cards(model, len(plan.members)), Card("MODELID", plan.identity, "of the fit, as in the sidecar")]
    with ExitStack() as stack:

        def made(path: str, *planes: Plane) -> PlanesFile:
            spare = 36 if len(planes) == 1 else 144
            return stack.enter_context(
                create_planes(out / path, planes, plan.shape, disk, spare_cards=spare, hashed=False)
            )

        yield Targets(
            model=made(MODEL, *_model_planes(header, about, p)),
            powers={
                letter: made(map_name(letter), Plane(name="MEAN", cards=tuple(_map_cards(header, about, letter))))
                for letter in LETTERS[:p]
            },
            masters={t: made(master_name(t), _master_plane(header, t, n)) for t, n in counts.items()},
            synthetic={
                t: made(f"{SYNTHETIC}/{synthetic_name(t)}", *predicted_planes(model, header, t, len(plan.members)))
                for t in (counts if synthetic else ())
            },
            evaluation={
                t: made(
                    f"{EVALUATION}/held_out_bias_{decimal_text(t, 1)}C.fits",
                    *_evaluated_planes(model, header, t, len(plan.members)),
                )
                for t in (counts if evaluation else ())
            },
        )


def predicted_planes(model: BiasModel, header: FrameHeader, celsius: float, frames: int) -> tuple[Plane, ...]:
    """Return the planes of a predicted bias: MEAN, SIGMA, and the MASK of the model."""
    cards = tuple(predicted_cards(model, header, celsius, frames))
    return (
        Plane(name="MEAN", cards=cards),
        Plane(name="SIGMA", cards=cards),
        Plane(name="MASK", dtype=np.uint16, cards=cards),
    )


def _model_planes(header: FrameHeader, about: Sequence[Card], p: int) -> list[Plane]:
    base = [card for card in base_cards(header, "MASTER BIAS MODEL") if card.keyword != "BUNIT"]
    units = [_UNITS.get(letter, "") for letter in LETTERS[:p]]
    planes = [
        Plane(name=letter, cards=(*base, Card("BUNIT", unit, "unit of the values"), *about))
        for letter, unit in zip(LETTERS, units, strict=False)
    ]
    planes += [Plane(name=name, cards=tuple(about)) for name in covariance_names(p)]
    return [
        *planes,
        Plane(name="NOISE", cards=(Card("BUNIT", "adu", "noise of a frame"), *about)),
        Plane(name="CHI2", cards=(Card("BUNIT", "", "reduced chi-square of the groups"), *about)),
        Plane(name="COUNT", dtype=np.uint32, cards=tuple(about)),
        Plane(name="MASK", dtype=np.uint16, cards=tuple(about)),
    ]


def _map_cards(header: FrameHeader, about: Sequence[Card], letter: str) -> list[Card]:
    what = {"A": "value at 0 degC", "B": "slope at T", "C": "third parameter"}[letter]
    return [
        *base_cards(header, "MASTER BIAS MODEL", _UNITS.get(letter, "")),
        *about,
        Card(
            "HISTORY", f"Coefficient {letter.lower()} ({what}) of a + b T [+ c T^2, or + c 2^(T/MODDOUBL)], T in degC"
        ),
    ]


def _master_plane(header: FrameHeader, celsius: float, frames: int) -> Plane:
    cards = base_cards(replace(header, ccd_temp_c=celsius), "MASTER BIAS")
    return Plane(
        name="MEAN", cards=(*cards, Card("TEMP", celsius, "[degC]"), Card("NCOMBINE", frames, "frames of this mean"))
    )


def _evaluated_planes(model: BiasModel, header: FrameHeader, celsius: float, frames: int) -> tuple[Plane, Plane]:
    cards = tuple(predicted_cards(model, header, celsius, frames))
    about = Card("HISTORY", "Predicted from the frames of the other temperatures alone; DIFF is measured minus MEAN")
    return Plane(name="MEAN", cards=(*cards, about)), Plane(name="DIFF", cards=(about,))


def paths_of(targets: Targets) -> list[Path]:
    """Return the paths of the files of a model."""
    return [each.path for each in files_of(targets)]


def files_of(targets: Targets) -> list[PlanesFile]:
    """Return the files of a model."""
    groups = (targets.powers, targets.masters, targets.synthetic, targets.evaluation)
    return [targets.model, *(file for group in groups for file in group.values())]
