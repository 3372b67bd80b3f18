"""The page of a dataset: each fault once with its files, the right numbers, nothing unescaped, and a bounded size."""

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameHeader, FrameKind
from services.datasets.conversion import Conversion
from services.datasets.frame import DatasetFrame, DatasetFrames
from services.datasets.importing import import_raws
from services.datasets.index import discovered
from services.datasets.levels import Levels, Source, table_of
from services.datasets.page import frames_or_none, headline, page_of, render
from services.errors import Usage
from tests.support.made_root import Root
from tests.support.page_reader import Reader
from tests.support.raw_tree import attempt

PIXELS = 60
UNMEASURED = Levels(measures=False)


def converted(base: Path) -> Path:
    import_raws(discovered(base), Conversion())
    return base


def shown(base: Path, levels: Levels | None = None) -> Reader:
    return Reader(render(page_of(base, frames_or_none(base), levels)))


def faults(base: Path) -> dict[str, tuple[int, list[tuple[str, str]]]]:
    found = page_of(base, frames_or_none(base)).faults
    assert len({each.what for each in found}) == len(found)
    return {each.what: (each.files, list(each.places)) for each in found}


def written(path: Path, pixels: np.ndarray, **cards: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(pixels, fits.Header(cards)).writeto(path)
    return path


def test_what_there_is_by_section_temperature_and_exposure(tmp_path: Path) -> None:
    for celsius in (-10, 20):
        for number in (1, 2):
            attempt(tmp_path / f"TestSection1/T{celsius}/attempt{number}", celsius=celsius, name="exp_1e-5s_f{n}.raw")
    attempt(tmp_path / "TestSection2/T20/attempt1", celsius=20)
    attempt(tmp_path / "TestSection2/T-10/5s/attempt1", celsius=-10, frames=4, name="exp_5s_f{n}.raw")
    log = tmp_path / "TestSection2/T-10/5s/attempt1/temperatureLog.csv"
    log.write_text(log.read_text(encoding="utf-8").replace("1000000.0", "5000000.0"), encoding="utf-8")
    page = shown(converted(tmp_path))
    table = page.text
    assert "12 frames in 4 attempts" in table
    assert "7 frames in 2 attempts" in table
    assert page.texts.count("6\u00a0frames") == 2
    assert "2 combinations of temperature and exposure have no frame" in table
    assert {"−10.0\u00a0°C", "20.0\u00a0°C", "1\u00a0s", "5\u00a0s"} <= set(page.texts)
    assert "All 19 frames can be used" in table


def test_every_fault_is_named_once_with_its_files(tmp_path: Path) -> None:
    dark = tmp_path / "TestSection2"
    for name in ("short", "long", "zeros", "plain", "no log", "no config", "small"):
        attempt(dark / name / "attempt1")
    raw = "attempt1/frames/exp_1s_frame0.raw"
    (dark / "short" / raw).write_bytes((dark / "short" / raw).read_bytes()[:-8])
    (dark / "long" / raw).write_bytes((dark / "long" / raw).read_bytes() + b"ab")
    pixels = np.fromfile(dark / "zeros" / raw, "<u2")
    pixels[:3] = 0
    pixels.tofile(dark / "zeros" / raw)
    (dark / "no log/attempt1/temperatureLog.csv").unlink()
    (dark / "no config/attempt1/configFile.txt").unlink()
    settings = dark / "small/attempt1/configFile.txt"
    settings.write_text(settings.read_text(encoding="utf-8").replace("HEIGHT=6", "HEIGHT=3"), encoding="utf-8")
    for path in (dark / "small/attempt1/frames").iterdir():
        path.write_bytes(path.read_bytes()[:PIXELS])
    (dark / "plain/attempt1/frames/exp_1s_frame7.raw").write_bytes(b"")
    (dark / "plain/attempt1/frames/exp_1s_frame8.raw").symlink_to(tmp_path / "nowhere")
    converted(tmp_path)
    (dark / "plain/attempt1/frames/exp_1s_frame9.raw").write_bytes(bytes(2 * PIXELS))
    fits_1 = dark / "plain/attempt1/fits"
    (fits_1 / "torn.fits").write_bytes((fits_1 / "exp_1s_frame0.fits").read_bytes()[:1000])
    written(fits_1 / "flat.fits", np.full((6, 10), 9, np.uint16), IMAGETYP="FLAT", EXPTIME=1.0)

    found = faults(tmp_path)
    name = "TestSection2/{}/attempt1/fits/exp_1s_frame0.fits"
    assert found["Wrong size"] == (
        2,
        [(name.format("long"), "2 bytes too many"), (name.format("short"), "8 bytes too few")],
    )
    assert found["Too many zeros"] == (1, [(name.format("zeros"), "5.00\u00a0% zeros")])
    why = "there is no configFile.txt or config.txt"
    raws = [(f"TestSection2/no config/attempt1/frames/exp_1s_frame{n}.raw", why) for n in range(3)]
    assert found["Raw files of unknown size"] == (3, raws)
    for what, n in (("are empty", 7), ("cannot be read", 8), ("are not converted", 9)):
        place = f"TestSection2/plain/attempt1/frames/exp_1s_frame{n}.raw"
        assert found[f"Raw files that {what}"] == (1, [(place, "")])
    ((torn, why),) = found["Files that are no frames"][1]
    assert torn == "TestSection2/plain/attempt1/fits/torn.fits"
    assert "torn.fits" not in why
    assert found["Kind in doubt"][1] == [("TestSection2/plain/attempt1/fits/flat.fits", "header: flat; folder: dark")]
    assert found["Images of another size or depth"][0] == 3
    assert "10\u00a0×\u00a03\u00a0pixels" in found["Images of another size or depth"][1][0][1]
    assert found["No temperature"][0] == 4
    assert [place for place, _ in found["Groups with too few frames"][1]] == ["Flat, 1\u00a0s, no temperature"]
    assert len(found) == 11
    page = page_of(tmp_path, frames_or_none(tmp_path))
    assert page.unusable == 2 + 1 + 3 + 1 + 3
    assert headline(page).text == "16 of 19 frames can be used"
    text = Reader(render(page)).texts
    for what in found:
        assert text.count(what) == 1


def test_names_are_text_whatever_is_in_them(tmp_path: Path) -> None:
    base = tmp_path / "dañado <b>&amp; 'x' \"y\""
    attempt(base / "TestSection2" / "<script>alert(1)</script>" / "attempt 1 & 2")
    converted(base)
    hostile = base / "TestSection2" / '<i>año & "co".fits'
    hostile.write_bytes(b"no FITS")
    written(
        base / "TestSection3" / "T0" / "f.fits",
        np.ones((6, 10), np.uint16),
        IMAGETYP="FLAT",
        FILTER="<u>R&B",
        EXPTIME=1,
    )
    written(
        base / "TestSection3" / "T0" / "g.fits", np.ones((6, 10), np.uint16), IMAGETYP="FLAT", FILTER="G", EXPTIME=1
    )
    page = shown(base)
    assert not {"script", "i", "b", "u", "link", "iframe", "img"} & {*page.tags} - {"b"}
    assert hostile.relative_to(base).as_posix() in page.texts
    assert any("<u>R&B" in text for text in page.texts)
    assert f"Dataset {base.name}" in page.texts


def test_a_page_loads_nothing(tmp_path: Path) -> None:
    attempt(tmp_path / "TestSection2/attempt1")
    page = shown(converted(tmp_path))
    assert not [value for key, value in page.attributes if key in {"src", "href", "action", "srcset"}]
    labels = [value for key, value in page.attributes if key == "aria-label"]
    assert labels
    assert all("Dark, 1\u00a0s, 20.0\u00a0°C" in str(label) for label in labels)


def test_levels_come_from_the_headers_then_from_a_table_then_from_the_pixels(tmp_path: Path) -> None:
    base = tmp_path / "set"
    flat = np.full((6, 10), 500, np.uint16)
    for n in range(3):
        written(base / f"dark_{n}.fits", flat, IMAGETYP="DARK", EXPTIME=1, DATAMEAN=f"{100 + n}.250", DATAMED="90.0")
        written(base / f"bias_{n}.fits", flat, IMAGETYP="BIAS", EXPTIME=0, DATAMED=f"{50 + n}.0")
        written(base / f"flat_{n}.fits", flat, IMAGETYP="FLAT", EXPTIME=1)
        torn = flat.astype(np.float32) + n
        torn[0] = np.nan
        written(base / f"light_{n}.fits", torn, IMAGETYP="LIGHT", EXPTIME=1)
    with (base / "frame_stats.csv").open("w", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerows([("PATH", "MEAN"), *((f"flat_{n}.fits", 200 + n) for n in range(3))])
    levels = Levels(table=table_of(base / "frame_stats.csv"))
    survey = page_of(base, frames_or_none(base), levels).survey
    found = {group.part.kind: (group.levels_from, [each.level_adu for each in group.frames]) for group in survey.groups}
    assert found == {
        "Bias": (Source.MEDIAN, [50, 51, 52]),
        "Dark": (Source.MEAN, [100.25, 101.25, 102.25]),
        "Flat": (Source.TABLE, [200, 201, 202]),
        "Operation": (Source.MEASURED, [500, 501, 502]),
    }
    survey = page_of(base, frames_or_none(base), UNMEASURED).survey
    assert [group.levels_from for group in survey.groups] == [Source.MEDIAN, Source.MEAN, "", ""]


def test_frames_that_a_table_lacks_are_read(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"dark_{n}.fits", np.full((6, 10), n, np.uint16), IMAGETYP="DARK") for n in range(1, 4)]
    (tmp_path / "t.csv").write_text("PATH,MEAN\ndark_1.fits,1.5\n", encoding="utf-8")
    read = []
    levels = Levels(table=table_of(tmp_path / "t.csv"), progress=read.append)
    (group,) = page_of(tmp_path, frames_or_none(tmp_path), levels).survey.groups
    assert [each.level_adu for each in group.frames] == [1.5, 2, 3]
    assert len(read) == len(paths) - 1


def test_levels_of_one_group_come_from_one_source(tmp_path: Path) -> None:
    for n in range(3):
        stated = {"DATAMEAN": 1.0} if n else {}
        written(tmp_path / f"dark_{n}.fits", np.full((6, 10), 500 + n, np.uint16), IMAGETYP="DARK", EXPTIME=1, **stated)
    (group,) = page_of(tmp_path, frames_or_none(tmp_path)).survey.groups
    assert [each.level_adu for each in group.frames] == [500, 501, 502]


@pytest.mark.parametrize("text", ["PATH,TEMP\na,1\n", "", "\x00\xff"])
def test_a_table_without_means_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    table = tmp_path / "t.csv"
    table.write_text(text, encoding="latin-1")
    with pytest.raises(Usage) as refused:
        table_of(table)
    assert "MEAN" in str(refused.value) + refused.value.advice


def test_a_folder_without_frames_has_a_page_that_says_so(tmp_path: Path) -> None:
    assert "There is no frame" in shown(tmp_path).text
    attempt(tmp_path / "TestSection2/attempt1")
    page = shown(tmp_path).text
    assert "There is no frame" in page
    assert "Raw files that are not converted" in page
    with pytest.raises(Usage, match="is not there"):
        frames_or_none(tmp_path / "nowhere")


def test_frames_of_a_root_are_a_dataset_and_lie_where_they_should(tmp_path: Path) -> None:
    """Its biases lie among the darks, and the filter in the wheel says nothing of frames without light."""
    root = Root(tmp_path)
    root.add(FrameKind.BIAS, 0.001, 6, filter="L")
    root.add(FrameKind.DARK, 2.0, 6, filter="L")
    root.add(FrameKind.DARK, 2.0, 6, filter="Ha")
    root.catalogue.close()
    page = page_of(tmp_path, frames_or_none(tmp_path), UNMEASURED)
    assert len(page.survey.frames) == 18
    assert page.faults == ()
    assert {part.title for part in page.survey.parts} == {"Bias", "Dark"}
    assert "Taken 2026-01-01 20:00 to 2026-01-01 20:09 UTC." in Reader(render(page)).text


def made(n: int, *, attempts: int, each: int) -> DatasetFrames:
    """Frames of many attempts that are nowhere."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    frames = [
        DatasetFrame(
            path=Path(f"/d/{a}/f{i}.fits"),
            header=FrameHeader(
                kind=FrameKind.DARK,
                shape=(1024, 1024),
                exposure_us=1000 * (1 + a % n),
                ccd_temp_c=float(a // n),
                median_adu=1000.0 + a + i,
                date_obs=began + timedelta(minutes=a * each + i),
            ),
            attempt=f"d/{a}",
            zero_fraction=0.5 if i == 0 else 0.0,
            bad="zeros" if i == 0 else "",
        )
        for a in range(attempts)
        for i in range(each)
    ]
    return DatasetFrames(frames=tuple(frames))


def test_the_page_of_very_many_frames_stays_small_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    text = render(page_of(tmp_path, made(100, attempts=1000, each=10)))
    page = Reader(text)
    assert len(text) < 1_500_000
    assert "9\u202f000 of 10\u202f000 frames can be used" in page.text
    assert "Of 500 groups the 60 are drawn whose levels vary most." in page.text
    assert "and 800 others" in page.text
    assert "The table shows" in page.text


def test_a_frame_that_is_warmer_by_a_breath_is_of_the_same_temperature(tmp_path: Path) -> None:
    frames = made(1, attempts=1, each=4).frames
    warm = (0.3, -0.05, 0.1, 5.0)
    changed = (
        replace(frame, header=replace(frame.header, ccd_temp_c=c)) for frame, c in zip(frames, warm, strict=True)
    )
    survey = page_of(tmp_path, DatasetFrames(frames=tuple(changed))).survey
    assert [(group.temperature_c, len(group.frames)) for group in survey.groups] == [(0.1, 3), (5.0, 1)]


def test_frames_of_very_many_settings_have_a_page_of_a_bounded_size(tmp_path: Path) -> None:
    frames = [
        replace(frame, header=replace(frame.header, gain=n // 20, kind=FrameKind.LIGHT), bad="")
        for n, frame in enumerate(made(40, attempts=3000, each=1).frames)
    ]
    page = page_of(tmp_path, DatasetFrames(frames=tuple(frames)))
    text = render(page)
    assert len(text) < 1_500_000
    assert "sections more: the table of levels has their groups" in text
    assert page.faults == ()


@pytest.mark.parametrize(
    ("seconds", "stamps", "words"),
    [
        ([0, 1, 2, 3], True, "Against seconds after 2026-01-01 00:00:00 UTC."),
        ([0, 60, 120, 600], True, "Against time, UTC, from 2026-01-01 on."),
        (
            [5.0, 6.0, 7.5, 9.0],
            False,
            "Against seconds after the first frame by the camera’s own clock: no date is known.",
        ),
        ([2_596_400, 2_596_460, 2_596_520, 2_600_000], False, "Against minutes after the first frame"),
        ([0, 86_400, 864_000, 1], False, "Against days after the first frame"),
        ([1.8e9, 1.8e9 + 1, 1.8e9 + 2, 1.8e9 + 3], False, "Against seconds after 2027-01-15 08:00:00 UTC."),
        (None, False, "Against frame number within the attempt: no time is known."),
    ],
)
def test_charts_say_what_they_are_drawn_against(
    tmp_path: Path, seconds: "list[float] | None", stamps: bool, words: str
) -> None:
    frames = []
    for n, frame in enumerate(made(1, attempts=1, each=4).frames):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds[n]) if stamps and seconds else None
        clock = {} if stamps or seconds is None else {"TIMESTAMP": seconds[n]}
        frames.append(replace(frame, header=replace(frame.header, date_obs=at, extra=clock)))
    page = Reader(render(page_of(tmp_path, DatasetFrames(frames=tuple(frames)))))
    assert any(words in text for text in page.texts)
