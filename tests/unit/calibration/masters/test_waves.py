"""Patterns that repeat themselves are found in any direction, with their amplitude and their period."""

import numpy as np
import pytest

from calibration.combine.recipe import BandPlanes
from calibration.masters.sketch import Sketch
from calibration.masters.waves import SEEN, Wave, wave_of

NOISE = 0.7


def found_in(pattern: np.ndarray, stride: int = 1) -> Wave:
    rng = np.random.default_rng(2)
    mean = (500 + pattern + rng.normal(0, NOISE, pattern.shape)).astype(np.float32)
    mean[rng.random(mean.shape) < 0.002] += 3000  # hot pixels are no pattern
    ones = np.ones_like(mean)
    planes = BandPlanes(mean=mean, sigma=ones, count=ones.astype(np.uint16), mask=ones.astype(np.uint16))
    sketch = Sketch.of(planes, stride=stride)
    wave = wave_of(sketch)
    assert wave is not None
    return wave


@pytest.mark.parametrize("shape", [(120, 200), (1030, 1060)])
@pytest.mark.parametrize(
    ("amplitude", "period_x", "period_y"),
    [(1.5, 25.0, 25.0), (0.4, 31.0, -7.3), (3.0, np.inf, 9.0), (0.8, 12.3, np.inf), (0.6, 2.7, 3.1)],
)
def test_a_wave_has_its_amplitude_and_period(
    shape: tuple[int, int], amplitude: float, period_x: float, period_y: float
) -> None:
    y, x = np.indices(shape)
    stride = 1 if shape[0] < 500 else 3
    wave = found_in(amplitude * np.sin(2 * np.pi * (x / period_x + y / period_y) + 0.4), stride)
    assert wave.significance > SEEN
    assert wave.amplitude_adu == pytest.approx(amplitude, rel=0.05)
    assert wave.period_x_px == pytest.approx(period_x, rel=0.03)
    assert wave.period_y_px == pytest.approx(abs(period_y), rel=0.03)
    assert 1 / wave.period_px == pytest.approx(np.hypot(1 / period_x, 1 / period_y), rel=0.03)


def test_columns_that_alternate_are_a_wave_of_two_pixels() -> None:
    x = np.indices((100, 150))[1]
    wave = found_in(0.5 * (-1.0) ** x)
    assert wave.amplitude_adu == pytest.approx(0.5, rel=0.05)
    assert (wave.period_x_px, wave.period_y_px) == (pytest.approx(2.0), np.inf)


def test_noise_glow_and_rows_of_their_own_levels_are_no_wave() -> None:
    shape = (300, 400)
    y, x = np.indices(shape)
    glow = 40 * np.exp(-((x / 400) ** 2 + (y / 300) ** 2) / 0.1)
    rows = np.random.default_rng(1).normal(0, 0.5, shape[0])[:, None] + np.zeros(shape)
    for pattern in (np.zeros(shape), glow, rows):
        wave = found_in(pattern)
        assert wave.significance < SEEN
        assert wave.amplitude_adu < 0.25


@pytest.mark.parametrize("mosaic", [False, True])
def test_vignetting_and_colours_are_no_wave(mosaic: bool) -> None:
    rng = np.random.default_rng(4)
    y, x = np.indices((260, 400))
    light = 20_000 * (1 - 0.9 * ((x / 400 - 0.5) ** 2 + (y / 260 - 0.4) ** 2))
    if mosaic:
        light *= np.where((y % 2 == 0) & (x % 2 == 0), 0.5, 1.0) * np.where((y % 2 == 1) & (x % 2 == 1), 0.7, 1.0)
    mean = rng.normal(light, 100).astype(np.float32)
    mean[rng.random(mean.shape) < 0.002] *= 0.2
    ones = np.ones_like(mean)
    planes = BandPlanes(mean=mean, sigma=ones, count=ones.astype(np.uint16), mask=ones.astype(np.uint16))
    wave = wave_of(Sketch.of(planes), mosaic=mosaic)
    assert wave is not None
    assert wave.significance < SEEN


def test_a_tiny_image_has_no_spectrum() -> None:
    ones = np.ones((12, 400), np.float32)
    planes = BandPlanes(mean=ones, sigma=ones, count=ones.astype(np.uint16), mask=ones.astype(np.uint16))
    sketch = Sketch.of(planes)
    assert wave_of(sketch) is None


def test_an_image_without_noise_has_no_wave() -> None:
    ones = np.ones((60, 80), np.float32)
    planes = BandPlanes(mean=ones, sigma=ones, count=ones.astype(np.uint16), mask=ones.astype(np.uint16))
    sketch = Sketch.of(planes)
    wave = wave_of(sketch)
    assert wave is not None
    assert wave.significance < SEEN
    assert wave.amplitude_adu == pytest.approx(0.0, abs=1e-6)
