"""What frames cost in time is learned from sets and runs, and is not misled by those that were interrupted."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from calibration.frames import FrameKind
from calibration.plans.sequence import Costs
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, RunRow
from services.planning.pace import learned, pace_of

PRIOR = Costs(frame_bytes=1)
NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Taken:
    """A catalogue of sets with given gaps between their frames, and of runs with given starts."""

    def __init__(self, folder: Path) -> None:
        self.catalogue = Catalogue(folder / "c.sqlite")
        self.n = 0

    def take(self, kind: FrameKind, exposure_s: float, gap_s: float, n: int = 10, cooled_after_s: float = 900) -> None:
        self.n += 1
        began = NOW - timedelta(days=30) + timedelta(hours=self.n)
        first = began + timedelta(seconds=cooled_after_s)
        self.catalogue.start_run(RunRow(run_id=f"r{self.n}", started_at=began))
        self.catalogue.add_frames(
            FrameRow(
                path=f"{self.n}/{i}", pixel_sha256=f"{self.n}-{i}", size=1, mtime_ns=1, kind=kind, camera="c",
                height=1, width=1, exposure_us=round(exposure_s * 1e6), set_id=f"s{self.n}", run_id=f"r{self.n}",
                frame_no=i, date_obs=first + timedelta(seconds=i * (exposure_s + gap_s)), set_temp_c=-10.0,
            )
            for i in range(n)
        )  # fmt: skip

    @property
    def costs(self) -> Costs:
        return pace_of(self.catalogue, PRIOR, now=NOW)


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Taken]:
    made = Taken(tmp_path)
    yield made
    made.catalogue.close()


def test_nothing_is_learned_of_nothing(taken: Taken) -> None:
    assert taken.costs == PRIOR
    assert learned([], [], PRIOR) == PRIOR


def test_the_time_between_exposures_is_learned_and_interruptions_are_not(taken: Taken) -> None:
    for gap_s in (6.1, 5.9, 6.0, 3600.0, 6.2, 70.0):
        taken.take(FrameKind.DARK, 60, gap_s)
    assert taken.costs.frame_s == pytest.approx(6.1, abs=0.11)


def test_two_sets_or_few_frames_teach_nothing(taken: Taken) -> None:
    taken.take(FrameKind.BIAS, 0.001, 9.0)
    taken.take(FrameKind.DARK, 10, 9.0)
    for _ in range(5):
        taken.take(FrameKind.DARK, 10, 9.0, n=4)
    assert taken.costs.frame_s == PRIOR.frame_s


def test_cooling_takes_what_most_runs_took_even_if_some_found_it_cold(taken: Taken) -> None:
    for seconds in (1500, 30, 1400, 1600, 25, 1450, 90_000):
        taken.take(FrameKind.DARK, 10, 2.0, cooled_after_s=seconds)
    assert taken.costs.temperature_s == 1500


def test_flats_teach_their_exposure(taken: Taken) -> None:
    for seconds in (1.0, 4.467, 5.0):
        taken.take(FrameKind.FLAT, seconds, 1.0)
    assert (taken.costs.flat_exposure_s, taken.costs.frame_s) == (4.467, PRIOR.frame_s)
