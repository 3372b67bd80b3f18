"""The programmes of a configuration, and the configuration as one of them sees it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calibration.frames import FrameKind, GroupKey, us
from services.config import loads
from services.config.models import Config
from services.planning.having import age_of
from services.planning.master_settings import MasterSettings
from services.planning.programmes import programmes_of, view
from services.planning.request import DarkTimes
from services.planning.wanted import State, dark_sets, dark_times, flat_sets

TWO = """
dark_capture: {num_darks: 20, num_biases: 50, science_exposure_time: [5, 10], exposure_factors: [1, 2]}
flat_capture: {num_flats: 12, filters: [L, R]}
camera: {simulator: {gain: 1, offset: 2, readout_mode: Fast, binning: 2}}
cooling: {target_temperature: 0}
programmes:
  - name: broadband
    gain: 26
    offset: 30
    temperatures: [-10.0, -20.0]
    bias: {frames: 100, max_age_days: 80}
    darks: {exposures: [60, 120, 300], frames: 30, max_age_days: 61}
    flats: {filters: [G, B], frames: 8, max_age_days: 8, source: panel}
  - {name: narrowband, gain: 56, binning: 1, resume_within: 72, darks: {exposures: 600}, flats: {filters: Ha}}
  - name: biases
    bias:
"""


def config_of(text: str) -> Config:
    return loads(text, Path("o.yaml")).config


def sets_of(config: Config, flat_times_s: tuple[float, ...] = ()) -> dict[tuple[str, float], int]:
    """Count the frames wanted of each bias, dark and flat, for a state with light."""
    state = State(temperature_c=None, gain=None, flats=True, config=config)
    times = dark_times(config, map(us, flat_times_s))
    sets = dark_sets(config, state, times, DarkTimes.ALL, {})
    found: dict[tuple[str, Any], int] = {
        (each.kind.lower(), (each.exposure_us or 0) / 1e6): each.count for each in sets
    }
    flats = flat_sets(config, state, config.flat_capture.filters or (None,))
    return found | {("flat", each.filter): each.count for each in flats}


def test_a_view_has_the_programmes_camera_exposures_filters_and_counts() -> None:
    config = config_of(TWO)
    broadband, narrowband, biases = (view(config, each) for each in programmes_of(config))
    assert sets_of(broadband) == {
        ("bias", 0.001): 100, ("dark", 60): 30, ("dark", 120): 30, ("dark", 300): 30,
        ("flat", "G"): 8, ("flat", "B"): 8,
    }  # fmt: skip
    assert sets_of(narrowband, (2.0,)) == {("dark", 600): 20, ("dark", 2): 20, ("flat", "Ha"): 12}
    assert sets_of(biases) == {("bias", 0.001): 50}
    active = broadband.camera.active
    assert (active.gain, active.offset, active.readout_mode, active.bin_xy) == (26, 30, "Fast", (2, 2))
    active = narrowband.camera.active
    assert (active.gain, active.offset, active.readout_mode, active.bin_xy) == (56, 2, "Fast", (1, 1))
    assert broadband.temperatures == (-10, -20)
    assert not any(each.programmes or each.gains for each in (broadband, narrowband, biases))


def test_ages_are_the_programmes_else_those_stated_else_those_of_a_library() -> None:
    config = config_of(TWO + "reuse: {dark_hours: 30}\n")
    broadband, narrowband, _ = (view(config, each).reuse for each in programmes_of(config))
    days = [[age_of(kind, reuse).total_seconds() / 86_400 for kind in FrameKind] for reuse in (broadband, narrowband)]
    assert dict(zip(FrameKind, days[0], strict=True))[FrameKind.BIAS] == 80
    assert [age_of(kind, broadband).days for kind in (FrameKind.DARK, FrameKind.FLAT)] == [61, 8]
    assert [age_of(kind, narrowband).total_seconds() / 3600 for kind in (FrameKind.DARK, FrameKind.FLAT)] == [30, 168]
    assert (broadband.resume_within_hours, narrowband.resume_within_hours) == (18, 72)


@pytest.mark.parametrize("stated", ["", "reuse: {resume_within_hours: 18}", "reuse: 48"])
def test_hours_of_the_file_do_not_say_how_long_the_daemon_continues_a_set(stated: str) -> None:
    config = config_of(f"{TWO}{stated}\n")
    own = ["resume_within_hours" in view(config, each).reuse.model_fields_set for each in config.programmes]
    assert own == [False, True, False]


def test_without_programmes_there_is_one_that_wants_what_the_file_says() -> None:
    config = config_of(TWO[: TWO.index("programmes:")])
    (default,) = programmes_of(config)
    assert default.name == "default"
    seen = view(config, default)
    assert sets_of(seen) == sets_of(config)
    assert sets_of(seen)[("bias", 0.001)] == 50
    assert seen.camera == config.camera
    assert age_of(FrameKind.FLAT, config.reuse).total_seconds() == 18 * 3600
    assert age_of(FrameKind.FLAT, seen.reuse).days == 7


def test_each_gain_of_the_file_is_a_programme_of_its_own() -> None:
    config = config_of("gains: [26, High]")
    assert [(each.name, view(config, each).camera.active.gain) for each in programmes_of(config)] == [
        ("default gain 26", 26),
        ("default gain High", "High"),
    ]


def test_an_age_in_hours_that_a_file_states_holds_for_the_default_programme_too() -> None:
    config = config_of("reuse: {flat_hours: 40}")
    assert age_of(FrameKind.FLAT, view(config, *programmes_of(config)).reuse).total_seconds() == 40 * 3600


@pytest.mark.parametrize("exposure_s", [0.001, 60.0])
def test_a_bias_that_is_also_a_dark_has_the_frames_that_both_want(exposure_s: float) -> None:
    text = f"dark_capture: {{num_darks: 20, num_biases: 10, science_exposure_time: {exposure_s}, exposure_factors: 1}}"
    found = sets_of(config_of(text))
    assert found["bias", 0.001] == (20 if exposure_s == 0.001 else 10)
    config = config_of(f"programmes: [{{name: a, darks: {{exposures: {exposure_s}}}}}]")
    assert [k for k in sets_of(view(config, *config.programmes)) if k[0] != "flat"] == [("dark", exposure_s)]


def test_a_camera_without_a_cooler_takes_what_comes() -> None:
    config = config_of("programmes: [{name: a, temperatures: as_they_come, darks: {exposures: [5]}}]")
    assert view(config, *config.programmes).temperatures == ()


@pytest.mark.parametrize(
    ("kind", "gain", "exposure_s", "filter_name", "frames"),
    [
        (FrameKind.BIAS, 26, 0.001, None, 100),
        (FrameKind.BIAS, 56, 0.001, None, 50),  # no programme wants any: as dark_capture says
        (FrameKind.DARK, 26, 300.0, None, 30),
        (FrameKind.DARK, 56, 600.0, None, 20),
        (FrameKind.DARK, 26, 2.0, None, 30),  # of a flat's time, which no programme names
        (FrameKind.FLAT, 26, None, "G", 8),
        (FrameKind.FLAT, 56, None, "Ha", 12),
    ],
)
def test_a_set_is_complete_with_as_many_frames_as_its_programme_wants(
    kind: FrameKind, gain: int, exposure_s: float | None, filter_name: str | None, frames: int
) -> None:
    settings = MasterSettings.of(config_of(TWO))
    exposure_us = None if exposure_s is None else us(exposure_s)
    flat, broad = kind is FrameKind.FLAT, gain == 26
    key = GroupKey(
        kind=kind, camera="c", shape=(4, 4), binning=(2, 2) if broad else (1, 1), origin=(0, 0), gain=gain,
        offset=30 if broad else 2, readout_mode="Fast", exposure_us=exposure_us, filter=filter_name,
        source="panel" if flat else None, temperature_c=None if flat else -10.0 if broad else 0.0,
    )  # fmt: skip
    assert settings.wanted(kind, key) == frames
    if kind is FrameKind.BIAS:  # a set of biases is a dark of their time, too, and no less complete as that
        assert settings.wanted(kind, replace(key, kind=FrameKind.DARK)) == frames
    assert settings.least(kind, None, key) == 5
    assert settings.name_gain


def test_a_dark_of_one_temperature_is_not_counted_by_what_another_programme_wants_at_another() -> None:
    config = config_of(
        "cooling: {target_temperature: 0}\n"
        "programmes: [{name: a, temperatures: [5, 0], darks: {exposures: 2, frames: 3}},"
        " {name: b, temperatures: 0, darks: {exposures: 2, frames: 5}}, {name: c, temperatures: 5, binning: 2,"
        " darks: {exposures: 2, frames: 9}}]"
    )
    settings = MasterSettings.of(config)
    wanted = {
        (celsius, binning): settings.wanted(
            FrameKind.DARK,
            GroupKey(
                kind=FrameKind.DARK, camera="c", shape=(4, 4), binning=(binning, binning), origin=(0, 0), gain=None,
                offset=None, readout_mode=None, exposure_us=us(2), temperature_c=celsius,
            ),
        )
        for celsius, binning in ((5.0, 1), (0.0, 1), (5.0, 2))
    }  # fmt: skip
    assert wanted == {(5.0, 1): 3, (0.0, 1): 5, (5.0, 2): 9}


def test_of_two_programmes_that_want_one_dark_the_larger_number_counts() -> None:
    config = config_of("programmes: [{name: a, darks: {exposures: 5, frames: 3}}, {name: b, darks: {exposures: 5}}]")
    key = GroupKey(
        kind=FrameKind.DARK, camera="c", shape=(4, 4), binning=(1, 1), origin=(0, 0), gain=None, offset=None,
        readout_mode=None, exposure_us=us(5),
    )  # fmt: skip
    settings = MasterSettings.of(config)
    assert (settings.wanted(FrameKind.DARK, key), settings.wanted(FrameKind.DARK)) == (40, 40)
    assert not settings.name_gain
