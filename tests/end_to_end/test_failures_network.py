"""What can go wrong between a run and its servers: passwords, wrong addresses, servers that hang at the end."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from services.capture.secure import secure
from services.cli.failures import run_app
from services.cli.main import app
from services.config import load
from services.planning.request import Step
from tests.support.served_night import served_night

SECRET = "xyzzy plugh"  # noqa: S105 - nobody's
TOKEN = b64encode(f"observer:{SECRET}".encode()).decode()
BIASES: dict[str, Any] = {"dark_capture": {"num_darks": 3, "science_exposure_time": 0.5, "exposure_factors": [1.0]}}


@pytest.fixture
def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the keys of a camera section that name the right user and password."""
    monkeypatch.setenv("NIGHT_USER", "observer")
    path = tmp_path / "password"
    path.write_text(SECRET + "\n", encoding="utf-8")
    path.chmod(0o600)
    return {"user_env": "NIGHT_USER", "password_file": str(path)}


def assert_shown_nowhere(root: Path) -> None:
    """No file of a night holds the password, plain or as it goes over the wire."""
    for path in (p for p in root.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert TOKEN.encode() not in content, path


def test_a_server_behind_a_password_serves_a_whole_night_that_shows_it_nowhere(
    tmp_path: Path, access: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_night(tmp_path / "night", login=f"Basic {TOKEN}") as night:
        ended = night.run(
            steps=(Step.DARKS, Step.FLATS),
            camera={"alpaca": {**access, "camera_name": "simulated"}},
            flat_capture={"num_flats": 3, "filters": ["L"]},
            **BIASES,
        )
        assert ended.exit_code == 0, ended.result.detail
        assert set(ended.groups().values()) == {"complete"}
        assert ended.said("warning.raised", code="unused_device") == []  # it was allowed to ask
        config = night.root / "config_calibration_frames.yaml"
        assert secure(load(config)).well
        monkeypatch.chdir(night.root)
        at = ("--host", "127.0.0.1", "--port", str(night.server.port))
        named = ("--user-env", "NIGHT_USER", "--password-file", access["password_file"])
        assert run_app(app, ("devices", *at, *named), name="nightcal") == 0
        assert run_app(app, ("devices", *at), name="nightcal") == 3
        again = night.run(steps=(Step.DARKS,), camera={"alpaca": access}, options={"fresh": True}, **BIASES)
        assert again.exit_code == 0
        assert run_app(app, ("run", "--dry-run", "--debug"), name="nightcal") == 0
    shown = capsys.readouterr()
    assert "wants a user and a password, and none are named" in shown.out
    assert "--user-env" in shown.out
    assert SECRET not in shown.out + shown.err
    assert TOKEN not in shown.out + shown.err
    assert_shown_nowhere(night.root)


@pytest.mark.parametrize(
    ("login", "keys", "words"),
    [
        ("Basic x", (), "its server wants a user and a password, and none are named"),
        ("Basic x", ("user_env", "password_file"), "does not accept the user and the password that it is given"),
    ],
)
def test_a_password_that_is_missing_or_wrong_is_one_diagnosis_and_not_asked_again(
    tmp_path: Path, access: dict[str, str], login: str, keys: tuple[str, ...], words: str
) -> None:
    named = {key: access[key] for key in keys}
    with served_night(tmp_path / "night", login=login, safety={}) as night:
        ended = night.run(steps=(Step.DARKS,), camera={"alpaca": named})
        assert (ended.exit_code, ended.result.code) == (3, "access_denied")
        assert words in ended.result.detail
        assert ended.result.detail.count("server") == 1
        assert ended.said("device.lost") == []
        assert night.headers() == []
    assert_shown_nowhere(night.root)


def test_a_panel_and_a_monitor_behind_another_password_are_called_so(tmp_path: Path, access: dict[str, str]) -> None:
    with (
        served_night(tmp_path / "night", safety={}) as night,
        served_night(tmp_path / "other", login=f"Basic {TOKEN}", safety={}) as other,
    ):
        away = {"host": "127.0.0.1", "port": other.server.port}
        ended = night.run(steps=(Step.FLATS,), flat_panel=away)
        assert (ended.exit_code, ended.result.code) == (3, "access_denied")
        assert "covercalibrator 0" in ended.result.detail
        ended = night.run(steps=(Step.FLATS,), safety_monitor=away)
        assert (ended.exit_code, ended.result.code) == (4, "safety_stale")
        assert "no reading: safetymonitor 0 at" in ended.result.detail
        ended = night.run(
            steps=(Step.DARKS,), flat_panel={**away, **access}, safety_monitor={**away, **access}, **BIASES
        )
        assert ended.exit_code == 0, ended.result.detail


def test_a_password_that_is_not_there_ends_the_run_before_anything_is_asked(
    tmp_path: Path, access: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NIGHT_USER")
    with served_night(tmp_path / "night") as night:
        ended = night.run(steps=(Step.DARKS,), camera={"alpaca": access})
        assert (ended.exit_code, ended.result.code) == (2, "config_invalid")
        assert "camera.alpaca.user_env: the environment variable NIGHT_USER is not set" in ended.result.detail
        assert ended.said("device.connected") == []


def test_a_password_file_that_others_read_is_a_warning(tmp_path: Path, access: dict[str, str]) -> None:
    Path(access["password_file"]).chmod(0o644)
    with served_night(tmp_path / "night", login=f"Basic {TOKEN}") as night:
        ended = night.run(steps=(Step.DARKS,), camera={"alpaca": access}, **BIASES)
        assert ended.exit_code == 0
        assert len(ended.said("warning.raised", code="login_readable")) == 1
