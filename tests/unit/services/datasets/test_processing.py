"""A processed dataset: what becomes one master, what is left out and why, and what stands in masters and tables."""

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameHeader, FrameKind
from services.datasets.frame import DatasetFrame
from services.datasets.index import Asked, discovered, index_of, write_index
from services.datasets.processing.groups import exposure_text, groups_of
from services.datasets.processing.measuring import KEPT
from services.datasets.processing.plots import plot_all
from services.datasets.processing.processing import Processed, looked_at, with_masters
from services.datasets.processing.tables import write_frames, write_masters
from services.errors import RunCode, StorageError, Usage
from tests.support.dataset_frames import write_frame, write_series
from tests.support.failing_disks import FullDisk
from tests.support.made_root import RATE, Root


def processed(base: Path, out: Path) -> Processed:
    found = looked_at(base, out)
    write_frames(found, out)
    found = with_masters(found, out)
    write_masters(found, out)
    return found


def master(out: Path, name: str) -> fits.Header:
    folder = {"b": "bias", "d": "darks", "f": "flats"}[name.removeprefix("master_")[0]]
    return fits.getheader(out / "masters" / folder / f"{name}.fits")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def frame(path: str, kind: FrameKind = FrameKind.DARK, **header: object) -> DatasetFrame:
    facts = {"shape": (4, 6), "exposure_us": 1_000_000, "ccd_temp_c": 20.0, **header}
    of = DatasetFrame(path=Path(path), header=FrameHeader(kind=kind, **facts))  # type: ignore[arg-type]
    return DatasetFrame(path=of.path, header=of.header, attempt=Path(path).parent.as_posix())


def names(*frames: DatasetFrame) -> list[str]:
    return [group.name for group in groups_of(frames)]


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_darks_are_less_the_bias_of_the_nearest_temperature(tmp_path: Path, noise: float) -> None:
    for celsius, biases, darks in ((10.0, (1, 3), (102, 152)), (20.0, (4, 6), (205, 305))):
        write_series(tmp_path / f"set/Bias/T{celsius:g}/attempt1", "BIAS", biases, celsius=celsius, noise=0)
        write_series(tmp_path / f"set/Darks/T{celsius:g}/attempt1", "DARK", darks, celsius=celsius, noise=noise)
    index = tmp_path / "index.csv"
    write_index(index, index_of(discovered(tmp_path / "set"), index, Asked()))
    processed(index, tmp_path / "out")
    for celsius, level in ((10, 125), (20, 250)):
        header = master(tmp_path / "out", f"master_dark_T{celsius}.0_E1.0")
        assert header["MEAN"] == pytest.approx(level, abs=0.0 if noise == 0 else 0.1)
        assert header["BIASFILE"] == f"master_bias_T{celsius}.0.fits"
        assert (header["NSOURCE"], header["BIASSUB"], header["BUNIT"]) == (2, True, "adu")
        assert (header["TMIN"], header["TAVG"], header["EMAX"]) == (celsius, celsius, 1.0)


def test_bad_frames_of_an_index_count_for_nothing(tmp_path: Path) -> None:
    write_series(tmp_path / "Bias/attempt1", "BIAS", (100, 100, 100, 900))
    index = tmp_path / "index.csv"
    write_index(index, index_of(discovered(tmp_path), index))
    lines = index.read_text(encoding="utf-8").splitlines()
    index.write_text("\n".join([*lines[:-1], lines[-1].replace("False", "True")]), encoding="utf-8")
    processed(index, tmp_path / "out")
    assert master(tmp_path / "out", "master_bias_T20.0")["MEAN"] == pytest.approx(100, abs=0.5)
    assert len(table(tmp_path / "out/frame_stats.csv")) == 3
    (bad,) = [row for row in table(tmp_path / "out/frames.csv") if row["USED"] == "False"]
    assert bad["PATH"].endswith("bias_f3.fits")
    assert "marked as bad" in bad["WHY"]


def test_statistics_of_frames_and_masters_are_those_of_numpy(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "set/flats/attempt1", "FLAT", (3000, 3010, 3020), seconds=0.25)
    out = tmp_path / "out"
    processed(tmp_path / "set", out)
    for path, row in zip(paths, table(out / "frame_stats.csv"), strict=True):
        pixels = fits.getdata(path).astype(float)
        assert (out / row["PATH"]).resolve() == path
        expected = (pixels.mean(), np.median(pixels), pixels.std(), *np.percentile(pixels, (16, 84)))
        assert [float(row[name]) for name in ("MEAN", "MEDIAN", "STD", "P16", "P84")] == pytest.approx(expected, 1e-9)
        assert (row["CALTYPE"], row["TEMP"], row["EXPTIME"]) == ("FLAT", "20", "0.25")
    stack = np.mean([fits.getdata(path).astype(float) for path in paths], axis=0)
    name = out / "masters/flats/master_flat_T20.0_E0.25.fits"
    values, header = fits.getdata(name), fits.getheader(name)
    assert values == pytest.approx(stack, rel=1e-6)  # neither subtracted nor normalised
    assert header["STD"] == pytest.approx(stack.std(ddof=1), rel=1e-5)
    assert (header["DATAMIN"], header["DATAMAX"]) == pytest.approx((stack.min(), stack.max()), rel=1e-6)


def test_the_noise_of_a_bias_is_part_of_the_noise_of_the_darks_that_it_is_subtracted_from(tmp_path: Path) -> None:
    write_series(tmp_path / "set/Bias/attempt1", "BIAS", (100, 100, 100))
    write_series(tmp_path / "set/Darks/attempt1", "DARK", (200, 200, 200))
    processed(tmp_path / "set", tmp_path / "both")
    processed(tmp_path / "set/Darks", tmp_path / "darks")
    dark, bias = "darks/planes/master_dark_T20.0_E1.0.fits", "bias/planes/master_bias_T20.0.fits"
    both, own, of_bias = (fits.getdata(tmp_path / each).astype(float) for each in (
        f"both/masters/{dark}", f"darks/masters/{dark}", f"both/masters/{bias}"
    ))  # fmt: skip
    assert both**2 == pytest.approx(own**2 + of_bias**2, rel=1e-4)
    assert float(np.median(of_bias)) > 1.0
    assert master(tmp_path / "both", "master_dark_T20.0_E1.0")["SIGDOF"] == pytest.approx(2.0)


def test_pixels_near_the_level_that_a_header_calls_saturated_are_marked(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "set/flats/attempt1", "FLAT", (3000, 3010, 3020), SATURATE=4000):
        with fits.open(path, mode="update") as file:
            file[0].data[3, 4:6] = 3990, 3700
    processed(tmp_path / "set", tmp_path / "out")
    mask = fits.getdata(tmp_path / "out/masters/flats/planes/master_flat_T20.0_E1.0.fits", "MASK")
    assert [bool(value & 8) for value in mask[3, 3:6]] == [False, True, False]


def test_a_master_states_the_times_of_its_frames_and_how_many_values_were_rejected(tmp_path: Path) -> None:
    for n in range(12):
        at = {"DATE-OBS": f"2026-01-01T00:00:{n + n // 11:02d}"}
        path = write_frame(tmp_path / f"set/Bias/attempt1/fits/f{n}.fits", "BIAS", 100, seed=n, **at)
        if n == 3:
            with fits.open(path, mode="update") as file:
                file[0].data[5, 6] = 30_000
    processed(tmp_path / "set", tmp_path / "out")
    header = master(tmp_path / "out", "master_bias_T20.0")
    assert [header[name][17:22] for name in ("DATE-OBS", "DATE-AVG", "DATE-END")] == ["00.00", "05.58", "12.00"]
    assert header["NREJECT"] == 1


def test_a_median_between_two_values_is_that_of_numpy(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path / "set/Bias/attempt1", "BIAS", (100,), noise=0)
    with fits.open(path, mode="update") as file:
        file[0].data[:12] = 200
    processed(tmp_path / "set", tmp_path / "out")
    (row,) = table(tmp_path / "out/frame_stats.csv")
    assert (row["MEDIAN"], row["P16"], row["P84"]) == ("150", "100", "200")


def test_a_frame_is_held_against_the_one_before_it_as_that_is_now(tmp_path: Path) -> None:
    first, second, _ = write_series(tmp_path / "set/Bias/attempt1", "BIAS", (100, 100, 100))
    whole = first.read_bytes()
    first.write_bytes(second.read_bytes())
    assert set(processed(tmp_path / "set", tmp_path / "out").unused) == {second}
    first.write_bytes(whole)
    assert not processed(tmp_path / "set", tmp_path / "out").unused


def test_a_master_whose_planes_are_gone_is_made_again(tmp_path: Path) -> None:
    write_series(tmp_path / "set/Bias/attempt1", "BIAS", (100, 100, 100))
    out = tmp_path / "out"
    processed(tmp_path / "set", out)
    (planes,) = (out / "masters/bias/planes").iterdir()
    planes.unlink()
    assert [each.state for each in processed(tmp_path / "set", out).masters] == ["made", "kept"]
    assert planes.is_file()


def test_darks_that_another_program_has_made_less_their_bias_keep_what_they_are(tmp_path: Path) -> None:
    write_series(tmp_path / "set/Bias/attempt1", "BIAS", (100, 100, 100))
    write_series(tmp_path / "set/Darks/attempt1", "DARK", (200, 200, 200), CALSTAT="B")
    first = processed(tmp_path / "set", tmp_path / "out")
    (name,) = (path.stem for path in (tmp_path / "out/masters/darks").glob("master_dark_T*.fits"))
    header = master(tmp_path / "out", name)
    assert (header["BIASSUB"], "BIASFILE" in header) == (True, False)
    assert header["MEAN"] == pytest.approx(200, abs=1)
    assert header["REMARKS"].endswith("; no bias was subtracted: another program had done so before")
    again = processed(tmp_path / "set", tmp_path / "out")
    assert [each.remarks for each in again.masters] == [each.remarks for each in first.masters]


def test_a_group_is_made_of_frames_not_of_the_masters_of_its_attempts(tmp_path: Path) -> None:
    base = tmp_path / "TestSection1" / "T0"
    write_series(base / "attempt1", "BIAS", (100, 100), celsius=-0.1)
    write_series(base / "attempt2", "BIAS", (104,) * 6, celsius=0.06)
    processed(tmp_path, tmp_path / "out")
    header = master(tmp_path / "out", "master_bias_T0.1")
    assert header["NSOURCE"] == 8
    assert header["MEAN"] == pytest.approx(103, abs=0.5)
    assert master(tmp_path / "out", "master_bias_attempt1_T0.1")["NSOURCE"] == 2
    assert master(tmp_path / "out", "master_bias_attempt2_T0.1")["NSOURCE"] == 6


def test_temperatures_wander_within_a_group_and_words_of_folders_are_none(tmp_path: Path) -> None:
    wandering = [frame(f"Set1/20Frames/attempt3/f{n}", ccd_temp_c=c) for n, c in enumerate((-10.1, -9.9, -10.0, -9.6))]
    assert names(*wandering, frame("x/f9", ccd_temp_c=-0.04)) == ["master_dark_T-9.9_E1.0", "master_dark_T0.0_E1.0"]
    assert names(*(frame(f"a/{c}", ccd_temp_c=c, set_temp_c=-10.0) for c in (-9.7, -10.2))) == [
        "master_dark_T-10.0_E1.0"
    ]


@pytest.mark.parametrize(
    ("exposure_us", "text"),
    [
        (500_000, "0.5"),
        (2_000_000, "2.0"),
        (10_000, "0.01"),
        (40_000, "0.04"),
        (12, "0.000012"),
        (0, "0.0"),
        (250_000, "0.25"),
    ],
)
def test_names_hold_as_many_digits_of_an_exposure_as_it_has(exposure_us: int, text: str) -> None:
    assert exposure_text(exposure_us) == text


def test_what_keeps_groups_apart_is_in_their_names_only_where_it_must_be() -> None:
    flats = [frame(f"{f}/1", FrameKind.FLAT, filter=f) for f in ("R", "O III")]
    assert names(*flats) == ["master_flat_T20.0_E1.0_O-III", "master_flat_T20.0_E1.0_R"]
    assert names(frame("a/1", gain=1), frame("b/1", gain=30), frame("c/1", gain=1, exposure_us=2_000_000)) == [
        "master_dark_T20.0_E1.0_g1",
        "master_dark_T20.0_E1.0_g30",
        "master_dark_T20.0_E2.0",
    ]
    usual = [frame(f"a/{n}") for n in range(3)]
    assert names(*usual, frame("b/1", shape=(2, 6))) == ["master_dark_T20.0_E1.0", "master_dark_T20.0_E1.0_6x2"]
    biases = [frame(f"a/{n}", FrameKind.BIAS, exposure_us=n) for n in (0, 12)]
    assert names(*biases) == ["master_bias_T20.0"]
    assert names(frame("a/1", ccd_temp_c=None, exposure_us=None)) == ["master_dark"]


def test_attempts_of_one_name_have_names_of_their_own() -> None:
    (group,) = groups_of(frame(f"lab/{folder}/1") for folder in ("Set1/attempt1", "Set2/attempt1", "T20"))
    assert list(group.of_attempts()) == ["Set1-attempt1", "Set2-attempt1", "lab-T20"]
    (alone,) = groups_of([frame("lab/T20/1", FrameKind.FLAT, exposure_us=800_000)])
    assert [alone.attempt_name(name) for name in alone.of_attempts()] == ["master_flat_T20_T20.0_E0.8"]


def test_frames_that_cannot_be_used_are_named_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "set/Darks/attempt1"
    good = write_series(folder, "DARK", (500, 501, 499, 500, 500, 501, 499, 500, 500))
    dead = write_frame(folder / "fits/dead.fits", "DARK", 700, noise=0)
    light = write_frame(folder / "fits/light.fits", "DARK", 640)
    small = write_frame(folder / "fits/small.fits", "DARK", 500, shape=(12, 32))
    copied = folder / "fits/zopy.fits"
    copied.write_bytes(good[0].read_bytes())
    cut = folder / "fits/cut.fits"
    cut.write_bytes(good[1].read_bytes()[:-2880])
    before = {path: path.read_bytes() for path in folder.rglob("*.fits")}
    found = processed(tmp_path / "set", tmp_path / "out")
    assert {path: path.read_bytes() for path in folder.rglob("*.fits")} == before
    why = {path.name: reason for path, reason in found.unused.items()}
    assert why.keys() == {"dead.fits", "light.fits", "small.fits", "zopy.fits", "cut.fits"}
    assert "all pixels have one value" in why[dead.name]
    assert "the level" in why[light.name]
    assert why[small.name] == "its size is 32 x 12 pixels, that of the others beside it 32 x 24"
    assert why[copied.name] == f"its pixels are those of {good[0]}"
    assert {
        row["PATH"].rpartition("/")[2] for row in table(tmp_path / "out/frames.csv") if row["USED"] == "False"
    } == set(why)
    header = master(tmp_path / "out", "master_dark_T20.0_E1.0")
    assert header["NSOURCE"] == len(good)
    assert header["MEAN"] == pytest.approx(500, abs=0.5)
    assert "no master bias of these settings" in str(header["HISTORY"])
    assert not header["BIASSUB"]


def test_how_files_hold_their_numbers_keeps_8_bits_apart_and_nothing_else(tmp_path: Path) -> None:
    write_series(tmp_path / "set/Bias/attempt1", "BIAS", (100, 101, 100))
    darks = write_series(tmp_path / "set/Darks/attempt1", "DARK", (150, 151, 150, 152, 151))
    for path in darks[:3]:
        pixels, header = fits.getdata(path, header=True)
        del header["BZERO"], header["BSCALE"]
        kind = np.uint8 if path is not darks[0] else np.float32
        fits.PrimaryHDU(pixels.astype(kind), header).writeto(path, overwrite=True)
    found = processed(tmp_path / "set", tmp_path / "out")
    numbers = {group.name: len(group.frames) for group in found.groups}
    assert numbers == {"master_bias_T20.0": 3, "master_dark_T20.0_E1.0": 3, "master_dark_T20.0_E1.0_8bit": 2}
    assert master(tmp_path / "out", "master_dark_T20.0_E1.0")["MEAN"] == pytest.approx(50, abs=1)
    assert "BIASFILE" not in master(tmp_path / "out", "master_dark_T20.0_E1.0_8bit")


def test_two_levels_that_no_card_explains_are_said_and_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "set/Bias/attempt1", "BIAS", (500, 500, 500, 620, 620, 620))
    found = processed(tmp_path / "set", tmp_path / "out")
    ((name, remark),) = found.remarks
    assert name == "master_bias_T20.0"
    assert "3 frames at 500 ADU (bias_f0.fits …) and 3 frames at 620 ADU (bias_f3.fits …)" in remark.replace(
        "\xa0", " "
    )
    assert master(tmp_path / "out", "master_bias_T20.0")["NSOURCE"] == 6


def test_the_root_of_a_nightcal_is_a_dataset_without_further_ado(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    root.add(FrameKind.BIAS, 0.001, 4)
    root.add(FrameKind.DARK, 5.0, 4)
    for light in ("R", "B"):
        root.add(FrameKind.FLAT, 2.0, 3, filter=light)
    root.catalogue.close()
    out = tmp_path / "out"
    found = processed(tmp_path / "root", out)
    assert not found.unused
    assert [group.name for group in found.groups] == [
        *("master_bias_T-10.0", "master_dark_T-10.0_E5.0"),
        *("master_flat_T-10.0_E2.0_B", "master_flat_T-10.0_E2.0_R"),
    ]
    assert master(out, "master_dark_T-10.0_E5.0")["MEDIAN"] == pytest.approx(RATE * 5, abs=2)
    assert master(out, "master_flat_T-10.0_E2.0_R")["FILTER"] == "R"


def test_a_single_frame_becomes_a_master_that_says_so(tmp_path: Path) -> None:
    write_series(tmp_path / "set/flats/attempt1", "FLAT", (3000,))
    found = processed(tmp_path / "set", tmp_path / "out")
    assert master(tmp_path / "out", "master_flat_T20.0_E1.0")["NSOURCE"] == 1
    assert any("of a single frame" in remark for remark in found.masters[0].remarks)


def test_a_second_call_keeps_what_is_as_it_must_be(tmp_path: Path) -> None:
    base, out = tmp_path / "set", tmp_path / "set/results"
    write_series(base / "Bias/attempt1", "BIAS", (100, 101, 100))
    write_series(base / "Darks/attempt1", "DARK", (200, 201, 200))
    first = processed(base, out)
    plot_all(first, out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.[fp]*[st]*") if path.suffix in {".fits", ".png"}}
    assert times
    said, tables = [each.remarks for each in first.masters], [path.read_bytes() for path in sorted(out.glob("*.csv"))]
    again = processed(base, out)
    plot_all(again, out)
    assert {each.state for each in again.masters} == {"kept"}
    assert [each.remarks for each in again.masters] == said
    assert any(said)
    assert [path.read_bytes() for path in sorted(out.glob("*.csv"))] == tables
    assert {path: path.stat().st_mtime_ns for path in times} == times
    write_frame(base / "Bias/attempt1/fits/bias_f9.fits", "BIAS", 100)
    changed = processed(base, out)  # another bias makes other darks
    assert {each.state for each in changed.masters} == {"made"}
    assert master(out, "master_bias_T20.0")["NSOURCE"] == 4


def test_masters_that_a_dataset_no_longer_gives_are_named_and_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_series(tmp_path / "set/flats/R/attempt1", "FLAT", (3000,), FILTER="R")
    assert not processed(tmp_path / "set", out).remarks
    write_series(tmp_path / "set/flats/B/attempt1", "FLAT", (2000,), FILTER="B")
    found = processed(tmp_path / "set", out)
    assert [name for name, _ in found.remarks] == [
        "master_flat_T20.0_E1.0.fits",
        "master_flat_attempt1_T20.0_E1.0.fits",
    ]
    assert (out / "masters/flats/master_flat_T20.0_E1.0.fits").is_file()


def test_a_second_call_goes_by_the_kind_that_the_index_states_now(tmp_path: Path) -> None:
    for n in range(3):
        write_frame(tmp_path / f"set/attempt1/fits/f{n}.fits", "DARK", 100 + n, seed=n)
    index, out = tmp_path / "index.csv", tmp_path / "out"
    checked = []
    for kind in ("DARK", "FLAT"):
        rows = [f"set/attempt1/fits/f{n}.fits,{kind}" for n in range(3)]
        index.write_text("\n".join(["PATH,CALTYPE", *rows, ""]), encoding="utf-8")
        found = looked_at(index, out)
        checked.append((out / KEPT).read_text(encoding="utf-8").count("sha256"))
    assert {frame.header.kind for frame in found.frames} == {FrameKind.FLAT}
    assert checked == [3, 6]  # each frame is checked as what it counts as


@pytest.mark.parametrize("name", [b"dark $a_$.fits", b"\xe9.fits"])
def test_names_that_look_like_formulas_or_are_no_text_are_drawn(tmp_path: Path, name: bytes) -> None:
    if name == b"\xe9.fits" and (os.name == "nt" or sys.platform == "darwin"):
        pytest.skip("names are text there")
    folder = tmp_path / "set/Darks/attempt1/fits"
    write_frame(folder / "e.fits", "DARK", 100).rename(Path(os.fsdecode(os.fsencode(folder) + b"/" + name)))
    out = tmp_path / "out"
    plot_all(processed(tmp_path / "set", out), out)
    assert len(list((out / "comparisons").iterdir())) == 1


def test_a_full_disk_leaves_whole_masters_and_a_second_call_goes_on(tmp_path: Path) -> None:
    write_series(tmp_path / "set/Bias/attempt1", "BIAS", (100, 101, 100))
    write_series(tmp_path / "set/Darks/attempt1", "DARK", (200, 201, 200))
    out = tmp_path / "out"
    found = looked_at(tmp_path / "set", out)
    with pytest.raises(StorageError) as full:
        with_masters(found, out, disk=FullDisk(after_bytes=100_000))
    assert full.value.code == RunCode.DISK_FULL
    there = set(out.rglob("*.fits"))
    assert not list(out.rglob("*.part"))
    assert [each.state for each in with_masters(found, out).masters].count("kept") == len(
        [path for path in there if path.parent.name != "planes"]
    )


def test_a_file_of_another_program_is_never_replaced(tmp_path: Path) -> None:
    write_series(tmp_path / "set/Bias/attempt1", "BIAS", (100, 101, 100))
    theirs = write_frame(tmp_path / "out/masters/bias/master_bias_T20.0.fits", "BIAS", 7)
    before = theirs.read_bytes()
    found = processed(tmp_path / "set", tmp_path / "out")
    assert theirs.read_bytes() == before
    assert [each.wanted.path.name for each in found.failed] == ["master_bias_T20.0.fits"]
    assert table(tmp_path / "out/masters.csv")[0]["VERDICT"] == "failed"


def test_plots_are_one_for_each_temperature_of_the_groups(tmp_path: Path) -> None:
    for n, celsius in enumerate((-10.04, -9.97, 19.9, 20.1)):
        write_series(tmp_path / f"set/Bias/attempt{n}", "BIAS", (100 + n, 101 + n), celsius=celsius)
        for seconds in (1.0, 5.0):
            write_series(
                tmp_path / f"set/Darks/{seconds:g}s/attempt{n}", "DARK", (200, 201), celsius=celsius, seconds=seconds
            )
    out = tmp_path / "out"
    plot_all(processed(tmp_path / "set", out), out)
    assert sorted(path.name for path in (out / "plots").iterdir()) == sorted(
        [f"bias_{m}_vs_temp.png" for m in ("mean", "median", "std")]
        + [f"dark_{m}_T{t}.png" for m in ("mean", "median", "std") for t in ("-10.0", "20.0")]
    )
    assert sorted(path.name for path in (out / "comparisons").iterdir()) == [
        *("bias_T-10.0.png", "bias_T20.0.png"),
        *(f"dark_T{t}_E{e}.png" for t in ("-10.0", "20.0") for e in ("1.0", "5.0")),
    ]


def test_results_that_cannot_be_there_are_refused_at_once(tmp_path: Path) -> None:
    write_series(tmp_path / "set/Bias/attempt1", "BIAS", (100,))
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(Usage, match="is a file"):
        looked_at(tmp_path / "set", tmp_path / "file")


def test_measuring_that_was_interrupted_goes_on_where_it_ended(tmp_path: Path) -> None:
    write_series(tmp_path / "set/Bias/attempt1", "BIAS", [500.0] * 9)
    kept = tmp_path / "out/.measured.jsonl"
    measured = 0

    def interrupt(what: str, total: int | None, done: int) -> None:
        nonlocal measured
        measured += done if what == "frames measured" and total is None else 0
        if measured == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        looked_at(tmp_path / "set", tmp_path / "out", progress=interrupt)
    assert kept.read_text(encoding="utf-8").count("\n") == 5
    kept.write_text(kept.read_text(encoding="utf-8")[:-40], encoding="utf-8")  # the last line was not written whole
    assert len(looked_at(tmp_path / "set", tmp_path / "out").numbers) == 9
    whole = kept.read_text(encoding="utf-8")
    assert len([line for line in whole.splitlines() if line]) == 10  # each frame once, and what is left of the line
    looked_at(tmp_path / "set", tmp_path / "out")
    assert kept.read_text(encoding="utf-8").strip() == whole.strip()


@pytest.mark.parametrize("kind", ["DARK", "FLAT"])
def test_too_few_frames_to_see_outliers_are_said_with_what_helps(tmp_path: Path, kind: str) -> None:
    write_series(tmp_path / "set", kind, [700, 701, 702])
    found = processed(tmp_path / "set", tmp_path / "out")
    (remark,) = {note for each in found.masters for note in each.remarks if "outliers" in note}
    assert remark.startswith("too few to see outliers by sigma_clip: 10 frames would do")
    assert ("EGAIN" in remark) is (kind == "DARK")  # of flats the pedestal is not known, which the noise takes
