"""Sessions on the embedded simulated observatory, over the real wire, with what goes wrong at night."""

import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from calibration.errors import FrameCode
from calibration.frames import CaptureRequest, Cover, FrameKind, FrameResult, GroupStatus, Limits, Purpose
from calibration.plans.bias import bias_plan
from calibration.plans.dark import dark_plan
from calibration.plans.detector import CameraFacts, SaturatingLight, measure_detector
from calibration.plans.flat import flat_plan
from calibration.plans.settings import Darkness, ExposureState, FlatSettings, PanelSettings
from drivers.alpaca.transport import CameraWire, Endpoint
from drivers.base import CalibratorStatus, CameraStates, CoverStatus
from drivers.clock import ScaledClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.params import CameraParameters, ObservatoryParameters
from drivers.simulator.server import AlpacaServer
from services.capture.session import Session
from services.catalogue.catalogue import Catalogue
from services.config import loads
from services.errors import RunCode, RunStopped, StorageError
from services.events.bus import Events
from services.events.devices import CoolingStable
from services.events.records import Event
from services.files.fits import read_header
from services.files.layout import Layout
from services.observatory import Observatory, open_observatory
from services.root import Place
from services.stopping import Stop

DARK = CaptureRequest(kind=FrameKind.DARK, purpose=Purpose.KEEP, exposure_us=5_000_000, count=3, set_id="d1")
FLAT = CaptureRequest(
    kind=FrameKind.FLAT,
    purpose=Purpose.KEEP,
    exposure_us=1_000_000,
    count=3,
    filter="R",
    panel_brightness=60,
    cover=Cover.CLOSED,
    set_id="f1",
)


class Night:
    """An observatory, its root and what was said, for one test."""

    def __init__(self, root: Path, observatory: Observatory, wake: Stop | None = None) -> None:
        self.observatory = observatory
        self.wake = wake or Stop()
        self.layout = Layout(root)
        self.catalogue = Catalogue(self.layout.catalogue)
        self.events = Events(run_id="r1", clock=observatory.clock, journal=self.layout.events("r1"))
        self.heard: list[Event] = []
        self.events.subscribe(self.heard.append)

    def session(self, **options) -> Session:
        return Session(
            observatory=self.observatory,
            events=self.events,
            place=Place(layout=self.layout, catalogue=self.catalogue),
            **options,
        )

    def count(self, name: str) -> int:
        return sum(event.name == name for event in self.heard)


@contextmanager
def night(
    root: Path, *, faults: tuple[dict[str, object], ...] = (), rate: float = 100.0, **sections
) -> Iterator[Night]:
    (root / "observatory.yaml").write_text(yaml.safe_dump({"faults": list(faults)}), encoding="utf-8")
    document = {
        "camera": {
            "camera_type": "simulator",
            "simulator": {"rate": rate, "width": 240, "height": 160, "config": "observatory.yaml"},
        },
        "storage": {"min_free_mb": 0},
        "filter_wheel": {},
        **sections,
    }
    loaded = loads(yaml.safe_dump(document), root / "config.yaml")
    wake = Stop()
    with open_observatory(loaded, wake=wake) as observatory:
        made = Night(root, observatory, wake)
        try:
            yield made
        finally:
            made.events.close()
            made.catalogue.close()


def plan(
    *requests: CaptureRequest,
) -> Generator[CaptureRequest, tuple[FrameResult, ...], list[tuple[FrameResult, ...]]]:
    taken = []
    for request in requests:
        taken.append((yield request))  # noqa: PERF401 - a comprehension cannot yield
    return taken


def panel_state(observatory: Observatory) -> tuple[CoverStatus, CalibratorStatus]:
    panel = observatory.new_panel()
    assert panel is not None
    panel.connect()
    state = panel.state()
    panel.close()
    return state.cover, state.calibrator


def test_flats_and_darks_travel_from_the_wire_to_catalogued_files(tmp_path: Path) -> None:
    with night(tmp_path) as here:
        with here.session() as session:
            assert session.camera_info.camera_x_size == 240
            assert session.filters[:2] == ("L", "R")
            assert session.panel_info is not None
            flats, darks = session.run(plan(FLAT, DARK))
        assert all(r.accepted for r in (*flats, *darks))
        assert all(r.stats.level_adu > 3 * darks[0].stats.level_adu for r in flats)
        rows = here.catalogue.frames()
        assert len(rows) == 6
        header = read_header(here.layout.absolute(here.catalogue.frames(set_id="f1")[0].path))
        assert header.simulated
        assert (header.filter, header.panel_brightness, header.cover, header.source) == ("R", 60, "closed", "panel")
        assert header.bayer_pattern is None
        assert panel_state(here.observatory) == (CoverStatus.CLOSED, CalibratorStatus.OFF)


def test_the_sensor_is_cooled_held_and_left_as_found(tmp_path: Path) -> None:
    with night(tmp_path, rate=300.0, cooling={"target_temperature": -5.0, "ramp_rate": 10.0}) as here:
        with here.session() as session:
            (darks,) = session.run(plan(replace(DARK, set_temp_c=-5.0)))
        assert [r.accepted for r in darks] == [True] * 3
        assert darks[0].header.set_temp_c == -5.0
        assert abs((darks[0].header.ccd_temp_c or 0) + 5.0) <= 0.5
        here.observatory.camera.connect()
        assert here.observatory.camera.state().cooler_on is False
    assert here.count(CoolingStable.name) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop", "device": "camera", "member": "imagearray", "after_exposures": 2, "count": 1},
        {"kind": "http_500", "device": "camera", "member": "imageready", "after_exposures": 1, "count": 1},
        {"kind": "image_lying_header", "after_exposures": 1, "count": 1},
        {"kind": "image_bad_type", "after_exposures": 1, "count": 1},
    ],
    ids=lambda fault: str(fault["kind"]),
)
@pytest.mark.usefixtures("soon_over")
def test_a_fault_of_one_exposure_costs_no_frame(tmp_path: Path, fault: dict[str, object]) -> None:
    with night(tmp_path, faults=(fault,)) as here:
        with here.session() as session:
            (darks,) = session.run(plan(DARK))
        assert [r.accepted for r in darks] == [True] * 3
        assert len(here.catalogue.frames(set_id="d1")) == 3


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("duplicate_frame", FrameCode.DUPLICATE_FRAME),
        ("black_frame", FrameCode.CONSTANT),
        ("constant_frame", FrameCode.CONSTANT),
        ("half_saturated", FrameCode.PARTIAL),
        ("too_fast", FrameCode.DUPLICATE_FRAME),  # the driver asks when the exposure should be over
    ],
)
def test_a_bad_frame_is_refused_by_its_code_and_the_rest_kept(tmp_path: Path, kind: str, code: FrameCode) -> None:
    with night(tmp_path, faults=({"kind": kind, "after_exposures": 2, "count": 1},)) as here:
        with here.session() as session:
            (darks,) = session.run(plan(replace(DARK, count=5)))
        refused = [r for r in darks if not r.accepted]
        assert len(refused) == 1
        assert code in {v.code for v in refused[0].verdicts}
        assert len(here.catalogue.frames(set_id="d1")) == 4
        assert len(list((tmp_path / "refused").glob("*/*.fits"))) == 1


def test_an_interruption_ends_within_the_exposure(tmp_path: Path) -> None:
    with night(tmp_path, rate=5.0) as here:
        begun = here.observatory.clock.now()
        with here.session() as session:
            timer = threading.Timer(0.5, here.wake.set)
            timer.start()
            with pytest.raises(RunStopped) as caught:
                session.run(plan(replace(DARK, exposure_us=600_000_000)))
        timer.join()
        assert caught.value.code is RunCode.INTERRUPTED
        assert here.observatory.clock.now() - begun < timedelta(seconds=300)
        here.observatory.camera.connect()
        assert here.observatory.camera.state().activity is CameraStates.IDLE


def test_each_header_tells_the_electrons_per_adu_of_its_own_gain(tmp_path: Path) -> None:
    with night(tmp_path) as here, here.session() as session:
        simulator = here.observatory.simulator
        assert simulator is not None
        for gain in (0, 60):
            ((frame,),) = session.run(plan(replace(DARK, gain=gain, count=1, set_id=f"g{gain}")))
            truth = simulator.truth.camera.conditions().e_per_adu
            assert (frame.header.gain, frame.header.egain_e_adu) == (gain, pytest.approx(truth, rel=1e-4))
        assert truth == pytest.approx(0.253, abs=0.001)


def test_a_simulated_night_begins_after_the_newest_frame(tmp_path: Path) -> None:
    document = {"camera": {"camera_type": "simulator"}}
    loaded = loads(yaml.safe_dump(document), tmp_path / "config.yaml")
    newest = datetime.now(UTC) + timedelta(days=400)
    with open_observatory(loaded, newest_obs=newest) as observatory:
        assert observatory.clock.now() >= newest + timedelta(seconds=60)


def test_the_real_plans_find_a_flats_exposure_and_take_the_darks_that_match(tmp_path: Path) -> None:
    state = ExposureState(gain=26, offset=25)
    darkness = Darkness(cover=Cover.CLOSED)
    panel = PanelSettings(max_brightness=255, cover=Cover.CLOSED)
    flats = FlatSettings(num_flats=6)
    with night(tmp_path, rate=60.0) as here, here.session() as session:
        info = session.camera_info
        facts = CameraFacts(
            exposure_min_us=round(info.exposure_min_s * 1e6),
            exposure_max_us=round(info.exposure_max_s * 1e6),
            max_adu=info.max_adu,
        )
        lamp = SaturatingLight(brightness=255, filter="L", cover=Cover.CLOSED)
        detector = session.run(measure_detector(state, facts, darkness, lamp=lamp))
        biases = session.run(
            bias_plan(
                state, exposure_us=1000, count=6, have=0, darkness=darkness, limits=Limits(), set_id="b", discard=1
            )
        )
        taken = {
            name: session.run(flat_plan(flats, detector, state, filter=name, panel=panel, set_id=f"f-{name}"))
            for name in ("R", "Ha")
        }
        times = {outcome.exposure_us for outcome in taken.values() if outcome.exposure_us is not None}
        known = replace(darkness, bias_adu=detector.bias_adu)
        darks = [
            session.run(
                dark_plan(state, exposure_us=us, count=4, darkness=known, limits=Limits(), set_id=f"d{us}", wait_s=60.0)
            )
            for us in sorted(times)
        ]
        levels = [row.level_adu for row in here.catalogue.frames(kind=FrameKind.FLAT)]
    assert biases.status is GroupStatus.COMPLETE
    assert {name: outcome.status for name, outcome in taken.items()} == dict.fromkeys(taken, GroupStatus.COMPLETE)
    assert all(outcome.status is GroupStatus.COMPLETE for outcome in darks)
    middle = detector.target_adu(0.5)
    assert all(level is not None and abs(level - middle) < 0.1 * middle for level in levels)


def test_a_second_run_on_the_same_remote_camera_is_refused_and_does_not_disturb_the_first(tmp_path: Path) -> None:
    parameters = ObservatoryParameters(camera=CameraParameters(width=64, height=48), seed=4711)
    truth = SimulatedObservatory(parameters, ScaledClock(rate=50.0, start=datetime(2030, 1, 1, tzinfo=UTC)))
    with AlpacaServer(truth) as server, ExitStack() as stack:
        stack.callback(truth.close)
        document = {
            "camera": {"camera_type": "alpaca", "alpaca": {"host": "127.0.0.1", "port": server.port}},
            "filter_wheel": {},
            "flat_panel": {},
            "storage": {"min_free_mb": 0},
        }
        first, second = (
            Night(root, stack.enter_context(open_observatory(loads(yaml.safe_dump(document), root / "c.yaml"))))
            for root in (tmp_path / "a", tmp_path / "b")
        )
        for here in (first, second):
            stack.callback(here.catalogue.close)
            stack.callback(here.events.close)
        with first.session() as session:
            with pytest.raises(StorageError) as caught:
                second.session().__enter__()
            assert caught.value.code is RunCode.CAMERA_BUSY
            (darks,) = session.run(plan(DARK))
        assert [r.accepted for r in darks] == [True] * 3
        assert darks[0].header.simulated
        with second.session() as session:
            (darks,) = session.run(plan(DARK))
        assert len(darks) == 3


def test_an_exposure_that_a_killed_run_left_is_waited_for(tmp_path: Path) -> None:
    with night(tmp_path) as here:
        simulator = here.observatory.simulator
        assert simulator is not None
        killed = CameraWire(Endpoint(simulator.host, simulator.port), here.observatory.clock)
        killed.open()
        killed.StartExposure(30.0, False)
        begun = here.observatory.clock.now()
        killed.line.close()
        with here.session() as session:
            (darks,) = session.run(plan(DARK))
        assert [r.accepted for r in darks] == [True] * 3
        assert darks[0].header.date_obs is not None
        assert darks[0].header.date_obs - begun > timedelta(seconds=29)
