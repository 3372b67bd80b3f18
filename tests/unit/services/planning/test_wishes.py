"""Programmes that want the same set: it is taken once, as the stricter of them wants it."""

from dataclasses import replace

import yaml

from calibration.frames import FrameKind
from calibration.plans.sequence import WantedSet
from services.config.models import Config
from services.planning.programmes import views
from services.planning.wanted import State, exposure_state, flat_sets, names_apart, states
from services.planning.wishes import joined

CONFIG = Config.model_validate(
    yaml.safe_load("""
cooling: {target_temperature: -5.0}
programmes:
- {name: much, gain: 26, temperatures: [-5.0, 0.0], darks: {exposures: 60.0, frames: 9, max_age_days: 50},
   flats: {filters: [L, R], frames: 5, max_age_days: 9}, resume_within: 20}
- {name: young, gain: 26, temperatures: [0.0], darks: {exposures: 60.0, frames: 4, max_age_days: 20},
   flats: {filters: [L], frames: 7, max_age_days: 12}, resume_within: 30}
- {name: other, gain: 26, offset: 3, binning: 2, temperatures: [0.0], flats: {filters: [L], frames: 2}}
""")
)
DARK = WantedSet(kind=FrameKind.DARK, count=9, why=("science",), exposure_us=60_000_000, gain=26, set_temp_c=0.0)


def test_one_set_has_the_larger_count_and_the_younger_age() -> None:
    much, young, _ = (
        State(temperature_c=0.0, gain=26, flats=False, config=config, programme=name) for name, config in views(CONFIG)
    )
    for order in ([(much, DARK), (young, replace(DARK, count=4, why=("flat",)))],) * 2:
        (wish,) = joined(order).values()
        assert (wish.wanted.count, wish.age.days, wish.reuse.resume_within_hours) == (9, 20, 20)
        assert wish.programmes == ("much", "young")
    (wish,) = joined([(young, replace(DARK, count=4)), (much, DARK)]).values()
    assert (wish.wanted.count, wish.age.days) == (9, 20)
    assert len(joined([(much, DARK), (young, replace(DARK, set_temp_c=-5.0))])) == 2


def _flats() -> list[tuple[State, WantedSet]]:
    return [
        (state, wanted)
        for state in states(CONFIG)
        for wanted in flat_sets(state.config, state, state.config.flat_capture.filters)
    ]


def test_flats_of_two_programmes_are_one_at_whatever_temperature_each_would_take_them() -> None:
    flats = _flats()
    assert [(state.programme, state.temperature_c) for state, _ in flats] == [
        ("much", -5.0), ("much", -5.0), ("young", 0.0), ("other", 0.0),
    ]  # fmt: skip
    wishes = list(joined(flats).values())
    found = [(w.wanted.filter, w.wanted.count, w.wanted.binning, w.age.days) for w in wishes]
    assert found == [("L", 7, 1, 9), ("R", 5, 1, 9), ("L", 2, 2, 7)]


def test_the_settings_that_the_night_has_several_of_name_its_sets() -> None:
    apart = names_apart(CONFIG)
    told = [apart(exposure_state(state.config, state)) for state in states(CONFIG)]
    assert told == [
        "binning 1 x 1, -5.0 °C",
        "binning 1 x 1, 0.0 °C",
        "binning 1 x 1, 0.0 °C",
        "offset 3, binning 2 x 2, 0.0 °C",
    ]
    assert names_apart(Config())(DARK) == ""
