"""What happens to a run when its camera fails."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration.errors import FrameCode
from calibration.frames import CaptureRequest, FrameResult
from drivers.base import CameraSettings
from drivers.errors import (
    BadImage,
    DeviceLost,
    DriverCode,
    DriverError,
    ExposureFailed,
    ExposureStalled,
    Refused,
    WrongDevice,
    WrongSize,
)
from services.capture.failures import GroupFailed
from services.capture.recovery import GivenUp, Recovery
from services.events.devices import DeviceGone, DeviceRestored
from services.events.records import WarningRaised
from tests.support.fake_site import BIAS, DARK, Site, plan, site_at
from tests.support.fakes import failed, lost


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield from site_at(tmp_path)


def test_a_failed_exposure_is_tried_again_after_reconnecting_and_throwing_one_away(site: Site) -> None:
    site.camera.expose_errors.extend([None, None, failed()])
    (results,) = site.take(DARK)
    assert [r.accepted for r in results] == [True] * 3
    durations = [r.duration_s for r in site.camera.exposed]
    assert durations == [1.0, 2.0, 1.0, 2.0, 2.0]
    assert site.camera.calls.count("connect") == 2
    assert site.camera.calls.count("apply") == 2
    assert len(site.catalogue.frames()) == 3


def test_three_failed_exposures_fail_the_group_and_the_next_group_goes_on(site: Site) -> None:
    closed: list[bool] = []

    def watched() -> Generator[CaptureRequest, tuple[FrameResult, ...], None]:
        try:
            yield DARK
        finally:
            closed.append(True)

    site.camera.expose_errors.extend([failed()] * 3)
    with site.session() as session:
        with pytest.raises(GroupFailed) as caught:
            session.run(watched())
        assert caught.value.code == DriverCode.DEVICE_LOST
        assert closed == [True]
        (results,) = session.run(plan(BIAS))
    assert [r.accepted for r in results] == [True] * 3


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (WrongSize(device="c", size=(90, 64), announced=(96, 64)), [failed(), failed()]),
        (BadImage(device="c", detail="short"), [lost(), ExposureStalled(device="c", detail="no image")]),
        (ExposureFailed(device="c", detail="E7"), [BadImage(device="c", detail="of rank 9")] * 2),
    ],
)
def test_the_first_cause_of_a_failed_group_is_kept_whatever_follows_from_it(
    site: Site, first: DriverError, later: list[DriverError]
) -> None:
    with site.session() as session:
        session.run(plan(BIAS))
        site.camera.expose_errors.extend([first, *later])
        with pytest.raises(GroupFailed) as caught:
            session.run(plan(DARK))
    assert caught.value.code == first.code
    assert first.detail in caught.value.detail
    assert later[-1].detail not in caught.value.detail


def test_a_setting_that_is_refused_after_a_failed_exposure_does_not_become_the_cause(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: CameraSettings) -> CameraSettings:
        raise Refused(device="c", detail="not while it is exposing", number=0x40B)

    first = BadImage(device="c", detail="the image is of rank 3")
    with site.session() as session:
        session.run(plan(BIAS))
        session.run(plan(DARK))
        site.camera.expose_errors.append(first)
        monkeypatch.setattr(site.camera, "apply", refuse)
        with pytest.raises(GroupFailed) as caught:
            session.run(plan(DARK))
        assert caught.value.code == DriverCode.BAD_IMAGE
        assert "the image is of rank 3; then " in caught.value.detail
        assert "not while it is exposing" in caught.value.detail
        with pytest.raises(GroupFailed) as caught:
            session.run(plan(DARK))
        assert caught.value.code == DriverCode.SETTING_REFUSED  # now it is the first


def test_a_server_that_was_restarted_is_waited_for_and_the_frame_taken_again(site: Site) -> None:
    site.camera.expose_errors.append(lost())
    site.camera.connect_errors.extend([None, *[lost()] * 6])
    (results,) = site.take(DARK)
    assert len(results) == 3
    assert site.clock.monotonic() > 60
    assert site.names().count(DeviceGone.name) == 1


def test_a_camera_that_stays_away_for_a_quarter_of_an_hour_ends_the_run(site: Site) -> None:
    site.camera.expose_errors.append(lost())
    site.camera.connect_errors.extend([None, *[lost()] * 100])
    with pytest.raises(DeviceLost) as caught:
        site.take(DARK)
    assert caught.value.code is DriverCode.DEVICE_LOST
    assert 900 <= site.clock.monotonic() < 1100


def test_another_camera_in_its_place_ends_the_run_at_once(site: Site) -> None:
    site.camera.expose_errors.append(lost())
    site.camera.connect_errors.extend([None, WrongDevice(device="Fake camera", detail="another one")])
    with pytest.raises(WrongDevice):
        site.take(DARK)


def test_frames_taken_before_the_camera_was_lost_are_kept(site: Site) -> None:
    site.camera.expose_errors.extend([None, None, None, failed(), failed(), failed()])
    with pytest.raises(GroupFailed):
        site.take(replace(DARK, count=5))
    assert len(site.catalogue.frames(set_id="d1")) == 2


def test_a_camera_that_was_power_cycled_is_set_up_again_and_nobody_is_accused(site: Site) -> None:
    with site.session() as session:
        session.run(plan(replace(DARK, gain=60)))

        def lose_its_settings() -> None:
            site.camera.change_behind_our_back(gain=0, offset=0)

        site.camera.connect_errors.append(None)
        connect = site.camera.connect

        def reconnect() -> None:
            connect()
            lose_its_settings()

        site.camera.connect = reconnect  # type: ignore[method-assign]
        site.camera.state_errors.append(lost())
        (results,) = session.run(plan(replace(DARK, gain=60, count=2)))
        assert site.camera.settings().gain == 60
    assert [r.header.gain for r in results] == [60, 60]
    site.events.close()
    assert not [e for e in site.heard if isinstance(e.what, WarningRaised)]


def test_the_same_buffer_twice_reconnects_the_camera(site: Site) -> None:
    kept: list[np.ndarray] = []

    def keep(pixels: np.ndarray) -> np.ndarray:
        kept.append(pixels)
        return pixels

    def old(pixels: np.ndarray) -> np.ndarray:
        return kept[0].copy()

    site.camera.pixels_of.extend([np.copy, keep, old, old, old])
    (results,) = site.take(replace(DARK, count=8))
    assert [FrameCode.DUPLICATE_FRAME in {v.code for v in r.verdicts} for r in results[:4]] == [False, True, True, True]
    assert all(r.accepted for r in results[4:])
    assert site.names().count(DeviceRestored.name) == 1


def test_a_camera_that_was_given_up_is_not_waited_for_again_while_the_run_ends(site: Site) -> None:
    recovery = Recovery(camera=site.camera, clock=site.clock, events=site.events, interlock=site.interlock)
    site.camera.connect_errors.extend([lost()] * 200)
    site.camera.state_errors.extend([lost()] * 200)
    with pytest.raises(GivenUp):
        recovery.call(site.camera.state)
    given_up_s = site.clock.monotonic()
    with pytest.raises(DeviceLost):
        recovery.call(site.camera.state)
    assert site.clock.monotonic() == given_up_s > 900
