"""The hands of the daemon: what its loop orders becomes processes, started and heard by the supervisor."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from services.daemon.messages import WorkKind, WorkRequest
from services.daemon.orders import Answer, Order
from services.daemon.parts import Begin, Child
from services.daemon.supervisor import Supervisor
from services.daemon.worker_child import Worker
from services.observatory.in_use import LeftBehind
from services.planning.request import RunOptions, Step

CAPTURE = (Step.FLATS, Step.DARKS)
RESUME_KEY = "reuse.resume_within_hours"


class RealHands:
    """Starts the processes of one daemon.

    Parameters
    ----------
    supervisor : Supervisor
    request : callable
        Returns the request that every child begins with: the configuration in force, and where the observatory is.
    """

    def __init__(self, supervisor: Supervisor, request: Callable[[], WorkRequest]) -> None:
        self._supervisor = supervisor
        self._request = request

    def begin(self, what: Begin) -> Child:
        """Start a child for a run; as `Hands`."""
        return self._supervisor.begin(request_for(what, self._request()))

    def secure(self, run_id: str | None, left: LeftBehind | None = None) -> None:
        """Make the devices safe, and close the row of a run that died; as `Hands`."""
        self._supervisor.secure(replace(self._request(), left=left), run_id)

    def of_masters(self, order: Order, child: Child | None) -> "Future[Answer]":
        """Have an order on masters carried out; as `Hands`."""
        worker = child if isinstance(child, Worker) else None
        return self._supervisor.of_masters(order, self._request(), worker)


def request_for(what: Begin, base: WorkRequest) -> WorkRequest:
    """Return the request of a run: its items alone, in steps that take frames; or masters of frames that are there."""
    if what.builds_only:
        return replace(base, kind=WorkKind.MASTERS, options=RunOptions(steps=(Step.MASTERS,)))
    options = RunOptions(
        steps=CAPTURE,
        until=what.until,
        only=frozenset(what.items),
        anew=what.anew,
        hold_cooler=what.holds_cooler,
        cooler_held_at=base.options.cooler_held_at,
        only_if_free=True,
    )
    hours = what.resume_within_h
    overrides = base.overrides if hours is None else {**base.overrides, RESUME_KEY: hours}
    return replace(base, kind=WorkKind.RUN, options=options, overrides=overrides)
