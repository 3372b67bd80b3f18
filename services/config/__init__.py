"""The YAML: models of its sections, and a loader whose errors say file, line and column."""

from services.config.loader import as_loaded, default_file, from_dict, load, loads, shipped_file
from services.config.models import Config, LoadedConfig
from services.config.rehearsal import demo, simulated
from services.config.show import schema, show

__all__ = [
    "Config",
    "LoadedConfig",
    "as_loaded",
    "default_file",
    "demo",
    "from_dict",
    "load",
    "loads",
    "schema",
    "shipped_file",
    "show",
    "simulated",
]
