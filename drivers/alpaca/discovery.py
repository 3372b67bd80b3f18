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

from drivers.alpaca.line import Endpoint, Line, Login, Reply, Timeouts
from drivers.alpaca.replies import DENIED, NOT_CONNECTED, as_object, configured_rows, error_of, raise_for_status
from drivers.clock import Clock, SystemClock
from drivers.errors import AccessDenied, DeviceLost, DeviceMissing, DriverError

DISCOVERY_PORT = 32227
_QUESTION = b"alpacadiscovery1"
_PROBED_TYPES = ("camera", "filterwheel", "covercalibrator", "safetymonitor", "dome", "telescope")
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
            if (stated := _stated_port(answer)) is not None:
                found.add(ServerAddress(host, stated))
    return _without_doubles(found)


def configured_devices(
    host: str,
    port: int,
    *,
    login: Login | None = None,
    timeouts: Timeouts | None = None,
    clock: Clock | None = None,
) -> tuple[ConfiguredDevice, ...]:
    """Return the devices of a server; where it has no management API, by asking for the names of the first few.

    Raises
    ------
    DeviceLost
        The server does not answer.
    AccessDenied
        It wants a user and a password, or others than `login` gives.
    """
    times = timeouts or Timeouts()
    where = Endpoint(host, port, login=login)
    line = Line(where, device=where.address, clock=clock or SystemClock(), open_s=times.open_s)
    ask = _Asking(line, times.read_s)
    try:
        reply = ask.reply("/management/v1/configureddevices")
        if reply.status == HTTPStatus.UNAUTHORIZED:  # no more attempts: some servers count them
            raise_for_status(where.address, "configureddevices", reply)
        if rows := configured_rows(reply, where.address):
            return tuple(_from_row(row) for row in rows if _is_device(row))[:_MOST_DEVICES]
        found = _probe(ask)
        if not found and reply.status in DENIED:
            raise_for_status(where.address, "configureddevices", reply)
        return found
    finally:
        line.close()


def find_by_name(
    name: str | None,
    *,
    device_type: str = "camera",
    number: int | None = None,
    servers: tuple[ServerAddress, ...] | None = None,
    port: int = DISCOVERY_PORT,
    login: Login | None = None,
    timeouts: Timeouts | None = None,
) -> Endpoint:
    """Return where the device of that name is. A name that is equal wins over names that contain it.

    Parameters
    ----------
    name : str or None
        Case and blanks do not matter. None: the only one there is.
    device_type : str
        ASCOM's, as in URLs.
    number : int, optional
        Only devices of this number.
    servers : tuple of ServerAddress, optional
        Where to look; None: what `discover` finds.
    port : int
        UDP port of `discover`.
    login : Login, optional
        What servers are given that want a password.
    timeouts : Timeouts, optional

    Raises
    ------
    DeviceMissing
        No device, or more than one, fits; the detail names them all.
    AccessDenied
        None fits, and a server wants a user and a password, or others.
    """
    asked = discover(port=port) if servers is None else servers
    known, closed = look_around(asked, device_type=device_type, login=login, timeouts=timeouts)
    fitting = _once_each(fits(known, name, number))
    if len(fitting) == 1:
        ((server, device),) = fitting
        return Endpoint(server.host, server.port, device.number, login=login)
    if fitting:
        what = f"{name!r} fits more than one {device_type}" if name else f"more than one {device_type} answers"
        give = "say host, port and device_id" if name else "say which by its name, or by host, port and device_id"
        detail = f"{what}: {listed(fitting)}; {give}"
    elif closed and not known:
        raise closed[0]
    else:
        where = f"found on {len(asked)} server{'' if len(asked) == 1 else 's'}: {listed(known) or 'none'}"
        detail = f"no {device_type} is called {name!r}; {where}" if name else f"no {device_type} answers; {where}"
        detail = "; ".join([detail, *(f"{error.device}: {error.detail}" for error in closed)])
    raise DeviceMissing(device=f"{device_type} {name!r}" if name else device_type, detail=detail)


Pair = tuple[ServerAddress, ConfiguredDevice]


def look_around(
    servers: tuple[ServerAddress, ...],
    *,
    device_type: str,
    login: Login | None = None,
    timeouts: Timeouts | None = None,
) -> tuple[list[Pair], list[AccessDenied]]:
    """Return the devices of a type on these servers, and the errors of those that want a password.

    `login` is given to those alone that ask for it; a server that does not answer has no devices.
    """
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as asking:  # one that is silent must not hold up the others
        answers = list(asking.map(partial(_devices_of, login=login, timeouts=timeouts), servers))
    closed = [answer for answer in answers if isinstance(answer, AccessDenied)]
    known = [
        (server, device)
        for server, answer in zip(servers, answers, strict=True)
        if not isinstance(answer, AccessDenied)
        for device in answer
        if device.type == device_type
    ]
    return known, closed


def fits(known: list[Pair], name: str | None, number: int | None = None) -> list[Pair]:
    """Return the devices of that name, else those whose names contain it; all of them for None."""
    numbered = [pair for pair in known if number in (None, pair[1].number)]
    if name is None:
        return numbered
    wanted = _bare(name)
    equal = [pair for pair in numbered if _bare(pair[1].name) == wanted]
    return equal or [pair for pair in numbered if wanted and wanted in _bare(pair[1].name)]


def listed(pairs: list[Pair]) -> str:
    """Return devices in words, each with its address."""
    words = [f"{d.name!r} (device {d.number} at {s.host}:{s.port})" for s, d in pairs[:_MOST_LISTED]]
    return ", ".join([*words, f"{len(pairs) - _MOST_LISTED} more"] if len(pairs) > _MOST_LISTED else words)


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


def _stated_port(answer: bytes) -> int | None:
    try:
        port = json.loads(answer.rstrip(b"\0"))["AlpacaPort"]  # small devices send their string's end, too
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
            if answer.keys() & {"Value", "ErrorNumber"} and error_of(answer)[0] in (0, NOT_CONNECTED):
                name = str(answer.get("Value") or "")[:_LONGEST_NAME]
                found.append(ConfiguredDevice(name=name, type=kind, number=number, unique_id=None))
    return tuple(found)


def _devices_of(
    server: ServerAddress, login: Login | None, timeouts: Timeouts | None
) -> tuple[ConfiguredDevice, ...] | AccessDenied:
    try:
        return configured_devices(server.host, server.port, timeouts=timeouts)
    except AccessDenied as error:
        if login is None:
            return error
    except DriverError:  # a server that announces itself and then does not answer must not hide the others
        return ()
    try:
        return configured_devices(server.host, server.port, login=login, timeouts=timeouts)
    except AccessDenied as error:
        return error
    except DriverError:
        return ()


def _bare(name: str) -> str:
    return "".join(name.casefold().split())


def _once_each(pairs: list[Pair]) -> list[Pair]:
    """Drop second addresses of the same device, which its UniqueID identifies."""
    seen: dict[object, Pair] = {}
    for pair in pairs:
        seen.setdefault(pair[1].unique_id or pair, pair)
    return list(seen.values())
