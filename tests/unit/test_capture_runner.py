"""Plans on fake devices: what is stored, what is sent back, and what happens when a device fails."""

import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from calibration.errors import FrameCode, GroupCode
from calibration.frames import CaptureRequest, Cover, FrameKind, FrameResult, Limits, Purpose
from drivers.base import CalibratorStatus, CoverStatus
from drivers.clock import ManualClock
from drivers.errors import CameraBusy, DeviceLost, DriverCode, WrongDevice
from services.capture.failures import GroupFailed, UntilReached
from services.capture.session import Session
from services.config.models import Config, Cooling, FilterWheel, FlatPanel, SafetyMonitor, Storage
from services.errors import RunCode, RunStopped, StorageError
from services.events import Event, EventName, Events
from services.observatory import Interlock, Observatory
from services.storage.catalogue import Catalogue
from services.storage.disk import REAL_DISK, Disk, FullDisk
from services.storage.fits import read_frame, read_header
from services.storage.layout import Layout
from tests.fakes import INFO, FakeCamera, FakePanel, FakeSafety, FakeWheel, Scene, failed, lost

DARK = CaptureRequest(kind=FrameKind.DARK, purpose=Purpose.KEEP, exposure_us=2_000_000, count=3, set_id="d1")
BIAS = replace(DARK, kind=FrameKind.BIAS, exposure_us=1_000, set_id="b1")
FLAT = CaptureRequest(
    kind=FrameKind.FLAT,
    purpose=Purpose.KEEP,
    exposure_us=1_000_000,
    count=3,
    filter="Ha",
    panel_brightness=200,
    cover=Cover.CLOSED,
    set_id="f1",
)


class Site:
    """An observatory of fakes, a root, and what the run said."""

    def __init__(
        self, root: Path, *, config: Config | None = None, disk: Disk = REAL_DISK, info=INFO, safety: bool = False
    ) -> None:
        self.clock = ManualClock()
        self.panel = FakePanel(self.clock)
        self.wheel = FakeWheel(self.clock)
        scene = Scene(brightness=lambda: self.panel.brightness / 255)
        self.camera = FakeCamera(self.clock, info=replace(info, unique_id=None), scene=scene)
        self.safety = FakeSafety()
        self.interlock = Interlock(threading.Event())
        base = config or Config(storage=Storage(min_free_mb=0))
        self.config = base.model_copy(
            update={
                "filter_wheel": base.filter_wheel or FilterWheel(),
                "flat_panel": base.flat_panel or FlatPanel(),
                "safety_monitor": SafetyMonitor() if safety else None,
            }
        )
        self.layout = Layout(root)
        self.catalogue = Catalogue(self.layout.catalogue)
        self.disk = disk
        self.heard: list[Event] = []
        self.events = Events(run_id="run1", clock=self.clock)
        self.events.subscribe(self.heard.append)

    def session(self, **options) -> Session:
        observatory = Observatory(
            config=self.config,
            clock=self.clock,
            camera=self.camera,
            interlock=self.interlock,
            wheel=self.wheel,
            panel=self.panel,
            new_safety_monitor=lambda: self.safety if self.config.safety_monitor else None,
            new_panel=lambda: self.panel,
        )
        return Session(
            observatory=observatory,
            events=self.events,
            layout=self.layout,
            catalogue=self.catalogue,
            disk=self.disk,
            **options,
        )

    def names(self) -> list[EventName]:
        self.events.close()
        return [event.name for event in self.heard]

    def take(self, *requests: CaptureRequest, **options) -> list[tuple[FrameResult, ...]]:
        with self.session(**options) as session:
            return session.run(plan(*requests))

    def close(self) -> None:
        self.events.close()
        self.catalogue.close()


def plan(
    *requests: CaptureRequest,
) -> Generator[CaptureRequest, tuple[FrameResult, ...], list[tuple[FrameResult, ...]]]:
    taken = []
    for request in requests:
        taken.append((yield request))  # noqa: PERF401 - a comprehension cannot yield
    return taken


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def test_a_request_becomes_stored_catalogued_frames_whose_headers_say_what_was_reported(site: Site) -> None:
    (results,) = site.take(DARK)
    assert [r.accepted for r in results] == [True] * 3
    rows = site.catalogue.frames(set_id="d1")
    assert [row.frame_no for row in rows] == [1, 2, 3]
    frame = read_frame(site.layout.absolute(rows[0].path))
    header = frame.header
    assert frame.pixels.dtype == np.uint16
    assert frame.pixels.shape == (64, 96)
    assert (header.kind, header.exposure_us, header.reported_exposure_us) == (FrameKind.DARK, 2_000_000, 2_000_000)
    assert (header.gain, header.offset, header.readout_mode) == (26, 25, "Photographic")
    assert (header.run_id, header.set_id, header.instrument) == ("run1", "d1", "Fake camera")
    assert (header.cover, header.panel_brightness, header.filter) == ("closed", 0, "L")
    assert header.date_obs is not None
    assert header.date_end == header.date_obs + timedelta(seconds=2)
    assert rows[0].path.startswith("darks/exp_2.000s/dark_")
    assert site.names().count(EventName.FRAME_STORED) == 3


def test_flats_are_taken_through_the_filter_under_the_lamp_and_darks_after_them_in_the_dark(site: Site) -> None:
    flats, darks = site.take(FLAT, DARK)
    assert all(r.stats.level_adu > 5_000 for r in flats)
    assert flats[0].header.filter == "Ha"
    assert flats[0].header.source == "panel"
    assert flats[0].header.panel_brightness == 200
    assert all(r.stats.level_adu < 600 for r in darks)
    assert darks[0].header.panel_brightness == 0
    assert site.panel.calls.index("off") > site.panel.calls.index("on 200")
    assert all(not r.light for r in site.camera.exposed[3:])
    assert all(r.light for r in site.camera.exposed[:3])
    assert site.catalogue.frames(set_id="f1")[0].path.startswith("flats/Ha/flat_")


def test_only_what_differs_is_moved(site: Site) -> None:
    site.take(FLAT, FLAT, replace(FLAT, exposure_us=2_000_000))
    assert site.wheel.moves == ["Ha"]
    assert site.panel.calls.count("on 200") == 1
    assert site.camera.calls.count("apply") == 1


def test_discards_are_taken_and_forgotten_tests_are_measured_and_not_kept(site: Site) -> None:
    discarded, tested = site.take(
        replace(DARK, purpose=Purpose.DISCARD, count=2), replace(DARK, purpose=Purpose.TEST, count=2)
    )
    assert discarded == ()
    assert len(tested) == 2
    assert all(r.path is None for r in tested)
    assert len(site.camera.exposed) == 4
    assert site.catalogue.frames() == []


def test_noise_between_successive_frames_is_measured_within_a_request_only(site: Site) -> None:
    first, second = site.take(DARK, DARK)
    assert first[0].pair_sigma_adu is None
    assert second[0].pair_sigma_adu is None
    assert all(4.0 < (r.pair_sigma_adu or 0) < 6.0 for r in (*first[1:], *second[1:]))


def test_frames_of_a_resumed_set_are_numbered_on(site: Site, tmp_path: Path) -> None:
    site.take(DARK)
    site.close()
    again = Site(tmp_path)
    again.clock.advance(3600)
    again.take(replace(DARK, count=2))
    assert [row.frame_no for row in again.catalogue.frames(set_id="d1")] == [1, 2, 3, 4, 5]
    stored = [event.data for event in again.heard if event.name is EventName.FRAME_STORED]
    again.close()
    assert [(d["frame_no"], d["wanted"]) for d in stored] == [(4, 5), (5, 5)]


def test_a_frame_that_is_all_one_value_is_refused_and_kept_for_inspection(site: Site) -> None:
    site.camera.pixels_of.append(np.zeros_like)
    (results,) = site.take(DARK)
    assert [r.accepted for r in results] == [False, True, True]
    assert FrameCode.CONSTANT in {v.code for v in results[0].verdicts}
    assert results[0].path is not None
    assert results[0].path.as_posix().startswith("refused/")
    assert [row.frame_no for row in site.catalogue.frames(set_id="d1")] == [1, 2]
    (refusal,) = site.catalogue.refusals("run1")
    assert refusal.codes == (FrameCode.CONSTANT,)
    assert site.names().count(EventName.FRAME_REFUSED) == 1


def test_refused_frames_are_kept_in_bounds(tmp_path: Path) -> None:
    site = Site(tmp_path, config=Config(storage=Storage(min_free_mb=0, keep_refused=2)))
    site.camera.pixels_of.extend([np.zeros_like] * 5)
    site.take(replace(DARK, count=5))
    assert len(list((tmp_path / "refused").glob("*/*.fits"))) == 2
    assert len(site.catalogue.refusals("run1")) == 5
    site.close()


def test_a_refused_frame_ends_a_series_early_and_the_plan_gets_what_there_is(site: Site) -> None:
    limits = Limits(level_adu=8_000.0, level_tolerance_adu=10.0, stop_early=True)
    (results,) = site.take(replace(FLAT, count=20, limits=limits))
    assert 1 <= len(results) <= 2
    assert not results[0].accepted


def test_the_same_buffer_twice_reconnects_the_camera(site: Site) -> None:
    kept: list[np.ndarray] = []

    def keep(pixels: np.ndarray) -> np.ndarray:
        kept.append(pixels)
        return pixels

    def old(pixels: np.ndarray) -> np.ndarray:
        return kept[0].copy()

    site.camera.pixels_of.extend([keep, old, old, old])
    (results,) = site.take(replace(DARK, count=8))
    assert [FrameCode.DUPLICATE_FRAME in {v.code for v in r.verdicts} for r in results[:4]] == [False, True, True, True]
    assert all(r.accepted for r in results[4:])
    assert site.names().count(EventName.DEVICE_RESTORED) == 1


# --- the ladder ------------------------------------------------------------------------------------------------------


def test_a_failed_exposure_is_tried_again_after_reconnecting_and_throwing_one_away(site: Site) -> None:
    site.camera.expose_errors.extend([None, failed()])
    (results,) = site.take(DARK)
    assert [r.accepted for r in results] == [True] * 3
    durations = [r.duration_s for r in site.camera.exposed]
    assert durations == [2.0, 1.0, 2.0, 2.0]
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


def test_a_server_that_was_restarted_is_waited_for_and_the_frame_taken_again(site: Site) -> None:
    site.camera.expose_errors.append(lost())
    site.camera.connect_errors.extend([None, *[lost()] * 6])
    (results,) = site.take(DARK)
    assert len(results) == 3
    assert site.clock.monotonic() > 60
    assert site.names().count(EventName.DEVICE_LOST) == 1


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
    site.camera.expose_errors.extend([None, None, failed(), failed(), failed()])
    with pytest.raises(GroupFailed):
        site.take(replace(DARK, count=5))
    assert len(site.catalogue.frames(set_id="d1")) == 2


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
    codes = [e.data["code"] for e in site.heard if e.name is EventName.WARNING_RAISED]
    site.events.close()
    assert codes.count(RunCode.FOREIGN_CLIENT) == 2


def test_an_exposure_is_rounded_to_what_the_camera_keeps(site: Site) -> None:
    (results,) = site.take(replace(DARK, exposure_us=1_234_567, count=1))
    assert results[0].header.exposure_us == 1_235_000
    with site.session() as session:
        assert session.quantise(10) == 1_000


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
    assert (names.count(EventName.DEVICE_LOST), names.count(EventName.DEVICE_RESTORED)) == (1, 1)


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


# --- stops -----------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_at_once_and_leaves_everything_dark_and_quiet(site: Site) -> None:
    site.camera.on_expose = lambda: site.interlock.wake.set() if len(site.camera.exposed) == 2 else None
    with pytest.raises(RunStopped) as caught:
        site.take(replace(FLAT, count=10))
    assert caught.value.code is RunCode.INTERRUPTED
    assert site.panel.calibrator is CalibratorStatus.OFF
    assert site.panel.cover is CoverStatus.CLOSED
    assert not site.camera.connected
    assert len(site.catalogue.frames()) == 2


def test_until_stops_at_a_frames_edge_and_keeps_what_was_taken(site: Site) -> None:
    until = site.clock.now() + timedelta(seconds=60)
    with pytest.raises(UntilReached):
        site.take(replace(DARK, exposure_us=10_000_000, count=20), until=until)
    assert site.clock.now() <= until
    assert len(site.catalogue.frames()) >= 4


def test_a_full_disk_ends_the_run_with_its_code_and_no_half_file(tmp_path: Path) -> None:
    site = Site(tmp_path, disk=FullDisk(50_000))
    with pytest.raises(StorageError) as caught:
        site.take(replace(DARK, count=20))
    assert caught.value.code is RunCode.DISK_FULL
    files = sorted((tmp_path / "darks").rglob("*"))
    assert [f for f in files if f.name.endswith(".part")] == []
    kept = [f for f in files if f.suffix == ".fits"]
    assert len(kept) == len(site.catalogue.frames())
    assert all(read_header(f) for f in kept)
    assert len(site.camera.exposed) < 20
    site.close()


def test_too_little_free_space_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    site = Site(tmp_path, config=Config(storage=Storage(min_free_mb=10**9)))
    with pytest.raises(StorageError) as caught:
        site.take(DARK)
    assert caught.value.code is RunCode.DISK_FULL
    assert EventName.STORAGE_LOW in site.names()
    assert site.catalogue.frames() == []
    site.close()


def test_a_failure_while_ending_does_not_hide_the_first_cause(site: Site) -> None:
    site.camera.expose_errors.extend([failed()] * 3)
    off = site.panel.calibrator_off
    site.panel.calibrator_off = lambda wake=None: (_ for _ in ()).throw(lost("panel"))  # type: ignore[method-assign]
    with pytest.raises(GroupFailed, match="exposures failed"):
        site.take(DARK)
    site.panel.calibrator_off = off  # type: ignore[method-assign]
    assert site.panel.cover is CoverStatus.CLOSED
    assert not site.camera.connected


def test_a_camera_that_is_exposing_for_somebody_else_is_left_alone(site: Site) -> None:
    from drivers.base import CameraStates

    site.camera.activity = CameraStates.EXPOSING
    with pytest.raises(CameraBusy):
        site.take(DARK)
    assert "abort" not in site.camera.calls


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
    assert not [e for e in site.heard if e.name is EventName.WARNING_RAISED]


def test_a_jump_of_the_wall_clock_is_told_and_moves_no_wait(site: Site) -> None:
    def jump() -> None:
        if len(site.camera.exposed) == 1:
            site.clock._start += timedelta(hours=1)

    site.camera.on_expose = jump
    (results,) = site.take(DARK)
    assert len(results) == 3
    site.events.close()
    assert RunCode.CLOCK_JUMP in [e.data["code"] for e in site.heard if e.name is EventName.WARNING_RAISED]
