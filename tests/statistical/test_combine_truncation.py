"""SIGMA is the uncertainty of MEAN: the factor c of `calibration.combine.truncation`, derived again and compared.

Run as a program it prints the tables that are committed there.
"""

import numpy as np
import pytest

from calibration.combine.engine import combine_band
from calibration.combine.recipe import Method, NoiseModel, Recipe
from calibration.combine.truncation import COUNTS, SIGMAS, truncation_factor

UNIT_NOISE = NoiseModel(read_noise_adu=1.0, gain_e_adu=1.0, pedestal_adu=100.0)


def derive(method: Method, n: int, k: float, *, pixels: int, seed: int) -> float:
    """Return c by simulation: c² = Var(MEAN) / ⟨s² / COUNT⟩ over Gaussian pixels.

    Both averages are divided by those of the plain mean of the same samples, whose expectation is known (1/n each):
    that removes most of the simulation's own noise.
    """
    noise = UNIT_NOISE if method is Method.NOISE_MODEL else None
    asked = Method.SIGMA_CLIP if noise else method
    recipe = Recipe(method=asked, sigma=k, noise=noise, step_adu=0.0)
    rng = np.random.default_rng(seed)
    piece = max(1000, min(pixels, 4_000_000 // n))
    sums = np.zeros(4)
    for _ in range(0, pixels, piece):
        x = rng.standard_normal((n, 1, piece), dtype=np.float32)
        planes = combine_band(x, recipe)
        several = planes.count > 1
        s = planes.sigma[several].astype(np.float64) / recipe.factor_for(n)
        sums += [
            np.nanmean(planes.mean.astype(np.float64) ** 2),
            np.mean(x.mean(axis=0, dtype=np.float64) ** 2),
            np.mean(s**2),
            np.mean(x.var(axis=0, ddof=1, dtype=np.float64)) / n,
        ]
    return float(np.sqrt(sums[0] / sums[1] * sums[3] / sums[2]))


@pytest.mark.parametrize(
    ("method", "n", "k"),
    [
        (Method.SIGMA_CLIP, 40, 3.0),
        (Method.SIGMA_CLIP, 20, 2.5),
        (Method.SIGMA_CLIP, 25, 2.2),
        (Method.MAD, 40, 3.0),
        (Method.MAD, 11, 3.0),
        (Method.WINSORIZED, 40, 3.0),
        (Method.MINMAX, 10, 3.0),
        (Method.NOISE_MODEL, 5, 3.0),
        (Method.MEDIAN, 4, 3.0),
        (Method.MEDIAN, 5, 3.0),
        (Method.MEDIAN, 10, 3.0),
        (Method.MEDIAN, 13, 3.0),
        (Method.MEDIAN, 40, 3.0),
        (Method.NONE, 5, 3.0),
    ],
)
def test_factor_makes_sigma_the_scatter_of_the_mean(method: Method, n: int, k: float) -> None:
    simulated = derive(method, n, k, pixels=200_000, seed=7)
    assert truncation_factor(method, n, k) == pytest.approx(simulated, abs=0.02)


def _print_tables() -> None:
    for method in (Method.SIGMA_CLIP, Method.MAD, Method.WINSORIZED, Method.NOISE_MODEL, Method.MINMAX):
        print(method)
        for n in COUNTS:
            sigmas = (3.0,) if method is Method.MINMAX else SIGMAS
            if (method is Method.NOISE_MODEL and n >= 10) or (method is Method.MINMAX and n < 4):
                continue
            pixels = int(min(1e6, max(1e5, 2e7 / n)))
            values = [derive(method, n, k, pixels=pixels, seed=n) for k in sigmas]
            print(f"    ({', '.join(f'{v:.4f}' for v in values)}),  # n = {n}", flush=True)


if __name__ == "__main__":
    _print_tables()
