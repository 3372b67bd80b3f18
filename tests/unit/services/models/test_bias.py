"""The commands of the bias model: what they write, and what they say of frames that cannot make one."""

import json
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from calibration.frames import FrameKind
from calibration.models.linear import ModelBit
from services.cli.failures import run_app
from services.cli.main import app
from services.models.bias import report as bias_report
from services.models.bias.files import files_of, open_targets
from services.models.bias.fit import fit_bands, work_of
from services.models.bias.plan import plan_of
from services.models.gathering import gather
from services.models.products import put_in_place
from tests.support.bias_frames import write_bias, write_biases
from tests.support.made_biases import made_biases
from tests.support.made_root import Root

MADE = made_biases(1, temperatures=(-10.0, 0.0, 10.0, 20.0), n=4, shape=(10, 14))


def nightcal(*words: object) -> int:
    return run_app(app, [str(word) for word in words], name="nightcal")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bias")
    paths = write_biases(folder / "frames", MADE)
    before = [path.read_bytes() for path in paths]
    assert (
        nightcal("model", "bias", "fit", folder / "frames", folder / "out", "--generate-set", "--save-eval-fits") == 0
    )
    assert [path.read_bytes() for path in paths] == before
    return folder


def test_every_file_that_earlier_programs_had_is_there(fitted: Path):
    out = fitted / "out"
    made = {path.relative_to(out).as_posix() for path in out.rglob("*.*") if not path.name.startswith(".")}
    texts = ("-10.0", "0.0", "10.0", "20.0")
    assert made == {
        "bias_model/bias_a_map.fits", "bias_model/bias_b_map.fits", "bias_model/bias_model.fits",
        "bias_model/bias_model.json", "bias_model/frames.ecsv", "bias_model/holdout.ecsv",
        "bias_model/evaluation.ecsv",
        *(f"bias_grouped_by_temp/master_bias_{t}C.fits" for t in texts),
        *(f"bias_masks_by_temp/synthetic_bias_{t}C.fits" for t in texts),
        *(f"evaluation/held_out_bias_{t}C.fits" for t in texts),
    }  # fmt: skip
    for path in out.rglob("*.fits"):
        with fits.open(path, checksum=True) as units:
            units.verify("exception")


def test_the_maps_are_the_truth_within_their_errors(fitted: Path):
    with fits.open(fitted / "out/bias_model/bias_model.fits") as units:
        reference = units[0].header["MODTREF"]
        pulls = [
            (units["A"].data - MADE.truth(reference)) / np.sqrt(units["COV_AA"].data),
            (units["B"].data - MADE.b) / np.sqrt(units["COV_BB"].data),
        ]
        assert units["COUNT"].data.max() == 32
        assert not (units["MASK"].data & ModelBit.MISFIT).any()
        theta = [units[letter].data.astype(float) for letter in "AB"]
    assert np.sqrt(np.square(pulls).mean(axis=(1, 2))) == pytest.approx(1, abs=0.25)
    maps = [fits.getdata(fitted / f"out/bias_model/bias_{letter}_map.fits") for letter in "ab"]
    for celsius in (-10.0, 13.0):
        np.testing.assert_allclose(maps[0] + celsius * maps[1], theta[0] + (celsius - reference) * theta[1], atol=0.01)


def test_the_sidecar_says_what_the_model_is_made_of(fitted: Path):
    said = json.loads((fitted / "out/bias_model/bias_model.json").read_text(encoding="utf-8"))
    assert said["model"]["family"] == "linear"
    assert (said["domain"]["coldest_c"], said["domain"]["warmest_c"]) == (-10, 20)
    assert said["model"]["sessions"] == ["2026-03-01", "2026-03-02"]
    assert len({row["rows_sha256"] for row in said["inputs"]}) == 32
    table = Table.read(fitted / "out/bias_model/holdout.ecsv", format="ascii.ecsv")
    assert list(dict.fromkeys(table["family"])) == ["linear", "quadratic", "exponential"]
    assert str(table["pattern_adu"].unit) == "adu"
    assert len(Table.read(fitted / "out/bias_model/frames.ecsv", format="ascii.ecsv")) == 32


def test_a_bias_is_predicted_with_its_error_and_beyond_the_range_it_is_flagged(fitted: Path, capsys):
    assert (
        nightcal(
            "model", "bias", "synth", fitted / "out", "--temperature", 5, "--temperature", 30, "--out", fitted / "s"
        )
        == 0
    )
    said = capsys.readouterr()
    assert "30.0 degC is an extrapolation from -10.0 to 20.0 degC" in said.err
    assert "5.0 degC" not in said.err.replace("-10.0", "")
    with fits.open(fitted / "s/synthetic_bias_5.0C.fits") as units:
        pull = (units["MEAN"].data - MADE.truth(5.0)) / units["SIGMA"].data
        assert not units[0].header["MODEXTRA"]
        assert (units[0].header["TEMP"], units[0].header["BUNIT"]) == (5.0, "adu")
    assert np.sqrt((pull**2).mean()) < 1.3
    with fits.open(fitted / "s/synthetic_bias_30.0C.fits") as units:
        assert units[0].header["MODEXTRA"]
        assert "extrapolation" in str(units[0].header["HISTORY"])


def test_a_pixel_that_jumps_is_flagged_where_its_bias_is_predicted(tmp_path: Path):
    write_biases(tmp_path / "base", MADE)
    rng = np.random.default_rng(1)
    for path in (tmp_path / "base").rglob("*.fits"):
        with fits.open(path, mode="update") as units:
            units[0].data[3, 5] += 1280 * rng.integers(2)
    assert nightcal("model", "bias", "fit", tmp_path / "base", tmp_path / "out", "--generate-set") == 0
    assert nightcal("model", "bias", "synth", tmp_path / "out", "--temperature", 5, "--out", tmp_path / "s") == 0
    made = tmp_path / "out/bias_masks_by_temp"
    for path in (tmp_path / "s/synthetic_bias_5.0C.fits", *made.glob("*.fits")):
        mask = fits.getdata(path, "MASK")
        assert mask[3, 5] & 2048
        assert (mask != 0).mean() < 0.02


def test_the_report_draws_every_picture(fitted: Path):
    assert nightcal("model", "bias", "report", fitted / "out", fitted / "report") == 0
    made = {path.relative_to(fitted / "report").as_posix() for path in (fitted / "report").rglob("*.*")}
    texts = ("-10.0", "0.0", "10.0", "20.0")
    assert made == {
        "bias_stats.json", "mean_vs_temperature.png", "maps.png", "histograms.png", "holdout.png",
        "report.html", "residuals.png", "sessions.png",
        "evaluation/evaluation_summary.png",
        *(f"detail_T{t}.png" for t in texts),
        *(f"evaluation/{name}_{t}C.png" for name in ("real_bias", "synthetic_bias", "mae", "mape") for t in texts),
    }  # fmt: skip
    rows = json.loads((fitted / "report/bias_stats.json").read_text(encoding="utf-8"))
    assert [len(row["values"]) for row in rows] == [8] * 4
    assert rows[3]["mean_adu"] == pytest.approx(MADE.truth(20).mean(), abs=3)


def test_a_second_fit_replaces_the_first_and_removes_what_it_has_not(fitted: Path, tmp_path: Path):
    frames = write_biases(tmp_path / "frames", MADE)
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out", "--generate-set") == 0
    for path, label in zip(frames, MADE.label_c, strict=True):
        if label == 20:
            path.unlink()
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    assert not list((tmp_path / "out").rglob("synthetic_bias*"))
    assert len(list((tmp_path / "out").rglob("master_bias*"))) == 3
    (tmp_path / "out/bias_model/bias_a_map.fits").write_bytes(b"of another program")
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 2
    assert (tmp_path / "out/bias_model/bias_a_map.fits").read_bytes() == b"of another program"


def test_hot_pixels_of_a_mask_have_no_values_in_the_maps(tmp_path: Path, capsys):
    write_biases(tmp_path / "frames", MADE)
    mask = np.zeros(MADE.a.shape, np.uint8)
    mask[3, 4] = 1
    fits.writeto(tmp_path / "hot.fits", mask)
    assert (
        nightcal(
            "model", "bias", "fit", tmp_path / "frames", tmp_path / "out", "--hot-pixel-mask", tmp_path / "hot.fits"
        )
        == 0
    )
    assert np.argwhere(np.isnan(fits.getdata(tmp_path / "out/bias_model/bias_b_map.fits"))).tolist() == [[3, 4]]
    assert fits.getdata(tmp_path / "out/bias_model/bias_model.fits", "MASK")[3, 4] & ModelBit.HOT
    fits.writeto(tmp_path / "small.fits", mask[:5])
    assert (
        nightcal(
            "model", "bias", "fit", tmp_path / "frames", tmp_path / "o2", "--hot-pixel-mask", tmp_path / "small.fits"
        )
        == 2
    )
    assert "14 x 5 pixels, the frames 14 x 10" in capsys.readouterr().err


def test_a_pixel_that_no_model_fits_is_flagged(tmp_path: Path):
    made = made_biases(3, temperatures=(-10.0, 0.0, 10.0, 20.0), n=6, shape=(10, 14))
    made.frames[:, 2, 2] += (400 * 2 ** ((made.temperature_c - 20) / 5)).astype(np.uint16)
    made.frames[made.group == 1, 7, 7] += 400
    write_biases(tmp_path / "frames", made)
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    mask = fits.getdata(tmp_path / "out/bias_model/bias_model.fits", "MASK")
    assert np.argwhere(mask & ModelBit.MISFIT).tolist() == [[2, 2], [7, 7]]
    assert np.argwhere(mask & ModelBit.OUTLIER).tolist() == [[7, 7]]
    a = fits.getdata(tmp_path / "out/bias_model/bias_a_map.fits")
    assert abs(a[7, 7] - made.truth(0.0)[7, 7]) < 30


def test_threads_and_processes_and_any_band_give_the_same_files(tmp_path: Path):
    frames = MADE.frames.astype(np.float32)
    frames[:6, 2, 3], frames[8:16, 4:, 5] = np.nan, 4000  # pixels that are fitted one by one
    for i, pixels in enumerate(frames):
        at = datetime(2026, 3, 1 + int(MADE.session[i]), 22, tzinfo=UTC)
        write_bias(tmp_path / "frames" / f"bias_{i:03d}.fits", pixels, float(MADE.temperature_c[i]), at=at)
    (gathered,) = gather(tmp_path / "frames", tmp_path / "out", FrameKind.BIAS)
    plan = plan_of(gathered, tmp_path / "scratch")
    found, sums = [], []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        for name, memory, executor in (("a", 256.0, None), ("b", 0.01, None), ("c", 0.01, processes)):
            out = tmp_path / name
            with open_targets(out, plan, synthetic=True, evaluation=True) as targets:
                sums.append(fit_bands(work_of(plan), targets, memory_mb=memory, executor=executor).rows())
                put_in_place(files_of(targets))
            found.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*.fits")})
    assert len(found[0]) == 15
    assert found[0] == found[1] == found[2]
    assert sums[1] == sums[2]
    assert [row["rms_adu"] for row in sums[0]] == pytest.approx([row["rms_adu"] for row in sums[1]])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("no temperatures", "the headers state no temperature of the sensor: write it into them (CCD-TEMP, in °C)"),
        ("no biases", "holds no biases"),
        ("all equal", "all its pixels have the same value"),
        ("saturated", "none of the 32 biases"),
        ("nothing", "holds no FITS files"),
    ],
)
def test_frames_that_make_no_model_are_refused_with_what_to_do(spoil: str, said: str, tmp_path: Path, capsys):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, frame in enumerate(MADE.frames if spoil != "nothing" else ()):
        celsius = None if spoil == "no temperatures" else float(MADE.label_c[i])
        value = {"all equal": 1000, "saturated": 65535}.get(spoil)
        pixels = frame if value is None else np.full_like(frame, value)
        path = write_bias(folder / f"{'bias' if spoil != 'no biases' else 'd'}_{i:04d}.fits", pixels, celsius)
        if spoil == "no biases":
            fits.setval(path, "IMAGETYP", value="DARK")
    assert nightcal("model", "bias", "fit", folder, tmp_path / "out") == 2
    wrong = capsys.readouterr().err
    assert said in wrong, wrong
    assert "What to do" in wrong
    assert not list((tmp_path / "out").rglob("*.fits"))


def test_one_temperature_is_a_constant_that_says_so(tmp_path: Path, capsys):
    made = made_biases(3, temperatures=(5.0,), n=6, sessions=1, shape=(6, 8))
    write_biases(tmp_path / "frames", made)
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "constant in temperature" in said
    assert "it holds at 5.0 °C alone" in said
    assert nightcal("model", "bias", "synth", tmp_path / "out", "--temperature", 15, "--out", tmp_path / "s") == 0
    assert "its error there is not known" in capsys.readouterr().err
    assert np.isnan(fits.getdata(tmp_path / "s/synthetic_bias_15.0C.fits", "SIGMA")).all()


@pytest.mark.parametrize(
    ("temperatures", "n"), [((5.0,), 1), ((0.0, 10.0), 1), ((0.0, 10.0), 2), ((0.0, 10.0, 20.0), 1)]
)
def test_few_frames_make_a_model_that_says_how_little_it_knows(temperatures, n, tmp_path: Path, capsys):
    made = made_biases(4, temperatures=temperatures, n=n, sessions=1, shape=(6, 8))
    write_biases(tmp_path / "frames", made)
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out", "--save-eval-fits") == 0
    assert ("no two frames were taken together" in capsys.readouterr().out) == (n == 1)
    sigma = np.sqrt(fits.getdata(tmp_path / "out/bias_model/bias_model.fits", "COV_AA"))
    known = n * len(temperatures) > min(len(temperatures), 2)
    assert np.isfinite(sigma).all() == known
    assert nightcal("model", "bias", "synth", tmp_path / "out", "--temperature", 5, "--out", tmp_path / "s") == 0
    assert n * len(temperatures) > 1 or bias_report.report(tmp_path / "out", tmp_path / "report")


def test_one_good_frame_of_ten_is_a_constant_without_an_error(tmp_path: Path, capsys):
    for i in range(10):
        pixels = MADE.frames[0] if i == 4 else np.where(MADE.frames[i] > 1020, 0, MADE.frames[i])
        write_bias(tmp_path / "frames" / f"bias_{i}.fits", pixels, 5.0)
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "of its pixels are 0" in said
    assert "1 frame at 1 temperature" in said
    assert np.isnan(fits.getdata(tmp_path / "out/bias_model/bias_model.fits", "COV_AA")).all()


def test_frames_with_undefined_and_saturated_pixels_and_of_other_sizes(tmp_path: Path, capsys):
    frames = MADE.frames.astype(np.float32)
    frames[:, 0, 0] = np.nan
    frames[MADE.label_c == 20, 1, 1] = np.nan
    for i, pixels in enumerate(frames):
        write_bias(tmp_path / "frames" / f"bias_{i:03d}.fits", pixels, float(MADE.temperature_c[i]))
    write_bias(tmp_path / "frames" / "bias_small.fits", frames[0, :5], 0.0)
    (tmp_path / "frames" / "bias_torn.fits").write_bytes((tmp_path / "frames" / "bias_000.fits").read_bytes()[:3000])
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "its size is 14 x 5 pixels" in said
    assert "bias_torn.fits" in said
    with fits.open(tmp_path / "out/bias_model/bias_model.fits") as units:
        assert units["MASK"].data[0, 0] & ModelBit.NO_DATA
        assert units["MASK"].data[1, 1] & ModelBit.LOW_COUNT
        assert np.isnan(units["A"].data[0, 0])
        assert abs(units["A"].data[1, 1] - MADE.truth(units[0].header["MODTREF"])[1, 1]) < 30


def test_frames_of_two_settings_make_two_models(tmp_path: Path, capsys):
    write_biases(tmp_path / "frames" / "g0", MADE, gain=0)
    write_biases(tmp_path / "frames" / "g26", made_biases(9, shape=(10, 14)), gain=26)
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert folders == ["1-14x10-bin1-g0", "2-14x10-bin1-g26"]
    assert (
        nightcal("model", "bias", "synth", tmp_path / "out" / folders[1], "--temperature", 3, "--out", tmp_path / "s")
        == 0
    )
    assert fits.getval(tmp_path / "s/synthetic_bias_3.0C.fits", "GAIN") == 26
    assert nightcal("model", "bias", "synth", tmp_path / "out", "--temperature", 3, "--out", tmp_path / "s") == 2
    assert "is no bias model" in capsys.readouterr().err


@pytest.mark.parametrize("celsius", ["nan", "-300", "inf"])
def test_a_temperature_that_is_none_is_refused(celsius, fitted: Path, capsys):
    assert nightcal("model", "bias", "synth", fitted / "out", "--temperature", celsius, "--out", fitted / "t") == 2
    assert "is no temperature" in capsys.readouterr().err


def test_a_damaged_sidecar_is_refused(fitted: Path, tmp_path: Path, capsys):
    (tmp_path / "bias_model").mkdir()
    for text in ("{", "{}", '{"form": "nightcal bias model 99"}', "[]", "\x00"):
        (tmp_path / "bias_model/bias_model.json").write_text(text, encoding="utf-8")
        assert nightcal("model", "bias", "synth", tmp_path, "--temperature", 3, "--out", tmp_path / "s") == 2
        assert "What to do" in capsys.readouterr().err


def test_of_ten_frames_nine_that_are_spoilt_leave_a_model_that_says_so(tmp_path: Path, capsys):
    made, rng = made_biases(6, temperatures=(0.0,), n=10, sessions=1, shape=(20, 30)), np.random.default_rng(6)
    for i, pixels in enumerate(made.frames):
        write_bias(tmp_path / "dead" / f"{i}.fits", pixels if i == 4 else np.full_like(pixels, 65520), 0.0)
        lit = pixels if i == 4 else np.clip(pixels + rng.uniform(500, 30000), 0, 65520).astype(np.uint16)
        write_bias(tmp_path / "lit" / f"bias_{i}.fits", lit, 0.0)
    (tmp_path / "dead").rename(tmp_path / "bias")
    assert nightcal("model", "bias", "fit", tmp_path / "bias", tmp_path / "out") == 0
    assert "1 frame at 1 temperature" in capsys.readouterr().out
    assert nightcal("model", "bias", "fit", tmp_path / "lit", tmp_path / "lit_out") == 0
    assert "something else than temperature sets them" in capsys.readouterr().out
    assert np.sqrt(fits.getdata(tmp_path / "lit_out/bias_model/bias_model.fits", "COV_AA")).min() > 1000


def test_a_lit_frame_and_a_copy_are_left_out(tmp_path: Path, capsys):
    made = made_biases(7, temperatures=(-10.0, 0.0, 10.0), n=8, sessions=1, shape=(20, 30))
    made.frames[3] += 3000
    made.frames[9] = made.frames[8]
    write_biases(tmp_path / "frames", made)
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "22 frames at 3 temperatures" in said
    assert "bias_0003.fits" in said
    assert "bias_0009.fits" in said


def test_sessions_of_one_temperature_each_are_named(tmp_path: Path, capsys):
    for night, celsius in enumerate((-10.0, 0.0, 10.0, 20.0)):
        made = made_biases(8 + night, temperatures=(celsius,), n=5, sessions=1, shape=(20, 30))
        at = datetime(2026, 3, 1 + night, 22, tzinfo=UTC)
        for i, pixels in enumerate(made.frames):
            write_bias(tmp_path / "frames" / f"n{night}" / f"bias_{i}.fits", pixels + 16 * night, celsius, at=at)
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "each session has one temperature" in said
    assert "left out:" not in said
    assert fits.getval(tmp_path / "out/bias_model/bias_model.fits", "MODSLOPE") is False
    assert fits.getval(tmp_path / "out/bias_model/bias_model.fits", "MODSESSN") == 4
    assert "of one session" not in said


def test_one_session_is_said_to_show_no_scatter_of_sessions(tmp_path: Path, capsys):
    at = datetime(2026, 3, 1, 22, tzinfo=UTC)
    for i, (pixels, celsius) in enumerate(zip(MADE.frames[:16], MADE.label_c[:16], strict=True)):
        write_bias(tmp_path / "one" / f"bias_{i}.fits", pixels, float(celsius), at=at)
    assert nightcal("model", "bias", "fit", tmp_path / "one", tmp_path / "out") == 0
    assert "all frames are of one session" in capsys.readouterr().out
    assert fits.getval(tmp_path / "out/bias_model/bias_model.fits", "MODSESSN") == 1


def test_the_root_of_a_nightcal_is_a_base(tmp_path: Path, capsys):
    root = Root(tmp_path / "root")
    for celsius in (-10.0, 0.0, 10.0):
        fields = {"set_temp_c": celsius, "ccd_temp_c": celsius + 0.1, "set_id": f"bias_{celsius}"}
        root.add(FrameKind.BIAS, 0.0, 6, **fields)
    root.add(FrameKind.DARK, 5.0, 3)
    before = {path: path.read_bytes() for path in (tmp_path / "root").rglob("*.fits")}
    assert nightcal("model", "bias", "fit", tmp_path / "root", tmp_path / "out") == 0
    assert "18 frames at 3 temperatures from -10.0 to 10.0 °C" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in (tmp_path / "root").rglob("*.fits")} == before
    b = fits.getdata(tmp_path / "out/bias_model/bias_b_map.fits")
    assert abs(b.mean()) < 0.05


def test_planes_of_another_fit_than_the_sidecar_are_refused(tmp_path: Path, capsys):
    write_biases(tmp_path / "frames", MADE)
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    sidecar = tmp_path / "out/bias_model/bias_model.json"
    before = sidecar.read_bytes()
    next((tmp_path / "frames").rglob("*.fits")).unlink()
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    sidecar.write_bytes(before)  # as if the second fit had been interrupted before its end
    for words in (
        ("synth", tmp_path / "out", "--temperature", 3, "--out", tmp_path / "s"),
        ("report", tmp_path / "out", tmp_path / "r"),
    ):
        assert nightcal("model", "bias", *words) == 2
        assert "not of the same fit" in capsys.readouterr().err
    assert nightcal("model", "bias", "fit", tmp_path / "frames", tmp_path / "out") == 0
    assert nightcal("model", "bias", "synth", tmp_path / "out", "--temperature", 3, "--out", tmp_path / "s") == 0


def test_a_temperature_of_which_a_session_has_no_other_is_judged_by_its_pattern(tmp_path: Path, capsys):
    made = made_biases(7, temperatures=(-10.0, -5.0, 0.0, 5.0, 10.0), n=4, sessions=1, shape=(20, 30))
    for i, pixels in enumerate(made.frames):
        celsius = float(made.temperature_c[i])
        at = datetime(2026, 3, 2 if made.label_c[i] == 5 else 1, 20, tzinfo=UTC) + timedelta(minutes=i)
        write_bias(tmp_path / "biases" / f"T{made.label_c[i]:g}" / f"bias_{i}.fits", pixels, celsius, at=at)
    assert nightcal("model", "bias", "fit", tmp_path / "biases", tmp_path / "out") == 0
    assert "level of its session is not known from the others" in capsys.readouterr().out
    assert nightcal("model", "bias", "report", tmp_path / "out", tmp_path / "report") == 0
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "temperatures in between are predicted by the others to" in page
    assert "nan ADU" not in page
