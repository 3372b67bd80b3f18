"""Secrets that the configuration names: users and passwords, read at each connection, and those of the daemon.

What is read goes into the header of a request and nowhere else: no message, record or file of ours holds it.
"""

import os
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drivers.errors import AccessDenied
from services.config.access import Access
from services.config.devices import Device
from services.config.models import Config
from services.config.rules import servers
from services.config.serve import Serve
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
        user = read_variable(self._key("user_env"), self.user_env)
        if ":" in user:
            raise _invalid(
                self._key("user_env"), f"the user name in {self.user_env} has a colon, which Basic does not allow"
            )
        if self.password_env:
            password = read_variable(self._key("password_env"), self.password_env)
        else:
            password = read_file(self._key("password_file"), self.password_file or Path(), "password")
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

    def _key(self, name: str) -> str:
        return f"{self.section}.{name}" if self.section else ""


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


def token_of(serve: Serve) -> str | None:
    """Return the token of the daemon's API, from where `serve` says; None where it names none.

    Raises
    ------
    ConfigInvalid
        The variable is not set, or the file cannot be read or holds something else, or the token is too short.
    """
    if serve.token_env is not None:
        key, token = "serve.token_env", read_variable("serve.token_env", serve.token_env)
    elif serve.token_file is not None:
        key, token = "serve.token_file", read_file("serve.token_file", Path(serve.token_file), "token")
    else:
        return None
    if len(token) < LEAST_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise _invalid(
            key,
            f"a token has {LEAST_CHARACTERS} letters and digits at least, and no blanks; make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"',
        )
    return token


def address_of(key: str, name: str) -> str:
    """Return the address that an environment variable holds, of a webhook or the heartbeat; it is a secret, too.

    Raises
    ------
    ConfigInvalid
        It is not set, or holds no address.
    """
    address = read_variable(key, name)
    if not address.startswith(("http://", "https://")):
        raise _invalid(key, f"the environment variable {name} holds no address: one begins with http:// or https://")
    return address


def missing_secrets(serve: Serve) -> tuple[str, ...]:
    """Return which secrets that `serve` names are not there now, in words: token, webhooks, heartbeat."""
    addresses = {f"serve.webhooks[{index}].url_env": each.url_env for index, each in enumerate(serve.webhooks)}
    if serve.heartbeat is not None:
        addresses["serve.heartbeat.url_env"] = serve.heartbeat.url_env
    asked: list[Callable[[], object]] = [lambda: token_of(serve)]
    asked += [partial(address_of, key, name) for key, name in addresses.items()]
    found = []
    for ask in asked:
        try:
            ask()
        except ConfigInvalid as error:
            found.append(error.detail)
    return tuple(found)


def check_secrets(serve: Serve) -> tuple[str, ...]:
    """Read all secrets that `serve` names; return which files others than their owner may read, in words.

    Raises
    ------
    ConfigInvalid
        With all of them that are not there.
    """
    if missing := missing_secrets(serve):
        raise ConfigInvalid("\n".join(missing), advice=_ADVICE)
    path = None if serve.token_file is None else Path(serve.token_file)
    if path is None or not is_open_to_others(path):
        return ()
    return (f"{path} (serve.token_file) can be read by others than its owner",)


def read_variable(key: str, name: str) -> str:
    """Return what an environment variable holds that a key of the configuration names.

    Raises
    ------
    ConfigInvalid
        It is not set, or empty.
    """
    if not (value := os.environ.get(name)):
        raise _invalid(key, f"the environment variable {name} is {'empty' if value == '' else 'not set'}")
    return value


def read_file(key: str, path: Path, what: str) -> str:
    """Return the one line of a file that a key of the configuration names; `what` it is is for messages.

    Raises
    ------
    ConfigInvalid
        It cannot be read, or holds something else.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE).decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        raise _invalid(key, f"{path} is no text in UTF-8") from None
    except OSError as error:
        raise _invalid(key, f"{path} cannot be read: {error.strerror or error}") from None
    if not text or len(text.splitlines()) > 1:
        raise _invalid(key, f"{path} must hold the {what} alone, on one line")
    return text


LEAST_CHARACTERS = 16
"""Of a token: fewer could be tried out."""
_LARGEST_FILE = 64 * 1024
_ADVICE = "set it where nightcal is started (for a service, in its unit), or correct the configuration"


def _invalid(key: str, detail: str) -> ConfigInvalid:
    return ConfigInvalid(f"{key}: {detail}" if key else detail, advice=_ADVICE)
