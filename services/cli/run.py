"""`nightcal run`: from the command line's words to a run of the workflow, and from its result to what a user reads."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from services.cli.failures import complain, concerns_camera
from services.cli.parameters import RunCommand, loaded_config
from services.cli.prompts import asker, is_terminal
from services.errors import Exit, Usage
from services.planning.request import ALL_STEPS, DarkTimes, RunOptions, RunResult, Step
from services.stopping import Stop
from services.words import both_clocks

if TYPE_CHECKING:
    from calibration.unlike import Cards
    from services.catalogue.rows import FrameRow
    from services.config import LoadedConfig
    from services.config.models import Config
    from services.files.layout import Layout
    from services.planning.foreknown import Foreknown

STEP_CHOICES = (*(str(step) for step in sorted(Step)), "all")
"""What `--step` takes."""


def chosen_steps(step: str | None, only: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that `--step` (one of `STEP_CHOICES`) and the `--…-only` options name together.

    Raises
    ------
    Usage
        They name different ones.
    """
    wanted = {*only, *(() if step is None else (step,))}
    if len(wanted) > 1:
        said = [*(() if step is None else (f"--step {step}",)), *(f"--{each}-only" for each in only)]
        raise Usage(f"{' and '.join(said)} contradict each other — allowed: one of them")
    return tuple(each for each in ALL_STEPS if wanted <= {each} or "all" in wanted)


def execute(
    command: RunCommand,
    steps: tuple[Step, ...],
    *,
    overrides: Mapping[str, tuple[str, Any]] | None = None,
    dark_times: DarkTimes = DarkTimes.ALL,
) -> int:
    """Load, run, say how it ended; return the exit code.

    Parameters
    ----------
    command : RunCommand
    steps : tuple of Step
    overrides : mapping, optional
        Options that stand for keys of the configuration, as `services.config.load` takes them.
    dark_times : DarkTimes
    """
    loaded = loaded_config(command.config, simulator=command.simulator, overrides=overrides)
    from services.root import check_folders, check_root
    from services.workflow.hooks import missing_programs

    takes_frames = any(step.takes_frames for step in steps)
    of_capture = loaded.capture_notes if takes_frames else ()
    for note in (*loaded.notes, *of_capture, *missing_programs(loaded.config.hooks, steps)):
        print(f"note: {note}")
    options = RunOptions(
        steps=steps,
        fresh=command.fresh,
        until=_until(command.until, loaded),
        skip_cooling=command.skip_cooling,
        skip_warmup=command.skip_warmup,
        require_space=command.require_space,
        dark_times=dark_times,
    )
    if command.dry_run:
        if takes_frames:
            check_root(loaded)
        check_folders(loaded)
        print(_planned(loaded, options))
        return Exit.DONE
    return _run(command, loaded, options)


def _planned(loaded: "LoadedConfig", options: RunOptions) -> str:
    """Return what a run would do; without the catalogue, if that is damaged: the run makes it anew from the files."""
    from services.catalogue.catalogue import CatalogueDamaged

    try:
        return _forecast(loaded, options)
    except CatalogueDamaged as error:
        print(f"note: {error.detail}; the next run makes it anew from the files, and knows the masters again")
        return _forecast(loaded, options, ignored=True)


def _forecast(loaded: "LoadedConfig", options: RunOptions, *, ignored: bool = False) -> str:
    from services.indexing.checksums import is_whole
    from services.indexing.foreseen import foreseen
    from services.indexing.problems import FileProblem, warnings_of
    from services.planning.dry_run import dry_run
    from services.root import Place, layout_of

    config, layout = loaded.config, layout_of(loaded)
    longitude_deg = None if config.site is None else config.site.longitude
    aliases = config.header_aliases
    unused: list[FileProblem] = []
    with foreseen(layout, longitude_deg=longitude_deg, aliases=aliases, ignored=ignored, problems=unused) as catalogue:
        place = Place(layout=layout, catalogue=catalogue)
        cards_of, ask = partial(_cards, layout), partial(_asked, loaded.config)
        warnings = tuple(warnings_of(unused))
        return dry_run(loaded, place, options, is_whole=is_whole, cards_of=cards_of, ask=ask, unused=warnings)


def _cards(layout: "Layout", row: "FrameRow") -> "Cards | None":
    """Return the cards of a frame; what reads FITS is loaded only where there is such a frame."""
    from services.indexing.reading import cards_of

    return cards_of(layout, row)


def _asked(config: "Config") -> "Foreknown":
    """Ask the devices what nothing else knows: what they are is all that the plan of a first night lacks."""
    from services.observatory.survey import survey
    from services.planning.foreknown import Foreknown

    said = survey(config)
    return Foreknown(filters=said.filters, pixels=said.pixels, problems=said.problems)


def _run(command: RunCommand, loaded: "LoadedConfig", options: RunOptions) -> int:
    """Run in this thread, with a display, signal handlers and, on a terminal, questions; return the exit code."""
    from services.cli.progress import Bars, Lines
    from services.signals import install_signal_handlers
    from services.workflow.job import Job

    if command.debug:
        print(f"settings in force:\n{settings_text(loaded)}", flush=True)
    stop = Stop(_acknowledge)
    display = Bars() if is_terminal(sys.stdout) and not command.debug else Lines(sys.stdout, shows_end=False)
    job = Job(
        loaded,
        options,
        listeners=(display,),
        ask=asker(no_confirm=command.no_confirm, wake=stop, quiet=display.still),
        stop=stop,
        log_level="DEBUG" if command.debug else command.log_level,
        log_console=command.debug,
    )
    restore = install_signal_handlers(stop)
    try:
        with display.showing():
            result = job.run()
        return _print_end(result, loaded)  # one more Ctrl-C meanwhile changes nothing of how the run ended
    finally:
        restore()


def settings_text(loaded: "LoadedConfig") -> str:
    """Return the settings of a run as YAML, defaults and options included; but no hooks: a URL may hold a secret."""
    from services.config import show
    from services.config.models import Hooks

    return show(loaded.model_copy(update={"config": loaded.config.model_copy(update={"hooks": Hooks()})}))


_ANSWERS = (
    b"\nstopping ...\n",
    b"\nhurrying: nothing is warmed up any more ...\n",
    b"\nstill stopping: the devices are being left safe, and nothing cuts that short ...\n",
)
"""What a first, a second and each later Ctrl-C is answered with."""


def _acknowledge(times: int) -> None:
    """Say at once that Ctrl-C was heard; no stream's lock is waited for, which a slow terminal may hold."""
    with suppress(OSError):
        os.write(2, _ANSWERS[min(times, len(_ANSWERS)) - 1])


def until_time(text: str, now: datetime) -> datetime:
    """Return the moment that `--until` names: `HH:MM` local or with `Z`, the next one after `now`; or an ISO time.

    Raises
    ------
    Usage
        The text is no time, or the moment is over.
    """
    allowed = "allowed: HH:MM (local time), HH:MMZ (UTC), an ISO time such as 2026-01-31T05:30Z, or sunrise"
    try:
        if "T" in text or "-" in text:
            moments = _moments(datetime.fromisoformat(text))
        else:
            clock = datetime.fromisoformat(f"2000-01-01T{text}")
            today = datetime.combine(now.astimezone(clock.tzinfo).date(), clock.timetz())
            moments = [*_moments(today), *_moments(today + timedelta(days=1))]
    except ValueError:
        raise Usage(f"--until: found {text!r} — {allowed}") from None
    to_come = [moment for moment in moments if moment > now]
    if not to_come:
        raise Usage(f"--until: {text} is over — allowed: a time to come")
    return to_come[0]


def _moments(time: datetime) -> list[datetime]:
    """Return when a time occurs: a local one twice where the clocks go back, later where they leave it out."""
    if time.tzinfo is not None:
        return [time]
    moments = [time.replace(fold=fold).astimezone() for fold in (0, 1)]
    real = [moment for moment in moments if moment.replace(tzinfo=None, fold=0) == time]
    return sorted(set(real)) or [max(moments)]


def _until(text: str | None, loaded: "LoadedConfig") -> datetime | str | None:
    from drivers.clock import SystemClock

    if text is None:
        return None
    if text.lower() == "sunrise":
        if loaded.config.site is None:
            raise Usage(f"--until sunrise: {loaded.path} has no `site` — allowed: with latitude and longitude in it")
        return "sunrise"
    moment = until_time(text, SystemClock().now())
    print(f"note: stops at {both_clocks(moment, '%Y-%m-%d %H:%M')}")
    return moment


def _print_end(result: RunResult, loaded: "LoadedConfig") -> int:
    """Print how a run ended, and where its report is."""
    if result.report_html is not None:
        print(f"report: {result.report_html}")
    left = "; ".join(result.left)
    if left:  # first of all: somebody has to go there, whatever else happened
        print(f"nightcal: {left} — go and see", file=sys.stderr)
    if result.code is not None:
        rehearse = concerns_camera(result.code) and not left and not loaded.config.camera.is_simulator
        complain(result.code, result.detail.removeprefix(left).removeprefix("; "), rehearse=rehearse)
    elif result.detail:
        print(result.detail)
    return result.exit_code
