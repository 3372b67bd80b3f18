"""All that is measured and judged of a 61-megapixel frame as it lands, in seconds of one core.

The peer is the hash of its pixels, which no implementation can do without; numpy's median alone is printed beside.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from calibration.checks import PreviousFrame, judge
from calibration.frames import CaptureRequest, Frame, FrameHeader, FrameKind, Purpose
from calibration.stats import compare, measure, pixel_sha256
from tests.benchmarks.harness import FULL, QUICK, Row, alternated

GOAL_S = 0.150
AT = datetime(2026, 1, 1, tzinfo=UTC)
CASES = (
    ("dark", FrameKind.DARK, 500.0, False),
    ("flat", FrameKind.FLAT, 33_000.0, False),
    ("colour flat", FrameKind.FLAT, 33_000.0, True),
)


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield a row a kind of frame."""
    shape = QUICK if quick else FULL
    for name, kind, level, colour in CASES:
        a, b = (_frame(shape, level, seed) for seed in (1, 2))
        found = alternated(
            {"checks": _checks(kind, a, b, colour=colour), "hash": lambda b=b: pixel_sha256(b)}, clock=time.thread_time
        )
        yield Row(
            figure=f"frame checks, {name}, one core",
            goal="<= 150 ms",
            measured=str(found["checks"]),
            peer=f"SHA-256 of its pixels {found['hash']}",
            ratio=found["checks"] / found["hash"],
            met=found["checks"].median <= GOAL_S,
        )
    median = alternated({"median": lambda: np.median(a)}, repeats=1 if not quick else 3, clock=time.thread_time)
    yield Row(figure="  numpy.median of the same frame, alone", measured=str(median["median"]))


def _checks(kind: FrameKind, a: NDArray[np.uint16], b: NDArray[np.uint16], *, colour: bool) -> Callable[[], object]:
    """Return the examination of `b` after `a`, as `services.capture.examination` does it."""
    request = CaptureRequest(kind=kind, purpose=Purpose.KEEP, exposure_us=1_000_000, count=2, set_id="s")
    before = measure(a, saturation_adu=65_535, bayer=colour, mid_at=AT)
    pattern = "RGGB" if colour else None
    frame = Frame(header=FrameHeader(kind=kind, shape=b.shape, exposure_us=1_000_000, bayer_pattern=pattern), pixels=b)

    def run() -> None:
        stats = measure(b, saturation_adu=65_535, bayer=colour, mid_at=AT)
        pair = compare(b, a, bayer=colour)
        previous = PreviousFrame(
            stats=before, difference_sigma_adu=pair.difference_sigma_adu, identical_rows=pair.identical_rows
        )
        verdicts = judge(frame, stats, request=request, previous=previous, expected_shape=b.shape)
        assert not verdicts, verdicts

    return run


def _frame(shape: tuple[int, int], level: float, seed: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    sigma = np.sqrt(36.0 + max(0.0, level - 500.0) / 2)
    columns = np.random.default_rng(0).normal(level, 3.0, shape[1])
    return np.clip(np.rint(rng.normal(columns, sigma, shape)), 0, 65_535).astype(np.uint16)
