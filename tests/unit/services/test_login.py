"""Servers that want a password: where user and password stand, what is refused, and that nothing shows them."""

import sys
from base64 import b64encode
from pathlib import Path

import pytest

from drivers.alpaca.line import Reply
from drivers.alpaca.replies import raise_for_status
from drivers.errors import AccessDenied
from services.cli.run import settings_text
from services.config import loads
from services.config.models import LoadedConfig
from services.config.serve import Serve
from services.errors import ConfigInvalid, meaning
from services.observatory import network
from services.observatory.login import Login, check_logins, check_secrets, missing_secrets, token_of

NAMED = "{host: 127.0.0.1, user_env: NIGHT_USER, password_file: pass.txt}"


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT_USER", "obsérver")


def configured(folder: Path, text: str) -> LoadedConfig:
    return loads(text, folder / "c.yaml")


def file_with(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "pass.txt"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "content", [b"p\xc3\xa4ss wort:", b"\xef\xbb\xbfp\xc3\xa4ss wort:\r\n", b"p\xc3\xa4ss wort:\n"]
)
def test_user_and_password_are_read_anew_each_time_as_they_are_written(tmp_path: Path, content: bytes) -> None:
    path = file_with(tmp_path, content)
    login = Login(section="flat_panel", user_env="NIGHT_USER", password_file=path)
    assert login() == basic("obsérver", "päss wort:")
    path.write_bytes(b"another")
    assert login() == basic("obsérver", "another")


def test_a_login_says_where_it_is_read_and_not_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT_PASSWORD", "s3cret")
    path = file_with(tmp_path, b"s3cret")
    variable = Login(section="flat_panel", user_env="NIGHT_USER", password_env="NIGHT_PASSWORD")  # noqa: S106 - a name
    file = Login(section="", user_env="NIGHT_USER", password_file=path)
    assert str(variable) == (
        "the user is read from the environment variable NIGHT_USER (flat_panel.user_env), the password from the "
        "environment variable NIGHT_PASSWORD (flat_panel.password_env)"
    )
    assert str(file) == f"the user is read from the environment variable NIGHT_USER, the password from the file {path}"


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_a_login_is_not_one_that_lacks_it(status: int) -> None:
    for login, code, words in (
        ("the user is read from X", "login_refused", "given: the user is read from X"),
        ("", "access_denied", "named"),
    ):
        with pytest.raises(AccessDenied) as caught:
            raise_for_status("camera 0", "connected", Reply(status=status, body=b"", login=login))
        assert (caught.value.code, words in str(caught.value)) == (code, True)
    refused, missing = meaning("login_refused"), meaning("access_denied")
    assert "user_env" in missing.advice
    assert "user_env" not in refused.advice
    assert refused.exit == missing.exit == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "pass.txt cannot be read: No such file"),
        (b"", "must hold the password alone"),
        (b"\n", "must hold the password alone"),
        (b"user\npassword\n", "must hold the password alone, on one line"),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
    ],
)
def test_a_file_that_holds_no_password_is_named_with_its_key(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        file_with(tmp_path, content)
    config = configured(tmp_path, f"camera: {{alpaca: {NAMED}}}").config
    with pytest.raises(ConfigInvalid) as caught:
        check_logins(config)
    assert caught.value.detail.startswith("camera.alpaca.password_file: ")
    assert words in caught.value.detail
    assert caught.value.exit == 2


def test_a_variable_that_is_missing_is_named_at_every_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = "{host: other, user_env: NIGHT_USER, password_env: NIGHT_PASSWORD}"
    for name in ("flat_panel", "filter_wheel", "safety_monitor"):
        config = configured(tmp_path, f"{name}: {section}").config
        monkeypatch.delenv("NIGHT_PASSWORD", raising=False)
        with pytest.raises(
            ConfigInvalid, match=rf"{name}.password_env: the environment variable NIGHT_PASSWORD is not"
        ):
            check_logins(config)
        monkeypatch.setenv("NIGHT_PASSWORD", "x")
        assert check_logins(config) == ()
    off = configured(tmp_path, f"flat_panel: {{enabled: false, {section[1:]}").config
    monkeypatch.delenv("NIGHT_PASSWORD")
    assert check_logins(off) == ()  # a device that is not used needs none
    with pytest.raises(AccessDenied):  # gone in the middle of a night
        Login(section="flat_panel", user_env="NIGHT_USER", password_env="NIGHT_PASSWORD")()  # noqa: S106 - a name


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps rights in access lists")
@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_password_that_others_can_read_is_warned_of(tmp_path: Path, mode: int, told: bool) -> None:
    path = file_with(tmp_path, b"secret", mode)
    shown = check_logins(configured(tmp_path, f"camera: {{alpaca: {NAMED}}}").config)
    assert shown == ((f"{path} (camera.alpaca.password_file) can be read by others than its owner",) if told else ())


def test_a_password_goes_to_the_server_it_is_named_for_and_to_no_other(tmp_path: Path) -> None:
    file_with(tmp_path, b"secret")
    loaded = configured(
        tmp_path,
        f"camera: {{alpaca: {NAMED}}}\n"
        "filter_wheel: {}\n"
        "flat_panel: {port: 4567}\n"
        "safety_monitor: {host: other, user_env: NIGHT_USER, password_env: NIGHT_USER}\n",
    )
    config, home = loaded.config, network.home(loaded.config.camera)
    assert home.login is not None
    assert network.endpoint_of(config.filter_wheel, home, "filter_wheel").login == home.login
    assert network.endpoint_of(config.flat_panel, home, "flat_panel").login is None
    monitor = network.endpoint_of(config.safety_monitor, home, "safety_monitor").login
    assert isinstance(monitor, Login)
    assert (monitor.section, monitor.password_env) == ("safety_monitor", "NIGHT_USER")
    shown = f"{settings_text(loaded)} {loaded!r} {home!r} {monitor!r}"
    assert "secret" not in shown
    assert "NIGHT_USER" in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "camera: {alpaca: {password: hunter2}}",
            "c.yaml:1:19: camera.alpaca.password: user and password do not belong",
        ),
        ("flat_panel: {Username: hunter2}", "flat_panel.Username: user and password do not belong in this file"),
        ("camera: {ascom: {password: {a: hunter2}}}", "environment variables that hold them, or password_file"),
        ("filter_wheel: {user_env: hunter2!, password_env: X}", "found something else — allowed: the name of an env"),
        ("filter_wheel: {user_env: A, password_env: [hunter2]}", "found something else — allowed: the name of an env"),
        (
            "camera: {alpaca: {host: 'me:hunter2@server'}}",
            "camera.alpaca.host: found an @ — allowed: a name or an addr",
        ),
        (
            "flat_panel: {user_env: A}",
            "flat_panel.user_env: stands alone — it needs `password_env` or `pass",
        ),
        ("flat_panel: {password_file: hunter2}", "flat_panel.user_env: missing — allowed: the name of an environment"),
        ("flat_panel: {user_env: A, password_env: B, password_file: hunter2}", "beside `password_env` — keep one"),
    ],
)
def test_what_does_not_belong_in_the_file_is_refused_with_the_way_out_and_not_shown(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        configured(tmp_path, text)
    assert words in caught.value.detail
    assert "hunter2" not in caught.value.detail


def test_secrets_of_the_daemon_are_read_from_where_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    serve = Serve.model_validate({"token_file": str(token), "webhooks": [{"url_env": "HOOK"}, {"url_env": "OTHER"}],
                                  "heartbeat": {"url_env": "BEAT"}})  # fmt: skip
    monkeypatch.setenv("OTHER", "http://127.0.0.1/s3cret")
    monkeypatch.setenv("BEAT", "")
    monkeypatch.delenv("HOOK", raising=False)
    assert missing_secrets(serve) == (
        f"serve.token_file: {token} cannot be read: No such file or directory",
        "serve.webhooks[0].url_env: the environment variable HOOK is not set",
        "serve.heartbeat.url_env: the environment variable BEAT is empty",
    )
    with pytest.raises(ConfigInvalid, match="HOOK is not set"):
        check_secrets(serve)
    monkeypatch.setenv("HOOK", "http://127.0.0.1/a")
    monkeypatch.setenv("BEAT", "http://127.0.0.1/b")
    token.write_text("abc\ndef\n", encoding="utf-8")
    assert missing_secrets(serve) == (f"serve.token_file: {token} must hold the token alone, on one line",)
    for content in ("abc", "two words that are long enough"):
        token.write_text(content, encoding="utf-8")
        monkeypatch.setenv("HOOK", content)
        assert missing_secrets(serve) == (
            (
                "serve.token_file: a token has 16 letters and digits at least, and no blanks; make one with: "
                'python -c "import secrets; print(secrets.token_urlsafe(32))"'
            ),
            (
                "serve.webhooks[0].url_env: the environment variable HOOK holds no address: one begins with http:// or "
                "https://"
            ),
        )
    monkeypatch.setenv("HOOK", "http://127.0.0.1/a")
    token.write_text("0123456789abcdef\n", encoding="utf-8")
    token.chmod(0o600)
    assert check_secrets(serve) == ()
    assert token_of(serve) == "0123456789abcdef"
    monkeypatch.setenv("TOKEN", "fedcba9876543210")
    assert token_of(Serve(token_env="TOKEN")) == "fedcba9876543210"  # noqa: S106
    assert token_of(Serve()) is None
