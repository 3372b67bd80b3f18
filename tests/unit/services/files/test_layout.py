"""Names: those of the guide, on every system, never one that is taken."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.frames import FrameHeader, FrameKind
from services.files.layout import Layout, MasterName, apart, free_path, is_own_part, part_path, sanitise, seconds_text

AT = datetime(2025, 7, 29, 14, 30, 22, tzinfo=UTC)


def header(kind: FrameKind = FrameKind.DARK, **known: object) -> FrameHeader:
    return FrameHeader(
        **{"kind": kind, "shape": (2, 2), "exposure_us": 1_000_000, "date_obs": AT, "frame_no": 1} | known
    )


def free(_path: Path) -> bool:
    return False


@pytest.mark.parametrize(
    ("known", "wheel", "expected"),
    [
        ({"kind": FrameKind.BIAS, "exposure_us": 1000}, False, "darks/exp_0.001s/bias_20250729_143022_001.fits"),
        ({"kind": FrameKind.DARK, "exposure_us": 2_500_000}, True, "darks/exp_2.500s/dark_20250729_143022_001.fits"),
        ({"kind": FrameKind.DARK, "frame_no": 1040}, False, "darks/exp_1.000s/dark_20250729_143022_1040.fits"),
        ({"kind": FrameKind.DARK, "exposure_us": 32}, False, "darks/exp_0.000032s/dark_20250729_143022_001.fits"),
        ({"kind": FrameKind.FLAT}, False, "flats/flat_20250729_143022_001.fits"),
        ({"kind": FrameKind.FLAT, "filter": "Ha 3nm/α"}, True, "flats/Ha-3nm-a/flat_20250729_143022_001.fits"),
    ],
)
def test_frames_are_called_as_in_the_guide(
    tmp_path: Path, known: dict[str, object], wheel: bool, expected: str
) -> None:
    layout = Layout(tmp_path)
    path = layout.frame_path(header(**known), wheel=wheel)
    assert is_own_part(part_path(path))
    assert layout.relative(path) == expected
    assert layout.absolute(expected) == path


def test_the_stamp_is_utc_whatever_zone_the_time_has(tmp_path: Path) -> None:
    local = AT.astimezone(timezone(timedelta(hours=-7)))
    assert Layout(tmp_path).frame_path(header(date_obs=local), wheel=False).name == "dark_20250729_143022_001.fits"


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first = layout.frame_path(header(), wheel=False)
    first.parent.mkdir(parents=True)
    first.touch()
    second = layout.frame_path(header(), wheel=False)
    assert second.name == "dark_20250729_143022_001_2.fits"
    promised = {second}
    third = layout.frame_path(header(), wheel=False, taken=lambda path: path.exists() or path in promised)
    assert third.name == "dark_20250729_143022_001_3.fits"


def test_a_frame_without_start_or_exposure_cannot_be_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="DATE-OBS and EXPTIME"):
        Layout(tmp_path).frame_path(header(date_obs=None), wheel=False)
    with pytest.raises(ValueError, match="LIGHT frames have no place"):
        Layout(tmp_path).frame_path(header(FrameKind.LIGHT), wheel=False)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"kind": FrameKind.BIAS}, "master_bias_20250729_143022"),
        ({"kind": FrameKind.DARK, "exposure_us": 1000}, "master_dark_0.001s_20250729_143022"),
        (
            {
                "kind": FrameKind.FLAT, "exposure_us": 1_259_000, "filter": "L", "gain": 26, "offset": 15,
                "readout_mode": "High Gain", "temperature_c": -10.0, "binning": (2, 2),
            },
            "master_flat_1.259s_L_g26_o15_rHigh-Gain_T-10_b2x2_20250729_143022",
        ),
        ({"kind": FrameKind.DARK, "temperature_c": -0.04}, "master_dark_T0_20250729_143022"),
        ({"kind": FrameKind.DARK, "temperature_c": -7.5}, "master_dark_T-7.5_20250729_143022"),
    ],
)  # fmt: skip
def test_masters_are_called_as_in_the_guide(tmp_path: Path, known: dict[str, object], expected: str) -> None:
    layout = Layout(tmp_path)
    path = layout.master_path(MasterName(stamp=AT, **known))
    assert path == tmp_path / "master_frames" / f"{expected}.fits"
    assert layout.planes_path(path) == tmp_path / "master_frames" / "planes" / f"{expected}.fits"
    assert layout.sidecar_path(path) == tmp_path / "master_frames" / f"{expected}.json"
    assert is_own_part(part_path(path))
    assert is_own_part(part_path(layout.sidecar_path(path)))


def test_a_master_does_not_take_the_name_of_planes_that_are_there(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    name = MasterName(kind=FrameKind.BIAS, stamp=AT)
    planes = layout.planes_path(layout.master_path(name))
    planes.parent.mkdir(parents=True)
    planes.touch()
    assert layout.master_path(name).stem == "master_bias_20250729_143022_2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Luminance", "Luminance"),
        ("O III", "O-III"),
        ("Hα", "Ha"),
        ("Grün", "Gr-u00fcn"),
        ("Grön", "Gr-u00f6n"),
        ("../../etc/passwd", "-..-etc-passwd"),
        (r"C:\x", "C--x"),
        (".hidden", "hidden"),
        ("con", "con_"),
        ("COM1.fits", "COM1_.fits"),
        ("console", "console"),
        ("dot.", "dot"),
        ("", "-"),
        ("...", "-"),
        ("a" * 40, "a" * 32),
    ],
)
def test_text_of_devices_is_cleaned(text: str, expected: str) -> None:
    assert sanitise(text) == expected


def test_filters_that_look_alike_on_some_system_have_folders_of_their_own(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    names = ["R", "r", "O III", "O-III", "红外截止滤镜一", "红外截止滤镜二", "L"]
    folders = [
        layout.frame_path(header(FrameKind.FLAT, filter=name), wheel=True, filters=names).parent.name for name in names
    ]
    assert len({folder.lower() for folder in folders}) == len(names)
    assert (folders[0], folders[2], folders[-1]) == ("R", "O-III", "L"), "without need a name is not changed"
    assert all(sanitise(folder) == folder for folder in folders)
    assert apart(reversed(names)) == apart(names)


@given(st.lists(st.text(max_size=60), max_size=8))
def test_parts_of_names_are_apart_whatever_the_case(names: list[str]) -> None:
    parts = apart(names)
    assert len({part.lower() for part in parts.values()}) == len(set(names))


@given(st.text(max_size=60))
def test_cleaned_text_is_a_name_everywhere(text: str) -> None:
    name = sanitise(text)
    assert name.isascii()
    assert name
    assert len(name) <= 33
    assert not name.startswith(".")
    assert not name.endswith((".", " "))
    assert not set(name) & set('/\\:*?"<>|\0')
    assert name.split(".")[0].upper() not in {"CON", "NUL", "AUX", "PRN", "COM1", "LPT9"}


@pytest.mark.parametrize(
    ("exposure_us", "expected"), [(1000, "0.001"), (1500, "0.001500"), (5_160, "0.005160"), (20_000_000, "20.000")]
)
def test_exposures_in_names_have_three_decimals_or_six(exposure_us: int, expected: str) -> None:
    assert seconds_text(exposure_us) == expected


def test_output_folders_may_lie_elsewhere(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root", darks=tmp_path / "elsewhere", masters="m/deep")
    path = layout.frame_path(header(), wheel=False)
    assert path.is_relative_to(tmp_path / "elsewhere")
    assert layout.absolute(layout.relative(path)) == path
    assert layout.masters == tmp_path / "root" / "m" / "deep"


def test_reports_logs_and_journals(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    page, picture = layout.report_paths("2025-07-29", "20250729T143022_ab1c")
    assert page == tmp_path / "reports" / "2025-07-29_20250729T143022_ab1c.json"
    assert picture.suffix == ".html"
    assert layout.log_path(AT) == tmp_path / "logs" / "nightcal_20250729.log"
    assert layout.events("r/1") == tmp_path / ".nightcal" / "events" / "r-1.jsonl"
    assert layout.refused_path(header(night="2025-07-29")).parent == tmp_path / "refused" / "2025-07-29"
    assert part_path(page).name == ".2025-07-29_20250729T143022_ab1c.json.part"
    assert all(is_own_part(part_path(path)) for path in layout.report_paths("unknown", "20250729T143022-ab1c"))
    assert free_path(page, free) == page
