"""How old the darks of a model are when flats get a dark of it, and models of kinds that nobody fits any more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.config import load
from services.masters import MasterOutcome, Outcome
from services.planning.master_settings import MasterSettings
from services.planning.predicted_darks import AgeLimit
from tests.support.made_root import START, Root
from tests.unit.services.masters.test_predicted_darks import add_model
from tests.unit.services.masters.test_second_opinion import Darks, Nights

CONFIG = """\
camera: {camera_type: alpaca, alpaca: {host: localhost, port: 11111, gain: 10}}
master_frames: {flat_dark: model}
"""


def root_of(folder: Path, days: float | None) -> Root:
    """Return a root with flats whose model has a dark that is so old; None: it is not in the catalogue."""
    root = Root(folder)
    root.add(FrameKind.BIAS, 0.001, 12)
    root.add(FrameKind.FLAT, 3.0, 12, filter="L", date_obs=START)
    row = add_model(root)
    if days is not None:
        for number, older in enumerate((300.0, days)):
            at = START - timedelta(days=older)
            root.add(FrameKind.DARK, 9.0, 1, set_id=f"old_{number}", night=f"{at:%Y-%m-%d}", date_obs=at)
        darks = root.catalogue.frames(kind=FrameKind.DARK)
        biases = root.catalogue.frames(kind=FrameKind.BIAS)  # newer: they say nothing of the darks' age
        root.catalogue.add_model(replace(row, inputs=tuple(each.pixel_sha256 for each in (*darks, *biases))))
    return root


def built(root: Root, tmp_path: Path, more: str) -> MasterOutcome:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG + more, encoding="utf-8")
    settings = MasterSettings.of(load(path).config)
    return root.build(
        flat_dark="model", darks=False, dark_ages=settings.dark_ages, modelled=settings.modelled
    )[-1]  # fmt: skip


PROGRAMME = """\
programmes:
  - {{name: lrgb, gain: 10, bias: {{}}, darks: {{exposures: [60], max_age_days: {days:g}}}, flats: {{}}}}
  - {{name: slow, gain: 10, bias: {{}}, darks: {{exposures: [600], max_age_days: 300}}, flats: {{}}}}
  - {{name: other, gain: 20, bias: {{}}, darks: {{exposures: [60], max_age_days: 1}}, flats: {{}}}}
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (PROGRAMME.format(days=30), "darks.max_age_days is 30"),
        ("reuse: {dark_hours: 720}\n", "reuse.dark_hours is 720"),
    ],
)
def test_a_model_whose_darks_are_older_than_they_may_be_does_not_serve(tmp_path: Path, more: str, said: str) -> None:
    outcome = built(root_of(tmp_path, 41), tmp_path, more)
    assert (outcome.status, outcome.code) == (Outcome.REFUSED, "no_matching_dark")
    assert f"its newest dark was 41 days old when the flats were taken, {said} — take darks" in outcome.detail


@pytest.mark.parametrize("more", ["", PROGRAMME.format(days=60), "reuse: {dark_hours: 1440}\n"])
def test_a_younger_one_serves_and_the_flat_says_of_when_its_newest_dark_is(tmp_path: Path, more: str) -> None:
    root = root_of(tmp_path, 41)
    outcome = built(root, tmp_path, more)
    assert outcome.path is not None, outcome.detail
    newest = START - timedelta(days=41)
    taken = datetime.fromisoformat(fits.getheader(outcome.path)["DARKMDAT"]).replace(tzinfo=UTC)
    assert timedelta() <= taken - newest < timedelta(minutes=1)
    (row,) = root.catalogue.masters(kind=FrameKind.FLAT)
    assert f"(its newest dark is of {newest:%Y-%m-%d})" in row.statistics["dark"]


def test_darks_of_no_known_time_are_of_no_known_age(tmp_path: Path) -> None:
    outcome = built(root_of(tmp_path, None), tmp_path, "reuse: {dark_hours: 720}\n")
    assert "when its newest dark was taken is not known, and reuse.dark_hours is 720 — take darks" in outcome.detail
    outcome = built(root_of(tmp_path / "free", None), tmp_path, "")
    assert outcome.path is not None, outcome.detail
    assert "DARKMDAT" not in fits.getheader(outcome.path)


@pytest.mark.parametrize(("days", "passed"), [(-3, False), (29.9, False), (30, False), (30.1, True)])
def test_darks_that_were_taken_after_the_flats_are_not_too_old(days: float, passed: bool) -> None:
    limit = AgeLimit(days=30, said="darks.max_age_days is 30")
    assert bool(limit.passed(START - timedelta(days=days), START)) is passed


@pytest.mark.parametrize("kinds", [("dark", "flat"), ()])
def test_a_model_that_is_not_fitted_any_more_judges_no_new_master(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    nights = Nights(tmp_path)
    rows = nights.drift(0.0, 2)
    assert str(rows[1].statistics["modelled_by"]).startswith("models/bias_")
    assert str(rows[1].statistics["modelled_until"]).startswith("2026-01-01T20:0")
    build: Any = nights.root.build
    nights.root.build = lambda **more: build(**more, modelled=frozenset(kinds))  # type: ignore[method-assign]
    row = nights.night()
    assert row.statistics["not_modelled"] == "models of the bias are not fitted any more (models.fit, models.kinds)"
    assert "modelled_by" not in row.statistics


def test_nor_does_a_model_of_the_dark(tmp_path: Path) -> None:
    darks = Darks(tmp_path)
    build: Any = darks.root.build
    darks.root.build = lambda **more: build(**more, modelled=frozenset({"bias"}))  # type: ignore[method-assign]
    darks.root.hot = darks.root.hot + 60.0 / 5.0
    assert "models of the dark are not fitted any more" in darks.night().statistics["not_modelled"]


def test_which_models_are_fitted_is_what_the_file_says(tmp_path: Path) -> None:
    for more, kinds in (
        ("", {"bias", "dark", "flat"}),
        ("models: off\n", set()),
        ("models: {kinds: [bias]}\n", {"bias"}),
    ):
        path = tmp_path / "config.yaml"
        path.write_text(CONFIG + more, encoding="utf-8")
        assert MasterSettings.of(load(path).config).modelled == kinds
