"""Settings, logs and names of raw frames, in every form that laboratories have written."""

from pathlib import PurePath

import pytest

from services.datasets.log import read_log
from services.datasets.names import (
    NameFacts,
    folder_exposure_s,
    folder_temperature_c,
    name_facts,
    natural,
    stage_of,
    vacuum_of,
)
from services.datasets.settings import NoFormat, format_of, keyword_of, parse_settings


def test_settings_are_lines_of_two_forms_and_everything_else_is_passed_over() -> None:
    found = parse_settings("\ufeffHEIGHT=2\nWIDTH: 3\n# x\n\nnothing\nURL=http://a:b\nNote: a=b\n=3\n")
    assert found == {"HEIGHT": "2", "WIDTH": "3", "URL": "http://a:b", "Note: a": "b"}
    image = format_of(found)
    assert (image.height, image.width, image.bit_depth, image.bytes, image.dtype) == (2, 3, 16, 12, "<u2")


@pytest.mark.parametrize(
    ("settings", "bytes_", "dtype"),
    [
        ({"height": "4", "Width": "5", "bit_depth": "8"}, 20, "u1"),
        ({"height": "4", "Width": "5", "Bit Depth": "12"}, 40, "<u2"),
    ],
)
def test_an_image_format_is_understood_in_any_case(settings: dict[str, str], bytes_: int, dtype: str) -> None:
    image = format_of(settings)
    assert (image.bytes, image.dtype) == (bytes_, dtype)
    assert format_of({**settings, "bit_depth": "16", "Bit Depth": "16"}, big_endian=True).dtype == ">u2"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "no HEIGHT"),
        ({"HEIGHT": "4"}, "no WIDTH"),
        ({"HEIGHT": "4", "WIDTH": "0"}, "WIDTH is '0'"),
        ({"HEIGHT": "4.5", "WIDTH": "5"}, "HEIGHT is '4.5'"),
        ({"HEIGHT": "4", "WIDTH": "5", "BIT_DEPTH": "32"}, "at most 16 bits"),
    ],
)
def test_no_size_is_guessed(settings: dict[str, str], words: str) -> None:
    with pytest.raises(NoFormat, match=words):
        format_of(settings)


@pytest.mark.parametrize(
    ("key", "keyword"), [("HEIGHT", "HEIGHT"), ("Bit depth", "BIT_DEPT"), ("sensor-id", "SENSORID"), ("°", "")]
)
def test_a_setting_becomes_a_keyword(key: str, keyword: str) -> None:
    assert keyword_of(key) == keyword


NEW = "FrameNum,TimeStamp,ExtTemperature,ExpTime,RealExpTime,ExpGain,Temperature,InitialTemp,PowerCons\n"


def test_the_long_log_says_seconds_and_celsius() -> None:
    log = read_log(NEW + "0,1001.5,19,100000,100100,100,20.04,20,2.5\n1,1003,19,100000,100100,100,20.1,20,\n")
    assert log.problems == ()
    assert log.rows[0] == {
        "FRAMENUM": 0, "TIMESTAMP": 1001.5, "EQTEMP": 19.0, "EXPTIME": 0.1, "REXPTIME": 0.1001, "GAIN": 100.0,
        "TEMP": 20.04, "TEMP_0": 20.0, "POWCONS": 2.5,
    }  # fmt: skip
    assert "POWCONS" not in log.rows[1]


@pytest.mark.parametrize(
    "text",
    [
        "frame,temperature\n3,20.5\n",
        "index,Sensor_temp\n3,20.5\n",
        "\ufefffoo;CCD_Temp\n3;20,5\n",
        "FrameNum\tChipTemp\n3.0\t20.5\n",
        "frame,CCDTemperature,Room temp\n3,20.5,18\n",
        "frame,Room temp,Temperature\n3,18,20.5\n",
        "frame;Temperature;ExpTime\n3;20,5;\n",
    ],
)
def test_a_temperature_is_found_in_every_dialect(text: str) -> None:
    (row,) = read_log(text).rows.values()
    assert (row["FRAMENUM"], row["TEMP"]) == (3, 20.5)


def test_cells_that_are_no_numbers_are_kept_as_text() -> None:
    log = read_log("frame,Temperature,PowerCons,Note\n0,inf,NaN,warm\n1,-inf,nan,\n")
    assert log.rows[0] == {"FRAMENUM": 0, "TEMP": "INF", "POWCONS": "NaN", "NOTE": "warm"}
    assert log.rows[1] == {"FRAMENUM": 1, "TEMP": "INF", "POWCONS": "NaN"}


def test_rows_that_are_there_twice_count_once_and_rows_that_contradict_are_not_believed() -> None:
    log = read_log("frame,Temperature\n0,1\n0,1\n1,2\n1,3\nx,4\n2,5\n-1,6\n")
    assert log.rows == {0: {"FRAMENUM": 0, "TEMP": 1.0}, 2: {"FRAMENUM": 2, "TEMP": 5.0}}
    assert [each.split(",")[0] for each in log.problems] == [
        "line 6 of the log has no frame number",
        "line 8 of the log has no frame number",
        "frame 0 is twice in the log",
        "frame 1 is twice in the log",
    ]


def test_an_empty_log_says_so() -> None:
    assert read_log("frame,temperature\n").problems == ("the log has no row",)


@pytest.mark.parametrize(
    ("stem", "facts"),
    [
        ("BiasT0_exp0.012sAt0f1", NameFacts(frame=1, exposure_s=0.012, temperature_c=0.0)),
        ("exp_1.2e-05s_frame0", NameFacts(frame=0, exposure_s=1.2e-5)),
        ("FlatT-10.5_exp0.75sF12", NameFacts(frame=12, exposure_s=0.75, temperature_c=-10.5)),
        ("exp_1-es_last", NameFacts()),
        ("last", NameFacts()),
    ],
)
def test_names_of_raw_files(stem: str, facts: NameFacts) -> None:
    assert name_facts(stem) == facts


@pytest.mark.parametrize(
    ("path", "celsius", "seconds"),
    [
        ("TestSection1/T-10/attempt3", -10.0, None),
        ("Lab/Set1/T0/0.5s/attempt1", 0.0, 0.5),
        ("TestSection2/20Frames/exp_2s/attempt1", None, 2.0),
        ("disk2samples/pytest-0/attempt12", None, None),
        ("T20/T5/1s", 5.0, 1.0),
    ],
)
def test_folders_are_read_as_whole_components(path: str, celsius: float | None, seconds: float | None) -> None:
    assert folder_temperature_c(PurePath(path)) == celsius
    assert folder_exposure_s(PurePath(path)) == seconds


@pytest.mark.parametrize(
    ("path", "stage", "vacuum"),
    [
        ("tests_duringradiation_novacuum/PreIrradiation/Bias", "pre", "air"),
        ("tests_duringradiation_novacuum/PostIrradiation/Bias", "post", "air"),
        ("tests_duringradiation_novacuum/DuringIrradiation/Bias", "radiating", "air"),
        ("prueba_previa/presets/Bias", "", ""),
        ("Preirradiation/vac", "pre", "vacuum"),
        ("Irradiation/10kRads/atm", "radiating", "air"),
        ("Irradiation/no_vac", "radiating", "air"),
        ("repair/fairly", "", ""),
        ("vacation/evacuated/Bias", "", ""),
        ("InVacuum/Bias", "", "vacuum"),
        ("vac/20C_no_vac/Bias", "", "air"),
    ],
)
def test_stage_and_vacuum_by_the_deepest_folder(path: str, stage: str, vacuum: str) -> None:
    parts = PurePath(path).parts
    assert (stage_of(parts), vacuum_of(parts)) == (stage, vacuum)


def test_names_are_sorted_as_people_count() -> None:
    assert sorted(["frame10", "Frame2", "frame1b"], key=natural) == ["frame1b", "Frame2", "frame10"]
