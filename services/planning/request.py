"""What a user asks of one run, and what a run answers."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path


class Step(StrEnum):
    """Steps of the workflow in the words of the guide, in the order of a full run: every flat is to have its dark."""

    FLATS = "flats"
    DARKS = "darks"
    MASTERS = "masters"
    MODELS = "models"

    @property
    def takes_frames(self) -> bool:
        """Whether it needs devices; other steps work on files, when all frames are taken."""
        return self in {Step.FLATS, Step.DARKS}


ALL_STEPS = tuple(Step)


class DarkTimes(StrEnum):
    """Which dark times a run takes."""

    ALL = "all"
    BIAS = "bias"
    SCIENCE = "science"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """One run, as asked for on the command line or by the daemon.

    Attributes
    ----------
    steps : tuple of Step
    fresh : bool
        Open new sets whatever the catalogue holds.
    until : datetime or "sunrise", optional
        Stop at the frame's edge after this time (aware).
    skip_cooling, skip_warmup : bool
    require_space : bool
        Take no frame when the disk has no room for all of them.
    dark_times : DarkTimes
    only : frozenset of str, optional
        Keys of the items to take (`services.planning.item`); None: all that is wanted.
    follow_flats : bool
        With `only`: take the darks of the exposures that flats among them find.
    anew : frozenset of str
        Keys of items of which a new set is taken although a complete one serves: it ages, or somebody wants it.
    hold_cooler : bool
        The cooler goes on holding its temperature after the run.
    cooler_held_at : datetime or None
        When a cooler that is held for this run was last known to be ours.
    only_if_free : bool
        End with `camera_busy`, before anything is sent to the camera, where another program uses it.
    """

    steps: tuple[Step, ...] = ALL_STEPS
    fresh: bool = False
    until: datetime | str | None = None
    skip_cooling: bool = False
    skip_warmup: bool = False
    require_space: bool = False
    dark_times: DarkTimes = DarkTimes.ALL
    only: frozenset[str] | None = None
    follow_flats: bool = True
    anew: frozenset[str] = frozenset()
    hold_cooler: bool = False
    cooler_held_at: datetime | None = None
    only_if_free: bool = False

    @property
    def takes_frames(self) -> bool:
        """Whether any of its steps does; a run that takes none is about all frames that are there."""
        return any(step.takes_frames for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended: `code` is the first cause that stopped it, None when it reached its end.

    `left` says in words what could not be left in a known state; `detail` begins with it.
    """

    run_id: str
    exit_code: int
    code: str | None
    detail: str
    left: tuple[str, ...] = ()
    report_json: Path | None = None
    report_html: Path | None = None
