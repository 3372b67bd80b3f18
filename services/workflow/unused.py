"""Files that a run does not use: one warning for each kind of reason, and which of them should have served."""

from collections.abc import Callable, Collection, Iterable

from services.errors import RunCode
from services.indexing.problems import SHOULD_SERVE, FileProblem, warnings_of
from services.workflow.work import Work


def warn_of_unused(
    work: Work, problems: Iterable[FileProblem], *, is_ours: Callable[[str], bool] = lambda _path: False
) -> None:
    """Warn of files that are not used, unless that was done, and note them.

    Parameters
    ----------
    work : Work
    problems : iterable of FileProblem
    is_ours : callable
        Whether a path is that of a frame or master of ours: it is taken or built again, and no loss.
    """
    known = work.tally.unused
    new = [problem for problem in problems if problem.path not in known]
    known |= {problem.path: None if is_ours(problem.path) else problem.code for problem in new}
    for warning in warnings_of(new):
        work.events.emit(warning)


def should_have_served(unused: Collection[RunCode | None], *, nothing_served: bool) -> int:
    """Return how many files should have served, and could not.

    Where nothing at all served, these are all that may hold frames: nobody keeps light frames or pictures alone in the
    folders of calibration frames on purpose.

    Parameters
    ----------
    unused : collection of RunCode or None
        Why each file is not used; None for frames of ours.
    nothing_served : bool
    """
    if nothing_served:
        return sum(code not in {None, RunCode.OTHER_FILE} for code in unused)
    return sum(code in SHOULD_SERVE for code in unused)
