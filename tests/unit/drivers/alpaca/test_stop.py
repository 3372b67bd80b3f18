"""A stop is heard while an image is waited for: nobody waits a minute for Ctrl-C because a download stalls."""

import threading
import time
from typing import Any

import pytest

from drivers.alpaca.camera import AlpacaCamera
from drivers.base import ExposureRequest
from drivers.clock import SystemClock
from drivers.errors import Cancelled
from tests.support.scripted_alpaca import Raw, ScriptedAlpaca, ScriptedCamera, Trick, image_bytes


@pytest.mark.parametrize("trick", [Trick("stall", 30), Trick("trickle", 30)])
def test_stop_gives_a_download_that_stalls_up_within_seconds(trick: Trick) -> None:
    stop = threading.Event()
    with ScriptedAlpaca() as server:
        scripted = ScriptedCamera(server)

        def begin(pixels: Any) -> Raw:
            stop.set()  # the server is asked for the image, whose download stalls from here on
            return Raw(image_bytes(pixels), content_type="application/imagebytes")

        scripted.encode = begin
        camera = AlpacaCamera(server.endpoint(), SystemClock())
        camera.connect()
        server.tricks["imagearray"].append(trick)
        begun_s = time.monotonic()
        with pytest.raises(Cancelled):
            camera.expose(ExposureRequest(duration_s=0.01, light=False), stop)
        assert time.monotonic() - begun_s < 15.0  # three seconds, and what a slow machine needs; it was sixty
        assert server.sent("GET", "imagearray")
        camera.close()
