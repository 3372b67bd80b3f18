"""Where a device is, who asks it, and how long its answers may take."""

import socket
from dataclasses import dataclass, field
from typing import Protocol

from drivers.alpaca.allowance import Allowance
from drivers.clock import Deadline


class Login(Protocol):
    """Returns the Authorization header of a server that wants a password; asked for at each new connection."""

    def __call__(self) -> str:
        """Read user and password, and return the header."""
        ...

    def __str__(self) -> str:
        """Say where user and password are read."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a device is: server, and its number among the server's devices of that type.

    `login` goes to this server alone: redirects are not followed. `allowance` bounds the calls of a run that ends.
    """

    host: str
    port: int
    device_number: int = 0
    scheme: str = "http"
    login: Login | None = None
    allowance: Allowance | None = None

    @property
    def address(self) -> str:
        """Host and port, as in a URL; an IPv6 host in brackets and without its zone."""
        host = f"[{self.host.split('%')[0]}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def unreachable(endpoint: Endpoint, error: OSError | UnicodeError) -> str:
    """Return in words why no connection can be had, for what opening one raised."""
    host, address = endpoint.host, endpoint.address
    if isinstance(error, (socket.gaierror, UnicodeError)):  # a name that cannot be one is no OSError
        return f"the host name {host!r} is not known in this network"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing answers at {address}: no server runs on this port of the host"
    if isinstance(error, TimeoutError):
        return f"nothing answers at {address}: the host is switched off, not in this network, or behind a firewall"
    return f"nothing answers at {address}: {error.strerror or error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Real seconds that one call of each class may take, and clock seconds that devices are waited for.

    Attributes
    ----------
    open_s, read_s, poll_s, put_s, connect_s, move_s : float
        Real seconds: to open a connection, read a property, read a changing one, change one, connect a device,
        start a movement (drivers of old answer when it is over).
    image_first_s, image_stall_s : float
        Real seconds: to the first byte of an image, and between two bytes.
    image_s : float
        Real seconds: no image is waited for that would take longer at the pace at which it comes.
    exposure_s, idle_s, stale_s : float
        Clock seconds: beyond its duration until an exposure is a stall; for a camera to become idle; for a camera that
        still answers as after the exposure before.
    real_s : float
        Real seconds every wait on a device lasts at least, so that a fast clock does not call slow rendering a stall.
    """

    open_s: float = 5.0
    read_s: float = 10.0
    poll_s: float = 5.0
    put_s: float = 20.0
    connect_s: float = 60.0
    move_s: float = 120.0
    image_first_s: float = 60.0
    image_stall_s: float = 15.0
    image_s: float = 43_200.0
    exposure_s: float = 60.0
    idle_s: float = 30.0
    stale_s: float = 5.0
    real_s: float = field(default_factory=lambda: Deadline.LEAST_REAL_S)
