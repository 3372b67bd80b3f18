"""What a flat's master owes to its darks: which serve, what they leave wrong, and their part of its uncertainty."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from calibration.errors import FrameCode, GroupCode
from calibration.frames import FrameKind
from services.events.records import MasterBuilt, WarningRaised
from services.events.sentences import sentence
from services.masters import MasterOutcome, Outcome
from services.words import small_percent
from tests.support.foreign_frames import FLAT, ForeignRoot
from tests.support.made_root import GAIN, RATE, READ_NOISE, START, Root


def flat_sigma(folder: Path, *, save_planes: bool) -> np.ndarray:
    """Return SIGMA of a faint flat, in ADU, whose darks were combined with or without planes."""
    root = Root(folder)
    root.add(FrameKind.DARK, 1.0, 12)
    root.build(save_planes=save_planes)
    root.add(FrameKind.FLAT, 1.0, 12, light=100.0)
    (flat,) = root.build(darks=False)
    assert flat.status is Outcome.BUILT
    assert flat.path is not None
    found = root.planes(flat.path)["SIGMA"] * fits.getheader(flat.path)["FLATNORM"]
    root.catalogue.close()
    return np.asarray(found)


def test_a_flats_sigma_holds_that_of_a_dark_whose_planes_were_not_kept(tmp_path: Path) -> None:
    exact = flat_sigma(tmp_path / "with", save_planes=True)
    filled = flat_sigma(tmp_path / "without", save_planes=False)
    assert np.median(filled) == pytest.approx(np.median(exact), rel=0.02)
    assert np.median(filled) == pytest.approx(np.sqrt((5.0**2 + 95 / 0.5 + 5.0**2) / 12), rel=0.1)


def sidecar(root: Root, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(root.layout.sidecar_path(path).read_text())["statistics"]
    return found


def flats_of(outcomes: tuple[MasterOutcome, ...]) -> list[MasterOutcome]:
    return [each for each in outcomes if each.kind is FrameKind.FLAT]


WARMING = ((0.5, 2.4), (1.0, 3.3), (2.0, 4.6), (4.0, 5.4))
"""Exposures in seconds, and the temperature of a camera that has no cooler."""


def test_each_exposure_of_a_warming_camera_has_darks_of_its_own_temperature(tmp_path: Path) -> None:
    root = Root(tmp_path)
    for exposure_s, warm in WARMING:
        root.add(FrameKind.DARK, exposure_s, 6, set_temp_c=None, ccd_temp_c=warm + 0.3)
        root.add(FrameKind.FLAT, exposure_s, 6, set_id="flats", set_temp_c=None, ccd_temp_c=warm)
    (flat,) = flats_of(root.build())
    assert (flat.status, flat.n) == (Outcome.BUILT, 24)
    assert flat.path is not None
    found = sidecar(root, flat.path)
    assert found["verdict"] == "ok"
    assert (found["temp_min_c"], found["temp_max_c"]) == (2.4, 5.4)
    master = fits.getdata(flat.path)
    good = root.flat > 0.5
    assert np.median((master / root.flat)[good][:50]) == pytest.approx(np.median((master / root.flat)[good]), rel=0.01)
    root.catalogue.close()


def test_darks_serve_by_the_mean_of_their_temperatures(tmp_path: Path) -> None:
    """A group of darks is named by its coldest frame, which may be a degree from the others."""
    root = Root(tmp_path)
    for celsius in (4.1, 5.0, 5.0, 5.0, 5.1, 5.1):
        root.add(FrameKind.DARK, 1.0, 1, set_id="darks", set_temp_c=None, ccd_temp_c=celsius)
    root.add(FrameKind.FLAT, 1.0, 6, set_temp_c=None, ccd_temp_c=5.6)
    assert [flat.status for flat in flats_of(root.build())] == [Outcome.PARTIAL]
    root.catalogue.close()


def test_readings_that_jitter_about_the_set_point_do_not_prefer_the_dark_of_another_night(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.add(FrameKind.DARK, 1.0, 12, set_temp_c=-10.0, ccd_temp_c=-9.93)
    root.add(FrameKind.FLAT, 1.0, 12, set_temp_c=-10.0, ccd_temp_c=-10.0)
    (before,) = flats_of(root.build())
    root.add(
        FrameKind.DARK, 1.0, 12, set_id="later", set_temp_c=-10.0, ccd_temp_c=-10.02, date_obs=START + timedelta(days=2)
    )
    (after,) = flats_of(root.build())
    assert (after.status, after.path) == (Outcome.KEPT, before.path)
    root.catalogue.close()


def test_darks_of_another_temperature_do_not_serve(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.add(FrameKind.DARK, 1.0, 12, set_temp_c=None, ccd_temp_c=3.0)
    root.add(FrameKind.FLAT, 1.0, 12, set_temp_c=None, ccd_temp_c=5.6)
    (flat,) = flats_of(root.build())
    assert flat.code == GroupCode.NO_MATCHING_DARK
    assert "temperature 3 °C, wanted 5.6 °C" in flat.detail
    root.catalogue.close()


def test_flats_that_are_much_dimmer_are_left_out_by_name(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.add(FrameKind.DARK, 1.0, 12)
    bright = root.add(FrameKind.FLAT, 1.0, 12, set_id="flats")
    dim = root.add(FrameKind.FLAT, 1.0, 4, set_id="flats", light=900.0)
    (flat,) = flats_of(root.build())
    assert flat.path is not None
    assert flat.n == len(bright)
    (warned,) = (e.what for e in root.heard if isinstance(e.what, WarningRaised))
    assert warned.code == FrameCode.LEVEL_OFF
    assert all(path.name in warned.detail for path in dim)
    assert not any(path.name in warned.detail for path in bright)
    root.catalogue.close()


def test_it_is_said_what_was_subtracted_and_how_wrong_that_may_be(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.add(FrameKind.BIAS, 0.001, 12)
    root.add(FrameKind.DARK, 1.0, 12)
    root.add(FrameKind.DARK, 30.0, 12)
    root.add(FrameKind.FLAT, 1.0, 12, filter="L")
    root.add(FrameKind.FLAT, 2.5, 12, filter="R")  # a bias serves: 5 ADU of 20,000
    outcomes = {flat.filter: flat for flat in flats_of(root.build())}
    own, bias = (sidecar(root, outcomes[name].path or Path()) for name in ("L", "R"))
    noise = READ_NOISE / 12**0.5
    assert own["dark"] == "master_dark_1.000s_20260102_020000.fits (its own exposure)"
    assert own["dark_error"] == pytest.approx(noise / 20_000, rel=0.1)
    assert bias["dark"] == "master_bias_20260102_020000.fits (bias)"
    assert bias["dark_error"] == pytest.approx(np.hypot(noise, 2.5 * RATE) / 20_000, rel=0.1)
    lines = [sentence(e.what) for e in root.heard if isinstance(e.what, MasterBuilt) and e.what.kind is FrameKind.FLAT]
    assert [line.partition(", minus ")[2] for line in lines] == [
        f"{each['dark']}, error {small_percent(each['dark_error'], ' ')} of the light" for each in (own, bias)
    ]
    root.catalogue.close()


def test_a_dark_at_another_temperature_is_wrong_by_its_signal(tmp_path: Path) -> None:
    """Six degrees double the dark signal: 0.6 degrees are 7 % of it."""
    root = Root(tmp_path)
    root.add(FrameKind.BIAS, 0.001, 12, set_temp_c=None, ccd_temp_c=10.0)
    root.add(FrameKind.DARK, 60.0, 12, set_temp_c=None, ccd_temp_c=10.0)
    root.add(FrameKind.FLAT, 60.0, 12, set_temp_c=None, ccd_temp_c=10.6)
    (flat,) = flats_of(root.build())
    assert flat.path is not None
    signal = 60 * RATE
    noise = np.sqrt(READ_NOISE**2 + signal / GAIN) / 12**0.5
    wrong = signal * (2**0.1 - 1)
    assert sidecar(root, flat.path)["dark_error"] == pytest.approx(np.hypot(noise, wrong) / 20_000, rel=0.1)
    root.catalogue.close()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"calibrated": "D", "pedestal_adu": 500.0}, "500 ADU"),
        ({"calibrated": "BD", "pedestal_adu": 500.0}, "500 ADU"),
        ({"calibrated": "B", "pedestal_adu": 500.0}, "500 ADU"),
    ],
)
def test_from_flats_that_were_calibrated_only_the_pedestal_is_subtracted(
    tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    root = Root(tmp_path)
    root.add(FrameKind.BIAS, 0.001, 12)
    root.add(FrameKind.DARK, 1.0, 12)
    root.add(FrameKind.FLAT, 1.0, 12, **fields)
    (flat,) = flats_of(root.build())
    assert flat.path is not None
    found, header = sidecar(root, flat.path), fits.getheader(flat.path)
    assert found["dark"] == f"{words} (another program has calibrated the frames)"
    assert found["net_level_adu"] == pytest.approx(20_000 * np.median(root.flat[12:36, 16:48]), rel=0.01)
    assert header["FLATDARK"] == "none"
    assert "DARKFILE" not in header
    sigma = root.planes(flat.path)["SIGMA"] * header["FLATNORM"]
    assert np.median(sigma) == pytest.approx(np.sqrt(READ_NOISE**2 + 19_000 / GAIN) / 12**0.5, rel=0.1)
    root.catalogue.close()


def test_a_bias_subtracted_from_flats_of_a_warm_sensor_is_not_enough(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.add(FrameKind.BIAS, 0.001, 12)
    root.add(FrameKind.DARK, 60.0, 12)
    root.add(FrameKind.FLAT, 60.0, 12, light=5_000.0, calibrated="B", pedestal_adu=500.0)
    (flat,) = flats_of(root.build())
    assert flat.code == GroupCode.NO_MATCHING_DARK
    root.catalogue.close()


@pytest.mark.parametrize("card", [{"EGAIN": 0.25}, {"BAYERPAT": "BGGR"}], ids=str)
@pytest.mark.parametrize("first", ["L", "R"])
def test_flats_that_differ_in_a_fact_which_not_every_dark_states_have_no_dark_in_common(
    tmp_path: Path, card: dict[str, Any], first: str
) -> None:
    """Both are looked for among the same darks: what was found for the first is no answer for the second."""
    root = ForeignRoot(tmp_path)
    alike: dict[str, Any] = {"GAIN": None, "EGAIN": 1.0, "BAYERPAT": "RGGB"}
    for i in range(6):
        root.save(f"darks/d_{i}.fits", 500, FLAT | alike | {"IMAGETYP": "DARK"})
        for name, cards in (("L", {}), ("R", card)):
            hour = 18 if name == first else 20
            more = {"FILTER": name, "DATE-OBS": f"2026-01-01T{hour}:00:0{i}"}
            root.save(f"flats/{name}_{i}.fits", 20_000, FLAT | alike | more | cards)
    for outcome in (Outcome.BUILT, Outcome.KEPT):
        flats = {each.filter: each for each in flats_of(root.masters())}
        assert (flats["L"].status, flats["R"].code) == (outcome, GroupCode.NO_MATCHING_DARK)
    root.catalogue.close()
