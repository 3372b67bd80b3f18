"""By what the sets of a night are named."""

from pathlib import Path

import pytest

from calibration.plans.settings import ExposureState
from services.config import from_dict
from services.planning.wanted import names_apart


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, ""),
        ({"camera": {"alpaca": {"gain": 26}}, "cooling": {"target_temperature": -12}}, ""),
        ({"gains": [26]}, ""),
        ({"gains": [26, 60]}, "gain 26"),
        ({"cooling": {}, "temperatures": [-10, -20]}, "-10.0 °C"),
        ({"gains": [60, 26], "cooling": {}, "temperatures": [-10, -20]}, "gain 26, -10.0 °C"),
    ],
)
def test_gain_and_temperature_are_named_where_there_are_several(config: dict[str, object], named: str) -> None:
    assert names_apart(from_dict(config, Path("c.yaml")).config)(ExposureState(gain=26, set_temp_c=-10.0)) == named


def test_what_is_not_known_is_not_named() -> None:
    config = from_dict({"gains": [60, 26], "cooling": {}, "temperatures": [-10, -20]}, Path("c.yaml")).config
    assert names_apart(config)(ExposureState()) == ""
