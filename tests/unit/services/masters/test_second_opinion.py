"""The model as a second reference of a new master: what no comparison of one night with the next can see."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.errors import MasterCode
from calibration.frames import FrameKind
from drivers.clock import ManualClock
from services.catalogue.rows import MasterRow, MasterStatus
from services.events.bus import Events
from services.events.findings import findings_of
from services.library.orders import MasterOrder, obey
from services.models.library import Library, Wishes
from services.root import Place
from tests.support.made_root import Root
from tests.unit.services.masters.test_predicted_darks import add_model, spoil

FIRST = datetime(2026, 1, 1, 20, tzinfo=UTC)


class Nights:
    """Biases of one night after the other, each with its master, and the model fitted after it."""

    def __init__(self, folder: Path, *, models: bool = True) -> None:
        self.root = Root(folder)
        self.root.pattern = self.root.pattern - 60.0  # below the level from which on a frame has shot noise
        self.models = models
        self.number = 0

    def night(self, *, celsius: float = -10.0, **more: object) -> MasterRow:
        at = FIRST + timedelta(days=self.number)
        self.root.add(
            FrameKind.BIAS, 0.001, 4, set_id=f"night_{self.number}", night=f"{at:%Y-%m-%d}", date_obs=at,
            ccd_temp_c=celsius, set_temp_c=celsius, **more,
        )  # fmt: skip
        self.number += 1
        self.root.build(num_biases=4, num_darks=4, darks=False, flats=False)
        (row,) = (r for r in self.root.catalogue.masters(kind=FrameKind.BIAS) if r.night == f"{at:%Y-%m-%d}")
        if self.models:
            self.fit()
        return row

    @property
    def place(self) -> Place:
        return Place(layout=self.root.layout, catalogue=self.root.catalogue)

    def fit(self) -> None:
        events = Events(run_id="run", clock=ManualClock(FIRST))
        Library(self.place, events, lambda: FIRST).fit_all(Wishes(kinds=("bias",)))
        events.close()

    def drift(self, adu: float, nights: int) -> list[MasterRow]:
        rows = []
        for _ in range(nights):
            rows.append(self.night())
            self.root.pattern = self.root.pattern + adu
        return rows


def codes(row: MasterRow) -> set[str]:
    return {finding.code for finding in findings_of(row.statistics)}


def test_a_bias_that_drifts_a_little_each_night_is_suspected_by_the_model_alone(tmp_path: Path) -> None:
    alone = Nights(tmp_path / "alone", models=False)
    assert {row.status for row in alone.drift(2.5, 14)} == {MasterStatus.CERTIFIED}
    nights = Nights(tmp_path / "modelled")
    rows = nights.drift(2.5, 14)
    suspect = [number for number, row in enumerate(rows) if row.status is MasterStatus.SUSPECT]
    assert suspect
    assert min(suspect) >= 6
    assert suspect == list(range(min(suspect), 14)), "what is suspect is in no model, and hides nothing"
    first = rows[min(suspect)]
    assert codes(first) == {MasterCode.LEVEL_DRIFTED}
    assert "higher than in the first " in findings_of(first.statistics)[0].detail
    assert str(first.statistics["modelled_by"]).startswith("models/bias_")


def test_a_level_that_somebody_accepts_is_the_level_from_then_on(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    rows = nights.drift(2.5, 14)
    (last,) = rows[-1:]
    assert last.status is MasterStatus.SUSPECT
    order = MasterOrder.from_dict({"order": "certify", "masters": [Path(last.path).name], "by": "me"})
    assert obey(nights.place, order, at=FIRST + timedelta(days=30)).ok
    nights.fit()
    assert nights.night().status is MasterStatus.CERTIFIED


def test_a_light_that_grows_over_the_frame_and_another_sensor_are_suspected(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    for _ in range(3):
        nights.night()
    gradient = np.linspace(-1.0, 1.0, nights.root.pattern.shape[1])
    for _ in range(12):
        nights.root.pattern = nights.root.pattern + 1.5 * gradient
        grown = nights.night()
        if grown.status is MasterStatus.SUSPECT:
            break
    assert MasterCode.STRUCTURE_CHANGED in codes(grown)
    assert "another shape over the frame than the model" in findings_of(grown.statistics)[0].detail


def test_the_model_of_a_master_is_not_made_with_its_frames(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    nights.night()
    nights.root.build(num_biases=4, num_darks=4, darks=False, flats=False, sigma=2.5)
    newest = max(nights.root.catalogue.masters(kind=FrameKind.BIAS), key=lambda row: row.path)
    assert newest.statistics["not_modelled"] == "the model of the bias holds these frames"
    assert "modelled_by" not in newest.statistics


@pytest.mark.parametrize(
    ("celsius", "gain", "why"),
    [(-4.0, 10, "was measured at -10.0 to -10.0 °C, not at -4.0 °C"), (-10.0, 20, "there is no model of the bias")],
)
def test_a_model_that_says_nothing_of_a_master_is_named_with_the_reason(
    tmp_path: Path, celsius: float, gain: int, why: str
) -> None:
    nights = Nights(tmp_path)
    nights.night()
    row = nights.night(celsius=celsius, gain=gain)
    assert why in row.statistics["not_modelled"]
    assert row.status is MasterStatus.CERTIFIED


def test_healthy_nights_of_many_temperatures_are_certified(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    rng = np.random.default_rng(3)
    level = nights.root.pattern
    for number in range(12):
        nights.root.pattern = level + rng.normal(0.0, 2.0)
        assert nights.night(celsius=(-10.0, 0.0)[number % 2]).status is MasterStatus.CERTIFIED
    (model,) = nights.root.catalogue.valid_models(kind="bias")
    assert (model.temperatures, model.sessions, len(model.said["levels"])) == (2, 12, 12)


class Darks:
    """Biases, a model of the dark, and darks of one night after the other, each with its master."""

    def __init__(self, folder: Path) -> None:
        self.root = Root(folder)
        self.root.add(FrameKind.BIAS, 0.001, 8)
        self.root.build(num_biases=8, darks=False, flats=False)
        self.model = add_model(self.root)
        self.number = 0

    def night(self, exposure_s: float = 5.0, **more: object) -> MasterRow:
        self.number += 1
        at = FIRST + timedelta(days=self.number)
        night = f"{at:%Y-%m-%d}"
        self.root.add(
            FrameKind.DARK, exposure_s, 8, set_id=f"dark_{self.number}", night=night, date_obs=at, **more
        )  # fmt: skip
        self.root.build(num_biases=8, num_darks=8, flats=False)
        (row,) = (r for r in self.root.catalogue.masters(kind=FrameKind.DARK) if r.night == night)
        return row


def test_a_dark_is_held_against_the_bias_with_the_signal_that_a_model_predicts(tmp_path: Path) -> None:
    darks = Darks(tmp_path)
    healthy = darks.night()
    assert (healthy.status, healthy.statistics["modelled_by"]) == (MasterStatus.CERTIFIED, darks.model.path)
    darks.root.hot = darks.root.hot + np.linspace(0.0, 24.0, darks.root.pattern.shape[1]) / 5.0
    lit = darks.night()
    assert lit.status is MasterStatus.SUSPECT
    assert MasterCode.STRUCTURE_CHANGED in codes(lit)


def test_a_level_far_from_the_prediction_is_suspected_until_somebody_accepts_it(tmp_path: Path) -> None:
    darks = Darks(tmp_path)
    darks.root.hot = darks.root.hot + 60.0 / 5.0
    first = darks.night()
    assert (first.status, codes(first)) == (MasterStatus.SUSPECT, {MasterCode.LEVEL_DRIFTED})
    assert "than a bias with the signal that the model" in findings_of(first.statistics)[0].detail
    place = Place(layout=darks.root.layout, catalogue=darks.root.catalogue)
    order = MasterOrder.from_dict({"order": "certify", "masters": [Path(first.path).name], "by": "me"})
    assert obey(place, order, at=FIRST + timedelta(days=30)).ok
    assert darks.night().status is MasterStatus.CERTIFIED


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"exposure_s": 20.0}, "it was measured at 0 to 10 s, not at 20 s"),
        ({"ccd_temp_c": 8.0, "set_temp_c": 8.0}, "was measured at -15.0 to 0.0 °C, not at 8.0 °C"),
        ({"ccd_temp_c": -3.0, "set_temp_c": -3.0}, "there is neither a certified bias nor a model of one"),
        ({"gain": 20}, "there is no model of the dark with these settings"),
    ],
)
def test_a_dark_of_which_a_model_says_nothing_is_not_judged_by_it(
    tmp_path: Path, more: dict[str, Any], why: str
) -> None:
    row = Darks(tmp_path).night(**more)
    assert why in row.statistics["not_modelled"]
    assert "modelled_by" not in row.statistics


class Warmer(Darks):
    """Darks of a temperature at which there is no master bias, but a model of the bias that was measured around it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for celsius in (-14.0, 0.0):
            self.root.add(FrameKind.BIAS, 0.001, 8, set_id=f"bias_{celsius}", ccd_temp_c=celsius, set_temp_c=celsius)
        self.fit()

    def fit(self) -> None:
        events = Events(run_id="run", clock=ManualClock(FIRST))
        place = Place(layout=self.root.layout, catalogue=self.root.catalogue)
        Library(place, events, lambda: FIRST).fit_all(Wishes(kinds=("bias",)))
        events.close()

    def warm_night(self) -> MasterRow:
        return self.night(ccd_temp_c=-7.0, set_temp_c=-7.0)


def test_where_there_is_no_master_bias_the_dark_is_held_against_the_bias_that_a_model_predicts(tmp_path: Path) -> None:
    darks = Warmer(tmp_path)
    healthy = darks.warm_night()
    assert (healthy.status, healthy.statistics["modelled_by"]) == (MasterStatus.CERTIFIED, darks.model.path)
    darks.root.hot = darks.root.hot + np.linspace(0.0, 24.0, darks.root.pattern.shape[1]) / 5.0
    lit = darks.warm_night()
    assert lit.status is MasterStatus.SUSPECT
    assert MasterCode.STRUCTURE_CHANGED in codes(lit)


@pytest.mark.parametrize("kind", ["bias", "dark"])
def test_a_damaged_model_judges_nothing_and_is_fitted_anew(tmp_path: Path, kind: str) -> None:
    darks = Warmer(tmp_path)
    (model,) = darks.root.catalogue.models(kind=kind)
    spoil(darks.root.layout.absolute(model.path) / model.said["planes"]["file"])
    row = darks.warm_night()
    assert row.status is MasterStatus.CERTIFIED
    assert str(row.statistics["not_modelled"]).startswith(f"{model.path}/{kind}_model/")
    assert "(DATASUM)" in row.statistics["not_modelled"]
    assert darks.root.catalogue.models(kind=kind) == []
    darks.fit()
    assert darks.root.catalogue.models(kind="bias") != []
