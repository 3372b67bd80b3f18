"""The masters step alone, on frames of other programs: what it says of files it does not use, and how it ends."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from services.config import load
from services.errors import RunCode
from services.events.records import Event, MasterBuilt, WarningRaised
from services.events.sentences import sentence
from services.planning.request import RunOptions, RunResult, Step
from services.workflow.job import Job
from services.workflow.unused import should_have_served

CONFIG = """\
camera: {camera_type: alpaca, alpaca: {host: localhost, port: 11111}}
storage: {min_free_mb: 10}
"""


class Observer:
    """Somebody who puts files into the folders and has masters built of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.yaml"
        self.config.write_text(CONFIG, encoding="utf-8")
        self.heard: list[Event] = []
        self.rng = np.random.default_rng(4)

    def save(self, name: str, level: float = 500.0, *, planes: int = 0, **cards: object) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        shape = (planes, 24, 32) if planes else (24, 32)
        pixels = self.rng.normal(level, 7, shape).round().astype(np.uint16)
        known = {"IMAGETYP": "DARK", "EXPTIME": 30.0, "INSTRUME": "Cam", "DATE-OBS": "2024-01-02T20:00:00"}
        fits.writeto(path, pixels, fits.Header(list((known | cards).items())))

    def run(self) -> RunResult:
        self.heard.clear()
        return Job(load(self.config), RunOptions(steps=(Step.MASTERS,)), listeners=(self.heard.append,)).run()

    @property
    def warnings(self) -> list[WarningRaised]:
        return [event.what for event in self.heard if isinstance(event.what, WarningRaised)]


@pytest.fixture
def observer(tmp_path: Path) -> Observer:
    return Observer(tmp_path)


def test_a_folder_of_files_that_cannot_be_read_is_no_success(observer: Observer) -> None:
    for i in range(10):
        observer.save(f"darks/c{i}.fits", planes=3)
    done = observer.run()
    assert (done.exit_code, done.detail) == (1, "10 files could not be used")
    (warning,) = observer.warnings
    assert warning.detail.startswith("10 files (darks/c0.fits, darks/c1.fits, ")
    assert len(warning.paths) == 10


def test_flats_that_are_called_light_frames_are_counted_with_what_to_do(observer: Observer) -> None:
    for i in range(10):
        observer.save(f"flats/v{i}.fits", 20_000, IMAGETYP="Light Frame")
    assert observer.run().exit_code == 1
    (warning,) = observer.warnings
    assert warning.code == RunCode.LIGHT_FRAME
    assert "10 files (flats/v0.fits," in warning.detail
    advice = "write FLAT, DARK or BIAS into IMAGETYP"
    assert advice not in warning.detail, "the report and the terminal add it to every warning"
    assert (sentence(warning) or "").count(advice) == 1


def test_empty_folders_and_notes_are_no_failure(observer: Observer) -> None:
    (observer.root / "darks").mkdir()
    (observer.root / "darks" / "notes.txt").write_text("cloudy")
    done = observer.run()
    assert done.exit_code == 0
    assert done.detail == f"there are no frames in {observer.root / 'darks'} or {observer.root / 'flats'}"
    assert [warning.code for warning in observer.warnings] == [RunCode.OTHER_FILE]


def test_a_damaged_frame_among_good_ones_is_a_failure_and_a_light_frame_is_none(observer: Observer) -> None:
    for i in range(6):
        observer.save(f"darks/d{i}.fits")
    observer.save("darks/star.fits", IMAGETYP="Light Frame")
    assert observer.run().exit_code == 0
    (observer.root / "darks" / "cut.fits").write_bytes((observer.root / "darks" / "d0.fits").read_bytes()[:3000])
    done = observer.run()
    assert (done.exit_code, done.detail) == (1, "1 file could not be used")


def test_a_suspect_master_fails_the_run_that_builds_it_and_later_ones_until_it_is_certified(observer: Observer) -> None:
    for i in range(6):
        observer.save(f"darks/b{i}.fits", 1000, IMAGETYP="BIAS", EXPTIME=0.0)
        for seconds, level in ((10.0, 1001), (120.0, 1112)):
            observer.save(f"darks/d{seconds:g}_{i}.fits", level, EXPTIME=seconds)
    done = observer.run()
    assert (done.exit_code, "1 master suspect" in done.detail) == (1, True)
    (built,) = [e.what for e in observer.heard if isinstance(e.what, MasterBuilt) and e.what.doubts]
    assert (built.doubts[0].code, built.exposure_us) == ("pedestal_off", 120_000_000)
    assert observer.run().exit_code == 1
    (warning,) = observer.warnings
    assert warning.code == RunCode.SUSPECT_MASTER
    assert "the level is 111" in warning.detail
    from services.cli.orders import certify

    assert certify(["*"], config=observer.config) == 0
    assert observer.run().exit_code == 0


def test_certifying_and_listing_say_what_is_suspect(observer: Observer, capsys: pytest.CaptureFixture[str]) -> None:
    from services.cli.library import list_masters
    from services.cli.orders import certify

    for i in range(6):
        observer.save(f"darks/b{i}.fits", 1000, IMAGETYP="BIAS", EXPTIME=0.0)
        observer.save(f"darks/d{i}.fits", 800, EXPTIME=10.0)
    observer.run()
    capsys.readouterr()
    list_masters(config=observer.config)
    certify(["master_dark*"], config=observer.config)
    lines = [line for line in capsys.readouterr().out.splitlines() if "master_dark" in line]
    assert len(lines) == 2
    assert all("suspect: pedestal off: the level is " in line for line in lines)


@pytest.mark.parametrize(
    ("codes", "nothing", "number"),
    [
        ([RunCode.READ_FAILED, RunCode.LIGHT_FRAME, RunCode.FORM_NOT_READ], False, 1),
        ([RunCode.TYPE_UNKNOWN, RunCode.CARD_UNKNOWN, RunCode.SEVERAL_IMAGES], False, 3),
        ([RunCode.LIGHT_FRAME, RunCode.FORM_NOT_READ, RunCode.LINK_NOT_FOLLOWED, RunCode.OTHER_FILE], True, 3),
        ([None, RunCode.OTHER_FILE, RunCode.FRAME_COPIED, RunCode.IMAGE_BESIDE], False, 0),
        ([], True, 0),
    ],
)
def test_which_files_should_have_served(codes: list[RunCode | None], nothing: bool, number: int) -> None:
    assert should_have_served(codes, nothing_served=nothing) == number


def test_the_dry_run_knows_frames_that_are_not_indexed_yet(
    observer: Observer, capsys: pytest.CaptureFixture[str]
) -> None:
    from services.cli.parameters import RunCommand
    from services.cli.run import execute

    for i in range(6):
        observer.save(f"darks/d{i}.fits")
    assert execute(RunCommand(config=observer.config, dry_run=True), (Step.MASTERS,)) == 0
    said = capsys.readouterr().out
    assert "dark                30 s  -                  6  to build" in said
    assert not (observer.root / ".nightcal").exists()
