"""The files of a dark model: their names, which earlier programs had too, and what their headers say."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import Card
from calibration.models.dark.model import DarkModel, Family
from calibration.models.linear import pairs
from services.files.disk import REAL_DISK, Disk
from services.files.planes import Plane, PlanesFile, create_planes
from services.models.dark.bands import Shot, covariance_names
from services.models.dark.plan import DarkPlan
from services.models.products import base_cards, decimal_text, header_of

FOLDER = "dark_model"
MODEL, SIDECAR = f"{FOLDER}/dark_model.fits", f"{FOLDER}/dark_model.json"
MASKS, SUSPICIOUS = "dark_masks_by_temp", "suspicious_bias.log"


def exposure_folder(exposure_s: float) -> str:
    """Return the name of the folder of an exposure: ``exp_1p00``."""
    return f"exp_{decimal_text(exposure_s, 2).replace('.', 'p')}"


def mask_name(shot: Shot) -> str:
    """Return the path of the dark current of a temperature, as an exposure shows it."""
    name = f"dark_mask_t{decimal_text(shot.label_c, 2)}_e{decimal_text(shot.exposure_s, 2)}.fits"
    return f"{MASKS}/{exposure_folder(shot.exposure_s)}/{name}"


def synthetic_name(celsius: float, exposure_s: float) -> str:
    """Return the name of a predicted dark."""
    return f"synthetic_dark_t{decimal_text(celsius, 2)}_e{decimal_text(exposure_s, 2)}.fits"


def model_cards(model: DarkModel, frames: int) -> list[Card]:
    """Return what a header says of a model."""
    law = model.law
    cards = [
        Card("MODEL", law.family.value, "how the dark depends on temperature"),
        Card("MODTREF", law.reference_c, "[degC] reference temperature of the model"),
        Card("MODTMIN", model.coldest_c, "[degC] coldest frames of the model"),
        Card("MODTMAX", model.warmest_c, "[degC] warmest frames of the model"),
        Card("MODEMIN", model.shortest_s, "[s] shortest exposure, 0 by biases"),
        Card("MODEMAX", model.longest_s, "[s] longest exposure of the model"),
        Card("MODFRAMS", frames, "frames of the model"),
        Card("MODEXCES", model.excess, "factor of the pixels' variances"),
    ]
    if np.isfinite(model.hot_above):
        cards.append(Card("MODHOT", model.hot_above, "[adu/s] rate from which on a pixel is hot"))
    if np.isfinite(model.limit_adu):
        cards.append(Card("MODSATUR", model.limit_adu, "[adu] saturation above the bias"))
    if law.exponent != 1:
        cards.append(Card("MODGAMMA", law.exponent, "exponent of the exposure"))
    if law.glow_s is not None:
        cards.append(Card("MODGLOW", law.glow_s, "[s] time constant of the glow"))
    return cards


def extrapolation(model: DarkModel, celsius: float, exposure_s: float) -> str:
    """Return in words that a prediction is an extrapolation."""
    measured = f"{model.coldest_c:.1f} to {model.warmest_c:.1f} degC, {model.shortest_s:g} to {model.longest_s:g} s"
    said = f"{celsius:.1f} degC, {exposure_s:g} s is an extrapolation from {measured}"
    if model.law.family is Family.CONSTANT:
        return f"{said}: nothing shows how the dark changes with temperature, so SIGMA is NaN at another one"
    return f"{said}: nothing has checked the model there"


def predicted_cards(
    model: DarkModel, header: FrameHeader, celsius: float, exposure_s: float, frames: int
) -> list[Card]:
    """Return the cards of a predicted dark; MODEXTRA says whether it is an extrapolation."""
    inside = model.holds_at(celsius, exposure_s)
    shot = replace(header, ccd_temp_c=celsius, exposure_us=round(exposure_s * 1e6))
    cards = [
        *base_cards(shot, "MASTER DARK"),
        Card("TEMP", celsius, "[degC] temperature it was predicted for"),
        Card("BIASSUB", value=True, comment="T: signal above the bias"),
        Card("MODEXTRA", not inside, "T: outside of what was measured"),
        *model_cards(model, frames),
    ]
    common = model.common_sigma_adu(celsius, exposure_s)
    if common > 0:
        cards.append(Card("MODCOMM", common, "[adu] of SIGMA, what all pixels have in common"))
    if not inside:
        cards.append(Card("HISTORY", extrapolation(model, celsius, exposure_s)))
    return cards


def predicted_planes(
    model: DarkModel, header: FrameHeader, celsius: float, exposure_s: float, frames: int
) -> tuple[Plane, ...]:
    """Return the planes of a predicted dark: MEAN, SIGMA and MASK."""
    cards = tuple(predicted_cards(model, header, celsius, exposure_s, frames))
    rest = tuple(card for card in cards if card.keyword != "BUNIT")
    return (
        Plane(name="MEAN", cards=cards),
        Plane(name="SIGMA", cards=cards),
        Plane(name="MASK", dtype=np.uint16, cards=rest),
    )


def in_seconds(plane: Plane) -> Plane:
    """Return a plane of a predicted dark as one of its dark current: a mean over the exposure."""
    cards = [Card("BUNIT", "adu/s", card.comment) if card.keyword == "BUNIT" else card for card in plane.cards]
    return replace(plane, cards=(*cards, Card("HISTORY", "Dark current: the signal of this exposure over its time")))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """The files that the bands go to; a mask of each temperature and exposure, None of one without an exposure."""

    model: PlanesFile
    masks: tuple[PlanesFile | None, ...]

    @property
    def files(self) -> list[PlanesFile]:
        """All of them."""
        return [self.model, *(mask for mask in self.masks if mask is not None)]


@contextmanager
def open_targets(out: Path, plan: DarkPlan, shots: Sequence[Shot], disk: Disk = REAL_DISK) -> Iterator[Targets]:
    """Give the files of a model to be written; those that were not finished when the block ends are removed."""
    header, model = header_of(plan.darks.members[0].frame.header, FrameKind.DARK), plan.model
    about = [
        *model_cards(model, sum(shot.frames for shot in shots)),
        Card("MODELID", plan.identity, "of the fit, as in the sidecar"),
    ]
    with ExitStack() as stack:

        def made(path: str, planes: Sequence[Plane]) -> PlanesFile:
            return stack.enter_context(create_planes(out / path, planes, plan.darks.shape, disk, spare_cards=36))

        yield Targets(
            model=made(MODEL, _model_planes(header, about, model)),
            masks=tuple(
                made(mask_name(shot), _mask_planes(header, shot)) if shot.exposure_s > 0 else None for shot in shots
            ),
        )


def _model_planes(header: FrameHeader, about: Sequence[Card], model: DarkModel) -> list[Plane]:
    law = model.law
    base = [card for card in base_cards(header, "MASTER DARK MODEL") if card.keyword != "BUNIT"]
    planes = [
        Plane(name=name, cards=(*base, Card("BUNIT", unit, "unit of the values"), *about))
        for name, unit in zip(law.names, law.units, strict=True)
    ]
    units = [f"{law.units[i]} {law.units[j]}" for i, j in pairs(law.size)]
    planes += [
        Plane(name=name, cards=(Card("BUNIT", unit, "unit of the values"), *about))
        for name, unit in zip(covariance_names(law), units, strict=True)
    ]
    return [
        *planes,
        Plane(name="NOISE", cards=(Card("BUNIT", "adu", "noise of a frame without dark"), *about)),
        Plane(name="CHI2", cards=(Card("BUNIT", "", "reduced chi-square of the groups"), *about)),
        Plane(name="COUNT", dtype=np.uint32, cards=tuple(about)),
        Plane(name="MASK", dtype=np.uint16, cards=tuple(about)),
    ]


def _mask_planes(header: FrameHeader, shot: Shot) -> tuple[Plane, ...]:
    of = replace(header, ccd_temp_c=shot.temperature_c, exposure_us=round(shot.exposure_s * 1e6))
    cards = (
        *base_cards(of, "MASTER DARK CURRENT", "adu/s"),
        Card("TEMP", shot.label_c, "[degC]"),
        Card("NCOMBINE", shot.frames, "frames of this mean"),
        Card("HISTORY", "Mean of the darks less the bias, over the exposure; not clipped, not shifted"),
    )
    return Plane(name="MEAN", cards=cards), Plane(name="SIGMA", cards=cards), Plane(name="COUNT", dtype=np.uint32)
