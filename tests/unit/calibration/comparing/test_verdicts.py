"""The comparison of two masters: what it takes out, what it says in words, and masters of which little is known."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.comparing.judging import compare, verdicts
from calibration.comparing.planes import baseline, changed_pixels, sample_of_rows
from calibration.comparing.records import Changes, MasterFacts, MasterPlanes
from calibration.errors import MasterCode
from calibration.frames import FrameKind, Verdict

SHAPE = (120, 160)
RNG = np.random.default_rng(5)
PATTERN = RNG.normal(0.0, 3.0, SHAPE)
BIAS = MasterFacts(kind=FrameKind.BIAS, frames=20, noise_adu=6.0, sigma=6.0 / 20**0.5, level_adu=500.0)
DARK = replace(BIAS, kind=FrameKind.DARK, level_adu=800.0, pedestal_adu=500.0, temperature_c=-10.0, gain_e_adu=0.5)
FLAT = MasterFacts(
    kind=FrameKind.FLAT, frames=20, noise_adu=200.0, sigma=0.0022, level_adu=20_000.0, exposure_us=2e6, brightness=80.0
)


def plane(facts: MasterFacts, added: object = 0.0, *, seed: int = 1) -> MasterPlanes:
    rng = np.random.default_rng(seed)
    sigma = facts.sigma or 1.0
    base = 1.0 + 0.01 * PATTERN / 3 if facts.kind is FrameKind.FLAT else (facts.level_adu or 0.0) + PATTERN
    mean = (rng.normal(base, sigma) + added).astype(np.float32)
    return MasterPlanes(mean=mean, sigma=np.full(SHAPE, sigma, np.float32), facts=facts)


def said(new: MasterPlanes, old: MasterPlanes) -> dict[str, Verdict]:
    return {verdict.code: verdict for verdict in compare(new, old, rows=50)[0]}


def test_a_pixel_that_became_hot_is_flagged_alone_and_the_same_by_whatever_bands():
    added = np.zeros(SHAPE)
    added[7, 9], added[119, 159] = 90.0, -60.0
    new, old = plane(BIAS, added + 4.0), plane(BIAS, seed=2)
    masks = [compare(new, old, rows=rows)[1] for rows in (1, 7, 120, 999)]
    assert all((mask == masks[0]).all() for mask in masks)
    assert {tuple(at) for at in np.argwhere(masks[0])} == {(7, 9), (119, 159)}
    assert not said(new, old)


def test_what_the_temperature_explains_is_no_change_and_the_same_without_it_is_one():
    """300 ADU of dark signal, half a degree warmer: 17.8 ADU more."""
    warmer = replace(DARK, temperature_c=-9.5)
    assert not said(plane(warmer, 17.8), plane(DARK, seed=2))
    (verdict,) = said(plane(DARK, 17.8), plane(DARK, seed=2)).values()
    assert (verdict.code, verdict.refuses) == (MasterCode.LEVEL_CHANGED, True)
    assert verdict.detail == "the level is 17.8 ADU higher, up to 12.5 ADU are usual"
    (cooler,) = said(plane(warmer), plane(DARK, seed=2)).values()
    assert "lower" in cooler.detail


def test_a_camera_whose_level_wanders_more_is_not_suspected_for_it():
    wandering = replace(BIAS, level_wander_adu=8.0)
    assert not said(plane(wandering, 25.0), plane(BIAS, seed=2))
    assert MasterCode.LEVEL_CHANGED in said(plane(wandering, 40.0), plane(BIAS, seed=2))


def test_glow_that_grows_with_the_temperature_is_none_and_light_in_another_corner_is():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / np.array(SHAPE)[:, None, None]
    glow = 90.0 * np.exp(-6 * (y + x))
    old, warmer = plane(DARK, glow, seed=2), replace(DARK, temperature_c=-9.3)
    grown = plane(warmer, 1.084 * glow + 300 * 0.084)
    assert not said(grown, old)
    leak = plane(warmer, 1.084 * glow + 300 * 0.084 + 10.0 * y)
    assert MasterCode.STRUCTURE_CHANGED in said(leak, old)


@pytest.mark.parametrize(("facts", "added"), [(BIAS, 10.0), (DARK, 10.0), (FLAT, 0.05)])
def test_a_corner_without_pixels_hides_no_light_and_is_none(facts: MasterFacts, added: float):
    light = added * np.mgrid[: SHAPE[0], : SHAPE[1]][0] / SHAPE[0]
    code = MasterCode.GRADIENT_CHANGED if facts is FLAT else MasterCode.STRUCTURE_CHANGED
    for new, expected in ((plane(facts), set()), (plane(facts, light), {code})):
        old = plane(facts, seed=2)
        new.mean[:40, :50] = old.mean[:40, :50] = np.nan
        assert {v.code for v in said(new, old).values() if v.refuses} == expected


@pytest.mark.parametrize(
    ("facts", "of"),
    [({"noise_adu": 5.6}, BIAS), ({"noise_adu": 160.0}, FLAT), ({"level_adu": 13_000.0, "noise_adu": 161.0}, FLAT)],
)
def test_what_was_measured_is_beyond_the_limit_that_is_said_with_it(facts: dict[str, float], of: MasterFacts):
    (verdict,) = said(plane(replace(of, **facts)), plane(of, seed=2)).values()
    assert verdict.measured > verdict.limit


@pytest.mark.parametrize(("frames", "found"), [(2, set()), (20, {MasterCode.NOISE_CHANGED})])
def test_the_noise_of_few_frames_is_known_badly_and_may_differ_more(frames: int, found: set[str]):
    facts = replace(BIAS, frames=frames)
    assert set(said(plane(replace(facts, noise_adu=1.08 * 6.0)), plane(facts, seed=2))) == found


@pytest.mark.parametrize(("noise_adu", "words"), [(6.6, "10 % higher"), (5.4, "10 % lower")])
def test_words_say_whether_the_noise_is_higher_or_lower(noise_adu: float, words: str):
    (verdict,) = said(plane(replace(BIAS, noise_adu=noise_adu)), plane(BIAS, seed=2)).values()
    assert verdict.detail == f"the noise is {words}: another gain, or a disturbance"


def test_a_pattern_over_all_pixels_is_said_as_pixels_that_are_unlike():
    stripes = np.where(np.arange(SHAPE[1]) % 2, 13.0, -13.0)
    (verdict,) = said(plane(BIAS, stripes), plane(BIAS, seed=2)).values()
    assert verdict.code == MasterCode.UNLIKE_PIXELS
    assert "% of the pixels differ by more than 6 sigma" in verdict.detail


def test_new_dust_is_a_note_that_refuses_nothing_and_does_not_bend_the_light():
    dust = np.zeros(SHAPE)
    dust[20:50, 30:60] = dust[90:110, 100:130] = -0.05
    (verdict,) = said(plane(FLAT, dust), plane(FLAT, seed=2)).values()
    assert (verdict.code, verdict.refuses) == (MasterCode.NEW_DUST, False)
    assert "7.8 % of the pixels have another response than before" in verdict.detail


UNKNOWN_LAMP = {"brightness": None, "exposure_us": None}


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"exposure_us": 4e6, "level_adu": 40_000.0, "noise_adu": 280.0}, None),
        ({"brightness": 160.0, "level_adu": 30_000.0, "noise_adu": 243.0}, None),
        ({"level_adu": 13_000.0, "noise_adu": 161.0}, MasterCode.LIGHT_CHANGED),
        ({"noise_adu": 240.0}, MasterCode.NOISE_CHANGED),
        ({"noise_adu": 209.0}, MasterCode.GAIN_CHANGED),
        ({"noise_adu": 191.0}, MasterCode.GAIN_CHANGED),
        ({**UNKNOWN_LAMP, "level_adu": 40_000.0, "noise_adu": 271.0}, None),
        ({**UNKNOWN_LAMP, "level_adu": 40_000.0, "noise_adu": 295.5}, MasterCode.GAIN_CHANGED),
        ({**UNKNOWN_LAMP, "level_adu": 10_000.0, "noise_adu": 148.0}, None),
        ({**UNKNOWN_LAMP, "level_adu": 10_000.0, "noise_adu": 134.5}, MasterCode.GAIN_CHANGED),
        ({**UNKNOWN_LAMP, "level_adu": 13_000.0, "noise_adu": 161.0}, None),
        ({"noise_adu": None}, None),
    ],
)
def test_flats_of_other_light_are_held_against_what_it_should_give(facts: dict[str, float | None], code: str | None):
    assert set(said(plane(replace(FLAT, **facts)), plane(FLAT, seed=2))) == ({code} if code else set())


def test_a_level_that_flats_are_divided_by_otherwise_is_no_change():
    new = plane(FLAT)
    assert not said(replace_mean(new, 1.21 * new.mean), plane(FLAT, seed=2))


def replace_mean(planes: MasterPlanes, mean: np.ndarray) -> MasterPlanes:
    return MasterPlanes(mean=mean.astype(np.float32), sigma=planes.sigma, facts=planes.facts)


def test_without_the_planes_of_the_one_before_its_numbers_are_compared():
    louder = replace(BIAS, noise_adu=6.7, level_adu=530.0)
    found = {verdict.code for verdict in verdicts(None, Changes(), louder, BIAS)}
    assert found == {MasterCode.LEVEL_CHANGED, MasterCode.NOISE_CHANGED}
    assert verdicts(None, Changes(), BIAS, BIAS) == ()


def test_pixels_without_a_value_and_masters_of_which_nothing_is_known_are_no_change():
    nothing = MasterFacts(kind=FrameKind.DARK, frames=1)
    new, old = plane(BIAS), plane(BIAS, seed=2)
    new.mean[3:5] = np.nan
    bare = (MasterPlanes(mean=each.mean, sigma=None, facts=nothing) for each in (new, old))
    verdicts_, mask = compare(*bare)
    assert (verdicts_, mask.any()) == ((), False)


@pytest.mark.parametrize("shape", [(6388, 9576), (4210, 5800), (1000, 1000), (48, 64), (3, 5), (100, 9000)])
def test_a_sample_is_about_a_million_pixels_of_all_colours_and_all_of_a_small_frame(shape: tuple[int, int]):
    rows, columns = sample_of_rows(*shape)
    right = range(*columns.indices(shape[1]))
    assert 0.5e6 < len(rows) * len(right) < 1.7e6 or len(rows) * len(right) == shape[0] * shape[1]
    assert {int(y) % 2 for y in rows} == {x % 2 for x in right} == {0, 1}


def test_a_tiny_frame_has_no_parts_to_compare_and_fails_nothing():
    new, old = (np.random.default_rng(i).normal(500, 1, (3, 5)).astype(np.float32) for i in (1, 2))
    common = baseline(new, old, BIAS, BIAS)
    assert common.shape <= common.shape_limit
    assert changed_pixels(common, new, None, old, None)[1].pixels == 15
