"""Options that several commands share, defined once: names, short forms and help texts."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_CONFIG = "config_calibration_frames.yaml"


class StepChoice(StrEnum):
    """What `--step` takes."""

    DARKS = "darks"
    FLATS = "flats"
    MASTERS = "masters"
    ALL = "all"


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
NoConfirm = Annotated[bool, typer.Option("--no-confirm", help="Never ask: for scripts and schedulers")]
Debug = Annotated[bool, typer.Option("--debug", "-d", help="Log everything, the wire included, on the terminal too")]
Level = Annotated[LogLevel, typer.Option("--log-level", case_sensitive=False, help="Least level in the log file")]
SkipCooling = Annotated[bool, typer.Option("--skip-cooling", help="Leave the cooler as it is found")]
SkipWarmup = Annotated[bool, typer.Option("--skip-warmup", help="Do not warm up at the end")]
Simulator = Annotated[bool, typer.Option("--simulator", help="Rehearse on the simulated observatory, without a camera")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only the plan: frames, minutes, gigabytes; no device")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Take everything anew, whatever is there already")]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Stop at a frame's edge: HH:MM (local), HH:MMZ, ISO time, or sunrise"),
]


def new_app(help_text: str | None = None) -> typer.Typer:
    """Return a parser in our style; with `help_text` one that holds several commands."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=help_text is not None,
        add_completion=False,
        rich_markup_mode=None,  # rich is loaded when bars are drawn, not for --help
        pretty_exceptions_enable=False,
    )


def default_config() -> Path:
    """Return the file that is meant without `--config`: the one in this folder, else the one beside the checkout."""
    here = Path(DEFAULT_CONFIG)
    beside = Path(__file__).resolve().parents[2] / DEFAULT_CONFIG
    return beside if not here.exists() and beside.exists() else here
