"""The dark model as a second reference: healthy darks are not suspected, and light that grows over the frame is.

Each camera has some nights of which the model is made, each of a dark and a bias of its own; later darks are held
against the bias of their night with the signal that the model predicts at their temperature. Levels of darks and biases
wander alike, pixels become hot. The default run takes few darks, the long one 3,000 healthy ones and 100 leaks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from calibration.comparing.modelled import Expected, compare_by_model
from calibration.comparing.records import MasterPlanes
from calibration.errors import MasterCode
from calibration.frames import FrameKind
from calibration.models.dark.model import Noise
from tests.statistical.made_nights import GAIN_E_ADU, HEALTHY, Fault, MadeCamera

LEARNED = 4
LEAK = Fault(leak_adu=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nights:
    """Masters of a camera, a dark and a bias of each night; the first `LEARNED` make its model."""

    camera: MadeCamera
    darks: tuple[MasterPlanes, ...]
    biases: tuple[MasterPlanes, ...]

    def suspected(self) -> dict[int, set[str]]:
        """Return what the model speaks against the later darks."""
        learned = range(LEARNED)
        rate = np.mean([self.signal(i) / warmer(self.darks[i]) for i in learned], axis=0)
        error = np.sqrt(sum(self.variance(i) / warmer(self.darks[i]) ** 2 for i in learned)) / LEARNED
        found = {}
        for i in range(LEARNED, len(self.darks)):
            signal = warmer(self.darks[i]) * rate
            bias = self.biases[i]
            predicted = (bias.mean + signal).astype(np.float32)
            sigma = np.hypot(bias.sigma, warmer(self.darks[i]) * error).astype(np.float32)  # type: ignore[arg-type]
            typical = float(np.median(signal))
            noise = Noise(read_adu2=self.read_adu2, per_adu=1 / GAIN_E_ADU)
            expected = Expected(
                name="model", kind=FrameKind.DARK, noise_adu=noise.sigma_adu(typical), signal_adu=typical,
                shot_per_adu=noise.per_adu, sessions=LEARNED,
            )  # fmt: skip
            if said := compare_by_model(self.darks[i], predicted, sigma, expected):
                found[i] = {verdict.code for verdict in said}
        return found

    def signal(self, i: int) -> np.ndarray:
        return self.darks[i].mean - self.biases[i].mean

    def variance(self, i: int) -> np.ndarray:
        return np.square(self.darks[i].sigma) + np.square(self.biases[i].sigma)  # type: ignore[arg-type]

    @property
    def read_adu2(self) -> float:
        step = self.camera.step
        return self.camera.noise_adu**2 + (step**2 / 12 if step > 1 else 0.0)


def warmer(master: MasterPlanes) -> float:
    return float(2.0 ** ((master.facts.temperature_c + 10.0) / 6.0))  # type: ignore[operator]


def nights(seed: int, number: int, side: tuple[int, int], fault: Fault = HEALTHY) -> Nights:
    """Make the nights of a camera; the seed draws all, the fault is that of those that are judged."""
    rng = np.random.default_rng(seed)
    coarse = seed % 5 == 4
    shape = (int(rng.integers(*side)), int(rng.integers(*side)))
    noise_adu = float(rng.uniform(12, 20) if coarse else rng.uniform(3, 15))
    camera = MadeCamera(
        rng=rng, shape=shape, step=16 if coarse else 1, noise_adu=noise_adu,
        exposure_s=float(rng.choice([60.0, 300.0, 600.0])),
    )  # fmt: skip
    made = list(_masters(camera, number, fault, [5, 8, 10] if coarse else [5, 10, 20, 40]))
    return Nights(camera=camera, darks=tuple(dark for dark, _ in made), biases=tuple(bias for _, bias in made))


def _masters(
    camera: MadeCamera, number: int, fault: Fault, frames: list[int]
) -> Iterator[tuple[MasterPlanes, MasterPlanes]]:
    last = None
    for i in range(LEARNED + number):
        count = int(camera.rng.choice(frames))
        last = camera.night(FrameKind.DARK, count, of=last, fault=HEALTHY if i < LEARNED else fault)
        yield last.master(), camera.night(FrameKind.BIAS, count, of=last).master()


def test_healthy_darks_are_not_suspected() -> None:
    assert {seed: found for seed in range(4) if (found := nights(seed, 10, (80, 130)).suspected())} == {}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (LEAK, MasterCode.STRUCTURE_CHANGED),
        (Fault(level_adu=60.0), MasterCode.LEVEL_DRIFTED),
        (Fault(level_adu=-60.0), MasterCode.LEVEL_DRIFTED),
        (Fault(noise=1.3), MasterCode.NOISE_CHANGED),
        (Fault(new_per_megapixel=40_000.0), MasterCode.UNLIKE_PIXELS),
    ],
)
def test_a_dark_that_is_not_what_the_model_predicts_is_suspected(fault: Fault, code: MasterCode) -> None:
    assert code in nights(4, 1, (250, 330), fault).suspected()[LEARNED]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_of_3000_healthy_darks_none_is_suspected() -> None:
    assert {seed: found for seed in range(1000, 1300) if (found := nights(seed, 10, (80, 130)).suspected())} == {}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_of_100_leaks_of_10_adu_across_the_frame_99_are_found() -> None:
    found = [nights(seed, 1, (250, 330), LEAK).suspected() for seed in range(2000, 2100)]
    assert sum(MasterCode.STRUCTURE_CHANGED in codes for each in found for codes in each.values()) >= 99
