"""The command `nightcal`: every command and every group of commands is one line of a table.

A command's function, in its own module, has the options and does the work. All that is heavy is imported when it is
called, so that `--help` answers at once.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from services.cli import catalogue, configuration, devices, library, reject, runners, secure
from services.cli.failures import run_app
from services.cli.parameters import new_app


@dataclass(frozen=True, slots=True)
class _Command:
    """One command: its words, its function, its line in the list of commands (None: the function's own text)."""

    words: str
    call: Callable[..., Any]
    line: str | None = None
    hidden: bool = False


_GROUPS = {
    "config": "Look at a configuration.",
    "schema": "JSON schemas for programs that read our files.",
    "library": "The masters: list, certify, pack their frames.",
    "catalogue": "The index of frames and masters.",
}
_COMMANDS = (
    _Command("run", runners.run, "Take the frames that are missing, build the masters."),
    _Command("devices", devices.list_devices),
    _Command("simulate", devices.simulate, "Serve the simulated observatory to Alpaca clients."),
    _Command("secure", secure.secure, "Make the devices safe after a run that died."),
    _Command("reject", reject.reject, "Mark frames as bad; their masters are built anew."),
    _Command("report", catalogue.report, "Make the night report of a run again."),
    _Command("warm-up", runners.warm_up, "Compile the fast loops now."),
    _Command("config check", configuration.check, "Say whether a configuration is understood."),
    _Command("config show", configuration.show, "Print the effective configuration, with every default."),
    _Command("config schema", configuration.schema),
    _Command("schema events", configuration.events_schema, "Print the JSON schema of the journals' lines."),
    _Command("library list", library.list_masters),
    _Command("library certify", library.certify, "Mark masters as looked at and found good."),
    _Command("library archive", library.archive, "Pack frames as storage.keep_raw allows, without loss."),
    _Command("catalogue rebuild", catalogue.rebuild, "Rebuild the index from the files."),
    _Command("certify", library.certify, hidden=True),
    _Command("archive", library.archive, hidden=True),
)
"""Hidden are older spellings, which stay valid."""


def _made() -> typer.Typer:
    """Put the command together."""
    made = new_app("Unattended calibration frames and masters over ASCOM Alpaca.")
    made.callback()(_options)
    groups = {name: new_app(text) for name, text in _GROUPS.items()}
    for each in _COMMANDS:
        group, _, name = each.words.rpartition(" ")
        parser = groups[group] if group else made
        parser.command(name, short_help=each.line, hidden=each.hidden)(each.call)
    for name, group_app in groups.items():
        made.add_typer(group_app, name=name)
    return made


def _print_version(wanted: bool) -> None:
    if wanted:
        from services.version import version

        print(f"nightcal {version()}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit")
    ] = False,
) -> None:
    """Take the options of the command itself."""


app = _made()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `nightcal` and end the program."""
    sys.exit(run_app(app, arguments, name="nightcal"))


if __name__ == "__main__":
    main()
