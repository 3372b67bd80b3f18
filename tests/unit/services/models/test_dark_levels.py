"""The table and the words of the levels of groups of darks."""

import numpy as np
import pytest

from calibration.models.dark.ties import Levels
from services.models.dark.levels import Row, outlying, words_of


def levels(values: list[float], sigma: float = 1.0, wander: float = 10.0) -> Levels:
    k = len(values)
    return Levels(value_adu=np.array(values), covariance_adu2=np.eye(k) * sigma**2, before_adu2=np.eye(k) * wander**2)


@pytest.mark.parametrize(
    ("values", "sigma", "outside"),
    [
        ([0.0, 2.0, -2.0, 1.0, 60.0], 1.0, [4]),
        ([0.0, 80.0, -70.0, 50.0, 120.0], 1.0, []),
        ([0.0, 2.0, -2.0, 1.0, 60.0], 30.0, []),
        ([0.0, 0.0, 0.0, 0.5], 0.01, []),
        ([0.0, 0.0, 60.0], 1.0, []),
        ([0.0, 0.0, 0.0, 0.0], 0.0, []),
    ],
    ids=["a leak", "all wander", "not known well enough", "nothing that counts", "too few", "none"],
)
def test_a_level_outside_of_all_others_is_seen(values: list[float], sigma: float, outside: list[int]):
    assert np.flatnonzero(outlying(levels(values, sigma))).tolist() == outside


def row(level: float, error: float, *, wander: float = 10.0, outside: bool = False) -> Row:
    return Row(
        group=0, label_c=-5.0, exposure_s=60.0, session="2026-03-01", frames=4, level_adu=level, error_adu=error,
        wander_adu=wander, outlying=outside,
    )  # fmt: skip


def test_words_name_how_far_levels_wander_what_is_not_known_and_what_lies_outside():
    assert (
        words_of([], 4.0)
        == words_of([row(0.0, 0.0, wander=0.0)], 4.0)
        == words_of([row(0.1, 0.1, wander=0.1)], 4.0)
        == []
    )
    one, two, three = words_of([row(3.0, 1.0), row(-2.0, 8.0), row(90.0, 1.0, outside=True)], 4.0)
    assert "by 10.0 ADU" in one
    assert "The levels of 1 of 3 groups can hardly be separated from their dark" in two
    assert "-5.0 °C and 60 s, session 2026-03-01, lies outside of the others (+90.0 ± 1.0 ADU)" in three
