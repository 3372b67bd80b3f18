"""`nightcal config check|show|schema` and `nightcal schema events`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.cli.parameters import DEFAULT_CONFIG, ConfigFile, Simulator, loaded_config
from services.errors import Exit, StorageError

if TYPE_CHECKING:
    from services.config import LoadedConfig


def check(config: ConfigFile = None) -> int:
    """Say whether a configuration is understood and may be run, and what of it is not used."""
    from drivers.clock import SystemClock
    from services.config.simulation import parameters_of
    from services.daemon.in_words import explained
    from services.root import check_folders, check_root
    from services.workflow.hooks import missing_programs

    loaded = loaded_config(config)
    check_root(loaded)  # by the rule of `run`: a file that is understood here is not refused there
    check_folders(loaded)
    parameters_of(loaded.config.camera.simulator, loaded)
    for note in (*loaded.notes, *loaded.capture_notes):
        print(note)
    for line in (*missing_programs(loaded.config.hooks), *_logins(loaded), *_costs(loaded)):
        print(line)
    for line in explained(loaded.config, SystemClock().now()):
        print(line)
    print(f"{loaded.path}: understood; files go to {loaded.root}")
    return Exit.DONE


def _logins(loaded: "LoadedConfig") -> Iterator[str]:
    """Yield which user or password is not there now, and which others may read; the run may start elsewhere."""
    from services.errors import ConfigInvalid
    from services.observatory.login import check_logins

    try:
        yield from check_logins(loaded.config)
    except ConfigInvalid as error:
        yield f"{error.detail}: a run would end at once if it were started from here"


def _costs(loaded: "LoadedConfig") -> Iterator[str]:
    """Yield what the ages of sets cost, and when the disk will be full."""
    from services.catalogue.catalogue import Catalogue
    from services.planning.forecast import forecast
    from services.planning.request import RunOptions
    from services.root import Place, layout_of

    layout = layout_of(loaded)
    try:
        catalogue = Catalogue(layout.catalogue, read_only=True)
    except StorageError:  # whatever is wrong with it is not the configuration's fault
        catalogue = Catalogue(layout.catalogue, read_only=True, empty=True)
    with catalogue:
        place = Place(layout=layout, catalogue=catalogue)
        found = forecast(loaded, place, RunOptions(), is_whole=lambda _row, _path: True)
    yield from found.upkeep
    if found.room.outlook:
        yield f"{found.room.words}. {found.room.outlook}"


def show(config: ConfigFile = None, simulator: Simulator = False) -> int:
    """Print the effective configuration, with every default; in a folder that has none, the program's own."""
    from services.config import load, shipped_file
    from services.config import show as shown

    here = config is not None or simulator or Path(DEFAULT_CONFIG).exists()
    print(shown(loaded_config(config, simulator=simulator) if here else load(shipped_file())), end="")
    return Exit.DONE


def schema() -> int:
    """Print the JSON schema of the configuration, for editors."""
    from services.config import schema as schema_of_all

    return _printed(schema_of_all())


def events_schema() -> int:
    """Print the JSON schema of a line of a run's journal (`.nightcal/events/*.jsonl`), for programs that read it."""
    from services.events.decoder import schema as schema_of_events

    return _printed(schema_of_events())


def _printed(schema: dict[str, Any]) -> int:
    import json

    print(json.dumps(schema, indent=2, ensure_ascii=False))
    return Exit.DONE
