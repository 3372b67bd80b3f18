"""The three single-step scripts of the guide: `run` with options that stand for keys of the configuration.

An option lies over the file and is checked like it; messages name the option.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from services.cli.failures import run_app
from services.cli.parameters import (
    ConfigFile,
    Debug,
    DryRun,
    Fresh,
    Level,
    LogLevel,
    NoConfirm,
    Simulator,
    SkipCooling,
    SkipWarmup,
    StepChoice,
    Until,
    new_app,
)

_darks = new_app()
_flats = new_app()
_masters = new_app()


@_darks.command()
def darks(
    *,
    config: ConfigFile = None,
    num_darks: Annotated[int | None, typer.Option("--num-darks", help="Frames per exposure time")] = None,
    science_exposure_time: Annotated[float | None, typer.Option("--science-exposure-time", help="Seconds")] = None,
    bias_only: Annotated[bool, typer.Option("--bias-only", help="Only the shortest exposure")] = False,
    science_only: Annotated[bool, typer.Option("--science-only", help="Only the science times")] = False,
    skip_cooling: SkipCooling = False,
    skip_warmup: SkipWarmup = False,
    no_confirm: NoConfirm = False,
    debug: Debug = False,
    log_level: Level = LogLevel.INFO,
    simulator: Simulator = False,
    dry_run: DryRun = False,
    until: Until = None,
    fresh: Fresh = False,
) -> int:
    """Take the biases and darks that are missing."""
    from services.cli.night import Request, execute
    from services.errors import Usage

    if bias_only and science_only:
        raise Usage("--bias-only and --science-only contradict each other — allowed: one of them")
    overrides = _given(
        ("dark_capture.num_darks", "--num-darks", num_darks),
        ("dark_capture.science_exposure_time", "--science-exposure-time", science_exposure_time),
    )
    request = Request(
        config=config,
        step=StepChoice.DARKS,
        overrides=overrides,
        dark_times="bias" if bias_only else "science" if science_only else "all",
        skip_cooling=skip_cooling,
        skip_warmup=skip_warmup,
        no_confirm=no_confirm,
        debug=debug,
        log_level=log_level,
        simulator=simulator,
        dry_run=dry_run,
        until=until,
        fresh=fresh,
    )
    return execute(request)


@_flats.command()
def flats(
    *,
    config: ConfigFile = None,
    num_flats: Annotated[int | None, typer.Option("--num-flats", help="Frames per filter")] = None,
    target_count_rate: Annotated[
        float | None, typer.Option("--target-count-rate", help="Level wanted, a fraction of saturation")
    ] = None,
    tolerance: Annotated[float | None, typer.Option("--tolerance", help="Of the level, relative to the target")] = None,
    skip_cooling: SkipCooling = False,
    skip_warmup: SkipWarmup = False,
    no_confirm: NoConfirm = False,
    debug: Debug = False,
    log_level: Level = LogLevel.INFO,
    simulator: Simulator = False,
    dry_run: DryRun = False,
    until: Until = None,
    fresh: Fresh = False,
) -> int:
    """Take the flats that are missing, with automatic exposure."""
    from services.cli.night import Request, execute

    overrides = _given(
        ("flat_capture.num_flats", "--num-flats", num_flats),
        ("flat_capture.target_count_rate", "--target-count-rate", target_count_rate),
        ("flat_capture.count_tolerance", "--tolerance", tolerance),
    )
    request = Request(
        config=config,
        step=StepChoice.FLATS,
        overrides=overrides,
        skip_cooling=skip_cooling,
        skip_warmup=skip_warmup,
        no_confirm=no_confirm,
        debug=debug,
        log_level=log_level,
        simulator=simulator,
        dry_run=dry_run,
        until=until,
        fresh=fresh,
    )
    return execute(request)


@_masters.command()
def masters(
    *,
    config: ConfigFile = None,
    darks_only: Annotated[bool, typer.Option("--darks-only", help="No master flats")] = False,
    flats_only: Annotated[bool, typer.Option("--flats-only", help="No master biases and darks")] = False,
    rejection_method: Annotated[
        str | None,
        typer.Option("--rejection-method", metavar="NAME", help="sigma_clip, winsorized, mad, minmax, median or none"),
    ] = None,
    sigma_threshold: Annotated[float | None, typer.Option("--sigma-threshold", help="Limit of the clipping")] = None,
    normalization_method: Annotated[
        str | None,
        typer.Option("--normalization-method", metavar="NAME", help="What of a flat becomes 1: mean, median or max"),
    ] = None,
    no_confirm: NoConfirm = False,
    debug: Debug = False,
    log_level: Level = LogLevel.INFO,
    simulator: Simulator = False,
    dry_run: DryRun = False,
) -> int:
    """Build the masters that are missing; no device is touched."""
    from services.cli.night import Request, execute
    from services.errors import Usage

    if darks_only and flats_only:
        raise Usage("--darks-only and --flats-only contradict each other — allowed: one of them")
    overrides = _given(
        ("master_frames.rejection_method", "--rejection-method", rejection_method),
        ("master_frames.sigma_threshold", "--sigma-threshold", sigma_threshold),
        ("master_frames.normalization_method", "--normalization-method", normalization_method),
        ("master_frames.create_master_flats", "--darks-only", False if darks_only else None),
        ("master_frames.create_master_bias", "--flats-only", False if flats_only else None),
        ("master_frames.create_master_darks", "--flats-only", False if flats_only else None),
    )
    request = Request(
        config=config,
        step=StepChoice.MASTERS,
        overrides=overrides,
        no_confirm=no_confirm,
        debug=debug,
        log_level=log_level,
        simulator=simulator,
        dry_run=dry_run,
    )
    return execute(request)


def dark_runner(arguments: Sequence[str] | None = None) -> int:
    """Run `dark_capture_runner.py` and return the exit code."""
    return run_app(_darks, arguments, name="dark_capture_runner.py")


def flat_runner(arguments: Sequence[str] | None = None) -> int:
    """Run `flat_capture_runner.py` and return the exit code."""
    return run_app(_flats, arguments, name="flat_capture_runner.py")


def master_runner(arguments: Sequence[str] | None = None) -> int:
    """Run `master_frame_runner.py` and return the exit code."""
    return run_app(_masters, arguments, name="master_frame_runner.py")


def _given(*options: tuple[str, str, Any]) -> dict[str, tuple[str, Any]]:
    """Return the options that were given: dotted key → (option, value)."""
    return {key: (option, value) for key, option, value in options if value is not None}
