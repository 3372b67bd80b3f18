"""The night as data: which sets, in which order, and what they cost."""

from calibration.frames import FrameKind
from calibration.plans.dark import dark_exposures
from calibration.plans.sequence import Costs, WantedSet, estimate, night

S = 1_000_000
TIMES = dark_exposures(1000, [2_239_000], [5 * S], [0.5, 1.0, 2.0], 60 * S).times


def test_a_simple_night_goes_bias_flats_flat_darks_science_darks_factors() -> None:
    sets = night(filters=("L", "R"), num_flats=40, dark_times=TIMES, num_darks=30)
    assert [(w.kind, w.filter, w.exposure_us, w.count) for w in sets] == [
        (FrameKind.BIAS, None, 1000, 30),
        (FrameKind.FLAT, "L", None, 40),
        (FrameKind.FLAT, "R", None, 40),
        (FrameKind.DARK, None, 2_239_000, 30),
        (FrameKind.DARK, None, 5 * S, 30),
        (FrameKind.DARK, None, 2_500_000, 30),
        (FrameKind.DARK, None, 10 * S, 30),
    ]
    assert [w.why for w in sets][-4:] == [("flat",), ("science",), ("factor",), ("factor",)]


def test_temperature_changes_least_then_gain_and_flats_are_taken_at_the_first_temperature() -> None:
    sets = night(
        temperatures=(-10.0, -20.0), gains=(100, 0), filters=("L",), num_flats=5, dark_times=TIMES[:1], num_darks=5
    )
    assert [(w.set_temp_c, w.gain, w.kind) for w in sets] == [
        (-10.0, 100, FrameKind.BIAS),
        (-10.0, 100, FrameKind.FLAT),
        (-10.0, 0, FrameKind.BIAS),
        (-10.0, 0, FrameKind.FLAT),
        (-20.0, 100, FrameKind.BIAS),
        (-20.0, 0, FrameKind.BIAS),
    ]


def test_flats_at_other_temperatures_when_asked_for() -> None:
    sets = night(
        temperatures=(-10.0,),
        flat_temperatures=(-10.0, 0.0),
        filters=("L",),
        num_flats=5,
        dark_times=TIMES[:1],
        num_darks=5,
    )
    assert [(w.set_temp_c, w.kind) for w in sets] == [
        (-10.0, FrameKind.BIAS),
        (-10.0, FrameKind.FLAT),
        (0.0, FrameKind.FLAT),
    ]


def test_a_night_without_wheel_or_cooler() -> None:
    sets = night(filters=(None,), num_flats=5, dark_times=TIMES[:1], num_darks=5)
    assert [(w.kind, w.filter, w.gain, w.set_temp_c) for w in sets] == [
        (FrameKind.BIAS, None, None, None),
        (FrameKind.FLAT, None, None, None),
    ]
    assert night() == ()


def test_the_estimate_counts_frames_time_and_space() -> None:
    sets = (
        WantedSet(kind=FrameKind.DARK, count=10, why=("science",), exposure_us=5 * S, set_temp_c=-10.0),
        WantedSet(kind=FrameKind.FLAT, count=20, why=("flat",), filter="L", set_temp_c=-10.0),
    )
    costs = Costs(frame_bytes=1000, frame_s=1.0, flat_exposure_s=2.0, flat_set_s=30.0, set_s=4.0, temperature_s=600.0)
    cost = estimate(sets, costs)
    assert (cost.frames, cost.bytes) == (30, 30_000)
    assert cost.seconds == 10 * 6 + 4 + 20 * 3 + 30 + 600
