"""How a run ends: the first cause is its code, and a device that was not left in order is never a success."""

import pytest

from services.capture.failures import UntilReached
from services.errors import Exit, RunCode, RunStopped
from services.stopping import Stop
from services.workflow.ending import Ending
from services.workflow.work import Tally


def ended_by(code: RunCode, *, left: tuple[str, ...]) -> Ending:
    stop = Stop()
    stop.after_frame(str(code))
    ending = Ending(stop=stop)

    def act() -> None:
        raise RunStopped("ordered from outside", code=code)

    ending.guard(act)
    ending.leave(left)
    return ending


@pytest.mark.parametrize("code", [RunCode.PAUSED, RunCode.CANCELLED, RunCode.YIELDED])
def test_an_ordered_end_that_leaves_the_lamp_on_keeps_its_code_but_does_not_exit_with_0(code):
    assert ended_by(code, left=()).exit_code(Tally()) == Exit.DONE
    ending = ended_by(code, left=("flat panel: the lamp is still on",))
    assert ending.code == code
    assert ending.exit_code(Tally()) == Exit.DEVICE
    assert "the lamp is still on" in ending.words(Tally())


def test_an_interruption_that_leaves_the_lamp_on_stays_an_interruption():
    assert ended_by(RunCode.INTERRUPTED, left=("flat panel: on",)).exit_code(Tally()) == Exit.INTERRUPTED


def test_a_run_that_ends_in_time_has_done_what_was_asked_unless_something_failed():
    def act() -> None:
        raise UntilReached("the time given has come")

    ending = Ending(stop=Stop())
    ending.guard(act)
    assert (ending.code, ending.until) == (None, "the time given has come")
    assert ending.exit_code(Tally()) == Exit.DONE
    assert ending.exit_code(Tally(masters_failed=1)) == Exit.SOME_FAILED
