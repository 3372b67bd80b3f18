"""`flat_dark: model`: the dark of a flat that nobody measured, where a model may predict it, and else why not."""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from calibration.models.dark.model import DarkModel, Family, Law, Noise
from services.catalogue.models import ModelRow, settings_of
from services.errors import RunCode
from services.events.sentences import sentence
from services.files.planes import Plane, create_planes
from services.library.orders import MasterOrder, obey
from services.masters import MasterOutcome, Outcome
from services.root import Place
from tests.support.made_root import RATE, SHAPE, START, Root

MODEL = DarkModel(
    law=Law(family=Family.EXPONENTIAL, reference_c=-10.0), coldest_c=-15.0, warmest_c=0.0, shortest_s=0.0,
    longest_s=10.0, noise=Noise(read_adu2=25.0),
)  # fmt: skip
ERROR = 0.01
NAMES = {"theta": ["RATE", "SHAPE"], "covariance": ["COV_00", "COV_01", "COV_11"]}


def add_model(root: Root, model: DarkModel = MODEL, *, identity: str = "1", error: float = ERROR) -> ModelRow:
    """Write the true model of the small sensor and record it, as a fit does."""
    key = settings_of(FrameKind.DARK, root.catalogue.frames(kind=FrameKind.BIAS)[0].key())
    folder = root.layout.models / "dark_g10_test"
    rate = RATE + root.hot
    planes = {
        "RATE": rate, "SHAPE": np.full(SHAPE, 0.1), "COV_00": np.full(SHAPE, error**2),
        "COV_01": np.zeros(SHAPE), "COV_11": np.zeros(SHAPE),
    }  # fmt: skip
    path = folder / "dark_model" / f"dark_model_{identity}.fits"
    with create_planes(path, [Plane(name=name) for name in planes], SHAPE) as file:
        for name, plane in planes.items():
            file.write(name, 0, plane.astype(np.float32))
        file.seal()
        file.commit()
    row = ModelRow(
        path=root.layout.relative(folder), kind="dark", key=key, recipe="r", identity=identity,
        fitted_at=datetime(2026, 1, 2, tzinfo=UTC), coldest_c=-15.0, warmest_c=0.0, temperatures=3, sessions=3,
        inputs=(f"dark{identity}",),
        said={
            "model": asdict(model),
            "planes": {"file": f"dark_model/{path.name}", **NAMES},
            "typical": {"theta": [RATE, 0.1], "covariance": [error**2, 0.0, 0.0]},
        },
    )  # fmt: skip
    root.catalogue.add_model(row)
    return row


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Return a root with biases, and flats of 3 s without darks."""
    root = Root(tmp_path)
    root.add(FrameKind.BIAS, 0.001, 12)
    root.add(FrameKind.FLAT, 3.0, 12, filter="L")
    return root


def built(root: Root, **settings: object) -> MasterOutcome:
    return root.build(**{"flat_dark": "model", "model_error": 0.001, **settings})[-1]


def test_a_flat_without_a_dark_gets_the_predicted_one_and_says_so(root: Root) -> None:
    add_model(root)
    outcome = built(root)
    assert outcome.status is Outcome.BUILT, outcome.detail
    assert outcome.path is not None
    header = fits.getheader(outcome.path)
    assert (header["FLATDARK"], header["DARKMODL"], header["DARKMID"]) == ("model", "dark_g10_test", "1")
    assert header["DARKFILE"].startswith("master_bias_")
    assert header["DARKMSIG"] == pytest.approx(RATE * 3.0, rel=1e-3)
    assert header["DARKMERR"] == pytest.approx(3.0 * ERROR, rel=0.02)
    history = "".join("".join(map(str, header["HISTORY"])).split())  # lines end anywhere
    assert "6.00+-0.03ADUthatthemodeldark_g10_testpredictsfor3sat-10.0" in history
    (row,) = root.catalogue.masters(kind=FrameKind.FLAT)
    assert "the model dark_g10_test predicts" in row.statistics["dark"]
    assert row.darks == (f"master_frames/{header['DARKFILE']}",)


def test_the_flat_is_that_of_a_measured_dark(root: Root) -> None:
    add_model(root)
    predicted = built(root)
    root.add(FrameKind.DARK, 3.0, 12)
    measured = built(root)
    assert predicted.path is not None
    assert measured.path is not None
    assert fits.getheader(measured.path)["FLATDARK"] == "matched", "what was measured goes first"
    ours, theirs = (fits.getdata(path).astype(float) for path in (predicted.path, measured.path))
    assert np.std(ours / theirs - 1) < 3e-3
    assert abs(np.mean(ours / theirs) - 1) < 1e-4
    assert ours[5, 7] / theirs[5, 7] == pytest.approx(1.0, abs=0.02), "the hot pixel has its own dark"


def test_another_model_builds_the_flat_anew_and_the_same_one_does_not(root: Root) -> None:
    add_model(root)
    first = built(root)
    assert built(root).status is Outcome.KEPT
    add_model(root, identity="2")
    second = built(root)
    assert (second.status, second.path != first.path) == (Outcome.BUILT, True)


@pytest.mark.parametrize(
    ("model", "error", "why"),
    [
        (replace(MODEL, longest_s=2.0), ERROR, "it was measured at 0 to 2 s, not at 3 s"),
        (replace(MODEL, coldest_c=-5.0), ERROR, "it was measured at -5.0 to 0.0 °C, not at -10.0 °C"),
        (MODEL, 20.0, "its error is 60.02 ADU, allowed 19.76 ADU (models.max_error)"),
    ],
)
def test_a_prediction_outside_its_domain_or_too_uncertain_is_not_used(
    root: Root, model: DarkModel, error: float, why: str
) -> None:
    add_model(root, model, error=error)
    outcome = built(root)
    assert (outcome.status, outcome.code) == (Outcome.REFUSED, "no_matching_dark")
    assert "no model serves: models/dark_g10_test" in outcome.detail
    assert why in outcome.detail


def test_beyond_the_measured_temperatures_as_far_as_the_file_allows(root: Root) -> None:
    add_model(root, replace(MODEL, coldest_c=-8.0))
    assert built(root, model_beyond_c=1.0).status is Outcome.REFUSED
    assert built(root, model_beyond_c=3.0).status is Outcome.BUILT


def test_without_a_model_the_reason_is_said(root: Root) -> None:
    assert "no model serves: there is no model of the dark with these settings" in built(root).detail


def test_a_model_predicts_what_a_bias_lacks(root: Root) -> None:
    add_model(root)
    without = built(root, bias=False, darks=False)
    assert (
        "no model serves: the model predicts what a bias lacks, and there is no master bias that fits" in without.detail
    )


def test_one_temperature_has_no_error_at_another_one(root: Root) -> None:
    one = replace(MODEL, law=Law(family=Family.CONSTANT, reference_c=-8.0), coldest_c=-8.0, warmest_c=-8.0)
    row = add_model(root, one)
    said = {**row.said, "typical": {"theta": [RATE], "covariance": [ERROR**2]}}
    root.catalogue.add_model(replace(row, said=said))
    assert "has no error at -10.0 °C" in built(root, model_beyond_c=5.0).detail


def test_a_bias_that_is_enough_needs_no_model(root: Root) -> None:
    add_model(root)
    root.add(FrameKind.DARK, 0.5, 12)
    root.add(FrameKind.FLAT, 0.02, 12, filter="R", set_id="short", night="2026-01-01")
    outcome = next(each for each in root.build(flat_dark="model") if each.filter == "R")
    assert outcome.path is not None
    assert fits.getheader(outcome.path)["FLATDARK"] == "bias"


@pytest.mark.parametrize("how", ["matched", "bias"])
def test_other_ways_ask_no_model(root: Root, how: str) -> None:
    add_model(root)
    outcome = built(root, flat_dark=how)
    assert "model" not in outcome.detail
    assert outcome.status is (Outcome.BUILT if how == "bias" else Outcome.REFUSED)


def planes_of(root: Root, row: ModelRow) -> Path:
    return root.layout.absolute(row.path) / row.said["planes"]["file"]


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def spoil(path: Path, place: int = -1, *, plane: int = 0) -> None:
    """Change a byte of the data of a plane, or of its header; size and time of the file stay as they are."""
    before = path.stat()
    with fits.open(path) as units:
        of = units.fileinfo(plane)
    with path.open("r+b") as file:
        file.seek(of["hdrLoc"] + place if place >= 0 else of["datLoc"] + 100)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 16]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def spoil_a_header(path: Path) -> None:
    spoil(path, 85, plane=1)


def spoil_an_end(path: Path) -> None:
    with fits.open(path) as units:
        header = units[1].header.tostring()
    spoil(path, header.rindex("END     "), plane=1)


@pytest.mark.parametrize("damage", [cut, spoil, spoil_a_header, spoil_an_end, Path.unlink])
def test_a_damaged_model_is_said_and_forgotten_and_the_flat_is_refused(
    root: Root, damage: Callable[[Path], None]
) -> None:
    row = add_model(root)
    damage(planes_of(root, row))
    outcome = built(root)
    assert (outcome.status, outcome.code) == (Outcome.REFUSED, "no_matching_dark")
    assert "no model serves: there is no model of the dark with these settings" in outcome.detail
    (warned,) = [sentence(e.what) or "" for e in root.heard if getattr(e.what, "code", "") == RunCode.MODEL_DAMAGED]
    assert "models/dark_g10_test/dark_model/dark_model_1.fits: " in warned
    assert "`nightcal run --step models`" in warned
    assert not {str(root.layout.root), "Error", "astropy"} & {*warned.split()}
    assert root.catalogue.models() == []


def test_another_model_serves_where_one_is_damaged(root: Root) -> None:
    good = add_model(root)
    root.catalogue.add_model(replace(good, path="models/dark_g10_a", inputs=("a", "b")))  # it has more frames
    path = root.layout.models / "dark_g10_a" / good.said["planes"]["file"]
    path.parent.mkdir(parents=True)
    shutil.copy(planes_of(root, good), path)
    spoil(path)
    outcome = built(root)
    assert outcome.path is not None, outcome.detail
    assert fits.getheader(outcome.path)["DARKMODL"] == "dark_g10_test"
    assert [row.path for row in root.catalogue.models()] == ["models/dark_g10_test"]


def test_biases_serve_flats_that_were_taken_after_the_darks_were_invalidated(root: Root) -> None:
    add_model(root)
    root.add(FrameKind.DARK, 9.0, 12, date_obs=START)
    root.build(flats=False)
    since = START + timedelta(minutes=1)  # the biases are older
    order = MasterOrder.from_dict({"order": "invalidate", "kind": "DARK", "since": since.isoformat(), "by": "me"})
    place = Place(layout=root.layout, catalogue=root.catalogue)
    assert obey(place, order, at=since + timedelta(days=1)).ok
    outcome = built(root)
    assert outcome.path is not None, outcome.detail
    assert fits.getheader(outcome.path)["DARKFILE"].startswith("master_bias_")
