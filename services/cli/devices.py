"""`nightcal devices`: what answers on the network, as a table; `nightcal simulate`: something that answers."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.errors import Exit, Usage

if TYPE_CHECKING:
    from drivers.alpaca.discovery import ServerAddress

DiscoveryPort = Annotated[int, typer.Option(min=1, max=65535, help="UDP port of discovery")]
_HALF_SECOND = 0.5
_HEADER = ("SERVER", "TYPE", "NUMBER", "NAME", "UNIQUE ID")
_NOTHING = """\
no Alpaca server answered.
  Is the server running? ASCOM Remote has to be started; many cameras serve Alpaca themselves.
  Discovery does not cross routers, and firewalls stop it: ask one server with --host and --port.
  A simulated observatory to try with: nightcal simulate"""


def list_devices(
    *,
    host: Annotated[str | None, typer.Option(help="Ask only this server [default: discovery]")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of --host")] = 11111,
    discovery_port: DiscoveryPort = 32227,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, max=60, help="Seconds to wait for answers")] = 2.0,
) -> int:
    """List the Alpaca devices that answer on the network."""
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


def simulate(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0: a free one")] = 11111,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: every one of this machine")] = "127.0.0.1",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="YAML of an observatory", show_default=False)
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=10_000, help="Simulated seconds in a real one")] = 1.0,
    discovery: Annotated[bool, typer.Option("--discovery/--no-discovery", help="Answer Alpaca discovery")] = True,
    discovery_port: DiscoveryPort = 32227,
) -> int:
    """Serve the simulated observatory to any Alpaca client until Ctrl-C."""
    from drivers.clock import ScaledClock, SystemClock
    from drivers.simulator.devices import SimulatedObservatory
    from drivers.simulator.params import ObservatoryParameters
    from drivers.simulator.server import AlpacaServer
    from services.config.simulation import load_observatory
    from services.signals import install_signal_handlers

    parameters = ObservatoryParameters() if config is None else load_observatory(config)
    observatory = SimulatedObservatory(parameters, ScaledClock(rate=rate, start=SystemClock().now()))
    server = AlpacaServer(observatory, host=host, port=port, discovery_port=discovery_port if discovery else None)
    wake = threading.Event()
    restore = install_signal_handlers(wake)
    try:
        server.start()
    except OSError as error:
        restore()
        raise Usage(f"--port: {host}:{port} cannot be served: {error} — allowed: a free port, or 0") from None
    try:
        pace = "" if rate == 1 else f", {rate:g} simulated seconds in a real one"
        print(f"simulated observatory at http://{host}:{server.port}{pace}; Ctrl-C ends it", flush=True)
        while not wake.wait(_HALF_SECOND):  # a wait without end would not hear Ctrl-C on Windows
            pass
    finally:
        server.stop()
        restore()
    return Exit.DONE


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
