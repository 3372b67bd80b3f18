"""The commands that start a run: `nightcal run`, and the three single-step scripts of the guide.

The scripts have options that stand for keys of the configuration. Such an option lies over the file and is checked like
it; messages name the option.
"""

import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from services.cli.failures import run_app
from services.cli.parameters import CAPTURE_ONLY, RunCommand, TokenFile, new_app, sharing
from services.cli.run import STEP_CHOICES, chosen_steps, execute
from services.errors import Exit, Usage
from services.planning.request import DarkTimes, Step


def _step(text: str) -> str:
    if text not in STEP_CHOICES:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, STEP_CHOICES))}.")
    return text


@sharing
def run(
    command: RunCommand,
    *,
    step: Annotated[
        str | None,
        typer.Option("--step", metavar="|".join(STEP_CHOICES), parser=_step, help="One step only [default: all]"),
    ] = None,
    darks_only: Annotated[bool, typer.Option("--darks-only", help="The same as --step darks")] = False,
    flats_only: Annotated[bool, typer.Option("--flats-only", help="The same as --step flats")] = False,
    masters_only: Annotated[bool, typer.Option("--masters-only", help="The same as --step masters")] = False,
    remote: Annotated[
        str | None, typer.Option("--remote", metavar="URL", help="Let this daemon run: what is due, or --item")
    ] = None,
    token_file: TokenFile = None,
    item: Annotated[
        list[str] | None, typer.Option("--item", metavar="ITEM", help="With --remote: this one, due or not; repeatable")
    ] = None,
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="FINGERPRINT", help="With --remote: only if this is still the plan")
    ] = None,
) -> int:
    """Take what is missing of the calibration frames, build the masters, and fit models of the detector.

    What is there already is kept: a second run does nothing, and a run that was stopped goes on where it stopped.
    Exit codes: 0 all done, 1 some groups failed, 2 configuration or usage, 3 device, 4 unsafe, 5 storage, 130 stopped.
    """
    only = {Step.DARKS: darks_only, Step.FLATS: flats_only, Step.MASTERS: masters_only}
    if remote is not None:
        from services.cli.remote import run_by_order

        if command != RunCommand() or step is not None or any(only.values()):
            raise Usage(
                "--remote goes with --item, --plan and --token-file alone: the daemon has a configuration of its own"
            )
        return run_by_order(remote, token_file, item or (), plan)
    if token_file is not None or item or plan is not None:
        raise Usage("--item, --plan and --token-file are for a run of a daemon — give --remote URL as well")
    return execute(command, chosen_steps(step, [each for each, wanted in only.items() if wanted]))


def darks(
    command: RunCommand,
    *,
    num_darks: Annotated[int | None, typer.Option("--num-darks", help="Frames per exposure time")] = None,
    science_exposure_time: Annotated[float | None, typer.Option("--science-exposure-time", help="Seconds")] = None,
    bias_only: Annotated[bool, typer.Option("--bias-only", help="Only the shortest exposure")] = False,
    science_only: Annotated[bool, typer.Option("--science-only", help="Only the science times")] = False,
) -> int:
    """Take the biases and darks that are missing."""
    if bias_only and science_only:
        raise Usage("--bias-only and --science-only contradict each other — allowed: one of them")
    times = DarkTimes.BIAS if bias_only else DarkTimes.SCIENCE if science_only else DarkTimes.ALL
    overrides = _given(
        ("dark_capture.num_darks", "--num-darks", num_darks),
        ("dark_capture.science_exposure_time", "--science-exposure-time", science_exposure_time),
    )
    return execute(command, (Step.DARKS,), overrides=overrides, dark_times=times)


def flats(
    command: RunCommand,
    *,
    num_flats: Annotated[int | None, typer.Option("--num-flats", help="Frames per filter")] = None,
    target_count_rate: Annotated[
        float | None, typer.Option("--target-count-rate", help="Level wanted, a fraction of saturation")
    ] = None,
    tolerance: Annotated[float | None, typer.Option("--tolerance", help="Of the level, relative to the target")] = None,
) -> int:
    """Take the flats that are missing, with automatic exposure."""
    overrides = _given(
        ("flat_capture.num_flats", "--num-flats", num_flats),
        ("flat_capture.target_count_rate", "--target-count-rate", target_count_rate),
        ("flat_capture.count_tolerance", "--tolerance", tolerance),
    )
    return execute(command, (Step.FLATS,), overrides=overrides)


def masters(
    command: RunCommand,
    *,
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
) -> int:
    """Build the masters that are missing; no device is touched."""
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
    return execute(command, (Step.MASTERS,), overrides=overrides)


def warm_up() -> int:
    """Compile the fast loops now; else the first run does it while the camera cools."""
    from drivers.clock import SystemClock
    from services.platform import prepare_numba_cache

    prepare_numba_cache()
    from services.workflow.compiling import compile_all, is_compiled

    clock = SystemClock()
    start_s = clock.real()
    if is_compiled():
        print("the fast loops are compiled: loading them once takes a few seconds", flush=True)
    else:
        print("compiling: one to three minutes on most computers, and once only", flush=True)
    compile_all(lambda part: print(f"{clock.real() - start_s:5.0f} s  {part}", flush=True))
    kept = os.environ.get("NUMBA_CACHE_DIR") or "beside the program"
    print(f"ready after {clock.real() - start_s:.1f} s, kept {'in ' if os.sep in kept else ''}{kept}")
    return Exit.DONE


def workflow(arguments: Sequence[str] | None = None) -> int:
    """Run `calibration_workflow.py`, the same as `nightcal run`, and return the exit code."""
    return _script(run, arguments, name="calibration_workflow.py")


def dark_runner(arguments: Sequence[str] | None = None) -> int:
    """Run `dark_capture_runner.py` and return the exit code."""
    return _script(sharing(darks), arguments, name="dark_capture_runner.py")


def flat_runner(arguments: Sequence[str] | None = None) -> int:
    """Run `flat_capture_runner.py` and return the exit code."""
    return _script(sharing(flats), arguments, name="flat_capture_runner.py")


def master_runner(arguments: Sequence[str] | None = None) -> int:
    """Run `master_frame_runner.py` and return the exit code."""
    return _script(sharing(masters, without=CAPTURE_ONLY), arguments, name="master_frame_runner.py")


def _script(command: Any, arguments: Sequence[str] | None, *, name: str) -> int:
    app = new_app()
    app.command()(command)
    return run_app(app, arguments, name=name)


def _given(*options: tuple[str, str, Any]) -> dict[str, tuple[str, Any]]:
    """Return the options that were given: dotted key → (option, value)."""
    return {key: (option, value) for key, option, value in options if value is not None}
