"""What is around the telescope and is only read: a dome or roof, and a mount. Protocols and records, in ASCOM words.

Nothing here moves anything, and nothing disconnects: an imaging program may be connected to the same device.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class ShutterStatus(IntEnum):
    """IDome.ShutterStatus."""

    OPEN = 0
    CLOSED = 1
    OPENING = 2
    CLOSING = 3
    ERROR = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DomeState:
    """One reading of a dome or a roll-off roof; None where it does not offer the member."""

    shutter: ShutterStatus | None
    at_park: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TelescopeState:
    """One reading of a mount; None where it does not offer the member."""

    at_park: bool | None
    tracking: bool | None
    altitude_deg: float | None


class Dome(Protocol):
    """A dome, or a roof that opens."""

    def connect(self) -> None:
        """Connect, unless it is connected; raises `DeviceLost`, `DeviceMissing`, `WrongDevice`."""
        ...

    def close(self) -> None:
        """Close the sockets, from any thread; the device stays connected to whoever uses it."""
        ...

    def state(self) -> DomeState:
        """Read the state afresh; raises `DeviceLost` rather than answer from memory."""
        ...


class Telescope(Protocol):
    """A mount."""

    def connect(self) -> None:
        """Connect, unless it is connected; raises `DeviceLost`, `DeviceMissing`, `WrongDevice`."""
        ...

    def close(self) -> None:
        """Close the sockets, from any thread; the device stays connected to whoever uses it."""
        ...

    def state(self) -> TelescopeState:
        """Read the state afresh; raises `DeviceLost` rather than answer from memory."""
        ...
