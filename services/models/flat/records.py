"""What is known of a flat model beside its planes: the JSON sidecar, read back too, and the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.models.flat.dust import Shadow
from calibration.models.flat.factors import Factors
from calibration.models.flat.model import FlatModel, Term
from calibration.models.flat.prnu import Prnu
from calibration.models.flat.significance import Significance
from services.files.disk import REAL_DISK, Disk, write_text
from services.models.flat.files import FOLDER, SIDECAR, VIGNETTING
from services.models.flat.fit import Label
from services.models.flat.plan import FlatPlan, FlatType
from services.models.flat.vignetting import shape_facts
from services.models.records import LoadedModel, ecsv, write_sidecar
from services.version import version
from services.words import count

_ALIKE_C, _ALIKE = 0.5, 0.02
"""Degrees, and part of its exposure, by which the dark of a flat may differ before that is said."""


class Loaded(LoadedModel[FlatModel]):
    """A flat model that was written."""

    KIND, FORM, FOLDER = "flat", "nightcal flat model 1", FOLDER

    @classmethod
    def model_of(cls, said: Mapping[str, Any]) -> FlatModel:
        """Return the flat model that a sidecar describes, as `LoadedModel.model_of`."""
        return FlatModel.from_plain(said["model"])

    @property
    def applied(self) -> Path | None:
        """The file of the vignetting that was taken off its frames; None where nothing was."""
        return self.folder / f"{VIGNETTING}.fits" if self.said["vignetting"] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A flat taken apart: at which temperature and exposure, into what, and how its gains scatter."""

    label: Label
    factors: Factors
    prnu: Prnu


def dust_rows(shadows: Sequence[Shadow]) -> list[dict[str, Any]]:
    """Return a row for each shadow of dust."""
    return [
        {
            "y": shadow.y,
            "x": shadow.x,
            "radius_px": shadow.radius_px,
            "attenuation": shadow.attenuation,
            "profile": shadow.profile.value,
            "hole": shadow.hole,
            "y_sigma": shadow.sigma(1),
            "x_sigma": shadow.sigma(2),
            "radius_sigma": shadow.sigma(3),
            "attenuation_sigma": shadow.sigma(0),
            "significance": shadow.significance,
        }
        for shadow in shadows
    ]


def term_rows(found: Sequence[Significance]) -> list[dict[str, Any]]:
    """Return a row for each term but A: whether it is more than noise."""
    return [{**asdict(each), "term": each.term.value, "chance": each.chance, "real": each.real} for each in found]


def term_words(rows: Sequence[Mapping[str, Any]], model: FlatModel) -> list[str]:
    """Return in words whether the terms are more than noise, and how much they make."""
    spans = {Term.B: model.warmest_c - model.coldest_c, Term.C: model.longest_s - model.shortest_s}
    whats = {Term.B: f"{spans[Term.B]:.1f} °C", Term.C: f"{spans[Term.C]:g} s"}
    said = []
    for row in rows:
        term, share = Term(row["term"]), 100 * spans[Term(row["term"])]
        if row["real"]:
            said.append(
                f"{term}: the flat changes by {share * row['mean']:+.3f} % over {whats[term]}, "
                f"single pixels by {share * row['spread']:.3f} % more or less{_apart(row)}"
            )
        else:
            said.append(f"{term}: no more than noise over {whats[term]}{_apart(row)}")
    return said


def _apart(row: Mapping[str, Any]) -> str:
    """Return in words that some pixels change by far more than the others."""
    return f"; {count(row['apart'], 'pixel')} by far more" if row.get("apart") else ""


def notes_of(plan: FlatPlan, kind: FlatType) -> list[str]:
    """Return in words what the frames of a model do not show."""
    notes = list(plan.notes)
    if not np.isfinite(plan.noise):
        notes.append("no two flats were taken alike: the noise is that of the fit, where it has degrees of freedom")
    if plan.model.excess > 1:
        notes.append(
            f"the means of the groups scatter {np.sqrt(plan.model.excess):.1f} times as much as noise explains (the "
            "light changed its shape?); the errors are widened by it"
        )
    if kind is FlatType.SKY and len(plan.frames) < 5:
        notes.append(f"{len(plan.frames)} flats of the sky are too few to be sure that no star is left")
    if len(plan.darks) < len({frame.dark for frame in plan.frames}):
        notes.append("some darks have no error: they are taken as exact")
    return [*notes, *_of_unlike_darks(plan)]


def _of_unlike_darks(plan: FlatPlan) -> list[str]:
    """Return in words that flats had darks of another temperature or exposure: hot pixels show it most."""
    warm = np.array([abs(frame.dark_c - frame.temperature_c) for frame in plan.frames])
    long = np.array([abs(frame.dark_s - frame.exposure_s) for frame in plan.frames])
    unlike = (warm > _ALIKE_C) | (long > _ALIKE * np.array([frame.exposure_s for frame in plan.frames]))
    if not unlike.any():
        return []
    far = f"up to {np.nanmax(warm[unlike]):.1f} °C and {np.nanmax(long[unlike]):.2g} s away"
    said = (
        f"{unlike.sum()} of {len(plan.frames)} flats had darks of another temperature or exposure, {far}: what these "
        "collected more or less stays in the flats, in hot pixels most, and no SIGMA has it; take darks like the flats"
    )
    return [said]


def sidecar_of(
    plan: FlatPlan,
    kind: FlatType,
    parts: Parts,
    *,
    rows: Sequence[Mapping[str, Any]],
    terms: Sequence[Significance],
    files: Sequence[str],
    vignetting: str,
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """Return the sidecar of a model."""
    model, smooth = plan.model, parts.factors.smooth
    return {
        "form": Loaded.FORM,
        "identity": plan.identity,
        "software": f"nightcal {version()}",
        "model": {**asdict(model), "terms": [term.value for term in model.terms]},
        "domain": {"shape": list(plan.shape), "filter": plan.frames[0].header.filter, "flat_type": kind.value},
        "notes": notes_of(plan, kind),
        "noise": plan.noise,
        "step": plan.step,
        "vignetting": vignetting,
        "terms": term_rows(terms),
        "parts": {
            "temperature_c": parts.label[0],
            "exposure_s": parts.label[1],
            "smooth": shape_facts(smooth, smooth.family),
            "dust": dust_rows(parts.factors.dust),
            "prnu": asdict(parts.prnu),
        },
        "evaluation": [dict(row) for row in rows],
        "inputs": frames_table(plan),
        "left_out": [{"path": path, "reason": why} for path, why in sorted(left_out.items())],
        "files": list(files),
    }


def frames_table(plan: FlatPlan) -> list[dict[str, Any]]:
    """Return a row for each frame of a model."""
    group_of = {i: number for number, group in enumerate(plan.groups) for i in group}
    return [
        {
            "path": str(frame.path),
            "temperature_c": frame.temperature_c,
            "label_c": frame.label_c,
            "exposure_s": frame.exposure_s,
            "level_adu": float("nan") if frame.level is None else frame.level.value,
            "dark": frame.dark,
            "group": group_of[i],
        }
        for i, frame in enumerate(plan.frames)
    ]


def write_records(sidecar: Mapping[str, Any], out: Path, disk: Disk = REAL_DISK) -> None:
    """Write the sidecar and the tables in place of older ones; the sidecar last.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    tables = {
        "frames": sidecar["inputs"],
        "evaluation": sidecar["evaluation"],
        "terms": sidecar["terms"],
        "dust": sidecar["parts"]["dust"],
    }
    for name, rows in tables.items():
        _write_table(out / FOLDER / f"{name}.ecsv", rows, disk)
    write_sidecar(out / SIDECAR, sidecar, disk)


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]], disk: Disk) -> None:
    if rows:
        write_text(path, ecsv(rows), disk, replace=True)
    else:
        disk.remove(path)
