"""The same configuration on the simulated observatory: what `--simulator` changes, and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.config.devices import Camera, Device
from services.config.loader import load, shipped_file
from services.config.models import Config, Hooks, LoadedConfig
from services.config.serve import Serve

FOLDER = "simulated"


def demo(overrides: Mapping[str, tuple[str, Any]] | None = None) -> LoadedConfig:
    """Return the program's own configuration, simulated, for a folder that has none: files go below that folder."""
    return simulated(load(shipped_file(), overrides=overrides), Path.cwd())


def simulated(loaded: LoadedConfig, folder: Path | None = None) -> LoadedConfig:
    """Return the configuration with the simulated observatory in place of every real device.

    Hosts, ports and names of real devices are dropped, hooks are not run and nobody is called: a rehearsal touches
    nothing of the site.
    When a real camera was named, everything is written below `simulated` in `folder` (by default the root), apart from
    real frames. Idempotent.
    """
    config, root = loaded.config, (folder or loaded.root) / FOLDER
    if config.camera.is_simulator:
        return loaded
    notes = [] if folder is None else [f"there is no configuration here: {loaded.path} is rehearsed"]
    if config.hooks != Hooks():
        notes.append("--simulator: hooks are not run")
    if config.serve.webhooks or config.serve.heartbeat is not None:
        notes.append("--simulator: webhooks and heartbeat are not called")
    changed = config.model_copy(
        update={
            "camera": _simulated(config),
            "storage": config.storage.model_copy(update={"root": str(root)}),
            "hooks": Hooks(),
            "filter_wheel": _on_simulator(config.filter_wheel),
            "flat_panel": _on_simulator(config.flat_panel),
            "safety_monitor": _on_simulator(config.safety_monitor),
            "dome": _on_simulator(config.dome),
            "telescope": _on_simulator(config.telescope),
            "serve": _rehearsed(config.serve, root),
        }
    )
    return loaded.model_copy(update={"config": changed, "notes": (*loaded.notes, *notes)})


def _simulated(config: Config) -> Camera:
    """Return the simulated camera, with a wheel that has all filters that the file names."""
    named = [*config.flat_capture.filters, *(() if config.filter_wheel is None else config.filter_wheel.opaque)]
    named += [name for each in config.programmes if each.flats is not None for name in each.flats.filters]
    named += [config.darkness.removeprefix("filter:")] if config.darkness.startswith("filter:") else []
    section = config.camera.simulator
    simulator = section.model_copy(update={"filters": tuple(dict.fromkeys((*section.filters, *named)))})
    return config.camera.model_copy(update={"camera_type": "simulator", "simulator": simulator})


def _rehearsed(serve: Serve, root: Path) -> Serve:
    """Return `serve` so that nobody is called, and simulated masters are not published among real ones."""
    publish = None if serve.publish is None else str(root / "published")
    return serve.model_copy(update={"webhooks": (), "heartbeat": None, "publish": publish})


def _on_simulator(device: Device | None) -> Device | None:
    if device is None:
        return None
    return device.model_copy(update={"host": None, "port": None, "device_id": 0})
