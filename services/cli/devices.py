"""`nightcal devices`: what answers on the network, as a table; `nightcal simulate`: something that answers."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.errors import Exit, Usage

if TYPE_CHECKING:
    from drivers.alpaca.discovery import ServerAddress
    from services.observatory.login import Login

UserEnv = Annotated[
    str | None,
    typer.Option(
        "--user-env", metavar="NAME", help="Environment variable that holds the user name", show_default=False
    ),
]
PasswordEnv = Annotated[
    str | None,
    typer.Option("--password-env", metavar="NAME", help="Environment variable with the password", show_default=False),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", metavar="FILE", help="Or the file that holds it alone", show_default=False),
]
DiscoveryPort = Annotated[int, typer.Option(min=1, max=65535, help="UDP port of discovery")]
_CLOSED = "  Name user and password with --user-env, and --password-env or --password-file."
_USUAL_PORTS = (0, 11111)
"""On another port it is another observatory, whose devices have UniqueIDs of their own: two may run side by side."""
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
    user_env: UserEnv = None,
    password_env: PasswordEnv = None,
    password_file: PasswordFile = None,
) -> int:
    """List the Alpaca devices that answer on the network."""
    from drivers.alpaca.discovery import ServerAddress, discover
    from drivers.errors import AccessDenied, DriverError

    login = _login(user_env, password_env, password_file)
    servers = discover(port=discovery_port, timeout_s=timeout_s) if host is None else (ServerAddress(host, port),)
    rows: list[tuple[str, ...]] = []
    failures: list[str] = []
    closed = False
    for server in servers:
        try:
            rows.extend(_rows(server, login))
        except DriverError as error:
            failures.append(str(error))
            closed = closed or (isinstance(error, AccessDenied) and login is None)
    if rows:
        print("\n".join(_table([_HEADER, *rows])))
    for failure in failures:
        print(f"no list: {failure}")
    if closed:
        print(_CLOSED)
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
    user_env: UserEnv = None,
    password_env: PasswordEnv = None,
    password_file: PasswordFile = None,
) -> int:
    """Serve the simulated observatory to any Alpaca client until Ctrl-C; with a password to those who know it."""
    from drivers.clock import ScaledClock, SystemClock
    from drivers.simulator.devices import SimulatedObservatory
    from drivers.simulator.params import ObservatoryParameters
    from drivers.simulator.server import AlpacaServer
    from services.config.simulation import load_observatory
    from services.signals import install_signal_handlers

    parameters = ObservatoryParameters() if config is None else load_observatory(config)
    clock = ScaledClock(rate=rate, start=SystemClock().now())
    observatory = SimulatedObservatory(parameters, clock, "" if port in _USUAL_PORTS else f":{port}")
    login = _login(user_env, password_env, password_file)
    server = AlpacaServer(
        observatory,
        host=host,
        port=port,
        discovery_port=discovery_port if discovery else None,
        login=None if login is None else login.header(),
    )
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


def _login(user_env: str | None, password_env: str | None, password_file: Path | None) -> "Login | None":
    """Return where user and password are, checked; None where none are named."""
    if (user_env is None) != (password_env is None and password_file is None) or (password_env and password_file):
        raise Usage("--user-env goes with --password-env or --password-file — allowed: it, and one of the two")
    if user_env is None:
        return None
    from services.observatory.login import Login

    login = Login(section="", user_env=user_env, password_env=password_env, password_file=password_file)
    login.header()
    return login


def _rows(server: "ServerAddress", login: "Login | None") -> list[tuple[str, ...]]:
    """Return a line for each device; raises `DriverError` where there is none, by its cause."""
    from drivers.alpaca.discovery import ConfiguredDevice, configured_devices
    from drivers.alpaca.endpoint import Endpoint
    from drivers.alpaca.enquiry import why_not
    from drivers.errors import AccessDenied, DriverError

    where = f"{server.host}:{server.port}"
    devices: tuple[ConfiguredDevice, ...] = ()
    failure: DriverError | None = None
    try:
        devices = configured_devices(server.host, server.port)
    except AccessDenied:
        devices = configured_devices(server.host, server.port, login=login)
    except DriverError as error:
        failure = error
    if not devices:
        failure = why_not(Endpoint(server.host, server.port, login=login), where) or failure
    if failure is not None:
        raise failure
    return [(where, device.type, str(device.number), device.name, device.unique_id or "") for device in devices]


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Align columns; text of a device is made printable, for it may be anything."""
    clean = [tuple("".join(c if c.isprintable() else "?" for c in cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(_HEADER))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in clean]
