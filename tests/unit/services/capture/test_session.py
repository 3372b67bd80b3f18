"""What an order from outside does to a session: a frame is finished, every other wait ends at once, the cooler held."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from calibration.frames import CaptureRequest, Cover
from drivers.base import CalibratorStatus, CameraStates, CoverStatus
from drivers.clock import ManualClock
from drivers.errors import CameraBusy, ExposureFailed
from services.capture.connections import LEFTOVER_S
from services.config.devices import Cooling, FlatPanel
from services.config.models import Config, DarkCapture, FlatCapture, Storage
from services.errors import RunCode, RunStopped
from tests.support.fake_site import DARK, FLAT, Site, plan, site_at
from tests.support.fakes import lost


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield from site_at(tmp_path)


COLD = Config(storage=Storage(min_free_mb=0), cooling=Cooling())


# --- waits -----------------------------------------------------------------------------------------------------------


class Ordering(ManualClock):
    """A clock on which an order comes within a wait that a test picks."""

    def __init__(self) -> None:
        super().__init__()
        self.picks: Callable[[float], bool] = lambda _: False
        self.order: Callable[[], None] = lambda: None
        self.ordered_s: float | None = None

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        if self.ordered_s is None and self.picks(seconds):
            self.ordered_s = self.monotonic()
            self.order()
        return super().sleep(seconds, wake)


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A wait: what a site needs to come to it, which request leads there, and how its sleep is known."""

    request: CaptureRequest = DARK
    prepare: Callable[[Site], object] = lambda _: None
    begun: Callable[[Site], object] = lambda _: None
    picks: Callable[[Site, float], bool] = lambda _, seconds: seconds > 0


def _lose_camera(site: Site) -> None:
    site.camera.expose_errors.append(lost())
    site.camera.connect_errors.extend([None, *[lost()] * 6])


def _lose_panel(site: Site) -> None:
    site.panel.errors.append(lost())
    site.panel.connect_errors.extend([None, *[lost()] * 9])


WAITS = {
    "cooling": Wait(request=replace(DARK, set_temp_c=-10.0), picks=lambda site, s: site.camera.plant.on and s == 5.0),
    "fading": Wait(request=replace(DARK, wait_s=300.0), picks=lambda _, s: s == 300.0),
    "lamp warms up": Wait(request=replace(FLAT, wait_s=90.0), picks=lambda _, s: s == 90.0),
    "sky changes": Wait(request=replace(FLAT, panel_brightness=None, wait_s=60.0), picks=lambda _, s: s == 60.0),
    "wheel": Wait(request=FLAT, picks=lambda site, s: s == 2.0 and site.wheel.moves == ["Ha"]),
    "cover": Wait(picks=lambda site, s: s == 5.0 and site.panel.calls[-1] == "close cover"),
    "lamp gets ready": Wait(request=FLAT, picks=lambda site, s: s == 1.0 and site.panel.calls[-1] == "on 200"),
    "cover opens": Wait(
        request=replace(FLAT, cover=Cover.OPEN),
        prepare=lambda site: setattr(site.panel, "cover", CoverStatus.CLOSED),
        picks=lambda site, s: s == 5.0 and site.panel.calls[-1] == "open",
    ),
    "lost camera": Wait(
        prepare=_lose_camera, picks=lambda site, s: site.camera.calls[-2:] == ["disconnect", "connect"]
    ),
    "lost wheel": Wait(
        request=FLAT, prepare=lambda site: site.wheel.errors.extend([lost()] * 9), picks=lambda site, s: s == 4.0
    ),
    "lost panel": Wait(
        request=FLAT,
        prepare=_lose_panel,
        picks=lambda site, s: s == 4.0,
    ),
    "camera is not there yet": Wait(
        prepare=lambda site: site.camera.connect_errors.extend([lost()] * 9), picks=lambda _, s: s == 1.0
    ),
    "leftover exposure": Wait(prepare=lambda site: setattr(site.camera, "activity", CameraStates.EXPOSING)),
    "another program's exposure": Wait(
        prepare=lambda site: site.camera.expose_errors.append(CameraBusy(device="Fake camera", detail="not for us")),
        begun=lambda site: setattr(site.camera, "activity", CameraStates.EXPOSING),
        picks=lambda site, s: "expose" in site.camera.calls and s == 1.0,
    ),
}


@pytest.mark.parametrize("order", ["after_frame", "now"])
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_an_order_ends_a_wait_that_is_not_a_frame_at_once(tmp_path: Path, wait: Wait, order: str) -> None:
    clock = Ordering()
    site = Site(tmp_path, config=COLD.model_copy(update={"flat_panel": FlatPanel(open_by_day=True)}), clock=clock)
    wait.prepare(site)
    clock.picks = lambda seconds: wait.picks(site, seconds)
    clock.order = lambda: getattr(site.interlock.wake, order)("cancelled")
    ended_s: list[float] = []

    def take() -> None:
        with site.session() as session:
            wait.begun(site)
            try:
                session.run(plan(wait.request))
            finally:
                ended_s.append(clock.monotonic())

    with pytest.raises(RunStopped) as caught:
        take()
    assert caught.value.code is RunCode.CANCELLED
    assert caught.value.exit == 0
    assert clock.ordered_s is not None, "the wait never came"
    assert not ended_s or ended_s[0] - clock.ordered_s < 0.5
    assert site.catalogue.frames() == []
    assert site.panel.calibrator is not CalibratorStatus.READY
    site.close()


def test_an_exposure_of_a_killed_run_is_waited_for_as_long_as_flats_take_and_secure_is_named(tmp_path: Path) -> None:
    limits = {"dark_capture": DarkCapture(max_exposure=30.0), "flat_capture": FlatCapture(max_exposure=600.0)}
    site = Site(tmp_path, config=COLD.model_copy(update=limits))
    site.camera.activity = CameraStates.EXPOSING
    begun_s = site.clock.monotonic()
    with pytest.raises(CameraBusy, match="`nightcal secure` ends it"), site.session():
        pass
    assert site.clock.monotonic() - begun_s == pytest.approx(600.0 + LEFTOVER_S, abs=5.0)
    assert site.catalogue.frames() == []
    site.close()


# --- frames ----------------------------------------------------------------------------------------------------------


def test_an_order_within_a_frame_lets_it_finish_and_be_stored(site: Site) -> None:
    def order() -> None:
        if len(site.camera.exposed) == 2:  # the first was thrown away: this is the second that is kept
            site.interlock.wake.after_frame("paused")

    site.camera.on_expose = order
    with pytest.raises(RunStopped) as caught:
        site.take(replace(DARK, count=10))
    assert caught.value.code is RunCode.PAUSED
    assert [row.frame_no for row in site.catalogue.frames()] == [1, 2]
    assert len(site.camera.exposed) == 3
    assert not site.camera.connected


def test_an_order_within_the_frame_that_is_thrown_away_takes_no_other(site: Site) -> None:
    site.camera.on_expose = lambda: site.interlock.wake.after_frame("cancelled")
    with pytest.raises(RunStopped):
        site.take(DARK)
    assert [r.duration_s for r in site.camera.exposed] == [1.0]


@pytest.mark.parametrize(("exposure_s", "kept"), [(59, 1), (61, 0), (900, 0)])
def test_who_waits_for_the_camera_waits_for_no_more_than_a_minute_of_the_frame(
    site: Site, exposure_s: int, kept: int
) -> None:
    def order() -> None:
        if site.camera.exposed:  # the frame that is thrown away is over
            site.interlock.wake.after_frame("yielded", at_most_s=60.0)

    site.camera.on_expose = order
    with pytest.raises(RunStopped) as caught:
        site.take(replace(DARK, exposure_us=exposure_s * 1_000_000, count=4))
    assert (caught.value.code, caught.value.exit) == (RunCode.YIELDED, 0)
    assert len(site.catalogue.frames()) == kept


def test_an_exposure_that_fails_is_not_tried_again_by_a_run_that_is_to_end(site: Site) -> None:
    def fail() -> None:
        if site.camera.exposed:
            site.interlock.wake.after_frame("cancelled")
            raise ExposureFailed(device="Fake camera", detail="it came to nothing")

    site.camera.on_expose = fail
    with pytest.raises(RunStopped) as caught:
        site.take(DARK)
    assert caught.value.code is RunCode.CANCELLED
    assert site.camera.calls.count("expose") == 2


def test_a_second_order_gives_the_frame_up(site: Site) -> None:
    def order() -> None:
        site.interlock.wake.after_frame("paused")
        site.interlock.wake.now("cancelled")

    site.camera.on_expose = order
    with pytest.raises(RunStopped) as caught:
        site.take(DARK)
    assert caught.value.code is RunCode.CANCELLED
    assert site.catalogue.frames() == []
