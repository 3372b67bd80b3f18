"""How often the flat search converges, and its series stays in tolerance, over random sensors and lamps.

    python tests/benchmarks/bench_flat_search.py [--cameras 500] [--seed 20261] [--trust]

Each camera is driven through `measure_detector` and `flat_plan` with the guide's defaults, on images of 48 x 64 pixels
with shot noise that pass through `calibration.stats` and `calibration.checks`; no device, no file. "steps" are the
search's test frames, confirmations included, before the lamp is watched; those of `measure_detector` are counted apart
because they serve all filters. "kept" are series of 40 in which every frame asked for was in tolerance. With
`--trust` no saturated frame is taken first, so that the search has only the camera's word, or its own eyes.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from calibration.frames import GroupStatus, Purpose
from calibration.plans.detector import measure_detector
from calibration.plans.flat import flat_plan
from calibration.plans.settings import Darkness, ExposureState, FlatSettings
from tests.benchmarks.flat_lamps import LampKind, SmallCamera, drive, random_cameras
from tests.benchmarks.harness import Row

SEED = 20261
"""Not one of those the search was developed with (1, 2, 4, 90210)."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of one camera."""

    kind: str
    adjustable: bool
    controlled: bool
    detector_frames: int
    steps: int
    converged: bool
    complete: bool
    kept: bool
    code: str | None
    aimed_off: float
    exposure_us: int | None


def trial(camera: SmallCamera, *, trust: bool = False) -> Trial:
    """Measure the detector, then take one filter's flats; `trust`: without a saturated frame."""
    settings = FlatSettings()
    state = ExposureState()
    lamp = None if trust else camera.lamp
    detector = drive(measure_detector(state, camera.facts, Darkness(), lamp=lamp), camera)
    before = len(camera.taken)
    camera.requests.clear()
    camera.lit_at_s = None  # the panel was off in between and has cooled down
    plan = flat_plan(settings, detector, state, filter="L", panel=camera.panel, set_id="s")
    outcome = drive(plan, camera)
    purposes = [r.purpose for r in camera.requests]
    converged = Purpose.DISCARD in purposes
    steps = purposes.index(Purpose.DISCARD) if converged else len(purposes)
    kept = [r for r in camera.taken[before:] if r.request.purpose is Purpose.KEEP and r.accepted]
    truth = camera.sensor.true_target_adu(settings.target_count_rate)
    pedestal = camera.sensor.bias_adu * 2**camera.sensor.shift
    level = float(np.median([r.stats.level_adu for r in kept])) if kept else float("nan")
    return Trial(
        kind=camera.light.kind,
        adjustable=camera.light.max_brightness > 1,
        controlled=camera.light.controlled,
        detector_frames=before,
        steps=steps,
        converged=converged,
        complete=outcome.status is GroupStatus.COMPLETE,
        kept=outcome.status is GroupStatus.COMPLETE and outcome.refused == 0,
        code=outcome.code,
        aimed_off=(level - pedestal) / (truth - pedestal) - 1,
        exposure_us=outcome.exposure_us,
    )


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield the demands on the search for `python -m tests.benchmarks`."""
    trials = [trial(camera) for camera in random_cameras(40 if quick else 500, SEED)]
    first, second, unnamed = demands(trials)
    figures = (
        ("flat search: steady lamps settled in 10 tests", ">= 99 %", first, first >= 0.99),
        ("flat search: series with every frame in tolerance", ">= 95 %", second, second >= 0.95),
    )
    for figure, goal, share, met in figures:
        peer = f"{len(trials)} random cameras"
        yield Row(figure=figure, goal=goal, measured=f"{100 * share:.1f} %", met=None if quick else met, peer=peer)
    yield Row(figure="flat search: ends without a named reason", goal="0", measured=str(unnamed), met=unnamed == 0)


def demands(trials: Sequence[Trial]) -> tuple[float, float, int]:
    """Return the shares of steady lamps settled soon and of series all in tolerance, and how many ends have no name."""
    steady = [t for t in trials if t.kind == LampKind.STEADY]
    series = [t for t in trials if t.converged]
    first = sum(t.converged and t.steps <= 10 for t in steady) / max(1, len(steady))
    second = sum(t.kept for t in series) / max(1, len(series))
    return first, second, sum(not t.complete and t.code is None for t in trials)


def groups_of(trials: Sequence[Trial]) -> list[tuple[str, list[Trial]]]:
    """Group trials as the table shows them."""
    groups: list[tuple[str, list[Trial]]] = []
    for kind in LampKind:
        mine = [t for t in trials if t.kind == kind]
        groups += [
            (f"{kind}, dimmable", [t for t in mine if t.adjustable]),
            (f"{kind}, on/off", [t for t in mine if not t.adjustable and t.controlled]),
            (f"{kind}, not ours", [t for t in mine if not t.controlled]),
            (f"{kind}, all", mine),
        ]
    return [*groups, ("all", list(trials))]


def line(name: str, trials: Sequence[Trial]) -> str:
    """Return one row of the table."""
    n = len(trials)
    converged = [t for t in trials if t.converged]
    steps = np.array([t.steps for t in converged] or [0])
    share = [
        100 * sum(x) / max(1, len(converged)) for x in ((t.complete for t in converged), (t.kept for t in converged))
    ]
    aimed = [t for t in converged if t.complete]
    aim = 100 * sum(abs(t.aimed_off) < 0.1 for t in aimed) / max(1, len(aimed))
    codes = ", ".join(f"{c} {k}" for c, k in Counter(t.code for t in trials if not t.complete).most_common())
    return (
        f"{name:20s} {n:5d} {100 * len(converged) / max(1, n):9.1f} {np.median(steps):6.0f} "
        f"{np.percentile(steps, 95):4.0f} {steps.max():4d} {share[0]:9.1f} {share[1]:6.1f} {aim:8.1f}  {codes}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code is 0 when the demands are met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cameras", type=int, default=500)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--trust", action="store_true", help="no saturated frame: believe the camera until disproved")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    trials = [trial(camera, trust=options.trust) for camera in random_cameras(options.cameras, options.seed)]
    print(f"{options.cameras} cameras, seed {options.seed}, {time.perf_counter() - begin:.0f} s")
    print(f"{'lamp':20s} {'n':>5s} {'converged':>9s} {'steps':>6s} {'p95':>4s} {'max':>4s} ", end="")
    print(
        f"{'complete':>9s} {'kept':>6s} {'on aim':>8s}  ended as (% of converged; on aim: within 10 % of the true half)"
    )
    for name, group in groups_of(trials):
        if group:
            print(line(name, group))
    print(f"frames of measure_detector: median {np.median([t.detector_frames for t in trials]):.0f}")
    first, second, unnamed = demands(trials)
    met = first >= 0.99 and second >= 0.95 and not unnamed
    print(f"steady lamps converged within 10 test frames: {100 * first:.1f} % (demand 99)")
    print(f"series with all 40 frames in tolerance: {100 * second:.1f} % (demand 95)")
    print(f"ended without a named reason: {unnamed} (demand 0)")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
