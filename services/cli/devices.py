"""`nightcal devices`: what answers on the network, as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.errors import Exit

if TYPE_CHECKING:
    from drivers.alpaca.discovery import ServerAddress

_HEADER = ("SERVER", "TYPE", "NUMBER", "NAME", "UNIQUE ID")
_NOTHING = """\
no Alpaca server answered.
  Is the server running? ASCOM Remote has to be started; many cameras serve Alpaca themselves.
  Discovery does not cross routers, and firewalls stop it: ask one server with --host and --port.
  A simulated observatory to try with: nightcal simulate"""


def list_devices(*, host: str | None, port: int, discovery_port: int, timeout_s: float) -> int:
    """Print a table of the devices; return 0 when there is one, else the exit code for a missing device."""
    from drivers.alpaca.discovery import ServerAddress, discover
    from drivers.errors import DriverError

    servers = discover(port=discovery_port, timeout_s=timeout_s) if host is None else (ServerAddress(host, port),)
    rows: list[tuple[str, ...]] = []
    failures: list[str] = []
    for server in servers:
        try:
            rows.extend(_rows(server))
        except DriverError as error:
            failures.append(str(error))
    if rows:
        print("\n".join(_table([_HEADER, *rows])))
    for failure in failures:
        print(f"no list: {failure}")
    if not rows and not failures:
        print(_NOTHING)
    return Exit.DONE if rows else Exit.DEVICE


def _rows(server: "ServerAddress") -> list[tuple[str, ...]]:
    from drivers.alpaca.discovery import configured_devices

    where = f"{server.host}:{server.port}"
    devices = configured_devices(server.host, server.port)
    return [(where, device.type, str(device.number), device.name, device.unique_id or "") for device in devices]


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Align columns; text of a device is made printable, for it may be anything."""
    clean = [tuple("".join(c if c.isprintable() else "?" for c in cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(_HEADER))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in clean]
