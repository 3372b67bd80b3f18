"""What is known of a dark model beside its planes: the JSON sidecar, read back too, and the tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from calibration.models.dark.fit import Pedestal
from calibration.models.dark.model import DarkModel, Family
from services.files.disk import REAL_DISK, Disk, write_text
from services.models.contradicting import notes_on, write_contradictions
from services.models.dark.bands import Shot
from services.models.dark.files import FOLDER, SIDECAR, SUSPICIOUS, mask_name
from services.models.dark.levels import rows_of, words_of
from services.models.dark.plan import DarkPlan, Grouped
from services.models.gathering import Member
from services.models.records import LoadedModel, ecsv, write_sidecar
from services.version import version

SUSPICIOUS_SHARE = 0.1
"""Biases with a larger share of zeros are named in a log of their own, as earlier programs did."""


class Loaded(LoadedModel[DarkModel]):
    """A dark model that was written."""

    KIND, FORM, FOLDER = "dark", "nightcal dark model 1", FOLDER

    @classmethod
    def model_of(cls, said: Mapping[str, Any]) -> DarkModel:
        """Return the dark model that a sidecar describes, as `LoadedModel.model_of`."""
        return DarkModel.from_plain(said["model"])

    @property
    def frames(self) -> int:
        """Number of darks that it was made of."""
        return sum(shot.frames for shot in self.shots)

    @property
    def shots(self) -> tuple[Shot, ...]:
        """The temperatures and exposures of its darks."""
        names = ("label_c", "temperature_c", "exposure_s", "frames")
        return tuple(Shot(**{name: row[name] for name in names}) for row in self.said["masks"])

    @property
    def pedestal(self) -> Pedestal:
        """What the error of the bias adds to the darks of each temperature and exposure."""
        said, k = self.said["pedestal"], len(self.said["masks"])
        design = np.array(said["design"], np.float64).reshape(k, -1)
        return Pedestal.of(design, np.array(said["inverse"], np.float64).reshape(2 * design.shape[1:]))


def doubts_of(darks: Grouped) -> list[str]:
    """Return in words which darks contradict each other."""
    return notes_on(darks.contradictions, "darks", restless=darks.restless)


def notes_of(plan: DarkPlan) -> list[str]:
    """Return in words what the darks of a model do not show."""
    model, darks = plan.model, plan.darks
    notes = doubts_of(darks)
    notes += [plan.choice.reason, darks.bias.reason]
    notes.append(darks.saturation.sentence)
    exposures = {member.exposure_s for member in darks.members}
    if model.law.family is Family.CONSTANT:
        notes.append(
            f"All darks have one temperature: the model holds at {model.coldest_c:.1f} °C alone, at others no "
            "error can be given: take darks at a second temperature, better at three."
        )
    if len(exposures) == 1:
        notes.append(
            f"All darks have one exposure ({exposures.pop():g} s): nothing shows whether the dark grows in proportion "
            "to it: take darks of a second one."
        )
    if not any(len(each) > 1 for each in darks.groups):
        notes.append(
            "No two darks were taken together: errors follow from the noise of biases, or the difference of "
            "unlike darks."
        )
    notes += words_of(rows_of(darks.taken, darks.firsts, darks.levels), math.sqrt(model.noise.read_adu2))
    if model.excess > 1:
        notes.append(
            f"The means of the groups scatter {math.sqrt(model.excess):.1f} times as much as noise explains; the "
            "errors are widened by it."
        )
    return notes


def sidecar_of(plan: DarkPlan, shots: Sequence[Shot], files: Sequence[str]) -> dict[str, Any]:
    """Return the sidecar of a model."""
    model, darks = plan.model, plan.darks
    pedestal = darks.bias.at(np.array([shot.temperature_c for shot in shots])).pedestal
    return {
        "form": Loaded.FORM,
        "identity": plan.identity,
        "software": f"nightcal {version()}",
        "model": asdict(model),
        "domain": {
            "coldest_c": model.coldest_c,
            "warmest_c": model.warmest_c,
            "shortest_s": model.shortest_s,
            "longest_s": model.longest_s,
            "shape": list(darks.shape),
        },
        "notes": notes_of(plan),
        "doubts": doubts_of(darks),
        "contradictions": [each.row for each in darks.contradictions],
        "restless": darks.restless,
        "bias": darks.bias.way.value,
        "pedestal": {"design": pedestal.design.tolist(), "inverse": pedestal.inverse.tolist()},
        "step_adu": darks.step_adu,
        "saturation_adu": darks.saturation_adu,
        "saturation_source": darks.saturation.source,
        "drift_adu2": darks.drift_adu2,
        "holdout": [{**asdict(row), "family": row.family.value, "counts": row.counts} for row in plan.choice.holdout],
        "levels": [asdict(row) for row in rows_of(darks.taken, darks.firsts, darks.levels)],
        "exponent": plan.choice.exponent,
        "exponent_error": plan.choice.exponent_error,
        "masks": [{**asdict(shot), "file": mask_name(shot)} for shot in shots],
        "inputs": [*frames_table(darks), *(_row(member) for member in darks.bias.inputs)],
        "left_out": [{"path": str(path), "reason": why} for path, why in sorted(darks.unused.items())],
        "files": list(files),
    }


def held_out_of(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rows of a sidecar on temperatures that the model's own family predicted from the others."""
    law = said["model"]["law"]
    glows = law["glow_s"] is not None
    return [row for row in said["holdout"] if row["family"] == law["family"] and row["glow"] == glows]


def frames_table(darks: Grouped) -> list[dict[str, Any]]:
    """Return a row for each dark of a model."""
    group_of = {i: number for number, group in enumerate(darks.groups) for i in group}
    return [{**_row(member), "group": group_of[i]} for i, member in enumerate(darks.members)]


def _row(member: Member) -> dict[str, Any]:
    return {
        "path": str(member.frame.path),
        "kind": str(member.kind).lower(),
        "temperature_c": member.temperature_c,
        "label_c": member.label_c,
        "exposure_s": member.exposure_s,
        "session": member.session,
        "attempt": member.frame.attempt,
        "group": -1,
        "rows_sha256": member.numbers.sha256,
    }


def write_records(sidecar: Mapping[str, Any], zeros: Mapping[Path, float], out: Path, disk: Disk = REAL_DISK) -> None:
    """Write the sidecar, the tables and the log of suspicious biases in place of older ones; the sidecar last.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    write_contradictions(out / FOLDER, sidecar["contradictions"], disk)
    for name, table in (("inputs", "frames"), ("holdout", "holdout"), ("levels", "levels")):
        if sidecar[name]:
            write_text(out / FOLDER / f"{table}.ecsv", ecsv(sidecar[name]), disk, replace=True)
    lines = [f"{path}\t{share:.4f}" for path, share in sorted(zeros.items()) if share > SUSPICIOUS_SHARE]
    disk.remove(out / SUSPICIOUS)
    if lines:
        write_text(out / SUSPICIOUS, "\n".join(["path\tshare of zeros", *lines]) + "\n", disk, replace=True)
    write_sidecar(out / SIDECAR, sidecar, disk)
