"""`nightcal serve`: the daemon, from the command line."""

from typing import Annotated

import typer

from services.cli.parameters import ConfigFile, LogLevel, Simulator


def serve(
    *,
    config: ConfigFile = None,
    simulator: Simulator = False,
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="ADDRESS:PORT", help="In place of serve.listen", show_default=False),
    ] = None,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", case_sensitive=False, help="Least level in the log file")
    ] = LogLevel.INFO,
) -> int:
    """Keep the library of masters complete and fresh, for months, and take orders over HTTP.

    SIGTERM and Ctrl-C end it in order, once more in a hurry; SIGHUP reads the configuration again.
    Exit codes: 0 ended by order, 2 configuration or usage, 3 another daemon serves the folder, 5 storage.
    """
    from pathlib import Path

    from services.cli.parameters import DEFAULT_CONFIG
    from services.config import default_file
    from services.daemon.configuration import Source
    from services.daemon.serve import serve as run_daemon

    path = config
    if path is None and not (simulator and not Path(DEFAULT_CONFIG).exists()):
        path = default_file()
    return run_daemon(Source(path=path, simulator=simulator, listen=listen), show=_say, log_level=log_level)


def _say(line: str) -> None:
    print(line, flush=True)
