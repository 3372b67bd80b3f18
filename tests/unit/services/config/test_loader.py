"""The YAML of the guide loads as it stands, and every error says file, line, column, key, found and allowed."""

import re
from pathlib import Path

import pytest

from calibration.grouping import Tolerances
from services.config import as_loaded, from_dict, load, loads
from services.config.models import RejectionMethod, Reuse
from services.errors import ConfigInvalid, Exit

GUIDE = """\
# config_calibration_frames.yaml
dark_capture:
  num_darks: 40
  science_exposure_time: 5.0
  exposure_factors: [0.5, 1.0, 2.0, 4.0]
  output_dir: "darks"

flat_capture:
  target_count_rate: 0.5
  num_flats: 40
  output_dir: "flats"

master_frames:
  rejection_method: "sigma_clip"
  normalization_method: "mean"
  output_dir: "master_frames"

video:
  camera_type: "ascom"
  ascom:
    camera_name: "QHY600M"
    exposure_time: 5.0
"""

LATER_GENERATION = """\
telescope: {focal_length: 400, aperture: 80, type: refractor, focal_ratio: 5.0}
mount: {driver_id: x, connection_timeout: 10, slewing_detection: {enabled: true}}
dark_capture: {num_darks: 40, flat_exposure_time: null, science_exposure_time: 10.0, min_exposure: .001}
flat_capture: {exposure_step_factor: 1.5, max_adjustment_attempts: 20, output_directory: my_flats}
master_frames:
  rejection_method: minmax
  enable_calibration: true
  auto_load_masters: true
  calibration_tolerance: .1
camera:
  camera_type: alpaca
  sensor_width: 36.0
  sensor_height: 24.0
  pixel_size: 3.76
  type: mono
  bit_depth: 16
  cooling: {enable_cooling: true, target_temperature: -5, stabilization_tolerance: 1.0, warmup_at_end: yes}
  ascom: {ascom_driver: ASCOM.QHYCCD.Camera, gain: 100, offset: 50, readout_mode: 0, binning: 1}
  alpaca: {host: localhost, port: 11111, device_id: 0, exposure_time: 10, gain: 26, binning: [1, 1]}
  opencv: {camera_index: 0, frame_rate: 30}
frame_processing: {enabled: true}
overlay: {}
plate_solve: null
logging: {level: INFO}
"""

HERE = Path("observatory.yaml")


def problems(text: str) -> list[str]:
    """Return the lines of the error that a text gives."""
    with pytest.raises(ConfigInvalid) as caught:
        loads(text, HERE)
    assert caught.value.exit == Exit.CONFIG
    return caught.value.detail.splitlines()


def problem(text: str) -> str:
    """Return the one line of the error that a text gives."""
    lines = problems(text)
    assert len(lines) == 1, lines
    return lines[0]


def test_the_guides_own_file_loads_with_its_defaults():
    loaded = loads(GUIDE, HERE)
    config = loaded.config
    assert config.camera.camera_type == "ascom"
    assert config.camera.active.camera_name == "QHY600M"
    assert config.dark_capture.science_exposure_time == (5.0,)
    assert (config.dark_capture.min_exposure, config.dark_capture.max_exposure) == (0.001, 60.0)
    assert config.flat_capture.max_adjustment_attempts == 10
    assert config.master_frames.rejection_method is RejectionMethod.SIGMA_CLIP
    assert config.cooling is None
    assert "video: read as `camera`" in loaded.notes
    assert "video.ascom.exposure_time: accepted, not used" in loaded.notes


def test_the_later_generation_loads_and_names_what_is_not_used():
    loaded = loads(LATER_GENERATION, HERE)
    config = loaded.config
    assert config.cooling is not None
    assert (config.cooling.target_temperature, config.cooling.warmup_at_end) == (-5.0, True)
    assert config.camera.cooling is None
    assert config.flat_capture.output_dir == "my_flats"
    assert config.camera.active.gain == 26
    assert config.camera.active.bin_xy == (1, 1)
    for name in ("telescope", "mount", "frame_processing", "overlay", "plate_solve", "logging", "camera.opencv"):
        assert f"{name}: accepted, not used" in loaded.notes
    assert "master_frames.calibration_tolerance: accepted, not used" in loaded.notes
    assert "camera.ascom: not used while camera_type is alpaca" in loaded.notes


def test_an_empty_file_is_refused_and_braces_are_the_defaults(tmp_path: Path):
    path = tmp_path / "empty.yaml"
    for content in (b"", b"\xef\xbb\xbf", b"# only a comment\n", b"---\n"):
        path.write_bytes(content)
        with pytest.raises(ConfigInvalid, match="the file is empty"):
            load(path)
    path.write_bytes(b"{}\n")
    assert load(path).config.dark_capture.num_darks == 40


def test_a_byte_order_mark_shifts_no_column(tmp_path: Path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfdarkness: nowhere\r\n")
    with pytest.raises(ConfigInvalid, match=re.escape(f"{path}:1:11: darkness: found 'nowhere'")):
        load(path)


def test_an_error_names_file_line_column_key_found_and_allowed():
    text = "dark_capture:\n  num_darks: forty\n"
    assert problem(text) == (
        "observatory.yaml:2:14: dark_capture.num_darks: found 'forty' — allowed: a whole number from 1 to 10000"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flat_capture: {num_flats: 40.5}", "found 40.5 — allowed: a whole number from 1 to 10000"),
        ("flat_capture: {num_flats: true}", "found true — allowed: a whole number"),
        ('flat_capture: {num_flats: "40"}', "found '40' — allowed: a whole number"),
        ("flat_capture: {target_count_rate: 1.5}", "found 1.5 — allowed: a number above 0 and below 1"),
        ("flat_capture: {max_exposure: .inf}", "found .inf — allowed: a number above 0"),
        ("flat_capture: {max_exposure: .nan}", "found .nan — allowed: a number above 0"),
        ("flat_capture: {window: [1.0]}", "found [1.0] — allowed: a list of 2, each a number above 0"),
        ("flat_capture: {output_dir: ../up}", "found '../up' — allowed: a folder below the root"),
        ("flat_capture: {output_dir: /abs}", "found '/abs' — allowed: a folder below the root"),
        ("flat_capture: {output_dir: 'C:\\flats'}", "allowed: a folder below the root"),
        ("flat_capture: {output_dir: logs}", "found 'logs' — allowed: a folder below the root, none of .nightcal"),
        ("master_frames: {rejection_method: sigma}", "allowed: sigma_clip, winsorized, mad, minmax, median, none"),
        ("master_frames: {quality_control: maybe}", "found 'maybe' — allowed: true or false"),
        ("master_frames: {quality_control: 1}", "found 1 — allowed: true or false"),
        ("camera: {camera_type: webcam}", "found 'webcam' — allowed: alpaca, ascom, simulator"),
        ("camera: {alpaca: {port: 70000}}", "found 70000 — allowed: a whole number from 1 to 65535"),
        ("camera: {alpaca: {binning: [2, x]}}", "camera.alpaca.binning[1]: found 'x'"),
        ("camera: {alpaca: {binning: 0}}", "found 0 — allowed: a whole number from 1 to 64 or a list of 2"),
        ("dark_capture: 40", "dark_capture: found 40 — allowed: a section of keys"),
        ("models: on", "models: found 'on' — allowed: auto, off, or a section of keys"),
        ("models: [bias]", 'models: found ["bias"] — allowed: auto, off, or a section of keys'),
        ("models: {kinds: []}", "models.kinds: found [] — allowed: bias, dark, flat or a not empty list"),
        ("cooling: cold", "cooling: found 'cold' — allowed: required, if_available, off, or a section of keys"),
        ("reuse: never", "reuse: found 'never' — allowed: hours, or a section of keys"),
        ("storage: null", "storage: found null — allowed: a section of keys"),
        ("darkness: lamp", "allowed: cover, shutter, roof, manual, none or filter:NAME"),
        ("site: {latitude: 48}", "site.longitude: missing — allowed: a number from -180 to 180"),
        ("site: {latitude: 91, longitude: 0}", "site.latitude: found 91 — allowed: a number from -90 to 90"),
        ("gains: [26, true]", "gains[1]: found true — allowed: a whole number or text"),
        ("hooks: {before_run: {timeout: 5}}", "hooks.before_run: a hook needs either `command` or `url`"),
        ("hooks: {after_run: {url: 'ftp://x'}}", "hooks.after_run.url: found 'ftp://x'"),
        ("just words", "found 'just words' — allowed: sections of keys"),
        ("[1, 2]", "found [1, 2] — allowed: sections of keys"),
    ],
)
def test_a_wrong_value_is_refused_in_words(text: str, expected: str):
    assert expected in problem(text)


def test_all_errors_are_told_at_once_in_the_order_of_the_file():
    text = (
        "dark_capture:\n  num_darks: many\n  min_exposure: 70\n"
        "flat_capture:\n  num_flat: 3\n  window: [5, 1]\n"
        "output: here\nsite: {latitude: 200}\n"
    )
    keys = [line.split(": ")[1] for line in problems(text)]
    assert keys == [
        "dark_capture.num_darks",
        "dark_capture.min_exposure",
        "flat_capture.num_flat",
        "flat_capture.window",
        "output",
        "site.longitude",
        "site.latitude",
    ]


def test_gains_are_numbers_or_names_as_they_are_written():
    assert loads("gains: [26, ISO 800]", HERE).config.gains == (26, "ISO 800")
    assert loads("gains: 60", HERE).config.gains == (60,)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("dark_capture: {num_dark: 1}", "yaml:1:16: dark_capture.num_dark: unknown key — did you mean `num_darks`?"),
        ("dark_captur: {}", "dark_captur: unknown key — did you mean `dark_capture`?"),
        ("vidoe: {}", "did you mean `video`?"),
        ("telescop: {}", "did you mean `telescope`?"),
        ("dark_capture: {Num_Darks: 1}", "did you mean `num_darks`?"),
        ("dark_capture: {target_count_rate: 0.5}", "belongs to `flat_capture`"),
        ("video: {ascom: {gian: 3}}", "video.ascom.gian: unknown key — did you mean `gain`?"),
        ("site: {latitude: 1, longitude: 2, zzz: 3}", "allowed: latitude, longitude, elevation"),
    ],
)  # fmt: skip
def test_an_unknown_key_names_the_nearest_known_one(text: str, advice: str):
    assert advice in problem(text)


def test_a_duplicate_key_is_refused_with_both_places():
    assert problem("dark_capture:\n  num_darks: 3\n  num_darks: 4\n") == (
        "observatory.yaml:3:3: dark_capture.num_darks: duplicate key, first at observatory.yaml:2:3 — keep one of them"
    )


def test_numbers_and_words_are_what_people_mean():
    config = loads(
        "dark_capture: {min_exposure: 1e-3, max_exposure: 1E2, science_exposure_time: 007}\n"
        "flat_capture: {filters: [No, y, on, 1e-3, 007, 5, 1.50, 0x10], min_exposure: .5}\n"
        "master_frames: {quality_control: on, create_master_bias: No, create_master_darks: Off}\n"
        "filter_wheel: {opaque: Dark}\ncamera: {alpaca: {readout_mode: 3, camera_name: 600}}\n",
        HERE,
    ).config
    assert (config.dark_capture.min_exposure, config.dark_capture.max_exposure) == (0.001, 100.0)
    assert config.dark_capture.science_exposure_time == (7.0,)
    assert config.flat_capture.filters == ("No", "y", "on", "1e-3", "007", "5", "1.50", "0x10")
    assert config.master_frames.quality_control is True
    assert config.master_frames.create_master_bias is config.master_frames.create_master_darks is False
    assert config.filter_wheel is not None
    assert config.filter_wheel.opaque == ("Dark",)
    assert (config.camera.active.readout_mode, config.camera.active.camera_name) == (3, "600")


@pytest.mark.parametrize(
    ("text", "value"),
    [("[60, 300.0]", (60.0, 300.0)), ("60", (60.0,)), ("[60]", (60.0,))],
)
def test_science_time_is_one_or_a_list(text: str, value: tuple[float, ...]):
    loaded = loads(f"dark_capture: {{science_exposure_time: {text}, max_exposure: 600}}", HERE)
    assert loaded.config.dark_capture.science_exposure_time == value


@pytest.mark.parametrize(("text", "bins"), [("2", (2, 2)), ("[2, 2]", (2, 2)), ("null", (1, 1))])
def test_binning_is_one_or_a_pair(text: str, bins: tuple[int, int]):
    assert loads(f"camera: {{alpaca: {{binning: {text}}}}}", HERE).config.camera.active.bin_xy == bins


def test_a_readout_mode_is_a_number_or_a_name():
    section = loads("camera: {alpaca: {readout_mode: High Gain Mode}}", HERE).config.camera.active
    assert section.readout_mode == "High Gain Mode"


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("video: {}\ncamera: {}", "video", "camera"),
        ("cooling: {target_temperature: 0}\ncamera: {cooling: {target_temperature: 0}}", "camera.cooling", "cooling"),
        ("flat_capture: {output_dir: a, output_directory: b}", "flat_capture.output_directory", "output_dir"),
    ],
)
def test_two_spellings_of_one_thing_are_refused(text: str, first: str, second: str):
    line = problem(text)
    assert f": {first}: stands beside `{second}` (observatory.yaml:" in line


def test_a_webcam_is_refused_with_the_reason():
    line = problem("video:\n  camera_type: opencv\n  opencv: {camera_index: 0}\n")
    assert line.startswith("observatory.yaml:2:16: video.camera_type: 'opencv' is a webcam")
    assert line.endswith("allowed: alpaca, ascom, simulator")


def test_a_camera_section_without_type_is_the_one_that_is_there():
    loaded = loads("video: {ascom: {camera_name: QHY600M}}", HERE)
    assert loaded.config.camera.camera_type == "ascom"
    assert any("taken as ascom" in note for note in loaded.notes)


def test_a_section_whose_keys_are_all_commented_out_keeps_its_defaults():
    config = loads("dark_capture:\n  # num_darks: 3\nflat_panel:\nsafety_monitor: null\n", HERE).config
    assert config.dark_capture.num_darks == 40
    assert config.flat_panel is not None
    assert config.safety_monitor is None


def test_cooling_may_be_one_word():
    assert loads("cooling: off", HERE).config.cooling.mode == "off"
    config = loads("cooling: required\ntemperatures: -10", HERE).config
    assert (config.cooling.mode, config.temperatures) == ("required", (-10.0,))


def test_frames_are_never_let_so_far_from_their_set_point_that_their_set_falls_apart():
    widest = Tolerances().set_point_c
    config = loads(f"cooling: {{target_temperature: -10, frame_tolerance: {widest}}}", HERE).config
    assert config.cooling.frame_tolerance == widest
    with pytest.raises(ConfigInvalid, match=r"cooling\.frame_tolerance: found 0\.8 — allowed: .*0\.5"):
        loads("cooling: {target_temperature: -10, frame_tolerance: 0.8}", HERE)


def test_reuse_may_be_one_number_of_hours():
    reuse = loads("reuse: 48", HERE).config.reuse
    assert (reuse.bias_hours, reuse.dark_hours, reuse.flat_hours, reuse.resume_within_hours) == (48, 48, 48, 48)


def test_a_library_serves_for_months_and_hours_that_are_stated_are_obeyed():
    reuse = loads("reuse: {dark_hours: 30}", HERE).config.reuse
    assert (reuse.bias_hours, reuse.dark_hours, reuse.flat_hours) == (90 * 24, 30, None)
    assert loads("reuse:", HERE).config.reuse == Reuse()


def test_ages_for_a_daemon_are_accepted_and_said_to_be_unused():
    loaded = loads("reuse: {serve: {bias_days: 30}, bias_hours: 5}", HERE)
    assert loaded.config.reuse.bias_hours == 5
    assert "reuse.serve: accepted, not used" in loaded.notes


def test_an_option_lies_over_the_file_and_is_checked_like_it():
    over = {"dark_capture.num_darks": ("--num-darks", 5), "flat_capture.count_tolerance": ("--tolerance", 0.05)}
    config = loads("dark_capture: {num_darks: 3, max_exposure: 9}", HERE, overrides=over).config
    assert (config.dark_capture.num_darks, config.dark_capture.max_exposure) == (5, 9.0)
    assert config.flat_capture.count_tolerance == 0.05
    with pytest.raises(ConfigInvalid, match=r"--num-darks: dark_capture.num_darks: found 0 — allowed: a whole number"):
        loads("{}", HERE, overrides={"dark_capture.num_darks": ("--num-darks", 0)})


def test_a_program_hands_over_a_mapping_a_file_or_what_it_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "config_calibration_frames.yaml"
    path.write_text("dark_capture: {num_darks: 7}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for config in (path, str(path), None, load(path), {"dark_capture": {"num_darks": 7}}):
        loaded = as_loaded(config)
        assert loaded.config.dark_capture.num_darks == 7
        assert loaded.root == tmp_path
    with pytest.raises(ConfigInvalid, match=r"config: dark_capture\.num_darks: found 'x'"):
        from_dict({"video": {}, "dark_capture": {"num_darks": "x"}}, path)


def test_relative_folders_start_at_the_file(tmp_path: Path):
    path = tmp_path / "night.yaml"
    assert loads("storage: {root: data/x}", path).root == tmp_path / "data" / "x"
    assert loads("{}", path).root == tmp_path
    assert loads(f"storage: {{root: '{tmp_path / 'else'}'}}", path).root == tmp_path / "else"


def test_header_aliases_say_what_keywords_of_other_programs_stand_for():
    config = loads("header_aliases: {FILTER1: filter, CCDTEMP2: temperature}", HERE).config
    assert config.header_aliases == {"FILTER1": "filter", "CCDTEMP2": "temperature"}
    assert loads("{}", HERE).config.header_aliases == {}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("header_aliases: {FILTER1: filtre}", "header_aliases.FILTER1: found 'filtre'"),
        ("header_aliases:\n  FILTER1: 3", "header_aliases.FILTER1: found 3"),
        ("header_aliases: [FILTER1]", "header_aliases: found"),
    ],
)
def test_an_alias_for_something_that_no_frame_has_is_refused_with_the_names_there_are(text: str, key: str):
    with pytest.raises(ConfigInvalid) as error:
        loads(text, HERE)
    message = str(error.value)
    assert key in message
    assert "kind, filter, exposure, date, night, camera, gain" in message
