"""The files of a flat model: their names, which earlier programs had too, and what their headers say."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import Card
from calibration.models.flat.factors import NAMES
from calibration.models.flat.model import FlatModel, Term
from services.files.disk import REAL_DISK, Disk
from services.files.layout import sanitise
from services.files.planes import Plane, PlanesFile, create_planes
from services.models.flat.fit import Label, covariance_names
from services.models.products import base_cards, decimal_text, header_of

FOLDER, MASTERS, SKY = "flat_model_fits", "master_flat", "sky_median"
MODEL, SIDECAR, FACTORS = f"{FOLDER}/flat_model.fits", f"{FOLDER}/flat_model.json", f"{FOLDER}/flat_factors.fits"
EVALUATION = f"{FOLDER}/evaluation"
VIGNETTING = "flat_vignetting_corrected/vignetting"
"""FITS planes and JSON of the vignetting that was taken off, without their endings."""

_UNITS = {Term.A: "", Term.B: "1/degC", Term.C: "1/s"}


def text_of(label: Label) -> str:
    """Return temperature and exposure as names of files have them."""
    celsius, seconds = label
    return f"T{decimal_text(celsius, 1)}_E{decimal_text(seconds)}"


def master_name(filter_name: str | None, label: Label) -> str:
    """Return the path of the master of a filter, temperature and exposure."""
    return f"{MASTERS}/master_flat_{sanitise(filter_name or 'none')}_{text_of(label)}.fits"


def map_name(term: Term) -> str:
    """Return the path of a parameter as a map of its own."""
    return f"{FOLDER}/flat_{term}_map.fits"


def held_name(label: Label) -> str:
    """Return the path of a group as the others predict it."""
    return f"{EVALUATION}/held_out_flat_{text_of(label)}_diff.fits"


def synthetic_name(label: Label) -> str:
    """Return the name of a predicted flat."""
    return f"synthetic_flat_{text_of(label)}.fits"


def flat_header(first: FrameHeader, label: Label | None = None) -> FrameHeader:
    """Return what the flats of a model have in common, as a header of its products."""
    made = replace(header_of(first, FrameKind.FLAT), filter=first.filter, source=first.source)
    if label is None:
        return made
    return replace(made, ccd_temp_c=label[0], exposure_us=round(label[1] * 1e6))


def model_cards(model: FlatModel, frames: int, vignetting: str) -> list[Card]:
    """Return what a header says of a model; `vignetting` is what was taken off the frames, empty for nothing."""
    return [
        Card("MODEL", "".join(model.terms), "terms of A + B (T-Tref) + C (t-tref)"),
        Card("MODTREF", model.reference_c, "[degC] Tref"),
        Card("MODEREF", model.reference_s, "[s] tref"),
        Card("MODTMIN", model.coldest_c, "[degC] coldest frames of the model"),
        Card("MODTMAX", model.warmest_c, "[degC] warmest frames of the model"),
        Card("MODEMIN", model.shortest_s, "[s] shortest exposure of the model"),
        Card("MODEMAX", model.longest_s, "[s] longest exposure of the model"),
        Card("MODFRAMS", frames, "frames of the model"),
        Card("MODEXCES", model.excess, "factor of the pixels' variances"),
        Card("FLAT_VIGN", vignetting or "none", "vignetting that was taken off"),
    ]


def extrapolation(model: FlatModel, label: Label) -> str:
    """Return in words that a prediction is an extrapolation."""
    where = f"{model.coldest_c:.1f} to {model.warmest_c:.1f} degC and {model.shortest_s:g} to {model.longest_s:g} s"
    known = model.knows(*label)
    said = "nothing has checked the model there" if known else "nothing shows how it changes: SIGMA is NaN"
    return f"{label[0]:.1f} degC, {label[1]:g} s is an extrapolation from {where}: {said}"


def predicted_planes(
    model: FlatModel, header: FrameHeader, label: Label, frames: int, vignetting: str
) -> tuple[Plane, ...]:
    """Return the planes of a predicted flat: MEAN, SIGMA, and MASK of the model; MODEXTRA says if it extrapolates."""
    inside = model.holds_at(*label)
    cards = [
        *base_cards(flat_header(header, label), "MASTER FLAT", ""),
        Card("TEMP", label[0], "[degC] temperature it was predicted for"),
        Card("MODEXTRA", not inside, "T: outside of what was measured"),
        *model_cards(model, frames, vignetting),
    ]
    if not inside:
        cards.append(Card("HISTORY", extrapolation(model, label)))
    return (
        Plane(name="MEAN", cards=tuple(cards)),
        Plane(name="SIGMA", cards=tuple(cards)),
        Plane(name="MASK", dtype=np.uint16, cards=tuple(cards)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatTargets:
    """The files that the bands go to."""

    model: PlanesFile
    maps: Mapping[Term, PlanesFile]
    evaluation: Mapping[Label, PlanesFile]

    @property
    def files(self) -> list[PlanesFile]:
        """All of them."""
        return [self.model, *self.maps.values(), *self.evaluation.values()]


@contextmanager
def open_targets(
    out: Path,
    model: FlatModel,
    header: FrameHeader,
    about: Sequence[Card],
    *,
    held: Sequence[Label],
    disk: Disk = REAL_DISK,
) -> Iterator[FlatTargets]:
    """Give the files of a model to be written; those that were not finished when the block ends are removed.

    `about` are the cards that all of them have, `held` the groups that are written as the others predict them.
    """
    with ExitStack() as stack:

        def made(path: str, *planes: Plane) -> PlanesFile:
            return stack.enter_context(create_planes(out / path, planes, header.shape, disk))

        yield FlatTargets(
            model=made(MODEL, *_model_planes(model, header, about)),
            maps={term: made(map_name(term), _map_plane(header, about, term)) for term in model.terms},
            evaluation={label: made(held_name(label), *held_planes(header, about, label)) for label in held},
        )


def _model_planes(model: FlatModel, header: FrameHeader, about: Sequence[Card]) -> list[Plane]:
    planes = [
        Plane(name=term, cards=(*base_cards(header, "MASTER FLAT MODEL", _UNITS[term]), *about)) for term in model.terms
    ]
    planes += [Plane(name=name, cards=tuple(about)) for name in covariance_names(model.terms)]
    return [
        *planes,
        Plane(name="NOISE", cards=(Card("BUNIT", "", "relative noise of a frame"), *about)),
        Plane(name="CHI2", cards=(Card("BUNIT", "", "reduced chi-square of the groups"), *about)),
        Plane(name="COUNT", dtype=np.uint32, cards=tuple(about)),
        Plane(name="MASK", dtype=np.uint16, cards=tuple(about)),
    ]


def _map_plane(header: FrameHeader, about: Sequence[Card], term: Term) -> Plane:
    words = Card("HISTORY", f"{term} of A + B (T - MODTREF) + C (t - MODEREF), T in degC and t in seconds")
    return Plane(name="MEAN", cards=(*base_cards(header, "MASTER FLAT MODEL", _UNITS[term]), *about, words))


def held_planes(header: FrameHeader, about: Sequence[Card], label: Label) -> tuple[Plane, Plane]:
    """Return the planes of a group as the others predict it: MEAN and DIFF."""
    words = Card("HISTORY", "Predicted from the other flats alone; DIFF is measured minus MEAN")
    cards = (*base_cards(flat_header(header, label), "MASTER FLAT", ""), *about, words)
    return Plane(name="MEAN", cards=cards), Plane(name="DIFF", cards=(*about, words))


def factor_planes(header: FrameHeader, about: Sequence[Card]) -> list[Plane]:
    """Return the planes of a flat taken apart: VIGNETTE, ILLUM, DUST, PRNU, and their errors."""
    words = Card("HISTORY", "VIGNETTE x ILLUM x DUST x PRNU is the flat at TEMP and EXPTIME")
    cards = (*base_cards(header, "MASTER FLAT FACTORS", ""), *about, words)
    return [*(Plane(name=n, cards=cards) for n in NAMES), *(Plane(name=f"{n}_SIGMA", cards=cards) for n in NAMES)]
