"""The flat models of a nightcal root: fitted to chosen frames, without the files of the steps between."""

import shutil
from collections.abc import Sequence
from math import hypot
from pathlib import Path

from calibration.models.flat.model import Norm
from services.datasets.frame import DatasetFrames
from services.errors import Usage
from services.events.modelled import Moved
from services.files.disk import Disk
from services.models.flat.darks import FOLDER as DARKS
from services.models.flat.files import MODEL, SIDECAR
from services.models.flat.model import FlatAsked, fit_frames
from services.models.flat.plan import FlatType
from services.models.flat.records import Loaded
from services.models.gathering import Progress
from services.models.kinds import Made
from services.models.records import is_as_written


class FlatMaker:
    """Fits flat models for a library."""

    def fit(
        self, frames: DatasetFrames, out: Path, *, memory_mb: float, progress: Progress, disk: Disk
    ) -> Sequence[Made]:
        """Fit and write the models of frames, as `Maker`; the flats are calibrated while they are read."""
        source = next((frame.header.source for frame in frames.frames if frame.header.source), None)
        asked = FlatAsked(
            kind=FlatType.SKY if source == "sky" else FlatType.LAB,
            norm=Norm.ROBUST,
            plots=False,
            memory_mb=memory_mb,
        )
        made = fit_frames(frames, out, asked, progress=progress, disk=disk)
        for each in made:
            shutil.rmtree(each.folder / DARKS, ignore_errors=True)
        return [self._made(frames, each.folder, set(each.left_out)) for each in made]

    def _made(self, frames: DatasetFrames, folder: Path, left_out: set[str]) -> Made:
        said = Loaded.load(folder).said
        rows = said["inputs"]
        return Made(
            folder=folder,
            identity=said["identity"],
            frames=tuple(frame.path for frame in frames.frames if str(frame.path) not in left_out),
            temperatures_c=tuple(sorted({float(row["label_c"]) for row in rows})),
            sessions=tuple(sorted({frame.header.night or "" for frame in frames.frames})),
            family=" + ".join(said["model"]["terms"]),
            notes=tuple(said["notes"]),
            more={"model": said["model"], "domain": said["domain"], "terms": said["terms"]},
        )

    def moved(self, before: Path, after: Path) -> Sequence[Moved]:
        """Compare how much the gains of the pixels differ."""
        try:
            old, new = (Loaded.load(folder).said["parts"]["prnu"] for folder in (before, after))
        except Usage:
            return ()
        sigma = hypot(*(each["total_sigma"] or 0.0 for each in (old, new)))
        percents = [None if each["total"] is None else 100 * each["total"] for each in (old, new)]
        moved = Moved(
            what="gains of the pixels", unit="%", before=percents[0], after=percents[1], sigma=100 * sigma or None
        )
        return (moved,)

    def is_whole(self, folder: Path, identity: str) -> bool:
        """Whether the files are those that the fit wrote."""
        return is_as_written(folder / MODEL, folder / SIDECAR, identity)
