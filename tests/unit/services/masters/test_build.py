"""The masters step on small folders of synthetic frames: files, planes, darks of flats, and what goes wrong."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.units import dimensionless_unscaled

from calibration.combine.recipe import MaskBit, Method
from calibration.errors import GroupCode
from calibration.frames import FrameKind
from calibration.masters.scales import Normalisation
from drivers.clock import ManualClock
from services.catalogue.rows import Flag, MasterStatus, Origin
from services.errors import RunCode, RunStopped, StorageError, meaning
from services.events.bus import Events
from services.events.records import MasterBuilt, MasterRefused, WarningRaised, members
from services.files.disk import Disk
from services.files.fits import pixel_hash, read_pixels
from services.indexing.index import adopt, open_catalogue
from services.masters import MasterOutcome, MasterSettings, Outcome, build_all
from services.root import Place
from tests.support.failing_disks import FullDisk
from tests.support.made_root import GAIN, RATE, READ_NOISE, SHAPE, START, Root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(tmp_path)
    yield made
    made.catalogue.close()


@pytest.fixture
def full(root: Root) -> Root:
    root.add(FrameKind.BIAS, 0.001, 12)
    root.add(FrameKind.DARK, 1.0, 12)
    root.add(FrameKind.FLAT, 1.0, 12, filter="R")
    return root


def by_kind(outcomes: tuple[MasterOutcome, ...]) -> dict[tuple[FrameKind, int | None], MasterOutcome]:
    return {(o.kind, o.exposure_us): o for o in outcomes}


def test_names_are_those_of_the_guide(full: Root) -> None:
    outcomes = full.build()
    assert [o.status for o in outcomes] == [Outcome.BUILT] * 4
    names = sorted(path.name for path in full.layout.masters.glob("*.fits"))
    stamp = "20260102_020000"
    assert names == [
        f"master_bias_{stamp}.fits",
        f"master_dark_0.001s_{stamp}.fits",
        f"master_dark_1.000s_{stamp}.fits",
        f"master_flat_1.000s_R_{stamp}.fits",
    ]
    assert all((full.layout.planes / name).is_file() for name in names)
    assert len(list(full.layout.masters.glob("*.json"))) == 4
    assert not list(full.layout.masters.rglob("*.part"))


def test_masters_of_filters_that_differ_in_case_alone_have_names_that_differ_in_more(root: Root) -> None:
    for name in ("r", "R"):
        root.add(FrameKind.FLAT, 1.0, 12, filter=name)
    root.add(FrameKind.DARK, 1.0, 12)
    root.build()
    names = [path.name for path in root.layout.masters.glob("master_flat_*.fits")]
    assert len({name.lower() for name in names}) == 2
    assert any("_R_" in name for name in names)


def test_master_bias_is_one_float_image_with_a_true_header(full: Root) -> None:
    master = by_kind(full.build())[FrameKind.BIAS, 1000].path
    assert master is not None
    with fits.open(master, checksum=True) as units:
        assert len(units) == 1
        header, data = units[0].header, units[0].data
        assert data.dtype == np.dtype(">f4")
        assert data.shape == SHAPE
    assert header["IMAGETYP"] == "MASTER BIAS"
    assert header["NCOMBINE"] == 12
    assert header["REJMETH"] == "sigma_clip"
    assert header["BIASSUB"] is False
    assert header["RDNOISE"] == pytest.approx(READ_NOISE, rel=0.1)
    assert header["SET-TEMP"] == -10.0
    assert header["GAIN"] == 10
    assert "FRAMENO" not in header
    assert sum("input bias_" in line for line in header["HISTORY"]) == 12
    np.testing.assert_allclose(data, full.mean(FrameKind.BIAS, 0.001, 0), atol=6 * READ_NOISE / 12**0.5)


def test_planes_hold_uncertainty_count_mask_and_inputs(full: Root) -> None:
    master = by_kind(full.build())[FrameKind.DARK, 1_000_000].path
    assert master is not None
    planes = full.planes(master)
    assert list(planes) == ["SIGMA", "COUNT", "MASK", "INPUTS"]
    assert planes["COUNT"].max() == 12
    expected = np.sqrt(READ_NOISE**2 + RATE / GAIN) / 12**0.5
    assert np.median(planes["SIGMA"]) == pytest.approx(expected, rel=0.05)
    assert planes["MASK"][5, 7] == MaskBit.HOT
    assert (planes["MASK"] & MaskBit.HOT).astype(bool).sum() == 1
    assert len(planes["INPUTS"]) == 12
    hashes = {row.pixel_sha256 for row in full.catalogue.frames(kind=FrameKind.DARK)}
    assert {text.decode() for text in planes["INPUTS"]["SHA256"]} == hashes


def test_flat_is_the_light_divided_by_its_mean(full: Root) -> None:
    outcome = by_kind(full.build())[FrameKind.FLAT, 1_000_000]
    assert outcome.path is not None
    with fits.open(outcome.path) as units:
        header, data = units[0].header, units[0].data.astype(np.float64)
    truth = full.flat / full.flat.mean()
    planes = full.planes(outcome.path)
    good = planes["MASK"] == 0
    assert np.mean(data[good]) == pytest.approx(1.0, abs=2e-3)
    ratio = np.sum((data - truth)[good] ** 2) / np.sum(planes["SIGMA"][good].astype(np.float64) ** 2)
    assert 0.8 < ratio < 1.3
    assert header["FLATDARK"] == "matched"
    assert header["DARKFILE"].startswith("master_dark_1.000s")
    assert header["FLATNORM"] == pytest.approx(20000 * full.flat.mean(), rel=0.01)
    assert header["CALSTAT"] == "D"
    assert planes["MASK"][20, 30] & MaskBit.DEAD
    assert planes["MASK"][5, 7] & (MaskBit.HOT | MaskBit.INHERITED) == MaskBit.HOT | MaskBit.INHERITED


@pytest.mark.parametrize("how", list(Normalisation))
def test_normalisation_divides_by_what_is_asked(full: Root, how: Normalisation) -> None:
    outcome = by_kind(full.build(normalisation=how))[FrameKind.FLAT, 1_000_000]
    assert outcome.path is not None
    data = read_pixels(outcome.path).astype(np.float64)
    found = {"mean": data.mean(), "median": np.median(data), "max": np.percentile(data, 99.9)}[how]
    assert found == pytest.approx(1.0, abs=3e-3)


def test_flat_and_its_planes_do_not_claim_to_be_in_adu(full: Root) -> None:
    path = by_kind(full.build())[FrameKind.FLAT, 1_000_000].path
    assert path is not None
    header = fits.getheader(path)
    assert CCDData.read(path).unit == dimensionless_unscaled
    assert "SATURATE" not in header
    assert header.comments["FLATNORM"].startswith("[adu]")
    assert header.comments["DATE"]
    assert not [name for name in ("DATAMED", "DATAMIN", "PCT050") if "adu" in header.comments[name]]
    with fits.open(full.layout.planes_path(path)) as units:
        assert [units[name].header.get("BUNIT") for name in ("SIGMA", "COUNT", "MASK")] == ["", None, None]
        assert "DATAMED" not in units["COUNT"].header


def test_dark_is_in_adu_and_of_no_filter(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 12, filter="R")
    path = root.build()[0].path
    assert path is not None
    header = fits.getheader(path)
    assert (header["BUNIT"], header["SATURATE"], "FILTER" in header) == ("adu", 60000.0, False)
    assert "[adu]" in header.comments["RDNOISE"]
    with fits.open(root.layout.planes_path(path)) as units:
        assert [units[name].header.get("BUNIT") for name in ("SIGMA", "COUNT", "MASK")] == ["adu", None, None]


def test_second_build_keeps_what_is_there(full: Root) -> None:
    full.build()
    before = sorted(full.layout.masters.rglob("*"))
    assert {o.status for o in full.build()} == {Outcome.KEPT}
    assert sorted(full.layout.masters.rglob("*")) == before


def test_other_settings_make_other_masters(full: Root) -> None:
    full.build()
    assert {o.status for o in full.build(method=Method.MEDIAN)} == {Outcome.BUILT}
    assert len(list(full.layout.masters.glob("master_bias_*.fits"))) == 2


def test_master_whose_file_is_gone_is_built_again(full: Root) -> None:
    path = by_kind(full.build())[FrameKind.BIAS, 1000].path
    assert path is not None
    path.unlink()
    assert by_kind(full.build())[FrameKind.BIAS, 1000].status is Outcome.BUILT


def test_flat_without_its_dark_is_refused_and_says_so(root: Root) -> None:
    root.add(FrameKind.DARK, 2.0, 12)
    root.add(FrameKind.FLAT, 1.0, 12)
    outcomes = root.build()
    assert [o.status for o in outcomes] == [Outcome.BUILT, Outcome.REFUSED]
    assert outcomes[1].code == "no_matching_dark"
    assert "exposure 2 s, wanted 1 s" in outcomes[1].detail
    assert [e.what.code for e in root.heard if isinstance(e.what, MasterRefused)] == ["no_matching_dark"]


def test_bias_serves_a_flat_only_where_the_dark_signal_is_negligible(root: Root) -> None:
    root.hot[:] = 0.0
    root.add(FrameKind.BIAS, 0.001, 12)
    root.add(FrameKind.DARK, 20.0, 12)
    root.add(FrameKind.FLAT, 0.5, 12, filter="L")
    root.add(FrameKind.FLAT, 15.0, 12, filter="Ha")
    found = {o.filter: o for o in root.build() if o.kind is FrameKind.FLAT}
    assert found["L"].status is Outcome.BUILT
    assert found["Ha"].code == "no_matching_dark"
    assert "predicted dark signal" in found["Ha"].detail
    assert found["L"].path is not None
    with fits.open(found["L"].path) as units:
        assert units[0].header["FLATDARK"] == "bias"
        assert units[0].header["DARKFILE"].startswith("master_bias")


@pytest.mark.parametrize(
    "other", [{"gain": 11}, {"offset": 3}, {"readout_mode": "fast"}, {"set_temp_c": 0.0, "ccd_temp_c": 0.0}]
)
def test_dark_of_other_settings_never_serves(root: Root, other: dict[str, object]) -> None:
    root.add(FrameKind.DARK, 1.0, 12, **other)
    root.add(FrameKind.FLAT, 1.0, 12)
    assert [o.status for o in root.build()] == [Outcome.BUILT, Outcome.REFUSED]


def test_flats_of_one_filter_at_two_exposures_get_each_its_own_dark(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 12)
    root.add(FrameKind.DARK, 4.0, 12)
    root.add(FrameKind.FLAT, 1.0, 6, set_id="sky", source="sky", filter="R")
    root.add(FrameKind.FLAT, 4.0, 6, set_id="sky", source="sky", filter="R")
    outcome = root.build()[-1]
    assert outcome.status is Outcome.BUILT
    assert outcome.path is not None
    planes = root.planes(outcome.path)
    good = planes["MASK"] == 0
    data = read_pixels(outcome.path).astype(np.float64)
    truth = root.flat / root.flat.mean()
    assert np.sum((data - truth)[good] ** 2) / np.sum(planes["SIGMA"][good] ** 2.0) == pytest.approx(1.0, abs=0.25)


def test_a_partial_master_of_a_version_that_knew_no_mosaic_is_superseded_as_well(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 6, set_id="s", bayer_pattern="RGGB")
    root.build()
    (old,) = root.catalogue.masters()
    root.catalogue.add_master(replace(old, key=replace(old.key, bayer_pattern=None)))
    root.add(FrameKind.DARK, 1.0, 6, set_id="s", bayer_pattern="RGGB")
    assert root.build()[0].status is Outcome.BUILT
    assert sorted(row.status for row in root.catalogue.masters()) == [MasterStatus.CERTIFIED, MasterStatus.SUPERSEDED]


def test_partial_set_makes_a_partial_master_and_is_superseded_when_complete(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 6, set_id="s")
    assert root.build()[0].status is Outcome.PARTIAL
    root.add(FrameKind.DARK, 1.0, 6, set_id="s")
    assert root.build()[0].status is Outcome.BUILT
    assert sorted(row.status for row in root.catalogue.masters()) == [MasterStatus.CERTIFIED, MasterStatus.SUPERSEDED]
    sidecars = [json.loads(path.read_text()) for path in root.layout.masters.glob("*.json")]
    assert sorted(record["status"] for record in sidecars) == ["certified", "superseded"]


def test_four_frames_are_too_few_unless_four_are_wanted(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 4)
    refused = root.build(num_darks=6)[0]
    assert (refused.code, refused.detail) == (
        "too_few_frames",
        "4 usable frames of 6 wanted by dark_capture.num_darks; a master takes 5",
    )
    assert root.build(num_darks=4)[0].status is Outcome.BUILT


def test_single_frame_is_a_master_when_one_is_wanted(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 1)
    outcome = root.build(num_darks=1)[0]
    assert outcome.status is Outcome.BUILT
    assert outcome.path is not None
    assert np.isfinite(read_pixels(outcome.path)).all()
    statistics = root.catalogue.masters()[0].statistics
    assert statistics["pair_noise_adu"] is None
    json.dumps(dict(statistics), allow_nan=False)


def test_sky_flats_need_their_own_least_number(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 12)
    root.add(FrameKind.FLAT, 1.0, 8, source="sky")
    assert root.build()[-1].code == "too_few_frames"
    assert root.build(min_flats=8)[-1].status is Outcome.PARTIAL


def test_truncated_frame_is_left_out_with_a_warning(root: Root) -> None:
    paths = root.add(FrameKind.DARK, 1.0, 12)
    paths[3].write_bytes(paths[3].read_bytes()[:-4000])
    outcome = root.build()[0]
    assert outcome.status is Outcome.PARTIAL
    assert outcome.n == 11
    warnings = [e.what for e in root.heard if isinstance(e.what, WarningRaised)]
    assert [w.code for w in warnings] == ["read_failed"]
    assert paths[3].name in warnings[0].detail


def test_complete_master_is_not_replaced_by_one_of_fewer_frames_when_a_frame_is_lost(root: Root) -> None:
    paths = root.add(FrameKind.DARK, 1.0, 12)
    before = root.build()[0]
    root.catalogue.remove_frames([root.layout.relative(paths[3])])
    after = root.build()[0]
    assert (after.status, after.path) == (Outcome.KEPT, before.path)
    root.catalogue.set_flag(Flag.BAD, paths=[root.layout.relative(paths[4])])  # was combined, and should not have been
    assert root.build()[0].status is Outcome.PARTIAL


def test_master_that_was_overwritten_is_built_again(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 12)
    before = root.build()[0].path
    assert before is not None
    before.write_bytes(before.read_bytes()[:-2880] + b"\1" * 2880)
    after = root.build()[0]
    assert (after.status, after.path != before) == (Outcome.BUILT, True)


def test_frame_that_was_overwritten_is_left_out_with_a_warning(root: Root) -> None:
    paths = root.add(FrameKind.DARK, 1.0, 12)
    paths[3].write_bytes(paths[3].read_bytes()[:-2880] + b"\1" * 2880)
    assert root.build()[0].n == 11
    (warning,) = [e.what for e in root.heard if isinstance(e.what, WarningRaised)]
    assert (warning.code, paths[3].name in warning.detail) == ("read_failed", True)


def test_refusal_says_which_camera_it_is_about_when_there_are_several(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 2, camera_id="old")
    root.build()
    root.add(FrameKind.DARK, 2.0, 2, camera_id="new")
    root.build()
    told = [e.what.apart for e in root.heard if isinstance(e.what, MasterRefused)]
    assert ["old" in told[0], "old" in told[1], "new" in told[2]] == [False, True, True]


@pytest.mark.parametrize(
    ("named", "apart"),
    [
        ({}, ""),
        ({"name_gain": True}, "gain 10"),
        ({"name_temperature": True}, "-10.0 °C"),
        ({"name_gain": True, "name_temperature": True}, "gain 10, -10.0 °C"),
    ],
)
def test_the_first_of_several_gains_and_temperatures_is_named_by_its_own(root: Root, named, apart: str) -> None:
    """It was built while the frames of the others were not there yet, and was called "bias" alone."""
    root.add(FrameKind.DARK, 1.0, 2)
    root.build(**named)
    assert [e.what.apart for e in root.heard if isinstance(e.what, MasterRefused)] == [apart]


def test_one_failing_group_does_not_stop_the_others(root: Root) -> None:
    root.add(FrameKind.BIAS, 0.001, 2)
    root.add(FrameKind.DARK, 1.0, 12)
    assert [o.status for o in root.build()] == [Outcome.REFUSED, Outcome.REFUSED, Outcome.BUILT]


def test_few_frames_of_unknown_gain_are_warned_of(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 6)
    root.build(num_darks=6)
    assert any("sees no outlier" in e.what.detail for e in root.heard if isinstance(e.what, WarningRaised))
    root.heard.clear()
    root.add(FrameKind.DARK, 2.0, 6, egain_e_adu=GAIN)
    outcome = root.build(num_darks=6)[-1]
    assert not [e for e in root.heard if isinstance(e.what, WarningRaised) and "sees no outlier" in e.what.detail][1:]
    assert outcome.path is not None
    assert fits.getheader(outcome.path)["REJMETH"] == "noise_model"


def test_rejection_by_the_noise_model_is_noted_beside_the_master(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 6, egain_e_adu=GAIN)
    root.add(FrameKind.DARK, 2.0, 12, egain_e_adu=GAIN)
    few, many = root.build(num_darks=6)
    assert few.path is not None
    assert many.path is not None
    record = json.loads(root.layout.sidecar_path(few.path).read_text())
    assert "noise_model instead of sigma_clip" in record["statistics"]["note"]
    notes = [e.what.note for e in root.heard if isinstance(e.what, MasterBuilt)]
    assert notes == [record["statistics"]["note"], ""]


def test_full_disk_leaves_nothing_behind(full: Root) -> None:
    clock = ManualClock(START)
    events = Events(run_id="run", clock=clock)
    with pytest.raises(StorageError) as failure:
        build_all(
            settings=MasterSettings(num_darks=12, num_flats=12),
            place=Place(layout=full.layout, catalogue=full.catalogue, disk=FullDisk(30_000)),
            events=events,
            clock=clock,
        )
    events.close()
    assert failure.value.code is RunCode.DISK_FULL
    assert not [path for path in full.layout.masters.rglob("*") if path.is_file()]
    assert full.catalogue.masters() == []


class StubbornDisk(Disk):
    """A disk on which no master gets its name, and no sidecar goes away."""

    def rename_no_replace(self, source: Path, target: Path) -> None:
        if target.suffix == ".fits" and target.parent.name == "master_frames":
            raise OSError("input/output error")
        super().rename_no_replace(source, target)

    def remove(self, path: Path) -> None:
        if path.suffix == ".json":
            raise OSError("input/output error")
        super().remove(path)


def test_planes_of_a_master_that_failed_go_away_though_its_sidecar_does_not(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 12)
    with pytest.raises(StorageError):
        root.build(disk=StubbornDisk())
    assert not list(root.layout.planes.glob("*"))


def test_processes_build_the_same_masters(full: Root) -> None:
    flat = by_kind(full.build())[FrameKind.FLAT, 1_000_000].path
    assert flat is not None
    threads = read_pixels(flat)
    full.catalogue.remove_masters([row.path for row in full.catalogue.masters()])
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        flat = by_kind(full.build(executor=pool))[FrameKind.FLAT, 1_000_000].path
    assert flat is not None
    np.testing.assert_array_equal(read_pixels(flat), threads)


def test_stop_ends_the_step_and_leaves_nothing_half_done(full: Root) -> None:
    wake = threading.Event()
    wake.set()
    with pytest.raises(RunStopped):
        full.build(wake=wake)
    assert not [path for path in full.layout.masters.rglob("*") if path.is_file()]


def test_planes_are_not_kept_when_they_are_not_wanted(full: Root) -> None:
    assert {o.status for o in full.build(save_planes=False)} == {Outcome.BUILT}
    assert not [path for path in full.layout.planes.rglob("*") if path.is_file()]


def test_planes_that_are_wanted_later_come_though_the_masters_are_there(full: Root) -> None:
    full.build(save_planes=False)
    assert {o.status for o in full.build()} == {Outcome.BUILT}
    assert list(full.layout.masters.rglob("*planes*"))
    assert {o.status for o in full.build()} == {Outcome.KEPT}


def test_masters_that_are_not_wanted_are_not_made(full: Root) -> None:
    assert {o.kind for o in full.build(darks=False, flats=False)} == {FrameKind.BIAS}


def test_minmax_of_too_few_frames_for_a_spread_says_so(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 4)
    assert root.build(num_darks=4, method=Method.MINMAX)[0].status is Outcome.BUILT
    (warned,) = [e for e in root.heard if isinstance(e.what, WarningRaised)]
    assert warned.what.code == "outliers_unseen"
    assert warned.what.detail == (
        "dark 1 s: minmax leaves 2 of 4 samples of each pixel: their spread says little; 5 frames would do"
    )


@pytest.mark.parametrize("method", [Method.SIGMA_CLIP, Method.MAD, Method.WINSORIZED])
def test_a_master_whose_outliers_nobody_sees_is_not_said_to_be_missing(root: Root, method: Method) -> None:
    root.add(FrameKind.DARK, 1.0, 6)
    assert root.build(num_darks=6, method=method)[0].status is Outcome.BUILT
    (warned,) = [e.what for e in root.heard if isinstance(e.what, WarningRaised)]
    seen = f"dark 1 s: {method} sees no outlier among 6 frames while e-/ADU is not known; 10 frames would do"
    assert (warned.code, warned.detail) == ("outliers_unseen", seen)
    said = meaning(warned.code)
    assert "too few" not in said.text
    assert "the master is built and serves" in said.advice


def test_a_master_marked_bad_is_not_built_again_from_the_same_frames(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 12)
    path = root.build()[0].path
    assert path is not None
    (row,) = root.catalogue.masters()
    root.catalogue.add_master(replace(row, status=MasterStatus.BAD))
    assert [(o.status, o.path) for o in root.build()] == [(Outcome.KEPT, path)]
    root.add(FrameKind.FLAT, 1.0, 12, filter="R")
    assert by_kind(root.build())[FrameKind.FLAT, 1_000_000].code == GroupCode.NO_MATCHING_DARK
    root.add(FrameKind.DARK, 1.0, 1)
    assert root.build()[0].status is Outcome.BUILT


def test_bad_frames_are_not_used(root: Root) -> None:
    paths = root.add(FrameKind.DARK, 1.0, 12)
    root.catalogue.set_flag("bad", paths=[root.layout.relative(paths[0])])
    assert root.build()[0].n == 11


def test_statistics_say_what_the_master_is_worth(full: Root) -> None:
    full.build()
    found = {
        row.kind: dict(row.statistics)
        for row in full.catalogue.masters()
        if row.exposure_us != 1000 or row.kind is FrameKind.BIAS
    }
    for kind, statistics in found.items():
        assert statistics["noise_ratio"] == pytest.approx(1.0, abs=0.12), kind
        assert statistics["master_noise_adu"] == pytest.approx(statistics["expected_noise_adu"], rel=0.15)
        assert statistics["verdict"] == "ok", statistics["verdicts"]
        assert len(statistics["percentiles_adu"]) == 7
    assert found[FrameKind.DARK]["hot"] == 1
    assert found[FrameKind.FLAT]["dead"] == 1
    assert found[FrameKind.FLAT]["corner_centre_ratio"] == pytest.approx(0.935, abs=0.02)
    json.dumps([members(event.what) for event in full.heard], allow_nan=False)


def test_foreign_frames_of_a_folder_become_masters(root: Root) -> None:
    root.add(FrameKind.DARK, 1.0, 12)
    rows = root.catalogue.frames()
    root.catalogue.remove_frames([row.path for row in rows])
    root.catalogue.add_frames([replace(row, origin=Origin.FOREIGN, level_adu=None) for row in rows])
    assert root.build(num_darks=40)[0].status is Outcome.BUILT


def test_flats_taken_across_noon_are_one_master(root: Root) -> None:
    """A set that began before noon got a second master when the night's label changed in the middle of it."""
    root.add(FrameKind.DARK, 2.0, 6)
    root.add(FrameKind.FLAT, 2.0, 3, filter="L", set_id="s", night="2026-01-01")
    root.add(FrameKind.FLAT, 2.0, 3, filter="L", set_id="s", night="2026-01-02")
    flats = [o for o in root.build(num_darks=6, num_flats=6) if o.kind is FrameKind.FLAT]
    assert [(o.status, o.n) for o in flats] == [(Outcome.BUILT, 6)]


class DyingDisk(Disk):
    """A disk on which the process dies before its n-th renaming: nothing after it is done, not even tidying up."""

    def __init__(self, renamings: int) -> None:
        self.left = renamings

    def rename_no_replace(self, source: Path, target: Path) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed
        super().rename_no_replace(source, target)

    def remove(self, path: Path) -> None:
        if self.left >= 0:
            super().remove(path)


class Killed(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("renamings", range(7))
def test_a_master_whose_sidecar_is_written_survives_a_kill_and_leaves_nothing_lying_about(
    tmp_path: Path, renamings: int
) -> None:
    root = Root(tmp_path)
    root.add(FrameKind.DARK, 1.0, 12)
    root.add(FrameKind.DARK, 2.0, 12)
    events = Events(run_id="run", clock=ManualClock(START))
    told = {"settings": MasterSettings(num_darks=12), "events": events, "clock": ManualClock(START)}
    dying = Place(layout=root.layout, catalogue=root.catalogue, disk=DyingDisk(renamings))
    if renamings < 6:  # sidecar, planes, master; twice
        with pytest.raises(Killed):
            build_all(place=dying, **told)  # type: ignore[arg-type]
    else:
        build_all(place=dying, **told)  # type: ignore[arg-type]
    root.catalogue.close()
    with open_catalogue(root.layout) as catalogue:
        adopt(catalogue, root.layout)
        there = catalogue.masters()
        assert len(there) == (renamings + 2) // 3
        for row in there:
            path = root.layout.absolute(row.path)
            assert pixel_hash(read_pixels(path)) == row.pixel_sha256
            assert root.layout.planes_path(path).is_file()
        files = [path for path in root.layout.masters.rglob("*") if path.is_file()]
        assert len(files) == 3 * len(there)
        build_all(place=Place(layout=root.layout, catalogue=catalogue), **told)  # type: ignore[arg-type]
        assert len(catalogue.masters()) == 2
        assert not list(root.layout.masters.rglob("*_2.fits"))
