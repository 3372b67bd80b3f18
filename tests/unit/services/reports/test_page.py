"""The page: what happened comes first, texts are escaped, nothing is loaded, pictures of lost files are left out."""

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from drivers.clock import ManualClock
from services.catalogue.rows import Mark
from services.events.decoder import KINDS
from services.events.devices import CoolingChanged, DetectorMeasured, DeviceConnected, DeviceGone
from services.events.records import (
    FlatExposureAdjusted,
    FlatSettled,
    MasterBuilt,
    MasterRefused,
    StorageLow,
    WarningRaised,
)
from services.reports.columns import MASTERS, SETS
from services.reports.night import build_report
from services.reports.order import in_order, without_twins
from services.reports.page import render, write_report
from services.reports.summary import headline
from services.words import title
from tests.support.page_reader import Reader
from tests.support.recorded_night import BIAS_SET, FLAT_SET, RUN, RecordedNight, recorded_night
from tests.support.zones import in_zone, zones_only

HOSTILE = '<script>alert("x")</script><img src=//evil.example/x onerror=a()>&amp;\'"'


@pytest.fixture
def night(tmp_path: Path):
    with recorded_night(tmp_path) as made:
        yield made


def page_of(night: RecordedNight) -> tuple[str, Reader]:
    page = render(build_report(night.layout, night.catalogue, night.run_id), night.layout)
    return page, Reader(page)


def a_good_night(night: RecordedNight) -> None:
    night.start(settings={"flat_capture": {"count_tolerance": 0.1}})
    night.emit(DetectorMeasured, bias_adu=500.0, saturation_adu=65535.0, k_adu_e=2.0, gain=26)
    night.begin(BIAS_SET, "s1", wanted=3)
    night.emit(CoolingChanged, ccd_temp_c=10.0, set_point_c=8.0, target_c=-10.0, cooler_power_pct=60.0)
    for number in (1, 2, 3):
        night.take(BIAS_SET, "s1", number)
    night.end(BIAS_SET, "s1", accepted=3)
    step = {"filter": "Ha", "exposure_us": 2_000_000, "panel_brightness": 20, "level_adu": 31_000}
    night.emit(FlatExposureAdjusted, **step, target_adu=30_500, attempt=1)
    night.emit(FlatSettled, **step, attempts=1)
    night.begin(FLAT_SET, "s2", wanted=2)
    night.take(FLAT_SET, "s2", 1, 30_000)
    night.take(FLAT_SET, "s2", 2, 30_500)
    night.end(FLAT_SET, "s2", accepted=2)
    night.master()
    night.finish(detail="5 frames taken")


def test_a_good_night_says_so_first_and_shows_everything(night):
    a_good_night(night)
    page, read = page_of(night)
    assert read.text.index("All done") < read.text.index("Sets") < read.text.index("Masters")
    assert read.tags.count("svg") >= 2 + 2 + 2, "temperature and power, a curve a set, histograms"
    assert read.tags.count("img") == 3, "a frame and the master of the biases, a flat that has no master"
    assert "Ha" in read.text
    assert len(page) < 1_000_000


def test_every_column_says_what_it_means(night):
    a_good_night(night)
    _, read = page_of(night)
    assert read.tags.count("abbr") == len(SETS) - 1 + len(MASTERS), "all but the gain, which is one"
    told = {value for name, value in read.attributes if name == "title"}
    assert {column.meaning for column in (*SETS, *MASTERS)} - told == {"the camera's gain setting"}
    assert read.text.count("What the columns mean") == 2


def test_darks_stand_in_the_order_of_their_exposures():
    darks = [{"kind": "DARK", "exposure_us": us} for us in (5_000_000, 2_500_000, None, 10_000_000)]
    flats = [{"kind": "FLAT", "filter": name, "exposure_us": 1} for name in ("L", "Ha", "B")]
    shown = in_order([*flats[:2], *darks, {"kind": "BIAS"}, {"kind": None}, flats[2]])
    assert [(r["kind"], r.get("filter"), r.get("exposure_us")) for r in shown] == [
        ("BIAS", None, None),
        *[("DARK", None, us) for us in (None, 2_500_000, 5_000_000, 10_000_000)],
        *[("FLAT", name, 1) for name in ("L", "Ha", "B")],
        (None, None, None),
    ]


def test_the_bias_and_the_dark_of_its_exposure_are_one_row(night):
    night.start()
    facts = {"exposure_us": 1000, "gain": 26, "n": 40, "statistics": {"median_adu": 537.8}, "rejected": 3}
    others = {**facts, "exposure_us": 5_000_000}
    for kind, told in (("DARK", others), ("DARK", facts), ("BIAS", facts)):
        night.emit(MasterBuilt, kind=kind, path=f"master_frames/{kind}.fits", status="built", **told)
    night.finish()
    report = build_report(night.layout, night.catalogue, RUN)
    assert len(report.masters) == 3, "the JSON tells of each file"
    assert [title(m) for m in without_twins(in_order(report.masters))] == ["Bias = Dark 0.001\u00a0s", "Dark 5\u00a0s"]
    _, read = page_of(night)
    assert "Bias = Dark 0.001\u00a0s" in read.text


def test_the_page_needs_nothing_but_itself(night):
    a_good_night(night)
    page, read = page_of(night)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(read.tags)
    sources = [value for name, value in read.attributes if name in {"src", "href"}]
    assert sources
    assert all(value.startswith("data:image/jpeg;base64,") for value in sources)
    assert not re.search(r"url\(|@import|https?://", page)
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert [value for _, value in read.attributes if value and value.startswith("default-src 'none';")]


def test_texts_from_outside_never_become_markup(night):
    night.start(config=HOSTILE, software=HOSTILE, settings={HOSTILE: HOSTILE}, night=HOSTILE)
    group = {**FLAT_SET, "filter": HOSTILE}
    night.emit(DeviceConnected, device=HOSTILE, device_name=HOSTILE, unique_id=HOSTILE)
    night.begin(group, HOSTILE, wanted=2)
    night.emit(FlatExposureAdjusted, filter=HOSTILE, exposure_us=1, level_adu=2, target_adu=3)
    night.refuse(group, HOSTILE, HOSTILE, path=HOSTILE, detail=HOSTILE)
    night.emit(WarningRaised, code=HOSTILE, detail=HOSTILE)
    night.emit(DeviceGone, device=HOSTILE, detail=HOSTILE)
    night.emit(MasterRefused, kind=HOSTILE, filter=HOSTILE, exposure_us=HOSTILE, code=HOSTILE, detail=HOSTILE)
    night.finish(exit_code=3, code=HOSTILE, detail=HOSTILE)
    page, read = page_of(night)
    assert not {"script", "img"} & set(read.tags)
    assert "<script" not in page
    assert 'alert("x")' in read.text


def test_a_lamp_that_stays_on_is_the_first_thing_to_do_whatever_else_happened(night: RecordedNight):
    night.start()
    night.emit(WarningRaised, code="left_unsafe", detail="flat panel: the lamp is still on (calibrator ready)")
    night.finish(exit_code=4, code="unsafe", detail="flat panel: the lamp is still on; the safety monitor says unsafe")
    report = build_report(night.layout, night.catalogue, night.run_id)
    assert headline(report).advice[:2] == (
        "Go and see: flat panel: the lamp is still on (calibrator ready).",
        "Run again when it is safe: what is stored is kept.",
    )


def test_long_reasons_stand_below_their_row_and_advice_is_given_once(night: RecordedNight):
    long = "no dark of 2.239 s: " + ", ".join(f"dark_20260101_180000_{i:03}.fits was left out" for i in range(9))
    night.start()
    night.emit(
        MasterRefused, kind="FLAT", filter="Ha", exposure_us=2_239_000, code="no_matching_dark", detail=long, n=12
    )
    night.emit(WarningRaised, code="light_frame", detail="flats/x.fits: it is a light frame", paths=("flats/x.fits",))
    night.finish()
    page, read = page_of(night)
    (below,) = re.findall(r'<tr class="reasons"><td colspan="(\d+)">(.*?)</td></tr>', page)
    assert (int(below[0]), long in below[1], page.count(long)) == (len(MASTERS), True, 1)
    assert read.text.count("into IMAGETYP where they are none") == 1


@pytest.mark.parametrize(
    ("exit_code", "code", "look", "said", "advised"),
    [
        (0, None, "ok", "All done", ""),
        (1, None, "warn", "not everything is there", ""),
        (5, "disk_full", "bad", "the disk is full", "Make room"),
        (4, "unsafe", "bad", "the safety monitor said unsafe", "Run again when it is safe"),
        (130, "interrupted", "bad", "Stopped by the user", "Run the same command again"),
        (None, None, "bad", "No end was recorded", "Run the same command again"),
    ],
)
def test_the_headline_says_why_it_ended_and_what_to_do(night, exit_code, code, look, said, advised):
    night.start()
    if exit_code is not None:
        night.finish(exit_code=exit_code, code=code)
    head = headline(build_report(night.layout, night.catalogue, RUN))
    assert head.look == look
    assert said in head.text
    assert advised in " ".join(head.advice)


def test_failed_sets_tell_what_to_do_once_a_reason(night):
    night.start()
    for name in ("L", "Ha"):
        night.end({**FLAT_SET, "filter": name}, name, accepted=0, code="too_bright")
    night.finish(exit_code=1)
    head = headline(build_report(night.layout, night.catalogue, RUN))
    (line,) = head.advice
    assert line.startswith("Flat L, Flat Ha: the light is too bright")
    assert "dim the panel" in line


def test_refused_frames_are_shown_with_what_was_measured(night):
    night.start()
    night.begin(BIAS_SET, "s1", wanted=2)
    kept = night.take(BIAS_SET, "s1", 1)
    night.refuse(BIAS_SET, "s1", "light_leak", path=night.layout.relative(kept))
    night.refuse(BIAS_SET, "s1", "light_leak", path="refused/gone.fits")
    _, read = page_of(night)
    assert "light falls on a dark frame (71.50, limit 10.00)" in read.text
    assert "2× light falls on a dark frame" in read.text
    assert read.tags.count("img") == 2, "the refused frame that is there, and the set's first"


def test_rejected_frames_have_a_place_of_their_own_with_what_was_built_anew(night):
    night.start()
    night.begin(BIAS_SET, "s1", wanted=3)
    paths = [night.layout.relative(night.take(BIAS_SET, "s1", n)) for n in (1, 2, 3)]
    spoilt = night.master()
    night.end(BIAS_SET, "s1", accepted=3)
    night.finish()
    page, _ = page_of(night)
    assert "Rejected frames" not in page, "an ordinary night has none"
    row = night.catalogue.frame(paths[1])
    night.catalogue.put_mark(Mark(row.pixel_sha256, row.path, "a <b>satellite</b>", night.clock.now()))
    with recorded_night(night.layout.root, run_id="20260102T180000-0001") as later:
        later.clock.advance(86_400)
        later.start()
        anew = later.master()
        later.finish()
        (found,) = build_report(later.layout, later.catalogue, later.run_id).rejected
        _, read = page_of(later)
    assert (found["path"], found["reason"], found["set_id"]) == (paths[1], "a <b>satellite</b>", "s1")
    assert (found["spoilt"], found["anew"]) == ([f"master_frames/{spoilt.name}"], [f"master_frames/{anew.name}"])
    shown = read.text[read.text.index("Rejected frames") :]
    for said in ("a <b>satellite</b>", spoilt.name, "suspect because of it", anew.name, "built anew without it"):
        assert said in shown
    _, read = page_of(night)  # the report of the night in which it was taken, made again
    assert "1 rejected" in read.text
    assert "suspect because of it" in read.text
    assert anew.name not in read.text
    with recorded_night(night.layout.root, run_id="20260103T180000-0001") as other:
        other.start()
        assert not build_report(other.layout, other.catalogue, other.run_id).rejected, "another night"


@zones_only
def test_local_time_stands_beside_utc_over_a_change_of_the_clocks(night):
    night.clock = ManualClock(datetime(2026, 10, 25, 0, 58, tzinfo=UTC))
    night.start()
    night.emit(WarningRaised, code="clock_jump")
    night.clock.advance(3600)
    night.emit(WarningRaised, code="clock_jump")
    night.finish()
    with in_zone("Europe/Berlin"):
        _, read = page_of(night)
    assert (
        "2026-10-25 00:58:01 UTC (2026-10-25 02:58:01 CEST) to 2026-10-25 01:58:04 UTC (2026-10-25 02:58:04 CET)"
        in (read.text)
    )
    for said in ("00:58:02", "02:58:02 CEST", "01:58:03", "02:58:03 CET"):
        assert said in read.texts
    with in_zone("UTC0"):
        _, read = page_of(night)
    assert "2026-10-25 00:58:01 UTC to 2026-10-25 01:58:04 UTC ·" in read.text


def test_a_page_is_made_when_all_files_are_gone(night):
    a_good_night(night)
    for path in night.layout.root.rglob("*.fits"):
        path.write_bytes(b"no FITS") if "bias" in path.name else path.unlink()
    _, html = write_report(night.layout, night.catalogue, RUN)
    read = Reader(html.read_text(encoding="utf-8"))
    assert "img" not in read.tags
    assert read.text.count("no picture") == 3


def test_a_page_is_made_of_events_that_lack_what_they_should_have(night):
    night.start()
    for kind in KINDS.values():
        night.emit(kind)
        night.emit(kind, set_id="s1", kind=None, exposure_us=None, level_adu=None, statistics=None, codes=None)
    page_of(night)


def test_little_room_is_told_with_what_is_needed_and_what_is_to_be_left(night):
    night.start()
    night.emit(StorageLow, free_mb=0.96, needed_mb=640.2, floor_mb=1)
    _, read = page_of(night)
    assert "storage is low: 0.960 MB free, 640 MB needed, 1.00 MB to be left" in read.text.replace("\u00a0", " ")


def test_an_empty_run_has_a_page(night):
    _, read = page_of(night)
    assert "No end was recorded" in read.text


def test_a_pattern_of_a_master_is_shown_with_its_spectrum(night):
    a_good_night(night)
    y, x = np.indices((64, 80))
    wavy = night.layout.masters / "wavy.fits"
    fits.writeto(wavy, (1.5 * np.sin(2 * np.pi * (x + y) / 8)).astype(np.float32))
    found = {"pattern_amplitude_adu": 1.5, "pattern_period_px": 5.66, "warm": 12, "hot": 3}
    facts = {"exposure_us": 1000, "gain": 26, "n": 40, "rejected": 3, "status": "built"}
    night.emit(MasterBuilt, kind="BIAS", path="master_frames/wavy.fits", statistics=found, **facts)
    page, read = page_of(night)
    assert "1.5\u00a0ADU, period 5.7\u00a0px" in read.text
    assert 'alt="spectrum"' in page
    assert "Warm 12" in re.sub(r"\s+", " ", read.text)


def test_what_was_subtracted_from_flats_is_shown(night):
    a_good_night(night)
    found = {"dark": "master_dark_2.000s.fits (its own exposure)", "dark_error": 0.00012, "low_response": 7}
    facts = {"exposure_us": 2_000_000, "gain": 26, "n": 40, "rejected": 3, "status": "built", "filter": "R"}
    night.emit(MasterBuilt, kind="FLAT", path="master_frames/flat.fits", statistics=found, **facts)
    _, read = page_of(night)
    text = re.sub(r"\s+", " ", read.text)
    assert "Subtracted master_dark_2.000s.fits (its own exposure) Predicted error of it 0.012 %" in text
    assert "Pixels of low response 7" in text
    assert "Periodic pattern –" in text
