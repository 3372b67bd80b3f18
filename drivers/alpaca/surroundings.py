"""An Alpaca dome and an Alpaca mount, of which nothing but the state is read.

The only things ever sent to them are reads and, where the device is not connected, the order to connect. They are not
disconnected at the end: Alpaca's Connected belongs to the server, so that an imaging program would lose its mount.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from drivers.alpaca.device import AlpacaDevice
from drivers.alpaca.transport import DomeWire, Endpoint, TelescopeWire, Timeouts
from drivers.alpaca.values import flag, item, number, text, whole
from drivers.clock import Clock
from drivers.errors import Refused
from drivers.surroundings import DomeState, ShutterStatus, TelescopeState

T = TypeVar("T")
W = TypeVar("W", DomeWire, TelescopeWire)


class _ReadOnly(AlpacaDevice[W]):
    """What both share: they connect only what is not connected, and read what is offered."""

    def connect(self) -> None:
        """Connect, unless it is connected; raises `DeviceLost`, `DeviceMissing`, `WrongDevice`."""
        self._wire.line.reopen()
        if not self._is_connected():
            self._wire.open()
        self.recognise(name=self._wire.ask("Name", text), unique_id=self.read_unique_id())

    def _is_connected(self) -> bool:
        try:
            return self._wire.offered("Connected", flag) is True
        except Refused:  # connecting says why
            return False

    def disconnect(self) -> None:
        """Close the sockets: the device stays connected to whoever uses it."""
        self.close()

    def _reader(self) -> Callable[[str, Callable[[Any], T]], T | None]:
        """Return what reads one optional member, out of DeviceState where it is there."""
        items = self._wire.device_state()

        def read(member: str, kind: Callable[[Any], T]) -> T | None:
            found = item(items, member, kind)
            return self._wire.offered(member, kind) if found is None else found

        return read


class AlpacaDome(_ReadOnly[DomeWire]):
    """A `drivers.surroundings.Dome` over Alpaca: IDomeV3, and older.

    Parameters
    ----------
    endpoint : Endpoint
    clock : Clock
    timeouts : Timeouts, optional
    """

    def __init__(self, endpoint: Endpoint, clock: Clock, *, timeouts: Timeouts | None = None) -> None:
        super().__init__(DomeWire(endpoint, clock, timeouts=timeouts, retries=False))

    def state(self) -> DomeState:
        """Read the state afresh; raises `DeviceLost` rather than answer from memory."""
        read = self._reader()
        return DomeState(shutter=read("ShutterStatus", _shutter), at_park=read("AtPark", flag))


class AlpacaTelescope(_ReadOnly[TelescopeWire]):
    """A `drivers.surroundings.Telescope` over Alpaca: ITelescopeV4, and older. Parameters as of `AlpacaDome`."""

    def __init__(self, endpoint: Endpoint, clock: Clock, *, timeouts: Timeouts | None = None) -> None:
        super().__init__(TelescopeWire(endpoint, clock, timeouts=timeouts, retries=False))

    def state(self) -> TelescopeState:
        """Read the state afresh; raises `DeviceLost` rather than answer from memory."""
        read = self._reader()
        return TelescopeState(
            at_park=read("AtPark", flag), tracking=read("Tracking", flag), altitude_deg=read("Altitude", number)
        )


def _shutter(value: Any) -> ShutterStatus:
    return ShutterStatus(whole(value))
