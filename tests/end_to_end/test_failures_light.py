"""Failures 14 to 20 of an unattended night: cooler power, panel, lamp, wheel, light where it should be dark."""

import shutil
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from calibration.frames import FrameKind
from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
from drivers.alpaca.line import Endpoint
from drivers.base import CalibratorStatus, CoverStatus
from drivers.clock import SystemClock
from drivers.simulator.faults import FaultKind
from services.errors import Exit, RunCode
from services.events.records import Event, FrameStored
from services.planning.request import Step
from tests.support.served_night import FRAMES, FRAMES_ONLY, Ended, ServedNight, fault, new_seed, served_night

BIASES = 1 + FRAMES
"""Exposures until the last bias: the first after connecting is thrown away."""
IN_L = BIASES + 18
"""An exposure within the series of flats through L."""
COOLED = {"cooling": {"target_temperature": 0.0}}


pytestmark = pytest.mark.usefixtures("soon_over")


def lost(ended: Ended) -> dict[str, str]:
    """Return the groups that did not end complete, with their codes."""
    return {name: code for name, code in ended.groups().items() if code != "complete"}


def assert_only_lost(ended: Ended, expected: dict[str, str]) -> None:
    """These groups failed with these codes, which reached everybody; the run went on to its end."""
    found = {name: code for name, code in lost(ended).items() if name in expected or not name.startswith("dark ")}
    assert found == expected
    assert ended.exit_code == 1
    assert ended.result.code is None
    for code in set(expected.values()):
        ended.assert_told(code)


def darks_by_time(ended: Ended) -> list[dict[str, Any]]:
    return ended.said("frame.stored", kind="DARK")


def at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


def lit_filters(night: ServedNight) -> set[str | None]:
    """Return what stood in the beam of exposures that saw the lamp: None is a wheel between two positions."""
    return {r.conditions.filter for r in night.observatory.records() if r.conditions.light_e > 1000}


# --- 14: the cooler loses its power ----------------------------------------------------------------------------------


@pytest.mark.parametrize("told_pct", [0.0, 100.0])
def test_14_cooler_without_power_stops_darks_and_marks_flats(tmp_path: Path, told_pct: float) -> None:
    gone = fault(FaultKind.COOLER_POWER_LOSS, after_exposures=BIASES + 5, value=told_pct)
    with served_night(tmp_path, gone, rate=200.0) as night:
        ended = night.run(steps=FRAMES_ONLY, **COOLED)
        flats = night.headers("flat_*")
    failed = lost(ended)
    assert failed
    assert all(name.startswith("dark ") and code == "cooler_lost" for name, code in failed.items())
    assert {name for name in ended.groups() if name.startswith("dark ")} == set(failed)
    assert ended.exit_code == 1
    ended.assert_told("cooler_lost")
    assert len(ended.said("cooling.stalled", code="cooler_lost")) == 1  # tried once, then remembered
    assert len(flats) == 2 * FRAMES
    assert flats[-1]["CCD-TEMP"] > 5.0  # labelled by what it measured
    assert not night.cooler_on


def test_14_flats_that_were_taken_warm_are_taken_anew_when_the_cooler_works_again(tmp_path: Path) -> None:
    gone = fault(FaultKind.COOLER_POWER_LOSS, after_exposures=BIASES + 5, value=100.0)
    with served_night(tmp_path, gone, rate=200.0) as night:
        first = night.run(steps=FRAMES_ONLY, **COOLED)
        still = night.run(
            steps=FRAMES_ONLY, **COOLED
        )  # without power they are not taken every time: the next would be no colder
        night.break_now()
        again = night.run(**COOLED)
        idle = night.run(steps=FRAMES_ONLY, **COOLED)
    assert (first.exit_code, still.exit_code, again.exit_code, idle.exit_code) == (1, 1, 0, 0)
    assert not still.said("frame.stored", kind="FLAT")
    assert len(again.said("frame.stored", kind="FLAT")) == 2 * FRAMES
    assert all("0 °C is wanted" in each["detail"] for each in again.said("group.started", kind="FLAT"))
    assert set(again.groups().values()) == {"complete"}
    assert {each["filter"] for each in again.said("master.built", kind="FLAT")} == {"L", "Ha"}
    assert not idle.said("frame.stored")


def test_14_power_that_comes_back_costs_nothing(tmp_path: Path) -> None:
    away = fault(FaultKind.COOLER_POWER_LOSS, at_s=1300.0, for_s=150.0)
    dark = {"num_darks": 40, "science_exposure_time": 20.0, "flat_exposure_time": 20.0}
    with served_night(tmp_path, away, rate=200.0) as night:
        ended = night.run(steps=(Step.DARKS,), dark_capture=dark, **COOLED)
        assert lost(ended) == {}
        headers = night.headers()
    assert len(headers) == 80
    assert all(abs(h["CCD-TEMP"]) <= 0.5 for h in headers)
    assert ended.exit_code == 0
    assert ended.said("frame.refused")[0]["codes"] == ["temperature_off"]
    assert len(ended.said("cooling.stable")) == 2


# --- 15: panel and cover ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FaultKind.PANEL_NEVER_READY, FaultKind.PANEL_ERROR])
def test_15_panel_that_never_gets_ready_loses_flats_and_no_dark(tmp_path: Path, kind: FaultKind) -> None:
    with served_night(tmp_path, fault(kind)) as night:
        ended = night.run(steps=FRAMES_ONLY)
        assert_only_lost(ended, {"flat L": "panel_not_ready", "flat Ha": "panel_not_ready"})
        assert ended.groups()["bias"] == ended.groups()["dark 2.000"] == "complete"
        assert night.lamp is CalibratorStatus.OFF


def test_15_panel_that_fails_once_is_told_again(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.PANEL_ERROR, count=1)) as night:
        ended = night.run(steps=(Step.FLATS,))
        assert ended.exit_code == 0
        assert len(night.headers("flat_*")) == 2 * FRAMES


def test_15_lamp_that_cannot_be_switched_off_loses_darks_and_no_flat(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.PANEL_STAYS_ON)) as night:
        ended = night.run()
        failed = lost(ended)
        assert failed
        assert all(name.startswith("dark ") and code == "panel_not_ready" for name, code in failed.items())
        assert ended.groups()["flat L"] == ended.groups()["flat Ha"] == "complete"
        assert night.lamp is CalibratorStatus.READY
    assert (ended.exit_code, ended.result.code) == (3, "left_unsafe")
    ended.assert_told("panel_not_ready")
    ended.assert_told("left_unsafe")  # somebody has to switch it off by hand
    assert {m["code"] for m in ended.said("master.refused", kind="FLAT")} == {"no_matching_dark"}


def test_15_panel_found_on_and_cover_found_open_are_off_and_closed_before_darks(tmp_path: Path) -> None:
    with served_night(tmp_path, panel={"on_cover": False}) as night:
        before = AlpacaCoverCalibrator(Endpoint("127.0.0.1", night.server.port), night.observatory.clock)
        before.connect()
        before.open_cover()
        before.calibrator_on(255)
        before.close()
        ended = night.run(steps=(Step.DARKS,))
        assert all(record.conditions.light_e < 1 for record in night.observatory.records())
        headers = night.headers()
    assert ended.exit_code == 0
    assert {(h["PANELLVL"], h["COVER"]) for h in headers} == {(0, "closed")}
    assert len(headers) == 3 * FRAMES  # bias, flats' assumed second, science


def test_15_cover_that_sticks_half_way_loses_what_needs_it(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.COVER_STUCK), panel={"on_cover": False}) as night:
        ended = night.run(steps=FRAMES_ONLY, flat_panel={"cover_for_flats": "open"})
        # the cover was closed for the biases; it stuck when it was opened for the first flat
        assert ended.groups() == {
            "bias": "complete",
            "flat L": "panel_not_ready",
            "flat Ha": "panel_not_ready",
            "dark 2.000": "panel_not_ready",
        }
        assert night.cover is CoverStatus.ERROR
    assert (ended.exit_code, ended.result.code) == (3, "left_unsafe")
    assert "the cover is not closed, it reads error" in ended.result.detail
    ended.assert_told("panel_not_ready")
    ended.assert_told("left_unsafe")


def test_15_cover_that_sticks_once_is_told_again(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.COVER_STUCK, count=1), panel={"on_cover": False}) as night:
        ended = night.run(steps=(Step.FLATS,), flat_panel={"cover_for_flats": "open"})
        assert night.cover is CoverStatus.CLOSED
    assert ended.exit_code == 0


# --- 16: too bright, too dim -----------------------------------------------------------------------------------------


def test_16_too_bright_for_one_filter_loses_that_filter_only(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.LAMP_LEVEL, value=1.5), panel={"max_brightness": 1}) as night:
        ended = night.run(flat_capture={"min_exposure": 0.2})
        assert_only_lost(ended, {"flat L": "too_bright"})
        assert "master_frames" in ended.said("master.built", kind="FLAT", filter="Ha")[0]["path"]
        assert len(night.headers("flat_*")) == FRAMES


def test_16_too_dim_for_one_filter_loses_that_filter_only(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.LAMP_LEVEL, value=0.05)) as night:
        ended = night.run()
        assert_only_lost(ended, {"flat Ha": "too_dim"})
        assert ended.said("master.built", kind="FLAT", filter="L")
        assert night.lamp is CalibratorStatus.OFF


def test_16_lamp_that_dims_between_two_runs_loses_the_darks_that_only_its_flats_needed(tmp_path: Path) -> None:
    settings, seed, at = {"flat_capture": {"filters": ["Ha"]}}, new_seed(), SystemClock().now()
    with served_night(tmp_path, seed=seed, start=at) as night:

        def end_at_the_first_flat(event: Event) -> None:
            if isinstance(event.what, FrameStored) and event.what.kind is FrameKind.FLAT:
                night.wake.after_frame(RunCode.INTERRUPTED)

        assert night.run(hear=end_at_the_first_flat, **settings).exit_code == Exit.INTERRUPTED
    dim = fault(FaultKind.LAMP_LEVEL, value=0.001)
    with served_night(tmp_path, dim, seed=seed, start=at + timedelta(hours=1)) as night:
        ended = night.run(steps=FRAMES_ONLY, **settings)
    assert_only_lost(ended, {"flat Ha": "too_dim"})
    (progress,) = [event for event in ended.said("progress") if event["dropped"]]
    assert [(each["kind"], each["why"]) for each in progress["dropped"]] == [("DARK", ["flat"])]
    assert not [group for group in ended.report["groups"] if group["status"] == "not_reached"]
    assert "not reached" not in ended.result.detail


@pytest.mark.parametrize("level", [30.0, 0.4])
def test_16_brightness_that_can_be_set_is_lowered_or_raised(tmp_path: Path, level: float) -> None:
    with served_night(tmp_path, fault(FaultKind.LAMP_LEVEL, value=level)) as night:
        ended = night.run(steps=(Step.FLATS,))
        assert ended.exit_code == 0
        levels = [h["DATAMED"] for h in night.headers("flat_*")]
    assert len({e["panel_brightness"] for e in ended.said("flat.exposure_adjusted")}) > 1
    assert all(0.9 < level / 33_000 < 1.1 for level in levels)


# --- 17: an unsteady lamp --------------------------------------------------------------------------------------------


def test_17_lamp_that_drifts_is_followed(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.LAMP_DRIFT, value=-0.01), rate=300.0) as night:
        ended = night.run(steps=(Step.FLATS,), flat_capture={"num_flats": 20, "filters": ["L"]})
        assert ended.exit_code == 0
        levels = [h["DATAMED"] for h in night.headers("flat_*")]
    assert all(0.9 < level / 33_000 < 1.1 for level in levels)


def test_17_flickering_lamp_ends_with_its_name_and_loses_no_dark(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.LAMP_FLICKER)) as night:
        ended = night.run(steps=FRAMES_ONLY, flat_capture={"filters": ["L"]})
        assert_only_lost(ended, {"flat L": "unstable_lamp"})
        assert ended.groups()["bias"] == ended.groups()["dark 2.000"] == "complete"
    assert len(ended.said("flat.exposure_adjusted")) <= 10


def test_17_chopped_lamp_gets_longer_exposures_at_less_brightness(tmp_path: Path) -> None:
    panel = {"pwm_hz": 120.0, "warmup": 0.15, "warmup_tau_s": 60.0, "light_e_s": 5e6}
    with served_night(tmp_path, panel=panel) as night:
        ended = night.run(steps=(Step.FLATS,))
        assert ended.exit_code == 0
        assert min(h["EXPTIME"] for h in night.headers("flat_*")) >= 0.2
        assert max(h["PANELLVL"] for h in night.headers("flat_*")) < 255


def test_17_chopped_lamp_of_fixed_brightness_loses_the_filter_that_is_too_quick(tmp_path: Path) -> None:
    with served_night(tmp_path, panel={"pwm_hz": 7.0}) as night:
        ended = night.run(steps=FRAMES_ONLY, flat_panel={"brightness": 128})
        assert_only_lost(ended, {"flat L": "unstable_lamp"})
        assert ended.groups()["flat Ha"] == "complete"


# --- 18: the wheel ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "wheel"),
    [((fault(FaultKind.SLOW_WHEEL, value=60.0),), {}), ((), {"homing_s": 40.0}), ((), {"interface_version": 2})],
)
def test_18_slow_or_homing_wheel_is_waited_for(tmp_path: Path, faults: tuple[Any, ...], wheel: dict[str, Any]) -> None:
    with served_night(tmp_path, *faults, wheel=wheel) as night:
        ended = night.run(steps=(Step.FLATS,))
        assert ended.exit_code == 0
        assert lit_filters(night) == {"L", "Ha"}  # never between two positions
        assert {h["FILTER"] for h in night.headers("flat_*")} == {"L", "Ha"}


def test_18_wheel_that_never_arrives_loses_its_filter_only(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.SLOW_WHEEL, value=6000.0, count=2)) as night:
        ended = night.run(steps=FRAMES_ONLY, flat_capture={"filters": ["L", "Ha"]})
        assert_only_lost(ended, {"flat Ha": "filter_failed"})
        assert lit_filters(night) == {"L"}
        assert "still moves" in ended.said("group.finished", filter="Ha")[0]["detail"]


def test_18_wheel_that_ends_beside_its_filter_is_sent_once_more(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.WRONG_POSITION, count=1)) as night:
        ended = night.run(steps=(Step.FLATS,))
        assert ended.exit_code == 0
        assert lit_filters(night) == {"L", "Ha"}
        assert ended.said("warning.raised", code="foreign_client") == [], "our own order brought it there"


def test_18_wheel_that_goes_on_missing_loses_its_filter_only(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.WRONG_POSITION, count=2)) as night:
        ended = night.run(steps=(Step.FLATS,), flat_capture={"filters": ["L", "Ha", "R"]})
        assert_only_lost(ended, {"flat Ha": "filter_failed"})
        assert lit_filters(night) == {"L", "R"}
        assert ended.groups()["flat R"] == "complete"


@pytest.mark.parametrize("position", range(3))
def test_18_wheel_that_slips_is_turned_back_before_the_next_flat(tmp_path: Path, position: int) -> None:
    slips = fault(FaultKind.WHEEL_SLIPS, after_exposures=IN_L - FRAMES + position, count=1, value=2.0)
    with served_night(tmp_path, slips) as night:
        ended = night.run(steps=(Step.FLATS,))
        assert ended.exit_code == 0
        assert lit_filters(night) == {"L", "Ha"}
    assert [e["detail"] for e in ended.said("warning.raised", code="foreign_client")] == [
        "the filter wheel was left at L and stands at G: it slipped, or was turned"
    ]
    ended.assert_told("foreign_client")
    assert ended.said("warning.raised", code="filter_failed") == []


# --- 19: light on biases and darks -----------------------------------------------------------------------------------


def assert_not_dark(ended: Ended, at_most: int = 3) -> None:
    """Every dark that was begun was given up after so many exposures of light at most, with both codes told."""
    refused = ended.said("frame.refused", kind="DARK")
    failed = {name for name, code in lost(ended).items() if code == "not_dark"}
    assert failed
    for set_id in {e["set_id"] for e in refused}:
        assert 1 <= sum(e["set_id"] == set_id for e in refused) <= at_most
    assert all("light_leak" in e["codes"] for e in refused)
    assert ended.exit_code == 1
    ended.assert_told("light_leak")
    ended.assert_told("not_dark")


@pytest.mark.parametrize("adu_s", [500.0, 20_000.0, 200_000.0])
def test_19_light_from_the_beginning_costs_three_exposures_a_time_and_no_flat(tmp_path: Path, adu_s: float) -> None:
    with served_night(tmp_path, fault(FaultKind.LIGHT_LEAK, after_exposures=IN_L - 18, value=adu_s)) as night:
        ended = night.run(steps=FRAMES_ONLY, flat_capture={"filters": ["Ha"], "min_exposure": 0.01}, **COOLED)
        assert_not_dark(ended)
        assert ended.groups()["bias"] == "complete"
        assert not night.headers("dark_*")
        assert set(lost(ended)) == {name for name in ended.groups() if name.startswith("dark ")}


def test_19_light_that_is_switched_on_ends_the_set_it_falls_on(tmp_path: Path) -> None:
    # bias, then the science dark: its probe and its first frames are dark
    leak = fault(FaultKind.LIGHT_LEAK, after_exposures=BIASES + 4, value=30.0)
    with served_night(tmp_path, leak) as night:
        ended = night.run(steps=(Step.DARKS, Step.MASTERS), dark_capture={"flat_exposure_time": 2.0}, **COOLED)
        assert_not_dark(ended, at_most=6)  # each refusal has one more exposure in flight behind it
        dark = list(night.headers("dark_*"))
    assert 1 <= len(dark) < FRAMES
    assert max(h["DATAMED"] for h in dark) - min(h["DATAMED"] for h in dark) < 5


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a night without any fault, to be copied, and what its observatory was served with."""
    served = {"seed": new_seed(), "start": SystemClock().now()}
    root = tmp_path_factory.mktemp("first") / "night"
    with served_night(root, **served) as night:
        assert night.run(steps=(Step.DARKS, Step.MASTERS), **COOLED).exit_code == 0
    return root, served


@pytest.mark.parametrize(("adu_s", "found"), [(0.0, False), (4.0, True), (40_000.0, True)])
def test_19_small_leak_is_seen_against_the_last_master(
    tmp_path: Path, first_night: tuple[Path, dict[str, Any]], adu_s: float, found: bool
) -> None:
    root, served = first_night
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    leak = fault(FaultKind.LIGHT_LEAK, value=adu_s) if found else fault(FaultKind.UNSAFE, at_s=1e9)
    with served_night(tmp_path, leak, seed=served["seed"], start=served["start"] + timedelta(hours=24)) as night:
        ended = night.run(steps=(Step.DARKS,), **COOLED)
    if not found:
        assert ended.exit_code == 0
        return
    assert_not_dark(ended)
    # a thousandth of a second of bright light shows in the biases, too
    assert ended.groups()["bias"] == ("not_dark" if adu_s > 10_000 else "complete")


@pytest.mark.parametrize("adu_s", [0.0, 8.0])
def test_19_small_leak_of_a_first_night_is_told_as_a_doubt_and_costs_no_frame(tmp_path: Path, adu_s: float) -> None:
    dark = {"science_exposure_time": 4.0, "flat_exposure_time": 1.0}
    leak = fault(FaultKind.LIGHT_LEAK, value=adu_s) if adu_s else fault(FaultKind.UNSAFE, at_s=1e9)
    with served_night(tmp_path, leak) as night:
        ended = night.run(steps=(Step.DARKS, Step.MASTERS), dark_capture=dark, **COOLED)
    assert (ended.exit_code, lost(ended)) == (0, {})
    details = [e["detail"] for e in ended.said("warning.raised", code="uneven_dark")]
    assert len(details) == (1 if adu_s else 0)
    if adu_s:
        assert "ADU brighter on one side than the bias" in details[0]
        ended.assert_told("uneven_dark")


# --- 20: what flats leave in the sensor ------------------------------------------------------------------------------


def test_20_waiting_after_flats_happens_once(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        ended = night.run(steps=FRAMES_ONLY, dark_capture={"persistence_wait": 2000}, **COOLED)
        assert ended.exit_code == 0
    last_flat = at(ended.said("frame.stored", kind="FLAT")[-1])
    darks = darks_by_time(ended)
    assert timedelta(seconds=2000) <= at(darks[0]) - last_flat < timedelta(seconds=3900)
    assert all(b - a < timedelta(seconds=1500) for a, b in pairwise(at(e) for e in darks))


def test_20_frames_are_thrown_away_while_the_glow_of_flats_fades(tmp_path: Path) -> None:
    glowing = {"detector": {"persistence": 0.02, "persistence_tau_s": 150.0}}
    dark, flat = {"persistence_wait": 0, "science_exposure_time": 30.0}, {"filters": ["L"]}
    with served_night(tmp_path, camera=glowing) as night:
        ended = night.run(steps=FRAMES_ONLY, dark_capture=dark, flat_capture=flat, **COOLED)
        assert ended.exit_code == 0
        thrown = sum(seconds == 30.0 for seconds in night.exposures) - FRAMES
    assert thrown > 3  # two that are equal would do for a sensor that does not glow
    levels = [e["level_adu"] for e in darks_by_time(ended) if e["exposure_us"] == 30_000_000]
    assert max(levels) - min(levels) < 4.0


def test_20_glow_that_does_not_fade_is_no_dark(tmp_path: Path) -> None:
    glowing = {"detector": {"persistence": 0.5, "persistence_tau_s": 1500.0}}
    dark = {"persistence_wait": 0, "science_exposure_time": 30.0}
    with served_night(tmp_path, camera=glowing) as night:
        ended = night.run(dark_capture=dark, flat_capture={"filters": ["L"]}, **COOLED)
        first = next(g for g in ended.report["groups"] if g["kind"] == "DARK")
    assert first["code"] == "not_dark"
    assert "flats left behind" in first["detail"]
    assert ended.groups()["flat L"] == "complete"
    assert ended.exit_code == 1
    ended.assert_told("not_dark")
