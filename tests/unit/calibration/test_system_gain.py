"""The system gain K held against what is known: which K is refused, and what a refused one is good for later."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from calibration.system_gain import MeasuredGain, gain_of_pairs, judge_gain
from services.catalogue.rows import FactRow
from services.workflow.measuring import BELIEVED, REFUSED

NOW = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)
SETTINGS: dict[str, Any] = {"gain": 100, "offset": 50, "readout_mode": "Normal", "binning": [1, 1]}
WHOLE, SMALL = 15_000_000, 76_800
"""Pixels of the central quarter of 61 megapixels, and of 640 x 480."""


def fact(k_adu_e: float, name: str = BELIEVED, *, gain: int | str = 100, **ago: float) -> FactRow:
    return FactRow(camera="c", name=name, value=k_adu_e, at=NOW - timedelta(**ago), settings=SETTINGS | {"gain": gain})


EARLIER = [fact(1.0, days=day) for day in range(1, 6)]


def refused(k_adu_e: float, *known: FactRow, gain: int = 100, pixels: int = WHOLE) -> bool:
    believed, kept_apart = ([fact for fact in known if fact.name == name] for name in (BELIEVED, REFUSED))
    settings = SETTINGS | {"gain": gain}
    found = judge_gain(k_adu_e, settings, believed=believed, refused=kept_apart, now=NOW, pixels=pixels)
    return found is not None and found.refuses


@pytest.mark.parametrize("tries", [1, 20])
def test_a_gain_that_was_refused_is_refused_again_five_minutes_later_and_the_right_one_is_taken(tries: int) -> None:
    wrong = [fact(0.5, REFUSED, minutes=5 * (i + 1)) for i in range(tries)]
    assert refused(0.5, *EARLIER)
    assert refused(0.5, *EARLIER, *wrong)
    assert not refused(1.0, *EARLIER, *wrong)


def test_a_camera_changed_for_good_is_taken_from_the_second_night_on_and_as_it_was_before_too() -> None:
    last_night = [fact(0.5, REFUSED, hours=24)] * 20
    assert not refused(0.5, *EARLIER, *last_night)
    assert not refused(1.0, *EARLIER, *last_night)
    assert refused(0.7, *EARLIER, *last_night)


def test_a_refused_k_of_another_gain_does_not_speak_against_the_right_one() -> None:
    stuck = fact(1.0, REFUSED, gain=200, minutes=5)
    assert refused(1.0, *EARLIER, fact(1.0, minutes=20), gain=200)
    assert not refused(1.0, *EARLIER, fact(1.0, minutes=20), stuck)


@pytest.mark.parametrize(
    ("gain", "k_adu_e", "pixels", "off"),
    [
        (101, 1.0116, SMALL, False),  # 0.1 dB: not told apart from one gain here
        (101, 1.0, SMALL, False),
        (101, 1.0116, WHOLE, False),
        (101, 1.0, WHOLE, True),
        (160, 1.03, SMALL, True),  # the scatter of one gain
        (160, 1.06, SMALL, False),
        (160, 1.0, WHOLE, True),
        (160, 1.02, WHOLE, False),
        (160, 1.0, 50, False),
    ],
)
def test_a_gain_is_called_another_one_only_where_the_measurement_tells_them_apart(
    gain: int, k_adu_e: float, pixels: int, off: bool
) -> None:
    assert refused(k_adu_e, fact(1.0, hours=1), gain=gain, pixels=pixels) is off


def test_gains_in_percent_of_which_ten_steps_are_little_are_not_called_one() -> None:
    assert not refused(1.0 + 10 / 2500, fact(1.0, gain=2500, hours=1), gain=2510)


def test_gains_that_are_no_numbers_are_not_compared() -> None:
    assert not refused(1.0, fact(1.0, gain="high", hours=1))


def flats(electrons: float, gain_e_adu: float, *, n: int = 9, drift: float = -0.02, seed: int = 1) -> np.ndarray:
    """Return flats of a vignetted lamp that drifts, of 6 ADU read noise on a pedestal of 500."""
    rng = np.random.default_rng(seed)
    shape = np.linspace(0.8, 1.0, 240) * np.linspace(1.0, 0.9, 160)[:, None]
    light = [electrons * shape * (1 + drift) ** i for i in range(n)]
    frames = [500 + rng.poisson(level) / gain_e_adu + rng.normal(0, 6, level.shape) for level in light]
    return np.rint(frames).astype(np.float32)


DARK = np.full((160, 240), 500.0, np.float32)
DARK_VARIANCE = 36 + 1 / 12


@pytest.mark.parametrize("gain_e_adu", [0.25, 1.0, 4.0, 79.0])
@pytest.mark.parametrize("n", [2, 3, 9])
def test_gain_of_flats_comes_back_with_its_error(gain_e_adu: float, n: int) -> None:
    found = gain_of_pairs(flats(100_000.0, gain_e_adu, n=n), DARK, DARK_VARIANCE)
    assert found is not None
    assert found.pairs == n - 1
    assert found.error_e_adu < 0.02 * gain_e_adu
    assert found.e_adu == pytest.approx(gain_e_adu, abs=3 * found.error_e_adu)


def test_a_pair_between_which_something_moved_and_a_lamp_that_changes_its_shape_do_no_harm() -> None:
    frames = flats(40_000.0, 1.0)
    frames[0] += np.random.default_rng(2).normal(0, 150, DARK.shape).astype(np.float32)
    frames *= 1 + 0.002 * np.arange(9)[:, None, None] * np.linspace(-1, 1, 240)
    found = gain_of_pairs(frames.astype(np.float32), DARK, DARK_VARIANCE)
    assert found is not None
    assert found.e_adu == pytest.approx(1.0, abs=max(0.02, 3 * found.error_e_adu))


def test_unlit_frames_tell_no_gain() -> None:
    assert gain_of_pairs(flats(0.0, 1.0), DARK + 5, DARK_VARIANCE) is None
    assert gain_of_pairs(flats(1000.0, 1.0)[:1], DARK, DARK_VARIANCE) is None


def test_a_stated_gain_is_contradicted_beyond_ten_percent_and_the_error() -> None:
    found = MeasuredGain(e_adu=2.0, error_e_adu=0.02, pairs=8)
    assert [found.contradicts(stated) for stated in (None, 2.0, 2.2, 1.8, 2.3, 1.0)] == [False] * 4 + [True] * 2
