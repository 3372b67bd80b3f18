"""Analyses of made series, from files: nothing in sensors that did not change, and pulls of strengths and slopes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from calibration.frames import FrameKind
from calibration.models.structure.history import trends_of
from services.models.structure.model import Asked, fit
from tests.support.made_structures import GAIN, Sensor, box
from tests.support.structure_frames import write_epoch

SHAPE = (32, 40)
NIGHTS = 6


def test_slopes_of_strengths_have_the_errors_that_they_state() -> None:
    """Of uneven nights and temperatures, with unequal errors; where these are too small, the slopes are widened."""
    rng = np.random.default_rng(1)
    days = np.array([0.0, 3.0, 11.0, 12.0, 30.0, 31.0, 45.0, 60.0])
    for factor, bounds in ((1.0, (0.7, 1.1)), (3.0, (0.85, 1.25))):
        pulls, alarms = [], 0
        for _ in range(400):
            celsius, sigma = rng.uniform(-10, 10, days.size), rng.uniform(1e-3, 3e-3, days.size)
            noise = factor * sigma * rng.standard_normal(days.size)
            found = trends_of(0.02 + 2e-4 * days - 5e-4 * celsius + noise, sigma, [days, celsius])
            pulls.append([(t.slope - true) / t.sigma for t, true in zip(found, (2e-4, -5e-4), strict=True)])
            alarms += trends_of(noise, sigma, [days, celsius])[0].p < 0.05
        values = np.array(pulls)
        assert np.all(np.abs(values.mean(axis=0)) < 0.3)
        rms = np.sqrt((values**2).mean(axis=0))
        assert np.all((rms > bounds[0]) & (rms < bounds[1])), rms
        assert alarms <= 30  # of 400; 20 are expected, with 4.4


def _unchanged(folder: Path, seed: int, exposures: Sequence[float]) -> int:
    sensor, rng = Sensor(seed, SHAPE), np.random.default_rng(1000 + seed)
    for night, exposure in enumerate(exposures):
        light = 4500 / exposure * (1 + 0.02 * rng.standard_normal())
        frames = sensor.frames(3, exposure_s=exposure, light=light, drift=0.02 * night)
        write_epoch(folder / "B", FrameKind.FLAT, frames, night=night, exposure_s=exposure)
    (found,) = fit(folder / "B", folder / "out", Asked())
    assert len(found.sidecar["comparisons"]) == len(exposures) - 1
    return len(found.sidecar["structures"])


@pytest.mark.long
@pytest.mark.parametrize("exposures", [(10.0, 10.0, 10.0), (10.0, 5.0, 20.0)])
def test_nothing_is_found_from_files_of_sensors_that_did_not_change(
    tmp_path: Path, exposures: tuple[float, ...]
) -> None:
    assert sum(_unchanged(tmp_path / str(seed), seed, exposures) > 0 for seed in range(20)) <= 1


Strength = Callable[[int], float]


def _level(sensor: Sensor, depth: float) -> NDArray[np.float64]:
    """Return what the flats of a night have on average, with the bias and the dark current, which are not taken off."""
    light = 450.0 * sensor.flat * box(12, 16, 20, 24, 1 - depth)(sensor.rows, sensor.columns)
    return np.asarray(sensor.bias + 10.0 * GAIN * (sensor.dark + light))


def _pulls(folder: Path, seed: int, depth: Strength) -> tuple[list[float], float]:
    """Return the pulls of the strengths of a shadow with sharp edges, and that of its slope."""
    sensor = Sensor(seed, SHAPE)
    for night in range(NIGHTS):
        frames = sensor.frames(4, changes=[box(12, 16, 20, 24, 1 - depth(night))])
        write_epoch(folder / "B", FrameKind.FLAT, frames, night=night)
    (found,) = fit(folder / "B", folder / "out", Asked())
    row = max(found.sidecar["structures"], key=lambda each: each["z"])
    mine = fits.getdata(folder / "out" / "structures.fits", "STRUCT") == row["structure"]
    levels = [_level(sensor, depth(night))[mine] for night in range(NIGHTS)]
    true = np.array([(level / levels[0] - 1).mean() for level in levels])
    rows = [each for each in found.sidecar["history"] if each["structure"] == row["structure"]]
    strength, sigma = (np.array([each[name] for each in rows]) for name in ("strength", "sigma"))
    slope = np.polyfit(10.0 * np.arange(NIGHTS), true, 1)[0]
    pulls = (strength - true)[1:] / np.hypot(sigma[1:], sigma[0])
    return list(pulls), (row["per_day"] - slope) / row["per_day_sigma"]


@pytest.mark.long
def test_strengths_and_slopes_from_files_have_the_errors_that_they_state(tmp_path: Path) -> None:
    made = [_pulls(tmp_path / str(seed), seed, lambda night: 0.02 * night) for seed in range(100)]
    strengths, slopes = np.array([each for pulls, _ in made for each in pulls]), np.array([slope for _, slope in made])
    for values in (strengths, slopes):
        assert abs(values.mean()) < 0.3
        assert 0.85 < np.sqrt((values**2).mean()) < 1.15
