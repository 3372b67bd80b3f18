"""Sets of frames that contradict all others are named by the command, the sidecar, the table and the page."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from calibration.frames import FrameKind
from services.cli.failures import run_app
from services.cli.main import app
from services.models.contradicting import named
from services.models.gathering import gather
from tests.support.dark_frames import DarkSite, dark_site

CELSIUS, SECONDS = 10.0, 20.0


def nightcal(*words: object) -> int:
    return run_app(app, [str(word) for word in words], name="nightcal")


def test_frames_that_an_import_unpacked_are_named_by_their_attempt(tmp_path: Path) -> None:
    site = dark_site(tmp_path / "frames", shape=(24, 32))
    for name in ("T10/5s/attempt1/fits", "T10/5s/attempt2/fits"):
        for _ in range(3):
            site.write(name, site.pixels(CELSIUS, 5.0), CELSIUS, 5.0)
    (found,) = gather(site.folder, tmp_path / "out", FrameKind.DARK)
    words = named(found.members)
    assert "attempt1" in words
    assert "attempt2" in words
    assert "fits" not in words


def taken(folder: Path, wrong: set[tuple[float, float]], factor: float, n: int = 2) -> DarkSite:
    """Return a sensor with darks of which some were taken at another gain than their headers state."""
    site = dark_site(folder, shape=(24, 32))
    for celsius in (-10.0, 0.0, 10.0, 20.0):
        for seconds in (0.0, 5.0, 20.0):
            for _ in range(n):
                pixels = site.pixels(celsius, seconds)
                if (celsius, seconds) in wrong:
                    bias = site.bias + site.slope * celsius
                    pixels = np.clip(bias + factor * (pixels - bias), 0, 65520).astype(np.uint16)
                site.write(f"T{celsius:g}_{seconds:g}s", pixels, celsius, seconds)
    return site


def test_darks_of_another_gain_are_named_everywhere_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    site, out = taken(tmp_path / "frames", {(CELSIUS, SECONDS)}, 1.8), tmp_path / "out"
    assert nightcal("model", "dark", "fit", site.folder, out) == 0
    printed = capsys.readouterr().out
    assert "WARNING: 1 set of frames contradicted all others and was left out" in printed
    named = "The 2 darks of 10.0 °C and 20 s, of 2026-03-01 (folder T10_20s) contradict all others and are left out"
    assert named in printed
    said = json.loads((out / "dark_model/dark_model.json").read_text())
    (row,) = said["contradictions"]
    assert (row["difference"], row["left_out"], len(row["paths"])) == ("factor", True, 2)
    assert row["factor"] == pytest.approx(1.8, rel=0.05)
    assert "an exposure of 3" in row["words"]
    assert {each["path"] for each in said["left_out"]} == set(row["paths"])
    (listed,) = Table.read(out / "dark_model/contradictions.ecsv")
    assert listed["difference"] == "factor"
    assert nightcal("model", "dark", "report", out, tmp_path / "page") == 0
    page = (tmp_path / "page/report.html").read_text()
    assert 'class="banner bad"' in page
    head = page[page.index('class="banner bad"') : page.index("What to know about it")]
    assert named in head
    assert "no other family" not in head.lower()
    assert nightcal("model", "dark", "synth", out, "--temperature", 10, "--exposure", 20, "--out", tmp_path) == 0
    mean = np.median(_plane(tmp_path / "synthetic_dark_t10.00_e20.00.fits"))
    assert mean == pytest.approx(np.median(site.truth(CELSIUS, SECONDS)), rel=0.04)


def test_where_half_of_the_darks_contradict_the_other_half_nothing_is_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    site = dark_site(tmp_path / "frames", shape=(24, 32))
    for folder, factor in (("first", 1.0), ("second", 1.8)):
        for seconds in (0.0, 5.0, 20.0):
            for _ in range(2):
                bias = site.bias + site.slope * CELSIUS
                pixels = bias + factor * (site.pixels(CELSIUS, seconds) - bias)
                site.write(f"{folder}/{seconds:g}s", np.clip(pixels, 0, 65520).astype(np.uint16), CELSIUS, seconds)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "WARNING: frames contradict each other, and nothing shows which are right" in printed
    said = json.loads((tmp_path / "out/dark_model/dark_model.json").read_text())
    assert not any(row["left_out"] for row in said["contradictions"])
    words = ("--temperature", CELSIUS, "--exposure", 20, "--out", tmp_path / "synthetic")
    assert nightcal("model", "dark", "synth", tmp_path / "out", *words) == 0
    (path,) = (tmp_path / "synthetic").glob("*.fits")
    mean, sigma = (np.median(fits.getdata(path, name)) for name in ("MEAN", "SIGMA"))
    truth = np.median(site.truth(CELSIUS, 20.0))
    assert all(abs(mean - factor * truth) < 1.5 * sigma for factor in (1.0, 1.8))  # either may be right


def test_darks_that_agree_have_no_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    site = taken(tmp_path / "frames", set(), 1.0)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "WARNING" not in printed
    assert "No header states a saturation; the frames reach 65520 ADU and never exceed it, and samples" in printed
    assert not (tmp_path / "out/dark_model/contradictions.ecsv").exists()


def _plane(path: Path) -> np.ndarray:
    return fits.getdata(path, "MEAN").astype(np.float64)


def mixed(folder: Path, odd: Callable[[int], bool], factor: float) -> DarkSite:
    """Return a sensor with five darks of each set, of which some were taken at another gain."""
    site = dark_site(folder, shape=(24, 32))
    for celsius in (0.0, 10.0, 20.0):
        for seconds in (0.0, 20.0):
            for number in range(5):
                pixels, bias = site.pixels(celsius, seconds), site.bias + site.slope * celsius
                if seconds and odd(number):
                    pixels = np.clip(bias + factor * (pixels - bias), 0, 65520).astype(np.uint16)
                site.write(f"T{celsius:g}_{seconds:g}s", pixels, celsius, seconds)
    return site


def test_darks_of_two_gains_in_every_set_are_named_and_the_errors_hold_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    site, out = mixed(tmp_path / "frames", lambda number: number % 2 == 1, 1.3), tmp_path / "out"
    assert nightcal("model", "dark", "fit", site.folder, out) == 0
    printed = capsys.readouterr().out
    assert "WARNING: frames contradict each other, and nothing shows which are right" in printed
    assert (
        "was the gain, the exposure or the temperature changed between them? Nothing shows which are right" in printed
    )
    (row,) = json.loads((out / "dark_model/dark_model.json").read_text())["contradictions"]
    assert (row["difference"], row["left_out"]) == ("within sets", False)
    assert row["factor"] == pytest.approx(1.3, abs=0.03)
    assert nightcal("model", "dark", "report", out, tmp_path / "page") == 0
    assert 'class="banner bad"' in (tmp_path / "page/report.html").read_text()
    assert nightcal("model", "dark", "synth", out, "--temperature", 10, "--exposure", 20, "--out", tmp_path) == 0
    path = tmp_path / "synthetic_dark_t10.00_e20.00.fits"
    pulls = (_plane(path) - site.truth(CELSIUS, SECONDS)) / fits.getdata(path, "SIGMA")
    assert abs(np.median(pulls)) < 1.5


def test_one_dark_of_another_gain_in_a_set_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    site, out = mixed(tmp_path / "frames", lambda number: number == 2, 0.8), tmp_path / "out"
    assert nightcal("model", "dark", "fit", site.folder, out) == 0
    assert "contradict the others of their set and are left out: they have 0." in capsys.readouterr().out
    said = json.loads((out / "dark_model/dark_model.json").read_text())
    assert said["model"]["relative"] == 0
    assert said["contradictions"][0]["factor"] == pytest.approx(0.8, abs=0.03)
    assert nightcal("model", "dark", "synth", out, "--temperature", 10, "--exposure", 20, "--out", tmp_path) == 0
    mean = np.median(_plane(tmp_path / "synthetic_dark_t10.00_e20.00.fits"))
    assert mean == pytest.approx(np.median(site.truth(CELSIUS, SECONDS)), rel=0.03)
