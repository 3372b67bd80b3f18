"""The bias model of a nightcal root: fitted to chosen frames, and compared with the one before it."""

from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.bias import BiasModel
from services.datasets.frame import DatasetFrames
from services.errors import Usage
from services.events.modelled import Moved
from services.files.disk import Disk
from services.models.bias.files import MODEL, SIDECAR
from services.models.bias.fit import LETTERS, covariance_names
from services.models.bias.model import Asked, fit
from services.models.bias.records import Loaded
from services.models.gathering import Progress
from services.models.kinds import Made
from services.models.records import is_as_written

Floats = NDArray[np.float64]

_STEP_C = 0.5
"""The slope of the level is that over so many degrees on both sides."""


def session_levels(said: Mapping[str, Any]) -> list[list[Any]]:
    """Return the level of each session less the model's, in ADU, as pairs in the order of the sessions' names."""
    model = BiasModel.from_plain(said)
    found: dict[str, list[float]] = {}
    for row in said["inputs"]:
        expected = model.basis.design([row["temperature_c"]])[0] @ np.asarray(model.level.theta)
        found.setdefault(row["session"], []).append(row["level_adu"] - float(expected))
    return [[session, float(np.mean(levels))] for session, levels in sorted(found.items())]


class BiasMaker:
    """Fits bias models for a library."""

    def fit(
        self, frames: DatasetFrames, out: Path, *, memory_mb: float, progress: Progress, disk: Disk
    ) -> Sequence[Made]:
        """Fit and write the models of frames, as `Maker`."""
        made = []
        for each in fit(frames, out, Asked(memory_mb=memory_mb), progress=progress, disk=disk):
            said = each.sidecar
            made.append(
                Made(
                    folder=each.folder,
                    identity=said["identity"],
                    frames=tuple(Path(row["path"]) for row in said["inputs"]),
                    temperatures_c=tuple(sorted({row["label_c"] for row in said["inputs"]})),
                    sessions=tuple(said["model"]["sessions"]),
                    family=said["model"]["family"],
                    notes=tuple(said["notes"]),
                    more={
                        **{name: said[name] for name in ("model", "domain", "noise_adu")},
                        "planes": {
                            "file": MODEL,
                            "theta": list(LETTERS[: len(said["model"]["level"]["theta"])]),
                            "covariance": covariance_names(len(said["model"]["level"]["theta"])),
                        },
                        "levels": session_levels(said),
                    },
                )
            )
        return made

    def moved(self, before: Path, after: Path) -> Sequence[Moved]:
        """Compare the level in the middle of the earlier range, and its slope there."""
        try:
            old, new = Loaded.load(before).model, Loaded.load(after).model
        except Usage:
            return ()
        at_c = (old.coldest_c + old.warmest_c) / 2
        found = [_moved("level", "ADU", (old, new), np.array([at_c]), np.array([1.0]))]
        if min(old.basis.size, new.basis.size) > 1:
            around = np.array([at_c - _STEP_C, at_c + _STEP_C])
            found.append(_moved("slope", "ADU/°C", (old, new), around, np.array([-0.5, 0.5]) / _STEP_C))
        return found

    def is_whole(self, folder: Path, identity: str) -> bool:
        """Whether the files are those that the fit wrote."""
        return is_as_written(folder / MODEL, folder / SIDECAR, identity)


def _moved(what: str, unit: str, models: tuple[BiasModel, BiasModel], at_c: Floats, weights: Floats) -> Moved:
    """Compare a weighted sum of the levels at some temperatures."""
    (before, error), (after, more) = (_sum(model, at_c, weights) for model in models)
    return Moved(what=what, unit=unit, before=before, after=after, sigma=sqrt(error**2 + more**2) or None)


def _sum(model: BiasModel, at_c: Floats, weights: Floats) -> tuple[float, float]:
    row = weights @ model.basis.design(at_c)
    variance = row @ np.asarray(model.level.covariance) @ row
    return float(row @ np.asarray(model.level.theta)), sqrt(max(float(variance), 0.0))
