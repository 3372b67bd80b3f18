"""The dark models of a nightcal root: fitted to chosen frames, and compared with the ones before them."""

from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.comparing.planes import sample_of_rows
from calibration.models.dark.model import Parameters, predict
from services.bands import Band, plane_of, read_rows
from services.datasets.frame import DatasetFrames
from services.errors import Usage
from services.events.modelled import Moved
from services.files.disk import Disk
from services.models.dark.bands import covariance_names
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
        celsius, seconds = old.model.warmest_c, old.model.longest_s
        found = [predict(each.model, _parameters(_typical(each)), celsius, seconds) for each in (old, new)]
        (was, error), (now, more) = ((float(each.mean), float(each.sigma)) for each in found)
        what = f"dark of a typical pixel at {celsius:.1f} °C, {seconds:g} s"
        return (Moved(what=what, unit="ADU", before=was, after=now, sigma=sqrt(error**2 + more**2) or None),)

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


def _typical(loaded: Loaded) -> dict[str, list[float]]:
    """Return the parameters of a typical pixel and their covariance: medians over a sample of the planes."""
    law = loaded.model.law
    return {
        "theta": [_median(loaded.planes, name) for name in law.names],
        "covariance": [_median(loaded.planes, name) for name in covariance_names(law)],
    }


def _median(planes: Path, name: str) -> float:
    source = plane_of(planes, name)
    lines, columns = sample_of_rows(*source.location.shape)
    rows: list[NDArray[Any]] = [read_rows(source, Band(start=int(y), stop=int(y) + 1))[:, columns] for y in lines]
    return float(np.nanmedian(np.concatenate(rows)))


def _parameters(typical: dict[str, list[float]]) -> Parameters:
    return Parameters(theta=np.array(typical["theta"]), covariance=np.array(typical["covariance"]))
