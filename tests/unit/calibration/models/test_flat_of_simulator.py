"""Flats of the simulated camera taken apart: their light is not round, and a wrong fit of it must not become dust."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from calibration.models.flat.dust import shade
from calibration.models.flat.factors import factorise
from calibration.models.flat.smooth import Cells
from drivers.simulator.maps import build_maps
from drivers.simulator.params import CameraParameters
from drivers.simulator.sensor import Conditions, Sensor


def flats(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A normalised mean of six simulated flats, and the light of the simulator without its dust and gains."""
    height, width = shape
    camera = replace(CameraParameters(), height=height, width=width)
    lit = Conditions(
        started_us=1, exposure_s=2.0, temperature_c=5.0, light_e=30_000.0, leak_e=0.0, filter="L", e_per_adu=0.77,
        read_noise_e=3.0, full_well_e=51_000.0, saturation_adu=65_535.0, pedestal_adu=500.0, extra_adu=0.0, bin_x=1,
        bin_y=1, start_x=0, start_y=0, num_x=width, num_y=height,
    )  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        sensor = Sensor(camera, build_maps(camera.detector, height=height, width=width, seed=seed, pool=pool), seed)
        dark = sensor.expected(replace(lit, light_e=0.0))
        frames = [sensor.render(replace(lit, started_us=7 + i), pool) - dark for i in range(6)]
    mean = np.mean(frames, axis=0, dtype=np.float64)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    square = ((x - 0.04) ** 2 + (y + 0.03) ** 2) / 2
    light = 1 - camera.detector.vignetting * (0.7 * square + 0.3 * square**2)
    return mean / np.median(mean), light * (1 + camera.detector.illumination_gradient * (x + 0.5 * y) / 3)


def test_light_that_is_not_round_is_no_dust():
    shape, seed = (120, 160), 1
    values, light = flats(shape, seed)
    cells = Cells(values=values, size=1, shape=shape)
    found = factorise(cells)
    ratio = found.smooth.product(cells.y, cells.x) / light
    assert np.std(ratio) / ratio.mean() < 0.002  # the families of the fit do not have it exactly
    assert len(found.dust) <= 24  # of which there are 16
    assert shade(found.dust, cells).mean() > 0.99
