"""A frame of a dataset: what models, masters and pages of a dataset are made of, wherever it was listed."""

from dataclasses import dataclass
from pathlib import Path

from calibration.frames import FrameHeader, FrameKind


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFrame:
    """A FITS frame of a dataset.

    Attributes
    ----------
    path : Path
    header : FrameHeader
        What its header says, else its name, else its folders.
    attempt : str
        Folder of equal frames that were taken together, as seen from the dataset; of our own frames their set.
    stage, vacuum : str
        Of an irradiation; empty: none is named.
    zero_fraction : float or None
        Share of its pixels that are 0; None: nobody has counted.
    own_kind : FrameKind or None
        What the file itself says it is, where a list says another kind; None: the same, or nothing.
    bad : str
        In words why it counts for nothing; empty: it counts.
    """

    path: Path
    header: FrameHeader
    attempt: str = ""
    stage: str = ""
    vacuum: str = ""
    zero_fraction: float | None = None
    own_kind: FrameKind | None = None
    bad: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFrames:
    """The frames of a dataset in their order, and files that are none, with the reason in words."""

    frames: tuple[DatasetFrame, ...]
    left_out: tuple[tuple[Path, str], ...] = ()
