"""The YAML: models of its sections, and a loader whose errors say file, line and column."""

from services.config.loader import as_loaded, from_dict, load, loads
from services.config.models import Config, LoadedConfig
from services.config.rehearsal import simulated
from services.config.show import schema, show

__all__ = ["Config", "LoadedConfig", "as_loaded", "from_dict", "load", "loads", "schema", "show", "simulated"]
