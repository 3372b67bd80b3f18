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
from services.catalogue.catalogue import Catalogue
from services.config.models import Config, LoadedConfig
from services.files.layout import Layout
from services.masters import MasterOutcome, MasterSettings, Outcome, foresee_all
from services.observatory import known_without_devices
from services.planning.having import Having, Standing, having
from services.planning.request import DarkTimes, RunOptions, RunResult, Step
from services.planning.wanted import dark_sets, dark_times, flat_sets, states
from services.words import count, length, size
from services.workflow.context import match_of

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
        masters = _masters(loaded.config, layout, catalogue, options)
    paragraphs = (_capture(loaded.config, lines, known, options), _of_masters(masters, lines, options))
    text = "\n".join(line for paragraph in paragraphs for line in paragraph)
    needed = _cost(loaded.config, lines, known).bytes if {Step.DARKS, Step.FLATS} & set(options.steps) else 0
    room = _room(layout.root, needed, 1_000_000 * loaded.config.storage.min_free_mb)
    return RunResult(run_id="", exit_code=0, code=None, detail="", plan_text=f"{text}\n{room}")


def _masters(config: Config, layout: Layout, catalogue: Catalogue, options: RunOptions) -> tuple[MasterOutcome, ...]:
    if Step.MASTERS not in options.steps:
        return ()
    return foresee_all(settings=MasterSettings.of(config), layout=layout, catalogue=catalogue, clock=SystemClock())


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


def _capture(config: Config, lines: tuple[Line, ...], known: Known, options: RunOptions) -> Iterator[str]:
    """Yield the sets as a table, and their sums; nothing where nothing would be taken in any case."""
    if not {Step.DARKS, Step.FLATS} & set(options.steps):
        return
    yield f"{'':16}{'exposure':>10}  {'filter':<12}{'gain':>8}{'°C':>8}{'wanted':>8}{'there':>7}{'to take':>9}  for"
    for line in lines:
        wanted = line.wanted
        yield (
            f"  {wanted.kind.lower():<14}{_exposure(line):>10}  {wanted.filter or '-':<12}{_or_as_is(wanted.gain):>8}"
            f"{_or_as_is(wanted.set_temp_c):>8}{wanted.count:>8}{line.there.count:>7}{line.lacking:>9}"
            f"  {', '.join(wanted.why)}{_remark(line)}"
        )
    yield ""
    yield from _sums(config, lines, known, options)


def _exposure(line: Line) -> str:
    """Return a set's exposure; that of flats is found when they are taken, unless some are there."""
    row = line.there.row
    exposure_us = line.wanted.exposure_us or (row.exposure_us if row is not None else None)
    return "searched" if exposure_us is None else f"{exposure_us / 1e6:g} s"


def _remark(line: Line) -> str:
    level = line.there.row.panel_brightness if line.there.row is not None else None
    lamp = f", brightness {level}" if level and line.wanted.kind is FrameKind.FLAT else ""
    return f"{lamp}{' (continued)' if line.there.standing is Standing.RESUMED else ''}"


def _or_as_is(value: float | None) -> str:
    return "as is" if value is None else f"{value:g}"


def _cost(config: Config, lines: Iterable[Line], known: Known) -> Estimate:
    size = 0 if known.pixels is None else known.pixels * BYTES_PER_PIXEL + HEADER_BYTES
    left = [_rest(line) for line in lines if line.lacking]
    cost = estimate(left, Costs(frame_bytes=size))
    kinds = [wanted.kind for wanted in left]
    fades = FrameKind.FLAT in kinds and FrameKind.DARK in kinds[kinds.index(FrameKind.FLAT) :]
    return replace(cost, seconds=cost.seconds + config.dark_capture.persistence_wait) if fades else cost


def _rest(line: Line) -> WantedSet:
    return replace(line.wanted, count=line.lacking)


def _sums(config: Config, lines: tuple[Line, ...], known: Known, options: RunOptions) -> Iterator[str]:
    cost = _cost(config, lines, known)
    there = sum(line.there.count for line in lines)
    if cost.frames == 0:
        yield f"Nothing to take: all {there} frames are there."
    else:
        room = "size not known before the camera was seen" if known.pixels is None else size(cost.bytes)
        yield f"{cost.frames} frames to take ({there} there), about {length(cost.seconds)}, {room}."
    new_flats = sum(line.wanted.kind is FrameKind.FLAT and line.lacking > 0 for line in lines)
    if new_flats and Step.DARKS in options.steps and options.dark_times is DarkTimes.ALL:
        most = f"{count(new_flats, 'set')} of {config.dark_capture.num_darks}"
        yield f"Darks for the exposures that {count(new_flats, 'flat set')} will find come on top: at most {most}."
    if known.from_where == "unknown":
        yield "The wheel's filters are not known before it was seen: one set of flats is shown for all of them."
    elif known.from_where:
        yield f"The filters are those of {known.from_where}."


def _of_masters(masters: tuple[MasterOutcome, ...], lines: tuple[Line, ...], options: RunOptions) -> Iterator[str]:
    """Yield what there is of masters, one by one where nothing else was asked for."""
    if Step.MASTERS not in options.steps:
        return
    if options.steps == (Step.MASTERS,) and masters:
        yield f"{'master':<16}{'exposure':>10}  {'filter':<12}{'frames':>8}"
        for each in masters:
            exposure = "" if each.exposure_us is None else f"{each.exposure_us / 1e6:g} s"
            there = "there" if each.status is Outcome.KEPT else "to build"
            yield f"  {each.kind.lower():<14}{exposure:>10}  {each.filter or '-':<12}{each.n:>8}  {there}"
        yield ""
    kept = sum(each.status is Outcome.KEPT for each in masters)
    later = "; those of the frames to take come on top" if any(line.lacking for line in lines) else ""
    if not masters and not later:
        yield "No masters to build: there are not enough frames of any kind yet."
        return
    missing = len(masters) - kept
    if not missing and not later:
        yield f"No masters to build: all {kept} are there."
        return
    yield f"{count(missing, 'master')} to build of the frames that are there ({kept} there){later}."


def _room(root: Path, needed_bytes: float, floor_bytes: float) -> str:
    """Return what is free, needed and to be left free, and whether that goes together."""
    folder = next(f for f in (root, *root.parents) if f.exists())
    free_bytes = shutil.disk_usage(folder).free
    parts = [f"{size(free_bytes)} free below {root}"]
    parts += [f"{size(needed_bytes)} needed"] if needed_bytes else []
    parts += [f"{size(floor_bytes)} to be left free (storage.min_free_mb)"] if floor_bytes else []
    short = needed_bytes > 0 and needed_bytes > free_bytes - floor_bytes
    return f"{', '.join(parts)}.{' It will not suffice: make room first.' if short else ''}"
