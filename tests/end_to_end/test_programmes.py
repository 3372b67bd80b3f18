"""One run for several programmes: each state once, each temperature cooled to once, each item taken once."""

from collections import Counter
from dataclasses import replace

import yaml
from astropy.io import fits

from services.config import LoadedConfig, load
from services.events.devices import CoolingStable
from services.events.journal import read_journal
from services.events.records import GroupFinished, GroupStarted, MasterBuilt, Record, RunProgress
from services.planning.item import item_key
from services.planning.request import DarkTimes, RunOptions, Step
from services.planning.wanted import dark_sets, dark_times, states
from services.root import layout_of
from services.workflow.job import Job
from tests.support.small_night import Night

PROGRAMMES = yaml.safe_load("""
- {name: broad, gain: 26, offset: 30, temperatures: [5.0, 0.0], bias: {frames: 4}, darks: {exposures: 2.0, frames: 3}}
- {name: narrow, gain: 56, offset: 10, temperatures: [5.0], darks: {exposures: [2.0, 3.0], frames: 3},
   flats: {filters: [Ha], frames: 3}}
- {name: deep, gain: 26, offset: 30, temperatures: [5.0], darks: {exposures: 2.0, frames: 5}}
""")
CAPTURE = RunOptions(steps=(Step.FLATS, Step.DARKS))


def _loaded(night: Night) -> LoadedConfig:
    night.write({"programmes": PROGRAMMES})
    return load(night.config)


def _said(loaded: LoadedConfig, options: RunOptions = CAPTURE) -> list[Record]:
    """Run, and return what its journal says."""
    job = Job(loaded, options)
    result = job.run()
    assert (result.exit_code, result.code) == (0, None), result
    return [event.what for event in read_journal(layout_of(loaded).events(job.run_id))]


def _taken(said: list[Record]) -> dict[str, int | None]:
    return {each.item: each.accepted for each in said if isinstance(each, GroupFinished) and not each.there}


def _dark_keys(loaded: LoadedConfig) -> set[str]:
    """Return the keys of all biases and darks that are known without flats."""
    return {
        item_key(wanted)
        for state in states(loaded.config)
        for wanted in dark_sets(state.config, state, dark_times(state.config, ()), DarkTimes.ALL, {})
    }


def test_programmes_share_a_run_a_cooling_and_what_they_both_want(night: Night) -> None:
    loaded = _loaded(night)
    said = _said(loaded)
    taken = _taken(said)
    for_flats = set(taken) - _dark_keys(loaded) - {"flat_Ha_g56_o10_T5"}
    assert len(for_flats) == 1  # of the exposure that the flats found
    assert taken == {
        "bias_0.001s_g26_o30_T5": 4,
        "bias_0.001s_g26_o30_T0": 4,
        "dark_2.000s_g26_o30_T5": 5,  # three for one programme, five for another: one set
        "dark_2.000s_g26_o30_T0": 3,
        "flat_Ha_g56_o10_T5": 3,
        for_flats.pop(): 3,
        "dark_2.000s_g56_o10_T5": 3,
        "dark_3.000s_g56_o10_T5": 3,
    }
    assert Counter(each.target_c for each in said if isinstance(each, CoolingStable)) == {5.0: 1, 0.0: 1}
    headers = [fits.getheader(path) for path in night.frames()]
    assert Counter((header["GAIN"], header["OFFSET"]) for header in headers) == {(26, 30): 16, (56, 10): 12}
    assert _taken(_said(loaded)) == {}


def test_a_run_for_one_item_touches_nothing_else(night: Night) -> None:
    loaded = _loaded(night)
    only = frozenset(key for key in _dark_keys(loaded) if key.startswith("dark_2.000s_g26"))
    said = _said(loaded, replace(CAPTURE, only=only))
    assert set(_taken(said)) == only
    assert {each.item for each in said if isinstance(each, GroupStarted)} == only
    assert not list((night.root / "flats").rglob("*.fits"))


SHARED = yaml.safe_load("""
- {name: first, gain: 56, temperatures: [5.0], bias: {frames: 4}, darks: {exposures: 2.0, frames: 3},
   flats: {filters: [L], frames: 4}}
- {name: second, gain: 56, temperatures: [0.0], darks: {exposures: 2.0, frames: 5}, flats: {filters: [L], frames: 6}}
- {name: binned, offset: 20, binning: 2, readout_mode: extended FULLWELL, temperatures: [0.0], darks: {exposures: 2.0,
   frames: 3}}
""")


def test_flats_are_shared_and_what_a_programme_leaves_out_is_as_it_was_found(night: Night) -> None:
    """The third programme names no gain: it has the one that the camera was found with, not that of the others."""
    night.write({"programmes": SHARED})
    loaded = load(night.config)
    said = _said(loaded, RunOptions())
    taken = _taken(said)
    assert {key: number for key, number in taken.items() if key.startswith("flat")} == {"flat_L_g56_T5": 6}
    progress = [each for each in said if isinstance(each, RunProgress)]
    assert progress[-1].done == progress[-1].wanted == sum(number or 0 for number in taken.values())
    binned = [each for each in map(fits.getheader, night.frames()) if each["XBINNING"] == 2]
    found = fits.getheader(night.frames("bias*")[0])["GAIN"], len(binned)
    assert found == (56, 3)
    assert {(each["OFFSET"], each["READOUTM"], each["SET-TEMP"]) for each in binned} == {(20, "Extended fullwell", 0.0)}
    assert {each["GAIN"] for each in binned} == {26}
    again = _said(loaded, RunOptions())
    assert _taken(again) == {}
    assert not [each for each in again if isinstance(each, MasterBuilt)]
