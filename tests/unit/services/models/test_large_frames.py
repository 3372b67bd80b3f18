"""Large frames are judged on some of their rows: damage is seen all the same, and the numbers are those of all rows."""

from pathlib import Path

import numpy as np
import pytest

from calibration.frames import FrameKind
from calibration.stats import spread_rows
from services.datasets.frames import frames_of
from services.datasets.processing.measuring import Numbers
from services.models.gathering import gather
from tests.support.bias_frames import write_bias

SHAPE = (2400, 2000)
RNG = np.random.default_rng(5)


@pytest.mark.parametrize(("shape", "rows"), [((1000, 1200), 1000), ((6388, 9576), 218), ((40_000, 40_000), 128)])
def test_the_rows_are_pairs_over_the_whole_height(shape: tuple[int, int], rows: int) -> None:
    found = spread_rows(shape)
    assert len(found) == rows
    assert (found[::2] % 2 == 0).all()
    assert (found[1::2] == found[::2] + 1).all()
    assert found[0] == 0
    assert shape[0] - found[-1] <= 2 * -(-shape[0] // (rows // 2))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames: number 4 has lost its last rows, 6 is a copy, 7 is cut off behind its middle."""
    folder = tmp_path_factory.mktemp("large")
    pixels = [(1000 + 20 * RNG.standard_normal(SHAPE, dtype=np.float32)).astype(np.uint16) for _ in range(6)]
    pixels[4][-60:] = 0
    for i, each in enumerate([*pixels, pixels[1], pixels[0]]):
        write_bias(folder / f"bias_{i}.fits", each, 0.0)
    torn = folder / "bias_7.fits"
    torn.write_bytes(torn.read_bytes()[: SHAPE[0] * SHAPE[1]])
    return folder


def test_damaged_frames_and_copies_are_left_out(frames: Path, tmp_path: Path) -> None:
    (found,) = gather(frames, tmp_path, FrameKind.BIAS)
    assert [member.frame.path.name for member in found.members] == [f"bias_{i}.fits" for i in (0, 1, 2, 3, 5)]
    reasons = {path.name: why for path, why in found.unused.items()}
    assert reasons.keys() == {"bias_4.fits", "bias_6.fits", "bias_7.fits"}
    assert "of its pixels are 0" in reasons["bias_4.fits"]
    assert "bias_1.fits" in reasons["bias_6.fits"]


def test_the_numbers_are_those_of_all_rows_within_their_noise(frames: Path, tmp_path: Path) -> None:
    series = [[frame for frame in frames_of(frames).frames if frame.path.name < "bias_4"]]
    whole, rows = Numbers(tmp_path / "a").of(series), Numbers(tmp_path / "b", by_rows=True).of(series)
    for path, numbers in whole.items():
        for name in ("mean", "median", "std", "level", "sigma", "p16", "p84"):
            assert getattr(rows[path], name) == pytest.approx(getattr(numbers, name), abs=1), name
        assert rows[path].codes == numbers.codes
        assert rows[path].sha256 != numbers.sha256
    assert Numbers(tmp_path / "b").of(series)[path] == numbers  # what was measured by rows is no measure of the whole
