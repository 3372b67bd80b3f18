"""The kinds of models that a nightcal root gets by itself: what each is made of, and what fits it.

A new kind is a line in `KINDS` and its name in `services.config.models.MODEL_KINDS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

from calibration.frames import FrameKind
from services.datasets.frame import DatasetFrames
from services.events.modelled import Moved
from services.files.disk import Disk
from services.models.gathering import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model that was fitted: its folder, what identifies its planes, its frames, and what is known of it in words."""

    folder: Path
    identity: str
    frames: tuple[Path, ...]
    temperatures_c: tuple[float, ...]
    sessions: tuple[str, ...]
    family: str
    notes: tuple[str, ...]
    more: Mapping[str, Any]


class Maker(Protocol):
    """What a kind of model does."""

    def fit(
        self, frames: DatasetFrames, out: Path, *, memory_mb: float, progress: Progress, disk: Disk
    ) -> Sequence[Made]:
        """Fit and write the models of frames; raises `Usage` where they cannot make one, with what to do."""
        ...

    def moved(self, before: Path, after: Path) -> Sequence[Moved]:
        """Compare the parameters of two models of the same settings, by their folders."""
        ...

    def is_whole(self, folder: Path, identity: str) -> bool:
        """Whether the planes of a model are there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKind:
    """A kind of model.

    Attributes
    ----------
    name : str
    of : FrameKind
        Whose settings its frames share.
    takes : frozenset of FrameKind
        Frames that it is made of.
    method : int
        Number of the fit, raised with all that changes what it makes of the same frames: models of another one are
        fitted anew by the next step of models. Whether they can be read is said by the form of their sidecar.
    planes : callable
        Returns about how many planes of 4 bytes its files hold while it is fitted, by the numbers of temperatures and
        of frames.
    maker : str
        Where its `Maker` is; it is imported when it is needed.
    lacks : str
        What there is not, where a catalogue has none of its frames.
    most : int or None
        Frames of a model, those of the newest sets; None: all.
    """

    name: str
    of: FrameKind
    takes: frozenset[FrameKind]
    method: int
    planes: Callable[[int, int], int]
    maker: str
    lacks: str
    most: int | None = None

    def made_by(self) -> Maker:
        """Return what fits it."""
        return resolve_name(self.maker)()  # type: ignore[no-any-return]


KINDS = (
    ModelKind(
        name="bias",
        of=FrameKind.BIAS,
        takes=frozenset({FrameKind.BIAS}),
        method=2,
        planes=lambda temperatures, _: 15 + temperatures,
        maker="services.models.bias.library:BiasMaker",
        lacks="there are no biases — the darks step takes some (`nightcal run --step darks`)",
    ),
    ModelKind(
        name="dark",
        of=FrameKind.DARK,
        takes=frozenset({FrameKind.DARK, FrameKind.BIAS}),
        method=3,
        planes=lambda temperatures, _: 15 + 3 * temperatures,
        maker="services.models.dark.library:DarkMaker",
        lacks="there are no darks — the darks step takes some (`nightcal run --step darks`)",
    ),
    ModelKind(
        name="flat",
        of=FrameKind.FLAT,
        takes=frozenset({FrameKind.FLAT, FrameKind.DARK}),
        method=4,
        planes=lambda temperatures, _: 25 + 4 * temperatures,
        maker="services.models.flat.library:FlatMaker",
        lacks="there are no flats — the flats step takes some (`nightcal run --step flats`)",
        most=120,
    ),
)
