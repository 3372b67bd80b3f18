"""Which requests are let in by their head alone: how the path is spelled, the Host, and the Origin.

A page of a foreign site that a browser on this network shows can send requests to the daemon, and by a name that it
lets point to the daemon (DNS rebinding) it could read the answers. The checks of Host and Origin keep such pages out.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes

from services.daemon.problems import Problem, ProblemCode

LONGEST_TARGET = 4096
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9_.-]{1,253}))(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#@]+)")
_BROKEN_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_STILL_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_STANDARD_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Host:
    """A host as a header names it: name or address in small letters, and the port, None where it is not named."""

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Host | None":
        """Return the host of a header; None where it is none."""
        found = _HOST.fullmatch(text.strip())
        if found is None or int(found["port"] or 0) > 65_535:
            return None
        port = None if found["port"] is None else int(found["port"])
        return cls(_plain_address((found["six"] or found["name"]).removesuffix(".")), port)

    def at(self, scheme: str) -> "Host":
        """Return the same with its port, which is that of the scheme where none is named."""
        return Host(self.name, _STANDARD_PORTS.get(scheme) if self.port is None else self.port)


def plain_path(raw_path: bytes) -> str:
    """Return the path of a request, decoded once.

    Raises
    ------
    Problem
        It is too long, climbs (`..`, however it is encoded), or is encoded in an odd way.
    """
    if len(raw_path) > LONGEST_TARGET:
        raise _odd("it is too long")
    if _BROKEN_PERCENT.search(raw_path):
        raise _odd("a % in it is followed by no number")
    try:
        path = unquote_to_bytes(raw_path).decode("utf-8")
    except UnicodeDecodeError:
        raise _odd("it is no UTF-8") from None
    if not path.startswith("/"):
        raise _odd("it does not begin with /")
    if "\\" in path or not path.isprintable():
        raise _odd("it has a backslash, or characters that cannot be printed")
    if _STILL_ENCODED.search(path):
        raise _odd("it is encoded twice")
    if any(part.strip() in {".", ".."} or part.startswith("..;") for part in path.split("/")):
        raise _odd("it has parts that lead to other folders")
    return path


def _odd(why: str) -> Problem:
    return Problem(ProblemCode.PATH_NOT_ALLOWED, f"the path of the request is not allowed: {why}")


def check_host(values: Collection[str], *, address: str, allowed: Collection[str]) -> Host:
    """Return the host that a request names.

    Parameters
    ----------
    values : collection of str
        All Host headers of the request.
    address : str
        The address of this machine that the request came to.
    allowed : collection of str
        Names of the configuration, with or without a port.

    Raises
    ------
    Problem
        It names none, several, or one that is not ours.
    """
    host = Host.parse(next(iter(values))) if len(values) == 1 else None
    if host is None:
        raise Problem(ProblemCode.HOST_NOT_ALLOWED, "the request names no host, or more than one")
    if host.name == _plain_address(address) or (_is_loopback(address) and host.name in _LOCAL_NAMES):
        return host
    if any(_names(each, host) for each in allowed):
        return host
    raise Problem(ProblemCode.HOST_NOT_ALLOWED, f"the daemon does not answer to the name {host.name}")


def _names(allowed: str, host: Host) -> bool:
    """Whether an entry of `serve.allowed_hosts` names a host: any port of it, unless the entry names one."""
    entry = Host.parse(allowed)
    return entry is not None and entry.name == host.name and entry.port in {None, host.port}


def check_origin(origins: Collection[str], *, host: Host, allowed: Collection[str], needed: bool) -> None:
    """Let in what comes from our own pages, and programs that name no origin where none is needed.

    Parameters
    ----------
    origins : collection of str
        All Origin headers of the request.
    host : Host
        The host that the request names, which was found to be ours.
    allowed : collection of str
        Names of the configuration: a proxy's, by which browsers know the pages.
    needed : bool
        Whether the request must name an origin: it changes something, and a cookie is all that shows who asks.

    Raises
    ------
    Problem
        It comes from elsewhere.
    """
    if not origins:
        if needed:
            raise Problem(ProblemCode.ORIGIN_NOT_ALLOWED, "the request does not say which page it comes from")
        return
    if len(origins) > 1 or not _is_ours(next(iter(origins)), host, allowed):
        raise Problem(ProblemCode.ORIGIN_NOT_ALLOWED, "the request comes from a page of another site")


def _is_ours(origin: str, host: Host, allowed: Collection[str]) -> bool:
    """Whether an origin is the host that the request names (at whichever scheme: a proxy may add TLS), or allowed."""
    found = _ORIGIN.fullmatch(origin)
    named = None if found is None else Host.parse(found["host"])
    if found is None or named is None:
        return False
    scheme = found["scheme"]
    if named.at(scheme) == host.at(scheme):
        return True
    entries = (Host.parse(each) for each in allowed)
    return any(entry is not None and entry.at(scheme) == named.at(scheme) for entry in entries)


def _plain_address(address: str) -> str:
    """Return an address as a Host header has it: without zone, IPv4 behind IPv6 as IPv4."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address.lower()
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(_plain_address(address)).is_loopback
    except ValueError:
        return False
