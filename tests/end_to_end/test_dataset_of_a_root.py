"""Frames that nightcal took at several temperatures and exposures are a dataset without further ado."""

import csv
from collections import Counter
from pathlib import Path

from services.datasets.frames import frames_of
from tests.end_to_end.test_datasets import called
from tests.support.small_night import Night


def one_temperature(celsius: float, seconds: float) -> list[dict[str, object]]:
    darks = {"num_darks": 2, "science_exposure_time": seconds, "exposure_factors": [1.0], "persistence_wait": 0}
    small = {"camera_type": "simulator", "simulator": {"width": 64, "height": 48, "rate": 1000}}
    return [{"dark_capture": darks, "cooling": {"target_temperature": celsius}, "camera": small}]


def test_two_temperatures_and_exposures_of_a_simulated_camera_are_a_dataset(night: Night, tmp_path: Path) -> None:
    for celsius, seconds in ((5.0, 2.0), (-5.0, 0.5)):
        night.write(*one_temperature(celsius, seconds))
        done = night.run("--step", "darks")
        assert done.returncode == 0, done.stdout + done.stderr
    found = frames_of(night.root)
    assert found.left_out == ()
    assert {each.bad for each in found.frames} == {""}
    groups = Counter(
        (each.header.kind.value, each.header.exposure_s, round(each.header.ccd_temp_c or 99.0)) for each in found.frames
    )
    assert groups == {
        **{("BIAS", 0.001, celsius): 2 for celsius in (5, -5)},
        **{("DARK", 1.0, celsius): 2 for celsius in (5, -5)},  # those of flats
        ("DARK", 2.0, 5): 2,
        ("DARK", 0.5, -5): 2,
    }
    assert len({each.attempt for each in found.frames}) == 6
    code, said, wrong = called(tmp_path, f"dataset index index.csv --root {night.root}")
    assert (code, wrong) == (0, ""), said
    with (tmp_path / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(tmp_path / row["PATH"]).resolve() for row in rows] == [each.path.resolve() for each in found.frames]
    again = frames_of(tmp_path / "index.csv")
    assert [each.header.ccd_temp_c for each in again.frames] == [each.header.ccd_temp_c for each in found.frames]
    assert [each.attempt for each in again.frames] == [each.attempt for each in found.frames]
