"""The catalogue of years: 100,000 frames in 2,500 sets with their masters; what opening, planning and a start take.

The files are empty, sizes and times are all that is asked of them. What a run does that finds nothing to do is measured
without its walk of the folders, which is the peer.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from calibration.combine.recipe import Method
from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, MasterRow, Origin
from services.config import load, simulated
from services.config.models import Config
from services.files.layout import Layout
from services.indexing.foreseen import foreseen
from services.indexing.index import adopt, index_folder, open_catalogue
from services.indexing.walk import walk
from services.planning.forecast import forecast
from services.planning.master_groups import MasterGroup, master_groups
from services.planning.master_plan import MasterPlan
from services.planning.master_settings import MasterSettings
from services.planning.programmes import programmed
from services.planning.request import RunOptions
from services.planning.upkeep import plan_of
from services.root import Place, layout_of
from tests.benchmarks.harness import Row, Timing, in_child

AT = datetime(2020, 1, 1, tzinfo=UTC)
KINDS = (FrameKind.BIAS, FrameKind.DARK, FrameKind.DARK, FrameKind.FLAT, FrameKind.FLAT)
REPOSITORY = Path(__file__).resolve().parents[2]
FRAMES_OF_SET = 40


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield a row for each goal."""
    sets, repeats = (100, 1) if quick else (2500, 5)
    with tempfile.TemporaryDirectory(prefix="bench-catalogue-") as folder:
        config = Path(folder) / "config_calibration_frames.yaml"
        shutil.copy(REPOSITORY / config.name, config)
        in_child(_fill, config, sets)
        for figure, goal_s, work in (
            ("opening it", 0.3, _opening),
            ("dry run", 1.5, _dry_run),
            ("the daemon's plan", 1.0, _plan_of_daemon),
            ("a start with nothing to do, beyond the walk", 2.0, _start),
            ("grouping again after a set", 0.05, _grouping),
        ):
            done = [in_child(work, config) for _ in range(repeats)]
            timing = Timing(runs=tuple(seconds for (seconds, _), _ in done))
            yield Row(
                figure=f"{figure}, {sets * FRAMES_OF_SET} frames",
                goal=f"<= {goal_s:g} s",
                measured=str(timing),
                met=timing.median <= goal_s,
                peak_mb=max(peak for _, peak in done),
                peer=done[0][0][1],
            )


def _layout(config: Path) -> Layout:
    return layout_of(simulated(load(config)))


def _opening(config: Path) -> tuple[float, str]:
    start = time.perf_counter()
    with open_catalogue(_layout(config)) as catalogue:
        took = time.perf_counter() - start
        return took, f"{catalogue.path.stat().st_size / 1e6:.0f} MB"


def _dry_run(config: Path) -> tuple[float, str]:
    start = time.perf_counter()
    loaded = simulated(load(config))
    layout = layout_of(loaded)
    with foreseen(layout, aliases={}) as catalogue:
        place = Place(layout=layout, catalogue=catalogue)
        found = forecast(loaded, place, RunOptions(), is_whole=lambda _row, _path: True)
    there = sum(each.exists for each in found.masters)
    return time.perf_counter() - start, f"{there} of {len(found.masters)} masters exist"


def _plan_of_daemon(config: Path) -> tuple[float, str]:
    """Return what the comparison takes a day after the last set, with the opening of the catalogue."""
    loaded = programmed(simulated(load(config)))
    layout = layout_of(loaded)
    start = time.perf_counter()
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        newest = catalogue.newest_date_obs(origin=Origin.OWN, simulated=True)
        now = AT if newest is None else newest + timedelta(days=1)
        found = plan_of(loaded, Place(layout=layout, catalogue=catalogue), now=now)
    serving = sum(each.master is not None for each in found.masters)
    return time.perf_counter() - start, f"{serving} of {len(found.masters)} masters serve"


def _start(config: Path) -> tuple[float, str]:
    """Return what adopting, indexing and planning take, and what walking the folders alone does."""
    loaded = simulated(load(config))
    layout = layout_of(loaded)
    with open_catalogue(layout) as catalogue:
        begin = time.perf_counter()
        walk((layout.darks, layout.flats), layout)
        walk_s = time.perf_counter() - begin
        begin = time.perf_counter()
        report = adopt(catalogue, layout)
        index_folder(catalogue, layout.darks, layout.flats, layout=layout)
        plan = _plan(loaded.config, layout, catalogue)
        lacking = sum(plan.existing(plan.chosen(group)) is None for group in plan.groups())
        took = time.perf_counter() - begin
    walks = 2 * walk_s  # one to adopt, one for frames of other programs
    return took - walks, f"walk {walk_s:.2f} s; {report.adopted + report.removed + lacking} to do"


def _grouping(config: Path) -> tuple[float, str]:
    with open_catalogue(_layout(config)) as catalogue:
        row = catalogue.frames(set_id="set_00001")[-1]
        catalogue.add_frame(row)
        begin = time.perf_counter()
        groups = master_groups(catalogue, row.kind, {"set_00001"})
        return time.perf_counter() - begin, f"{len(groups)} group"


def _fill(config: Path, sets: int) -> None:
    loaded = simulated(load(config))
    layout = layout_of(loaded)
    layout.masters.joinpath("planes").mkdir(parents=True)
    with Catalogue(layout.catalogue) as catalogue:
        with catalogue.at_once():
            for number in range(sets):
                catalogue.add_frames(_set(layout, number))
        for kind in (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT):  # flats need the recipes of their darks
            plan = _plan(loaded.config, layout, catalogue)
            groups = [group for group in plan.groups() if group.key.kind is kind]
            with catalogue.at_once():
                for number, group in enumerate(groups):
                    catalogue.add_master(_master(layout, plan, group, number))


def _plan(config: Config, layout: Layout, catalogue: Catalogue) -> MasterPlan:
    place = Place(layout=layout, catalogue=catalogue)
    return MasterPlan(MasterSettings.of(config), place, is_whole=lambda _row, _path: True)


def _set(layout: Layout, number: int) -> Iterator[FrameRow]:
    kind, night = KINDS[number % 5], AT + timedelta(days=number // 10)
    folder = layout.flats / "L" if kind is FrameKind.FLAT else layout.darks / f"exp_{number % 30}"
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(FRAMES_OF_SET):
        at = night + timedelta(seconds=1000 * (number % 10) + 10 * n)
        path = folder / f"{kind.lower()}_{at:%Y%m%d_%H%M%S}_{n + 1:03d}.fits"
        path.touch()
        yield FrameRow(
            path=layout.relative(path), pixel_sha256=hashlib.sha256(f"{number} {n}".encode()).hexdigest(), size=0,
            mtime_ns=path.stat().st_mtime_ns, kind=kind, camera="id|simulated", height=6388, width=9576, gain=26,
            offset=0, readout_mode="High Gain", row_order="TOP-DOWN", camera_id="id", instrument="Camera",
            exposure_us=1000 if kind is FrameKind.BIAS else 1_000_000 * (1 + number // 5 % 6),
            filter="L" if kind is FrameKind.FLAT else None, source="panel" if kind is FrameKind.FLAT else None,
            simulated=True, set_id=f"set_{number:05d}", run_id=f"run_{number // 10}", frame_no=n + 1,
            night=f"{night:%Y-%m-%d}", date_obs=at, ccd_temp_c=-10.0 + 0.01 * (n % 7), set_temp_c=-10.0,
            level_adu=(30_000.0 if kind is FrameKind.FLAT else 500.0) + n, sigma_adu=3.5, saturated_fraction=0.0,
            saturation_adu=65535.0, step_adu=1,
        )  # fmt: skip


def _master(layout: Layout, plan: MasterPlan, group: MasterGroup, number: int) -> MasterRow:
    """Return the master that the plan looks for, with an empty file."""
    found = plan.chosen(group)
    darks = found.distinct_darks if found is not None else ()
    path = layout.masters / f"master_{group.product.lower()}_{group.key.kind.lower()}_{number:05d}.fits"
    path.touch()
    layout.planes_path(path).touch()
    return MasterRow(
        path=layout.relative(path), key=group.key, n=len(group.rows), built_at=AT + timedelta(seconds=number),
        recipe=plan.recipe(group, darks, Method.SIGMA_CLIP), exposure_us=group.exposure_us, size=0,
        mtime_ns=path.stat().st_mtime_ns, inputs=tuple(group.pixels),
        valid_from=group.started, statistics={"level_adu": 500.0, "own": True}, night=group.rows[0].night,
    )  # fmt: skip
