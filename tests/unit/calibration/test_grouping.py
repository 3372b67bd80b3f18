"""Groups: what must be shared, and that the order of files never matters."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.frames import FrameHeader, FrameKind
from calibration.grouping import (
    cooled_to,
    group,
    group_key,
    night_label,
    own_temperature,
    same_exposure,
    temperature_clusters,
)


def dark(**fields):
    defaults = {
        "kind": FrameKind.DARK,
        "shape": (10, 20),
        "exposure_us": 5_000_000,
        "camera_id": "abc",
        "gain": 100,
        "offset": 30,
        "set_temp_c": -10.0,
        "ccd_temp_c": -10.1,
        "set_id": "s1",
    }
    return FrameHeader(**(defaults | fields))


def flat(**fields):
    return dark(
        **(
            {"kind": FrameKind.FLAT, "filter": "L", "source": "panel", "date_obs": datetime(2026, 1, 2, 3, tzinfo=UTC)}
            | fields
        )
    )


def groups(headers):
    return group(headers, lambda h: h)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": FrameKind.BIAS},
        {"shape": (10, 21)},
        {"exposure_us": 5_000_001},
        {"camera_id": "abd"},
        {"simulated": True},
        {"gain": 101},
        {"gain": None},
        {"offset": 0},
        {"readout_mode": "HDR"},
        {"bin_x": 2},
        {"origin_y": 4},
        {"row_order": "BOTTOM-UP"},
        {"set_temp_c": -5.0, "ccd_temp_c": -5.0},
        {"set_temp_c": None, "ccd_temp_c": None},
    ],
)
def test_darks_that_differ_are_never_mixed(other):
    assert len(groups([dark(), dark(**other)])) == 2


@pytest.mark.parametrize(
    "other", [{"filter": "R"}, {"night": "2026-01-05"}, {"ccd_temp_c": -9.7}, {"temp_end_c": 3.0}, {"set_id": "s2"}]
)
def test_filter_night_and_small_drifts_do_not_split_darks(other):
    assert len(groups([dark(), dark(**other)])) == 1


@pytest.mark.parametrize(
    "other",
    [{"filter": "R"}, {"filter": None}, {"night": "2026-01-05"}, {"source": "sky"}, {"rotator_angle_deg": 90.0}],
)
def test_flats_that_differ_are_never_mixed(other):
    assert len(groups([flat(), flat(**other)])) == 2


def test_flats_of_any_exposure_and_temperature_are_one_group():
    (key,) = groups([flat(), flat(exposure_us=7_000_000), flat(ccd_temp_c=3.0)])
    assert (key.exposure_us, key.temperature_c, key.filter, key.night) == (None, None, "L", "2026-01-01")


def test_camera_name_stands_in_for_a_missing_id():
    assert group_key(dark(camera_id=None, instrument="QHY600M")).camera == "QHY600M"
    assert group_key(dark(simulated=True)).camera == "abc|simulated"


def test_cooler_that_is_off_does_not_name_the_temperature():
    header = dark(set_temp_c=0.0, ccd_temp_c=18.34)
    assert cooled_to(header) is None
    assert own_temperature(header) == 18.3
    assert own_temperature(dark(ccd_temp_c=None)) == -10.0
    assert own_temperature(dark(set_temp_c=None, ccd_temp_c=None)) is None


def test_reading_quantised_at_four_tenths_of_a_degree_does_not_split_a_set():
    headers = [dark(set_temp_c=-5.0, ccd_temp_c=t) for t in (-4.818, -5.232, -4.818)]
    assert len(groups(headers)) == 1


def test_half_a_degree_from_the_set_point_is_still_cooled_to_it():
    assert cooled_to(dark(ccd_temp_c=-9.5)) == -10.0
    assert cooled_to(dark(ccd_temp_c=-9.4)) is None


@settings(deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=30), st.randoms())
def test_temperature_clusters_do_not_depend_on_the_order(temperatures, rng):
    labels = dict(zip(temperatures, temperature_clusters(temperatures), strict=True))
    shuffled = list(temperatures)
    rng.shuffle(shuffled)
    assert dict(zip(shuffled, temperature_clusters(shuffled), strict=True)) == labels
    for label in set(labels.values()):
        members = [t for t, found in labels.items() if found == label]
        assert max(members) - min(members) <= 1.0 + 1e-9
        assert -1e-9 <= label - round(min(members), 1) <= 0.1 + 1e-9
    assert len(set(labels.values())) <= len(greedy(temperatures))


def greedy(temperatures):
    """Return the starts of as few clusters as there can be."""
    starts = []
    for t in sorted(temperatures):
        if not starts or t - starts[-1] > 1.0 + 1e-9:
            starts.append(t)
    return starts


@pytest.mark.parametrize(
    ("clusters", "labels"),
    [
        (([20.0], [20.9, 21.0, 21.1]), [20.0, 20.9]),
        (([16.0, 16.1], [16.9, 17.0, 17.3]), [16.0, 16.9]),
        (([-3.2, -2.9, -2.8], [-2.0, -1.9, -1.4, -1.1]), [-3.2, -2.0]),
        (([5.0, 5.4, 6.0],), [5.0]),
        (([5.0, 5.5, 6.0], [6.6], [7.7, 8.0]), [5.0, 6.6, 7.7]),
    ],
)
def test_clusters_of_temperatures_are_cut_where_the_data_have_their_gaps(clusters, labels):
    temperatures = [t for cluster in clusters for t in cluster]
    wanted = [label for label, cluster in zip(labels, clusters, strict=True) for _ in cluster]
    assert temperature_clusters(temperatures) == wanted


def test_a_camera_that_warms_up_evenly_gives_narrow_clusters_and_each_has_its_own_name():
    temperatures = [round(16 + 0.3 * i, 1) for i in range(20)]
    assert temperature_clusters(temperatures) == [t for t in (16.0, 17.2, 18.4, 19.6, 20.8) for _ in range(4)]
    dense = [20.0, *(20.05 + 0.01 * i for i in range(100))]
    assert len(set(temperature_clusters(dense))) == 2


def angles(*degrees):
    return [
        sorted(h.rotator_angle_deg for h in members)
        for members in groups([flat(rotator_angle_deg=each) for each in degrees]).values()
    ]


def test_the_jitter_of_a_rotator_splits_nothing_around_the_circle():
    assert angles(359.995, 359.999, 0.004, 0.0067) == [[0.004, 0.0067, 359.995, 359.999]]
    assert angles(90.0, 90.4, 90.9) == [[90.0, 90.4, 90.9]]
    assert sorted(angles(-0.2, 0.3, 89.8, 90.1)) == [[-0.2, 0.3], [89.8, 90.1]]
    assert len(angles(0.0, 0.9, 1.8, 2.7)) == 2, "small steps do not chain"
    assert len(angles(90.0, 270.0)) == 2


@given(st.lists(st.floats(-720, 720), min_size=1, max_size=12), st.floats(0, 360))
def test_groups_of_angles_are_narrow_and_no_matter_where_zero_is(degrees, turn):
    sizes = sorted(len(each) for each in angles(*(round(d, 3) for d in degrees)))
    turned = sorted(len(each) for each in angles(*(round(d + round(turn, 3), 3) for d in degrees)))
    assert sum(sizes) == sum(turned) == len(degrees)


def test_temperatures_do_not_chain():
    assert temperature_clusters([20.0, 20.9, 21.8, 22.7]) == [20.0, 20.0, 21.8, 21.8]
    assert temperature_clusters([20.0, 21.0]) == [20.0, 20.0]


def test_uncooled_biases_and_darks_share_their_clusters():
    headers = [
        dark(kind=kind, set_temp_c=None, ccd_temp_c=t)
        for kind in (FrameKind.BIAS, FrameKind.DARK)
        for t in (20.3, 21.2)
    ]
    assert {key.temperature_c for key in groups(headers)} == {20.3}


@settings(deadline=None)
@given(st.randoms())
def test_groups_do_not_depend_on_the_order_of_files(rng):
    headers = [
        dark(exposure_us=e, set_temp_c=None, ccd_temp_c=t, set_id=None)
        for e in (999_800, 1_000_000, 1_000_300, 2_000_000)
        for t in (19.8, 20.4, 21.1, 25.0)
    ]
    expected = {key: sorted(map(repr, members)) for key, members in groups(headers).items()}
    rng.shuffle(headers)
    found = groups(headers)
    assert {key: sorted(map(repr, members)) for key, members in found.items()} == expected
    assert list(found) == list(expected)


def test_foreign_exposures_within_a_thousandth_are_one_group_named_by_the_most_frequent():
    headers = [dark(exposure_us=e, set_id=None) for e in (1_000_000, 1_000_300, 1_000_300, 1_100_000)]
    assert sorted(key.exposure_us for key in groups(headers)) == [1_000_300, 1_100_000]


def test_short_foreign_exposures_are_compared_relatively_too():
    headers = [dark(exposure_us=e, set_id=None) for e in (25, 26, 32, 100, 500, 10_000, 10_300)]
    assert sorted(key.exposure_us for key in groups(headers)) == [25, 32, 100, 500, 10_000, 10_300]


def test_own_exposures_are_exact():
    assert len(groups([dark(exposure_us=10_000), dark(exposure_us=10_001)])) == 2
    assert not same_exposure(10_000, 10_001, exact=True)
    assert same_exposure(60_000_000, 60_050_000, exact=False)
    assert not same_exposure(60_000_000, 60_070_000, exact=False)


def test_missing_exposure_is_a_group_of_its_own():
    assert len(groups([dark(exposure_us=None, set_id=None), dark(exposure_us=0, set_id=None)])) == 2


@pytest.mark.parametrize(
    ("at", "longitude", "night"),
    [
        (datetime(2026, 1, 1, 12, 0, tzinfo=UTC), None, "2026-01-01"),
        (datetime(2026, 1, 1, 11, 59, 59, tzinfo=UTC), None, "2025-12-31"),
        (datetime(2026, 1, 2, 3, 0, tzinfo=UTC), 0.0, "2026-01-01"),
        (datetime(2026, 1, 1, 17, 0, tzinfo=UTC), -70.0, "2026-01-01"),
        (datetime(2026, 1, 1, 16, 30, tzinfo=UTC), -70.0, "2025-12-31"),
        (datetime(2026, 1, 1, 3, 0, tzinfo=UTC), 150.0, "2026-01-01"),
        (datetime(2026, 1, 1, 1, 30, tzinfo=UTC), 150.0, "2025-12-31"),
    ],
)
def test_night_runs_from_noon_to_noon_of_local_mean_time(at, longitude, night):
    assert night_label(at, longitude) == night
    assert night_label(at.astimezone(tz=None), longitude) == night


def test_a_whole_night_has_one_label():
    start = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    labels = {night_label(start + timedelta(minutes=m), 15.0) for m in range(-60, 23 * 60 - 1)}
    assert labels == {"2026-06-01"}


def test_shuffled_with_a_plain_generator():
    headers = [dark(gain=g, exposure_us=e) for g in (None, 0, 100) for e in (1000, 2000)]
    shuffled = list(headers)
    random.Random(3).shuffle(shuffled)
    assert list(groups(shuffled)) == list(groups(headers))
    assert replace(headers[0], gain=1) not in headers
