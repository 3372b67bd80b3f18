"""A camera that is only looked at: reads alone are sent, it is neither connected nor disconnected nor set.

Alpaca has one Connected per server, which names no client. So it can be known that somebody has the camera connected,
exposes with it or cools it, but not who; and of a server that keeps a Connected for each client, only what it says of
the camera itself can be known.
"""

from dataclasses import dataclass

from drivers.alpaca.device import AlpacaDevice
from drivers.alpaca.replies import NOT_CONNECTED
from drivers.alpaca.transport import CameraWire, Endpoint, Timeouts
from drivers.alpaca.values import flag, text
from drivers.base import CameraStates
from drivers.clock import Clock
from drivers.errors import DeviceLost


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraLook:
    """How a camera is found; `activity` and `cooler_on` are None where it does not say."""

    connected: bool
    activity: CameraStates | None
    cooler_on: bool | None


class Onlooker(AlpacaDevice[CameraWire]):
    """Looks at a camera.

    Parameters
    ----------
    endpoint : Endpoint
    clock : Clock
    timeouts : Timeouts, optional
    """

    def __init__(self, endpoint: Endpoint, clock: Clock, *, timeouts: Timeouts | None = None) -> None:
        super().__init__(CameraWire(endpoint, clock, timeouts=timeouts, retries=False))

    def connect(self) -> None:
        """Allow looks again after `close`; nothing is sent."""
        self._wire.line.reopen()

    def disconnect(self) -> None:
        """Close the sockets; nothing is sent."""
        self.close()

    def look(self) -> CameraLook:
        """Read how the camera is; raises `DeviceLost`, `Refused`, `DeviceMissing`."""
        wire = self._wire
        connected = wire.ask("Connected", flag)
        try:
            activity, cooler_on = wire.offered("CameraState", CameraStates), wire.offered("CoolerOn", flag)
        except DeviceLost as error:
            if error.number != NOT_CONNECTED:
                raise
            return CameraLook(connected=False, activity=None, cooler_on=None)
        return CameraLook(connected=connected, activity=activity, cooler_on=cooler_on)

    def key(self) -> str:
        """Return what a run identifies the camera by: the server's UniqueID, else its name. Raises as `look`."""
        return self.read_unique_id() or self._wire.ask("Name", text)
