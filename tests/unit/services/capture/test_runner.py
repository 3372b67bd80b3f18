"""Plans on fake devices: what is stored, what is sent back, and how a run ends."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from calibration.errors import FrameCode
from calibration.frames import FrameKind, Limits, Pixels, Purpose
from drivers.base import CalibratorStatus, CoverStatus
from drivers.errors import CameraBusy
from services.capture import writer
from services.capture.failures import GroupFailed, UntilReached
from services.config.models import Config, Storage
from services.errors import RunCode, RunStopped, StorageError
from services.events.devices import PanelChanged
from services.events.records import FrameRefused, FrameStored, StorageLow, WarningRaised
from services.files.disk import Disk, Stream
from services.files.fits import read_frame, read_header
from tests.support.failing_disks import FullDisk
from tests.support.fake_site import DARK, FLAT, Site, site_at
from tests.support.fakes import failed, lost


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield from site_at(tmp_path)


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
    assert site.names().count(FrameStored.name) == 3


def test_flats_are_taken_through_the_filter_under_the_lamp_and_darks_after_them_in_the_dark(site: Site) -> None:
    flats, darks = site.take(FLAT, DARK)
    assert all(r.stats.level_adu > 5_000 for r in flats)
    assert flats[0].header.filter == "Ha"
    assert flats[0].header.source == "panel"
    assert flats[0].header.panel_brightness == 200
    assert all(r.stats.level_adu < 600 for r in darks)
    assert darks[0].header.panel_brightness == 0
    assert site.panel.calls.index("off") > site.panel.calls.index("on 200")
    assert [r.light for r in site.camera.exposed] == [True] * 4 + [False] * 3  # the very first is thrown away
    assert site.catalogue.frames(set_id="f1")[0].path.startswith("flats/Ha/flat_")


def test_a_doubt_that_costs_no_frame_is_told_once_a_set_and_with_each_frame(site: Site) -> None:
    def brighter(pixels: Pixels) -> Pixels:
        return pixels + np.uint16(0.02 * pixels.mean())

    def as_it_is(pixels: Pixels) -> Pixels:
        return pixels

    site.camera.pixels_of.extend([as_it_is, as_it_is, brighter, as_it_is, brighter])  # the first is thrown away
    (results,) = site.take(replace(FLAT, count=4))
    assert all(r.accepted for r in results)
    site.events.close()
    stored = [e.what for e in site.heard if isinstance(e.what, FrameStored)]
    assert [[d.code for d in frame.doubts] for frame in stored] == [[], ["lamp_drift"], [], ["lamp_drift"]]
    (warned,) = [e for e in site.heard if isinstance(e.what, WarningRaised)]
    assert warned.what.code == FrameCode.LAMP_DRIFT
    assert stored[1].path in warned.what.detail


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
    again.events.close()
    assert [row.frame_no for row in again.catalogue.frames(set_id="d1")] == [1, 2, 3, 4, 5]
    stored = [event.what for event in again.heard if isinstance(event.what, FrameStored)]
    again.close()
    assert [(frame.frame_no, frame.wanted) for frame in stored] == [(4, 5), (5, 5)]


def test_the_first_frame_after_connecting_and_after_a_change_of_mode_is_thrown_away(site: Site) -> None:
    slow, fast = (replace(DARK, readout_mode=mode) for mode in site.camera.info.readout_modes)
    site.take(slow, slow, fast)
    assert [r.duration_s for r in site.camera.exposed] == [1.0, *[2.0] * 6, 1.0, *[2.0] * 3]


def test_a_frame_that_is_all_one_value_is_refused_and_kept_for_inspection(site: Site) -> None:
    site.camera.pixels_of.extend([np.copy, np.zeros_like])  # the very first is thrown away
    (results,) = site.take(DARK)
    assert [r.accepted for r in results] == [False, True, True]
    assert FrameCode.CONSTANT in {v.code for v in results[0].verdicts}
    assert results[0].path is not None
    assert results[0].path.as_posix().startswith("refused/")
    assert [row.frame_no for row in site.catalogue.frames(set_id="d1")] == [1, 2]
    (refusal,) = site.catalogue.refusals("run1")
    assert refusal.codes == (FrameCode.CONSTANT,)
    assert site.names().count(FrameRefused.name) == 1


def test_refused_frames_are_kept_in_bounds(tmp_path: Path) -> None:
    site = Site(tmp_path, config=Config(storage=Storage(min_free_mb=0, keep_refused=2)))
    site.camera.pixels_of.extend([np.zeros_like] * 6)
    site.take(replace(DARK, count=5))
    assert len(list((tmp_path / "refused").glob("*/*.fits"))) == 2
    assert len(site.catalogue.refusals("run1")) == 5
    site.close()


def test_a_refused_frame_ends_a_series_early_and_the_plan_gets_what_there_is(site: Site) -> None:
    limits = Limits(level_adu=8_000.0, level_tolerance_adu=10.0, stop_early=True)
    (results,) = site.take(replace(FLAT, count=20, limits=limits))
    assert 1 <= len(results) <= 2
    assert not results[0].accepted


# --- stops -----------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_at_once_and_leaves_everything_dark_and_quiet(site: Site) -> None:
    site.camera.on_expose = lambda: site.interlock.wake.set() if len(site.camera.exposed) == 3 else None
    with pytest.raises(RunStopped) as caught:
        site.take(replace(FLAT, count=10))
    assert caught.value.code is RunCode.INTERRUPTED
    assert site.panel.calibrator is CalibratorStatus.OFF
    assert site.panel.cover is CoverStatus.CLOSED
    assert not site.camera.connected
    assert len(site.catalogue.frames()) == 2


class HungDisk(Disk):
    """A disk on which no file can be made until it answers again."""

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()

    def create(self, path: Path) -> Stream:
        self.asked.set()
        self.answers.wait(100)
        return super().create(path)


def interrupted_when_asked(site: Site, disk: HungDisk) -> threading.Thread:
    def interrupt() -> None:
        disk.asked.wait(100)
        site.interlock.wake.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


def test_ctrl_c_while_the_disk_is_waited_for_leaves_everything_dark_before_it_answers(tmp_path: Path) -> None:
    disk = HungDisk()
    site = Site(tmp_path, disk=disk)
    lit: list[bool] = []
    off = site.panel.calibrator_off

    def switch_off(wake: threading.Event | None = None) -> None:
        off(wake)
        if disk.asked.is_set():
            lit.append(disk.answers.is_set())
            disk.answers.set()

    site.panel.calibrator_off = switch_off  # type: ignore[method-assign]
    thread = interrupted_when_asked(site, disk)
    with pytest.raises(RunStopped) as caught:
        site.take(replace(FLAT, count=10))
    thread.join()
    assert caught.value.code is RunCode.INTERRUPTED
    assert lit[0] is False, "the lamp shone until the disk answered"
    assert len(site.catalogue.frames()) == len(list(tmp_path.rglob("flat_*.fits"))) > 0, "what was queued is written"
    site.close()


def test_a_disk_that_hangs_for_ever_does_not_keep_the_run_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CLOSE_S", 0.3)
    disk = HungDisk()
    site = Site(tmp_path, disk=disk)
    thread = interrupted_when_asked(site, disk)
    with pytest.raises(RunStopped):
        site.take(replace(FLAT, count=10))
    thread.join()
    assert site.panel.calibrator is CalibratorStatus.OFF
    assert not site.camera.connected
    disk.answers.set()
    assert WarningRaised.name in site.names()


def test_until_stops_at_a_frames_edge_and_keeps_what_was_taken(site: Site) -> None:
    until = site.clock.now() + timedelta(seconds=60)
    with pytest.raises(UntilReached):
        site.take(replace(DARK, exposure_us=10_000_000, count=20), until=until)
    begun = [row.date_obs for row in site.catalogue.frames() if row.date_obs is not None]
    assert max(begun) + timedelta(seconds=10) <= until
    assert len(begun) >= 4


def test_nothing_is_moved_for_a_request_that_cannot_end_in_time(site: Site) -> None:
    until = site.clock.now() + timedelta(seconds=60)
    with pytest.raises(UntilReached):
        site.take(replace(FLAT, count=1, wait_s=120.0), until=until)
    assert PanelChanged.name not in site.names()


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
    assert StorageLow.name in site.names()
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


def test_a_jump_of_the_wall_clock_is_told_and_moves_no_wait(site: Site) -> None:
    def jump() -> None:
        if len(site.camera.exposed) == 1:
            site.clock._start += timedelta(hours=1)

    site.camera.on_expose = jump
    (results,) = site.take(DARK)
    assert len(results) == 3
    site.events.close()
    assert RunCode.CLOCK_JUMP in [e.what.code for e in site.heard if isinstance(e.what, WarningRaised)]
