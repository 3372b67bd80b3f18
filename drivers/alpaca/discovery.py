"""Which Alpaca servers are on this network, and which devices they have.

Discovery is IPv4 broadcast (Alpaca API Reference, "Discovery"); the management API is asked over our own line, with
time-outs. Nothing here connects a device.
"""

import contextlib
import ipaddress
import itertools
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import ifaddr

from drivers.alpaca.line import Endpoint, Line, Reply, Timeouts
from drivers.alpaca.replies import NOT_CONNECTED, as_object, configured_rows, error_of
from drivers.clock import Clock, SystemClock
from drivers.errors import DeviceLost, DeviceMissing, DriverError

DISCOVERY_PORT = 32227
_QUESTION = b"alpacadiscovery1"
_PROBED_TYPES = ("camera", "filterwheel", "covercalibrator", "safetymonitor")
_PROBED_NUMBERS = range(4)
_MOST_SERVERS, _MOST_DEVICES, _LONGEST_NAME, _MOST_LISTED = 64, 64, 200, 20
"""No site has more: what somebody floods a network with is neither asked one by one nor printed."""
_ASKED_AT_ONCE = 16


@dataclass(frozen=True, slots=True, order=True)
class ServerAddress:
    """Where an Alpaca server answers."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredDevice:
    """A device as its server's management API names it. `type` in lower case, as in URLs."""

    name: str
    type: str
    number: int
    unique_id: str | None


def discover(
    *, port: int = DISCOVERY_PORT, timeout_s: float = 2.0, addresses: tuple[str, ...] | None = None
) -> tuple[ServerAddress, ...]:
    """Ask who is there, by broadcast, and collect the answers of `timeout_s` real seconds.

    Parameters
    ----------
    port : int
        UDP port of the question.
    timeout_s : float
    addresses : tuple of str, optional
        Where to send it; None: to this machine and to the broadcast address of each of its networks.

    Returns
    -------
    tuple of ServerAddress
        Sorted, the first 64 that answer. A server of this machine that answers on several of its addresses is named
        once, by 127.0.0.1.
    """
    clock = SystemClock()
    end = clock.monotonic() + timeout_s
    found: set[ServerAddress] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asking.bind(("", 0))
        for address in _broadcasts() if addresses is None else addresses:
            with contextlib.suppress(OSError):  # a network without a route is simply not asked
                asking.sendto(_QUESTION, (address, port))
        while (left_s := end - clock.monotonic()) > 0 and len(found) < _MOST_SERVERS:
            asking.settimeout(left_s)
            try:
                answer, (host, _) = asking.recvfrom(1024)
            except TimeoutError:
                break
            except OSError:  # Windows reports a port nobody listens on here
                continue
            if (told := _told_port(answer)) is not None:
                found.add(ServerAddress(host, told))
    return _without_doubles(found)


def configured_devices(
    host: str, port: int, *, timeouts: Timeouts | None = None, clock: Clock | None = None
) -> tuple[ConfiguredDevice, ...]:
    """Return the devices of a server; where it has no management API, by asking for the names of the first few.

    Raises
    ------
    DeviceLost
        The server does not answer.
    """
    times = timeouts or Timeouts()
    line = Line(Endpoint(host, port), device=f"{host}:{port}", clock=clock or SystemClock(), open_s=times.open_s)
    ask = _Asking(line, times.read_s)
    try:
        rows = configured_rows(ask.reply("/management/v1/configureddevices"))
        return tuple(_from_row(row) for row in rows if _is_device(row))[:_MOST_DEVICES] if rows else _probe(ask)
    finally:
        line.close()


def find_by_name(
    name: str,
    *,
    device_type: str = "camera",
    servers: tuple[ServerAddress, ...] | None = None,
    timeouts: Timeouts | None = None,
) -> Endpoint:
    """Return where the device of that name is. A name that is equal wins over names that contain it.

    Parameters
    ----------
    name : str
        Case does not matter.
    device_type : str
        ASCOM's, as in URLs.
    servers : tuple of ServerAddress, optional
        Where to look; None: what `discover` finds.
    timeouts : Timeouts, optional

    Raises
    ------
    DeviceMissing
        No device, or more than one, fits; the detail names them all.
    """
    asked = discover() if servers is None else servers
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as asking:  # one that is silent must not hold up the others
        answers = zip(asked, asking.map(partial(_devices_or_none, timeouts=timeouts), asked), strict=True)
        known = [(server, device) for server, devices in answers for device in devices if device.type == device_type]
    wanted = name.strip().casefold()
    fitting = [pair for pair in known if pair[1].name.casefold() == wanted]
    fitting = _once_each(fitting or [pair for pair in known if wanted and wanted in pair[1].name.casefold()])
    if len(fitting) == 1:
        ((server, device),) = fitting
        return Endpoint(server.host, server.port, device.number)
    if fitting:
        detail = f"{name!r} fits more than one {device_type}: {_listed(fitting)}; say host, port and device_id"
    else:
        detail = f"no {device_type} is called {name!r}; found on {len(asked)} servers: {_listed(known) or 'none'}"
    raise DeviceMissing(device=f"{device_type} {name!r}", detail=detail)


class _Asking:
    """GETs on one server, with the identification every Alpaca call carries."""

    def __init__(self, line: Line, total_s: float) -> None:
        self._line = line
        self._total_s = total_s
        self._transactions = itertools.count(1)

    def reply(self, path: str) -> Reply:
        """Return what the server replies to a GET."""
        query = {"ClientID": 1, "ClientTransactionID": next(self._transactions)}
        return self._line.get(path, query, total_s=self._total_s)


def _broadcasts() -> tuple[str, ...]:
    networks = {"127.0.0.1", "255.255.255.255"}
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if ip.is_IPv4 and isinstance(ip.ip, str) and not ip.ip.startswith("169.254."):
                network = ipaddress.IPv4Network(f"{ip.ip}/{ip.network_prefix}", strict=False)
                networks.add(str(network.broadcast_address))
    return tuple(sorted(networks))


def _own_addresses() -> set[str]:
    return {ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if isinstance(ip.ip, str)}


def _without_doubles(found: set[ServerAddress]) -> tuple[ServerAddress, ...]:
    local = {server.port for server in found if server.host == "127.0.0.1"}
    own = _own_addresses()
    return tuple(sorted(s for s in found if s.host == "127.0.0.1" or s.port not in local or s.host not in own))


def _told_port(answer: bytes) -> int | None:
    try:
        port = json.loads(answer)["AlpacaPort"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return port if isinstance(port, int) and 0 < port < 65536 else None


def _is_device(row: dict[str, Any]) -> bool:
    return isinstance(row.get("DeviceType"), str) and isinstance(row.get("DeviceNumber"), int)


def _from_row(row: dict[str, Any]) -> ConfiguredDevice:
    return ConfiguredDevice(
        name=str(row.get("DeviceName") or "")[:_LONGEST_NAME],
        type=row["DeviceType"].lower(),
        number=row["DeviceNumber"],
        unique_id=str(row["UniqueID"]) if row.get("UniqueID") else None,
    )


def _probe(ask: _Asking) -> tuple[ConfiguredDevice, ...]:
    found = []
    for kind, number in itertools.product(_PROBED_TYPES, _PROBED_NUMBERS):
        reply = ask.reply(f"/api/v1/{kind}/{number}/name")
        if reply.status != HTTPStatus.OK:
            continue
        with contextlib.suppress(DeviceLost):  # whatever answers here is no Alpaca device
            answer = as_object(f"{kind} {number}", "name", reply.body)
            if error_of(answer)[0] in (0, NOT_CONNECTED):
                name = str(answer.get("Value") or "")[:_LONGEST_NAME]
                found.append(ConfiguredDevice(name=name, type=kind, number=number, unique_id=None))
    return tuple(found)


def _devices_or_none(server: ServerAddress, timeouts: Timeouts | None) -> tuple[ConfiguredDevice, ...]:
    try:
        return configured_devices(server.host, server.port, timeouts=timeouts)
    except DriverError:  # a server that announces itself and then does not answer must not hide the others
        return ()


_Pair = tuple[ServerAddress, ConfiguredDevice]


def _once_each(pairs: list[_Pair]) -> list[_Pair]:
    """Drop second addresses of the same device, which its UniqueID identifies."""
    seen: dict[object, _Pair] = {}
    for pair in pairs:
        seen.setdefault(pair[1].unique_id or pair, pair)
    return list(seen.values())


def _listed(pairs: list[_Pair]) -> str:
    words = [f"{d.name!r} (device {d.number} at {s.host}:{s.port})" for s, d in pairs[:_MOST_LISTED]]
    return ", ".join([*words, f"{len(pairs) - _MOST_LISTED} more"] if len(pairs) > _MOST_LISTED else words)
