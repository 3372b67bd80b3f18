"""What a run writes to its camera, on the wire, and what it says of a camera that cannot be set to a temperature."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from services.planning.request import Step
from tests.support.served_night import ServedNight, served_night

FEW: dict[str, Any] = {
    "dark_capture": {"num_darks": 3, "science_exposure_time": 0.5, "exposure_factors": [1.0]},
    "flat_capture": {"num_flats": 3, "filters": ["L"]},
}
SETTINGS = {"gain", "offset", "readoutmode", "setccdtemperature", "cooleron", "fastreadout", "subexposureduration"}
WARM = {"cooler": {"can_set": False, "can_get_power": False}}


def written(night: ServedNight, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return a set that gets the names of the settings that are written to the camera."""
    found: set[str] = set()
    write = night.observatory.camera.write

    def note(member: str, form: Mapping[str, str]) -> object:
        found.update({member} & SETTINGS)
        return write(member, form)

    monkeypatch.setattr(night.observatory.camera, "write", note)
    return found


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, set()),
        ({"camera": {"alpaca": {"gain": None, "offset": 30, "readout_mode": None}}}, {"offset"}),
    ],
)
def test_what_the_yaml_leaves_as_found_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any], expected: set[str]
) -> None:
    with served_night(tmp_path) as night:
        found = written(night, monkeypatch)
        assert night.run(steps=(Step.DARKS, Step.FLATS), **FEW, **sections).exit_code == 0
        assert night.exposures
    assert found == expected


def test_a_camera_that_cannot_be_set_to_a_temperature_is_said_once(tmp_path: Path) -> None:
    with served_night(tmp_path, camera=WARM) as night:
        ended = night.run(steps=(Step.DARKS, Step.FLATS), temperatures=[-10.0, 0.0], cooling={}, **FEW)
    assert ended.exit_code == 0
    (told,) = ended.said("warning.raised", code="no_setpoint")
    assert "-10, 0 °C is left aside" in told["detail"]
    assert set(ended.groups().values()) == {"complete"}


def test_cooling_that_is_required_of_such_a_camera_is_found_before_anything_is_taken(tmp_path: Path) -> None:
    with served_night(tmp_path, camera=WARM) as night:
        ended = night.run(steps=(Step.DARKS,), cooling={"target_temperature": -10.0, "mode": "required"}, **FEW)
        assert (ended.exit_code, ended.result.code) == (2, "config_invalid")
        assert ended.result.detail.count("the camera has no set-point, and cooling is required") == 1
        assert night.exposures == []
        again = night.run(
            steps=(Step.DARKS,),
            cooling={"target_temperature": -10.0, "mode": "required"},
            options={"skip_cooling": True},
            **FEW,
        )
        assert again.exit_code == 0, again.result.detail
