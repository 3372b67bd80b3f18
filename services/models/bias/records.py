"""What is known of a bias model beside its planes: the JSON sidecar, read back too, and the tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from calibration.models.bias import BiasModel
from services.files.disk import REAL_DISK, Disk, write_text
from services.models.bias.files import FOLDER, SIDECAR
from services.models.bias.plan import Plan
from services.models.contradicting import notes_on, write_contradictions
from services.models.records import LoadedModel, ecsv, write_sidecar
from services.version import version

_RESTLESS = 1.0
"""Levels that scatter by more than so many times the noise of a pixel are no matter of the read-out."""


class Loaded(LoadedModel[BiasModel]):
    """A bias model that was written."""

    KIND, FORM, FOLDER = "bias", "nightcal bias model 1", FOLDER

    @classmethod
    def model_of(cls, said: Mapping[str, Any]) -> BiasModel:
        """Return the bias model that a sidecar describes, as `LoadedModel.model_of`."""
        return BiasModel.from_plain(said)


def doubts_of(plan: Plan) -> list[str]:
    """Return in words which frames contradict each other."""
    return notes_on(plan.contradictions, "biases", restless=plan.restless)


def notes_of(plan: Plan) -> list[str]:
    """Return in words what the frames of a model do not show."""
    level, labels = plan.model.level, {member.label_c for member in plan.members}
    notes = [*doubts_of(plan), plan.choice.reason]
    if len(labels) == 1:
        notes.append(
            f"it holds at {plan.model.coldest_c:.1f} °C alone, for other temperatures no error can be given: take "
            "biases at a second temperature, better at three"
        )
    elif not level.separable:
        notes.append(
            "each session has one temperature: the frames do not show how the level depends on temperature apart from "
            "the offsets of the sessions, and a drift from one to the next is in no SIGMA"
        )
    if len(plan.sessions) == 1:
        notes.append(
            "all frames are of one session: they do not show how the level wanders from one session to the next, and "
            "that is in no SIGMA"
        )
    if not math.isfinite(plan.noise_adu):
        notes.append("no two frames were taken together: the noise is that of the fit, where it has degrees of freedom")
    if level.frame_sigma_adu > _RESTLESS * plan.noise_adu:
        notes.append(
            f"the levels of frames that were taken together scatter by {level.frame_sigma_adu:.0f} ADU, the pixels of "
            f"a frame by {plan.noise_adu:.0f} ADU: something else than temperature sets them (light?), and the error "
            "includes it"
        )
    if level.freedom == 0:
        notes.append("nothing shows how far the level of a frame is from that of the others: its error is not included")
    if plan.model.excess > 1:
        notes.append(
            f"the means of the groups scatter {math.sqrt(plan.model.excess):.1f} times as much as noise explains; the "
            "errors are widened by it"
        )
    return notes


def sidecar_of(
    plan: Plan, rows: Sequence[Mapping[str, float]], files: Sequence[str], hot: Path | None
) -> dict[str, Any]:
    """Return the sidecar of a model."""
    model = plan.model
    return {
        "form": Loaded.FORM,
        "identity": plan.identity,
        "software": f"nightcal {version()}",
        "model": {
            "family": model.basis.family.value,
            "reference_c": model.basis.reference_c,
            "doubling_c": model.basis.doubling_c,
            "excess": model.excess,
            "level": asdict(model.level),
            "sessions": list(plan.sessions),
        },
        "domain": {"coldest_c": model.coldest_c, "warmest_c": model.warmest_c, "shape": list(plan.shape)},
        "notes": notes_of(plan),
        "doubts": doubts_of(plan),
        "contradictions": [each.row for each in plan.contradictions],
        "restless": plan.restless,
        "noise_adu": plan.noise_adu,
        "step_adu": plan.step_adu,
        "holdout": [
            {**asdict(row), "family": row.family.value, "error_adu": row.error_adu} for row in plan.choice.holdout
        ],
        "evaluation": [dict(row) for row in rows],
        "hot_pixel_mask": None if hot is None else str(hot),
        "inputs": frames_table(plan),
        "left_out": [{"path": str(path), "reason": why} for path, why in sorted(plan.unused.items())],
        "files": list(files),
    }


def frames_table(plan: Plan) -> list[dict[str, Any]]:
    """Return a row for each frame of a model."""
    group_of = {i: number for number, group in enumerate(plan.groups) for i in group}
    return [
        {
            "path": str(member.frame.path),
            "temperature_c": member.temperature_c,
            "label_c": member.label_c,
            "level_adu": float(plan.levels_adu[i]),
            "session": member.session,
            "attempt": member.frame.attempt,
            "group": group_of[i],
            "rows_sha256": member.numbers.sha256,
        }
        for i, member in enumerate(plan.members)
    ]


def write_records(sidecar: Mapping[str, Any], out: Path, disk: Disk = REAL_DISK) -> None:
    """Write the sidecar and the tables in place of older ones; the sidecar last.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    write_contradictions(out / FOLDER, sidecar["contradictions"], disk)
    for name in ("inputs", "holdout", "evaluation"):
        if sidecar[name]:
            text = ecsv(sidecar[name])
            write_text(out / FOLDER / f"{'frames' if name == 'inputs' else name}.ecsv", text, disk, replace=True)
    write_sidecar(out / SIDECAR, sidecar, disk)
