"""What is there already: which catalogued set serves a wanted one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from calibration.frames import FrameKind, GroupKey
from services.catalogue.rows import Origin, SetRow
from services.config.models import Reuse
from services.planning.having import Requirement, Standing, having

NOW = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)


def a_set(kind: FrameKind = FrameKind.DARK, *, hours: float = 1.0, count: int = 5, **fields: object) -> SetRow:
    """Return a set taken some hours ago."""
    at = NOW - timedelta(hours=hours)
    key = GroupKey(
        kind=kind,
        camera="cam",
        shape=(10, 20),
        binning=(1, 1),
        origin=(0, 0),
        gain=fields.pop("gain", 10),
        offset=0,
        readout_mode=None,
        exposure_us=None if kind is FrameKind.FLAT else 1_000_000,
        temperature_c=fields.get("set_temp_c") if kind is not FrameKind.FLAT else None,
        filter="L" if kind is FrameKind.FLAT else None,
    )
    values = {
        "set_id": f"s{hours}",
        "key": key,
        "count": count,
        "oldest": at,
        "newest": at,
        "exposure_us": 1_000_000,
        "panel_brightness": None,
        "filter": key.filter,
        "level_adu": 500.0,
        "mean_level_adu": 500.0,
        "set_temp_c": None,
        "ccd_temp_c": None,
        "night": "2026-01-01",
        "origin": Origin.OWN,
        "next_frame_no": count + 1,
    }
    return SetRow(**{**values, **fields})


DARK = Requirement(kind=FrameKind.DARK, camera="cam", gain=10, exposure_us=1_000_000)


def standing(match: Requirement, *sets: SetRow, count: int = 5) -> Standing:
    return having(match, count, sets, now=NOW, reuse=Reuse()).standing


def test_flats_that_were_warmer_than_their_set_point_serve_only_where_that_cannot_be_had():
    wanted = Requirement(kind=FrameKind.FLAT, filter="L", marked=False)
    held = a_set(FrameKind.FLAT, set_temp_c=-10.0, ccd_temp_c=-10.0, warmest_c=-9.4)
    warm = a_set(FrameKind.FLAT, set_temp_c=-10.0, ccd_temp_c=-10.0, warmest_c=16.0)
    assert standing(wanted, held) is Standing.COMPLETE
    assert standing(wanted, a_set(FrameKind.FLAT, set_temp_c=None, warmest_c=16.0)) is Standing.COMPLETE
    assert standing(replace(wanted, marked=True), warm) is Standing.COMPLETE
    assert standing(replace(wanted, marked=True), replace(warm, count=3)) is Standing.RESUMED
    found = having(wanted, 5, [warm, held], now=NOW, reuse=Reuse())
    assert found.row is held
    found = having(wanted, 5, [warm], now=NOW, reuse=Reuse())
    assert (found.standing, found.row) == (Standing.NEW, None)
    assert found.why == "taken anew: those there are of up to 16.0 °C, and -10 °C is wanted"
    assert standing(wanted, replace(warm, count=3)) is Standing.NEW  # nor is it continued


def test_a_complete_set_serves_until_its_oldest_frame_is_too_old():
    for kind, days in ((FrameKind.BIAS, 90), (FrameKind.DARK, 60), (FrameKind.FLAT, 0.75)):
        wanted = Requirement(kind=kind, camera="cam", gain=10)
        assert standing(wanted, a_set(kind, hours=24 * days - 0.1)) is Standing.COMPLETE
        assert standing(wanted, a_set(kind, hours=24 * days + 0.1)) is Standing.NEW


def test_hours_that_a_configuration_states_are_obeyed():
    reuse = Reuse(dark_hours=30.0)
    assert having(DARK, 5, [a_set(hours=29.9)], now=NOW, reuse=reuse).standing is Standing.COMPLETE
    assert having(DARK, 5, [a_set(hours=30.1)], now=NOW, reuse=reuse).standing is Standing.NEW


def test_an_incomplete_set_is_continued_the_fullest_first():
    begun = having(DARK, 5, [a_set(hours=1, count=2), a_set(hours=2, count=4)], now=NOW, reuse=Reuse())
    assert begun.standing is Standing.RESUMED
    assert begun.count == 4


def test_an_old_set_of_which_frames_were_rejected_serves_as_long_as_half_of_them_are_left():
    old, young = 24 * 30.0, 5.0
    for left, bad, hours, expected in (
        (4, 1, old, Standing.COMPLETE),
        (3, 2, old, Standing.COMPLETE),
        (2, 3, old, Standing.NEW),
        (4, 0, old, Standing.NEW),
        (4, 1, young, Standing.RESUMED),
        (4, 1, 24 * 61.0, Standing.NEW),
    ):
        assert standing(DARK, a_set(count=left, rejected=bad, hours=hours)) is expected, (left, bad, hours)


def test_other_settings_and_foreign_sets_do_not_serve():
    assert standing(DARK, a_set(gain=11)) is Standing.NEW
    assert standing(DARK, replace(a_set(), origin=Origin.FOREIGN)) is Standing.NEW


def test_none_in_the_match_is_anything():
    assert standing(Requirement(kind=FrameKind.DARK), a_set(gain=77)) is Standing.COMPLETE


def test_warm_darks_of_an_uncooled_camera_do_not_serve_a_cold_night():
    """Darks of 29 °C were "there already" at 6 °C, and a begun set of them was filled up with cold frames."""
    cold = replace(DARK, ccd_temp_c=6.0)
    assert standing(cold, a_set(ccd_temp_c=29.0)) is Standing.NEW
    assert standing(cold, a_set(ccd_temp_c=29.0, count=2)) is Standing.NEW
    assert standing(cold, a_set(ccd_temp_c=6.8)) is Standing.COMPLETE


def test_darks_taken_anew_because_the_sensor_is_warmer_or_colder_now_say_so():
    """A complete set of biases was taken a second time, and nobody was told that the dome had cooled by a degree."""
    cold, sets = replace(DARK, ccd_temp_c=16.4), (a_set(ccd_temp_c=25.0, hours=5.0), a_set(ccd_temp_c=17.7))
    anew = having(cold, 5, sets, now=NOW, reuse=Reuse())
    assert anew.why == "taken anew: those there are of 17.7 °C, the sensor is at 16.4 °C"
    for match, there in (
        (cold, a_set(ccd_temp_c=16.0)),
        (cold, a_set(ccd_temp_c=16.0, count=2)),
        (cold, a_set(ccd_temp_c=17.7, hours=24 * 61.0)),
        (cold, a_set(ccd_temp_c=17.7, gain=11)),
        (DARK, a_set(ccd_temp_c=17.7)),
        (replace(DARK, temperature_c=-10.0, ccd_temp_c=-10.0), a_set(ccd_temp_c=-5.0, set_temp_c=-5.0)),
    ):
        assert not having(match, 5, [there], now=NOW, reuse=Reuse()).why


def test_darks_of_another_set_point_do_not_serve():
    wanted = replace(DARK, temperature_c=-10.0)
    assert standing(wanted, a_set(set_temp_c=-5.0)) is Standing.NEW
    assert standing(wanted, a_set(set_temp_c=-10.0)) is Standing.COMPLETE


def test_flats_of_a_second_temperature_are_taken():
    """With two temperatures for flats the set of the first one served for the second as well."""
    flat = Requirement(kind=FrameKind.FLAT, filter="L")
    taken = a_set(FrameKind.FLAT, set_temp_c=-5.0)
    assert standing(replace(flat, temperature_c=0.0), taken) is Standing.NEW
    assert standing(flat, taken) is Standing.COMPLETE


def test_a_readout_mode_is_the_same_in_any_case() -> None:
    there = a_set()
    there = replace(there, key=replace(there.key, readout_mode="High gain"))
    for named, serves in (("high GAIN ", True), ("High gain", True), ("Low noise", False), (None, True)):
        assert replace(DARK, readout_mode=named).serves(there) is serves
    assert not replace(DARK, readout_mode="High gain").serves(a_set())


def test_a_set_is_continued_only_as_long_as_its_frames_are_of_one_temperature() -> None:
    wanted = replace(DARK, span_c=0.8)
    begun = a_set(count=2, ccd_temp_c=15.0, coldest_c=14.6, warmest_c=15.1)
    for now_c, found in (
        (15.39, Standing.RESUMED),
        (15.41, Standing.NEW),
        (14.31, Standing.RESUMED),
        (14.29, Standing.NEW),
    ):
        assert standing(replace(wanted, ccd_temp_c=now_c), begun) is found, now_c
    assert standing(replace(wanted, ccd_temp_c=15.5), replace(begun, count=5)) is Standing.COMPLETE
