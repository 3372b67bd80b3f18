"""A root with frames to combine, and building its masters, as benchmarks of combining and its peers need them."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from calibration.combine.recipe import Method
from calibration.frames import FrameKind
from drivers.clock import SystemClock
from services import platform
from services.bands import Band, rows_for
from services.catalogue.catalogue import Catalogue
from services.events.bus import Events
from services.files.layout import Layout
from services.indexing.checksums import is_whole
from services.masters import MasterSettings, build_all
from services.masters.prepare import Surroundings, prepare
from services.masters.stack import BandResult, Stack, combine_bands
from services.planning.master_groups import master_groups
from services.planning.master_plan import MasterPlan
from services.root import Place
from tests.benchmarks.stacks import STARTED, write_set

WORKERS = 2
PLANE_BYTES = 4 + 4 + 2 + 1
"""Of a pixel in MEAN, SIGMA, COUNT and MASK."""


@dataclass(frozen=True, kw_only=True)
class Bed:
    """A root with 40 darks, 40 flats and links to many darks."""

    root: Path
    shape: tuple[int, int]
    frames: int

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    @property
    def pixels(self) -> int:
        return self.shape[0] * self.shape[1]

    def darks(self) -> list[Path]:
        return sorted(self.layout.darks.glob("exp_5.000s/*.fits"))


def make(bed: Bed, *, flats: bool, links: Sequence[int] = ()) -> None:
    """Write the darks, the flats if wanted, and sets of so many links to the darks."""
    with Catalogue(bed.layout.catalogue) as catalogue:
        paths = write_set(bed.layout, catalogue, bed.frames, bed.shape)
        if flats:
            light: dict[str, Any] = {"kind": FrameKind.FLAT, "level_adu": 30_000.0, "set_id": "flats", "seed": 2}
            write_set(bed.layout, catalogue, bed.frames, bed.shape, **light)
        taken = catalogue.frames(set_id="stack")
        for n in links:
            folder = bed.layout.darks / f"links-{n}"
            folder.mkdir()
            for k in range(n):
                link = folder / f"{k:05d}.fits"
                link.hardlink_to(paths[k % len(paths)])
                row = replace(
                    taken[k % len(taken)],
                    path=bed.layout.relative(link),
                    set_id=f"links-{n}",
                    exposure_us=1_000_000 * n,
                    date_obs=STARTED.replace(year=2025, microsecond=k),
                )
                catalogue.add_frame(row)


def master(bed: Bed, set_id: str, *, keep: bool = False) -> float:
    """Build a set's master anew and return the seconds."""
    clock = SystemClock()
    events = Events(run_id="bench", clock=clock)
    sigma = 3.0 if keep else 3.0 + clock.real() % 1e6 / 1e9  # another recipe: it is not there already
    settings = MasterSettings(sigma=sigma, workers=WORKERS, num_darks=bed.frames, num_flats=bed.frames)
    with Catalogue(bed.layout.catalogue) as catalogue:
        start = time.perf_counter()
        outcomes = build_all(
            settings=settings,
            place=Place(layout=bed.layout, catalogue=catalogue),
            events=events,
            clock=clock,
            sets={set_id},
        )
        took = time.perf_counter() - start
        (path,) = (o.path for o in outcomes)
        assert path is not None, outcomes
        if not keep:
            catalogue.remove_masters([bed.layout.relative(path)])
            for made in (path, bed.layout.planes_path(path), bed.layout.sidecar_path(path)):
                made.unlink()
    events.close()
    return took


def prepared(bed: Bed, kind: FrameKind, method: Method) -> Stack:
    """Return the set of darks or of flats, ready to be combined."""
    platform.raise_open_file_limit()
    settings = MasterSettings(method=method, workers=WORKERS, num_darks=bed.frames, num_flats=bed.frames)
    with Catalogue(bed.layout.catalogue) as catalogue:
        plan = MasterPlan(settings, Place(layout=bed.layout, catalogue=catalogue), is_whole=is_whole)
        around = Surroundings(plan=plan, scratch=bed.root / "scratch", warn=_unheard)
        (group,) = (g for g in master_groups(catalogue, kind) if g.rows[0].set_id in {"stack", "flats"})
        return prepare(group, around).stack


def _unheard(*_: object) -> None:
    """Nobody is to be warned of made frames."""


def combine(stack: Stack, sink: Callable[[Band, BandResult], None] = _unheard) -> None:
    """Do the masters' loop over bands; results are dropped unless there is a sink for them."""
    frames = len(stack.frames) + 2 * len(stack.darks)
    tall = rows_for(memory_mb=256, frames=frames, columns=stack.shape[1], workers=WORKERS)
    with ThreadPoolExecutor(WORKERS) as executor:
        combine_bands(stack, sink, executor, rows=tall, workers=WORKERS)


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
