"""`nightcal plan`: a table that fits a terminal, the same as JSON, without devices, lock or a file written."""

import json
from pathlib import Path

import pytest

from services.cli.main import main
from services.cli.plan import plan_now, table
from services.config import load
from services.events.records import json_value

TEXT = """
camera: {camera_type: alpaca, alpaca: {host: nobody.invalid, offset: 30}}
cooling: {target_temperature: -10.0}
filter_wheel: {device_id: 0}
flat_panel: {device_id: 0}
darkness: cover
programmes:
  - {name: broad, gain: 26, temperatures: [-10.0], bias: {frames: 100}, darks: {exposures: [60, 300], frames: 30},
     flats: {filters: [L, Luminance_of_a_very_long_name], frames: 40}}
  - {name: narrow, gain: 56, temperatures: [-20.0], darks: {exposures: [300], frames: 30}, flats: {filters: [Ha]}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    return path


def said(config: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--config", str(config), *options])
    return int(ended.value.code or 0)


def test_it_names_every_master_with_minutes_and_why(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert said(config) == 0
    out, err = capsys.readouterr()
    assert "whether the wheel has L, Luminance_of_a_very_long_name, Ha is not checked here" in err
    lines = out.splitlines()
    rows = [line.split() for line in lines[1:8]]
    assert ["dark", "300", "s", "g26", "-10.0", "°C", "none", "due", "30", "2", "h", "31", "min"] in rows
    assert ["flat", "Ha", "g56", "-20.0", "°C", "none", "blocked"] in rows
    assert "due: there is no master yet" in lines
    assert "blocked: no window of `serve.windows` takes flats: by order only" in lines
    assert any(line.startswith("190 frames of 4 masters to take, about 6 h ") for line in lines)
    assert lines[-1].startswith("Plan ")


def test_nothing_is_written_and_nobody_is_asked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(config) == 0
    assert [path.name for path in config.parent.iterdir()] == ["c.yaml"]
    assert all(line.startswith("note: ") for line in capsys.readouterr().err.splitlines())


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits_the_terminal_and_breaks_no_name(config: Path, columns: int) -> None:
    lines = list(table(json_value(plan_now(load(config))), columns))
    head = next(i for i, line in enumerate(lines) if not line)
    assert all(len(line) <= columns for line in lines[head:])
    assert sum("dark 300 s g26 -10.0 °C" in line for line in lines[head:]) == 1


def test_as_json_it_is_the_plan_with_its_fingerprint(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(config, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fingerprint"] == plan_now(load(config)).fingerprint
    assert {each["happens"] for each in found["masters"]} == {"due", "blocked"}
