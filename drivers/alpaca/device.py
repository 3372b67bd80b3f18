"""What all our Alpaca drivers share: a wire, how they let go of it, and who answered at first.

After a reconnection another device may answer at the same address.
"""

from typing import Any, Generic, TypeVar

from drivers.alpaca.replies import configured_rows
from drivers.alpaca.transport import Wire
from drivers.errors import WrongDevice

W = TypeVar("W", bound=Wire)


class AlpacaDevice(Generic[W]):
    """A device behind a wire.

    Parameters
    ----------
    wire : Wire
    """

    def __init__(self, wire: W) -> None:
        self._wire = wire
        self._known: dict[str, Any] = {}

    @property
    def unique_id(self) -> str | None:
        """The server's UniqueID of the device as of the first connection; None where the server does not name it."""
        found: str | None = self._known.get("unique_id")
        return found

    def disconnect(self) -> None:
        """Disconnect from the device, and close; never raises for a device that is gone."""
        self._wire.leave()

    def close(self) -> None:
        """Close the socket, from any thread: a blocked call, and every later one until `connect`, is `DeviceLost`."""
        self._wire.line.close()

    def hang_up(self) -> None:
        """Close the connection until the next call: some servers serve one at a time, and another program waits."""
        self._wire.line.hang_up()

    def read_unique_id(self) -> str | None:
        """Return the server's UniqueID of the device; None when its management API does not have it.

        One that is another each time identifies nothing: it counts as none.
        """
        first, again = self._read_unique_id(), self._read_unique_id()
        return first if first == again else None

    def _read_unique_id(self) -> str | None:
        for row in configured_rows(self._wire.manage("configureddevices")):
            kind, number = str(row.get("DeviceType", "")).lower(), row.get("DeviceNumber")
            if kind == self._wire.device_type and number == self._wire.endpoint.device_number:
                return str(row["UniqueID"]) if row.get("UniqueID") else None
        return None

    def recognise(self, **facts: Any) -> None:
        """Compare `facts` with those of the first connection; None means "unknown" and fits everything.

        Raises
        ------
        WrongDevice
            One of them differs.
        """
        for name, value in facts.items():
            known = self._known.get(name)
            if value is not None and known is not None and value != known:
                detail = f"its {name.replace('_', ' ')} is {value!r}, it was {known!r}: another device answers here"
                raise WrongDevice(device=self._wire.label, detail=detail)
        self._known.update({name: value for name, value in facts.items() if value is not None})
