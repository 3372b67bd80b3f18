"""The command `nightcal`, and the same `run` as the scripts in `calibration/` call it.

Only the parser lives here; each command hands over to a function of its own module, imported when it is called, so
that `--help` answers at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

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

app = new_app("Unattended calibration frames and masters over ASCOM Alpaca.")
workflow_app = new_app()
config_app = new_app("Look at a configuration.")
catalogue_app = new_app("The index of frames and masters.")
app.add_typer(config_app, name="config")
app.add_typer(catalogue_app, name="catalogue")


def _print_version(wanted: bool) -> None:
    if wanted:
        from services.version import version

        print(f"nightcal {version()}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit")
    ] = False,
) -> None:
    """Take the options of the command itself."""


@app.command("run", short_help="Take the frames that are missing, build the masters.")
@workflow_app.command()
def run(
    *,
    config: ConfigFile = None,
    step: Annotated[StepChoice | None, typer.Option("--step", help="One step only [default: all]")] = None,
    darks_only: Annotated[bool, typer.Option("--darks-only", help="The same as --step darks")] = False,
    flats_only: Annotated[bool, typer.Option("--flats-only", help="The same as --step flats")] = False,
    masters_only: Annotated[bool, typer.Option("--masters-only", help="The same as --step masters")] = False,
    no_confirm: NoConfirm = False,
    debug: Debug = False,
    log_level: Level = LogLevel.INFO,
    skip_cooling: SkipCooling = False,
    skip_warmup: SkipWarmup = False,
    simulator: Simulator = False,
    dry_run: DryRun = False,
    until: Until = None,
    fresh: Fresh = False,
) -> int:
    """Take what is missing of the calibration frames, and build the masters.

    What is there already is kept: a second run does nothing, and a run that was stopped goes on where it stopped.
    Exit codes: 0 all done, 1 some groups failed, 2 configuration or usage, 3 device, 4 unsafe, 5 storage, 130 stopped.
    """
    from services.cli.night import Request, chosen_step, execute

    only = {StepChoice.DARKS: darks_only, StepChoice.FLATS: flats_only, StepChoice.MASTERS: masters_only}
    return execute(
        Request(
            config=config,
            step=chosen_step(step, [choice for choice, wanted in only.items() if wanted]),
            no_confirm=no_confirm,
            debug=debug,
            log_level=log_level,
            skip_cooling=skip_cooling,
            skip_warmup=skip_warmup,
            simulator=simulator,
            dry_run=dry_run,
            until=until,
            fresh=fresh,
        )
    )


@config_app.command("check", short_help="Say whether a configuration is understood.")
def config_check(config: ConfigFile = None) -> int:
    """Say whether a configuration is understood, and what of it is not used."""
    from services.cli.configuration import check

    return check(config)


@config_app.command("show")
def config_show(config: ConfigFile = None, simulator: Simulator = False) -> int:
    """Print the effective configuration, with every default."""
    from services.cli.configuration import print_effective

    return print_effective(config, simulator=simulator)


@config_app.command("schema")
def config_schema() -> int:
    """Print the JSON schema of the configuration, for editors."""
    from services.cli.configuration import print_schema

    return print_schema()


@app.command()
def devices(
    *,
    host: Annotated[str | None, typer.Option(help="Ask only this server [default: discovery]")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of --host")] = 11111,
    discovery_port: Annotated[int, typer.Option(min=1, max=65535, help="UDP port of discovery")] = 32227,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds to wait for answers")] = 2.0,
) -> int:
    """List the Alpaca devices that answer on the network."""
    from services.cli.devices import list_devices

    return list_devices(host=host, port=port, discovery_port=discovery_port, timeout_s=timeout)


@app.command(short_help="Serve the simulated observatory to Alpaca clients.")
def simulate(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0: a free one")] = 11111,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: every one of this machine")] = "127.0.0.1",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="YAML of an observatory", show_default=False)
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=10_000, help="Simulated seconds in a real one")] = 1.0,
    discovery: Annotated[bool, typer.Option("--discovery/--no-discovery", help="Answer Alpaca discovery")] = True,
    discovery_port: Annotated[int, typer.Option(min=1, max=65535, help="UDP port of discovery")] = 32227,
) -> int:
    """Serve the simulated observatory to any Alpaca client until Ctrl-C."""
    from services.cli.simulation import serve

    return serve(host=host, port=port, config=config, rate=rate, discovery_port=discovery_port if discovery else None)


@app.command(short_help="Make the night report of a run again.")
def report(
    run_id: Annotated[str | None, typer.Argument(metavar="RUN_ID", help="The run [default: the newest]")] = None,
    *,
    config: ConfigFile = None,
    simulator: Simulator = False,
) -> int:
    """Make the report of a run again, also while it goes on, and print where it is."""
    from services.cli.report import make_report

    return make_report(config, run_id, simulator=simulator)


@app.command(short_help="Pack frames as storage.keep_raw allows, without loss.")
def archive(
    *,
    config: ConfigFile = None,
    simulator: Simulator = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many frames there are to pack")] = False,
) -> int:
    """Pack frames whose masters are built (Rice, without loss) as `storage.keep_raw` says."""
    from services.cli.archive import archive as pack

    return pack(config, simulator=simulator, dry_run=dry_run)


@app.command(short_help="Mark masters as looked at and found good.")
def certify(
    masters: Annotated[
        list[str] | None, typer.Argument(metavar="[MASTER]...", help="Files, or patterns such as 'master_dark_*'")
    ] = None,
    *,
    config: ConfigFile = None,
    simulator: Simulator = False,
) -> int:
    """Mark masters as looked at and found good; without names list them.

    `load_master_dark` and its kin take certified masters before others, and with `storage.keep_raw: until_certified`
    the frames of these may be packed. A flat's own dark stays the nearest in time, certified or not.
    """
    from services.cli.certify import certify as mark

    return mark(config, masters or [], simulator=simulator)


@app.command("warm-up", short_help="Compile the fast loops now.")
def warm_up() -> int:
    """Compile the fast loops now; else the first run does it while the camera cools."""
    from services.cli.warm_up import warm_up as compile_all

    return compile_all()


@catalogue_app.command("rebuild", short_help="Rebuild the index from the files.")
def catalogue_rebuild(config: ConfigFile = None, simulator: Simulator = False) -> int:
    """Rebuild the index from the headers of the files: they are the truth."""
    from services.cli.catalogue import rebuild

    return rebuild(config, simulator=simulator)


def workflow(arguments: Sequence[str] | None = None, *, name: str = "calibration_workflow.py") -> int:
    """Run `nightcal run` under a script's name and return the exit code."""
    return run_app(workflow_app, arguments, name=name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `nightcal` and end the program."""
    sys.exit(run_app(app, arguments, name="nightcal"))


if __name__ == "__main__":
    main()
