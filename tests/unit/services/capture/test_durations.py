"""Exposures that cameras make instead of those they are asked for: adopted, let be, or refused with their cause."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from calibration.errors import FrameCode
from calibration.frames import CaptureRequest, FrameKind, Purpose
from services.capture.durations import Durations
from services.capture.failures import GroupFailed
from tests.support.fake_site import BIAS, DARK, FLAT, Site


def learn(durations: Durations, request: CaptureRequest, report: Callable[[int], int | None]) -> tuple[int, int]:
    """Return the exposure that is adopted for a request, and how many frames that took."""
    reports = [report(0)]
    while durations.doubts(request, reports):
        reports.append(report(len(reports)))
    return durations.adopted(request, reports), len(reports)


def lasting(request: CaptureRequest, exposure_us: int) -> CaptureRequest:
    return replace(request, exposure_us=exposure_us)


@pytest.mark.parametrize(
    ("asked_us", "made_us", "adopted_us"),
    [
        (562_300, 629_961, 630_000), (60_000_000, 64_000_000, 64_000_000), (700_000, 1_000_000, 1_000_000),
        (2_500_000, 2_000_000, 2_000_000),
    ],
)  # fmt: skip
def test_another_exposure_that_three_frames_reproduce_is_adopted(asked_us: int, made_us: int, adopted_us: int) -> None:
    durations = Durations()
    assert learn(durations, lasting(FLAT, asked_us), lambda n: made_us + n) == (adopted_us, 3)
    assert durations.made_us(asked_us) == adopted_us
    assert durations.asked_us(adopted_us) == asked_us
    assert learn(durations, lasting(DARK, adopted_us), lambda _: made_us) == (adopted_us, 1)


def test_reports_that_scatter_are_left_to_the_checks() -> None:
    told = [630_000, 700_000, 630_000]
    assert learn(Durations(), lasting(FLAT, 500_000), told.__getitem__) == (500_000, 2)


def test_a_driver_that_reports_the_exposure_before_is_right_at_the_second_frame() -> None:
    told = [1_000_000, 500_000]
    assert learn(Durations(), lasting(FLAT, 500_000), told.__getitem__) == (500_000, 2)


@pytest.mark.parametrize("report", [None, 0])
def test_a_camera_that_says_nothing_is_believed(report: int | None) -> None:
    assert learn(Durations(), DARK, lambda _: report) == (DARK.exposure_us, 1)


def test_a_constant_excess_is_overhead() -> None:
    durations = Durations()
    for exposure_us in (1_000, 100_000, 562_000, 2_000_000):
        request = lasting(FLAT, exposure_us)
        assert learn(durations, request, lambda _, us=exposure_us: us + 15_600) == (exposure_us, 1)


def test_an_excess_that_other_exposures_do_not_have_is_another_exposure() -> None:
    durations = Durations()
    learn(durations, BIAS, lambda _: 977)
    assert learn(durations, lasting(FLAT, 90_000), lambda _: 99_213) == (99_200, 3)


@pytest.mark.parametrize(
    ("request_", "made_us"),
    [(BIAS, 1_000_000), (replace(DARK, exposure_us=300_000), 1_000_000), (replace(FLAT, purpose=Purpose.TEST,
      exposure_us=20_000), 2_000_000)],
)  # fmt: skip
def test_an_exposure_that_cannot_be_meant_fails_with_both_times(request_: CaptureRequest, made_us: int) -> None:
    with pytest.raises(GroupFailed) as caught:
        learn(Durations(), request_, lambda _: made_us)
    assert caught.value.code == FrameCode.EXPOSURE_MISMATCH
    asked = f"{request_.exposure_us / 1e6:g} s"
    assert caught.value.detail == f"the camera exposes {made_us / 1e6:g} s each time it is asked for {asked}"


def test_the_short_darks_that_measure_the_pedestal_may_be_longer() -> None:
    assert learn(Durations(), replace(BIAS, purpose=Purpose.TEST), lambda _: 100_000) == (1_000, 1)


def test_frames_and_their_darks_have_the_exposure_that_the_camera_makes(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        site.camera.makes_s = lambda asked_s: 0.1 * max(1, round(asked_s / 0.1))
        flats, darks = site.take(lasting(FLAT, 562_000), lasting(DARK, 600_000))
        assert {r.request.exposure_us for r in flats} == {r.request.exposure_us for r in darks} == {600_000}
        assert all(r.accepted for r in flats + darks)
        kept = site.catalogue.frames()
        assert {(row.kind, row.exposure_us) for row in kept} == {(FrameKind.FLAT, 600_000), (FrameKind.DARK, 600_000)}
    finally:
        site.close()
