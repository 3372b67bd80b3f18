"""`nightcal simulate`: the simulated observatory as an Alpaca server of its own."""

import threading
from pathlib import Path

from services.errors import Exit, Usage

_HALF_SECOND = 0.5


def serve(*, host: str, port: int, config: Path | None, rate: float, discovery_port: int | None) -> int:
    """Serve until Ctrl-C or SIGTERM.

    Raises
    ------
    ConfigInvalid
        The observatory's YAML cannot be used.
    Usage
        The port is taken.
    """
    from drivers.clock import ScaledClock, SystemClock
    from drivers.simulator.devices import SimulatedObservatory
    from drivers.simulator.params import ObservatoryParameters
    from drivers.simulator.server import AlpacaServer
    from services.config.simulation import load_observatory
    from services.platform import install_signal_handlers

    parameters = ObservatoryParameters() if config is None else load_observatory(config)
    observatory = SimulatedObservatory(parameters, ScaledClock(rate=rate, start=SystemClock().now()))
    server = AlpacaServer(observatory, host=host, port=port, discovery_port=discovery_port)
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
