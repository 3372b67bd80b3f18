"""Filter wheel, cover calibrator and safety monitor against a scripted server."""

import threading
from collections.abc import Iterator

import pytest

from calibration.keywords.filters import distinct_names
from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
from drivers.alpaca.filter_wheel import AlpacaFilterWheel
from drivers.alpaca.safety_monitor import AlpacaSafetyMonitor
from drivers.base import CalibratorStatus, CoverStatus, PanelState
from drivers.clock import ManualClock, SystemClock
from drivers.errors import Cancelled, DeviceLost, FilterFailed, PanelFailed, Refused, WrongDevice
from tests.support.scripted_alpaca import QUICK, AlpacaFault, Device, Raw, ScriptedAlpaca, Trick


@pytest.fixture
def server() -> Iterator[ScriptedAlpaca]:
    with ScriptedAlpaca() as running:
        yield running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def set_to(form: dict[str, str] | None) -> int | None:
    return None if form is None else next(int(v) for k, v in form.items() if k in ("Position", "Brightness"))


# --- filter wheel ----------------------------------------------------------------------------------------------------


class Wheel:
    """A wheel that needs `polls` readings of -1 for a move, and ends `miss` positions beside the target."""

    def __init__(self, server: ScriptedAlpaca, **members: object) -> None:
        self.at, self.moving, self.polls, self.miss = 0, 0, 3, 0
        names = ["L", "Red", ""]
        self.device = server.add("filterwheel", **{"names": names, "position": self.position, **members})

    def position(self, form: dict[str, str] | None) -> int | None:
        target = set_to(form)
        if target is not None:
            self.at, self.moving = target + self.miss, self.polls
            return None
        if self.moving:
            self.moving -= 1
            return -1
        return self.at


@pytest.fixture
def wheel(server: ScriptedAlpaca) -> Wheel:
    return Wheel(server)


@pytest.fixture
def filters(server: ScriptedAlpaca, wheel: Wheel, clock: ManualClock) -> Iterator[AlpacaFilterWheel]:
    driver = AlpacaFilterWheel(server.endpoint(), clock, settle_s=1.5, timeout_s=30, timeouts=QUICK)
    driver.connect()
    yield driver
    driver.close()


def test_a_filter_is_selected_and_read_back_after_settling(filters: AlpacaFilterWheel, clock: ManualClock) -> None:
    assert filters.names == ("L", "Red", "Filter 2")
    assert filters.current() == "L"
    assert filters.select("red") == "Red"
    assert clock.monotonic() >= 1.5
    assert filters.current() == "Red"


def test_positions_of_the_same_name_are_reached_by_the_names_they_are_given(
    server: ScriptedAlpaca, clock: ManualClock
) -> None:
    wheel = Wheel(server, names=["", "Empty", "Empty", "  L  ", "l", "Hα"])
    driver = AlpacaFilterWheel(server.endpoint(), clock, naming=distinct_names, timeouts=QUICK)
    driver.connect()
    assert [driver.select(name) for name in driver.names] == list(driver.names)
    assert [driver.select(driver.names[place]) and wheel.at for place in (2, 1, 4, 3)] == [2, 1, 4, 3]
    assert (driver.names[5], driver.labels[5]) == ("Ha", "Hα")
    driver.close()


def test_a_wheel_that_moves_has_no_filter(filters: AlpacaFilterWheel, wheel: Wheel) -> None:
    wheel.moving = 2
    assert filters.position() is None
    assert filters.current() is None
    assert filters.current() == "L"


def test_a_wheel_that_stands_there_is_not_moved(filters: AlpacaFilterWheel, server: ScriptedAlpaca) -> None:
    filters.select("L")
    assert not server.sent("PUT", "position")


def test_homing_for_17_seconds_is_waited_for(
    filters: AlpacaFilterWheel, wheel: Wheel, server: ScriptedAlpaca, clock: ManualClock
) -> None:
    wheel.polls = 17 * 4
    assert filters.select("Red") == "Red"
    assert clock.monotonic() >= 17


@pytest.mark.parametrize(
    ("polls", "miss", "words"), [(10_000, 0, "still moves, 30 s"), (1, 1, "stands at position 2, 30 s")]
)
def test_a_wheel_that_does_not_get_there_fails(
    filters: AlpacaFilterWheel, wheel: Wheel, polls: int, miss: int, words: str
) -> None:
    wheel.polls, wheel.miss = polls, miss
    with pytest.raises(FilterFailed, match=words):
        filters.select("Red")


def test_a_wheel_that_slips_while_settling_fails(filters: AlpacaFilterWheel, wheel: Wheel) -> None:
    wheel.polls = 0
    positions = iter([0, 1, 2])  # before the move, after it, and when it is read back
    wheel.device["Position"] = lambda form: next(positions) if form is None else None
    with pytest.raises(FilterFailed, match="reached 'Red' and now stands at 'Filter 2'"):
        filters.select("Red")


def test_an_unknown_filter_names_the_known(filters: AlpacaFilterWheel) -> None:
    with pytest.raises(FilterFailed, match="no filter 'Ha'; it has: L, Red, Filter 2"):
        filters.select("Ha")


def test_a_refused_move_fails_with_its_number(filters: AlpacaFilterWheel, wheel: Wheel) -> None:
    wheel.device["Position"] = lambda form: 0 if form is None else AlpacaFault(0x500, "jammed")
    with pytest.raises(FilterFailed, match="jammed"):
        filters.select("Red")


def test_a_position_beyond_the_names_is_no_filter(filters: AlpacaFilterWheel, wheel: Wheel) -> None:
    wheel.at = 7
    with pytest.raises(FilterFailed, match="stands at 7"):
        filters.current()


def test_a_set_wake_ends_the_wait_for_a_wheel(filters: AlpacaFilterWheel) -> None:
    wake = threading.Event()
    wake.set()
    with pytest.raises(Cancelled):
        filters.select("Red", wake)


def test_another_wheel_at_the_old_address_is_wrong(filters: AlpacaFilterWheel, wheel: Wheel) -> None:
    wheel.device["Name"] = "another"
    with pytest.raises(WrongDevice):
        filters.connect()


# --- cover calibrator ------------------------------------------------------------------------------------------------


class Panel:
    """Cover and calibrator that take `polls` readings of their state for each command."""

    def __init__(self, server: ScriptedAlpaca, version: int) -> None:
        self.cover, self.light, self.brightness, self.left = 3, 1, 0, 0
        self.polls, self.flags_only, self.goal = 3, False, {"cover": 3, "light": 1}
        self.device: Device = server.add(
            "covercalibrator", interfaceversion=version, maxbrightness=255, coverstate=self._cover,
            calibratorstate=self._light, brightness=lambda _: self.brightness, calibratoron=self._on,
            calibratoroff=lambda _: self._begin("light", 1, 0), opencover=lambda _: self._begin("cover", 3),
            closecover=lambda _: self._begin("cover", 1),
        )  # fmt: skip
        if version >= 2:
            for member, value in {"connect": lambda _: None, "disconnect": lambda _: None, "connecting": False}.items():
                self.device[member] = value
            self.device["CoverMoving"] = lambda _: self.left > 0
            self.device["CalibratorChanging"] = lambda _: self.left > 0

    def _on(self, form: dict[str, str] | None) -> None:
        self._begin("light", 3, set_to(form) or 0)

    def _begin(self, part: str, goal: int, brightness: int | None = None) -> None:
        self.goal[part], self.left = goal, self.polls
        self.brightness = self.brightness if brightness is None else brightness

    def _cover(self, _: object) -> int:
        """One reading of the cover is one step of the movement."""
        busy = self.left > 0
        self.left = max(0, self.left - 1)
        done = self.goal["cover"]
        return done if not busy or self.flags_only or self.cover == done else 2

    def _light(self, _: object) -> int:
        return 2 if self.left > 0 and self.goal["light"] == 3 and not self.flags_only else self.goal["light"]


@pytest.fixture(params=[1, 2])
def panel(server: ScriptedAlpaca, request: pytest.FixtureRequest) -> Panel:
    return Panel(server, request.param)


@pytest.fixture
def driver(server: ScriptedAlpaca, panel: Panel, clock: ManualClock) -> Iterator[AlpacaCoverCalibrator]:
    driver = AlpacaCoverCalibrator(server.endpoint(), clock, timeout_s=30, timeouts=QUICK)
    driver.connect()
    yield driver
    driver.close()


def test_a_panel_is_lit_when_it_says_ready(driver: AlpacaCoverCalibrator, panel: Panel) -> None:
    assert (driver.info.has_cover, driver.info.has_calibrator, driver.info.max_brightness) == (True, True, 255)
    driver.calibrator_on(100)
    assert panel.left == 0
    assert driver.state() == PanelState(cover=CoverStatus.OPEN, calibrator=CalibratorStatus.READY, brightness=100)
    driver.calibrator_off()
    assert driver.state().calibrator is CalibratorStatus.OFF


def test_a_panel_that_never_reads_off_is_off_at_brightness_0(
    driver: AlpacaCoverCalibrator, panel: Panel, clock: ManualClock
) -> None:
    panel.device["CalibratorState"] = 3
    driver.calibrator_on(100)
    assert driver.state().lit
    begun_s = clock.monotonic()
    driver.calibrator_off()
    assert (driver.state().lit, driver.state().never_off) == (False, True)
    assert clock.monotonic() - begun_s < 10, "a state that never comes is not waited for"


def test_a_panel_that_reads_ready_at_a_brightness_after_off_is_on_and_not_waited_for(
    driver: AlpacaCoverCalibrator, panel: Panel, clock: ManualClock
) -> None:
    panel.device["CalibratorState"], panel.device["Brightness"] = 3, 7
    begun_s = clock.monotonic()
    with pytest.raises(PanelFailed, match="is still not off"):
        driver.calibrator_off()
    assert clock.monotonic() - begun_s < 8, "twice, with a new connection, it is known within 20 s"


def test_a_cover_is_waited_for(driver: AlpacaCoverCalibrator, panel: Panel) -> None:
    driver.close_cover()
    assert driver.state().cover is CoverStatus.CLOSED
    driver.open_cover()
    assert driver.state().cover is CoverStatus.OPEN


def test_version_2_waits_for_its_flags_too(server: ScriptedAlpaca, clock: ManualClock) -> None:
    panel = Panel(server, 2)
    panel.flags_only = True
    driver = AlpacaCoverCalibrator(server.endpoint(), clock, timeouts=QUICK)
    driver.connect()
    driver.calibrator_on(9)
    assert panel.left == 0
    driver.close()


@pytest.mark.parametrize("state", [CalibratorStatus.UNKNOWN, CalibratorStatus.ERROR])
def test_a_calibrator_in_error_fails_soon(
    driver: AlpacaCoverCalibrator, panel: Panel, clock: ManualClock, state: CalibratorStatus
) -> None:
    panel.device["CalibratorState"] = int(state)
    with pytest.raises(PanelFailed, match=f"calibrator {state.name.lower()}"):
        driver.calibrator_on(10)
    assert clock.monotonic() < 5


@pytest.mark.parametrize("state", [CoverStatus.UNKNOWN, CoverStatus.ERROR])
def test_a_cover_in_error_fails_soon(
    driver: AlpacaCoverCalibrator, panel: Panel, clock: ManualClock, state: CoverStatus
) -> None:
    panel.polls = 0
    panel.device["CoverState"] = int(state)
    with pytest.raises(PanelFailed, match=f"is still not closed: cover {state.name.lower()}"):
        driver.close_cover()
    assert clock.monotonic() < 5


def test_a_cover_that_is_unknown_until_it_moves_is_given_a_moment(driver: AlpacaCoverCalibrator, panel: Panel) -> None:
    readings = iter([4, 4, 2, 1])
    panel.polls = 0
    panel.device["CoverState"] = lambda _: next(readings, 1)
    driver.close_cover()


def test_a_panel_that_never_gets_ready_fails_at_its_time(
    driver: AlpacaCoverCalibrator, panel: Panel, clock: ManualClock
) -> None:
    panel.device["CalibratorState"] = 2
    with pytest.raises(PanelFailed, match="is still not ready: cover open, calibrator not_ready"):
        driver.calibrator_on(10)
    assert 30 <= clock.monotonic() < 32


def test_a_panel_with_coarser_steps_is_taken(driver: AlpacaCoverCalibrator, panel: Panel, clock: ManualClock) -> None:
    panel.device["Brightness"] = lambda _: 96
    driver.calibrator_on(100)
    assert clock.monotonic() < 10
    assert driver.state().brightness == 96


@pytest.mark.parametrize("brightness", [0, 256, -1])
def test_a_brightness_it_does_not_have_is_not_sent(
    driver: AlpacaCoverCalibrator, server: ScriptedAlpaca, brightness: int
) -> None:
    with pytest.raises(PanelFailed, match="not within 1 to 255"):
        driver.calibrator_on(brightness)
    assert not server.sent("PUT", "calibratoron")


def test_a_refused_command_fails_with_its_reason(driver: AlpacaCoverCalibrator, panel: Panel) -> None:
    panel.device["OpenCover"] = lambda _: AlpacaFault(0x500, "frozen")
    with pytest.raises(PanelFailed, match="frozen"):
        driver.open_cover()


def test_what_is_not_there_is_neither_moved_nor_lit(server: ScriptedAlpaca, clock: ManualClock) -> None:
    server.add("covercalibrator", interfaceversion=1, coverstate=0, calibratorstate=0)
    driver = AlpacaCoverCalibrator(server.endpoint(), clock, timeouts=QUICK)
    with pytest.raises(Refused):
        _ = driver.info
    driver.connect()
    assert driver.state() == PanelState(
        cover=CoverStatus.NOT_PRESENT, calibrator=CalibratorStatus.NOT_PRESENT, brightness=None
    )
    driver.calibrator_off()
    driver.close_cover()
    driver.open_cover()
    with pytest.raises(PanelFailed, match="no calibrator"):
        driver.calibrator_on(1)
    assert not [call for call in server.calls if call.method == "PUT" and call.member != "connected"]
    driver.disconnect()


def test_a_set_wake_ends_the_wait_for_a_panel(driver: AlpacaCoverCalibrator) -> None:
    wake = threading.Event()
    wake.set()
    with pytest.raises(Cancelled):
        driver.calibrator_on(10, wake)


# --- safety monitor --------------------------------------------------------------------------------------------------


@pytest.fixture
def safety(server: ScriptedAlpaca) -> Iterator[AlpacaSafetyMonitor]:
    server.add("safetymonitor", issafe=True)
    monitor = AlpacaSafetyMonitor(server.endpoint(), SystemClock(), timeouts=QUICK)
    monitor.connect()
    yield monitor
    monitor.close()


def test_safety_is_read_afresh(safety: AlpacaSafetyMonitor, server: ScriptedAlpaca) -> None:
    assert safety.is_safe() is True
    server.devices["safetymonitor"]["IsSafe"] = False
    assert safety.is_safe() is False


@pytest.mark.parametrize(
    "trick",
    [
        Trick("drop"),
        Trick("stall"),
        Trick("trickle"),
        Trick("old"),
        Raw(b"oops", status=500),
        Raw(b'{"Value": "true"}'),
        Raw(b'{"Value": 1}'),
        Raw(b'{"Value": null}'),
    ],
)
def test_what_is_no_fresh_true_or_false_is_a_loss(
    safety: AlpacaSafetyMonitor, server: ScriptedAlpaca, trick: Trick | Raw
) -> None:
    assert safety.is_safe()
    server.tricks["issafe"].append(trick)
    with pytest.raises(DeviceLost):
        safety.is_safe()
    assert safety.is_safe()


def test_a_safety_monitor_that_cannot_tell_refuses(safety: AlpacaSafetyMonitor, server: ScriptedAlpaca) -> None:
    server.devices["safetymonitor"]["IsSafe"] = AlpacaFault(0x500, "no rain sensor")
    with pytest.raises(Refused, match="no rain sensor"):
        safety.is_safe()
