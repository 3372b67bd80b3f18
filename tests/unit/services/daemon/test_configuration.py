"""A changed file is taken where it can be served, and never moves the daemon to another folder or observatory."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from services.daemon.configuration import Configuration, Source
from services.errors import ConfigInvalid

SIMULATED: dict[str, Any] = {"camera": {"camera_type": "simulator", "simulator": {"width": 64, "height": 48}}}
REAL: dict[str, Any] = {"camera": {"camera_type": "alpaca", "alpaca": {"host": "127.0.0.1", "device_id": 0}}}


def _write(path: Path, *parts: dict[str, Any]) -> Path:
    document: dict[str, Any] = {}
    for part in parts:
        document |= part
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_a_changed_file_is_in_force_and_given_to_children(tmp_path: Path) -> None:
    path = _write(tmp_path / "config.yaml", SIMULATED)
    configuration = Configuration(Source(path=path))
    assert not configuration.is_changed
    _write(path, SIMULATED, {"serve": {"ageing_at": 0.5}})
    assert configuration.is_changed
    assert configuration.reread().config.serve.ageing_at == 0.5
    assert "ageing_at: 0.5" in (configuration.request(None).config_text or "")
    assert (configuration.is_changed, configuration.waits_for_start) == (False, "")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"storage": {"root": "elsewhere"}}, "storage.root"),
        (REAL, "camera.camera_type"),
        ({"serve": {"webhooks": [{"url_env": "NIGHTCAL_TEST_MISSING"}]}}, "NIGHTCAL_TEST_MISSING"),
        ({"serve": {"heartbeat": {"url_env": "NIGHTCAL_TEST_MISSING"}}}, "NIGHTCAL_TEST_MISSING"),
        ({"serve": {"ageing_at": 7}}, "ageing_at"),
    ],
)
def test_a_file_that_cannot_be_served_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], named: str
) -> None:
    monkeypatch.delenv("NIGHTCAL_TEST_MISSING", raising=False)
    path = _write(tmp_path / "config.yaml", SIMULATED)
    configuration = Configuration(Source(path=path))
    before, text = configuration.loaded, configuration.request(None).config_text
    _write(path, SIMULATED, change)
    with pytest.raises(ConfigInvalid, match=named):
        configuration.reread()
    assert configuration.loaded is before
    assert configuration.request(None).config_text == text
    assert not configuration.is_changed  # it is read once, not at every tick
    assert named in configuration.problem
    _write(path, SIMULATED)
    configuration.reread()
    assert configuration.problem == ""


def test_keys_of_the_server_are_named_until_the_next_start_or_until_they_are_changed_back(tmp_path: Path) -> None:
    path = _write(tmp_path / "config.yaml", SIMULATED)
    configuration = Configuration(Source(path=path))
    _write(path, SIMULATED, {"serve": {"allowed_hosts": ["dome.example"], "keep_logs_days": 7}})
    configuration.reread()
    assert configuration.waits_for_start.startswith("serve.allowed_hosts, serve.keep_logs_days:")
    _write(path, SIMULATED)
    configuration.reread()
    assert configuration.waits_for_start == ""
