"""The steps of a run: what each of them does, and the table that lists them.

A step that takes frames shares the devices with the others, state by state: temperature outside, gain inside. A step
that works on files runs after all frames are taken. A new step is a member of `services.planning.request.Step`, whose
order is the order of a run, a module of its own, and a line here. A step is imported when a run has it: who builds
masters loads nothing of what takes frames.
"""

from collections.abc import Collection, Iterable, Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol

from services.planning.request import Step
from services.workflow.work import Work

if TYPE_CHECKING:
    from calibration.plans.sequence import WantedSet
    from services.planning.wanted import State
    from services.workflow.context import RunContext
    from services.workflow.phases import Phases


class CaptureStep(Protocol):
    """A step that takes frames."""

    def foreseen(self, context: "RunContext", state: "State") -> Iterable["WantedSet"]:
        """Return the sets of a state that are known to be wanted before its first frame is taken."""
        ...

    def begin(self, context: "RunContext", phases: "Phases", state: "State") -> None:
        """Take what must be taken before any other step of this state."""
        ...

    def take(self, context: "RunContext", phases: "Phases", state: "State", *, after_others: bool) -> None:
        """Take what is missing of a state; `after_others`: a step before this one has taken or tried frames of it."""
        ...


class FileStep(Protocol):
    """A step that works on files and touches no device."""

    def run(self, work: Work) -> None:
        """Do the work; raises `ServiceError` where the run must end."""
        ...


_CAPTURE = {Step.FLATS: "flats:FlatsStep", Step.DARKS: "darks:DarksStep"}
_FILES = {Step.MASTERS: "masters:MastersStep", Step.MODELS: "models:ModelsStep"}


def capture_steps(chosen: Collection[Step]) -> tuple[CaptureStep, ...]:
    """Return those of the chosen steps that need devices, in the order of a run."""
    return _made(_CAPTURE, chosen)


def file_steps(chosen: Collection[Step]) -> tuple[FileStep, ...]:
    """Return those of the chosen steps that need no device, in the order of a run."""
    return _made(_FILES, chosen)


def _made(table: Mapping[Step, str], chosen: Collection[Step]) -> tuple[Any, ...]:
    return tuple(resolve_name(f"services.workflow.{table[s]}")() for s in Step if s in chosen and s in table)
