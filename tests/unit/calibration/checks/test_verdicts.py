"""Each check on records made by hand: what refuses, what doubts, what is left alone."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from calibration.checks import CONTRASTS, PreviousFrame, judge, pedestal_limits
from calibration.errors import FrameCode
from calibration.frames import CaptureRequest, Frame, FrameHeader, FrameKind, FrameResult, FrameStats, Limits, Purpose

SHAPE = (2000, 3000)
PIXELS = np.broadcast_to(np.uint16(0), SHAPE)
STATS = FrameStats(
    level_adu=500.0,
    mean_adu=500.0,
    sigma_adu=5.0,
    min_adu=470.0,
    max_adu=3000.0,
    saturated_fraction=0.0,
    zero_fraction=0.0,
    step_adu=1,
    gradient_adu=0.5,
    mid_at=datetime(2026, 1, 1, tzinfo=UTC),
    pixel_sha256="a",
    region_adu=(500.0,) * 9,
)
FLAT_STATS = replace(STATS, level_adu=30_000.0, sigma_adu=400.0, region_adu=(30_000.0,) * 9)
HEADER = FrameHeader(kind=FrameKind.DARK, shape=SHAPE, exposure_us=10_000_000, ccd_temp_c=-10.0)


def request(kind=FrameKind.DARK, purpose=Purpose.KEEP, **options):
    limits = Limits(**{k: options.pop(k) for k in list(options) if k in Limits.__slots__})
    return CaptureRequest(kind=kind, purpose=purpose, exposure_us=10_000_000, limits=limits, **options)


def flat_request(**options):
    return request(**({"kind": FrameKind.FLAT, "panel_brightness": 100} | options))


def result(stats=STATS, header=HEADER, asked=None):
    return FrameResult(request=asked or request(), header=header, stats=stats)


def verdicts(stats=STATS, *, header=HEADER, asked=None, pixels=PIXELS, **evidence):
    found = judge(Frame(header=header, pixels=pixels), stats, request=asked or request(), **evidence)
    return {FrameCode(v.code): v for v in found}


def codes(*args, **options):
    return {str(code) for code, v in verdicts(*args, **options).items() if v.refuses}


def test_healthy_frame_has_no_verdicts():
    full = {
        "previous": PreviousFrame(stats=replace(STATS, pixel_sha256="b"), difference_sigma_adu=4.9),
        "reference": result(),
        "expected_shape": SHAPE,
        "returned_after_s": 11.0,
    }
    asked = request(pedestal_adu=500, pedestal_tolerance_adu=10, noise_adu=5, noise_tolerance=0.05, set_temp_c=-10.0)
    assert not verdicts(asked=asked, **full)
    assert not verdicts()


def test_another_size_refuses_at_once():
    found = verdicts(replace(STATS, sigma_adu=0.0), expected_shape=(2000, 1500))
    assert set(found) == {FrameCode.SIZE_CHANGED}
    assert found[FrameCode.SIZE_CHANGED].detail == "(2000, 3000) instead of (2000, 1500)"


@pytest.mark.parametrize("level", [0.0, 512.0, 65535.0])
def test_frame_of_one_value_refuses(level):
    same = replace(STATS, sigma_adu=0.0, level_adu=level, min_adu=level, max_adu=level, constant_rows=2000)
    assert codes(same) == {"constant"}


@pytest.mark.parametrize("step", [1, 16])
def test_bias_of_a_quiet_sensor_with_coarse_steps_is_no_frame_of_one_value(step):
    stats = replace(STATS, sigma_adu=0.0, level_adu=32.0 * step, min_adu=31.0 * step, max_adu=34.0 * step)
    quiet = replace(stats, step_adu=step, saturated_fraction=0.0, constant_rows=1900)
    assert not codes(quiet)
    assert not codes(quiet, previous=PreviousFrame(stats=quiet, difference_sigma_adu=0.0), reference=result(quiet))


@pytest.mark.parametrize("level", [0.0, 1000.0, 32768.0])
def test_of_a_damaged_frame_only_the_damage_is_told(level):
    same = replace(STATS, sigma_adu=0.0, level_adu=level, min_adu=level, max_adu=level, constant_rows=2000)
    asked = request(pedestal_adu=500, pedestal_tolerance_adu=10)
    assert codes(same, asked=asked, reference=result()) == {"constant"}


@pytest.mark.parametrize("level", [255.0, 4095.0, 16380.0, 65520.0, 65535.0])
def test_a_dark_at_the_end_of_its_converter_may_be_flooded_with_light(level):
    full = replace(STATS, sigma_adu=0.0, level_adu=level, min_adu=level, max_adu=level, constant_rows=2000)
    asked = request(pedestal_adu=50, pedestal_tolerance_adu=10)
    assert {"constant", "pedestal_off"} <= codes(full, asked=asked)
    dark_edge = replace(full, min_adu=0.3 * level)
    assert {"constant", "light_leak"} <= codes(dark_edge, asked=request(light_adu=100))


def test_saturated_test_flat_is_no_fault_of_the_camera():
    full = {"level_adu": 65535.0, "min_adu": 65535.0, "max_adu": 65535.0, "saturated_fraction": 1.0}
    saturated = replace(FLAT_STATS, sigma_adu=0.0, constant_rows=2000, **full)
    found = verdicts(saturated, asked=flat_request(purpose=Purpose.TEST))
    assert {code: v.refuses for code, v in found.items()} == {FrameCode.CONSTANT: False}
    assert codes(saturated, asked=flat_request()) == {"constant"}
    black = replace(saturated, level_adu=0.0, min_adu=0.0, max_adu=0.0)
    assert codes(black, asked=flat_request(purpose=Purpose.TEST)) == {"constant"}


def test_part_of_a_frame_missing_refuses():
    assert "partial" in codes(replace(STATS, constant_rows=900))
    assert "partial" in codes(replace(STATS, jump_adu=300.0))
    assert not codes(replace(STATS, jump_adu=100.0))


def test_two_taps_of_different_pedestals_are_the_sensor_not_a_fault():
    taps = replace(STATS, jump_adu=300.0)
    assert not codes(taps, reference=result(taps))


def test_repeated_rows_are_partial_and_a_repeated_frame_is_a_duplicate():
    before = replace(STATS, pixel_sha256="b")
    assert codes(previous=PreviousFrame(stats=before, identical_rows=0.5)) == {"partial"}
    assert codes(previous=PreviousFrame(stats=before, identical_rows=0.95)) == {"duplicate_frame"}
    assert codes(previous=PreviousFrame(stats=STATS)) == {"duplicate_frame"}


@pytest.mark.parametrize(("seconds", "refused"), [(0.1, True), (9.4, True), (9.9, False), (12.0, False), (None, False)])
def test_image_that_comes_before_its_exposure_ended(seconds, refused):
    assert ("too_fast" in codes(returned_after_s=seconds)) == refused


def test_short_exposures_cannot_be_too_fast():
    assert not codes(asked=replace(request(), exposure_us=1000), returned_after_s=0.0)


def test_saturated_row_refuses_only_beyond_the_sensor_s_own():
    one, two = replace(STATS, saturated_lines=1), replace(STATS, saturated_lines=2)
    assert not codes(one, reference=result(one))
    assert codes(two, reference=result(one)) == {"saturated_lines"}
    assert codes(one, previous=PreviousFrame(stats=replace(STATS, pixel_sha256="b"))) == {"saturated_lines"}
    bright = replace(STATS, pixel_sha256="b", saturated_lines=5000, saturated_fraction=1.0)
    assert FrameCode.SATURATED_LINES in verdicts(one, previous=PreviousFrame(stats=bright))
    assert FrameCode.SATURATED_LINES in verdicts(one)  # nothing to compare with: a doubt
    assert not codes(one)


def test_level_and_saturation_against_the_plan_s_limits():
    asked = flat_request(level_adu=30_000.0, level_tolerance_adu=3000.0, max_saturated_fraction=1e-3)
    assert not codes(FLAT_STATS, asked=asked)
    assert codes(replace(FLAT_STATS, level_adu=33_001.0), asked=asked) == {"level_off"}
    assert codes(replace(FLAT_STATS, level_adu=26_999.0), asked=asked) == {"level_off"}
    assert codes(replace(FLAT_STATS, saturated_fraction=0.01), asked=asked) == {"level_off"}


def test_pedestal_against_the_plan_and_the_set():
    asked = request(pedestal_adu=500.0, pedestal_tolerance_adu=10.0)
    assert not codes(replace(STATS, level_adu=509.0), asked=asked)
    assert codes(replace(STATS, level_adu=511.0), asked=asked) == {"pedestal_off"}
    assert codes(replace(STATS, level_adu=560.0), reference=result()) == {"pedestal_off"}
    assert not codes(replace(STATS, level_adu=545.0), reference=result())
    assert not codes(replace(FLAT_STATS, level_adu=560.0), asked=flat_request())


def test_pedestal_of_biases_wanders_little_within_a_set():
    asked = request(kind=FrameKind.BIAS)
    assert not codes(replace(STATS, level_adu=509.0), asked=asked, reference=result(asked=asked))
    assert codes(replace(STATS, level_adu=512.0), asked=asked, reference=result(asked=asked)) == {"pedestal_off"}


def test_level_of_a_dark_follows_its_temperature_where_the_pedestal_is_known():
    asked, then = request(bias_adu=500.0), replace(STATS, level_adu=1500.0)
    warmer = replace(HEADER, ccd_temp_c=-9.6)
    assert not codes(replace(STATS, level_adu=1549.0), header=warmer, asked=asked, reference=result(then))
    assert codes(replace(STATS, level_adu=1600.0), asked=asked, reference=result(then)) == {"pedestal_off"}
    assert codes(replace(STATS, level_adu=1450.0), header=warmer, asked=asked, reference=result(then)) == {
        "pedestal_off"
    }
    assert not codes(replace(STATS, level_adu=1600.0), asked=request(), reference=result(then))


def test_noise_of_flats_goes_with_the_root_of_their_level():
    asked = flat_request(noise_adu=100.0, noise_tolerance=0.05, level_adu=20_500.0, pedestal_adu=500.0)
    brighter = replace(FLAT_STATS, level_adu=22_500.0)

    def found(stats, sigma):
        before = replace(brighter, pixel_sha256="b")
        return codes(stats, asked=asked, previous=PreviousFrame(stats=before, difference_sigma_adu=sigma))

    assert not found(brighter, 105.0)
    assert found(brighter, 99.0) == {"noise_off"}


def test_noise_of_the_pair_against_the_plan():
    asked = request(noise_adu=5.0, noise_tolerance=0.05)
    before = replace(STATS, pixel_sha256="b")
    assert not codes(asked=asked, previous=PreviousFrame(stats=before, difference_sigma_adu=5.2))
    assert codes(asked=asked, previous=PreviousFrame(stats=before, difference_sigma_adu=5.3)) == {"noise_off"}
    assert codes(asked=asked, previous=PreviousFrame(stats=before, difference_sigma_adu=4.7)) == {"noise_off"}
    assert not codes(asked=asked, previous=PreviousFrame(stats=before))


def test_noise_of_the_pair_against_the_set():
    before = replace(STATS, pixel_sha256="b")
    reference = replace(result(), pair_sigma_adu=3.0)

    def found(sigma, **options):
        previous = PreviousFrame(stats=before, difference_sigma_adu=sigma, **options)
        return codes(previous=previous, reference=reference)

    assert not found(3.08)
    assert found(3.16) == found(2.84) == {"noise_off"}
    assert not found(3.16, accepted=False)  # the frame before was the bad one
    flats = replace(result(FLAT_STATS, asked=flat_request()), pair_sigma_adu=3.0)
    previous = PreviousFrame(stats=before, difference_sigma_adu=3.3)
    assert not codes(FLAT_STATS, asked=flat_request(), previous=previous, reference=flats)


@pytest.mark.parametrize(("kind", "factor", "refused"), [
    (FrameKind.BIAS, 1.10, True),
    (FrameKind.BIAS, 0.90, True),
    (FrameKind.BIAS, 1.03, False),
    (FrameKind.DARK, 1.10, True),
    (FrameKind.DARK, 1.04, False),
])  # fmt: skip
def test_noise_within_the_frame_against_the_set(kind, factor, refused):
    found = codes(
        replace(STATS, sigma_adu=5.0 * factor), asked=request(kind=kind), reference=result(asked=request(kind=kind))
    )
    assert ("noise_off" in found) == refused


def test_noise_of_a_warmer_dark_may_grow():
    warmer = replace(HEADER, ccd_temp_c=-9.3)
    assert not codes(replace(STATS, sigma_adu=5.5), header=warmer, reference=result())


@pytest.mark.parametrize(
    ("kind", "before", "now", "refused"),
    [
        (FrameKind.DARK, 0.94, 0.92, False),  # an afterglow that fades
        (FrameKind.DARK, 0.94, 0.86, True),  # a gain that steps while it does
        (FrameKind.DARK, 1.0, 0.92, True),
        (FrameKind.DARK, 0.86, 0.84, True),  # no glow fades so far
        (FrameKind.DARK, 1.06, 1.08, True),  # and none grows
        (FrameKind.DARK, 1.09, 1.06, True),
        (FrameKind.BIAS, 0.94, 0.92, True),  # has no time to glow
    ],
)
def test_noise_that_fades_from_dark_to_dark_is_no_other_gain(kind, before, now, refused):
    asked = request(kind)
    reference = replace(result(asked=asked), pair_sigma_adu=5.0)
    last = replace(STATS, sigma_adu=before * 5.0, pixel_sha256="b")
    previous = PreviousFrame(stats=last, difference_sigma_adu=now * 5.0, pair_sigma_adu=before * 5.0)
    found = codes(replace(STATS, sigma_adu=now * 5.0), asked=asked, previous=previous, reference=reference)
    assert found == ({"noise_off"} if refused else set())
    alone = codes(replace(STATS, sigma_adu=now * 5.0), asked=asked, reference=reference)
    assert alone == {"noise_off"}


@pytest.mark.parametrize(("a_frame", "ends_at"), [(0.01, 1.03), (0.03, 1.03), (-0.01, 0.85), (-0.02, 0.85)])
@pytest.mark.parametrize("pattern", [False, True], ids=["all noise", "the pair alone shows it"])
def test_noise_that_creeps_up_is_refused_and_what_creeps_down_is_bounded(a_frame, ends_at, pattern):
    asked = request()
    reference = replace(result(asked=asked), pair_sigma_adu=5.0)
    kept, before = 1.0, 1.0
    for i in range(1, 41):
        now = 1 + i * a_frame
        last = replace(STATS, sigma_adu=5.0 if pattern else before * 5.0, pixel_sha256=f"dark {i}")
        previous = PreviousFrame(stats=last, difference_sigma_adu=now * 5.0, pair_sigma_adu=before * 5.0)
        stats = replace(STATS, sigma_adu=5.0 if pattern else now * 5.0)
        if not codes(stats, asked=asked, previous=previous, reference=reference):
            kept = now
        before = now  # at worst: as if it were kept
    assert abs(kept - 1) <= abs(ends_at - 1) + 1e-9


def test_noise_of_a_dark_knows_the_degrees_to_the_dark_before():
    asked = request(bias_adu=480.0)
    header = replace(HEADER, ccd_temp_c=-10.0)
    reference = replace(result(header=replace(HEADER, ccd_temp_c=-9.5), asked=asked), pair_sigma_adu=5.0)
    weaker = replace(STATS, sigma_adu=4.4)
    last = replace(STATS, sigma_adu=4.75, pixel_sha256="b")
    for celsius, refused in ((-10.3, {"noise_off"}), (-9.7, set())):
        previous = PreviousFrame(stats=last, difference_sigma_adu=4.9, pair_sigma_adu=4.9, ccd_temp_c=celsius)
        assert codes(weaker, header=header, asked=asked, previous=previous, reference=reference) == refused


def test_noise_of_a_brighter_flat_may_grow_with_its_signal():
    brighter = replace(FLAT_STATS, level_adu=32_700.0, sigma_adu=430.0)
    assert not codes(brighter, asked=flat_request(), reference=result(FLAT_STATS, asked=flat_request()))
    assert codes(
        replace(brighter, sigma_adu=500.0), asked=flat_request(), reference=result(FLAT_STATS, asked=flat_request())
    ) == {"noise_off"}


def test_contrasts_ignore_a_shift_of_the_whole_level():
    assert np.allclose(CONTRASTS.sum(axis=1), 0)


@pytest.mark.parametrize("kind", [FrameKind.BIAS, FrameKind.DARK])
def test_light_leak_against_the_set(kind):
    leaking = replace(STATS, region_adu=(502.3, 502.0, 502.3, 502.0, 500.7, 502.0, 502.3, 502.0, 502.3))
    one_side = replace(STATS, region_adu=(503.0, 501.5, 500.0) * 3)
    lifted = replace(STATS, region_adu=(504.0,) * 9)
    for stats, expected in ((leaking, {"light_leak"}), (one_side, {"light_leak"}), (lifted, set())):
        assert codes(stats, asked=request(kind=kind), reference=result(asked=request(kind=kind))) == expected


def test_glow_that_follows_the_temperature_is_no_leak():
    glow = np.array([40.0, 5, 0, 5, 0, 0, 0, 0, 0])
    then = replace(STATS, region_adu=tuple(500 + glow), gradient_adu=40.0)
    now = replace(STATS, region_adu=tuple(500 + 1.05 * glow), gradient_adu=42.0)
    assert not codes(now, header=replace(HEADER, ccd_temp_c=-9.6), reference=result(then))
    assert codes(now, reference=result(then)) == {"light_leak"}


def test_glow_of_a_corner_hides_no_leak_elsewhere():
    glow, leak = np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 400]), np.array([2.3, 2, 2.3, 2, 0.7, 2, 2.3, 2, 2.3])
    then = replace(STATS, region_adu=tuple(500 + glow), gradient_adu=400.0)
    reference = replace(result(then, asked=request(bias_adu=499.0)), pair_sigma_adu=5.0)
    leaking = replace(STATS, region_adu=tuple(500 + glow + leak), gradient_adu=400.0)
    assert codes(leaking, asked=request(bias_adu=499.0), reference=reference) == {"light_leak"}


def test_light_leak_against_the_plan_s_gradient():
    assert codes(replace(STATS, gradient_adu=4.0), asked=request(gradient_adu=3.0)) == {"light_leak"}
    assert codes(replace(STATS, gradient_adu=4.0, step_adu=16), asked=request(gradient_adu=3.0)) == set()
    assert codes(replace(STATS, level_adu=521.0), asked=request(light_adu=520.0)) == {"light_leak"}
    assert not codes(replace(FLAT_STATS, gradient_adu=4000.0), asked=flat_request(gradient_adu=3.0))


def test_frame_without_a_temperature_is_not_at_its_set_point():
    nameless = replace(HEADER, ccd_temp_c=None, temp_begin_c=None, temp_end_c=None)
    assert codes(header=nameless, asked=request(set_temp_c=-10.0)) == {"temperature_off"}
    assert not codes(header=nameless, asked=request())


@pytest.mark.parametrize(
    ("begin", "mean", "end", "refused"),
    [(-10.0, -10.0, -10.0, False), (-10.5, -10.2, -9.6, False), (-10.6, -10.1, -10.0, True), (-10.0, -9.7, -9.4, True)],
)
def test_temperature_at_both_ends(begin, mean, end, refused):
    header = replace(HEADER, temp_begin_c=begin, ccd_temp_c=mean, temp_end_c=end)
    assert ("temperature_off" in codes(header=header, asked=request(set_temp_c=-10.0))) == refused
    assert not codes(header=header)  # no temperature was asked for
    assert not codes(header=header, asked=request(set_temp_c=-10.0, temperature_tolerance_c=None))


@pytest.mark.parametrize(
    ("asked_us", "reported_us", "refused"),
    [
        (10_000_000, 10_190_000, False),
        (10_000_000, 9_700_000, True),
        (1000, 2500, False),
        (1000, 16_000, False),
        (1000, 22_000, True),
        (50_000, 47_000, True),
    ],
)
def test_exposure_the_camera_reports(asked_us, reported_us, refused):
    header = replace(HEADER, exposure_us=asked_us, reported_exposure_us=reported_us)
    found = codes(header=header, asked=replace(request(), exposure_us=asked_us))
    assert ("exposure_mismatch" in found) == refused


def test_lamp_drift_is_a_doubt_about_panel_flats_only():
    asked = flat_request(pedestal_adu=500.0)
    dimmer = replace(FLAT_STATS, level_adu=29_400.0)
    found = verdicts(dimmer, asked=asked, reference=result(FLAT_STATS, asked=flat_request()))
    assert set(found) == {FrameCode.LAMP_DRIFT}
    assert not found[FrameCode.LAMP_DRIFT].refuses
    assert not verdicts(dimmer, asked=flat_request(panel_brightness=None), reference=result(FLAT_STATS, asked=asked))
    assert not verdicts(
        replace(FLAT_STATS, level_adu=29_800.0), asked=asked, reference=result(FLAT_STATS, asked=flat_request())
    )


def test_exposure_is_compared_with_what_the_camera_could_quantise():
    header = replace(HEADER, exposure_us=10_000, reported_exposure_us=10_000)
    assert not codes(header=header, asked=replace(request(), exposure_us=1000))


def test_reference_of_another_exposure_is_no_reference():
    longer = result(replace(STATS, level_adu=900.0), asked=replace(request(), exposure_us=60_000_000))
    assert not codes(reference=longer)
    assert not codes(reference=result(FLAT_STATS, asked=flat_request()))


def test_lamp_is_judged_by_its_rate_when_the_exposure_follows_it():
    asked = replace(flat_request(pedestal_adu=500.0), exposure_us=10_300_000)
    first = result(FLAT_STATS, asked=flat_request())
    assert set(verdicts(FLAT_STATS, asked=asked, reference=first)) == {FrameCode.LAMP_DRIFT}
    brighter = replace(FLAT_STATS, level_adu=500 + 29_500 * 1.03)
    assert not verdicts(brighter, asked=asked, reference=first)
    assert not verdicts(FLAT_STATS, asked=replace(asked, panel_brightness=90), reference=first)


def test_noise_of_the_sky_is_its_own():
    first = result(FLAT_STATS, asked=flat_request(panel_brightness=None))
    assert not verdicts(
        replace(FLAT_STATS, sigma_adu=600.0), asked=flat_request(panel_brightness=None), reference=first
    )


def test_pedestal_is_judged_from_the_third_night():
    assert pedestal_limits([]) is None
    assert pedestal_limits([500.0]) is None
    assert pedestal_limits([500.0, 500.4]) == (500.2, 10.0)
    level, tolerance = pedestal_limits([500.0, 510.0, 505.0])
    assert (level, tolerance) == (505.0, 25.0)


def test_a_step_of_a_coarse_converter_is_no_change_of_the_pedestal():
    assert pedestal_limits([496.0, 496.0, 496.0], step_adu=16) == (496.0, 48.0)
