"""Why no Alpaca device answers at an address, by its cause, and where one does."""

import http.client
import socket
import ssl
from http import HTTPStatus

from drivers.alpaca.discovery import configured_devices, discover, fits, listed, look_around
from drivers.alpaca.endpoint import Endpoint, Timeouts, unreachable
from drivers.alpaca.line import Line, Reply, TimedOut
from drivers.alpaca.replies import begins
from drivers.clock import SystemClock
from drivers.errors import AccessDenied, DeviceLost, DeviceMissing, DriverError

_TIMES = Timeouts(open_s=3.0, read_s=3.0)
"""Real seconds for one attempt to find the cause: the device was waited for before."""
_TLS_S = 3.0
_ASCOM = 0x400
"""Error numbers from here on are those of a device, below they are HTTP's."""
_ELSEWHERE = range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.BAD_REQUEST)


def why_not(endpoint: Endpoint, device: str, *, times: Timeouts = _TIMES) -> DriverError | None:
    """Return why no Alpaca server answers at an address; None where one does.

    Parameters
    ----------
    endpoint : Endpoint
    device : str
        How the error names the device.
    times : Timeouts

    Returns
    -------
    DeviceLost
        The name is unknown, nothing listens, or what listens does not answer.
    DeviceMissing
        Something else than an Alpaca server answers.
    AccessDenied
        It wants a user and a password, or others.
    """
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout=times.open_s):
            pass
    except (OSError, UnicodeError) as error:  # a name that cannot be one is no OSError
        return DeviceLost(device=device, detail=unreachable(endpoint, error))
    try:
        reply = _first_page(endpoint, device, times)
    except AccessDenied as error:
        return error
    except DeviceLost as error:
        return _no_answer(endpoint, device, error)
    return None if reply is None else DeviceMissing(device=device, detail=_other_server(endpoint, reply))


def explained(
    error: DriverError, endpoint: Endpoint, *, device_type: str, section: str, name: str | None = None, port: int
) -> DriverError:
    """Return why a device could not be had, by its cause, and where one answers instead.

    Parameters
    ----------
    error : DriverError
        What came of looking for it, or of connecting it.
    endpoint : Endpoint
        Where it should be.
    device_type : str
        ASCOM's, as in URLs.
    section : str
        The section of the configuration that says so.
    name : str, optional
        The name that is looked for.
    port : int
        UDP port of discovery.

    Returns
    -------
    DriverError
        `error` itself where its server is there and has the device: then it is the device that fails.
    """
    if type(error) not in (DeviceLost, TimedOut, DeviceMissing) or (error.number or 0) >= _ASCOM:
        return error
    cause = why_not(endpoint, error.device)
    if cause is None and not isinstance(error, DeviceMissing):
        return error
    cause = cause or error
    if isinstance(cause, AccessDenied):
        return cause
    there = _elsewhere(name, device_type, endpoint, only_named=cause is error, port=port)
    hint = f"; but {there}: set host, port and device_id in `{section}`" if there else ""
    return type(cause)(device=cause.device, detail=cause.detail + hint, number=cause.number)


def _elsewhere(name: str | None, device_type: str, besides: Endpoint, *, only_named: bool, port: int) -> str:
    """Say where a device answers, the named one or any, as discovery finds it; no password is given to anybody there.

    Where a server lacks the device of a number, its others are named too.
    """
    known, closed = look_around(discover(port=port), device_type=device_type, timeouts=_TIMES)
    here = "127.0.0.1" if besides.host == "localhost" else besides.host, besides.port
    if name is not None:
        known = [(at, device) for at, device in known if (at.host, at.port) != here]
    named = fits(known, name)
    if devices := named or ([] if only_named else known):
        return f"{device_type} {listed(devices)} answers"
    where = ", ".join(error.device for error in closed if error.device != besides.address)
    return f"an Alpaca server that wants a user and a password answers at {where}" if where else ""


def _first_page(endpoint: Endpoint, device: str, times: Timeouts) -> Reply | None:
    """Return what a server that is no Alpaca server shows; None for an Alpaca server."""
    line = Line(endpoint, device=device, clock=SystemClock(), open_s=times.open_s)
    try:
        reply = line.get("/management/apiversions", {"ClientID": 1, "ClientTransactionID": 1}, total_s=times.read_s)
        if (reply.status == HTTPStatus.OK and b"ServerTransactionID" in reply.body) or _has_devices(endpoint, times):
            return None
        return reply if reply.status == HTTPStatus.OK else line.get("/", {}, total_s=times.read_s)
    finally:
        line.close()


def _has_devices(endpoint: Endpoint, times: Timeouts) -> bool:
    try:
        return bool(configured_devices(endpoint.host, endpoint.port, login=endpoint.login, timeouts=times))
    except AccessDenied:
        raise
    except DriverError:
        return False


def _other_server(endpoint: Endpoint, reply: Reply) -> str:
    if reply.status == HTTPStatus.BAD_REQUEST and _speaks_tls(endpoint):
        return _tls(endpoint)
    if reply.status in _ELSEWHERE:
        return f"the server at {endpoint.address} sends its callers to another address, which is not followed"
    return f"the server at {endpoint.address} is no Alpaca server: it answers with {begins(reply.body)}"


def _no_answer(endpoint: Endpoint, device: str, error: DeviceLost) -> DriverError:
    address, cause = endpoint.address, error.__cause__
    if _speaks_tls(endpoint):
        return DeviceMissing(device=device, detail=_tls(endpoint))
    if isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, http.client.RemoteDisconnected):
        shown = begins(str(cause).encode())
        return DeviceMissing(
            device=device, detail=f"the server at {address} does not speak HTTP: it answers with {shown}"
        )
    detail = f"the server at {address} takes the connection and does not answer"
    return DeviceLost(device=device, detail=detail)


def _tls(endpoint: Endpoint) -> str:
    return f"the server at {endpoint.address} speaks TLS (https), and nightcal plain HTTP: give the port of that"


def _speaks_tls(endpoint: Endpoint) -> bool:
    """Whether a TLS handshake succeeds, with whatever certificate, or is refused in TLS. Nothing is said over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((endpoint.host, endpoint.port), timeout=_TLS_S) as plain,
            context.wrap_socket(plain, server_hostname=endpoint.host),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
