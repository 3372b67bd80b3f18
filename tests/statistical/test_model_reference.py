"""The model as a second reference: no healthy night is suspected, and what drifts too slowly for its neighbours is.

Each camera is a chain of nights (`made_nights`), whose level wanders and whose pixels change; each night is held
against the mean of all before it. The default run takes few nights, the long one 3,000 healthy ones and 100 drifts.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest

from calibration.clipping import clip_values
from calibration.comparing.judging import compare
from calibration.comparing.modelled import Expected, compare_by_model
from calibration.comparing.records import MasterPlanes
from calibration.errors import MasterCode
from calibration.frames import FrameKind
from tests.statistical.made_nights import HEALTHY, Fault, MadeCamera

DRIFT_ADU = 1.5


def nights(seed: int, number: int, fault: Callable[[int], Fault] = lambda _: HEALTHY) -> Iterator[MasterPlanes]:
    rng = np.random.default_rng(seed)
    coarse = seed % 5 == 4
    shape = tuple(int(rng.integers(80, 130)) for _ in range(2))
    noise_adu = float(rng.uniform(12, 20) if coarse else rng.uniform(3, 15))
    camera, last = MadeCamera(rng=rng, shape=shape, step=16 if coarse else 1, noise_adu=noise_adu), None
    for i in range(number):
        frames = int(rng.choice([5, 8, 10] if coarse else [5, 10, 20, 40]))
        last = camera.night(FrameKind.BIAS, frames, of=last, fault=fault(i))
        yield last.master()


def by_model(past: Sequence[MasterPlanes], new: MasterPlanes) -> set[str]:
    """Hold a master against the mean of those before it, as the constant model of one temperature is."""
    means, frames = np.stack([each.mean for each in past]).astype(np.float64), np.array([m.facts.frames for m in past])
    levels = np.array([np.median(mean) for mean in means])
    model = np.tensordot(frames / frames.sum(), means - levels[:, None, None], axes=1) + levels.mean()
    noise = float(np.median([each.facts.noise_adu for each in past]))  # type: ignore[arg-type]
    of_sessions = (clip_values((each.mean - model).astype(np.float32)).mean for each in past)
    expected = Expected(name="model", kind=FrameKind.BIAS, levels_adu=tuple(of_sessions), noise_adu=noise)
    sigma = np.full(model.shape, noise / np.sqrt(frames.sum()), np.float32)
    return {verdict.code for verdict in compare_by_model(new, model.astype(np.float32), sigma, expected)}


def suspected(seed: int, number: int, fault: Callable[[int], Fault] = lambda _: HEALTHY) -> dict[int, set[str]]:
    """Return the nights that the model suspects; what is suspect is in no later model."""
    past: list[MasterPlanes] = []
    found = {}
    for i, new in enumerate(nights(seed, number, fault)):
        if past and (codes := by_model(past, new)):
            found[i] = codes
        else:
            past.append(new)
    return found


def drift(night: int) -> Fault:
    return Fault(level_adu=DRIFT_ADU * night)


def test_healthy_nights_are_not_suspected() -> None:
    assert {seed: found for seed in range(3) if (found := suspected(seed, 26))} == {}


def test_a_drift_that_no_pair_of_nights_shows_is_found() -> None:
    found = suspected(7, 30, drift)
    assert set().union(*found.values()) == {MasterCode.LEVEL_DRIFTED}
    assert max(found) == 29, "once it is found it is found on each night"
    masters = list(nights(7, 30, drift))
    by_pairs = [compare(new, old)[0] for old, new in pairwise(masters)]
    assert [verdict for said in by_pairs for verdict in said if verdict.refuses] == []


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_of_3000_healthy_nights_none_is_suspected() -> None:
    assert {seed: found for seed in range(1000, 1120) if (found := suspected(seed, 26))} == {}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_of_100_drifts_each_is_found_within_30_nights() -> None:
    missed = [seed for seed in range(2000, 2100) if not suspected(seed, 30, drift)]
    assert missed == []
