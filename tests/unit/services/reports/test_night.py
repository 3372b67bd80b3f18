"""The report as data: what was planned, there, taken and refused; also of runs that ended badly."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drivers.clock import ManualClock
from services.events.records import GroupFinished, MasterRefused, RunProgress, StepFinished
from services.reports.night import build_report
from services.reports.page import render, write_report
from tests.support.recorded_night import BIAS_SET, FLAT_SET, RUN, RecordedNight, recorded_night


@pytest.fixture
def night(tmp_path: Path):
    with recorded_night(tmp_path) as made:
        yield made


def report_of(night: RecordedNight):
    return build_report(night.layout, night.catalogue, RUN)


def document_of(night: RecordedNight) -> dict:
    json_path, _ = write_report(night.layout, night.catalogue, RUN)
    return json.loads(json_path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_a_set_tells_what_was_wanted_taken_and_refused(night):
    night.start()
    night.begin(FLAT_SET, "s1", wanted=3)
    for number, level in enumerate((30_000, 30_300, 29_700), 1):
        night.take(FLAT_SET, "s1", number, level)
    night.refuse(FLAT_SET, "s1", "level_off", "noise_off")
    night.refuse(FLAT_SET, "s1", "level_off")
    night.end(FLAT_SET, "s1", accepted=3)
    night.finish()
    (group,) = document_of(night)["groups"]
    assert (group["wanted"], group["have"], group["taken"], group["accepted"]) == (3, 0, 3, 3)
    assert group["refusals"] == {"level_off": 2, "noise_off": 1}
    assert group["refused"] == 2
    assert group["status"] == "complete"
    assert group["level_mean_adu"] == pytest.approx(30_000)
    assert group["level_spread_pct"] == pytest.approx(1.0)
    assert (group["temp_min_c"], group["temp_max_c"]) == (-10.0, -9.9)


def test_a_resumed_set_counts_what_was_there(night):
    night.take(BIAS_SET, "s1", 1)  # by an earlier run: its event is not in this journal
    night.layout.events(RUN).write_text("", encoding="utf-8")
    night.start()
    night.begin(BIAS_SET, "s1", wanted=2, have=1)
    night.take(BIAS_SET, "s1", 2, 502)
    night.end(BIAS_SET, "s1", accepted=2)
    (group,) = report_of(night).groups
    assert (group["have"], group["taken"], group["accepted"]) == (1, 1, 2)
    assert group["level_mean_adu"] == pytest.approx(501), "the level is that of the whole set"
    assert report_of(night).totals == {
        "wanted": 2, "there": 1, "taken": 1, "refused": 0,
        "masters_built": 0, "masters_kept": 0, "masters_refused": 0,
    }  # fmt: skip


def test_a_set_that_was_there_is_listed(night):
    night.start()
    told = {**BIAS_SET, "set_id": "s1", "wanted": 2, "have": 2, "accepted": 2, "refused": 0, "there": True}
    night.emit(GroupFinished, **told, status="complete", code=None, detail="")
    (group,) = report_of(night).groups
    assert (group["status"], group["have"], group["taken"], group["accepted"]) == ("there", 2, 0, 2)


def test_sets_that_the_run_never_reached_are_listed_once(night):
    night.start()
    planned = [{**FLAT_SET, "filter": name, "exposure_us": None, "wanted": 3, "have": 1} for name in ("L", "Ha")]
    night.emit(RunProgress, done=0, wanted=6, sets=planned)
    night.begin({**FLAT_SET, "filter": "L"}, "s1", wanted=3, have=1)
    night.finish(exit_code=4, code="unsafe")
    first, second = report_of(night).groups
    assert (first["filter"], first["status"]) == ("L", "cut_off")
    assert (second["filter"], second["status"], second["have"], second["taken"]) == ("Ha", "not_reached", 1, 0)


def test_sets_that_nothing_needs_any_more_are_not_listed(night):
    night.start()
    planned = [{**BIAS_SET, "kind": "DARK", "exposure_us": time, "wanted": 3, "have": 0} for time in (2, 5)]
    night.emit(RunProgress, done=0, wanted=6, sets=planned)
    night.emit(RunProgress, done=0, wanted=3, dropped=planned[:1])
    night.finish()
    assert [group["exposure_us"] for group in report_of(night).groups] == [5]


def test_a_set_that_fails_before_it_has_an_id_is_kept_apart_from_the_next(night):
    night.start()
    for name in ("L", "Ha"):
        group = {**FLAT_SET, "filter": name, "exposure_us": None}
        night.end({**group, "wanted": 40}, None, accepted=0, code="not_dark")
    assert [g["wanted"] for g in report_of(night).groups] == [40, 40]
    assert [(g["filter"], g["code"]) for g in report_of(night).groups] == [("L", "not_dark"), ("Ha", "not_dark")]


def test_a_bias_that_failed_before_and_after_the_flats_is_listed_once(night):
    night.start()
    for set_id in ("s1", "s2"):
        night.begin(BIAS_SET, set_id, wanted=2)
        night.end(BIAS_SET, set_id, accepted=0, code="cooler_limit")
    report = report_of(night)
    (group,) = report.groups
    assert (group["set_id"], group["code"]) == ("s2", "cooler_limit")
    assert report.totals["wanted"] == 2


def test_a_master_names_a_frame_and_its_sets(night):
    night.start()
    night.take(BIAS_SET, "s1", 1)
    night.take(BIAS_SET, "s1", 2)
    night.master()
    (master,) = document_of(night)["masters"]
    assert master["outcome"] == "built"
    assert master["frame"].endswith("_001.fits")
    assert master["sets"] == ["s1"]
    assert master["statistics"]["median_adu"] == 500.0
    assert master["statistics"]["noise_ratio"] is None, "JSON has no NaN"


def test_masters_that_were_there_and_refused_ones_are_told(night):
    night.start()
    night.take(BIAS_SET, "s1", 1)
    path = night.master(told=False)
    night.emit(StepFinished, step="masters", kept=[night.layout.relative(path)])
    night.emit(MasterRefused, kind="FLAT", filter="Ha", exposure_us=1, code="no_matching_dark", detail="")
    outcomes = {m["kind"]: m["outcome"] for m in report_of(night).masters}
    assert outcomes == {"FLAT": "refused", "BIAS": "kept"}


@pytest.mark.parametrize(
    ("built", "longitude", "is_shown"),
    [
        ("2026-01-01T12:30:00+00:00", None, True),
        ("2026-01-01T11:30:00+00:00", None, False),
        ("2025-12-31T23:00:00+00:00", None, False),
        ("2026-01-01T11:30:00+00:00", 30.0, True),  # two hours past noon there
        ("2026-01-01T16:30:00+00:00", -75.0, False),  # not yet noon there
        ("2025-10-03T22:00:00+00:00", None, False),
    ],
)
def test_masters_of_earlier_nights_are_counted_and_not_shown(night, built, longitude, is_shown):
    """A night with nothing to do showed 480 pictures: two of each master of the library."""
    night.clock = ManualClock(datetime.fromisoformat(built))
    night.take(BIAS_SET, "s0", 1)
    older = night.layout.relative(night.master(told=False))
    night.layout.events(RUN).unlink()
    night.clock = ManualClock(datetime(2026, 1, 1, 18, tzinfo=UTC))
    night.start(settings={"site": None if longitude is None else {"latitude": 48.0, "longitude": longitude}})
    night.emit(StepFinished, step="masters", kept=[older])
    night.finish()
    report = report_of(night)
    assert [m["path"] for m in report.masters] == ([older] if is_shown else [])
    assert report.totals["masters_kept"] == 1
    page = render(report, night.layout)
    assert "<img" not in page
    assert ("1 older master of the library was there already" in page) is not is_shown


def test_the_night_without_frames_is_that_of_the_start(night):
    night.start(night="2025-12-31")  # the site's longitude moved it
    assert report_of(night).run["night"] == "2025-12-31"


def test_the_night_of_an_older_journal_runs_from_noon_to_noon(night):
    night.clock.advance(9 * 3600)  # 3 o'clock in the morning
    night.start(night=None)
    assert report_of(night).run["night"] == "2026-01-01"


def test_a_journal_cut_off_in_the_middle_of_a_line_is_read_up_to_it(night):
    night.start()
    night.begin(BIAS_SET, "s1", wanted=3)
    night.take(BIAS_SET, "s1", 1)
    night.take(BIAS_SET, "s1", 2)
    journal = night.layout.events(RUN)
    journal.write_bytes(journal.read_bytes()[:-40] + b"\xff\x00")
    (group,) = report_of(night).groups
    assert (group["status"], group["taken"], group["accepted"]) == ("cut_off", 1, 1)
    assert report_of(night).run["exit_code"] is None


def test_the_journal_of_an_older_version_gives_its_report(night):
    old = Path(__file__).parents[1] / "events" / "version_1.jsonl"
    journal = night.layout.events(RUN)
    journal.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(old, journal)
    document = document_of(night)
    lines = [json.loads(line) for line in old.read_text(encoding="utf-8").splitlines()]
    told = [{name: each for name, each in line.items() if name not in ("run_id", "seq")} for line in lines]
    for part, name in {
        "frames": "frame.stored",
        "detector": "detector.measured",
        "devices": "device.connected",
    }.items():
        of_name = [each for each in told if each["name"] == name]
        for each, found in zip(of_name, document[part], strict=True):
            assert found == found | each
    run = document["run"]
    assert (run["started_at"], run["finished_at"]) == (lines[0]["at"], lines[-1]["at"])
    assert (run["steps"], run["exit_code"], run["detail"]) == (
        ["flats", "darks", "masters"], 0, "560 frames taken; 15 masters built",
    )  # fmt: skip
    assert run["settings"] == lines[0]["settings"]
    assert document["totals"]["wanted"] == 480
    groups = [(g["kind"], g["filter"], g["exposure_us"], g["status"]) for g in document["groups"]]
    assert groups[:2] == [("BIAS", None, 1000, "complete"), ("FLAT", "L", 1_995_000, "complete")]
    (built, *_) = document["masters"]
    assert (built["outcome"], built["statistics"]["verdict"], built["statistics"]["n"]) == ("built", "ok", 40)
    assert (built["statistics"]["own"], len(built["statistics"]["percentiles_adu"])) == (True, 7)


def test_a_run_without_journal_frames_or_masters_has_a_report(night):
    night.layout.events(RUN).unlink(missing_ok=True)
    document = document_of(night)
    assert document["run"]["run_id"] == RUN
    assert document["run"]["night"] == "unknown"
    assert document["groups"] == []


def test_a_run_is_known_from_its_row_when_its_journal_is_gone(night):
    from services.catalogue.rows import RunRow

    night.catalogue.start_run(RunRow(run_id=RUN, started_at=night.clock.now(), steps=("darks",), software="nightcal 1"))
    night.layout.events(RUN).unlink(missing_ok=True)
    run = report_of(night).run
    assert run["night"] == "2026-01-01"
    assert run["steps"] == ["darks"]
