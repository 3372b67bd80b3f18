"""What a run counts of its sets."""

from calibration.frames import FrameKind, GroupOutcome, GroupStatus
from calibration.plans.sequence import WantedSet
from services.workflow.work import Tally
from services.workflow.work import identity as key


def wanted(filter_name: str) -> WantedSet:
    return WantedSet(kind=FrameKind.FLAT, count=6, why=("flat",), filter=filter_name)


def test_sets_that_the_end_came_before_are_not_taken_for_sets_that_are_there():
    there, begun, later = wanted("L"), wanted("R"), wanted("Ha")
    tally = Tally(already=1, progress={key(there): (6, 6), key(begun): (2, 6), key(later): (0, 6)})
    assert tally.not_reached == 2
    tally.outcomes.append((begun, GroupOutcome(status=GroupStatus.PARTIAL, accepted=2)))
    assert tally.not_reached == 1
