"""A dataset in one go: from raw frames or from FITS, standard or an irradiation, and where it may only be read."""

import csv
import os
from pathlib import Path

import pytest
from astropy.io import fits

from services.datasets.conversion import Conversion
from services.datasets.importing import import_raws
from services.datasets.index import discovered
from services.datasets.processing.processing import looked_at, with_masters
from services.datasets.running import COPY, Arrangement, Ready, made_ready, stages_of
from services.errors import Usage
from tests.support.dataset_frames import write_series
from tests.support.raw_tree import attempt

STAGES = ("Preirradiation", "Irradiation/2kRads", "Irradiation/10kRads", "Postirradiation")


def ready(base: Path, arrangement: Arrangement, out: Path) -> Ready:
    return made_ready(base, stages_of(base, arrangement, out), out)


def rows(index: Path) -> list[dict[str, str]]:
    with index.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def masters(index: Path, out: Path) -> dict[str, int]:
    """Return the masters of groups with their numbers of frames."""
    made = with_masters(looked_at(index, out), out).masters
    return {
        each.wanted.path.stem: fits.getheader(each.wanted.path)["NSOURCE"] for each in made if not each.wanted.attempt
    }


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    attempt(tmp_path / "set/TestSection1/T20/attempt1", name="BiasT20_exp1.2e-05sAt1f{n}.raw")
    attempt(tmp_path / "set/TestSection2/T20/1s/attempt1", level=2000)
    attempt(tmp_path / "set/TestSection3/T20/1s/attempt1", level=9000)
    return tmp_path / "set"


def test_a_standard_dataset_goes_from_raw_frames_to_masters_and_a_second_call_keeps_them(raw: Path) -> None:
    out = raw / "results"  # within the dataset: its folders are no sections
    done = ready(raw, Arrangement.STANDARD, out)
    assert done.index == raw / "index.csv"
    assert done.imported is not None
    assert (done.imported.index, done.of_stages) == (raw / "fits_index.csv", ())
    assert masters(done.index, out) == {
        "master_bias_T20.0": 3,
        "master_dark_T20.0_E1.0": 3,
        "master_flat_T20.0_E1.0": 3,
    }
    again = ready(raw, Arrangement.STANDARD, out)
    assert again.indexed == done.indexed
    assert {each.state for each in with_masters(looked_at(again.index, out), out).masters} == {"kept"}


@pytest.mark.parametrize("is_raw", [True, False])
def test_an_irradiation_keeps_its_stages_and_doses_apart(tmp_path: Path, *, is_raw: bool) -> None:
    base, out = tmp_path / "campaign", tmp_path / "out"
    for n, stage in enumerate(STAGES):
        for kind, folder in (("BIAS", "Bias"), ("DARK", "Darks")):
            place = base / stage / folder / "attempt1"
            if is_raw:
                attempt(place, level=1000 + 100 * n)
            else:
                write_series(place, kind, (1000 + 100 * n,) * 2)
    done = ready(base, Arrangement.IRRADIATION, out)
    assert done.of_stages == tuple(base / stage / "index.csv" for stage in STAGES)
    assert [row["STAGE"] for row in rows(done.of_stages[1])] == ["radiating"] * (6 if is_raw else 4)
    assert len(rows(done.index)) == sum(len(rows(each)) for each in done.of_stages)
    assert (done.imported is not None) is is_raw
    names = masters(done.index, out)
    parts = ("post", "pre", "radiating_10kRads", "radiating_2kRads")
    assert set(names) == {f"master_{kind}_{part}" for kind in ("bias_T20.0", "dark_T20.0_E1.0") for part in parts}
    header = fits.getheader(out / "masters/darks/master_dark_T20.0_E1.0_radiating_2kRads.fits")
    assert header["BIASFILE"] == "master_bias_T20.0_radiating_2kRads.fits"
    assert header["STAGE"] == "radiating"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="folders cannot be made read-only for this user")
def test_of_a_dataset_that_may_only_be_read_everything_goes_below_the_results(raw: Path, tmp_path: Path) -> None:
    import_raws(discovered(raw)[:1], Conversion())  # the biases were converted before
    folders = [raw, *(path for path in raw.rglob("*") if path.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o500)
        done = ready(raw, Arrangement.STANDARD, tmp_path / "out")
        assert done.index == tmp_path / "out" / COPY / "index.csv"
        assert len(rows(done.index)) == 9
        assert not (tmp_path / "out" / COPY / "TestSection1").exists()
        assert len(masters(done.index, tmp_path / "out")) == 3
    finally:
        for folder in folders:
            folder.chmod(0o700)


def test_what_lies_beside_the_sections_is_a_part_of_a_standard_dataset_and_results_are_none(
    raw: Path, tmp_path: Path
) -> None:
    attempt(raw / "Monday/Oscuros/T20/5s/attempt1", level=3000)
    attempt(raw / "spare/T20/2s/attempt1", name="dark_{n}.raw", level=2500)
    attempt(raw / "results/TestSection2/T20/9s/attempt1")  # of an earlier call, say
    for out in (raw / "results", raw / "results", tmp_path):  # a folder around the dataset is none of results in it
        done = ready(raw, Arrangement.STANDARD, out)
        kinds = [row["CALTYPE"] for row in rows(done.index) if "results/" not in row["PATH"]]
        assert (kinds.count("BIAS"), kinds.count("DARK"), kinds.count("FLAT")) == (3, 9, 3)
        assert (len(rows(done.index)) == len(kinds)) is (out != tmp_path)
        assert (done.indexed.left_out, done.beside) == ((), ())


def test_what_lies_in_no_stage_of_an_irradiation_is_named(tmp_path: Path) -> None:
    base = tmp_path / "campaign"
    attempt(base / "Preirradiation/Darks/T20/1s/attempt1")
    attempt(base / "Darks of before/T20/1s/attempt1")
    write_series(base / "Irradiation", "DARK", [700, 701])
    done = ready(base, Arrangement.IRRADIATION, base / "results")
    assert {path.relative_to(base).parts[0] for path in done.beside} == {"Darks of before", "Irradiation"}
    assert len(done.beside) == 3 + 2


def test_what_a_layout_does_not_have_is_said(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="does not have Preirradiation"):
        stages_of(raw, Arrangement.IRRADIATION, tmp_path / "out")
    with pytest.raises(Usage, match="no folder"):
        stages_of(raw / "nowhere", Arrangement.STANDARD, tmp_path / "out")
    (tmp_path / "empty/TestSection1").mkdir(parents=True)
    with pytest.raises(Usage, match="no frame"):
        ready(tmp_path / "empty", Arrangement.STANDARD, tmp_path / "out")
