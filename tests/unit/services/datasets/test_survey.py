"""The survey of a dataset: where its limits lie, and what stands for a temperature or a time that is not stated."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameHeader, FrameKind
from services.datasets.frame import DatasetFrame
from services.datasets.levels import Levels, with_levels
from services.datasets.survey import Survey, survey_of


def survey(*headers: dict[str, object], zeros: float | None = None) -> Survey:
    frames = [
        DatasetFrame(
            path=Path(f"set/attempt1/{n}.fits"),
            header=FrameHeader(**{"kind": FrameKind.DARK, "shape": (4, 6), **facts}),  # type: ignore[arg-type]
            attempt="set/attempt1",
            zero_fraction=zeros,
        )
        for n, facts in enumerate(headers)
    ]
    return survey_of(frames)


@pytest.mark.parametrize(("frames", "is_small"), [(1, True), (2, True), (3, False)])
def test_a_group_of_three_frames_is_large_enough(frames: int, is_small: bool) -> None:
    (group,) = survey(*[{"exposure_us": 1}] * frames).groups
    assert group.is_small is is_small


@pytest.mark.parametrize(("seconds", "at_s", "clock_s"), [
    (5e7, None, 5e7), (1.7e9, 1.7e9, None), (1.7e12, None, 1.7e12), (2e8, 2e8, None),
])  # fmt: skip
def test_a_clock_shows_a_date_or_counts_from_the_start_of_the_camera(
    seconds: float, at_s: float | None, clock_s: float | None
) -> None:
    (seen,) = survey({"extra": {"TIMESTAMP": seconds}}).frames
    assert (seen.at_s, seen.clock_s) == (at_s, clock_s)


def test_a_temperature_is_the_middle_of_those_of_its_frames() -> None:
    (group,) = survey({"ccd_temp_c": 20.0}, {"ccd_temp_c": 20.4}).groups
    assert group.temperature_c == 20.2


def test_the_temperature_that_was_asked_for_stands_where_none_was_measured() -> None:
    (group,) = survey({"set_temp_c": -10.0}).groups
    assert (group.temperature_c, group.temperatures_c) == (-10.0, [-10.0])


def test_levels_and_zeros_are_those_of_all_pixels_that_have_a_value(tmp_path: Path) -> None:
    """Sums of many pixels lose nothing, and a pixel without a value is neither a zero nor part of the mean."""
    counts, floats = np.full((2000, 1500), 65_535, np.uint16), np.full((200, 100), 16_777_217.0, np.float64)
    counts[0, :30] = 0
    floats[0, :5], floats[1, :10] = 0.0, np.nan
    for name, pixels in (("counts", counts), ("floats", floats)):
        fits.writeto(tmp_path / f"{name}.fits", pixels)
    frames = [
        DatasetFrame(path=tmp_path / f"{name}.fits", header=FrameHeader(kind=FrameKind.DARK, shape=pixels.shape))
        for name, pixels in (("counts", counts), ("floats", floats))
    ]
    seen = {each.frame.path.stem: each for each in with_levels(survey_of(frames), Levels()).frames}
    assert seen["counts"].level_adu == pytest.approx(counts.mean(dtype=np.float64), rel=1e-15)
    assert seen["floats"].level_adu == pytest.approx(np.nanmean(floats), rel=1e-13)
    assert (seen["counts"].zero_fraction, seen["floats"].zero_fraction) == (1e-5, 5 / 20_000)
