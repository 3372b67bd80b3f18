"""Alpaca discovery: a UDP port that answers "alpacadiscovery1" with the port of the server."""

import contextlib
import ipaddress
import json
import socket
import struct
import threading

DISCOVERY_PORT = 32227
_QUESTION = b"alpacadiscovery1"
_MULTICAST = "ff12::a1:9aca"
"""The group that clients ask where they speak IPv6."""


class DiscoveryResponder:
    """Answers in a thread of its own until stopped.

    It listens on every interface, since a socket bound to one address hears no broadcasts. Whoever cannot reach the
    server, because that is on a loopback address and the question came from another machine, gets no answer.

    Parameters
    ----------
    host : str
        Of the server: its family of addresses is the one that is listened to.
    port : int
        UDP port, 0: any free one.
    alpaca_port : int
        What to answer.
    """

    def __init__(self, host: str, port: int, alpaca_port: int) -> None:
        self._answer = json.dumps({"AlpacaPort": alpaca_port}, separators=(",", ":")).encode()
        self._for_this_machine = host == "localhost" or _is_loopback(host)
        self._socket = _listening(socket.AF_INET6 if ":" in host else socket.AF_INET, port)
        self._socket.settimeout(0.1)
        self.port: int = self._socket.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulator-discovery", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and free the port."""
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                question, asker = self._socket.recvfrom(64)
                if question.startswith(_QUESTION) and (not self._for_this_machine or _is_loopback(asker[0])):
                    self._socket.sendto(self._answer, asker)
            except OSError:  # the time-out; on Windows also a reset by an asker who is gone
                continue


def _is_loopback(address: str) -> bool:
    """Whether an address, perhaps with the interface behind a percent sign, is of this machine alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    return False


def _listening(family: socket.AddressFamily, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            for index, _ in socket.if_nameindex():
                group = socket.inet_pton(family, _MULTICAST) + struct.pack("@I", index)
                with contextlib.suppress(OSError):  # an interface without IPv6
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        bound.bind(("", port))
    except OSError:
        bound.close()
        raise
    return bound
