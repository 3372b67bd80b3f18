"""Gains and offsets by their names in the camera's list."""

from dataclasses import replace

import pytest

from drivers.base import SettingMode
from drivers.clock import ManualClock
from services.capture.possible import impossible
from services.config.devices import AlpacaCamera, Camera
from services.config.models import Config
from services.config.programmes import Programme, WantedBias
from services.observatory import Interlock, Observatory
from services.observatory.named import with_numbers
from services.planning.wanted import exposure_state, states
from tests.support.fakes import INFO, FakeCamera

LISTED = replace(
    INFO, gain_mode=SettingMode.INDEX, gains=("ISO 100", "ISO 200", "ISO 800 "), offset_mode=SettingMode.INDEX,
    offsets=("Low", "High"),
)  # fmt: skip


def named(gain: int | str | None, offset: int | str | None = None, gains: tuple[int | str, ...] = ()) -> Config:
    return Config(camera=Camera(alpaca=AlpacaCamera(gain=gain, offset=offset)), gains=gains)


@pytest.mark.parametrize(("gain", "number"), [("ISO 800", 2), ("iso 100", 0), (1, 1), (None, None)])
def test_a_gain_is_found_by_its_name(gain: int | str | None, number: int | None) -> None:
    config = with_numbers(named(gain, "high"), gains=LISTED.gains, offsets=LISTED.offsets)
    (state,) = states(config)
    asked = exposure_state(config, state)
    assert (asked.gain, asked.offset) == (number, 1)


def test_several_gains_may_be_names() -> None:
    config = with_numbers(named(None, gains=("ISO 200", 2)), gains=LISTED.gains, offsets=LISTED.offsets)
    assert [state.gain for state in states(config)] == [1, 2]


def test_gains_and_offsets_of_programmes_may_be_names() -> None:
    programmes = tuple(
        Programme(name=gain, gain=gain, offset="Low", bias=WantedBias()) for gain in ("iso 200", "ISO 9")
    )
    config = named(None).model_copy(update={"programmes": programmes})
    config = with_numbers(config, gains=LISTED.gains, offsets=LISTED.offsets)
    assert [(each.gain, each.offset) for each in config.programmes] == [(1, 0), ("ISO 9", 0)]


def test_a_name_that_the_camera_does_not_list_is_said_with_those_that_it_does() -> None:
    clock = ManualClock()
    camera = FakeCamera(clock, info=LISTED)
    site = Observatory(config=named("ISO 400"), clock=clock, camera=camera, interlock=Interlock())
    site.note_camera(LISTED)
    (told,) = impossible(site, LISTED, None, lambda _: iter(()))
    assert told == "camera: gain: the camera lists no gain 'ISO 400' (ISO 100 is 0, ISO 200 is 1, ISO 800  is 2)"


def test_before_the_camera_is_asked_a_name_may_be_any_number() -> None:
    assert [state.gain for state in states(named("ISO 800"))] == [None]
