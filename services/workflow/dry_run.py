"""What a run would do: frames, minutes, gigabytes, and what is there already. No lock is taken, no device touched.

What only the devices know (the wheel's filters, the sensor's size) is taken from the configuration, the simulated
observatory's parameters or the newest frames of the catalogue; what is not known from anywhere is said.
"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from calibration.frames import FrameKind
from calibration.plans.dark import DarkTimes as PlannedTimes
from calibration.plans.sequence import Costs, Estimate, WantedSet, estimate
from drivers.clock import SystemClock
from services.config.models import Config, LoadedConfig
from services.observatory import known_without_devices
from services.storage.catalogue import Catalogue
from services.storage.layout import Layout
from services.workflow.campaign import dark_sets, dark_times, flat_sets, states
from services.workflow.context import match_of
from services.workflow.have import Having, Standing, having
from services.workflow.options import DarkTimes, RunOptions, RunResult, Step

BYTES_PER_PIXEL = 2
HEADER_BYTES = 8640


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known without asking a device: filters (empty: no wheel) and the frame's size in pixels."""

    filters: tuple[str | None, ...]
    pixels: int | None
    from_where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One set of the plan."""

    wanted: WantedSet
    there: Having

    @property
    def lacking(self) -> int:
        """Frames still to take."""
        return max(0, self.wanted.count - self.there.count)


def dry_run(loaded: LoadedConfig, layout: Layout, options: RunOptions) -> RunResult:
    """Return the plan as text; exit code 0."""
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        known = _known(loaded, catalogue)
        lines = tuple(_lines(loaded.config, known, catalogue, options))
    cost = _cost(lines, known)
    text = "\n".join((*_shown(lines), "", *_sums(lines, cost, known, layout.root, options)))
    return RunResult(run_id="", exit_code=0, code=None, detail="", plan_text=text)


def _known(loaded: LoadedConfig, catalogue: Catalogue) -> Known:
    found = known_without_devices(loaded)
    frames = catalogue.frames(origin="own")
    pixels = found.pixels or (frames[-1].height * frames[-1].width if frames else None)
    if loaded.config.flat_capture.filters:
        return Known(filters=loaded.config.flat_capture.filters, pixels=pixels, from_where="the configuration")
    if found.filters:
        return Known(filters=found.filters, pixels=pixels, from_where="the simulated observatory")
    seen = tuple(dict.fromkeys(row.filter for row in frames if row.kind is FrameKind.FLAT))
    if seen:
        return Known(filters=seen, pixels=pixels, from_where="the last flats")
    wheel = loaded.config.filter_wheel
    return Known(filters=(None,), pixels=pixels, from_where="" if wheel is None or not wheel.enabled else "unknown")


def _lines(config: Config, known: Known, catalogue: Catalogue, options: RunOptions) -> Iterator[Line]:
    """Yield the sets in the order in which they would be taken."""
    now = max(filter(None, (SystemClock().now(), catalogue.newest_date_obs(origin="own", simulated=True))))

    def line(wanted: WantedSet) -> Line:
        sets = catalogue.sets(wanted.kind)
        match = match_of(config, wanted)
        return Line(
            wanted=wanted, there=having(match, wanted.count, sets, now=now, reuse=config.reuse, fresh=options.fresh)
        )

    for state in states(config, skip_cooling=options.skip_cooling):
        flats = [line(w) for w in flat_sets(config, state, known.filters)]
        times = {r.exposure_us for f in flats if f.there.row for r in catalogue.frames(set_id=f.there.row.set_id)}
        darks = [line(w) for w in dark_sets(config, state, _times(config, times), options.dark_times)]
        if Step.DARKS in options.steps:
            yield from (d for d in darks if d.wanted.kind is FrameKind.BIAS)
        if Step.FLATS in options.steps:
            yield from flats
        if Step.DARKS in options.steps:
            yield from (d for d in darks if d.wanted.kind is not FrameKind.BIAS)


def _times(config: Config, flat_times: Iterable[int | None]) -> PlannedTimes:
    return dark_times(config, [t for t in flat_times if t is not None])


def _shown(lines: Iterable[Line]) -> Iterator[str]:
    yield f"{'':16}{'exposure':>10}  {'filter':<12}{'gain':>6}{'°C':>7}{'wanted':>8}{'there':>7}{'to take':>9}  for"
    for line in lines:
        wanted = line.wanted
        exposure = "found" if wanted.exposure_us is None else f"{wanted.exposure_us / 1e6:g} s"
        yield (
            f"  {wanted.kind.lower():<14}{exposure:>10}  {wanted.filter or '-':<12}{_or_found(wanted.gain):>6}"
            f"{_or_found(wanted.set_temp_c):>7}{wanted.count:>8}{line.there.count:>7}{line.lacking:>9}"
            f"  {', '.join(wanted.why)}{' (continued)' if line.there.standing is Standing.RESUMED else ''}"
        )


def _or_found(value: float | None) -> str:
    return "found" if value is None else f"{value:g}"


def _cost(lines: Iterable[Line], known: Known) -> Estimate:
    size = 0 if known.pixels is None else known.pixels * BYTES_PER_PIXEL + HEADER_BYTES
    left = [_rest(line) for line in lines if line.lacking]
    return estimate(left, Costs(frame_bytes=size))


def _rest(line: Line) -> WantedSet:
    return replace(line.wanted, count=line.lacking)


def _sums(lines: tuple[Line, ...], cost: Estimate, known: Known, root: Path, options: RunOptions) -> Iterator[str]:
    there = sum(line.there.count for line in lines)
    if cost.frames == 0:
        yield f"Nothing to take: all {there} frames are there."
    else:
        size = "size not known before the camera was seen" if known.pixels is None else _size(cost.bytes)
        yield f"{cost.frames} frames to take ({there} there), about {_duration(cost.seconds)}, {size}."
    new_flats = sum(line.wanted.kind is FrameKind.FLAT and line.lacking > 0 for line in lines)
    if new_flats and Step.DARKS in options.steps and options.dark_times is DarkTimes.ALL:
        yield f"Darks for the exposures that {new_flats} flat sets will find come on top: at most {new_flats} sets."
    if known.from_where == "unknown":
        yield "The wheel's filters are not known before it was seen: one set of flats is shown for all of them."
    elif known.from_where:
        yield f"Filters: as {known.from_where} says."
    folder = next(f for f in (root, *root.parents) if f.exists())
    yield f"{shutil.disk_usage(folder).free / 1e9:.1f} GB are free below {root}."


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
