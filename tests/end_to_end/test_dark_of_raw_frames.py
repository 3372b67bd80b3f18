"""A tree of raw frames of which every number is known becomes a dataset, a dark model, and darks that nobody took."""

import json
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from calibration.models.dark.model import DarkBit
from services.cli.failures import run_app
from services.cli.main import app
from services.models.dark.evaluate import evaluate
from tests.support.dark_frames import DarkSite, dark_site
from tests.support.raw_tree import attempt

HOT = 12
TEMPERATURES_C, EXPOSURES_S = (-10.0, 0.0, 10.0, 20.0), (1.0, 5.0, 20.0)


def nightcal(*words: object) -> int:
    return run_app(app, [str(word) for word in words], name="nightcal")


def written(root: Path) -> DarkSite:
    """Write biases and darks of a 12-bit camera that counts in steps of 16, with twelve hot pixels, as raw frames."""
    site = dark_site(root, 3, shape=(32, 48), hot=HOT, drift_adu=2.5)
    for celsius in TEMPERATURES_C:
        folder, name = root / f"TestSection1/T{celsius:g}/attempt1", f"BiasT{celsius:g}_exp1.2e-05sAt1f{{n}}.raw"
        biases = {"name": name, "frames": 6, "celsius": celsius, "exposure_s": 12e-6}
        attempt(folder, pixels=lambda c=celsius: site.pixels(c, 0.0), **biases)
        for seconds in EXPOSURES_S:
            folder = root / f"TestSection2/ContinuousFrames/T{celsius:g}/{seconds:g}s/attempt1"
            darks = {"name": f"exp_{seconds:g}s_frame{{n}}.raw", "frames": 4, "celsius": celsius, "exposure_s": seconds}
            attempt(folder, pixels=lambda c=celsius, s=seconds: site.pixels(c, s), **darks)
    return site


def test_raw_darks_predict_five_degrees_and_their_hot_pixels_are_the_true_ones(tmp_path: Path) -> None:
    site = written(tmp_path / "raw")
    assert nightcal("dataset", "import", tmp_path / "raw", "--out", tmp_path / "frames") == 0
    assert nightcal("model", "dark", "fit", tmp_path / "frames", tmp_path / "model") == 0
    words = ("--temperature", 5, "--exposure", 1, "--exposure", 20, "--out", tmp_path)
    assert nightcal("model", "dark", "synth", tmp_path / "model", *words) == 0
    for seconds in (1, 20):
        path = tmp_path / f"synthetic_dark_t5.00_e{seconds}.00.fits"
        ratio = fits.getdata(path, "MEAN") / site.truth(5.0, seconds)
        assert abs(np.median(ratio) - 1) < 0.05
        assert np.abs(ratio.flat[:HOT] - 1).max() < 0.05
    mask = fits.getdata(tmp_path / "model/dark_model/dark_model.fits", "MASK")
    full = (mask.flat[:HOT] & DarkBit.SATURATED) != 0
    assert full.sum() >= HOT // 2  # at 20 s and 10 or 20 °C: those samples are left out
    assert ((mask.flat[:HOT] & DarkBit.HOT) != 0).all()
    assert ((mask.flat[HOT:] & DarkBit.HOT) != 0).sum() <= 3

    said = json.loads((tmp_path / "model/dark_model/dark_model.json").read_text(encoding="utf-8"))
    rows = [row for row in Table.read(tmp_path / "model/dark_model/holdout.ecsv") if row["inside"] and row["counts"]]
    chosen = [row for row in rows if row["family"] == said["model"]["law"]["family"] and not row["glow"]]
    assert {float(row["temperature_c"]) for row in chosen} == {0.0, 10.0}
    assert all(abs(row["error"]) < 0.05 for row in chosen)
    earlier = {(row["temperature_c"], row["bin"]): row for row in rows if row["family"] == "exponential"}
    for row in chosen:  # never worse than an exponential, as earlier programs had it
        other = earlier[row["temperature_c"], row["bin"]]
        assert abs(row["error"]) <= abs(other["error"]) + np.hypot(row["sigma"], other["sigma"])

    evaluate(tmp_path / "model", tmp_path / "frames", tmp_path / "ev")
    table = Table.read(tmp_path / "ev/evaluation.ecsv")
    shown = [row for row in table if row["level_sigma"] >= 3 and row["pixels"] >= 100]
    assert shown
    assert np.sqrt(np.mean([(row["error_pct"] / row["noise_pct"]) ** 2 for row in shown])) < 1.5  # with levels' drift
