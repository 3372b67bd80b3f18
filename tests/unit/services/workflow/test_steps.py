"""The table of steps: every step that can be asked for stands in it once, in the order of a run."""

import pytest

from services.planning.request import ALL_STEPS, Step
from services.workflow.darks import DarksStep
from services.workflow.flats import FlatsStep
from services.workflow.masters import MastersStep
from services.workflow.models import ModelsStep
from services.workflow.steps import capture_steps, file_steps


@pytest.mark.parametrize("step", Step)
def test_every_step_is_of_one_kind(step: Step) -> None:
    assert len(capture_steps({step})) == step.takes_frames
    assert len(file_steps({step})) == (not step.takes_frames)


def test_steps_come_in_the_order_of_a_run_however_they_are_asked_for() -> None:
    asked = tuple(reversed(ALL_STEPS))
    assert [type(step) for step in capture_steps(asked)] == [FlatsStep, DarksStep]
    assert [type(step) for step in file_steps(asked)] == [MastersStep, ModelsStep]
