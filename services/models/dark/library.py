"""The dark models of a nightcal root: fitted to chosen frames, and compared with the ones before them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.comparing.planes import sample_of_rows
from calibration.models.dark.change import Known, change_of, level_error
from calibration.models.dark.model import Parameters, predict
from services.bands import Band, plane_of, read_rows
from services.datasets.frame import DatasetFrames
from services.errors import Usage
from services.events.modelled import Moved
from services.files.disk import Disk
from services.models.dark.bands import Shot, covariance_names
from services.models.dark.files import MODEL, SIDECAR
from services.models.dark.model import fit
from services.models.dark.records import Loaded
from services.models.gathering import Progress
from services.models.kinds import Made
from services.models.records import is_as_written


class DarkMaker:
    """Fits dark models for a library."""

    def fit(
        self, frames: DatasetFrames, out: Path, *, memory_mb: float, progress: Progress, disk: Disk
    ) -> Sequence[Made]:
        """Fit and write the models of frames, as `Maker`."""
        return [
            _made(Loaded.load(each.folder))
            for each in fit(frames, out, memory_mb=memory_mb, progress=progress, disk=disk)
        ]

    def moved(self, before: Path, after: Path) -> Sequence[Moved]:
        """Compare the dark of a typical pixel at the warmest and longest that the earlier model was measured at."""
        try:
            old, new = Loaded.load(before), Loaded.load(after)
        except Usage:
            return ()
        if old.said["domain"]["shape"] != new.said["domain"]["shape"]:
            return ()
        celsius, seconds = old.model.warmest_c, old.model.longest_s
        found = change_of(_known(old), _known(new), celsius, seconds)
        what = f"dark of a typical pixel at {celsius:.1f} °C, {seconds:g} s"
        was, now, sigma = (
            each if np.isfinite(each) else None for each in (found.before_adu, found.after_adu, found.sigma_adu)
        )
        return (Moved(what=what, unit="ADU", before=was, after=now, sigma=sigma or None),)

    def is_whole(self, folder: Path, identity: str) -> bool:
        """Whether the files are those that the fit wrote."""
        return is_as_written(folder / MODEL, folder / SIDECAR, identity)


def _made(loaded: Loaded) -> Made:
    said, law = loaded.said, loaded.model.law
    rows = [row for row in said["inputs"] if row["kind"] == "dark"]
    return Made(
        folder=loaded.folder,
        identity=said["identity"],
        frames=tuple(Path(row["path"]) for row in said["inputs"]),
        temperatures_c=tuple(sorted({float(row["label_c"]) for row in rows})),
        sessions=tuple(sorted({row["session"] for row in rows})),
        family=law.family.value,
        notes=tuple(said["notes"]),
        more={
            "model": said["model"],
            "domain": said["domain"],
            "planes": {"file": MODEL, "theta": list(law.names), "covariance": list(covariance_names(law))},
            "typical": _typical(loaded),
        },
    )


def _known(loaded: Loaded) -> Known:
    """Return a model on a sample of its pixels, and how far the levels of frames may be off at its warmest."""
    model, law, nearby = loaded.model, loaded.model.law, _warmest(loaded)
    parameters = Parameters(
        theta=np.stack([_sample(loaded.planes, name) for name in law.names]),
        covariance=np.stack([_sample(loaded.planes, name) for name in covariance_names(law)]),
    )
    seconds, frames = (np.array([getattr(each, name) for each in nearby]) for name in ("exposure_s", "frames"))
    rate = float(np.nanmedian(predict(model, parameters, model.warmest_c, 1.0).mean))
    error = level_error(model.noise, seconds, frames, float(loaded.said.get("drift_adu2", 0.0)), rate)
    return Known(model=model, parameters=parameters, level_adu=error)


def _warmest(loaded: Loaded) -> list[Shot]:
    warmest = max(shot.label_c for shot in loaded.shots)
    return [shot for shot in loaded.shots if shot.label_c == warmest]


def _typical(loaded: Loaded) -> dict[str, list[float]]:
    """Return the parameters of a typical pixel and their covariance: medians over a sample of the planes."""
    law = loaded.model.law
    return {
        "theta": [float(np.nanmedian(_sample(loaded.planes, name))) for name in law.names],
        "covariance": [float(np.nanmedian(_sample(loaded.planes, name))) for name in covariance_names(law)],
    }


def _sample(planes: Path, name: str) -> NDArray[np.float64]:
    source = plane_of(planes, name)
    lines, columns = sample_of_rows(*source.location.shape)
    rows: list[NDArray[Any]] = [read_rows(source, Band(start=int(y), stop=int(y) + 1))[:, columns] for y in lines]
    return np.concatenate(rows).ravel().astype(np.float64)
