"""A camera that only hands out ready frames, in a process of its own, and a capture loop against it.

The simulated observatory works for its frames; here they lie encoded in memory, so that what is measured is ours.
Exposures last as long as they say, in real time.
"""

import itertools
import logging
import multiprocessing
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from calibration.frames import CaptureRequest, FrameKind, Purpose
from services.capture.session import Session
from services.catalogue.catalogue import Catalogue
from services.config import loader
from services.events.bus import Events
from services.files.disk import REAL_DISK
from services.files.layout import Layout
from services.observatory import open_observatory
from services.root import Place
from tests.support.fake_site import plan
from tests.support.scripted_alpaca import Raw, ScriptedAlpaca, ScriptedCamera, image_bytes

DISTINCT = 3
"""Frames that are handed out in turn: two equal ones in a row would be refused."""


@contextmanager
def ready_frames(shape: tuple[int, int]) -> Iterator[int]:
    """Serve a camera of this many rows and columns; give its port."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, shape), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        process.join()


def _serve(line: Connection, shape: tuple[int, int]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a session that is stopped still leaves its camera; then we are ended
    frames = itertools.cycle([_encoded(shape, seed) for seed in range(DISTINCT)])
    with ScriptedAlpaca() as server:
        ScriptedCamera(server, interface=4, nx=shape[1], ny=shape[0], imagearray=lambda _: next(frames))
        line.send(server.port)
        line.recv()


def _encoded(shape: tuple[int, int], seed: int) -> Raw:
    noise = np.random.default_rng(seed).normal(500, 6, shape)
    return Raw(image_bytes(np.rint(noise).astype(np.uint16)), content_type="application/imagebytes")


@contextmanager
def nothing_beside(_: Place, __: Events) -> Iterator[None]:
    """Let the loop run alone."""
    yield


def taken_at(
    port: int,
    root: Path,
    exposure_s: float,
    count: int,
    beside: Callable[[Place, Events], AbstractContextManager[None]] = nothing_beside,
) -> list[float]:
    """Take one set of darks with the whole capture loop; return when each exposure began, in seconds.

    `beside` is entered with the place and the events of the run, and does something else meanwhile.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    layout = Layout(root)
    document: dict[str, Any] = {
        "camera": {"camera_type": "alpaca", "alpaca": {"host": "127.0.0.1", "port": port}},
        "darkness": "none",
        "storage": {"min_free_mb": 1},
    }
    loaded = loader.from_dict(document, root / "config.yaml")
    set_id = f"taken-{secrets.token_hex(3)}"
    request = CaptureRequest(
        kind=FrameKind.DARK, purpose=Purpose.KEEP, exposure_us=round(exposure_s * 1e6), count=count, set_id=set_id
    )
    with Catalogue(layout.catalogue) as catalogue, open_observatory(loaded) as observatory:
        events = Events(run_id="bench", clock=observatory.clock)
        place = Place(layout=layout, catalogue=catalogue, disk=REAL_DISK)
        session = Session(observatory=observatory, events=events, place=place)
        with session, beside(place, events):
            (results,) = session.run(plan(request))
        events.close()
        refused = [v for result in results for v in result.verdicts if v.refuses]
        assert not refused, refused
        rows = catalogue.frames(set_id=set_id)
    for row in rows:
        layout.absolute(row.path).unlink()
    return [row.date_obs.timestamp() for row in rows if row.date_obs is not None]
