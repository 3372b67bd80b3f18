"""A socket for `http.client` whose reads wait no longer than the line that owns it allows."""

import io
import socket
from typing import Any, Protocol


class Receiver(Protocol):
    """What takes the next bytes off a socket, within its own time limits."""

    def receive(self, sock: socket.socket, buffer: Any) -> int:
        """Fill a buffer; return how many bytes came, 0 at the end."""
        ...


class Patient:
    """A socket as `http.client.HTTPResponse` takes one, whose file waits no longer than the line allows."""

    def __init__(self, sock: socket.socket, line: Receiver) -> None:
        self._sock = sock
        self._line = line

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the file that the reply is read from."""
        return io.BufferedReader(_PatientFile(self._sock, self._line), 65536)


class _PatientFile(io.RawIOBase):
    def __init__(self, sock: socket.socket, line: Receiver) -> None:
        super().__init__()
        self._sock = sock
        self._line = line
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open while the reply is read

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Fill a buffer with the bytes that come next; return how many, 0 at the end."""
        return self._line.receive(self._sock, buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._file.close()
        super().close()
