"""An Alpaca filter wheel: it moves, settles, and is read back before anybody believes it."""

import threading
from collections.abc import Callable, Sequence

from drivers.alpaca.device import AlpacaDevice
from drivers.alpaca.pacing import Pace
from drivers.alpaca.transport import Endpoint, FilterWheelWire, Timeouts
from drivers.alpaca.values import text, texts, whole
from drivers.clock import Clock, Deadline
from drivers.errors import Cancelled, FilterFailed, Refused

_MOVING = -1


def numbered(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of positions; one without a name is called by its number."""
    return tuple(label or f"Filter {place}" for place, label in enumerate(labels))


class AlpacaFilterWheel(AlpacaDevice[FilterWheelWire]):
    """A `drivers.base.FilterWheel` over Alpaca.

    Parameters
    ----------
    endpoint : Endpoint
    clock : Clock
    settle_s : float
        Clock seconds after a move until the position is read back.
    timeout_s : float
        Clock seconds for a move; wheels that home take 17 s and more.
    naming : callable
        Returns what the positions are called, from the names that the wheel has for them.
    timeouts : Timeouts, optional
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        *,
        settle_s: float = 1.5,
        timeout_s: float = 120.0,
        naming: Callable[[Sequence[str]], tuple[str, ...]] = numbered,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._clock = clock
        self._naming = naming
        self._settle_s = settle_s
        self._timeout_s = timeout_s
        super().__init__(FilterWheelWire(endpoint, clock, timeouts=timeouts))
        self._pace = Pace(clock)
        self._names: tuple[str, ...] = ()
        self._labels: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What the filters are called, in order of position."""
        return self._names

    @property
    def labels(self) -> tuple[str, ...]:
        """Names as the wheel has them, in order of position."""
        return self._labels

    def connect(self) -> None:
        """Connect and read the names; raises `DeviceLost`, `DeviceMissing`, `WrongDevice`."""
        self._wire.open()
        labels = self._wire.ask("Names", texts)
        self.recognise(name=self._wire.ask("Name", text), unique_id=self.read_unique_id())
        self._labels, self._names = labels, self._naming(labels)

    def position(self) -> int | None:
        """Return the position, None while it moves."""
        found = self._wire.ask("Position", whole)
        return None if found == _MOVING else found

    def current(self) -> str | None:
        """Return the name of the filter in the beam, read back, None while it moves."""
        found = self.position()
        if found is None:
            return None
        if not 0 <= found < len(self._names):
            detail = f"it stands at {found}, beyond its {len(self._names)} names"
            raise FilterFailed(device=self._wire.label, detail=detail)
        return self._names[found]

    def select(self, name: str, wake: threading.Event | None = None) -> str:
        """Move, wait, settle, read back; return the name read back. A wheel that stands there is not moved.

        Raises
        ------
        FilterFailed
            No filter has that name, or the wheel does not get there or does not stay.
        DeviceLost, Cancelled
        """
        target = self._place(name)
        if self.position() != target:
            self._move(target, wake)
        found = self.current()
        if found != self._names[target]:
            detail = f"it reached {name!r} and now stands at {found or 'no filter'!r}"
            raise FilterFailed(device=self._wire.label, detail=detail)
        return found

    def _place(self, name: str) -> int:
        folded = [known.casefold() for known in self._names]
        if name in self._names:
            return self._names.index(name)
        if name.casefold() in folded:
            return folded.index(name.casefold())
        known = ", ".join(self._names) or "none"
        raise FilterFailed(device=self._wire.label, detail=f"it has no filter {name!r}; it has: {known}")

    def _move(self, target: int, wake: threading.Event | None) -> None:
        try:
            self._wire.Position = target
        except Refused as error:
            raise FilterFailed(device=self._wire.label, detail=error.detail, number=error.number) from error
        deadline = Deadline(self._clock, self._timeout_s, real_s=self._wire.timeouts.real_s)
        while (found := self.position()) != target:
            if deadline.over:
                shown = "still moves" if found is None else f"stands at position {found}"
                detail = f"it {shown}, {self._timeout_s:g} s after it was sent to {self._names[target]} ({target})"
                raise FilterFailed(device=self._wire.label, detail=detail)
            self._rest(0.25, wake)
        self._rest(self._settle_s, wake)

    def _rest(self, seconds: float, wake: threading.Event | None) -> None:
        if self._pace.rest(seconds, wake):
            raise Cancelled(device=self._wire.label, detail="stopped while the wheel moves")
