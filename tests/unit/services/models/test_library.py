"""The models that a root gets by itself: of which frames, under which name, when anew, and what is said of them."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from drivers.clock import ManualClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag, MasterStatus
from services.errors import RunStopped
from services.events.bus import Events
from services.events.modelled import ModelFitted, ModelLacking
from services.events.records import Event
from services.events.sentences import sentence
from services.indexing.index import rebuild
from services.models import library
from services.models.library import Library, ModelOutcome, Wishes
from services.reports.models import models_of
from services.root import Place
from tests.support.made_root import Root

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
BIAS = Wishes(kinds=("bias",))


def fitted(root: Root, wishes: Wishes = BIAS, wake: threading.Event | None = None) -> tuple[ModelOutcome, ...]:
    events = Events(run_id="run", clock=ManualClock(AT))
    events.subscribe(root.heard.append)
    try:
        place = Place(layout=root.layout, catalogue=root.catalogue)
        return Library(place, events, lambda: AT, wake).fit_all(wishes)
    finally:
        events.close()


def night(root: Root, number: int, celsius: float = -10.0, count: int = 4, **fields: object) -> list[Path]:
    """Add the biases of a night."""
    return root.add(
        FrameKind.BIAS,
        0.001,
        count,
        set_id=f"set_{number}_{celsius}",
        night=f"2026-01-{number + 1:02d}",
        date_obs=AT - timedelta(days=40 - number),
        ccd_temp_c=celsius,
        set_temp_c=celsius,
        **fields,
    )


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def files(root: Root) -> dict[str, int]:
    return {str(path.relative_to(root.layout.root)): path.stat().st_mtime_ns for path in root.layout.models.rglob("*")}


def said(heard: list[Event]) -> list[str]:
    return [sentence(each.what) or "" for each in heard if isinstance(each.what, ModelFitted | ModelLacking)]


def test_a_root_without_biases_says_what_is_lacking(root: Root) -> None:
    (outcome,) = fitted(root)
    assert outcome.row is None
    why = "there are no biases — the darks step takes some (`nightcal run --step darks`)"
    assert said(root.heard) == [outcome.words] == [f"no model of the bias: {why}"]
    assert not root.layout.models.exists()


def test_one_temperature_gives_a_model_that_says_what_it_cannot_do(root: Root) -> None:
    night(root, 0)
    (outcome,) = fitted(root)
    assert outcome.row is not None
    assert (outcome.row.temperatures, outcome.row.coldest_c, outcome.row.warmest_c) == (1, -10.0, -10.0)
    (line,) = said(root.heard)
    assert "constant of 4 biases at 1 temperature" in line
    assert "it holds at -10.0 °C alone, for other temperatures no error can be given: take biases at a second" in line


def test_the_same_frames_are_not_fitted_twice_and_new_ones_are(root: Root) -> None:
    night(root, 0)
    fitted(root)
    before = files(root)
    (again,) = fitted(root)
    assert again.kept
    assert files(root) == before
    night(root, 1, 0.0)
    (anew,) = fitted(root)
    assert not anew.kept
    assert anew.row is not None
    assert anew.row.temperatures == 2
    assert {Path(name).parts[1] for name in files(root)} == {Path(name).parts[1] for name in before}, "the name stays"


def test_a_model_of_an_earlier_method_is_fitted_anew(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    night(root, 0)
    earlier = tuple(replace(kind, method=kind.method - 1) for kind in library.KINDS)
    with monkeypatch.context() as before:
        before.setattr(library, "KINDS", earlier)
        (old,) = fitted(root)
    (anew,) = fitted(root)
    assert old.row is not None
    assert anew.row is not None
    assert (anew.kept, anew.row.path) == (False, old.row.path)
    assert fitted(root)[0].kept


def test_a_model_of_which_a_file_is_gone_is_fitted_again(root: Root) -> None:
    night(root, 0)
    (first,) = fitted(root)
    assert first.row is not None
    (root.layout.absolute(first.row.path) / "bias_model" / "bias_model.fits").unlink()
    (again,) = fitted(root)
    assert not again.kept
    assert fitted(root)[0].kept


@pytest.mark.parametrize("size", [0, 2880, 20_000, -1])
def test_a_model_whose_file_lost_bytes_is_fitted_again(root: Root, size: int) -> None:
    night(root, 0)
    (first,) = fitted(root)
    assert first.row is not None
    planes = root.layout.absolute(first.row.path) / "bias_model" / "bias_model.fits"
    with planes.open("r+b") as file:
        file.truncate(size if size >= 0 else planes.stat().st_size + size)
    (again,) = fitted(root)
    assert not again.kept
    assert fitted(root)[0].kept


@pytest.mark.parametrize("name", ["bias_model.fits", "bias_model.json"])
def test_a_model_of_which_a_byte_has_changed_is_fitted_again(root: Root, name: str) -> None:
    night(root, 0)
    (first,) = fitted(root)
    assert first.row is not None
    path = root.layout.absolute(first.row.path) / "bias_model" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if name.endswith("fits") else 3] ^= 255
    path.write_bytes(content)
    (again,) = fitted(root)
    assert not again.kept
    assert "fitted anew: a file of the one before was missing or damaged" in said(root.heard)[-1]
    assert fitted(root)[0].kept


def test_a_folder_that_cannot_be_written_is_said_and_ends_no_run(root: Root) -> None:
    night(root, 0)
    root.layout.models.write_text("a file of somebody", encoding="utf-8")
    (outcome,) = fitted(root)
    assert outcome.row is None
    assert "check the disk and its permissions" in outcome.detail
    assert root.layout.models.read_text(encoding="utf-8") == "a file of somebody"


@pytest.mark.parametrize("is_named", [False, True])
def test_a_kill_while_a_model_takes_the_place_of_another_loses_neither(root: Root, is_named: bool) -> None:
    night(root, 0)
    (first,) = fitted(root)
    assert first.row is not None
    folder = root.layout.absolute(first.row.path)
    before = folder.with_name(f".before-{folder.name}")
    if is_named:
        shutil.copytree(folder, before)
    else:
        folder.rename(before)
    (again,) = fitted(root)
    assert again.kept
    assert [path.name for path in root.layout.models.iterdir()] == [folder.name]


def test_a_catalogue_that_was_lost_knows_the_models_again(root: Root) -> None:
    night(root, 0)
    fitted(root)
    rows = root.catalogue.models()
    assert rows
    rebuild(root.catalogue, root.layout)
    assert root.catalogue.models() == rows
    assert fitted(root)[0].kept


def test_each_setting_of_the_camera_has_a_model_of_its_own(root: Root) -> None:
    night(root, 0, gain=10)
    night(root, 1, gain=20)
    rows = [each.row for each in fitted(root)]
    assert {row.key.gain for row in rows if row} == {10, 20}
    assert len(list(root.layout.models.iterdir())) == 2


def spoil_by_mark(root: Root, paths: list[Path]) -> None:
    names = {root.layout.relative(path) for path in paths}
    rows = [row for row in root.catalogue.frames() if row.path in names]
    root.catalogue.set_flag(Flag.BAD, pixels=tuple(row.pixel_sha256 for row in rows), reason="light", at=AT)


def spoil_by_master(root: Root, _paths: list[Path]) -> None:
    root.build(bias=True, darks=False, flats=False, num_darks=4)
    newest = max(root.catalogue.masters(), key=lambda row: row.first)
    root.catalogue.add_master(replace(newest, status=MasterStatus.SUSPECT))


@pytest.mark.parametrize("spoil", [spoil_by_mark, spoil_by_master])
def test_frames_that_somebody_rejected_or_a_doubted_master_holds_are_in_no_model(
    root: Root, spoil: Callable[[Root, list[Path]], None]
) -> None:
    night(root, 0)
    paths = night(root, 1)
    (first,) = fitted(root)
    assert first.row is not None
    assert len(first.row.inputs) == 8
    assert len(root.catalogue.valid_models(kind="bias")) == 1
    spoil(root, paths)
    if spoil is spoil_by_mark:
        assert root.catalogue.valid_models(kind="bias") == []
    (second,) = fitted(root)
    assert second.row is not None
    assert len(second.row.inputs) == 4
    assert len(root.catalogue.valid_models(kind="bias")) == 1
    gone = "fitted anew: 4 frames of the one before left out (rejected, invalidated, or of a master that is)"
    assert gone in said(root.heard)[-1]
    night(root, 2)
    fitted(root)
    assert "fitted anew: 4 new frames" in said(root.heard)[-1]


def test_a_model_that_moved_says_by_how_many_errors(root: Root) -> None:
    for number in range(4):
        night(root, number)
    fitted(root)
    night(root, 4)
    fitted(root)
    assert "it has not moved: level" in said(root.heard)[-1]
    root.pattern = root.pattern + 60.0
    for number in range(5, 30):
        night(root, number)
    fitted(root)
    assert "it has moved: level 500" in said(root.heard)[-1]


def test_a_fit_that_is_stopped_leaves_the_model_before_it(root: Root) -> None:
    night(root, 0)
    fitted(root)
    before, rows = files(root), root.catalogue.models()
    night(root, 1)
    wake = threading.Event()
    wake.set()
    with pytest.raises(RunStopped):
        fitted(root, wake=wake)
    assert files(root) == before
    assert root.catalogue.models() == rows


def test_no_model_is_begun_for_which_there_is_no_room(root: Root) -> None:
    night(root, 0)
    (outcome,) = fitted(root, Wishes(kinds=("bias",), min_free_mb=1e9))
    assert outcome.row is None
    assert "make room on the disk" in outcome.detail
    assert outcome.words.startswith("no model of the bias: it needs ")
    assert not list(root.layout.models.glob("*"))


def test_a_model_that_cannot_be_fitted_anew_serves_on_and_the_settings_are_said(root: Root) -> None:
    night(root, 0)
    night(root, 0, gain=20)
    fitted(root)
    before = root.catalogue.models()
    night(root, 1, gain=20)
    kept, lacking = sorted(fitted(root, Wishes(kinds=("bias",), min_free_mb=1e9)), key=lambda each: each.row is None)
    assert kept.kept
    (row,) = (row for row in before if row.key.gain == 20)
    start = f"the model of the bias (gain 20, binning 1 x 1, 64 x 48 pixels) is not fitted anew, {row.path} serves on: "
    assert lacking.words.startswith(start)
    assert root.catalogue.valid_models() == before
    (as_before,) = (each for each in models_of(root.heard) if each["outcome"] == "as_before")
    assert as_before["path"] == row.path


def test_the_models_of_a_kind_that_is_not_wanted_are_not_fitted(root: Root) -> None:
    night(root, 0)
    assert fitted(root, Wishes(kinds=())) == ()


def test_a_reader_of_the_catalogue_sees_the_model(root: Root) -> None:
    night(root, 0)
    (outcome,) = fitted(root)
    with Catalogue(root.layout.catalogue, read_only=True) as reader:
        (row,) = reader.valid_models(kind="bias")
    assert outcome.row is not None
    assert (row.path, row.recipe, row.inputs) == (outcome.row.path, outcome.row.recipe, outcome.row.inputs)


def test_flats_of_each_filter_have_a_model_with_their_darks_and_leave_no_steps_behind(root: Root) -> None:
    root.add(FrameKind.DARK, 2.0, 6)
    for name in ("L", "R"):
        root.add(FrameKind.FLAT, 2.0, 6, filter=name)
    outcomes = fitted(root, Wishes(kinds=("flat",)))
    assert [each.row is not None for each in outcomes] == [True, True], outcomes
    assert {each.row.key.filter for each in outcomes if each.row} == {"L", "R"}
    assert {len(each.row.inputs) for each in outcomes if each.row} == {12}
    assert [each["n"] for each in models_of(root.heard)] == [6, 6], "flats, without the darks beside them"
    assert all(" of 6 flats at " in line for line in said(root.heard))
    folders = {path.name for path in root.layout.models.glob("flat_*/*")}
    assert "flat_model_fits" in folders
    assert not folders & {"flat_reduced", "flat_normalized", "flat_darks"}
    assert all(each.kept for each in fitted(root, Wishes(kinds=("flat",))))


def test_flats_without_a_dark_have_no_model_and_say_why(root: Root) -> None:
    root.add(FrameKind.FLAT, 2.0, 6, filter="L")
    (outcome,) = fitted(root, Wishes(kinds=("flat",)))
    assert outcome.row is None
    assert "dark" in outcome.detail


def test_a_flat_model_is_of_the_newest_sets() -> None:
    from services.catalogue.rows import FrameRow
    from services.models.of_catalogue import _newest

    def row(number: int, of: int) -> FrameRow:
        return FrameRow(
            path=f"{of}_{number}", pixel_sha256="", size=1, mtime_ns=1, kind=FrameKind.FLAT, camera="c", height=1,
            width=1, set_id=f"s{of}", date_obs=AT + timedelta(days=of, seconds=number),
        )  # fmt: skip

    rows = [row(i, of) for of in range(4) for i in range(5)]
    assert {each.set_id for each in _newest(rows, 12)} == {"s3", "s2"}
    assert {each.set_id for each in _newest(rows, 3)} == {"s3"}
    assert len(_newest(rows, None)) == 20


def test_darks_and_their_biases_have_a_model_that_flats_may_use(root: Root) -> None:
    root.add(FrameKind.BIAS, 0.001, 6)
    for exposure_s in (1.0, 4.0, 8.0):
        root.add(FrameKind.DARK, exposure_s, 6)
    (outcome,) = fitted(root, Wishes(kinds=("dark",)))
    assert outcome.row is not None, outcome.detail
    assert len(outcome.row.inputs) == 24
    assert [each["n"] for each in models_of(root.heard)] == [18], "darks, without their biases"
    assert fitted(root, Wishes(kinds=("dark",)))[0].kept
    root.add(FrameKind.FLAT, 3.0, 12, filter="L", light=5000.0)
    flat = root.build(flat_dark="model")[-1]
    assert flat.path is not None, flat.detail
    header = fits.getheader(flat.path)
    assert header["FLATDARK"] == "model"
    assert header["DARKMSIG"] == pytest.approx(6.0, abs=4 * header["DARKMERR"])


def test_a_defect_of_a_fit_ends_no_run_and_is_said(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    night(root, 0)
    monkeypatch.setattr("services.models.bias.library.fit", lambda *_, **__: 1 / 0)
    (outcome,) = fitted(root)
    assert outcome.row is None
    assert "the fit has failed (ZeroDivisionError: division by zero)" in outcome.detail
    assert not list(root.layout.models.glob("*"))


def test_what_is_said_of_a_dark_model_is_one_sentence(root: Root) -> None:
    root.add(FrameKind.BIAS, 0.001, 6)
    for exposure_s in (1.0, 4.0):
        root.add(FrameKind.DARK, exposure_s, 6)
    fitted(root, Wishes(kinds=("dark",)))
    (line,) = said(root.heard)
    assert ".;" not in line
    assert "; the biases have one temperature" in line
