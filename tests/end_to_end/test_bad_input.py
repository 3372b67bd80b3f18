"""What users get wrong, and what happens to them: a message that says what to do, the right exit code, nothing lost."""

import os
import socket

import numpy as np
import pytest
from astropy.io import fits

from drivers.clock import ScaledClock, SystemClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.presets import from_mapping
from drivers.simulator.server import AlpacaServer
from services.config import load
from services.planning.request import RunOptions
from services.stopping import Stop
from services.workflow.job import Job


def said(done):
    """Return everything a run printed, in one line."""
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def server():
    """Return an Alpaca server of a simulated observatory with camera and panel, but no filter wheel.

    The seed makes its UniqueID: tests in parallel must not meet each other's device locks.
    """
    clock = ScaledClock(rate=1000, start=SystemClock().now())
    parameters = from_mapping({"seed": os.getpid(), "camera": {"width": 160, "height": 120}, "wheel": None})
    with SimulatedObservatory(parameters, clock) as observatory, AlpacaServer(observatory) as serving:
        yield serving


def alpaca(port, **more):
    """Return a camera section for a server on loopback."""
    camera = {"camera_type": "alpaca", "alpaca": {"host": "127.0.0.1", "port": port, **more}}
    return {"camera": camera, "filter_wheel": None}


def test_missing_file(night):
    night.config.unlink()
    done = night.run()
    assert done.returncode == 2
    assert str(night.config) in said(done)


def test_unreadable_yaml_says_line_and_column(night):
    night.config.write_text("dark_capture:\n  num_darks: [40\nflat_capture: {}\n", encoding="utf-8")
    done = night.run()
    assert done.returncode == 2
    assert "config_calibration_frames.yaml:3:" in said(done)


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"dark_capture": {"num_darks": "many"}}, "dark_capture.num_darks", "many"),
        ({"dark_capture": {"num_dark": 3}}, "dark_capture", "num_darks"),
        ({"flat_capture": {"target_count_rate": 1.5}}, "flat_capture.target_count_rate", "1.5"),
        ({"dark_capture": {"science_exposure_time": 100}}, "science_exposure_time", "60"),
        ({"flat_capture": {"min_exposure": 20}}, "flat_capture.min_exposure", "max_exposure"),
    ],
)
def test_wrong_types_and_ranges_name_key_and_what_is_allowed(night, change, place, words):
    night.write(change)
    done = night.run()
    assert done.returncode == 2
    assert "config_calibration_frames.yaml:" in said(done)
    assert place in said(done)
    assert words in said(done)
    assert not night.frames()


def test_unreachable_server_ends_with_3_and_says_how_to_rehearse(night):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    night.write(alpaca(port), {"flat_capture": {"filters": []}})
    done = night.run()
    assert done.returncode == 3
    assert str(port) in said(done)
    assert "--simulator" in said(done)


def test_wrong_device_number_says_which_there_are(night, server):
    night.write(alpaca(server.port, device_id=3), {"flat_capture": {"filters": []}})
    done = night.run()
    assert done.returncode == 3
    assert "3" in said(done)
    assert "nightcal devices" in said(done)


def test_filters_named_without_a_wheel(night, server):
    night.write(alpaca(server.port))
    done = night.run()
    assert done.returncode == 2
    assert "flat_capture.filters: found [L, Ha] — it needs a `filter_wheel` section" in said(done)
    night.write(alpaca(server.port) | {"filter_wheel": {"device_id": 0}})
    done = night.run()
    assert done.returncode == 3
    assert "filterwheel" in said(done)


def test_real_camera_differs_only_by_its_section(night, server):
    night.write(alpaca(server.port), {"flat_capture": {"filters": []}, "flat_panel": {"device_id": 0}})
    done = night.run()
    assert done.returncode == 0, said(done)
    assert all(p.parent.name == "flats" for p in night.frames("flat_*"))
    assert len(night.frames("flat_*")) == 6


def test_truncated_and_foreign_files_among_the_frames(night):
    assert night.run("--step", "darks").returncode == 0
    folder = night.root / "darks" / "exp_2.000s"
    good = night.frames("dark_*")[0].read_bytes()
    (folder / "truncated.fits").write_bytes(good[: len(good) // 2])
    (folder / "notes.fits").write_text("not a FITS file at all", encoding="utf-8")
    stranger = fits.PrimaryHDU(np.zeros((8, 8), dtype=np.uint16))
    stranger.header["IMAGETYP"] = "Light Frame"
    stranger.writeto(folder / "light.fits")
    done = night.run("--step", "masters")
    assert done.returncode == 1, said(done)
    assert "2 files could not be used" in said(done)
    for name in ("truncated.fits", "notes.fits", "light.fits"):
        assert name in said(done)
    for master in (night.root / "master_frames").glob("*.fits"):
        assert fits.getheader(master)["NCOMBINE"] == 6


def test_masters_without_frames_say_so(night):
    done = night.run("--step", "masters")
    assert done.returncode == 0
    assert "there are no frames in" in said(done)


def test_panel_off_and_cover_closed_after_a_stop(night):
    wake = Stop()
    clock = ScaledClock(rate=1000, start=SystemClock().now())
    parameters = from_mapping({"seed": os.getpid(), "camera": {"width": 160, "height": 120}})
    with SimulatedObservatory(parameters, clock) as observatory, AlpacaServer(observatory) as serving:
        night.write(alpaca(serving.port) | {"filter_wheel": {"device_id": 0}, "flat_panel": {"device_id": 0}})

        def stop(event):
            if event.name == "frame.stored" and event.what.kind == "FLAT":
                wake.set()

        result = Job(load(night.config), RunOptions(), listeners=(stop,), stop=wake).run()
        assert result.exit_code == 130
        from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
        from drivers.alpaca.transport import Endpoint

        panel = AlpacaCoverCalibrator(Endpoint(host="127.0.0.1", port=serving.port), clock)
        panel.connect()
        state = panel.state()
        panel.close()
    assert state.calibrator.name == "OFF"
    assert state.cover.name == "CLOSED"
