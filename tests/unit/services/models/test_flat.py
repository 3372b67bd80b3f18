"""Flat models from files: every step, what is left out, and what comes out is what was put in."""

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from calibration.models.flat.model import Norm, Term
from services.bands import Band, held_open, read_rows, source_of
from services.datasets.frames import frames_of
from services.errors import Usage
from services.models.flat import masters
from services.models.flat.calibrated import calibrated
from services.models.flat.darks import Dark, best_dark
from services.models.flat.fit import fit_bands, work_of
from services.models.flat.given import GivenFiles
from services.models.flat.masters import MasterMethod
from services.models.flat.model import FlatAsked, FlatMode, fit, fit_frames
from services.models.flat.names import names_of
from services.models.flat.plan import FlatType, plan_of
from services.models.flat.records import Loaded
from services.models.flat.steps import Step, read_step
from services.models.flat.synthesis import synthesise
from tests.support.flat_frames import flat_truth, slope_truth, write_flats, write_one
from tests.support.made_flats import CENTRE, K1, K2, PRNU, SHAPE, dust, vignetting

SMALL = ((0.0, 2.0), (10.0, 2.0), (20.0, 2.0))


def asked(mode: FlatMode = FlatMode.FULL, **more: object) -> FlatAsked:
    return FlatAsked(**{"mode": mode, "norm": Norm.ROBUST, "plots": False, **more})  # type: ignore[arg-type]


def planes(path: Path) -> dict[str, np.ndarray]:
    with fits.open(path) as units:
        return {unit.name: unit.data.astype(np.float64) for unit in units}


def digest(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.fits"))}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("full")
    write_flats(folder / "base")
    before = digest(folder / "base")
    (made,) = fit(folder / "base", folder / "out", asked(evaluation=True))
    assert digest(folder / "base") == before  # nothing of the dataset is changed
    assert made.left_out == {}
    return folder / "base", folder / "out"


def test_a_flat_that_nobody_took_is_predicted_within_its_error(full, tmp_path):
    (path,) = synthesise(full[1], [(5.0, 4.0)], tmp_path)
    found, truth = planes(path), flat_truth() * (1 + slope_truth() * (5 - 10))
    scale = np.median(found["MEAN"] / truth)
    pull = (found["MEAN"] / scale - truth) / (found["SIGMA"] / scale)
    assert abs(pull.mean()) < 0.1
    assert 0.9 < np.sqrt((pull**2).mean()) < 1.1
    assert np.array_equal(found["MASK"], planes(full[1] / "flat_model_fits/flat_model.fits")["MASK"])
    header = fits.getheader(path)
    assert (header["MODEXTRA"], header["TEMP"], header["EXPTIME"], header["IMAGETYP"]) == (
        False,
        5.0,
        4.0,
        "MASTER FLAT",
    )


def test_a_flat_outside_of_what_was_measured_is_flagged(full, tmp_path):
    (path,) = synthesise(full[1], [(40.0, 4.0)], tmp_path)
    assert fits.getheader(path)["MODEXTRA"] is True
    inner = planes(synthesise(full[1], [(10.0, 4.0)], tmp_path)[0])
    assert (planes(path)["SIGMA"] > inner["SIGMA"]).all()


def test_factors_are_those_of_the_detector_and_their_product_is_the_flat(full, tmp_path):
    parts = planes(full[1] / "flat_model_fits/flat_factors.fits")
    product = parts["VIGNETTE"] * parts["ILLUM"] * parts["DUST"] * parts["PRNU"]
    (path,) = synthesise(full[1], [(10.0, 4.0)], tmp_path)
    np.testing.assert_allclose(product.astype(np.float32), planes(path)["MEAN"], rtol=2.5e-7)
    for name, truth in {"VIGNETTE": vignetting(), "DUST": dust()}.items():
        assert (np.abs(parts[name] - truth) < 5 * parts[f"{name}_SIGMA"] + 1e-4).all(), name
    said = json.loads((full[1] / "flat_model_fits/flat_model.json").read_text("utf-8"))["parts"]
    found, sigma = said["smooth"]["parameters"], said["smooth"]["sigma"]
    for name, truth in zip(("centre_y", "centre_x", "k1", "k2"), (*CENTRE, K1, K2), strict=True):
        assert abs(found[name] - truth) < 4 * sigma[name]
    (grain,) = said["dust"]
    assert (round(grain["y"]), round(grain["x"])) == (12, 50)
    assert abs(said["prnu"]["total"] - PRNU) < 4 * said["prnu"]["total_sigma"]


def test_what_changes_with_temperature_is_known_from_what_does_not(full):
    loaded = Loaded.load(full[1])
    assert loaded.model.terms == (Term.A, Term.B, Term.C)
    real = {row["term"]: row["real"] for row in loaded.said["terms"]}
    assert real == {"B": True, "C": False}
    model = planes(loaded.planes)
    assert np.corrcoef(model["B"].ravel(), (slope_truth() * flat_truth() / vignetting()).ravel())[0, 1] > 0.98
    rows = Table.read(full[1] / "flat_model_fits/evaluation.ecsv")
    assert len(rows) == 6
    assert (np.abs(rows["pull_rms"] - 1) < 0.1).all()


def test_files_have_the_names_and_cards_of_earlier_programs(full):
    out = full[1]
    assert len(list((out / "flat_reduced").glob("*_FLAT_REDUCED_WITH_DARK.fits"))) == 24
    assert len(list((out / "flat_normalized").glob("*_normalized.fits"))) == 24
    assert len(list((out / "flat_vignetting_corrected").glob("*_vigncorr.fits"))) == 24
    last = min((out / "flat_vignetting_corrected").glob("*_vigncorr.fits"))
    header = fits.getheader(last)
    assert header["FLAT_PIPE_STEP"] == "vignetting"
    assert (header["FLAT_NORM"], header["FLAT_VIGN"]) == ("robust", "radial")
    assert header["FLAT_DARK"] == "dark_T0.0_E2.fits"
    assert (header["FLAT_DARK_TEMP"], header["FLAT_DARK_EXPT"], header["FLAT_DARK_DIFF"]) == (0.0, 2.0, 0.0)
    assert 20_000 < header["FLAT_NFAC"] < 32_000
    master = fits.getheader(out / "master_flat/master_flat_R_T10.0_E6.fits")
    cards = "FLATPIPE N_FILES COMBMETH DATAMIN DATAMAX DATAMEAN SRC1 SRCLAST T_AVG E_AVG F_SAMP"
    assert set(cards.split()) <= set(master)
    assert (master["N_FILES"], master["COMBMETH"], master["F_SAMP"]) == (4, "median", "R")
    for name in ("flat_A_map", "flat_B_map", "flat_C_map"):
        assert planes(out / f"flat_model_fits/{name}.fits")["MEAN"].shape == SHAPE
    held = planes(out / "flat_model_fits/evaluation/held_out_flat_T10.0_E6_diff.fits")
    assert np.sqrt(np.mean(held["DIFF"] ** 2)) < 0.006
    assert not (out / ".unpacked").exists()


def test_each_mode_alone_makes_what_full_makes(full, tmp_path):
    base, out = full
    for mode in (
        FlatMode.REDUCE_ONLY,
        FlatMode.NORMALIZE_ONLY,
        FlatMode.VIGNETTING_ONLY,
        FlatMode.MAKE_MASTER,
        FlatMode.FIT_MODEL,
    ):
        fit(base, tmp_path, asked(mode, evaluation=True))
    (made,) = fit(base, tmp_path, asked(FlatMode.EVALUATE_MODEL, evaluation=True))
    assert len(made.lines) == 7
    one, other = digest(out), digest(tmp_path)
    assert list(one) == list(other)
    assert [name for name in one if one[name] != other[name]] == []


@pytest.mark.parametrize(
    ("mode", "first"),
    [
        (FlatMode.NORMALIZE_ONLY, "reduce_only"),
        (FlatMode.VIGNETTING_ONLY, "normalize_only"),
        (FlatMode.MAKE_MASTER, "normalize_only"),
        (FlatMode.FIT_MODEL, "normalize_only"),
        (FlatMode.EVALUATE_MODEL, "normalize_only"),
    ],
)
def test_a_mode_without_what_it_begins_with_says_what_makes_it(tmp_path, mode, first):
    with pytest.raises(Usage) as caught:
        fit(tmp_path, tmp_path, asked(mode))
    assert first in caught.value.advice


@pytest.mark.parametrize("later", [FlatMode.MAKE_MASTER, FlatMode.FIT_MODEL, FlatMode.EVALUATE_MODEL])
def test_a_step_that_was_done_anew_is_not_forgotten_by_later_ones(full, tmp_path, later):
    shutil.copytree(full[1], tmp_path / "out")
    fit(tmp_path, tmp_path / "out", asked(FlatMode.NORMALIZE_ONLY))
    fit(tmp_path, tmp_path / "out", asked(later))  # the same as before
    fit(tmp_path, tmp_path / "out", asked(FlatMode.NORMALIZE_ONLY, norm=Norm.MAX))
    with pytest.raises(Usage, match=r"24 files of .* were made of others than there are now") as caught:
        fit(tmp_path, tmp_path / "out", asked(later))
    assert "--mode vignetting_only" in caught.value.advice
    fit(tmp_path, tmp_path / "out", asked(FlatMode.VIGNETTING_ONLY))
    fit(tmp_path, tmp_path / "out", asked(later))


def test_flats_with_other_darks_are_normalised_again(full, tmp_path):
    shutil.copytree(full[1], tmp_path / "out")
    dark = {"original_path": str(min((full[0] / "darks").rglob("*.fits")))}
    rows = [{**dark, "temperature": t, "exposure": e} for t in (0, 5, 10, 15, 20) for e in (2, 6)]
    (tmp_path / "darks.json").write_text(json.dumps(rows), encoding="utf-8")
    fit(full[0], tmp_path / "out", asked(FlatMode.REDUCE_ONLY, darks=tmp_path / "darks.json"))
    for later in (FlatMode.VIGNETTING_ONLY, FlatMode.FIT_MODEL):
        with pytest.raises(Usage, match="were made of others") as caught:
            fit(tmp_path, tmp_path / "out", asked(later))
        assert "--mode normalize_only" in caught.value.advice
    shutil.rmtree(tmp_path / "out/flat_reduced")  # what is gone is not asked for
    fit(tmp_path, tmp_path / "out", asked(FlatMode.VIGNETTING_ONLY))


def test_without_vignetting_the_files_of_an_earlier_call_are_gone(tmp_path):
    write_flats(tmp_path / "base", conditions=SMALL[:2])
    fit(tmp_path / "base", tmp_path / "out", asked())
    fit(tmp_path / "base", tmp_path / "out", asked(FlatMode.FULL_NO_VIGNETTING))
    assert not list((tmp_path / "out/flat_vignetting_corrected").iterdir())
    assert Loaded.load(tmp_path / "out").said["vignetting"] == ""
    (path,) = synthesise(tmp_path / "out", [(5.0, 2.0)], tmp_path)
    truth = flat_truth() * (1 + slope_truth() * (5 - 10))
    ratio = planes(path)["MEAN"] / truth
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=0.02)
    fit_frames(frames_of(tmp_path / "base"), tmp_path / "read", asked())
    of_files, of_reading = (planes(tmp_path / out / "flat_model_fits/flat_model.fits") for out in ("out", "read"))
    for name, plane in of_files.items():
        np.testing.assert_array_equal(of_reading[name], plane, err_msg=name)
    assert {path.name for path in (tmp_path / "read").iterdir() if path.is_dir()} == {"flat_darks", "flat_model_fits"}


def test_a_flat_that_is_calibrated_while_it_is_read_goes_to_other_processes(full, tmp_path):
    source = source_of(next(path for path in sorted(full[0].rglob("*.fits")) if "flat" in path.name.lower()), tmp_path)
    band = Band(start=3, stop=9)
    made = calibrated(calibrated(source, less=source, saturation_adu=65_000.0), level=2.0)
    assert not made.rows(band).any()
    made = calibrated(calibrated(source, by=source), level=2.0)
    with held_open((made,)) as (held,):
        assert (held.rows(band) == np.float32(0.5)).all()
        with ProcessPoolExecutor(1) as processes:
            assert (processes.submit(read_rows, held, band).result() == np.float32(0.5)).all()
    cut = float(np.median(source.rows(band)))
    assert np.array_equal(np.isnan(calibrated(source, saturation_adu=cut).rows(band)), source.rows(band) >= cut)


def test_processes_make_the_same_planes(full, tmp_path):
    frames = read_step(full[1], Step.VIGNETTING, tmp_path)
    work = work_of(plan_of(frames, full[1], FlatType.LAB))
    threads = fit_bands(work, None, {}, {}, memory_mb=1.0)
    with ProcessPoolExecutor(2) as processes:
        found = fit_bands(work, None, {}, {}, memory_mb=1.0, executor=processes)
    assert found.rows() == threads.rows()
    assert found.significance() == threads.significance()


def test_a_master_of_more_frames_than_are_combined_at_once_counts_those_it_has(full, tmp_path, monkeypatch):
    shutil.copytree(full[1], tmp_path / "out")
    monkeypatch.setattr(masters, "_MOST", 2)
    fit(tmp_path, tmp_path / "out", asked(FlatMode.MAKE_MASTER))
    path = tmp_path / "out/master_flat/master_flat_R_T10.0_E6.fits"
    assert (fits.getheader(path)["N_FILES"], planes(path)["COUNT"].max()) == (2, 2)


def test_equal_names_of_two_folders_stay_apart():
    paths = [Path("/b/T0/one/f.fits"), Path("/b/T10/one/F.fit"), Path("/b/T0/g.fits.fz"), Path("/c/T0_one/f.fits")]
    names = names_of(paths)
    assert len({name.lower() for name in names.values()}) == 4
    assert names[paths[2]] == "g"
    for pair in (["/x/a_b/c/f.fits", "/x/a/b_c/f.fits"], ["/a/b/f.fits", "/a/b_f.fits"], ["/a/f.fits", "/a/f.fit"]):
        assert len(set(names_of([Path(each) for each in pair]).values())) == 2, pair


def test_the_nearest_dark_is_taken_within_limits():
    darks = [Dark(temperature_c=t, exposure_s=e) for t, e in ((0, 2), (4, 2), (0, 11), (30, 2))]
    assert best_dark(darks, 1.0, 2.0) is darks[0]
    assert best_dark(darks, 3.0, 4.0) is darks[1]
    assert best_dark(darks, 0.0, 9.0) is darks[2]
    assert best_dark(darks, 0.0, 21.5) is None  # 10.5 s away
    assert best_dark(darks, 15.0, 2.0) is None
    assert best_dark([], 0.0, 2.0) is None


def test_a_flat_without_a_dark_is_left_out_and_named(tmp_path):
    write_flats(tmp_path / "base", conditions=SMALL[:2])
    write_flats(tmp_path / "base", conditions=((40.0, 2.0),), darks=False)
    (made,) = fit(tmp_path / "base", tmp_path / "out", asked())
    assert len(made.left_out) == 4
    assert all("T40" in path and "no dark is within 5 °C and 10 s" in why for path, why in made.left_out.items())
    assert len(Loaded.load(tmp_path / "out").said["inputs"]) == 8
    assert len(Loaded.load(tmp_path / "out").said["left_out"]) == 4


def test_what_darks_of_another_exposure_leave_in_flats_is_said(full, tmp_path):
    assert not any("flats had darks of another" in note for note in Loaded.load(full[1]).said["notes"])
    write_flats(tmp_path / "base", conditions=SMALL[:2], darks=False)
    write_flats(tmp_path / "long", conditions=((0.0, 3.0), (10.0, 3.0)))
    (tmp_path / "long/darks").rename(tmp_path / "base/darks")
    fit(tmp_path / "base", tmp_path / "out", asked())
    (note,) = (note for note in Loaded.load(tmp_path / "out").said["notes"] if "darks of another" in note)
    assert note.startswith("8 of 8 flats had darks of another temperature or exposure, up to 0.0 °C and 1 s away")


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"IMAGETYP": "MASTER DARK", "BIASSUB": True}, "its bias was taken off"),
        ({"IMAGETYP": "Dark Frame", "CALSTAT": "B"}, "its bias was taken off"),
        ({"IMAGETYP": "MASTER DARK", "BUNIT": "adu/s"}, "its values are in adu/s"),
        ({"IMAGETYP": "DARK", "BUNIT": "electron"}, "its values are in electron"),
        ({"IMAGETYP": "BIAS"}, "it is no dark but BIAS"),
        ({"IMAGETYP": "MASTER FLAT"}, "it is no dark but FLAT"),
        ({"IMAGETYP": "MASTER DARK MODEL"}, "it is no dark but MASTER DARK MODEL"),
        ({"IMAGETYP": "DARK", "BUNIT": "ADU", "BIASSUB": False}, ""),
        ({}, ""),
    ],
)
def test_what_is_no_whole_dark_is_not_taken_off_a_flat(tmp_path, cards, words):
    write_flats(tmp_path / "base", conditions=SMALL[:1], n=1, darks=False)
    unit = fits.PrimaryHDU(np.full(SHAPE, 500, np.float32))
    unit.header.update(cards)
    unit.writeto(tmp_path / "one.fits")
    rows = [{"original_path": "one.fits", "temperature": 0.0, "exposure": 2.0}]
    (tmp_path / "darks.json").write_text(json.dumps(rows), encoding="utf-8")
    wanted = asked(FlatMode.REDUCE_ONLY, darks=tmp_path / "darks.json")
    if not words:
        assert len(fit(tmp_path / "base", tmp_path / "out", wanted)) == 1
        return
    with pytest.raises(Usage, match="none of the 1 flats has a dark that can be used") as caught:
        fit(tmp_path / "base", tmp_path / "out", wanted)
    assert words in caught.value.advice


def test_darks_of_a_list_are_taken_in_place_of_those_of_the_dataset(tmp_path):
    write_flats(tmp_path / "base", conditions=SMALL[:1], darks=False)
    with pytest.raises(Usage, match="none of the 4 flats has a dark"):
        fit(tmp_path / "base", tmp_path / "out", asked())
    write_flats(tmp_path / "other", conditions=SMALL[:1])
    rows = [{"original_path": "other/darks/T0_E2/dark_1.fits", "temperature": 2.5, "exposure": 3.0}]
    (tmp_path / "darks.json").write_text(json.dumps(rows), encoding="utf-8")
    fit(tmp_path / "base", tmp_path / "out", asked(FlatMode.REDUCE_ONLY, darks=tmp_path / "darks.json"))
    header = fits.getheader(next((tmp_path / "out/flat_reduced").glob("*.fits")))
    assert (header["FLAT_DARK"], header["FLAT_DARK_DIFF"]) == ("dark_1.fits", 3.5)
    (tmp_path / "darks.json").write_text(json.dumps([{**rows[0], "original_path": "gone.fits"}]), encoding="utf-8")
    with pytest.raises(Usage) as caught:
        fit(tmp_path / "base", tmp_path / "out", asked(darks=tmp_path / "darks.json"))
    assert "gone.fits" in caught.value.advice


@pytest.mark.parametrize("text", ["", "{}", '[{"temperature": 1}]', '[{"original_path": 3}]', "[1]"])
def test_a_list_of_darks_that_is_none_is_refused(tmp_path, text):
    write_flats(tmp_path / "base", conditions=SMALL[:1], n=2)
    (tmp_path / "darks.json").write_text(text, encoding="utf-8")
    with pytest.raises(Usage, match="dark"):
        fit(tmp_path / "base", tmp_path / "out", asked(darks=tmp_path / "darks.json"))


def given(tmp_path: Path, word: str, said: object) -> GivenFiles:
    path = tmp_path / f"{word}.json"
    path.write_text(said if isinstance(said, str) else json.dumps(said), encoding="utf-8")
    return GivenFiles(**{word: path})


CENTRED = {"centre_y": CENTRE[0], "centre_x": CENTRE[1]}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("lensfun", {"model": "pa", "k1": K1, "k2": K2, **CENTRED}),
        ("radial", {"coefficients": [2.0, 0, 2 * K1, 0, 2 * K2], "radius_px": 40.0, **CENTRED}),
        ("empirical", {"map": (3 * vignetting()).tolist()}),
    ],
)
def test_a_vignetting_that_is_given_is_taken_off(full, tmp_path, word, said):
    files = given(tmp_path, word, said)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/flat_normalized").symlink_to(full[1] / "flat_normalized")
    fit(full[0], tmp_path / "out", asked(FlatMode.VIGNETTING_ONLY, vignetting=files))
    found = planes(tmp_path / "out/flat_vignetting_corrected/vignetting.fits")
    np.testing.assert_allclose(
        found["VIGNETTE"], vignetting() / (vignetting().max() if word == "empirical" else 1), rtol=1e-5
    )
    assert not found["VIGNETTE_SIGMA"].any()
    one = min((tmp_path / "out/flat_vignetting_corrected").glob("*_vigncorr.fits"))
    assert fits.getheader(one)["FLAT_VIGN"] == word
    before = planes(min((tmp_path / "out/flat_normalized").glob("*.fits")))["FLAT"]
    np.testing.assert_allclose(planes(one)["FLAT"], before / found["VIGNETTE"], rtol=1e-5)
    fit(full[0], tmp_path / "out", asked(FlatMode.FIT_MODEL, vignetting=files))
    parts = planes(tmp_path / "out/flat_model_fits/flat_factors.fits")
    np.testing.assert_allclose(parts["VIGNETTE"], found["VIGNETTE"], rtol=1e-6)


@pytest.mark.parametrize(
    ("word", "said", "words"),
    [
        ("lensfun", "{", "does not say a vignetting"),
        ("lensfun", {"model": "acm", "k1": 1}, "only pa is known"),
        ("lensfun", {"k2": 0.1}, "k1"),
        ("lensfun", {"k1": -2.0}, "falls to"),
        ("radial", {"coefficients": []}, "not positive"),
        ("radial", {"coefficients": [1, "a"]}, "does not say"),
        ("radial", {"coefficients": [1], "radius_px": -1}, "radius_px"),
        ("empirical", {"map": [1, 2]}, "no image"),
        ("empirical", {"map": [[1, -2]]}, "positive"),
        ("empirical", {"file": "gone.fits"}, "gone.fits"),
        ("empirical", [], "does not say"),
    ],
)
def test_a_vignetting_that_cannot_be_used_is_refused_with_what_to_write(full, tmp_path, word, said, words):
    (tmp_path / "flat_normalized").symlink_to(full[1] / "flat_normalized")
    with pytest.raises(Usage) as caught:
        fit(full[0], tmp_path, asked(FlatMode.VIGNETTING_ONLY, vignetting=given(tmp_path, word, said)))
    assert words in caught.value.detail
    assert caught.value.advice


def test_two_vignettings_are_refused(tmp_path):
    files = GivenFiles(lensfun=tmp_path / "a", radial=tmp_path / "b")
    with pytest.raises(Usage, match="--lensfun-json and --radial-json"):
        fit(tmp_path, tmp_path / "out", asked(vignetting=files))


def test_each_filter_has_a_model_of_its_own(tmp_path):
    write_flats(tmp_path / "base", conditions=SMALL[:2], n=2, filters=("R", "Ha", None))
    made = fit(tmp_path / "base", tmp_path / "out", asked(FlatMode.REDUCE_ONLY))
    assert [each.lines for each in made] == [("4 flats less their darks",)] * 3
    assert len(fit(tmp_path / "base", tmp_path / "out", asked(FlatMode.NORMALIZE_ONLY))) == 3
    assert len(fit(tmp_path / "base", tmp_path / "out", asked(FlatMode.MAKE_MASTER))) == 3
    masters = {path.name for path in (tmp_path / "out").rglob("master_flat_*_T0.0_E2.fits")}
    assert masters == {f"master_flat_{name}_T0.0_E2.fits" for name in ("R", "Ha", "none")}
    assert len(fit(tmp_path / "base", tmp_path / "out", asked(FlatMode.MAKE_MASTER))) == 3


def test_the_colours_of_a_mosaic_are_no_gains_of_pixels(tmp_path):
    write_flats(tmp_path / "base", conditions=SMALL[1:2], mosaic=True)
    fit(tmp_path / "base", tmp_path / "out", asked())
    said = json.loads((tmp_path / "out/flat_model_fits/flat_model.json").read_text("utf-8"))["parts"]
    assert abs(said["prnu"]["total"] - PRNU) < 4 * said["prnu"]["total_sigma"]
    assert [(round(grain["y"]), round(grain["x"])) for grain in said["dust"]] == [(12, 50)]
    found, sigma = said["smooth"]["parameters"], said["smooth"]["sigma"]
    assert abs(found["k1"] - K1) < 4 * sigma["k1"]
    light = planes(tmp_path / "out/flat_model_fits/flat_factors.fits")["ILLUM"]
    assert light[0, 0] / light[0, 1] == pytest.approx(0.5, rel=0.01)


def test_stars_are_gone_from_flats_of_the_sky(tmp_path):
    write_flats(tmp_path / "base", conditions=((10.0, 2.0),), n=12, stars=12)
    fit(tmp_path / "base", tmp_path / "out", asked(kind=FlatType.SKY))
    path = tmp_path / "out/sky_median/master_flat_sky_median_normalized.fits"
    found, header = planes(path), fits.getheader(path)
    away = found["MEAN"] / (flat_truth() / vignetting())
    away /= np.median(away)
    assert (away > 1 + 5 * np.median(found["SIGMA"]) * 1.5).mean() < 0.001
    assert header["SKYPIPE"]
    level = fits.getheader(path.with_name("master_flat_sky_median.fits"))["DATAMEAN"]
    assert 20_000 < level < 40_000


@pytest.mark.parametrize("norm", Norm)
def test_normalisations(full, tmp_path, norm):
    (tmp_path / "flat_reduced").symlink_to(full[1] / "flat_reduced")
    fit(full[0], tmp_path, asked(FlatMode.NORMALIZE_ONLY, norm=norm))
    path = min((tmp_path / "flat_normalized").glob("*.fits"))
    found, header = planes(path)["FLAT"], fits.getheader(path)
    shown = {Norm.MAX: found.max(), Norm.MEAN: found.mean(), Norm.ROBUST: found[12:36, 16:48].mean()}
    assert shown[norm] == pytest.approx(1, abs=2e-3)  # the robust one has no dust in it
    assert header["FLAT_NORM"] == norm
    assert header["FLAT_NSIG"] < (0.05 if norm is Norm.MAX else 0.003)


@pytest.mark.parametrize("method", MasterMethod)
def test_methods_of_masters(full, tmp_path, method):
    for name in ("flat_normalized", "flat_darks"):
        (tmp_path / name).symlink_to(full[1] / name)
    fit(full[0], tmp_path, asked(FlatMode.MAKE_MASTER, method=method))
    path = min((tmp_path / "master_flat").glob("*.fits"))
    assert fits.getheader(path)["COMBMETH"] == method
    found, truth = planes(path), flat_truth() * (1 - 10 * slope_truth())
    pull = (found["MEAN"] / np.median(found["MEAN"] / truth) - truth) / found["SIGMA"]
    assert np.median(np.abs(pull)) < 1.2
    (tmp_path / "flat_darks").unlink()  # now the errors of the darks are not known
    fit(full[0], tmp_path, asked(FlatMode.MAKE_MASTER, method=method))
    assert (planes(path)["SIGMA"] < found["SIGMA"]).mean() > 0.99


def spoilt(folder: Path, pixels: np.ndarray, *, n: int = 4, celsius: float | None = 10.0) -> None:
    from calibration.frames import FrameKind

    for i in range(n):
        write_one(folder / "spoilt" / f"f{i}.fits", pixels + i % 2, FrameKind.FLAT, celsius, 2.0, 900 + i, filter="R")


@pytest.mark.parametrize(
    ("pixels", "celsius", "words"),
    [
        (np.full(SHAPE, 9000, np.uint16), 10.0, "same value"),
        (np.full((20, 30), 9000, np.uint16), 10.0, "pixels"),
        (np.full(SHAPE, 65534, np.uint16), 10.0, ""),
        (np.full(SHAPE, 9000, np.uint16), None, "temperature"),
        (np.full(SHAPE, np.nan, np.float32), 10.0, ""),
    ],
)
def test_flats_that_cannot_be_used_are_left_out_or_refused(tmp_path, pixels, celsius, words):
    spoilt(tmp_path / "only", pixels, celsius=celsius)
    write_flats(tmp_path / "only", conditions=SMALL[1:2], filters=())
    with pytest.raises(Usage) as caught:
        fit(tmp_path / "only", tmp_path / "none", asked())
    assert caught.value.advice
    write_flats(tmp_path / "base", conditions=SMALL[:1])
    spoilt(tmp_path / "base", pixels, celsius=celsius)
    (made,) = fit(tmp_path / "base", tmp_path / "out", asked(FlatMode.REDUCE_ONLY))
    assert sum("spoilt" in path and words in why for path, why in made.left_out.items()) == 4
    assert made.lines == ("4 flats less their darks",)


def test_ten_frames_of_which_nine_are_bad_make_no_model_of_one(tmp_path):
    write_flats(tmp_path / "base", conditions=SMALL[1:2], n=1)
    spoilt(tmp_path / "base", np.full(SHAPE, 65534, np.uint16), n=9)
    try:
        (made,) = fit(tmp_path / "base", tmp_path / "out", asked())
    except Usage as error:
        assert error.advice  # noqa: PT017
        return
    said = Loaded.load(tmp_path / "out").said
    assert len(said["inputs"]) == 1
    assert any("no two flats" in line for line in made.lines)
    assert np.isnan(planes(tmp_path / "out/flat_model_fits/flat_model.fits")["COV_AA"]).all()


def test_files_of_another_program_stay(tmp_path):
    write_flats(tmp_path / "base", conditions=SMALL[:1])
    foreign = tmp_path / "out/flat_reduced/flat_0_FLAT_REDUCED_WITH_DARK.fits"
    foreign.parent.mkdir(parents=True)
    fits.writeto(foreign, np.zeros((2, 2)))
    with pytest.raises(Usage, match="was not written by nightcal"):
        fit(tmp_path / "base", tmp_path / "out", asked())
    assert fits.getdata(foreign).shape == (2, 2)


@pytest.mark.parametrize("label", [(float("nan"), 1.0), (-300.0, 1.0), (0.0, -1.0), (0.0, float("inf"))])
def test_a_temperature_or_exposure_that_is_none_is_refused(full, tmp_path, label):
    with pytest.raises(Usage, match="is no"):
        synthesise(full[1], [label], tmp_path)
