"""What can go wrong between a run and its servers: passwords, wrong addresses, servers that hang at the end."""

import threading
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from drivers.alpaca import allowance
from drivers.base import CalibratorStatus, CoverStatus
from drivers.simulator.faults import FaultKind
from services.capture import safety
from services.capture.secure import secure
from services.cli.failures import run_app
from services.cli.main import app
from services.config import load
from services.events.records import Event, FrameStored, RunEnding
from services.planning.request import Step
from services.platform import WINDOWS
from tests.support.served_night import ServedNight, fault, served_night

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
    Path(access["password_file"]).chmod(0o644)  # which is only warned of
    with served_night(tmp_path / "night", login=f"Basic {TOKEN}") as night:
        ended = night.run(
            steps=(Step.DARKS, Step.FLATS),
            camera={"alpaca": {**access, "camera_name": "simulated"}},
            flat_capture={"num_flats": 3, "filters": ["L"]},
            **BIASES,
        )
        assert ended.exit_code == 0, ended.result.detail
        assert set(ended.groups().values()) == {"complete"}
        assert len(ended.said("warning.raised", code="login_readable")) == (0 if WINDOWS else 1)
        config = night.root / "config_calibration_frames.yaml"
        assert secure(load(config)).well
        monkeypatch.chdir(night.root)
        at = ("--host", "127.0.0.1", "--port", str(night.server.port))
        named = ("--user-env", "NIGHT_USER", "--password-file", access["password_file"])
        assert run_app(app, ("devices", *at, *named), name="nightcal") == 0
        assert run_app(app, ("devices", *at), name="nightcal") == 3
        assert run_app(app, ("run", "--dry-run", "--debug"), name="nightcal") == 0
    shown = capsys.readouterr()
    assert "wants a user and a password, and none are named" in shown.out
    assert "--user-env" in shown.out
    assert SECRET not in shown.out + shown.err
    assert TOKEN not in shown.out + shown.err
    assert_shown_nowhere(night.root)


@pytest.mark.parametrize(
    ("keys", "code", "words"),
    [
        ((), "access_denied", "its server wants a user and a password, and none are named"),
        (
            ("user_env", "password_file"),
            "login_refused",
            "that it is given: the user is read from the environment variable NIGHT_USER (camera.alpaca.user_env)",
        ),
    ],
)
def test_a_password_that_is_missing_or_wrong_is_one_diagnosis_and_not_asked_again(
    tmp_path: Path, access: dict[str, str], keys: tuple[str, ...], code: str, words: str
) -> None:
    named = {key: access[key] for key in keys}
    with served_night(tmp_path / "night", login="Basic x", safety={}) as night:
        ended = night.run(steps=(Step.DARKS,), camera={"alpaca": named})
        assert (ended.exit_code, ended.result.code) == (3, code)
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


# --- where the devices are -------------------------------------------------------------------------------------------


def test_host_null_finds_the_camera_wherever_it_answers(tmp_path: Path, access: dict[str, str]) -> None:
    with served_night(tmp_path / "night", discovery_port=0, login=f"Basic {TOKEN}") as night:
        at = {"host": None, "port": 9, "discovery_port": night.server.discovery_port}
        ended = night.run(steps=(Step.DARKS,), camera={"alpaca": {**at, **access}}, **BIASES)
        assert ended.exit_code == 0, ended.result.detail
        assert len(night.headers()) > 0


def test_a_wrong_address_is_explained_and_the_right_one_named(tmp_path: Path) -> None:
    with served_night(tmp_path / "night", discovery_port=0) as night:
        name, port = night.observatory.camera.read("name"), night.server.port
        found = {"discovery_port": night.server.discovery_port}
        ended = night.run(steps=(Step.DARKS,), camera={"alpaca": {**found, "port": 1, "camera_name": name}})
        assert (ended.exit_code, ended.result.code) == (3, "device_lost")
        assert ended.result.detail.count("nothing answers at 127.0.0.1:1: no server runs on this port") == 1
        assert f"but camera '{name}' (device 0 at 127.0.0.1:{port}) answers" in ended.result.detail
        assert "set host, port and device_id in `camera.alpaca`" in ended.result.detail
        ended = night.run(steps=(Step.DARKS,), camera={"alpaca": found}, flat_panel={"port": 1})
        assert (ended.exit_code, ended.result.code) == (3, "device_lost")
        assert "but covercalibrator '" in ended.result.detail
        assert "in `flat_panel`" in ended.result.detail
        assert ended.said("device.lost") == []


# --- servers that hang while the run is being ended ------------------------------------------------------------------

SILENT = FaultKind.STALL


def hang_when(
    night: ServedNight, name: str, *members: str | None, order: bool, **data: object
) -> Callable[[Event], None]:
    """Return a listener that lets the server accept calls and never answer from an event on, and orders the end."""
    done = threading.Event()

    def hear(event: Event) -> None:
        if event.name == name and not done.is_set() and all(getattr(event.what, k, 0) == v for k, v in data.items()):
            done.set()
            night.break_now(*(fault(SILENT, member=member) for member in members or (None,)))
            if order:
                night.wake.ask()

    return hear


@pytest.fixture
def short_of_time(monkeypatch: pytest.MonkeyPatch) -> float:
    """Shorten what an end may wait; return how long it may take in real seconds."""
    for name, seconds in (("ALL_CALLS_S", 1.5), ("ONE_CALL_S", 0.5), ("LAST_CALLS_S", 0.1)):
        monkeypatch.setattr(allowance, name, seconds)
    monkeypatch.setattr(safety, "ANSWER_S", 0.3)
    return 8.0


@pytest.mark.parametrize(
    ("name", "data", "order"),
    [
        (FrameStored.name, {"kind": "FLAT"}, True),  # a second order, with the lamp on
        (RunEnding.name, {}, False),  # after its last frame
    ],
)
def test_a_server_that_hangs_keeps_no_run_alive_and_all_that_is_left_is_one_sentence(
    tmp_path: Path, short_of_time: float, name: str, data: dict[str, object], order: bool
) -> None:
    cooled = {"cooling": {"target_temperature": 5.0}}
    with served_night(tmp_path / "night", safety={}, rate=300.0) as night:
        hear = hang_when(night, name, order=order, **data)
        ended = night.run(steps=(Step.FLATS,), hear=hear, flat_capture={"filters": ["L"]}, **cooled)
    code = (130, "interrupted") if order else (3, "left_unsafe")
    assert (ended.exit_code, ended.result.code) == code
    gone = f"nothing at 127.0.0.1:{night.server.port} answers any more: camera, flat panel, cooler"
    if order:
        assert ended.result.left == (gone,)
    assert ended.result.left, "the first device may have been left before it hung"
    assert ended.result.detail.startswith("; ".join(ended.result.left))
    (begun,) = ended.said("run.ending")
    assert real_s(night, begun, ended.said("run.finished")[-1]) < short_of_time


def real_s(night: ServedNight, first: dict[str, Any], last: dict[str, Any]) -> float:
    """Return the real seconds between two events of a journal."""
    passed = datetime.fromisoformat(last["at"]) - datetime.fromisoformat(first["at"])
    return passed.total_seconds() / night.observatory.clock.rate


@pytest.mark.usefixtures("soon_over")
def test_an_order_that_is_never_answered_keeps_the_others_from_nothing(tmp_path: Path, short_of_time: float) -> None:
    with served_night(tmp_path / "night", rate=300.0) as night:
        hear = hang_when(night, FrameStored.name, "calibratoroff", order=True, kind="FLAT")
        cooled = {"cooling": {"target_temperature": 5.0}}
        ended = night.run(steps=(Step.FLATS,), hear=hear, flat_capture={"filters": ["L"]}, **cooled)
        assert night.lamp is CalibratorStatus.READY
        assert night.cover is CoverStatus.CLOSED
        assert not night.cooler_on
    assert ended.exit_code == 130
    assert ended.result.left == ("flat panel: the lamp is still on",)
    (begun,) = ended.said("run.ending")
    assert real_s(night, begun, ended.said("run.finished")[-1]) < short_of_time
