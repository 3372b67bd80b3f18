"""`nightcal config check|show|schema`."""

import json
from pathlib import Path

from services.cli.parameters import default_config
from services.errors import Exit


def check(path: Path | None) -> int:
    """Load a configuration and say what of it is not used; errors are raised, those of a simulator's own file too."""
    from services.config import load
    from services.config.simulation import load_observatory

    loaded = load(path or default_config())
    simulator = loaded.config.camera.simulator
    if simulator.config is not None:
        load_observatory(loaded.path.parent / simulator.config)
    for note in loaded.notes:
        print(note)
    print(f"{loaded.path}: understood; files go to {loaded.root}")
    return Exit.DONE


def print_effective(path: Path | None, *, simulator: bool) -> int:
    """Print the effective configuration."""
    from services.config import load, show, simulated

    loaded = load(path or default_config())
    print(show(simulated(loaded) if simulator else loaded), end="")
    return Exit.DONE


def print_schema() -> int:
    """Print the JSON schema."""
    from services.config import schema

    print(json.dumps(schema(), indent=2, ensure_ascii=False))
    return Exit.DONE
