"""From what a child of the daemon is asked to the configuration that it works with."""

from services.config import LoadedConfig, demo, load, simulated
from services.config.loader import loads
from services.daemon.messages import WorkRequest
from services.planning.programmes import programmed


def loaded_of(request: WorkRequest) -> LoadedConfig:
    """Return the configuration of a request, with its programmes: the ages of the daemon hold for all of its runs.

    Raises
    ------
    ConfigInvalid
        It cannot be used.
    """
    path, over = request.config_path, {key: ("the daemon", value) for key, value in request.overrides.items()}
    if path is None:
        loaded = demo(over)
    elif request.config_text is None:
        loaded = load(path, overrides=over)
    else:
        loaded = loads(request.config_text, path, overrides=over)
    loaded = programmed(simulated(loaded) if request.simulator else loaded)
    served = None if request.served is None else (request.served.host, request.served.port)
    return loaded.model_copy(update={"served": served})
