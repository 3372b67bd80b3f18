"""What does not go together is said at the key it concerns."""

from pathlib import Path

import pytest

from services.config import loads
from services.errors import ConfigInvalid

HERE = Path("f.yaml")
COOLED = "cooling: {target_temperature: -10}\n"


def problem(text: str) -> str:
    """Return the one line of the error that a text gives."""
    with pytest.raises(ConfigInvalid) as caught:
        loads(text, HERE)
    lines = caught.value.detail.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "dark_capture: {min_exposure: 70}",
            "f.yaml:1:30: dark_capture.min_exposure: found 70 — allowed: below max_exposure (60)",
        ),
        (
            "dark_capture: {science_exposure_time: [5, 120]}",
            "f.yaml:1:43: dark_capture.science_exposure_time[1]: found 120 — allowed: min_exposure to max_exposure",
        ),
        ("dark_capture: {science_exposure_time: 120}", "f.yaml:1:39: dark_capture.science_exposure_time: found 120"),
        ("dark_capture:\n  max_exposure: 2\n", "f.yaml:1:1: dark_capture.science_exposure_time: found 5"),
        ("dark_capture: {science_exposure_time: [5, 5.0]}", "[1]: 5.0 is listed twice"),
        ("flat_capture: {min_exposure: 10}", "flat_capture.min_exposure: found 10 — allowed: below max_exposure (10)"),
        ("flat_capture: {start_exposure: 11}", "found 11 — allowed: min_exposure to max_exposure (0.001 to 10)"),
        ("flat_capture: {window: [5, 1]}", "found [5, 1] — allowed: the smaller number first"),
        ("flat_capture: {window: [20, 30]}", "found [20, 30] — allowed: what overlaps min_exposure to max_exposure"),
        ("flat_capture: {target_count_rate: 0.95}", "count_tolerance: found 0.1 — allowed: less, 0.95 + it would"),
        ("flat_capture: {num_flats: 5, min_flats: 6}", "min_flats: found 6 — allowed: at most num_flats (5)"),
        (
            "flat_capture: {filters: [L, R, L]}\nfilter_wheel: {}",
            "f.yaml:1:32: flat_capture.filters[2]: 'L' is listed twice",
        ),
        ("flat_capture: {output_dir: darks}", "found 'darks' — allowed: a folder apart from dark_capture.output_dir"),
        ("flat_capture: {output_dir: Darks/flats}", "a folder apart from dark_capture.output_dir ('darks')"),
        ("cooling: {mode: required}", "cooling.target_temperature: missing — allowed: °C, or a list in `temperatures`"),
        (
            "cooling: {mode: required, enable_cooling: no, target_temperature: 0}",
            "f.yaml:1:43: cooling.enable_cooling: found false — allowed: true where mode is required",
        ),
        (
            "video: {cooling: {target_temperature: 20, warmup_at_end: on}}",
            "f.yaml:1:9: video.cooling.warmup_final_temp: found 15 — allowed: above the set-point (20)",
        ),
        ("temperatures: [-10]", "temperatures: set-points are listed, but nothing cools"),
        ("temperatures: [0]\ncooling: off", "temperatures: set-points are listed, but nothing cools"),
        (COOLED + "temperatures: [0, 5]", "found -10 — allowed: one of `temperatures` (0, 5), or null"),
        (COOLED + "temperatures: [-10, -10]", "f.yaml:2:21: temperatures[1]: -10.0 is listed twice"),
        (COOLED + "flat_capture: {temperatures: 5}", "flat_capture.temperatures: found 5 — allowed: set-points"),
        (
            "camera: {alpaca: {host: 'http://obs:11111/'}}",
            "camera.alpaca.host: found 'http://obs:11111/' — allowed: a name or an address alone",
        ),
        ("flat_capture: {source: sky}", "flat_capture.source: found 'sky' — it needs a `site` section"),
        ("camera: {alpaca: {binning: [2, 1]}}", "camera.alpaca.binning: found [2, 1] — allowed: the same number"),
        ("darkness: filter:Dark", "found 'filter:Dark' — it needs a `filter_wheel` section"),
        (
            "filter_wheel: {opaque: [Dark]}\nflat_capture: {filters: [L, Dark]}",
            "f.yaml:2:29: flat_capture.filters[1]: found 'Dark' — allowed: a filter that lets light through",
        ),
        (
            "filter_wheel: {}\ndarkness: filter:D\nflat_capture: {filters: D}",
            "f.yaml:3:25: flat_capture.filters: found 'D'",
        ),
        ("safety_monitor: {poll: 10}", "stale_after: found 10 — allowed: longer than poll (10)"),
        ("gains: [26, 56, 26]", "f.yaml:1:17: gains[2]: 26 is listed twice"),
    ],
)
def test_what_does_not_go_together_is_placed(text: str, expected: str):
    assert expected in problem(text)


@pytest.mark.parametrize(
    "text",
    [
        "flat_capture: {num_flats: 5}",  # min_flats' default concerns sky flats only
        "flat_capture: {max_exposure: 0.5}",  # the window's default is a wish
        "cooling: off",
        "cooling: {enable_cooling: false}",
        "cooling: {}\ntemperatures: [-10, 0]\nflat_capture: {temperatures: [0]}",
        "cooling: {target_temperature: 0}\ntemperatures: [-10, 0]",
        "dark_capture: {output_dir: calib/darks}\nflat_capture: {output_dir: calib/flats}",
        "dark_capture: {exposure_factors: [100]}",  # dropped by name when the night is planned
        "dark_capture: {exposure_factors: []}",
        "filter_wheel: {opaque: Dark}\ndarkness: filter:Dark",
        "dark_capture: {min_exposure: 0}",
    ],
)
def test_what_goes_together_is_accepted(text: str):
    loads(text, HERE)


@pytest.mark.parametrize("wheel", ["", "filter_wheel: {enabled: false}\n"])
def test_filters_without_a_wheel_are_refused_where_they_stand(wheel: str):
    told = problem(f"{wheel}flat_capture:\n  filters: [L, Ha]\n")
    assert f":{3 if wheel else 2}:12: flat_capture.filters: found [L, Ha] — it needs " in told
    assert "filter_wheel" in told.partition("it needs")[2]


@pytest.mark.parametrize("text", ["filter_wheel: {}", "camera: {camera_type: simulator}"])
def test_filters_with_a_wheel_are_understood(text: str):
    assert loads(f"{text}\nflat_capture: {{filters: [L]}}", HERE).config.flat_capture.filters == ("L",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("darkness: cover", True),
        ("{}", True),
        ("flat_panel: {enabled: false}", True),
        ("flat_panel: {}", False),
        ("darkness: manual", False),
        ("camera: {camera_type: simulator}", False),
    ],
)
def test_darkness_by_a_cover_that_nobody_closes_is_told(text: str, told: bool):
    assert any(note.startswith("darkness: cover: ") for note in loads(text, HERE).capture_notes) == told


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("master_frames: {flat_dark: model}", ""),
        ("models: off", ""),
        ("{}", ""),
        ("master_frames: {flat_dark: model}\nmodels: off", "models are off"),
        ("master_frames: {flat_dark: model}\nmodels: {kinds: [bias, flat]}", "add dark to `models.kinds`"),
        ("master_frames: {flat_dark: model}\nserve: {after_sets: [masters]}", "add models to `serve.after_sets`"),
        ("master_frames: {flat_dark: model, create_master_bias: false}", "what a master bias lacks"),
        ("models: {max_error: 0.01}", "models.max_error: not used while master_frames.flat_dark: matched"),
        ("models: off\nserve: {after_sets: [masters, models]}", "serve.after_sets: models: not used"),
    ],
)
def test_what_keeps_models_from_being_fitted_or_used_is_a_note(text: str, note: str):
    notes = [each for each in loads(text, HERE).notes if "model" in each]
    assert len(notes) == bool(note)
    assert all(note in each for each in notes)


def test_a_rule_about_a_key_that_is_wrong_by_itself_stays_silent():
    assert "dark_capture.min_exposure: found 'x'" in problem("dark_capture: {min_exposure: x, max_exposure: 20}")
