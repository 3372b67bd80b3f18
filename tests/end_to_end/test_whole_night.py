"""From an empty folder to masters, as the guide says it; and once more, where nothing is left to do."""

import json
import re
from datetime import datetime

from astropy.io import fits


def test_guides_command_gives_the_guides_tree(played, whole_files):
    tree = {re.sub(r"\d{8}_\d{6}", "STAMP", str(p.relative_to(played.root))) for p in played.root.rglob("*.fits")}
    for filter_name in ("L", "Ha"):
        assert f"flats/{filter_name}/flat_STAMP_001.fits" in tree
    assert "darks/exp_0.001s/bias_STAMP_001.fits" in tree
    for exposure in ("1.000", "2.000"):
        assert f"darks/exp_{exposure}s/dark_STAMP_006.fits" in tree
        assert f"master_frames/master_dark_{exposure}s_STAMP.fits" in tree
    assert {"master_frames/master_bias_STAMP.fits", "master_frames/master_dark_0.001s_STAMP.fits"} <= tree
    assert any(re.fullmatch(r"master_frames/master_flat_\d\.\d{3}s_Ha_STAMP.fits", name) for name in tree)
    whole_files(played)


def test_every_flat_has_darks_of_its_own_exposure(played):
    flats = {fits.getheader(p)["EXPTIME"] for p in played.frames("flat_*")}
    darks = {fits.getheader(p)["EXPTIME"] for p in played.frames("dark_*")}
    assert flats
    assert flats <= darks
    for master in (played.root / "master_frames").glob("master_flat_*.fits"):
        header = fits.getheader(master)
        assert header["FLATDARK"].lower().startswith("matched")
        assert fits.getheader(played.root / "master_frames" / header["DARKFILE"])["EXPTIME"] == header["EXPTIME"]


def test_second_run_takes_nothing_and_says_so(played_copy):
    before = {p: p.stat().st_mtime_ns for p in played_copy.root.rglob("*.fits")}
    again = played_copy.run()
    assert again.returncode == 0
    assert "nothing to take" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in played_copy.root.rglob("*.fits")} == before
    report = played_copy.report()
    assert {g["status"] for g in report["groups"]} == {"there"}
    assert {m["outcome"] for m in report["masters"]} == {"kept"}
    assert report["totals"]["taken"] == 0
    assert report["totals"]["there"] == len(played_copy.frames())


def test_fresh_takes_everything_anew(night):
    night.write({"flat_capture": {"filters": ["L"]}})
    assert night.run("--darks-only").returncode == 0
    first = night.counts()
    assert night.run("--darks-only", "--fresh").returncode == 0
    assert night.counts() == {name: 2 * count for name, count in first.items()}


def test_steps_alone_make_up_the_whole(night):
    assert night.run("--step", "flats").returncode == 0
    assert set(night.counts()) == {"FLAT L", "FLAT Ha"}
    assert night.run("--step", "darks").returncode == 0
    assert {"BIAS 0.001", "DARK 1.000", "DARK 2.000"} <= set(night.counts())
    assert not (night.root / "master_frames").exists()
    assert night.run("--step", "masters").returncode == 0
    masters = list((night.root / "master_frames").glob("*.fits"))
    assert len(masters) == 2 + len({p.parent for p in night.frames("dark_*")}) + 2


def test_dry_run_touches_nothing(night):
    before = sorted(night.root.rglob("*"))
    planned = night.run("--dry-run")
    assert planned.returncode == 0
    assert re.search(r"\b30 frames to take \(0 there\)", planned.stdout)
    assert sorted(night.root.rglob("*")) == before
    assert night.run().returncode == 0
    assert "Nothing to take" in night.run("--dry-run").stdout


def test_a_second_simulated_night_begins_after_the_end_of_the_first(night):
    for _ in range(2):
        assert night.run("--step", "darks").returncode == 0
    journals = sorted((night.root / ".nightcal" / "events").glob("*.jsonl"))
    first, second = ([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in journals)
    assert first[-1]["name"] == "run.finished"
    assert datetime.fromisoformat(first[-1]["at"]) < datetime.fromisoformat(second[0]["at"])


def test_report_tells_what_was_planned_taken_and_built(played):
    report = played.report()
    assert report["run"]["exit_code"] == 0
    assert sum(g["accepted"] for g in report["groups"]) == len(played.frames())
    assert {g["status"] for g in report["groups"]} == {"complete"}
    assert len(report["frames"]) == len(played.frames())
    assert all(m["statistics"] for m in report["masters"])
    assert report["temperatures"]


def test_headers_say_what_the_devices_reported(played):
    header = fits.getheader(played.frames("flat_*")[0])
    assert header["BITPIX"] == 16
    assert header["BZERO"] == 32768
    assert header["SIMULATE"] is True
    assert header["SET-TEMP"] == 5.0
    assert abs(header["CCD-TEMP"] - 5.0) <= 0.5
    assert header["PANELLVL"] >= 1
    assert header["FILTER"] in {"L", "Ha"}
    assert header["ROWORDER"] == "TOP-DOWN"
    assert {"GAIN", "OFFSET", "READOUTM", "SETID", "RUNID", "NIGHT", "DATE-OBS", "DATE-END"} <= set(header)
    dark = fits.getheader(played.frames("dark_*")[0])
    assert dark["IMAGETYP"] == "DARK"
    assert dark["COVER"].lower() == "closed"


def test_flats_at_two_temperatures_are_two_sets(night):
    night.write({"flat_capture": {"temperatures": [5.0, 8.0], "filters": ["L"]}, "temperatures": [5.0, 8.0]})
    done = night.run("--step", "flats")
    assert done.returncode == 0, done.stdout
    assert {fits.getheader(p)["SET-TEMP"] for p in night.frames("flat_*")} == {5.0, 8.0}
    assert night.counts() == {"FLAT L": 12}


def test_what_an_old_run_left_incomplete_does_not_fail_a_run_that_has_all(night):
    assert night.run("--darks-only").returncode == 0
    for path in night.frames("dark_*")[2:]:
        path.unlink()
    old = night.frames("dark_*")
    for path in old:  # as if they had been taken 40 days ago
        with fits.open(path, mode="update") as units:
            for name in ("DATE-OBS", "DATE-AVG", "DATE-END"):
                units[0].header[name] = units[0].header[name].replace("2026-", "2025-")
            units[0].header["SETID"] = "old"
            units[0].add_checksum()
    done = night.run()
    assert done.returncode == 0, done.stdout
    assert "no master dark" in done.stdout
    assert len(night.frames("dark_*")) > len(old)
