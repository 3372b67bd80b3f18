"""What is asked of a master of a dataset, and what is known of it when it is done."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.combine.recipe import Recipe
from calibration.frames import Verdict
from services.datasets.frame import DatasetFrame
from services.datasets.processing.groups import ProcessGroup
from services.datasets.processing.measuring import FrameNumbers
from services.planning.master_settings import MasterSettings

_ENGINE = 1
"""Part of every recipe: to be raised when the same frames and settings give another master."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """A master bias, as it is subtracted from darks."""

    path: Path
    group: ProcessGroup
    recipe: str

    @property
    def planes(self) -> Path:
        """Where its SIGMA, COUNT and MASK are."""
        return planes_beside(self.path)


def planes_beside(master: Path) -> Path:
    """Return where the planes of a group's master are."""
    return master.parent / "planes" / master.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A master that is to be made.

    Attributes
    ----------
    path : Path
    group : ProcessGroup
        What it is a master of, or of a part of.
    frames : tuple of DatasetFrame
        Those that are combined.
    numbers : mapping of Path to FrameNumbers
    attempt : str
        Empty: of all attempts of the group.
    bias : Bias or None
        What is subtracted.
    note : str
        Why no bias is subtracted from darks.
    """

    path: Path
    group: ProcessGroup
    frames: tuple[DatasetFrame, ...]
    numbers: Mapping[Path, FrameNumbers]
    attempt: str = ""
    bias: Bias | None = None
    note: str = ""

    @property
    def planes(self) -> Path | None:
        """Where SIGMA, COUNT and MASK go; masters of attempts are kept without."""
        return None if self.attempt else planes_beside(self.path)

    def recipe(self, settings: MasterSettings) -> str:
        """Return the hash of the inputs' pixels, and of all else that the master depends on."""
        record = {
            "inputs": sorted(self.numbers[frame.path].sha256 for frame in self.frames),
            "bias": None if self.bias is None else self.bias.recipe,
            "temperature": self.group.temperature_c,
            "exposure": self.group.exposure_us,
            "of": _ENGINE,
            **settings.recipe_parts(self.group.kind),
        }
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of a master when its planes are done: its numbers, what is suspect, and what was left out."""

    statistics: Mapping[str, Any]
    verdicts: tuple[Verdict, ...]
    mean_adu: float
    std_adu: float
    rejected: int
    recipe: Recipe
