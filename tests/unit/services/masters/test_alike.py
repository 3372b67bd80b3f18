"""Frames of another program are not combined before cards and levels have shown that they are alike."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.events.findings import findings_of
from services.events.records import MasterBuilt, MasterRefused, WarningRaised
from services.events.sentences import sentence
from services.indexing.sidecar import read_sidecar
from services.masters import MasterOutcome, Outcome
from tests.support.foreign_frames import BIAS, DARK, FLAT, ForeignRoot


@pytest.fixture
def root(tmp_path: Path) -> ForeignRoot:
    return ForeignRoot(tmp_path)


def heard(root: ForeignRoot, kind: type) -> list:
    return [event.what for event in root.heard if isinstance(event.what, kind)]


def inputs(root: ForeignRoot, outcome: MasterOutcome) -> np.ndarray:
    assert outcome.path is not None
    return np.array(fits.getdata(root.layout.planes_path(outcome.path), "INPUTS"))


def test_a_card_that_nobody_understands_divides_a_group_and_is_named_with_a_way_out(root: ForeignRoot) -> None:
    for i in range(10):
        root.save(f"darks/a{i}.fits", 500, DARK | {"CHIPMOD": "fast"})
        root.save(f"darks/b{i}.fits", 500, DARK | {"CHIPMOD": "slow"})
    (outcome,) = root.masters()
    assert (outcome.status, outcome.code) == (Outcome.REFUSED, "unlike_frames")
    assert "these 20 darks differ in CHIPMOD: fast (10), slow (10)" in outcome.detail
    assert "header_aliases: {CHIPMOD: readout_mode}" in outcome.detail


def test_cards_whose_names_say_nothing_are_all_named_in_one_way_out(root: ForeignRoot) -> None:
    for i in range(5):
        root.save(f"darks/a{i}.fits", 500, DARK | {"XCONFIG": "one", "PHASE": "low"})
        root.save(f"darks/b{i}.fits", 500, DARK | {"XCONFIG": "two", "PHASE": "high"})
    (outcome,) = root.masters()
    assert outcome.code == "unlike_frames"
    assert "say `header_aliases: {PHASE: ignore, XCONFIG: ignore}`" in outcome.detail
    assert "readout_mode" in outcome.detail
    assert root.masters(ignored_cards=frozenset({"XCONFIG", "PHASE"}))[0].status is Outcome.BUILT


def test_a_remark_that_neither_level_nor_noise_follows_divides_nothing(root: ForeignRoot) -> None:
    for i in range(10):
        root.save(f"darks/d{i}.fits", 500, DARK | {"METEO": "clair" if i < 5 else "nuages", "STUDENT": "AB"[i % 2]})
    (outcome,) = root.masters()
    assert (outcome.status, outcome.n) == (Outcome.BUILT, 10)


def test_what_varies_from_frame_to_frame_divides_nothing(root: ForeignRoot) -> None:
    for i in range(6):
        cards = {"AMBTEMP": 8 - 0.1 * i, "FOCPOS": 12_000 + i % 2, "FILENAME": f"d{i}", "PIERSIDE": "EW"[i % 2]}
        root.save(f"darks/d{i}.fits", 500, DARK | cards)
    (outcome,) = root.masters()
    assert (outcome.status, outcome.n) == (Outcome.BUILT, 6)


def test_two_levels_without_a_card_that_says_why_are_refused(root: ForeignRoot) -> None:
    for i in range(8):
        root.save(f"darks/a{i}.fits", 510)
        root.save(f"darks/b{i}.fits", 900)
    (outcome,) = root.masters()
    assert outcome.code == "unlike_frames"
    assert "8 frames at 510 ADU (a0.fits …) and 8 frames at 900 ADU (b0.fits …)" in outcome.detail


def test_flats_of_two_levels_are_refused_where_nobody_states_the_filter_alone(root: ForeignRoot) -> None:
    for i in range(6):
        root.save(f"darks/d{i}.fits", 500, DARK | {"EXPTIME": 1.0})
        for name, level in (("x", 20_000), ("y", 30_000)):
            root.save(f"flats/{name}{i}.fits", level, FLAT | {"FILTER": None, "INSTRUME": "Cam"})
    codes = {outcome.kind: outcome.code for outcome in root.masters()}
    assert codes == {FrameKind.DARK: None, FrameKind.FLAT: "unlike_frames"}


def test_a_frame_whose_level_is_off_is_left_out_by_name_and_every_input_has_its_level(root: ForeignRoot) -> None:
    for i in range(11):
        root.save(f"darks/d{i:02}.fits", 1005 if i == 6 else 1000)
    (outcome,) = root.masters()
    assert (outcome.status, outcome.n, outcome.suspect) == (Outcome.BUILT, 10, ())
    table = inputs(root, outcome)
    assert "darks/d06.fits" not in set(table["PATH"])
    assert table["LEVEL"] == pytest.approx(1000, abs=1.5)
    (warning,) = [w for w in heard(root, WarningRaised) if w.code == "level_off"]
    assert "dark 30 s: left out of its master: darks/d06.fits (1005." in warning.detail
    assert "in a dark or bias, light came in" in (sentence(warning) or "")
    assert root.masters()[0].status is Outcome.KEPT


def test_frames_of_three_times_the_noise_are_left_out_by_name(root: ForeignRoot) -> None:
    for i in range(12):
        root.save(f"darks/d{i:02}.fits", 1000, sigma=24 if i in {4, 7, 10} else 8)
    (outcome,) = root.masters()
    assert outcome.n == 9
    (warning,) = [w for w in heard(root, WarningRaised) if w.code == "noise_off"]
    assert all(f"d{i:02}.fits" in warning.detail for i in (4, 7, 10))


def pedestal(root: ForeignRoot) -> list[MasterOutcome]:
    for i in range(6):
        root.save(f"darks/b{i}.fits", 1000, BIAS)
        for seconds, level in ((10.0, 1001), (60.0, 1006), (120.0, 1112)):
            root.save(f"darks/d{seconds:g}_{i}.fits", level, DARK | {"EXPTIME": seconds})
    return sorted(root.masters(), key=lambda o: o.exposure_us or 0)


def test_darks_that_biases_and_other_exposures_contradict_are_suspect_and_say_so(root: ForeignRoot) -> None:
    *others, off = pedestal(root)
    assert [o.suspect for o in others] == [()] * 3
    (found,) = off.suspect
    assert (found.code, off.exposure_us) == ("pedestal_off", 120_000_000)
    (built,) = [b for b in heard(root, MasterBuilt) if b.doubts]
    said = sentence(built)
    assert said is not None
    assert "suspect: pedestal off: the level is 111" in said
    assert "expected from the biases, the darks of 10 s, the darks of 60 s: 101" in said
    assert off.path is not None
    row = read_sidecar(root.layout.sidecar_path(off.path))
    assert row.statistics["verdict"] == "suspect"
    assert findings_of(row.statistics)[0].detail == found.detail
    assert [o.suspect[0].code for o in pedestal_again(root)] == ["pedestal_off"]


def pedestal_again(root: ForeignRoot) -> list[MasterOutcome]:
    return [outcome for outcome in root.masters() if outcome.status is Outcome.KEPT and outcome.suspect]


def test_the_wander_of_the_level_is_in_its_error_and_not_in_sigma(root: ForeignRoot) -> None:
    for i, shift in enumerate((-3.0, -1.5, 0.0, 0.0, 1.5, 3.0, -2.0, 2.0)):
        root.save(f"darks/d{i}.fits", 1000 + shift, sigma=2)
    (outcome,) = root.masters()
    assert outcome.path is not None
    header = fits.getheader(outcome.path)
    wander = np.std([-3, -1.5, 0, 0, 1.5, 3, -2, 2], ddof=1)
    assert header["LVLSTD"] == pytest.approx(wander, rel=0.05)
    assert header["LVLERR"] == pytest.approx(wander / 8**0.5, rel=0.05)
    statistics = read_sidecar(root.layout.sidecar_path(outcome.path)).statistics
    assert statistics["level_error_adu"] == pytest.approx(header["LVLERR"], rel=1e-6)


def test_groups_of_one_name_are_told_apart_by_what_differs(root: ForeignRoot) -> None:
    for i in range(3):
        root.save(f"darks/w{i}.fits", 500)
        root.save(f"darks/c{i}.fits", 500, DARK | {"CCD-TEMP": -20.0, "SET-TEMP": -20.0})
        root.save(f"darks/b{i}.fits", 500, DARK | {"XBINNING": 2, "YBINNING": 2})
        root.save(f"darks/g{i}.fits", 500, DARK | {"GAIN": 0})
        for night in ("2024-01-02", "2024-03-05"):
            root.save(f"flats/{night}_{i}.fits", 20_000, FLAT | {"DATE-OBS": f"{night}T20:00:00"})
    root.masters()
    lines = [sentence(what) or "" for what in heard(root, MasterRefused)]
    assert len(set(lines)) == len(lines) == 6
    told = "\n".join(lines)
    for words in (
        "gain 100, -20.0 °C, binning 1 x 1",
        "binning 2 x 2",
        "gain 0",
        "night 2024-01-02",
        "night 2024-03-05",
    ):
        assert words in told


def test_an_uncooled_camera_is_told_with_the_temperatures_of_its_frames(root: ForeignRoot) -> None:
    for i in range(8):
        root.save(f"darks/d{i}.fits", 600, DARK | {"SET-TEMP": None, "CCD-TEMP": round(16 + 0.3 * i, 1)})
    root.masters()
    told = [what.apart for what in heard(root, MasterRefused)]
    assert told == ["16.0 to 16.9 °C", "17.2 to 18.1 °C"]
