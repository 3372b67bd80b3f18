"""The command `nightcal`: every command and every group of commands is one line of a table.

A command's function, in its own module, has the options and does the work. Its module is imported when it is called,
and what is heavy within it, so that `--help` answers at once.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from services.cli.earlier import EarlierCommand
from services.cli.failures import run_app
from services.cli.parameters import new_app
from services.errors import RunStopped


@dataclass(frozen=True, slots=True)
class _Command:
    """One command: its words, its function below `services.cli`, and its line in the list of commands."""

    words: str
    call: str
    line: str
    hidden: bool = False

    def added_to(self, parser: typer.Typer, call: Any) -> typer.Typer:
        """Return the parser with this command, which does `call`."""
        cls = EarlierCommand if self.words in _EARLIER else None
        parser.command(self.words.rpartition(" ")[2], cls=cls, short_help=self.line, hidden=self.hidden)(call)
        return parser


_EARLIER = {"model bias fit", "model dark fit", "model flat fit"}
"""Commands that take the command lines of the earlier programs too."""
_GROUPS = {
    "config": "Look at a configuration.",
    "schema": "JSON schemas for programs that read our files.",
    "library": "The masters: list them, publish them, pack their frames.",
    "catalogue": "The index of frames and masters.",
    "dataset": "Frames that other systems took.",
    "model": "What a detector does where nobody measured.",
    "model bias": "The bias of each pixel against temperature.",
    "model dark": "The dark of each pixel against temperature and exposure.",
    "model flat": "The flat of each pixel against temperature and exposure, and what it is made of.",
    "model structure": "What is new or gone in flats and darks: dust, scratches, hot pixels.",
    "model outgassing": "What changes over time and temperature: films, damage, dust.",
}
COMMANDS = (
    _Command("run", "runners:run", "Take the frames that are missing, build the masters."),
    _Command("serve", "serve:serve", "Keep the library complete and fresh: the daemon."),
    _Command("plan", "plan:plan", "Show what must exist, what serves, and what is due."),
    _Command("status", "remote:status", "Say what the daemon does."),
    _Command("pause", "remote:pause", "Let the daemon end its run and begin nothing."),
    _Command("resume", "remote:resume", "Let the daemon go on."),
    _Command("yield", "remote:yield_camera", "Let the daemon leave the camera to another program."),
    _Command("cancel", "remote:cancel", "End the daemon's run after this frame."),
    _Command("abort", "remote:abort", "End the daemon's run now."),
    _Command("retry", "remote:retry", "Let the daemon try again what has failed."),
    _Command("devices", "devices:list_devices", "List the Alpaca devices that answer on the network."),
    _Command("simulate", "devices:simulate", "Serve the simulated observatory to Alpaca clients."),
    _Command("secure", "secure:secure", "Make the devices safe after a run that died."),
    _Command("certify", "orders:certify", "Mark masters as looked at and found good."),
    _Command("reject", "reject:reject", "Mark frames or masters as bad; the masters before them serve."),
    _Command("invalidate", "orders:invalidate", "Let older masters end: they serve only what was taken before."),
    _Command("report", "catalogue:report", "Make the night report of a run again."),
    _Command("warm-up", "runners:warm_up", "Compile the fast loops now."),
    _Command("config check", "configuration:check", "Say whether a configuration is understood."),
    _Command("config show", "configuration:show", "Print the effective configuration, with every default."),
    _Command("config schema", "configuration:schema", "Print the JSON schema of the configuration, for editors."),
    _Command("schema events", "configuration:events_schema", "Print the JSON schema of the journals' lines."),
    _Command(
        "library list", "library:list_masters", "List the masters that may serve, with their states and settings."
    ),
    _Command("library certify", "orders:certify", "Mark masters as looked at and found good.", hidden=True),
    _Command("library publish", "library:publish", "Put the masters that are valid now into a folder."),
    _Command("library archive", "library:archive", "Pack frames as storage.keep_raw allows, without loss."),
    _Command("dataset import", "dataset:import_frames", "Convert raw frames, and list them in fits_index.csv."),
    _Command("dataset index", "dataset:index", "List the FITS frames of a dataset in index.csv."),
    _Command("dataset page", "dataset_page:page", "Show what a dataset has, what is bad, and its levels: a page."),
    _Command("dataset process", "dataset_process:process", "Make masters, statistics and plots of a dataset."),
    _Command("dataset run", "dataset_process:run", "Import, index and process a dataset in one go."),
    _Command("model bias fit", "model:fit_bias", "Fit a model to the biases of a dataset."),
    _Command("model bias synth", "model:synth_bias", "Write the bias that a model predicts, with its error."),
    _Command("model bias report", "model:report_bias", "Draw a model and how well it predicts."),
    _Command("model dark fit", "model_dark:fit_dark", "Fit a model to the darks of a dataset."),
    _Command("model dark synth", "model_dark:synth_dark", "Write the dark that a model predicts, with its error."),
    _Command("model dark evaluate", "model_dark:evaluate_dark", "Hold a model against frames."),
    _Command("model dark report", "model_dark:report_dark", "Draw a model and how well it predicts."),
    _Command("model flat fit", "model_flat:fit_flat", "Fit a model to the flats of a dataset, or do one step."),
    _Command("model flat synth", "model_flat:synth_flat", "Write the flat that a model predicts, with its error."),
    _Command("model flat evaluate", "model_flat:evaluate_flat", "Predict each of a model's flats from the others."),
    _Command("model flat report", "model_flat:report_flat", "Draw a model, what it is made of, and its errors."),
    _Command("model structure fit", "model_structure:fit_structure", "Find what changed at each temperature."),
    _Command("model structure report", "model_structure:report_structure", "Draw what changed."),
    _Command("model outgassing fit", "model_structure:fit_outgassing", "Find what changed, over all temperatures too."),
    _Command("model outgassing report", "model_structure:report_outgassing", "Draw what changed."),
    _Command("catalogue rebuild", "catalogue:rebuild", "Rebuild the index from the files."),
    _Command("archive", "library:archive", "Pack frames as storage.keep_raw allows, without loss.", hidden=True),
)
"""Hidden are older spellings, which stay valid."""
_BY_WORDS = {each.words: each for each in COMMANDS}


class _Group(TyperGroup):
    """A group whose list of commands is the table's; the one that is called is imported then, with its options."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the words name, as click does; only here it needs its options."""
        name, command, rest = super().resolve_command(ctx, args)
        found = _BY_WORDS.get(" ".join([*_words(ctx), name or ""]))
        if found is not None:
            command = get_command(found.added_to(new_app(), resolve_name(f"services.cli.{found.call}")))
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Call the command; the parser would end in silence where it is interrupted."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise RunStopped("") from None


def _words(ctx: Any) -> list[str]:
    """Return the words of a group, without the program's name."""
    return [] if ctx.parent is None else [*_words(ctx.parent), str(ctx.info_name)]


def _made() -> typer.Typer:
    """Put the command together."""
    made = new_app("Unattended calibration frames and masters over ASCOM Alpaca.", _Group)
    made.callback()(_options)
    groups = {name: new_app(text, _Group) for name, text in _GROUPS.items()}
    for each in COMMANDS:
        each.added_to(groups.get(each.words.rpartition(" ")[0], made), _not_imported)
    for name, group_app in groups.items():
        above, _, last = name.rpartition(" ")
        groups.get(above, made).add_typer(group_app, name=last)
    return made


def _not_imported() -> None:
    """Stand for a command's function in the list of commands."""


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
