"""The commands of the dark model: what they write, and what they say of frames that cannot make one."""

import csv
import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from calibration.frames import FrameKind
from calibration.models.dark.model import DarkBit
from services.cli.failures import run_app
from services.cli.main import app
from services.errors import RunCode, StorageError
from services.events.modelled import moved_words
from services.models.bias import plan as bias_plan
from services.models.dark.bands import Work, darks_of, fit_bands, shots_of
from services.models.dark.bias import offsets_of
from services.models.dark.evaluate import evaluate
from services.models.dark.files import open_targets
from services.models.dark.library import DarkMaker
from services.models.dark.model import fit
from services.models.dark.plan import plan_of
from services.models.dark.records import Loaded
from services.models.gathering import gather
from services.models.products import decimal_text
from tests.support.bias_frames import write_bias
from tests.support.dark_frames import EXPOSURES_S, TEMPERATURES_C, DarkSite, dark_site, whole_site
from tests.support.failing_disks import FullDisk
from tests.support.made_root import Root

TEXTS = [f"{celsius:.2f}" for celsius in TEMPERATURES_C]


def nightcal(*words: object) -> int:
    return run_app(app, [str(word) for word in words], name="nightcal")


def plane(path: Path, name: str = "MEAN") -> NDArray[Any]:
    return fits.getdata(path, name).astype(np.float64)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> DarkSite:
    """Return a sensor with a model in `out` beside its frames; the fit left the frames as they were."""
    folder = tmp_path_factory.mktemp("dark")
    made = whole_site(folder / "frames")
    paths = sorted(made.folder.rglob("*.fits"))
    before = [path.read_bytes() for path in paths]
    assert nightcal("model", "dark", "fit", made.folder, folder / "out") == 0
    assert [path.read_bytes() for path in paths] == before
    return made


@pytest.fixture
def out(site: DarkSite) -> Path:
    return site.folder.parent / "out"


def test_every_file_that_earlier_programs_had_is_there(out: Path):
    folders = ("exp_1p00", "exp_20p00")
    made = {path.relative_to(out).as_posix() for path in out.rglob("*.*") if not path.name.startswith(".")}
    assert made == {
        "dark_model/dark_model.fits", "dark_model/dark_model.json", "dark_model/frames.ecsv",
        "dark_model/holdout.ecsv", "dark_model/levels.ecsv",
        *(f"dark_model/{f}/{name}.fits" for f in folders for name in ("A_map", "B_map", "hot_pixels")),
        *(f"dark_model/{f}/global_params.npz" for f in folders),
        *(f"dark_model_2d/{name}_map_2D.fits" for name in ("A", "B", "GAMMA")), "dark_model_2d/global_params_2d.npz",
        *(f"dark_masks_by_temp/exp_1p00/dark_mask_t{t}_e1.00.fits" for t in TEXTS),
        *(f"dark_masks_by_temp/exp_20p00/dark_mask_t{t}_e20.00.fits" for t in TEXTS),
    }  # fmt: skip
    for path in out.rglob("*.fits"):
        with fits.open(path, checksum=True) as units:
            units.verify("exception")


def test_an_unseen_temperature_is_predicted_within_five_percent_of_the_truth(site: DarkSite, out: Path, tmp_path: Path):
    assert (
        nightcal(
            "model", "dark", "synth", out, "--temperature", 5, "--exposure", 1, "--exposure", 20, "--out", tmp_path
        )
        == 0
    )
    for seconds in (1.0, 20.0):
        path = tmp_path / f"synthetic_dark_t5.00_e{decimal_text(seconds, 2)}.fits"
        mean, sigma, truth = plane(path), plane(path, "SIGMA"), site.truth(5.0, seconds)
        assert np.median(mean) == pytest.approx(np.median(truth), rel=0.02)
        assert mean.flat[:6] == pytest.approx(truth.flat[:6], rel=0.05)  # hot: saturated at 20 s, left out there
        pulls = (mean - truth) / sigma
        assert abs(pulls.mean()) < 0.3
        assert 0.8 < pulls.std() < 1.2
        header = fits.getheader(path)
        assert (header["BUNIT"], header["TEMP"], header["EXPTIME"], header["MODEXTRA"]) == ("adu", 5.0, seconds, False)


def test_the_hot_pixels_are_the_true_ones(out: Path):
    hot = plane(out / "dark_model/exp_1p00/hot_pixels.fits") != 0
    assert set(np.flatnonzero(hot)) == set(range(6))
    assert ((plane(out / "dark_model/dark_model.fits", "MASK").astype(int) & DarkBit.HOT) != 0).sum() == 6


def test_means_are_neither_clipped_nor_shifted(site: DarkSite, out: Path):
    cold = plane(out / "dark_masks_by_temp/exp_1p00/dark_mask_t-10.00_e1.00.fits")
    truth = site.truth(-10.0, 1.0)
    assert (cold < 0).any()  # of a faint dark, noise makes as many negative as it must
    sigma = plane(out / "dark_masks_by_temp/exp_1p00/dark_mask_t-10.00_e1.00.fits", "SIGMA")
    assert np.mean((cold - truth) / sigma) == pytest.approx(0, abs=0.4)
    long = plane(out / "dark_masks_by_temp/exp_20p00/dark_mask_t20.00_e20.00.fits")
    assert np.isnan(long.flat[:6]).any()
    usual = np.isfinite(long)
    assert np.median(long[usual] / (site.truth(20.0, 20.0)[usual] / 20)) == pytest.approx(1, abs=0.01)


def test_the_maps_of_earlier_programs_have_right_values(site: DarkSite, out: Path):
    folder = out / "dark_model/exp_20p00"
    said = np.load(folder / "global_params.npz")
    assert set(said) == {"A_g", "B_g", "t_min"}
    a, b = plane(folder / "A_map.fits"), plane(folder / "B_map.fits")
    for celsius in (0.0, 10.0):
        made = np.median(a * np.exp(b * (celsius - said["t_min"])))
        assert made == pytest.approx(np.median(site.truth(celsius, 1.0)), rel=0.1)  # no exponential is the truth
    two = {name: plane(out / f"dark_model_2d/{name}_map_2D.fits") for name in ("A", "B", "GAMMA")}
    assert float(np.median(two["GAMMA"])) == pytest.approx(1, abs=0.05)
    made = two["A"] * 20 ** two["GAMMA"] * np.exp(two["B"] * 20)
    assert np.median(made) == pytest.approx(np.median(site.truth(10.0, 20.0)), rel=0.1)


def test_the_sidecar_names_domain_inputs_and_the_temperatures_left_out(out: Path):
    said = json.loads((out / "dark_model/dark_model.json").read_text())
    assert said["domain"] == {
        "coldest_c": -10.0, "warmest_c": 20.0, "shortest_s": 0.0, "longest_s": 20.0, "shape": [16, 24]
    }  # fmt: skip
    kinds = [row["kind"] for row in said["inputs"]]
    assert (kinds.count("dark"), kinds.count("bias")) == (32, 16)
    assert all(row["rows_sha256"] for row in said["inputs"])
    table = Table.read(out / "dark_model/holdout.ecsv")
    inside = [
        row for row in table if row["inside"] and row["counts"] and row["family"] == said["model"]["law"]["family"]
    ]
    assert {float(row["temperature_c"]) for row in inside} == {0.0, 10.0}
    assert all(abs(row["error"]) < max(0.05, 3.5 * row["sigma"]) for row in inside)


def test_an_extrapolation_is_flagged_and_named(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ("--temperature", 25, "--temperature", 10, "--exposure", 10, "--exposure", 100, "--out", tmp_path)
    assert nightcal("model", "dark", "synth", out, *words) == 0
    said = capsys.readouterr().err
    assert said.count("is an extrapolation from -10.0 to 20.0 degC, 0 to 20 s") == 3
    for celsius, seconds, beyond in ((25, 10, True), (10, 10, False), (10, 100, True)):
        path = tmp_path / f"synthetic_dark_t{celsius:.2f}_e{seconds:.2f}.fits"
        assert fits.getheader(path)["MODEXTRA"] is beyond
    saturated = plane(tmp_path / "synthetic_dark_t25.00_e100.00.fits", "MASK").astype(int) & DarkBit.SATURATED
    assert (saturated.flat[:6] != 0).all()


def test_a_grid_of_temperatures_and_exposures_is_made(out: Path, tmp_path: Path):
    words = [w for t in (-5, 5, 15) for w in ("--temperature", t)] + [w for e in (2, 10) for w in ("--exposure", e)]
    assert nightcal("model", "dark", "synth", out, *words, "--out", tmp_path) == 0
    assert len(list(tmp_path.glob("*.fits"))) == 6
    small, large = (plane(tmp_path / f"synthetic_dark_t5.00_e{e}.00.fits") for e in (2, 10))
    assert large == pytest.approx(5 * small, rel=1e-4)


def test_each_mode_works_alone_on_what_full_wrote(site: DarkSite, out: Path, tmp_path: Path):
    wanted = {
        "synthetic_only": ["synthetic_darks/synthetic_dark_5.00.fits"],
        "synthetic_2d": [
            f"synthetic_2d_exp_{e}/synthetic_2d_dark_t5.00_e{e}.fits"
            for e in ("1.00", "5.00", "10.00", "20.00", "25.00")
        ],
        "synthetic_2d_single": ["synthetic_2d_dark_T7.00_E12.50.fits"],
        "fit_2d_model": ["dark_model_2d/A_map_2D.fits", "dark_model_2d/global_params_2d.npz"],
        "evaluate_2d_model": [
            "evaluation/evaluation_model_2d_summary.csv",
            *(f"evaluation/heatmap_{name}_2d.png" for name in ("mae", "mape", "dark_real", "dark_synthetic")),
            "evaluation/plots_2d_comparison/line_compare_e20.00.png",
            "evaluation/plots_2d_comparison/scatter_t10.00.png",
        ],
    }
    for mode, names in wanted.items():
        words = ("--mode", mode, "--model-dir", out, "--temps", "5", "--temp-single", 7, "--exptime-single", 12.5)
        assert nightcal("model", "dark", "fit", site.folder, tmp_path / mode, *words) == 0
        for name in names:
            assert (tmp_path / mode / name).is_file(), name
    rate = tmp_path / "synthetic_only/synthetic_darks/synthetic_dark_5.00.fits"
    assert fits.getheader(rate)["BUNIT"] == "adu/s"
    assert np.median(plane(rate)) == pytest.approx(np.median(site.truth(5.0, 1.0)), rel=0.02)
    table = (tmp_path / "evaluate_2d_model/evaluation/evaluation_model_2d_summary.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(table.splitlines()))
    assert rows[0] == ["Temperature (°C)", "Exposure (s)", "MAE [ADU/s]", "MAPE [%]"]
    assert len(rows) == 1 + len(TEMPERATURES_C) * len(EXPOSURES_S)


def test_evaluation_is_against_frames_that_the_model_has_not_seen(
    site: DarkSite, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = dark_site(tmp_path / "frames")  # the same sensor
    for celsius in (5.0, 15.0):
        for seconds in (0.0, 20.0):
            other.take(celsius, seconds, 4)
    assert nightcal("model", "dark", "evaluate", out, other.folder, tmp_path / "ev") == 0
    said = capsys.readouterr().out
    assert "The model was made of" not in said
    assert "predicted over measured less 1, by level of dark" in said
    rows = Table.read(tmp_path / "ev/evaluation.ecsv")
    shown = [row for row in rows if row["level_sigma"] >= 3 and row["pixels"] >= 5]
    assert {float(row["temperature_c"]) for row in shown} == {5.0, 15.0}
    assert all(abs(row["error_pct"]) < max(5.0, 4 * row["noise_pct"]) for row in shown)
    assert "The model was made of 32 of these 32 darks" in " ".join(evaluate(out, site.folder, tmp_path / "seen").notes)


def test_a_model_that_is_wrong_is_seen_by_the_frames(site: DarkSite, out: Path, tmp_path: Path):
    twice = dark_site(tmp_path / "frames")
    for seconds in (0.0, 20.0):
        for _ in range(4):
            twice.write("twice", twice.pixels(10.0, 2 * seconds), 10.0, seconds)
    evaluate(out, twice.folder, tmp_path / "ev")
    rows = [
        row for row in Table.read(tmp_path / "ev/evaluation.ecsv") if row["level_sigma"] >= 3 and row["pixels"] > 20
    ]
    assert rows
    assert all(row["error_pct"] == pytest.approx(-50, abs=3) for row in rows)


@pytest.mark.long
def test_threads_and_processes_and_any_band_give_the_same_planes(site: DarkSite, tmp_path: Path):
    (gathered,) = gather(site.folder, tmp_path / "work", FrameKind.DARK, FrameKind.BIAS)
    plan = plan_of(gathered, tmp_path / "scratch")
    shots = shots_of(plan.darks.taken)
    work = Work(darks=darks_of(plan.darks, plan.model.noise), model=plan.model, shots=shots)
    made = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        for number, (memory_mb, executor) in enumerate(((256.0, None), (0.05, None), (0.05, processes))):
            with open_targets(tmp_path / str(number), plan, shots) as targets:
                fit_bands(work, targets.model, targets.masks, memory_mb=memory_mb, executor=executor)
                for file in targets.files:
                    file.finish()
            made.append({path.name: path.read_bytes() for path in sorted((tmp_path / str(number)).rglob("*.fits"))})
    assert made[0] == made[1] == made[2]


def test_a_second_fit_replaces_the_first_one_and_removes_what_it_has_not(tmp_path: Path):
    first = whole_site(tmp_path / "first", temperatures=(0.0, 10.0), n=2)
    second = whole_site(tmp_path / "second", temperatures=(0.0, 10.0), exposures=(5.0,), n=2)
    for frames in (first, second):
        assert nightcal("model", "dark", "fit", frames.folder, tmp_path / "out") == 0
    folders = {path.parent.name for path in (tmp_path / "out").rglob("*.fits")}
    assert folders == {"dark_model", "exp_5p00", "dark_model_2d"}


def test_files_of_another_program_stay_as_they_are(site: DarkSite, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    foreign = tmp_path / "dark_model" / "dark_model.fits"
    foreign.parent.mkdir()
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(foreign)
    before = foreign.read_bytes()
    assert nightcal("model", "dark", "fit", site.folder, tmp_path) == 2
    assert "was not written by nightcal" in capsys.readouterr().err
    assert foreign.read_bytes() == before
    assert not (tmp_path / "dark_masks_by_temp").exists()


def test_without_biases_a_constant_is_fitted_in_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    site = whole_site(tmp_path / "frames", biases=False)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    assert "A constant is fitted to each pixel" in capsys.readouterr().out
    assert (
        nightcal("model", "dark", "synth", tmp_path / "out", "--temperature", 5, "--exposure", 20, "--out", tmp_path)
        == 0
    )
    made = plane(tmp_path / "synthetic_dark_t5.00_e20.00.fits")
    assert np.median(made) == pytest.approx(np.median(site.truth(5.0, 20.0)), rel=0.05)


def test_biases_of_one_temperature_are_taken_off_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    site = dark_site(tmp_path / "frames")
    site.take(10.0, 0.0, 4)
    for celsius in (5.0, 10.0):
        site.take(celsius, 20.0, 4)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    assert "The biases have one temperature, 10.0 °C" in capsys.readouterr().out


def test_a_dark_that_is_warmer_than_all_biases_takes_their_model_from_no_other_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    site = replace(dark_site(tmp_path / "frames"), slope=np.full((16, 24), 8.0))
    for celsius, dark in zip((-10.0, 0.0, 10.0), (-10.0, 5.0, 12.0), strict=True):
        site.take(celsius, 0.0, 6)
        for seconds in EXPOSURES_S:
            site.take(dark, seconds, 6)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "2 of 6 groups of darks lie outside of it, up to 2.0 °C" in said
    at = ("--temperature", 5, "--exposure", 20)
    assert nightcal("model", "dark", "synth", tmp_path / "out", *at, "--out", tmp_path / "s") == 0
    found = plane(tmp_path / "s/synthetic_dark_t5.00_e20.00.fits")
    assert np.median(found / site.truth(5.0, 20.0)) == pytest.approx(1.0, abs=0.02)


def test_darks_of_several_sessions_in_one_group_have_the_mean_of_their_offsets(tmp_path: Path):
    site = dark_site(tmp_path / "frames")
    for night, celsius, n in product((0, 1), TEMPERATURES_C[:3], range(4)):
        at, pixels = datetime(2026, 3, 1 + night, 22, n, tzinfo=UTC), site.pixels(celsius, 0.0) + np.uint16(160 * night)
        write_bias(site.folder / f"n{night}" / f"bias_{celsius:g}_{n}.fits", pixels, celsius, at=at)
    (gathered,) = gather(site.folder, tmp_path / "work", FrameKind.BIAS)
    plan = bias_plan.plan_of(gathered, tmp_path / "scratch")
    first, second = ([m for m in plan.members if m.session == session] for session in plan.sessions)
    found = offsets_of(plan, [first, second, first[:3] + second[:1]])
    assert found == pytest.approx([-80, 80, -40], abs=3)


def test_biases_of_zeros_are_left_out_and_named_in_a_log(tmp_path: Path):
    site = whole_site(tmp_path / "frames", temperatures=(0.0, 10.0), n=3)
    bad = site.pixels(0.0, 0.0)
    bad[:4] = 0
    path = site.write("T0_0s", bad, 0.0, 0.0)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    lines = (tmp_path / "out/suspicious_bias.log").read_text().splitlines()
    assert [line.split("\t") for line in lines[1:]] == [[str(path), "0.2500"]]
    said = Loaded.load(tmp_path / "out").said
    assert str(path) not in {row["path"] for row in said["inputs"]}


def test_one_temperature_makes_a_model_that_says_how_little_it_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    site = whole_site(tmp_path / "frames", temperatures=(10.0,))
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    assert "the model holds at 10.0 °C alone" in capsys.readouterr().out
    words = ("--temperature", 10, "--temperature", 0, "--exposure", 10, "--out", tmp_path)
    assert nightcal("model", "dark", "synth", tmp_path / "out", *words) == 0
    assert np.isfinite(plane(tmp_path / "synthetic_dark_t10.00_e10.00.fits", "SIGMA")).all()
    assert np.isnan(plane(tmp_path / "synthetic_dark_t0.00_e10.00.fits", "SIGMA")).all()
    assert nightcal("model", "dark", "report", tmp_path / "out", tmp_path / "report") == 0
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out", "--mode", "fit_2d_model") == 2
    assert "all darks of the model have one temperature" in capsys.readouterr().err


def test_levels_that_wander_are_taken_off_and_listed_and_their_errors_stated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    site = dark_site(tmp_path / "frames", shape=(24, 32))
    lifted = dict(zip(TEMPERATURES_C, (-80, 64, 16, -48), strict=True))
    for celsius in TEMPERATURES_C:
        site.take(celsius, 0.0, 4)
        for seconds in EXPOSURES_S:
            for _ in range(4):
                pixels = site.pixels(celsius, seconds) + np.int32(lifted[celsius])
                site.write(f"T{celsius:g}_{seconds:g}s", pixels.astype(np.uint16), celsius, seconds)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "The levels of the groups of darks wander about those of their bias by" in said
    assert not any(words in said for words in ("lies outside", "contradicts", "not proportional"))
    rows = Table.read(tmp_path / "out/dark_model/levels.ecsv")
    found = {(row["label_c"], row["exposure_s"]): (row["level_adu"], row["error_adu"]) for row in rows}
    assert len(found) == len(rows) == 8
    for place, (level, error) in found.items():
        assert level == pytest.approx(lifted[place[0]], abs=5 * error)
    assert nightcal("model", "dark", "synth", tmp_path / "out", "--temperature", 5, "--exposure", 10,
                    "--out", tmp_path / "darks") == 0  # fmt: skip
    made = tmp_path / "darks/synthetic_dark_t5.00_e10.00.fits"
    pull = (plane(made) - site.truth(5.0, 10.0)) / plane(made, "SIGMA")
    assert abs(pull.mean()) < 3
    assert 0 < fits.getheader(made)["MODCOMM"] <= np.median(plane(made, "SIGMA"))
    report = tmp_path / "report"
    assert nightcal("model", "dark", "report", tmp_path / "out", report) == 0
    assert "Level of each group of darks taken off" in (report / "report.html").read_text()
    other = dark_site(tmp_path / "others", shape=(24, 32))
    for seconds, level in ((0.0, 0), (10.0, 160)):
        for _ in range(4):
            pixels = (other.pixels(5.0, seconds) + np.int32(level)).astype(np.uint16)
            other.write(f"T5_{seconds:g}", pixels, 5.0, seconds)
    notes = " ".join(evaluate(tmp_path / "out", other.folder, tmp_path / "ev").notes)
    assert "levels of the groups of darks wander" in notes
    judged = [row for row in Table.read(tmp_path / "ev/evaluation.ecsv") if row["pixels"] > 20]
    assert judged
    assert all(abs(row["error_pct"]) < max(5.0, 4 * row["noise_pct"]) for row in judged)


def test_one_exposure_and_single_frames_make_a_model_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    site = whole_site(tmp_path / "frames", temperatures=(0.0, 10.0), exposures=(20.0,), n=1)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "All darks have one exposure (20 s)" in said
    assert "No two darks were taken together" in said
    assert nightcal("model", "dark", "evaluate", tmp_path / "out", site.folder, tmp_path / "ev") == 0
    assert nightcal("model", "dark", "report", tmp_path / "out", tmp_path / "report") == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ccd_temp_c": None}, "the headers state no temperature of the sensor: write it into them (CCD-TEMP, in °C)"),
        ({"exposure_us": None}, "its exposure is not known (4 of them)"),
        ({"pixels": "equal"}, "all its pixels have the same value (4 of them)"),
        ({"pixels": "saturated"}, "all its pixels have the same value (4 of them)"),
    ],
)
def test_darks_that_make_no_model_are_refused_with_what_to_do(
    change: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    site, celsius, seconds = dark_site(tmp_path / "frames"), 10.0, 5.0
    for i in range(4):
        pixels = site.pixels(celsius, seconds)
        if "pixels" in change:
            pixels = np.full(site.shape, 4000 + i if change["pixels"] == "equal" else 65535, np.uint16)
        path = site.write("darks", pixels, None if "ccd_temp_c" in change else celsius, seconds)
        if "exposure_us" in change:
            with fits.open(path, mode="update") as units:
                for name in ("EXPTIME", "EXPOSURE"):
                    units[0].header.remove(name, ignore_missing=True)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 2
    assert said in capsys.readouterr().err


def test_nine_bad_frames_of_ten_and_other_sizes_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    site = whole_site(tmp_path / "frames", temperatures=(0.0, 10.0), exposures=(20.0,), n=4)
    for _ in range(9):
        site.write("T20_20s", np.full(site.shape, 65535, np.uint16), 20.0, 20.0)
    site.take(20.0, 20.0, 1)
    site.write("T10_20s", np.full((8, 8), 1200, np.uint16) + np.arange(8, dtype=np.uint16), 10.0, 20.0)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "its size is 8 x 8 pixels, that of the others beside it 24 x 16" in said
    assert "all its pixels have the same value" in said
    assert Loaded.load(tmp_path / "out").frames == 9


def test_frames_with_nan_take_part_where_they_have_values(tmp_path: Path):
    site = dark_site(tmp_path / "frames")
    for celsius in (0.0, 10.0):
        site.take(celsius, 0.0, 4)
        for _ in range(4):
            pixels = site.pixels(celsius, 20.0).astype(np.float32)
            pixels[3, 5] = np.nan
            site.write(f"T{celsius:g}", pixels, celsius, 20.0)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    mask = plane(tmp_path / "out/dark_model/dark_model.fits", "MASK").astype(int)
    assert mask[3, 5] & DarkBit.NO_DATA
    assert not (mask & DarkBit.NO_DATA).any(where=np.arange(mask.size).reshape(mask.shape) != 3 * 24 + 5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit", "frames", "x", "--mode", "everything"), "everything is no mode"),
        (("fit", "frames", "x", "--family", "best"), "best is no family"),
        (("fit", "frames", "out", "--mode", "synthetic_only", "--temps", "cold"), "not all of these are numbers"),
        (("fit", "frames", "out", "--mode", "synthetic_2d_single", "--temp-single", "5"), "needs its temperature and"),
        (("fit", "frames", "x", "--mode", "synthetic_only"), "is no dark model"),
        (("synth", "out", "--temperature", "-300", "--exposure", "1", "--out", "x"), "no temperature in degrees"),
        (("synth", "out", "--temperature", "nan", "--exposure", "1", "--out", "x"), "no temperature in degrees"),
        (("synth", "out", "--temperature", "5", "--exposure", "-1", "--out", "x"), "no exposure in seconds"),
        (("evaluate", "nowhere", "frames", "x"), "is no dark model"),
        (("report", "nowhere", "x"), "is no dark model"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(
    words: tuple[str, ...],
    said: str,
    site: DarkSite,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(site.folder.parent)
    assert nightcal("model", "dark", *words) == 2
    assert said in capsys.readouterr().err
    assert not (site.folder.parent / "x").exists()


def test_a_family_that_is_asked_for_is_fitted(site: DarkSite, tmp_path: Path):
    for family in ("two-component", "power"):
        assert nightcal("model", "dark", "fit", site.folder, tmp_path / family, "--family", family) == 0
        assert Loaded.load(tmp_path / family).model.law.family == family.replace("-", "_")


def test_darks_of_which_all_pixels_are_saturated_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    site = dark_site(tmp_path / "frames")
    for number in range(6):
        pixels = np.full(site.shape, 65520, np.uint16)
        pixels.flat[number] = 65000  # not all of one value
        site.write(f"T{number % 2}", pixels, 10.0 * (number % 2), 60.0)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "all pixels of the darks are saturated" in said
    assert "shorter exposure" in said
    assert not list((tmp_path / "out").rglob("*.fits"))


def test_a_gain_of_which_nothing_can_be_made_does_not_end_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    site = dark_site(tmp_path / "frames")
    for number in range(4):
        site.take(10.0 * (number % 2), 20.0, 2, gain=100)
        pixels = np.full(site.shape, 65520, np.uint16)
        pixels.flat[number] = 65000  # not all of one value
        site.write(f"bright_T{number % 2}", pixels, 10.0 * (number % 2), 60.0, gain=0)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "nothing was made of" in said.err
    assert "all pixels of the darks are saturated" in said.err
    (made,) = (tmp_path / "out").rglob("dark_model.json")
    assert f"{made.parents[1]}: " in said.out
    assert Loaded.load(made).frames == 8


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_darks_that_show_nothing_have_a_report_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    site = dark_site(tmp_path / "frames")
    for celsius in (-40.0, -30.0):
        for number in range(3):
            pixels = np.round(1000 + 5 * site.rng.standard_normal(site.shape)).astype(np.float32)
            pixels[2] = np.nan
            site.write(f"T{celsius:g}", pixels - number, celsius, 1e-3)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out") == 0
    assert "2 temperatures do not show which family is right" in capsys.readouterr().out
    assert nightcal("model", "dark", "evaluate", tmp_path / "out", site.folder, tmp_path / "ev") == 0
    assert "no level of dark stands out of the noise" in capsys.readouterr().out
    assert nightcal("model", "dark", "report", tmp_path / "out", tmp_path / "report") == 0


def test_a_report_has_its_plots_and_tables(out: Path, tmp_path: Path):
    assert nightcal("model", "dark", "report", out, tmp_path) == 0
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names >= {
        "arrhenius.png", "residuals_temperature.png", "residuals_exposure.png", "holdout.png", "families.png",
        "maps.png", "hot_pixels.png", "dark_current_histogram.png", "activation_energy.png", "histograms.png",
    }  # fmt: skip
    page = (tmp_path / "report.html").read_text()
    assert "temperatures in between are predicted by the others to" in page


def test_the_root_of_a_nightcal_is_a_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = Root(tmp_path / "root")
    for celsius in (-10.0, 0.0):
        fields = {"set_temp_c": celsius, "ccd_temp_c": celsius + 0.1}
        root.add(FrameKind.BIAS, 0.0, 3, set_id=f"bias_{celsius}", **fields)
        root.add(FrameKind.DARK, 5.0, 3, set_id=f"dark_{celsius}", **fields)
    assert nightcal("model", "dark", "fit", tmp_path / "root", tmp_path / "out") == 0
    assert "6 darks of 2 temperatures and 1 exposure" in capsys.readouterr().out


def test_each_dark_less_its_bias_is_written_where_asked_for_and_its_size_is_said_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = whole_site(tmp_path / "frames", temperatures=(0.0, 20.0), exposures=(1.0, 20.0), n=3)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out", "--corrected-darks") == 0
    assert "note: 12 darks less the bias take 0.1 MB in" in capsys.readouterr().err
    folder = tmp_path / "out" / "bias_corrected_darks"
    made = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.fits"))
    assert made == [f"exp_{e}/dark_corrected_{i:04d}.fits" for e in ("1p00", "20p00") for i in range(1, 7)]
    for number, path in enumerate(sorted((folder / "exp_20p00").iterdir())):
        with fits.open(path, checksum=True) as units:
            units.verify("exception")
            header, dark, bias = units[0].header, units[0].data.astype(float), units["BIAS_MAP"].data
            celsius = 0.0 if number < 3 else 20.0
            assert (header["TEMP"], header["T_NEAR"], header["EXPTIME"], header["BUNIT"]) == (
                celsius,
                celsius,
                20,
                "adu",
            )
            source = next(site.folder.rglob(header["SRCFILE"]))
            assert bias == pytest.approx(16 * (site.bias + site.slope * celsius) / 16, abs=200)
            frame = fits.getdata(source).astype(float)
            there = np.isfinite(dark)
            assert dark[there] == pytest.approx((frame - bias)[there], rel=1e-6, abs=1e-3)
            assert (frame[~there] > 64000).all()
            assert (~there).sum() == (frame > 0.98 * 65535).sum()


def test_darks_less_their_bias_are_refused_without_biases_and_without_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = whole_site(tmp_path / "frames", temperatures=(0.0, 20.0), exposures=(1.0,), n=3, biases=False)
    assert nightcal("model", "dark", "fit", site.folder, tmp_path / "out", "--corrected-darks") == 2
    assert "there are no biases beside the darks" in capsys.readouterr().err
    site.take(0.0, 0.0, 3)
    disk = FullDisk(50_000)
    with pytest.raises(StorageError, match=r"6 darks less the bias take 70.2 kB in .*, and 50 kB are free") as raised:
        fit(site.folder, tmp_path / "out", corrected=print, disk=disk)
    assert raised.value.code is RunCode.DISK_FULL
    assert not (tmp_path / "out" / "dark_model").exists()


def test_a_dark_that_rose_by_two_percent_has_moved_and_the_words_say_how_much(out: Path, tmp_path: Path):
    later = tmp_path / "later"
    shutil.copytree(out, later)
    with fits.open(later / "dark_model/dark_model.fits", mode="update") as file:
        file["RATE"].data = (file["RATE"].data * 1.02).astype(np.float32)
    (still,), (risen,) = (DarkMaker().moved(out, each) for each in (out, later))
    assert still.before == still.after
    assert moved_words((still,))[0].startswith("it has not moved: dark of a typical pixel at ")
    assert risen.after / risen.before == pytest.approx(1.02, abs=1e-4)
    assert risen.sigmas > 3
    (words,) = moved_words((risen,))
    assert words.startswith("it has moved: dark of a typical pixel at ")
    assert f" ADU ({risen.after - risen.before:+.3g} ADU, +2.0 %, {risen.sigmas:+.1f} sigma)" in words


def test_single_darks_of_two_exposures_have_errors_that_hold(tmp_path: Path) -> None:
    site = dark_site(tmp_path / "frames", shape=(24, 32))
    for celsius in (-10.0, -5.0, 0.0, 10.0, 20.0):
        site.take(celsius, 0.0, 4)
        for seconds in (2.0, 20.0):
            site.take(celsius, seconds, 1)
    (found,) = fit(site.folder, tmp_path / "out")
    assert found.sidecar["model"]["noise"]["per_adu"] == pytest.approx(4.0, rel=0.3)
    assert (
        nightcal("model", "dark", "synth", tmp_path / "out", "--temperature", 5, "--exposure", 20, "--out", tmp_path)
        == 0
    )
    path = tmp_path / "synthetic_dark_t5.00_e20.00.fits"
    pulls = (plane(path) - site.truth(5, 20)) / plane(path, "SIGMA")
    assert 0.8 < np.nanstd(pulls) < 1.25
