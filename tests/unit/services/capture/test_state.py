"""Devices brought to the state of a request: settings, light, temperature."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from calibration.errors import FrameCode, GroupCode
from calibration.frames import Cover
from drivers.base import CalibratorStatus, CameraSettings, CameraStates, CoverStatus
from drivers.errors import CameraBusy, PanelFailed
from services.capture.failures import GroupFailed
from services.capture.runner import quantised_us
from services.config.devices import Cooling, FilterWheel, FlatPanel
from services.config.models import Config, Storage
from services.errors import RunCode
from services.events.devices import DeviceGone, DeviceRestored
from services.events.records import Waiting, WarningRaised
from tests.support.fake_site import BIAS, DARK, FLAT, Site, plan, site_at
from tests.support.fakes import FakeCamera, lost


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield from site_at(tmp_path)


# --- settings --------------------------------------------------------------------------------------------------------


def test_a_refused_gain_fails_the_group_only(site: Site) -> None:
    with site.session() as session:
        with pytest.raises(GroupFailed) as caught:
            session.run(plan(replace(DARK, gain=5000)))
        assert caught.value.code == GroupCode.SETTING_REFUSED
        assert len(session.run(plan(DARK))[0]) == 3


def test_settings_are_applied_and_headers_carry_what_was_read_back(site: Site) -> None:
    (results,) = site.take(replace(DARK, gain=60, readout_mode="high GAIN", binning=2))
    header = results[0].header
    assert (header.gain, header.readout_mode, header.bin_x, header.shape) == (60, "High gain", 2, (32, 48))
    assert header.pixel_size_x_um == pytest.approx(7.52)


def test_what_one_state_sets_is_as_it_was_found_for_a_state_that_does_not_name_it(site: Site) -> None:
    site.camera.change_behind_our_back(gain=7, offset=12)
    settings = []
    with site.session() as session:
        for asked in (
            BIAS,
            replace(DARK, gain=60, offset=30),
            BIAS,
            replace(BIAS, gain=60),
            replace(DARK, offset=1),
        ):
            header = session.run(plan(asked))[0][0].header
            settings.append((header.gain, header.offset))
    assert settings == [(7, 12), (60, 30), (7, 12), (60, 12), (7, 1)]


def test_flats_say_whose_light_they_are_of(site: Site) -> None:
    (results,) = site.take(replace(FLAT, panel_brightness=None, source="sky"))
    assert {each.header.source for each in results} == {"sky"}


def test_a_camera_that_has_no_images_of_its_full_frame_is_named_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_blocks(wanted: CameraSettings) -> CameraSettings:
        FakeCamera.apply(site.camera, wanted)
        site.camera.change_behind_our_back(num_x=88)
        return site.camera.settings()

    with site.session() as session:
        session.run(plan(BIAS))
        monkeypatch.setattr(site.camera, "apply", in_blocks)
        (results,) = session.run(plan(replace(DARK, gain=31)))
        session.run(plan(replace(DARK, gain=32)))
    assert results[0].header.shape == (64, 88)
    site.events.close()
    told = [e.what.detail for e in site.heard if isinstance(e.what, WarningRaised)]
    assert told == ["Fake camera has no images of its full frame, 96 x 64 pixels: 88 x 64 are taken"]


def test_another_programs_change_is_noticed_undone_and_in_the_end_given_up(site: Site) -> None:
    def meddle() -> None:
        site.camera.change_behind_our_back(gain=99)

    with site.session() as session:
        session.run(plan(replace(DARK, gain=26)))
        meddle()
        (results,) = session.run(plan(replace(DARK, gain=26)))
        assert results[0].header.gain == 26
        meddle()
        session.run(plan(replace(DARK, gain=26)))
        meddle()
        with pytest.raises(CameraBusy):
            session.run(plan(replace(DARK, gain=26)))
    site.events.close()
    codes = [e.what.code for e in site.heard if isinstance(e.what, WarningRaised)]
    assert codes.count(RunCode.FOREIGN_CLIENT) == 2


def test_five_minutes_of_waiting_for_the_afterglow_are_told_before_they_pass(site: Site) -> None:
    begun = site.clock.now()
    site.take(replace(DARK, wait_s=300.0), replace(DARK, wait_s=5.0))
    site.events.close()
    (told,) = [e for e in site.heard if isinstance(e.what, Waiting)]
    assert (told.what.wait_s, told.what.at_most) == (300.0, False)
    assert (told.what.until - told.at).total_seconds() == pytest.approx(300, abs=1)
    assert "persistence_wait" in told.what.detail
    assert begun <= told.at
    assert (site.clock.now() - told.at).total_seconds() >= 300


def test_a_setting_that_nobody_named_is_put_back_as_it_was_found(site: Site) -> None:
    with site.session() as session:
        session.run(plan(DARK))
        site.camera.change_behind_our_back(gain=99, offset=3)
        (results,) = session.run(plan(DARK))
    assert {(r.header.gain, r.header.offset) for r in results} == {(26, 25)}
    site.events.close()
    (warned,) = [e for e in site.heard if isinstance(e.what, WarningRaised)]
    assert warned.what.detail == "gain is 99, we left 26, offset is 3, we left 25"


def test_another_programs_exposure_is_waited_for_and_the_settings_seen_to(site: Site) -> None:
    busy = CameraBusy(device="Fake camera", detail="it is exposing, and not for us")
    site.camera.expose_errors.extend([None, None, busy])
    (results,) = site.take(DARK)
    assert [r.accepted for r in results] == [True] * 3
    assert site.camera.calls.count("disconnect") == 1  # at the end: it is ours again
    site.events.close()
    (warned,) = [e for e in site.heard if isinstance(e.what, WarningRaised)]
    assert warned.what.code == RunCode.FOREIGN_CLIENT


def test_an_image_of_another_programs_exposure_is_refused_told_and_taken_again(site: Site) -> None:
    site.camera.slipped_in.extend([None, None, 30.0, None])  # after the one that is thrown away
    (results,) = site.take(replace(DARK, count=4))
    assert [r.accepted for r in results] == [True, False, True, True]
    assert FrameCode.EXPOSURE_MISMATCH in {v.code for v in results[1].verdicts}
    assert [row.exposure_us for row in site.catalogue.frames(set_id="d1")] == [2_000_000] * 3
    site.events.close()
    (warned,) = [e for e in site.heard if isinstance(e.what, WarningRaised)]
    assert warned.what.code == RunCode.FOREIGN_CLIENT
    assert warned.what.detail == "an image of 30 s came for our exposure of 2 s"


def test_a_camera_that_gives_us_anothers_image_for_the_third_time_is_left_to_it(site: Site) -> None:
    site.camera.slipped_in.extend([None, None, 30.0, None, 30.0, None, 30.0])
    with pytest.raises(CameraBusy, match="an image of 30 s came"), site.session() as session:
        session.run(plan(replace(DARK, count=20)))
    assert not {"abort", "disconnect"} & set(site.camera.calls)
    site.events.close()
    codes = [e.what.code for e in site.heard if isinstance(e.what, WarningRaised)]
    assert codes == [RunCode.FOREIGN_CLIENT] * 2


def test_a_camera_that_never_tells_its_exposures_right_is_wrong_and_not_in_anothers_hands(site: Site) -> None:
    site.camera.slipped_in.extend([30.0] * 5)
    with pytest.raises(GroupFailed, match="exposes 30 s each time it is asked for 2 s") as caught:
        site.take(replace(DARK, count=4))
    assert caught.value.code == FrameCode.EXPOSURE_MISMATCH
    site.events.close()
    assert WarningRaised.name not in site.names()


def test_a_driver_that_tells_the_exposure_before_is_asked_again_and_is_not_in_anothers_hands(site: Site) -> None:
    times_us = [1_000_000, 500_000, 700_000, 650_000, 1_000_000]
    frames = [3, 4, 4, 4, 3]  # of a new exposure one more shows what the camera makes of it
    asked_s = [1.0] + [us / 1e6 for us, n in zip(times_us, frames, strict=True) for _ in range(n)]
    site.camera.slipped_in.extend([None, *asked_s[:-1]])  # one is thrown away
    taken = site.take(*(replace(DARK, set_id=f"d{i}", exposure_us=us) for i, us in enumerate(times_us)))
    assert [[r.accepted for r in results] for results in taken] == [[True] * 3] * 4 + [[False, True, True]]
    site.events.close()
    assert WarningRaised.name not in site.names()


@pytest.mark.parametrize("told_s", [[0.006] * 6, [0.001, 0.006, 0.004, 0.001, 0.05, 0.009], [0.001, *[0.0] * 5]])
def test_a_driver_that_tells_short_exposures_wrong_is_not_in_anothers_hands(site: Site, told_s: list[float]) -> None:
    site.camera.slipped_in.extend([None] * 4 + told_s)
    darks, biases, again = site.take(DARK, replace(BIAS, count=6), replace(DARK, set_id="d2"))
    assert all(r.accepted for r in darks + again)
    wrong = [FrameCode.EXPOSURE_MISMATCH in {v.code for v in r.verdicts} for r in biases]
    assert wrong == [s > 0.021 for s in told_s]  # up to 20 ms are the driver's own, 0 is none at all
    site.events.close()
    assert WarningRaised.name not in site.names()


def test_another_programs_images_hours_apart_are_told_and_do_not_take_the_camera_from_us(site: Site) -> None:
    with site.session() as session:
        for i in range(4):
            site.camera.slipped_in.extend([None] * (2 if i == 0 else 1) + [30.0, None])
            (results,) = session.run(plan(replace(DARK, set_id=f"d{i}")))
            assert [r.accepted for r in results] == [True, False, True]
            site.clock.sleep(3 * 3600.0)
    site.events.close()
    codes = [e.what.code for e in site.heard if isinstance(e.what, WarningRaised)]
    assert codes == [RunCode.FOREIGN_CLIENT] * 4


def test_a_camera_that_another_program_keeps_is_left_to_it(site: Site) -> None:
    def theirs():
        site.camera.activity = CameraStates.EXPOSING
        return (yield from plan(DARK))

    site.camera.expose_errors.append(CameraBusy(device="Fake camera", detail="it is exposing, and not for us"))
    begun_s = site.clock.monotonic()
    with pytest.raises(CameraBusy), site.session() as session:
        session.run(theirs())
    assert site.clock.monotonic() - begun_s >= 300.0
    assert not {"abort", "disconnect"} & set(site.camera.calls)


def test_an_exposure_is_rounded_to_what_the_camera_keeps(site: Site) -> None:
    (results,) = site.take(replace(DARK, exposure_us=1_234_567, count=1))
    assert results[0].header.exposure_us == 1_235_000
    with site.session() as session:
        assert quantised_us(10, session.camera_info) == 1_000


# --- light -----------------------------------------------------------------------------------------------------------


def test_an_opaque_filter_is_selected_for_darks(tmp_path: Path) -> None:
    site = Site(tmp_path, config=Config(storage=Storage(min_free_mb=0), filter_wheel=FilterWheel(opaque=("Dark",))))
    (results,) = site.take(DARK)
    assert results[0].header.filter == "Dark"
    site.close()


def test_a_lamp_that_stays_lit_before_darks_fails_the_group(site: Site) -> None:
    site.panel.calibrator, site.panel.brightness, site.panel.stays_lit = CalibratorStatus.READY, 200, True
    with pytest.raises(GroupFailed) as caught:
        site.take(DARK)
    assert caught.value.code == GroupCode.PANEL_NOT_READY
    assert site.camera.exposed == []


def test_a_lamp_that_stays_lit_is_not_waited_out_again_for_each_group_of_darks(site: Site) -> None:
    site.panel.calibrator, site.panel.brightness = CalibratorStatus.READY, 200
    told_only = []

    def stays_lit(wake: threading.Event | None = None) -> None:
        told_only.append(wake is not None and site.clock.sleep(120.0, wake))
        raise PanelFailed(device="Fake panel", detail="it is still not off")

    site.panel.calibrator_off = stays_lit  # type: ignore[method-assign]
    with site.session() as session:
        for _ in range(3):
            with pytest.raises(GroupFailed):
                session.run(plan(DARK))
        assert told_only == [False, True, True, True, True, True]
        assert site.clock.monotonic() < 200
        site.panel.calibrator = CalibratorStatus.OFF  # somebody pulled the plug
        assert all(result.accepted for result in session.run(plan(DARK))[0])


def test_a_panel_that_never_reads_off_gives_darks_and_flats_and_is_named_once(site: Site) -> None:
    site.panel.calibrator = site.panel.off_reads = CalibratorStatus.READY
    flat = replace(FLAT, count=1)
    taken = site.take(DARK, flat, replace(DARK, set_id="d2"), replace(flat, set_id="f2"))
    assert all(result.accepted for results in taken for result in results)
    assert [results[0].header.panel_brightness for results in taken] == [0, 200, 0, 200]
    assert site.panel.calls[1] == "off", "it may be lit whatever it reads"
    site.events.close()
    (warned,) = [e.what for e in site.heard if isinstance(e.what, WarningRaised)]
    assert warned.code == RunCode.DEVICE_LIMITED


def test_a_cover_and_a_lamp_that_somebody_else_moved_are_put_right_and_told(site: Site) -> None:
    with site.session() as session:
        session.run(plan(DARK))
        site.panel.cover, site.panel.calibrator, site.panel.brightness = CoverStatus.OPEN, CalibratorStatus.READY, 7
        assert all(result.accepted for result in session.run(plan(DARK))[0])
        session.run(plan(DARK))
    site.events.close()
    (warned,) = [e for e in site.heard if isinstance(e.what, WarningRaised)]
    assert warned.what.code == RunCode.FOREIGN_CLIENT
    assert warned.what.detail == "the lamp is at 7, we left it off, the cover is open, we left it closed"


def test_a_stuck_wheel_fails_the_group_only(site: Site) -> None:
    site.wheel.stuck = True
    with site.session() as session:
        with pytest.raises(GroupFailed) as caught:
            session.run(plan(FLAT))
        assert caught.value.code == GroupCode.FILTER_FAILED
        assert len(session.run(plan(replace(FLAT, filter="L", set_id="f2")))[0]) == 3


def test_a_lost_wheel_is_asked_again(site: Site) -> None:
    site.wheel.errors.extend([lost(), lost(), None])
    (results,) = site.take(FLAT)
    assert len(results) == 3
    names = site.names()
    assert (names.count(DeviceGone.name), names.count(DeviceRestored.name)) == (1, 1)


def test_a_camera_that_was_handed_in_is_left_connected(site: Site) -> None:
    with site.session() as session:
        session._observatory.owns_camera = True
    assert not site.camera.connected
    session = site.session()
    session._observatory.owns_camera = False
    with session:
        session.run(plan(DARK))
    assert site.camera.connected


def test_a_lost_panel_is_reconnected(site: Site) -> None:
    site.panel.errors.append(lost())
    (results,) = site.take(FLAT)
    assert len(results) == 3
    assert site.panel.calls.count("connect") == 2


def test_a_filter_without_a_wheel_fails_the_group(site: Site) -> None:
    site.wheel = None  # type: ignore[assignment]
    with pytest.raises(GroupFailed) as caught:
        site.take(FLAT)
    assert caught.value.code == GroupCode.FILTER_FAILED


def test_a_cover_is_not_opened_by_day(tmp_path: Path) -> None:
    from services.config.models import Site as SiteSection

    midday = Config(storage=Storage(min_free_mb=0), site=SiteSection(latitude=0.0, longitude=-90.0))  # 18 h UTC
    site = Site(tmp_path, config=midday)
    site.panel.cover = CoverStatus.CLOSED
    with pytest.raises(GroupFailed) as caught:
        site.take(replace(FLAT, cover=Cover.OPEN))
    assert "sun" in caught.value.detail
    assert "open" not in site.panel.calls
    site.close()


@pytest.mark.parametrize("open_by_day", [False, True])
def test_a_cover_that_is_opened_without_anybody_knowing_the_sun_is_told_once(tmp_path: Path, open_by_day: bool) -> None:
    panel = FlatPanel(open_by_day=open_by_day)
    site = Site(tmp_path, config=Config(storage=Storage(min_free_mb=0), flat_panel=panel))
    site.panel.cover = CoverStatus.CLOSED
    opened = replace(FLAT, cover=Cover.OPEN, count=1)
    site.take(opened, replace(opened, cover=Cover.CLOSED), opened)
    site.close()
    told = [e.what.code for e in site.heard if isinstance(e.what, WarningRaised)]
    assert told == ([] if open_by_day else [RunCode.NO_SITE])


# --- temperature -----------------------------------------------------------------------------------------------------


def test_darks_are_held_to_the_set_point_and_flats_go_on_marked(tmp_path: Path) -> None:
    site = Site(tmp_path, config=Config(storage=Storage(min_free_mb=0), cooling=Cooling()))
    site.camera.plant.max_delta_c = 20.0
    with site.session() as session:
        with pytest.raises(GroupFailed) as caught:
            session.run(plan(replace(DARK, set_temp_c=-20.0)))
        assert caught.value.code == GroupCode.COOLER_LIMIT
        (flats,) = session.run(plan(replace(FLAT, set_temp_c=-20.0)))
    assert all(r.accepted for r in flats)
    assert flats[0].header.ccd_temp_c is not None
    assert flats[0].header.ccd_temp_c > -5
    site.close()


def test_a_frame_taken_off_its_set_point_is_refused_and_the_sensor_waited_for(tmp_path: Path) -> None:
    site = Site(tmp_path, config=Config(storage=Storage(min_free_mb=0), cooling=Cooling()))
    shots = 0

    def gust() -> None:
        nonlocal shots
        shots += 1
        if shots == 2:
            site.camera.plant.celsius += 3.0

    site.camera.on_expose = gust
    (results,) = site.take(replace(DARK, count=8, set_temp_c=-10.0))
    refused = [FrameCode.TEMPERATURE_OFF in {v.code for v in r.verdicts} for r in results]
    assert refused[1]
    assert not any(refused[5:])
    assert results[-1].header.set_temp_c == -10.0
    site.close()


# --- a camera that was away ------------------------------------------------------------------------------------------


def test_a_camera_switched_off_and_on_within_a_set_goes_on_with_the_gain_it_had(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = site.camera.connect

    def wake_up_with_defaults() -> None:
        connect()
        site.camera.change_behind_our_back(gain=0, offset=10, readout_mode=1)

    with site.session() as session:
        monkeypatch.setattr(site.camera, "connect", wake_up_with_defaults)
        site.camera.expose_errors.extend([None, None, lost()])
        (results,) = session.run(plan(DARK))
    assert [r.accepted for r in results] == [True] * 3
    found = [(r.header.gain, r.header.offset, r.header.readout_mode) for r in results]
    assert found == [(26, 25, "Photographic")] * 3
