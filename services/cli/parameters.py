"""Options that several commands share, defined once: names, short forms and help texts."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from services.cli.earlier import dashed

if TYPE_CHECKING:
    from services.config import LoadedConfig

DEFAULT_CONFIG = "config_calibration_frames.yaml"


class LogLevel(StrEnum):
    """What `--log-level` takes."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help=f"Configuration file [default: {DEFAULT_CONFIG}]", show_default=False
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File that holds its token [default: what the environment variable NIGHTCAL_TOKEN holds]",
        show_default=False,
    ),
]
Simulator = Annotated[bool, typer.Option("--simulator", help="Rehearse on the simulated observatory, without a camera")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCommand:
    """The options of every command that starts a run; `sharing` gives them to a command."""

    config: ConfigFile = None
    no_confirm: Annotated[bool, typer.Option("--no-confirm", help="Never ask: for scripts and schedulers")] = False
    debug: Annotated[
        bool, typer.Option("--debug", "-d", help="Log everything, the wire included, on the terminal too")
    ] = False
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", case_sensitive=False, help="Least level in the log file")
    ] = LogLevel.INFO
    skip_cooling: Annotated[bool, typer.Option("--skip-cooling", help="Leave the cooler as it is found")] = False
    skip_warmup: Annotated[bool, typer.Option("--skip-warmup", help="Do not warm up at the end")] = False
    simulator: Simulator = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only the plan: frames, minutes, gigabytes")] = False
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="TIME", help="Stop at a frame's edge: HH:MM (local), HH:MMZ, ISO time, or sunrise"
        ),
    ] = None
    require_space: Annotated[
        bool, typer.Option("--require-space", help="Take no frame unless the disk has room for all of them")
    ] = False
    fresh: Annotated[bool, typer.Option("--fresh", help="Take everything anew, whatever is there already")] = False


CAPTURE_ONLY = ("skip_cooling", "skip_warmup", "until", "require_space", "fresh")
"""Options of `RunCommand` that mean nothing where no frame is taken."""


def sharing(command: Callable[..., int], *, without: tuple[str, ...] = ()) -> Callable[..., int]:
    """Return a command that has the options of `RunCommand` beside its own.

    Parameters
    ----------
    command : callable
        Its first argument is the `RunCommand`, all others are options of its own.
    without : tuple of str
        Fields of `RunCommand` that the command does not offer.
    """
    hints = get_type_hints(RunCommand, include_extras=True)
    shared = {each.name: each for each in fields(RunCommand) if each.name not in without}
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[name])
        for name, each in shared.items()
    ]

    @wraps(command)
    def call(**given: Any) -> int:
        asked = RunCommand(**{name: given.pop(name) for name in shared})
        return command(asked, **given)

    parameters = [*added[:1], *own, *added[1:]]
    call.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    return call


def new_app(help_text: str | None = None, group: type[TyperGroup] | None = None) -> typer.Typer:
    """Return a parser in our style; with `help_text` one that holds several commands, in a `group` of this class."""
    return typer.Typer(
        cls=group,
        help=help_text,
        no_args_is_help=help_text is not None,
        add_completion=False,
        rich_markup_mode=None,  # rich is loaded when bars are drawn, not for --help
        pretty_exceptions_enable=False,
        context_settings={"token_normalize_func": dashed},
    )


def loaded_config(
    path: Path | None, *, simulator: bool = False, overrides: Mapping[str, tuple[str, Any]] | None = None
) -> "LoadedConfig":
    """Load the configuration that a command names, else that of this folder.

    With `simulator` it is rehearsed; in a folder that has none, the program's own is.

    Raises
    ------
    ConfigInvalid
        It cannot be used, or there is none.
    """
    from services.config import default_file, demo, load, simulated

    if path is None and simulator and not Path(DEFAULT_CONFIG).exists():
        return demo(overrides)
    loaded = load(path or default_file(), overrides=overrides)
    return simulated(loaded) if simulator else loaded
