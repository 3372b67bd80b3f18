"""A simulated night of 40 frames a group: masters recover the detector's truth within the uncertainty they claim."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.combine.recipe import MaskBit
from calibration.frames import FrameKind
from drivers.clock import ManualClock
from drivers.simulator.devices import SimulatedObservatory
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import MasterRow
from services.config import load
from services.config.simulation import parameters_of
from services.files.layout import Layout
from services.planning.request import RunOptions
from services.workflow.job import Job

NIGHT = """
dark_capture: {num_darks: 40, science_exposure_time: 20.0, exposure_factors: [1.0], persistence_wait: 10}
flat_capture: {num_flats: 40, filters: [L]}
cooling: {target_temperature: 5.0}
storage: {min_free_mb: 1}
camera:
  camera_type: simulator
  simulator: {width: 240, height: 200, rate: 2000}
"""


@dataclass(frozen=True)
class Found:
    row: MasterRow
    header: fits.Header
    mean: np.ndarray
    sigma: np.ndarray
    mask: np.ndarray
    truth: np.ndarray

    @property
    def good(self) -> np.ndarray:
        return self.mask == 0


@pytest.fixture(scope="module")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Found]]:
    root = tmp_path_factory.mktemp("truth")
    (root / "night.yaml").write_text(NIGHT)
    loaded = load(root / "night.yaml")
    result = Job(loaded, RunOptions()).run()
    assert result.exit_code == 0, result.detail
    layout = Layout(root)
    parameters = parameters_of(loaded.config.camera.simulator, loaded)
    with SimulatedObservatory(parameters, ManualClock()) as observatory, Catalogue(layout.catalogue) as catalogue:
        yield [_found(row, layout, observatory) for row in catalogue.masters()]


def _found(row: MasterRow, layout: Layout, observatory: SimulatedObservatory) -> Found:
    path = layout.absolute(row.path)
    with fits.open(path) as master, fits.open(layout.planes_path(path)) as planes:
        header, mean = master[0].header, master[0].data.astype(np.float64)
        sigma, mask = planes["SIGMA"].data.astype(np.float64), np.array(planes["MASK"].data)
    good = mask == 0
    if row.kind is FrameKind.FLAT:
        name = f"flat:{row.key.filter}"
        truth = observatory.truth(names=(name,))[name].astype(np.float64)
        truth *= np.sum((mean * truth / sigma**2)[good]) / np.sum((truth**2 / sigma**2)[good])
    else:
        maps = observatory.truth(temperature_c=header["CCD-TEMP"], exposure_s=header["EXPTIME"], names=("dark",))
        truth = maps["dark"].astype(np.float64)
        truth += np.mean((mean - truth)[good])  # the session's offset is common to all pixels, and not in the truth
    return Found(row=row, header=header, mean=mean, sigma=sigma, mask=mask, truth=truth)


def test_errors_are_as_large_as_sigma_says(masters: list[Found]) -> None:
    assert sorted(str(m.row.kind) for m in masters) == ["BIAS", "DARK", "DARK", "DARK", "FLAT"]
    for m in masters:
        ratio = np.sum((m.mean - m.truth)[m.good] ** 2) / np.sum(m.sigma[m.good] ** 2)
        assert 0.9 < ratio < 1.1, (m.row.path, ratio)


def test_every_master_is_judged_ok(masters: list[Found]) -> None:
    for m in masters:
        assert m.row.statistics["verdict"] == "ok", (m.row.path, m.row.statistics["verdicts"])


def test_hot_pixels_are_flagged_and_few_others(masters: list[Found]) -> None:
    m = max((m for m in masters if m.row.kind is FrameKind.DARK), key=lambda m: m.row.exposure_us or 0)
    hot = (m.mask & MaskBit.HOT) > 0
    excess = m.truth - np.median(m.truth) - m.row.statistics["hot_threshold_adu"]
    sure = excess >= 8 * m.sigma
    assert sure.sum() >= 20
    assert hot[sure].mean() >= 0.99
    assert (hot & (excess < 0)).mean() <= 0.001


def test_flat_subtracted_the_dark_of_its_own_exposure(masters: list[Found]) -> None:
    flat = next(m for m in masters if m.row.kind is FrameKind.FLAT)
    dark = next(m for m in masters if m.row.path.endswith(flat.header["DARKFILE"]))
    assert dark.row.exposure_us == flat.row.exposure_us
    assert flat.header["FLATDARK"] == "matched"
    assert flat.header["DARKSHA"] == dark.row.pixel_sha256
    assert Path(dark.row.path).name == flat.header["DARKFILE"]
