"""Masters of a simulated night of 40 frames a group against the detector's truth, with nothing fitted.

The observatory is served over its real wire and keeps a record of what every exposure really was: temperature, light,
settings. Each stored frame is found among the records by its pixels, which a record gives again bit by bit, so that its
expectation is known. The truth of a bias or dark is the mean of its frames' expectations; that of a flat is made of the
expectations of its flats and of its dark by the arithmetic that its own file documents,
``sum(SCALE_i (flat_i - dark)) / n / FLATNORM``. Scales and norm are numbers of whole frames, known to some 1e-5.

What is common to all pixels is therefore not taken off, and need not be:

- the level's offset of the night is part of the conditions, the lamp's flicker from exposure to exposure too;
- the offset of single frames (0.1 ADU) and the noise of rows (0.2 ADU) are noise: they are in the scatter of the
  samples, hence in SIGMA, and average out as 1/40 of their variance, some 0.3 % of a bias's SIGMA²;
- the dark of a flat errs the same in all its flats; its SIGMA is in the flat's in quadrature
  (docs/contracts.md, "Planes of a master").

The noise of a ratio over 70 000 pixels is 0.5 %, that of a quarter of them 1 %. Hot pixels are four times as many as by
default, so that 1 % of them is several pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from calibration.combine.recipe import MaskBit
from calibration.frames import FrameKind
from drivers.simulator.devices import SimulatedObservatory
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import MasterRow
from services.files.fits import pixel_hash
from services.files.layout import Layout
from tests.support.served_night import ServedNight, served_night

EVENING = datetime(2026, 11, 20, 18, tzinfo=UTC)
MONO: dict[str, Any] = {}
COLOUR: dict[str, Any] = {
    "wheel": None,
    "camera": {"colour": True, "detector": {"hot_fraction": 2e-3, "colour_throughput": [0.3, 1.0, 0.6]}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """One master and its truth, shape (y, x); a flat's in units of its FLATNORM."""

    row: MasterRow
    header: fits.Header
    mean: np.ndarray
    sigma: np.ndarray
    mask: np.ndarray
    truth: np.ndarray

    @property
    def good(self) -> np.ndarray:
        return self.mask == 0

    @property
    def name(self) -> str:
        return Path(self.row.path).name

    def ratio(self, where: np.ndarray) -> float:
        """Squared errors over what SIGMA promises of them."""
        return float(np.sum((self.mean - self.truth)[where] ** 2) / np.sum(self.sigma[where] ** 2))


class Expectations:
    """The mean of infinitely many frames like each one that was taken, by the frame's pixels."""

    def __init__(self, observatory: SimulatedObservatory) -> None:
        darkroom, self._truths = observatory._darkroom, observatory.truths()
        self._taken = {
            pixel_hash(darkroom.submit(record.conditions).result()): record.conditions
            for record in observatory.records()
        }

    def of(self, row: MasterRow) -> np.ndarray:
        """Return the expectations of a master's frames, shape (n, y, x)."""
        return np.stack([self._truths.frame(self._taken[sha]).astype(np.float64) for sha in row.inputs])


@pytest.fixture(scope="module", params=[MONO, COLOUR], ids=["mono", "colour"])
def recovered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Recovered]]:
    steady = {"ambient_drift_c_per_hour": 0.0}  # a slow machine makes a long night, which would get too cold for 5 °C
    sensor = {"width": 320, "height": 240, "cooler": steady, "detector": {"hot_fraction": 2e-3}}
    sensor |= request.param.get("camera", {})
    observatory = {**request.param, "camera": sensor}
    with served_night(tmp_path_factory.mktemp("night"), rate=3000, start=EVENING, **observatory) as night:
        ended = night.run(
            dark_capture={"num_darks": 40, "science_exposure_time": 20.0, "exposure_factors": [0.25, 1.0]},
            flat_capture={"num_flats": 40, "filters": ["L", "SII"] if night.observatory.wheel else []},
            cooling={"target_temperature": 5.0},
        )
        assert ended.exit_code == 0, ended.result.detail
        yield list(_recovered(night))


def _recovered(night: ServedNight) -> Iterator[Recovered]:
    layout, expected = Layout(night.root), Expectations(night.observatory)
    with Catalogue(layout.catalogue) as catalogue:
        rows = {Path(row.path).name: row for row in catalogue.masters()}
    for row in rows.values():
        path = layout.absolute(row.path)
        with fits.open(path) as master, fits.open(layout.planes_path(path)) as planes:
            header, mean = master[0].header, master[0].data.astype(np.float64)
            sigma, mask = planes["SIGMA"].data.astype(np.float64), np.array(planes["MASK"].data)
            scale = np.array(planes["INPUTS"].data["SCALE"], np.float64)
        truth = expected.of(row)
        if row.kind is FrameKind.FLAT:
            dark = expected.of(rows[header["DARKFILE"]]).mean(axis=0)
            truth = scale[:, None, None] * (truth - dark) / header["FLATNORM"]
        yield Recovered(row=row, header=header, mean=mean, sigma=sigma, mask=mask, truth=truth.mean(axis=0))


def test_every_kind_of_master_is_there(recovered: list[Recovered]) -> None:
    kinds = [m.row.kind for m in recovered]
    assert kinds.count(FrameKind.BIAS) == 1
    assert kinds.count(FrameKind.DARK) >= 4, "bias time, flat times, 5 s and 20 s"
    assert kinds.count(FrameKind.FLAT) in {1, 2}
    assert {m.row.n for m in recovered} == {40}


def test_every_master_is_judged_ok(recovered: list[Recovered]) -> None:
    for m in recovered:
        assert m.row.statistics["verdict"] == "ok", (m.name, m.row.statistics["verdicts"])


def test_flats_subtracted_the_dark_of_their_own_exposure(recovered: list[Recovered]) -> None:
    by_name = {m.name: m.row for m in recovered}
    for flat in (m for m in recovered if m.row.kind is FrameKind.FLAT):
        dark = by_name[flat.header["DARKFILE"]]
        assert dark.exposure_us == flat.row.exposure_us
        assert flat.header["FLATDARK"] == "matched"
        assert flat.header["DARKSHA"] == dark.pixel_sha256


def test_errors_are_as_large_as_sigma_says(recovered: list[Recovered]) -> None:
    ratios = {m.name: m.ratio(m.good) for m in recovered}
    assert all(0.9 <= ratio <= 1.1 for ratio in ratios.values()), ratios


def test_they_are_so_at_every_level(recovered: list[Recovered]) -> None:
    """Not only on average: in corners and centre of flats, in cold and warm pixels of darks."""
    for m in recovered:
        edges = np.quantile(m.truth[m.good], [0.25, 0.5, 0.75])
        quarter = np.digitize(m.truth, edges)
        ratios = [m.ratio(m.good & (quarter == i)) for i in range(4)]
        assert all(0.9 <= ratio <= 1.1 for ratio in ratios), (m.name, ratios)


def test_few_pixels_are_masked_and_few_are_far_off(recovered: list[Recovered]) -> None:
    for m in recovered:
        assert m.good.mean() > 0.99, m.name
        far = np.abs(m.mean - m.truth)[m.good] > 4 * m.sigma[m.good]
        assert far.mean() < 2e-3, m.name  # 6e-5 of a Gaussian; of Student's t with 39 degrees of freedom 3e-4


def test_hot_pixels_are_flagged_and_few_others(recovered: list[Recovered]) -> None:
    found = sure = 0
    for m in (m for m in recovered if m.row.kind is not FrameKind.FLAT):
        flagged = (m.mask & MaskBit.HOT) > 0
        excess = m.truth - ndimage.median_filter(m.truth, 15) - m.row.statistics["hot_threshold_adu"]
        clear = excess >= 8 * m.sigma
        found, sure = found + int((flagged & clear).sum()), sure + int(clear.sum())
        assert (flagged & (excess < 0)).mean() <= 1e-3, m.name
    assert sure >= 300
    assert found >= 0.99 * sure
