"""Analyses of structures: of folders of flats and darks, and what they refuse and leave out."""

import csv
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from calibration.frames import FrameKind
from services.cli.failures import run_app
from services.cli.main import app
from services.errors import Usage
from services.models.gathering import gather
from services.models.structure import bands as structure_bands
from services.models.structure.epochs import days_of, epochs_of
from services.models.structure.model import OUTGASSING, STRUCTURE, Asked, fit
from services.models.structure.report import report
from tests.support.made_structures import Sensor, donut, dust, scratch
from tests.support.structure_frames import write_epoch, write_series

DONUT, SCRATCH = {"donut": donut(20, 20, 0.05, 7)}, {"scratch": scratch(40, 30, 24, 30, 0.08)}
GHOST, OLD = {"ghost": dust(15, 70, -0.03, 5)}, {"old": dust(45, 75, 0.06, 3)}
NIGHTS = [OLD, {**OLD, **DONUT}, {**OLD, **DONUT, **SCRATCH}, {**DONUT, **SCRATCH, **GHOST}, {**DONUT, **SCRATCH}]
DATES = ["2026-03-01", "2026-03-11", "2026-03-21", "2026-03-31", "2026-04-10"]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    sensor = Sensor(3, (64, 96))
    more = np.zeros(sensor.shape)
    more[10:12, 50:53] = 60.0
    write_series(folder, sensor, NIGHTS, temperatures=(-10.0, 0.0), dark={2: more})
    return folder


def _rows(found: Any, frames: str = "flat", analysis: str = "analysis_by_temperature") -> dict[str, dict[str, Any]]:
    rows = [r for r in found.sidecar["structures"] if (r["frames"], r["analysis"]) == (frames, analysis)]
    named = {row["kind"]: row for row in rows}
    assert len(named) == len(rows), rows
    return named


def test_what_came_and_went_is_found_named_and_dated(series: Path, tmp_path: Path) -> None:
    (found,) = fit(series, tmp_path, Asked(analyses=OUTGASSING, reduce=True))
    for analysis in OUTGASSING:
        rows = _rows(found, analysis=analysis)
        assert {kind: (r["born"][:10], r["gone"][:10]) for kind, r in rows.items()} == {
            "dust (donut)": (DATES[1], ""),
            "scratch": (DATES[2], ""),
            "ghost": (DATES[3], DATES[4]),
            "dust (disc)": ("", DATES[3]),
        }
    (hot,) = _rows(found, frames="dark").values()
    assert (hot["kind"], hot["area"], hot["born"][:10]) == ("hot cluster", 6, DATES[2])
    assert hot["depth"] == pytest.approx(60 * 10 * 0.25 * 16, rel=0.05)
    with (tmp_path / "analysis_flats.csv").open(encoding="utf-8") as file:
        flats = list(csv.DictReader(file))
    assert len(flats) == 2 * 40
    assert list(flats[0]) == [
        "analysis_type", "approx_temp", "file_path", "time_header", "n_outliers", "std_diff", "mean_flat", "std_flat",
    ]  # fmt: skip
    with (tmp_path / "analysis_outliers.csv").open(encoding="utf-8") as file:
        pixels = list(csv.DictReader(file))
    assert {row["classification"] for row in pixels} == {"Sensor Damage"}  # both temperatures show each of them
    assert len({row["pixel"] for row in pixels}) == len(pixels)
    numbers = fits.getdata(tmp_path / "structures.fits", "STRUCT")
    first = [r for r in found.sidecar["structures"] if r["frames"] == "flat" and r["analysis"] == OUTGASSING[0]]
    assert int((numbers > 0).sum()) == sum(row["area"] for row in first) <= len(pixels)
    assert len(Table.read(tmp_path / "structures.ecsv")) == len(found.sidecar["structures"])
    assert (tmp_path / "suspicious_bias.log").read_text(encoding="utf-8") == ""


def test_a_sensor_that_did_not_change_shows_nothing_whatever_its_lamp_does(tmp_path: Path) -> None:
    write_series(tmp_path / "B", Sensor(5), [{}] * 3, lights=(450, 430, 480))
    for asked in (Asked(analyses=STRUCTURE), Asked(analyses=OUTGASSING, reduce=True)):
        (found,) = fit(tmp_path / "B", tmp_path / f"out{asked.reduce}", asked)
        assert found.sidecar["structures"] == []
    report(tmp_path / "outTrue", tmp_path / "report")
    assert "Nothing has changed" in (tmp_path / "report/report.html").read_text(encoding="utf-8")


def test_a_hot_cluster_in_flats_that_are_not_reduced_is_no_ghost(tmp_path: Path) -> None:
    sensor = Sensor(7)
    more = np.zeros(sensor.shape)
    more[10:13, 20:23] = 100.0
    for night, extra in enumerate((0.0, more)):
        sensor.dark = sensor.dark + extra
        write_epoch(tmp_path / "B", FrameKind.FLAT, sensor.frames(4), night=night)
        write_epoch(tmp_path / "B", FrameKind.DARK, sensor.darks(4), night=night)
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked())
    assert [row["kind"] for row in found.sidecar["structures"]] == ["hot cluster", "hot cluster"]
    (reduced,) = fit(tmp_path / "B", tmp_path / "out", Asked(reduce=True))
    assert [row["frames"] for row in reduced.sidecar["structures"]] == ["dark"]
    assert not (tmp_path / "out/flats_norm").exists() or not any((tmp_path / "out/flats_norm").iterdir())


def test_pixels_that_became_hot_after_the_darks_are_charge_and_no_response(tmp_path: Path) -> None:
    sensor = Sensor(7)
    sensor.dark[12, 16] = 1e5  # full in each flat: its mean is not known
    for night in range(2):
        sensor.dark[10, 20] += 200.0 * night
        sensor.dark[30:32, 40:42] += 200.0 * night
        sensor.dark[14, 16] += 30.0 * night  # a twentieth of the light: a response may be so
        write_epoch(tmp_path / "B", FrameKind.FLAT, sensor.frames(4), night=night)
        if not night:
            write_epoch(tmp_path / "B", FrameKind.DARK, sensor.darks(4), night=night)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = fit(tmp_path / "B", tmp_path / "out", Asked(reduce=True))
    kinds = {(row["kind"], row["area"]) for row in found.sidecar["structures"]}
    assert kinds == {("hot pixel", 1), ("hot cluster", 4), ("response", 1)}
    assert [note for note in found.sidecar["notes"] if "hot pixel" in note and "other times" in note]


def test_bands_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = tmp_path / "B"
    write_series(series, Sensor(3, (64, 96)), [NIGHTS[0], NIGHTS[3]], calibration=False)
    (whole,) = fit(series, tmp_path / "whole", Asked())
    monkeypatch.setattr(structure_bands, "rows_for", lambda **_: 10)
    (bands,) = fit(series, tmp_path / "bands", Asked())
    assert json.dumps(bands.sidecar["structures"]) == json.dumps(whole.sidecar["structures"])


def test_what_came_is_dated_however_many_nights_there_are(tmp_path: Path) -> None:
    sensor, nights = Sensor(12), 65
    for night in range(nights):
        for exposure, light in ((10.0, 450.0), (5.0, 900.0)):
            changes = [dust(20, 30, 0.1, 3)] if night >= 40 else []
            frames = sensor.frames(1, exposure_s=exposure, light=light, changes=changes)
            write_epoch(tmp_path / "B", FrameKind.FLAT, frames, night=night, exposure_s=exposure)
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked())
    assert len(found.sidecar["comparisons"]) == 2 * -(-nights // 2) - 1  # both exposures have one level
    rows = found.sidecar["structures"]
    assert [(row["kind"], row["gone"]) for row in rows] == [("dust (disc)", "")]
    days = {row["time"][:10] for row in found.sidecar["inputs"]}
    assert sorted(days).index(rows[0]["born"][:10]) == 40
    assert any("up to 2 neighbouring" in note for note in found.sidecar["notes"])


@pytest.mark.parametrize("way", ["exposures", "temperatures"])
def test_a_hot_pixel_is_dated_by_darks_of_several_exposures_and_temperatures(way: str, tmp_path: Path) -> None:
    sensor, more = Sensor(14), np.zeros((48, 64))
    more[10, 20] = 300.0
    cold = sensor.dark
    for night in range(8):
        write_epoch(tmp_path / "B", FrameKind.FLAT, sensor.frames(2), night=night)
        exposure, celsius = (10.0 if night % 2 else 2.0, 0.0) if way == "exposures" else (10.0, 15.0 * (night % 2))
        sensor.dark = (cold + more * (night >= 3)) * (4.0 if celsius else 1.0)
        darks = sensor.darks(4, exposure_s=exposure)
        write_epoch(tmp_path / "B", FrameKind.DARK, darks, night=night, celsius=celsius, exposure_s=exposure)
        sensor.dark = cold
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked())
    (hot,) = _rows(found, frames="dark").values()
    nights = sorted({row["time"][:10] for row in found.sidecar["inputs"] if row["kind"] == "DARK"})
    assert (hot["kind"], nights.index(hot["born"][:10]), hot["gone"]) == ("hot pixel", 3, "")


def test_saturated_flats_and_those_without_light_are_left_out_with_the_reason(tmp_path: Path) -> None:
    sensor = Sensor(8)
    for night in range(2):
        write_epoch(tmp_path / "B", FrameKind.FLAT, sensor.frames(3), night=night)
        write_epoch(tmp_path / "B", FrameKind.BIAS, sensor.darks(3, exposure_s=0), night=night, exposure_s=0)
    write_epoch(tmp_path / "B", FrameKind.FLAT, sensor.frames(3, light=4000.0), night=2)
    write_epoch(tmp_path / "B", FrameKind.FLAT, sensor.frames(3), night=3, celsius=20.0)
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked(reduce=True))
    reasons = [row["reason"] for row in found.sidecar["left_out"]]
    assert sum("satur" in reason or "level" in reason or "same value" in reason for reason in reasons) == 3
    assert sum("no bias or dark" in reason for reason in reasons) == 3
    assert found.sidecar["structures"] == []


def test_flats_of_one_time_cannot_be_compared(tmp_path: Path) -> None:
    sensor = Sensor(9)
    write_epoch(tmp_path / "B", FrameKind.FLAT, sensor.frames(3), night=0)
    with pytest.raises(Usage, match="nothing can be compared"):
        fit(tmp_path / "B", tmp_path / "out", Asked())
    write_epoch(tmp_path / "B", FrameKind.FLAT, sensor.frames(3), night=1)
    with pytest.raises(Usage, match="no biases or darks"):
        fit(tmp_path / "B", tmp_path / "out", Asked(reduce=True))
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked())
    assert found.sidecar["structures"] == []


def test_flats_of_other_exposures_are_compared_when_they_are_reduced(tmp_path: Path) -> None:
    sensor = Sensor(10)
    for night, (exposure, light) in enumerate(((10.0, 450.0), (5.0, 600.0), (20.0, 330.0))):
        frames = sensor.frames(4, exposure_s=exposure, light=light)
        write_epoch(tmp_path / "B", FrameKind.FLAT, frames, night=night, exposure_s=exposure)
    write_epoch(tmp_path / "B", FrameKind.BIAS, sensor.darks(9, exposure_s=0), night=0, exposure_s=0)
    write_epoch(tmp_path / "B", FrameKind.DARK, sensor.darks(9), night=0)
    with pytest.raises(Usage, match="of 5 s, 10 s, 20 s, have no two epochs of one condition"):
        fit(tmp_path / "B", tmp_path / "out", Asked())
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked(reduce=True))
    assert len([row for row in found.sidecar["comparisons"] if row["frames"] == "flat"]) == 2
    assert found.sidecar["structures"] == []


def test_settings_of_one_epoch_are_named_in_a_note_of_the_others(tmp_path: Path) -> None:
    sensor = Sensor(15)
    for night, name in enumerate(("", "", "wide")):
        shape = Sensor(16, (40, 64)) if name else sensor
        write_epoch(tmp_path / "B", FrameKind.FLAT, shape.frames(3), night=night)
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked())
    words = "the 3 flats of 2-64x40-bin1 have no two epochs that can be compared"
    assert [note for note in found.sidecar["notes"] if words in note], found.sidecar["notes"]
    said = json.loads((found.folder / "structures.json").read_text(encoding="utf-8"))
    assert said["notes"] == found.sidecar["notes"]


def test_flats_of_other_exposures_and_one_level_are_compared_as_they_are_with_a_note(tmp_path: Path) -> None:
    sensor = Sensor(10)
    for night, exposure in enumerate((10.0, 5.0, 20.0)):
        changes = [dust(20, 30, 0.06, 3)] if night else []
        frames = sensor.frames(4, exposure_s=exposure, light=4500 / exposure, changes=changes)
        write_epoch(tmp_path / "B", FrameKind.FLAT, frames, night=night, exposure_s=exposure)
    write_epoch(tmp_path / "B", FrameKind.FLAT, sensor.frames(4, exposure_s=2.0), night=3, exposure_s=2.0)
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked())
    assert len(found.sidecar["comparisons"]) == 2
    assert [(row["kind"], row["born"][:10]) for row in found.sidecar["structures"]] == [("dust (disc)", DATES[1])]
    notes = " ".join(found.sidecar["notes"])
    assert "flats of 5 s, 10 s, 20 s are compared as they are" in notes
    assert "flats of 2 s, 10 s are not compared with each other" in notes
    assert "1 epoch of flats, which no comparison has: 0.0 °C, 2 s, 2026-03-31" in notes


def test_hot_pixels_of_longer_exposures_are_no_structures(tmp_path: Path) -> None:
    sensor = Sensor(14)
    sensor.dark[5:40:7, 5:60:9] = 90.0  # electrons per second: a fifth of the light, four times as long two thirds
    for night, exposure in enumerate((5.0, 10.0, 20.0)):
        frames = sensor.frames(4, exposure_s=exposure, light=4500 / exposure)
        write_epoch(tmp_path / "B", FrameKind.FLAT, frames, night=night, exposure_s=exposure)
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked())
    assert len(found.sidecar["comparisons"]) == 2
    assert found.sidecar["structures"] == []


@pytest.mark.parametrize(
    ("lights", "words"), [((1.0, 0.98, 0.961, 0.94, 0.92), ["falls by 8"]), ((1.0, 0.97, 1.02, 1.01, 0.98), [])]
)
def test_light_that_fades_evenly_is_seen_over_the_exposures(tmp_path: Path, lights: tuple[float, ...], words) -> None:
    sensor = Sensor(10)
    for night, light in enumerate(lights):
        exposure = 10.0 / light  # automatic exposure: the level stays
        frames = sensor.frames(3, exposure_s=exposure, light=450 * light)
        write_epoch(tmp_path / "B", FrameKind.FLAT, frames, night=night, exposure_s=exposure)
    write_epoch(tmp_path / "B", FrameKind.BIAS, sensor.darks(5, exposure_s=0), night=0, exposure_s=0)
    write_epoch(tmp_path / "B", FrameKind.DARK, sensor.darks(5), night=0)
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked(reduce=True))
    notes = [note for note in found.sidecar["notes"] if "the lamp may" in note]
    assert len(notes) == len(words)
    assert all(each in note for each, note in zip(words, notes, strict=True)), notes


def test_what_is_no_analysis_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="is no analysis") as refused:
        report(tmp_path, tmp_path / "report", command="outgassing")
    assert "`nightcal model outgassing fit`" in refused.value.advice
    (tmp_path / "gain_1").mkdir()
    (tmp_path / "gain_1/structures.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Usage, match="is no analysis") as refused:
        report(tmp_path, tmp_path / "report")
    assert str(tmp_path / "gain_1") in refused.value.advice
    (tmp_path / "structures.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Usage, match="damaged"):
        report(tmp_path, tmp_path / "report")


def test_flats_without_a_date_have_the_order_of_their_cameras_clock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sensor = Sensor(12)
    for night, changes in enumerate(([], [dust(20, 30, 0.06, 3)])):
        frames = sensor.frames(3, changes=changes)
        for path in write_epoch(tmp_path / "B", FrameKind.FLAT, frames, night=night, dated=False):
            with fits.open(path, mode="update") as units:
                units[0].header["HIERARCH TIMESTAMP"] = 5000.0 - 1000 * night
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked())
    (row,) = found.sidecar["structures"]
    assert (row["last_seen"], row["gone"]) == ("4000 s", "5000 s")  # the later night has the earlier clock
    assert any("diffmap_5000-s" in str(path) for path in report(tmp_path / "out", tmp_path / "report"))
    assert "5000 s (clock)" in (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert run_app(app, ["model", "structure", "fit", str(tmp_path / "B"), str(tmp_path / "out")], name="nightcal") == 0
    assert "gone at 5000 s of the camera's clock" in capsys.readouterr().out


def test_many_attempts_without_dates_are_joined_in_the_order_of_their_cameras_clock(tmp_path: Path) -> None:
    sensor, nights = Sensor(15, (16, 24)), 130
    clocks = np.random.default_rng(15).permutation(nights) * 100.0
    for night in range(nights):
        (path,) = write_epoch(tmp_path / "B", FrameKind.FLAT, sensor.frames(1), night=night, dated=False)
        with fits.open(path, mode="update") as units:
            units[0].header["HIERARCH TIMESTAMP"] = float(clocks[night])
    (found,) = gather(tmp_path / "B", tmp_path / "out", FrameKind.FLAT)
    days = np.array([days_of(member) for member in found.members])
    epochs = epochs_of(found.members, lambda member: member.label_c)
    assert len(epochs) == nights / 2
    assert all(np.ptp(days[list(each)]) * 86400 == pytest.approx(100.0) for each in epochs)


def test_a_shadow_that_moved_is_a_ghost_at_two_places(tmp_path: Path) -> None:
    here, there = dust(20, 25, 0.05, 4), dust(40, 70, 0.05, 4)
    nights: list[dict[str, Any]] = [{}, {"it": here}, {"it": there}]
    write_series(tmp_path / "B", Sensor(13, (64, 96)), nights, calibration=False)
    (found,) = fit(tmp_path / "B", tmp_path / "out", Asked())
    old, new = sorted(found.sidecar["structures"], key=lambda row: row["born"])
    assert (old["kind"], new["kind"]) == ("ghost", "ghost")
    assert (old["moved_to"], new["moved_from"]) == (new["structure"], old["structure"])
    assert (old["moved_from"], new["moved_to"]) == (0, 0)
    assert old["gone"] == new["born"] != ""
