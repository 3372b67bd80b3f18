"""The configuration of the daemon: where it comes from, what is in force, and what a change of the file may not do.

The folder, and whether the observatory is simulated, are those of the start: the lock, the journal and the clock belong
to them. The server of the API and the log keep what they began with; keys of theirs wait for the next start.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.config import LoadedConfig, demo, loads, simulated
from services.config.positions import read
from services.daemon.messages import Served, WorkRequest
from services.errors import ConfigInvalid, ServiceError
from services.observatory.login import check_secrets
from services.planning.programmes import programmed
from services.root import check_folders, layout_of
from services.words import some


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the configuration comes from.

    Attributes
    ----------
    path : Path or None
        The YAML file; None for the program's own, which is rehearsed.
    simulator : bool
        Serve the simulated observatory in place of the site.
    listen : str or None
        In place of `serve.listen`.
    """

    path: Path | None
    simulator: bool = False
    listen: str | None = None

    @property
    def overrides(self) -> dict[str, str]:
        """What is laid over the file, by dotted key."""
        return {} if self.listen is None else {"serve.listen": self.listen}

    def read(self) -> tuple[LoadedConfig, str | None]:
        """Return the configuration with its programmes, and the text that it was read from.

        Raises
        ------
        ConfigInvalid
            It cannot be used.
        """
        over = {key: ("--listen", value) for key, value in self.overrides.items()}
        text = None if self.path is None else read(self.path)
        loaded = demo(over) if self.path is None or text is None else loads(text, self.path, overrides=over)
        return programmed(simulated(loaded) if self.simulator else loaded), text

    def stamp(self) -> object:
        """Return what changes when the file does."""
        if self.path is None:
            return None
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size


class Configuration:
    """The configuration in force, and the text of it that children are given.

    Parameters
    ----------
    source : Source

    Attributes
    ----------
    loaded : LoadedConfig
        In force.
    problem : str
        Why the file as it is now cannot be used, in words; "" while it can.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stamp = source.stamp()
        self.loaded, self._text = source.read()
        self._first = self.loaded
        self.problem = ""

    def reread(self) -> LoadedConfig:
        """Read the file again, and take it where it can be used; else the one before it stays in force.

        Raises
        ------
        ConfigInvalid
            It cannot be used, or names another folder or observatory than the one that is served.
        """
        self._stamp = self._source.stamp()
        try:
            loaded, text = self._source.read()
            _check_same_place(self._first, loaded)
            check_folders(loaded)
            check_secrets(loaded.config.serve)
        except ServiceError as error:
            self.problem = f"the changed configuration cannot be used, the one before it stays in force: {error.detail}"
            raise
        self.loaded, self._text, self.problem = loaded, text, ""
        return loaded

    @property
    def is_changed(self) -> bool:
        """Whether somebody has changed the file since it was read; a file that is gone for a moment has not."""
        stamp = self._source.stamp()
        return stamp is not None and stamp != self._stamp

    @property
    def waits_for_start(self) -> str:
        """Which keys have changed that are in force from the next start on, in words; "" where none has."""
        names = some(_changed_keys(self._first, self.loaded))
        return f"{names}: in force when the daemon is started again" if names else ""

    def request(self, served: Served | None) -> WorkRequest:
        """Return what every child begins with."""
        return WorkRequest(
            config_path=self._source.path,
            config_text=self._text,
            simulator=self._source.simulator,
            served=served,
            overrides=dict(self._source.overrides),
        )


_OF_THE_START = ("listen", "path_prefix", "allowed_hosts", "token_env", "token_file", "keep_logs_days")
"""Keys of `serve` that the server of the API and the log are made with."""


def _changed_keys(first: LoadedConfig, now: LoadedConfig) -> Iterator[str]:
    for name in _OF_THE_START:
        if getattr(first.config.serve, name) != getattr(now.config.serve, name):
            yield f"serve.{name}"


def _check_same_place(first: LoadedConfig, now: LoadedConfig) -> None:
    root, other = layout_of(first).root, layout_of(now).root
    if other != root:
        detail = f"{now.path}: storage.root: found {other}, but the daemon serves {root}"
        raise ConfigInvalid(detail, advice="start the daemon again to serve another folder")
    if first.config.camera.is_simulator != now.config.camera.is_simulator:
        words = [
            "a simulated observatory" if each.config.camera.is_simulator else "a real one" for each in (first, now)
        ]
        detail = f"{now.path}: camera.camera_type: the daemon serves {words[0]}, this is {words[1]}"
        raise ConfigInvalid(detail, advice="start the daemon again to serve the other one")
