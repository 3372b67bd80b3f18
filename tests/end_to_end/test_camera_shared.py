"""An observer's program and the daemon at one camera, over the wire: whoever asks for it gets it, and gives it back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.endpoint import Endpoint
from drivers.alpaca.onlooker import Onlooker
from drivers.base import CameraStates, ExposureRequest
from drivers.clock import SystemClock
from services.files.locks import ObservatoryLock, RootLock
from tests.support.served_daemon import ALWAYS, Daemon, served
from tests.support.small_night import Night

LONG: dict[str, Any] = {
    "dark_capture": {
        "num_darks": 2,
        "science_exposure_time": 3600.0,
        "exposure_factors": [1.0],
        "max_exposure": 4000.0,
    },
    "camera": {"camera_type": "simulator", "simulator": {"width": 160, "height": 120, "rate": 100}},
    "programmes": [{"name": "dark", "darks": {"exposures": [3600]}}],
    "serve": {"windows": [ALWAYS]},
}
"""Darks of 36 s of real time each."""


class Observer:
    """A program of an observer that waits for the camera, takes a frame, and lets it go."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.onlooker = Onlooker(endpoint, SystemClock())
        self.camera = AlpacaCamera(endpoint, SystemClock())

    def wait_until(self, activity: CameraStates) -> None:
        """Wait until the camera does something."""
        while self.onlooker.look().activity is not activity:
            pass

    def wait_until_free(self) -> None:
        """Wait until nobody has the camera."""
        while self.onlooker.look().connected:
            pass

    def frame(self) -> tuple[int, ...]:
        """Take a frame of a second, as the camera is; return its size."""
        self.camera.connect()
        return self.camera.expose(ExposureRequest(duration_s=1.0, light=False)).pixels.shape


@contextmanager
def observer_of(daemon: Daemon) -> Iterator[Observer]:
    address = ObservatoryLock(daemon.night.root).address()
    assert address is not None
    observer = Observer(Endpoint(*address))
    try:
        yield observer
    finally:
        observer.camera.close()
        observer.onlooker.close()


@pytest.mark.timeout(300)
def test_an_observer_who_asks_gets_the_camera_in_the_middle_of_a_long_frame_and_gives_it_back(night: Night) -> None:
    night.write(LONG)
    with served(night) as daemon, observer_of(daemon) as observer:
        daemon.until("running")
        while "3600" not in ((daemon.state()["run"] or {}).get("set") or ""):
            pass
        observer.wait_until(CameraStates.EXPOSING)
        status, said = daemon.order(order="yield", for_s=8 * 3600.0, by="N.I.N.A.")
        assert (status, said["is_done"]) == (202, False)
        observer.wait_until_free()
        assert observer.frame() == (120, 160)
        daemon.until("idle: ")
        state = daemon.state()
        assert (state["mode"]["why"], state["last_run"]["code"]) == ("yielded", "yielded")
        assert not night.frames("dark_3600*")  # the frame of an hour was given up
        while "another program" not in str(daemon.state()["devices"]["camera"]["value"]):
            pass
        assert daemon.order(order="resume")[0] == 200
        assert "another program has it connected" in daemon.until("idle: ", "starting")
        observer.camera.disconnect()
        assert "dark 3600 s" in daemon.until("starting")


def test_while_another_program_is_at_work_in_the_folder_it_is_named_and_then_what_is_due_is_begun(night: Night) -> None:
    night.write({**LONG, "programmes": [{"name": "bias", "bias": {"frames": 3}}]})
    with RootLock(night.root) as lock, served(night) as daemon:
        daemon.until("is in use by")
        assert daemon.state()["activity"]["reason"] == "root_in_use"
        status, said = daemon.order(order="run")
        assert (status, said["code"]) == (409, "root_in_use")
        assert f"{night.root} is in use by " in said["detail"]
        assert daemon.state()["last_run"] is None  # nothing was tried in vain
        lock.release()
        daemon.until("all that is wanted is there")
