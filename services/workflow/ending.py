"""How a run ends: the first cause that stops it, its exit code, and its summary in one line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from drivers.errors import DriverError
from services.capture.failures import UntilReached
from services.errors import Exit, RunCode, ServiceError, meaning
from services.stopping import Stop
from services.words import count
from services.workflow.work import Tally

log = structlog.get_logger(__name__)

T = TypeVar("T")

_ORDERED = {RunCode.INTERRUPTED, RunCode.CANCELLED, RunCode.PAUSED, RunCode.YIELDED}
_NO_MASTERS_AFTER = {*_ORDERED, RunCode.DISK_FULL, RunCode.WRITE_FAILED}
"""Causes after which not even masters of existing frames are built; a lost camera or bad weather is no such cause."""


@dataclass(slots=True)
class Ending:
    """The first cause that stops a run. Later ones are logged and never hide it.

    Attributes
    ----------
    stop : Stop
        What was ordered from outside gives its code to whatever ends by it.
    code, detail
        The cause; None and "" while there is none.
    until : str or None
        Set when the time given with `--until` has come: the run reached its end early.
    left : tuple of str
        What could not be left in a known state, in words.
    """

    stop: Stop
    code: str | None = None
    detail: str = ""
    until: str | None = None
    left: tuple[str, ...] = ()

    def guard(self, act: Callable[[], T]) -> T | None:
        """Do something; what stops it becomes the cause, if it is the first."""
        try:
            return act()
        except UntilReached as reached:
            self.until = reached.detail
        except DriverError as error:
            self._note(error.code, str(error))
        except ServiceError as error:
            order = self.stop.order if error.code is RunCode.INTERRUPTED else None
            self._note(error.code if order is None else order.code, error.detail)
        except Exception as error:  # a defect of ours must not cost the night its report
            log.exception("run.defect")
            self._note(RunCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
        return None

    def leave(self, left: tuple[str, ...]) -> None:
        """Note what could not be left in a known state: it is the cause where nothing went wrong before."""
        self.left = left
        if left:
            self._note(RunCode.LEFT_UNSAFE, "")

    @property
    def spares_masters(self) -> bool:
        """Whether masters may still be built after this cause."""
        return self.code not in _NO_MASTERS_AFTER

    def exit_code(self, tally: Tally) -> int:
        """Return the exit code of the cause; without one, whether all that was wanted is there."""
        if self.code is not None:
            known = meaning(self.code).exit
            if known == Exit.DONE and self.left:  # ended as ordered, but somebody has to go and see
                known = meaning(RunCode.LEFT_UNSAFE).exit
            return Exit.DEVICE if known is None else known
        unfinished = tally.failed + tally.masters_suspect + tally.files_failed > 0
        return Exit.SOME_FAILED if unfinished else Exit.DONE

    def words(self, tally: Tally) -> str:
        """Return what could not be left in a known state, then the cause, or a summary of the run, in words."""
        return "; ".join((*self.left, self.detail or self._summary(tally)))

    def _summary(self, tally: Tally) -> str:
        parts = []
        if self.until is not None:
            parts.append(f"stopped in time: {self.until}")
        if tally.not_reached or tally.cut_off:
            sets = count(len(tally.progress), "set")
            parts.append(f"{count(tally.taken, 'frame')} taken")
            parts += [f"{count(tally.cut_off, 'set')} cut off"] if tally.cut_off else []
            parts += [f"{tally.not_reached} of {sets} not reached"] if tally.not_reached else []
        elif tally.taken == 0 and tally.outcomes == []:
            there = "the only set is there" if tally.already == 1 else f"all {tally.already} sets are there"
            parts.append(f"nothing to take: {there}" if tally.already else "")
        else:
            parts.append(f"{count(tally.taken, 'frame')} taken")
        if tally.masters_built:
            parts.append(f"{count(tally.masters_built, 'master')} built")
        if tally.models_fitted:
            parts.append(f"{count(tally.models_fitted, 'model')} fitted")
        if tally.masters_suspect:
            parts.append(f"{count(tally.masters_suspect, 'master')} suspect (look at before using)")
        if tally.files_failed:
            parts.append(f"{count(tally.files_failed, 'file')} could not be used")
        if tally.failed:
            parts.append(f"{count(tally.failed, 'group')} incomplete or failed")
        return "; ".join(part for part in parts if part) or tally.nothing or "nothing to do"

    def _note(self, code: str, detail: str) -> None:
        if self.code is None:
            self.code, self.detail = str(code), detail
        else:
            log.warning("run.also", code=str(code), detail=detail)
