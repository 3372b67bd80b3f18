"""User and password of a server that asks for them: read at each connection, from where the configuration says.

What is read goes into the header of a request and nowhere else: no message, record or file of ours holds it.
"""

import os
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from drivers.errors import AccessDenied
from services.config.access import Access
from services.config.devices import Device
from services.config.models import Config
from services.config.rules import servers
from services.errors import ConfigInvalid
from services.platform import is_open_to_others


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where user and password are; called, it returns the Authorization header (HTTP Basic, RFC 7617).

    Attributes
    ----------
    section : str
        The section of the configuration that names them, for messages.
    user_env : str
    password_env : str or None
    password_file : Path or None
        One of the two is given.
    """

    section: str
    user_env: str
    password_env: str | None = None
    password_file: Path | None = None

    def __call__(self) -> str:
        """Read both; raises `AccessDenied` where they are no longer there."""
        try:
            return self.header()
        except ConfigInvalid as error:
            raise AccessDenied(device=self.section, detail=error.detail) from None

    def header(self) -> str:
        """Read both.

        Raises
        ------
        ConfigInvalid
            A variable is not set, or the file cannot be read or holds something else.
        """
        user = self._variable("user_env", self.user_env)
        if ":" in user:
            raise self._invalid("user_env", f"the user name in {self.user_env} has a colon, which Basic does not allow")
        password = self._variable("password_env", self.password_env) if self.password_env else self._read()
        return "Basic " + b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape")).decode("ascii")

    def __str__(self) -> str:
        """Say where both are read, and under which keys of the configuration."""
        user, file = f"the environment variable {self.user_env}", f"the file {self.password_file}"
        password = f"the environment variable {self.password_env}" if self.password_env else file
        key = "password_env" if self.password_env else "password_file"
        if not self.section:
            return f"the user is read from {user}, the password from {password}"
        return (
            f"the user is read from {user} ({self.section}.user_env), the password from {password} "
            f"({self.section}.{key})"
        )

    @property
    def shown(self) -> str:
        """The file that others than its owner may read, in words; "" when there is none."""
        path = self.password_file
        if path is None or not is_open_to_others(path):
            return ""
        return f"{path} ({self.section}.password_file) can be read by others than its owner"

    def _variable(self, key: str, name: str) -> str:
        if not (value := os.environ.get(name)):
            state = "is empty" if value == "" else "is not set"
            raise self._invalid(key, f"the environment variable {name} {state}")
        return value

    def _read(self) -> str:
        path = self.password_file or Path()
        try:
            text = path.read_text(encoding="utf-8-sig").strip("\r\n")
        except UnicodeDecodeError:
            raise self._invalid("password_file", f"{path} is no text in UTF-8") from None
        except OSError as error:
            raise self._invalid("password_file", f"{path} cannot be read: {error.strerror or error}") from None
        if not text or len(text.splitlines()) > 1:
            raise self._invalid("password_file", f"{path} must hold the password alone, on one line")
        return text

    def _invalid(self, key: str, detail: str) -> ConfigInvalid:
        advice = "set it where nightcal is started (for a service, in its unit), or correct the configuration"
        return ConfigInvalid(f"{self.section}.{key}: {detail}" if self.section else detail, advice=advice)


def login_of(section: Access, name: str) -> Login | None:
    """Return where user and password of a section are; None where it names none."""
    if section.user_env is None:
        return None
    path = None if section.password_file is None else Path(section.password_file)
    return Login(section=name, user_env=section.user_env, password_env=section.password_env, password_file=path)


def check_logins(config: Config) -> tuple[str, ...]:
    """Read all users and passwords that the configuration names; return which files others may read, in words.

    Raises
    ------
    ConfigInvalid
        One of them is not there.
    """
    shown = []
    for path, section in servers(config).items():
        used = section.enabled if isinstance(section, Device) else section is config.camera.active
        login = login_of(section, ".".join(path))
        if used and login is not None:
            login.header()
            shown.append(login.shown)
    return tuple(filter(None, shown))
