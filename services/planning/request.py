"""What a user asks of one run, and what a run answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.base import Camera
    from services.events.records import Event


class Step(StrEnum):
    """Steps of the workflow in the words of the guide, in the order of a full run: every flat is to have its dark."""

    FLATS = "flats"
    DARKS = "darks"
    MASTERS = "masters"


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
    dry_run : bool
        Only the plan: frames, minutes, gigabytes and what is there already. Takes no lock, touches no device.
    fresh : bool
        Open new sets whatever the catalogue holds.
    until : datetime or "sunrise", optional
        Stop at the frame's edge after this time (aware).
    skip_cooling, skip_warmup : bool
    dark_times : DarkTimes
    ask : callable, optional
        Shows a prompt and returns whether to go on; None (`--no-confirm`, no terminal) never asks.
    listeners : tuple of callables
        Hear every event of the run (progress, plain lines).
    camera : drivers.base.Camera, optional
        Take this camera instead of the configured one (the doors' `initialize`).
    """

    steps: tuple[Step, ...] = ALL_STEPS
    dry_run: bool = False
    fresh: bool = False
    until: datetime | str | None = None
    skip_cooling: bool = False
    skip_warmup: bool = False
    dark_times: DarkTimes = DarkTimes.ALL
    ask: Callable[[str], bool] | None = None
    listeners: tuple[Callable[["Event"], None], ...] = field(default=())
    camera: "Camera | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended: `code` is the first cause that stopped it, None when it reached its end."""

    run_id: str
    exit_code: int
    code: str | None
    detail: str
    report_json: Path | None = None
    report_html: Path | None = None
    plan_text: str | None = None
    """With `dry_run`: the plan as a user reads it."""
