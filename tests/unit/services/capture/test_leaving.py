"""What an end says of devices that could not be left in a known state."""

from collections.abc import Callable

import pytest

from drivers.alpaca.allowance import ALL_CALLS_S, Allowance
from drivers.clock import ManualClock
from drivers.errors import AccessDenied, DeviceLost, DriverError, PanelFailed
from services.capture.leaving import UNKNOWN, Duty, Leaving
from services.events.bus import Events

SILENT = DeviceLost(device="c", detail="no answer in time")
CLOSED = AccessDenied(device="c", detail="its server wants a user and a password, and none are named")


def left(errors: dict[str, DriverError], *, used_up: bool = False) -> tuple[list[str], dict[str, int]]:
    """Return what is left by duties that fail, and how often each was tried or looked at."""
    tried = dict.fromkeys(errors, 0)

    def failing(name: str) -> Callable[[], str]:
        def act() -> str:
            tried[name] += 1
            raise errors[name]

        return act

    allowance = Allowance()
    if used_up:
        allowance.begin()
        allowance.spend(0.0, ALL_CALLS_S, connected=True)
    leaving = Leaving(Events(run_id="r", clock=ManualClock()), "pc:11111", allowance)
    leaving.devices(tuple(Duty(name=name, act=failing(name), look=failing(name)) for name in errors))
    return leaving.left, tried


def test_devices_of_a_silent_server_are_one_sentence_and_tried_once_when_time_is_used_up() -> None:
    devices = dict.fromkeys(("camera", "flat panel", "cooler"), SILENT)
    gone = "nothing at pc:11111 answers any more: camera, flat panel, cooler"
    assert left(devices) == ([gone], dict.fromkeys(devices, 3))
    assert left(devices, used_up=True) == ([gone], dict.fromkeys(devices, 1))


@pytest.mark.parametrize("error", [CLOSED, PanelFailed(device="p", detail="it is still not off")])
def test_a_server_that_answers_is_not_called_silent(error: DriverError) -> None:
    found, tried = left({"camera": error, "cooler": error})
    assert found == [f"camera: {UNKNOWN}", f"cooler: {UNKNOWN}"]
    assert tried == {"camera": 2, "cooler": 2}
