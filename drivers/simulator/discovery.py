"""Alpaca discovery: a UDP port that answers "alpacadiscovery1" with the port of the server."""

import json
import socket
import threading

DISCOVERY_PORT = 32227
_QUESTION = b"alpacadiscovery1"
_LOOPBACK = ("127.", "localhost")


class DiscoveryResponder:
    """Answers in a thread of its own until stopped.

    Parameters
    ----------
    host : str
        Of the server: a loopback address is answered for on that alone, any other on every interface (broadcasts).
    port : int
        UDP port, 0: any free one.
    alpaca_port : int
        What to answer.
    """

    def __init__(self, host: str, port: int, alpaca_port: int) -> None:
        self._answer = json.dumps({"AlpacaPort": alpaca_port}).encode()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host if host.startswith(_LOOPBACK) else "", port))
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
                if question.startswith(_QUESTION):
                    self._socket.sendto(self._answer, asker)
            except OSError:  # the time-out; on Windows also a reset by an asker who is gone
                continue
