"""The shipped file, what `--simulator` makes of it, and how a configuration is shown."""

import json
from pathlib import Path

import pytest

from services.config import load, loads, schema, show, simulated
from services.config.devices import Cooling
from services.config.models import Config, Hooks
from services.config.simulation import load_observatory, parameters_of
from services.errors import ConfigInvalid
from tests.support.places import ROOT

SHIPPED = ROOT / "config_calibration_frames.yaml"
GUIDE_DEFAULTS = {
    "dark_capture": {
        "num_darks": 40,
        "flat_exposure_time": None,
        "science_exposure_time": (5.0,),
        "min_exposure": 0.001,
        "max_exposure": 60.0,
        "exposure_factors": (0.5, 1.0, 2.0, 4.0),
        "output_dir": "darks",
    },
    "flat_capture": {
        "target_count_rate": 0.5,
        "count_tolerance": 0.1,
        "num_flats": 40,
        "min_exposure": 0.001,
        "max_exposure": 10.0,
        "exposure_step_factor": 1.5,
        "max_adjustment_attempts": 10,
        "output_dir": "flats",
    },
    "master_frames": {
        "output_dir": "master_frames",
        "rejection_method": "sigma_clip",
        "sigma_threshold": 3.0,
        "normalization_method": "mean",
        "quality_control": True,
        "save_individual_masters": True,
        "create_master_bias": True,
        "create_master_darks": True,
        "create_master_flats": True,
    },
}


@pytest.mark.parametrize("config", [Config(), load(SHIPPED).config], ids=["models", "shipped"])
@pytest.mark.parametrize("section", GUIDE_DEFAULTS)
def test_defaults_are_the_guides(config: Config, section: str):
    values = getattr(config, section)
    assert {key: getattr(values, key) for key in GUIDE_DEFAULTS[section]} == GUIDE_DEFAULTS[section]


def test_the_shipped_file_is_understood_without_a_note_and_names_a_qhy600m():
    loaded = load(SHIPPED)
    assert loaded.notes == ()
    assert loaded.root == SHIPPED.parent
    camera = loaded.config.camera.active
    assert (loaded.config.camera.camera_type, camera.host, camera.port) == ("alpaca", "localhost", 11111)
    assert camera.camera_name == "QHY600M"


def test_the_examples_of_programmes_and_windows_load_when_they_are_uncommented():
    text = SHIPPED.read_text(encoding="utf-8")
    begin, end = text.index("# programmes:"), text.index("reuse:  ")
    examples = "\n".join(line.removeprefix("# ").removeprefix("#") for line in text[begin:end].splitlines())
    config = loads(f"{text[:begin]}{examples}\n{text[end:]}\nsite: {{latitude: 48, longitude: 11}}\n", SHIPPED).config
    assert [each.name for each in config.programmes] == ["broadband", "narrowband"]
    assert [each.name for each in config.serve.windows] == ["midday", "evening"]
    assert None not in (config.dome, config.telescope, config.serve.heartbeat)


def test_a_rehearsal_touches_nothing_of_the_site(tmp_path: Path):
    text = (
        "camera: {alpaca: {host: dome, camera_name: QHY}}\n"
        "filter_wheel: {host: dome, port: 5555, device_id: 2, opaque: [Dark]}\n"
        "flat_panel: {host: dome}\nsafety_monitor: {host: dome}\n"
        "hooks: {before_run: {command: [open_roof]}}\nstorage: {root: data}\n"
    )
    real = loads(text, tmp_path / "c.yaml")
    rehearsal = simulated(real)
    config = rehearsal.config
    assert config.camera.is_simulator
    assert rehearsal.root == real.root / "simulated" == tmp_path / "data" / "simulated"
    assert config.hooks == Hooks()
    for device in (config.filter_wheel, config.flat_panel, config.safety_monitor):
        assert device is not None
        assert (device.host, device.port, device.device_id) == (None, None, 0)
    assert config.filter_wheel is not None
    assert config.filter_wheel.opaque == ("Dark",)
    assert any("hooks are not run" in note for note in rehearsal.notes)
    assert simulated(rehearsal) == rehearsal


def test_the_wheel_of_a_rehearsal_has_every_filter_that_the_file_names(tmp_path: Path):
    text = (
        "filter_wheel: {opaque: [Dark]}\nflat_capture: {filters: [Lum, R]}\n"
        "programmes: [{name: a, flats: {filters: [Ha, O3]}}]\n"
    )
    rehearsal = simulated(loads(text, tmp_path / "c.yaml"))
    wheel = parameters_of(rehearsal.config.camera.simulator, rehearsal).wheel
    assert wheel is not None
    assert [each.name for each in wheel.filters] == ["L", "R", "G", "B", "Ha", "OIII", "SII", "Lum", "Dark", "O3"]
    assert [each.name for each in wheel.filters if each.throughput == 0] == ["Dark"]


def test_a_configuration_of_the_simulator_keeps_its_own_root(tmp_path: Path):
    loaded = loads("camera: {camera_type: simulator}", tmp_path / "c.yaml")
    assert simulated(loaded).root == tmp_path


ODD = """\
video: {camera_type: simulator, simulator: {seed: 3, gain: 5, binning: [2, 2]}}
cooling: {target_temperature: 5}
flat_capture: {filters: ['No', '007', 'a: b', "it's #1"]}
hooks: {after_run: {command: [a, b c]}}
filter_wheel: {}
site: {latitude: -33.5, longitude: 151}
reuse: 24
"""


FEW = "flat_capture: {num_flats: 5}"


@pytest.mark.parametrize(
    "text", [SHIPPED.read_text(encoding="utf-8"), "{}", ODD, FEW], ids=["shipped", "defaults", "odd", "few"]
)
def test_what_is_shown_loads_again_to_the_same(text: str):
    loaded = loads(text, SHIPPED)
    assert loads(show(loaded), SHIPPED).config == loaded.config


def test_what_is_shown_is_a_template_with_every_key_and_its_choices():
    text = show(loads("{}", SHIPPED))
    for line in (
        "# safety_monitor:", "#   on_unsafe: abort", "# cooling:", "#   ramp_rate: 5.0", "# flat_panel:", "# site:",
        "#   latitude:", "#   before_run:", "#     command: null",
    ):  # fmt: skip
        assert any(shown.startswith(line) for shown in text.splitlines()), line
    assert "sigma_clip, winsorized, mad, minmax, median, none" in text
    assert "alpaca, ascom, simulator" in text
    assert "a whole number from 1 to 10000" in text
    changed = show(loads("dark_capture: {num_darks: 7}", SHIPPED))
    assert "a whole number from 1 to 10000 — default 40" in changed


def test_the_sections_of_a_template_load_when_they_are_uncommented():
    text = show(loads("{}", SHIPPED))
    begin = text.index("# cooling:")
    section = text[begin : text.index("\n\n", begin)]
    plain = "\n".join(line.removeprefix("# ") for line in section.splitlines())
    config = loads(plain.replace("target_temperature: null", "target_temperature: -10"), SHIPPED).config
    assert config.cooling is not None
    assert config.cooling.model_dump(exclude={"target_temperature"}) == Cooling().model_dump(
        exclude={"target_temperature"}
    )


def test_a_section_that_is_written_but_not_used_is_shown_all_the_same():
    text = "camera: {camera_type: ascom, ascom: {port: 7}, alpaca: {host: dome}}"
    loaded = loads(text, SHIPPED)
    assert loads(show(loaded), SHIPPED).config == loaded.config


def test_every_key_that_is_shown_has_its_meaning_beside_it():
    for line in show(load(SHIPPED)).splitlines():
        assert not line or "# " in line, line


def test_the_schema_describes_every_key_and_knows_the_older_spellings():
    document = json.loads(json.dumps(schema()))
    assert {"video", "camera", "telescope", "plate_solve"} <= set(document["properties"])
    assert "output_directory" in document["$defs"]["DarkCapture"]["properties"]
    num_darks = document["$defs"]["DarkCapture"]["properties"]["num_darks"]
    assert (num_darks["minimum"], num_darks["maximum"], num_darks["default"]) == (1, 10_000, 40)
    for name, section in document["$defs"].items():
        for key, value in section.get("properties", {}).items():
            assert value.get("description"), f"{name}.{key}"


def test_a_simulated_observatorys_file_is_placed_too(tmp_path: Path):
    path = tmp_path / "observatory.yaml"
    path.write_text("seed: 7\ncamera:\n  width: 64\n  height: 1e2\n", encoding="utf-8")
    with pytest.raises(ConfigInvalid, match=r"observatory\.yaml:4:11: camera\.height"):
        load_observatory(path)
    path.write_text("seed: 7\ncamera:\n  width: 64\n  height: 48\n", encoding="utf-8")
    parameters = load_observatory(path)
    assert (parameters.seed, parameters.camera.width, parameters.camera.height) == (7, 64, 48)
