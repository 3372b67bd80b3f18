"""The pictures and curves of a night: a plate for each master, temperature, levels, refused frames."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from services.files.layout import Layout
from services.reports.event_records import Record
from services.reports.figures import Curve, Figure, bars, chart, number_axis, time_axis
from services.reports.night import NightReport
from services.reports.order import in_order
from services.reports.parts import Mark
from services.reports.pictures import Album, Picture
from services.reports.tables import status_mark, verdict_marks
from services.words import GAP, NONE, count, exposure, moment, number, percent, significant, small_percent, title

_MOST_REFUSED = 12
EMPTY = Figure(shapes=(), height=0, label="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture of a file with its histogram; `source` is empty where there is none."""

    name: str
    source: str = ""
    width: int = 0
    height: int = 0
    values: str = ""
    histogram: Figure = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """Pictures of one thing, with marks, facts and a note."""

    title: str
    pictures: tuple[Shown, ...]
    marks: tuple[Mark, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure with its title, its unit, and the curves whose names are its legend."""

    title: str
    figure: Figure
    curves: tuple[Curve, ...] = ()
    unit: str = ""
    note: str = ""


def master_plates(report: NightReport, layout: Layout, album: Album) -> tuple[Plate, ...]:
    """Return a plate for each master that the run built, and one for each set of its frames that has no master."""
    masters = [m for m in report.masters if m["outcome"] == "built"]
    served = {set_id for master in report.masters for set_id in master.get("sets") or ()}
    first: dict[str, Record] = {}
    for frame in report.frames:
        first.setdefault(str(frame.get("set_id")), frame)
    alone = [g for g in report.groups if g.get("set_id") in first and g["set_id"] not in served]
    plates = [_master_plate(m, layout, album) for m in masters]
    return (*plates, *(_set_plate(g, first[str(g["set_id"])], layout, album) for g in alone))


def _master_plate(master: Record, layout: Layout, album: Album) -> Plate:
    unit = "" if master.get("kind") == "FLAT" else "ADU"
    return Plate(
        title=title(master),
        pictures=(
            _shown("one frame", master.get("frame"), layout, album),
            _shown("master", master.get("path"), layout, album, unit=unit),
            *_spectrum(master, layout, album),
        ),
        marks=verdict_marks(master),
        facts=tuple(_master_lines(master)),
    )


def _spectrum(master: Record, layout: Layout, album: Album) -> Iterator[Shown]:
    """Yield the spectrum of a master in which a pattern repeats itself."""
    found = master.get("statistics") or {}
    if found.get("pattern_period_px") is None or not master.get("path"):
        return
    picture = album.spectrum(layout.absolute(str(master["path"])))
    if picture is not None:
        size = picture.width, picture.height
        yield Shown(
            name="spectrum", source=picture.data_url, width=size[0], height=size[1], values=f"pattern: {_wave(found)}"
        )


def _master_lines(master: Record) -> Iterator[tuple[str, str]]:
    found = master.get("statistics") or {}
    flat = master.get("kind") == "FLAT"
    if flat:
        yield "Exposure", exposure(master.get("exposure_us"))
    yield "Frames", number(master.get("n"))
    yield "Values rejected", percent(found.get("rejected_fraction"))
    if flat:
        yield "Subtracted", str(found.get("dark") or NONE)
        yield "Predicted error of it", small_percent(found.get("dark_error"))
        yield "Normalised by", number(found.get("normalised_by"), 0, "ADU")
        yield "Signal to noise", number(found.get("snr"))
        yield "Dust shadows", number(found.get("dust_shadows"))
    else:
        yield "Noise of a frame", significant(found.get("pair_noise_adu"), 3, "ADU")
        yield "Bright patches", number(found.get("bright_patches"))
    yield "Noise of the master", significant(found.get("master_noise_adu"), 3, "ADU")
    yield "Hot, dead, noisy", ", ".join(number(found.get(name)) for name in ("hot", "dead", "noisy"))
    yield ("Pixels of low response", number(found.get("low_response"))) if flat else ("Warm", number(found.get("warm")))
    pattern = (significant(found.get(f"{name}_pattern_adu"), 2) for name in ("row", "column"))
    yield "Pattern of rows, columns", f"{', '.join(pattern)}\u00a0ADU"
    yield "Periodic pattern", _wave(found)
    yield "File", str(master.get("path") or "").rpartition("/")[2]


def _wave(found: Record) -> str:
    """Return the amplitude and the period of a pattern that repeats itself, or how small one would have been seen."""
    amplitude = significant(found.get("pattern_amplitude_adu"), 2, "ADU")
    if amplitude == NONE:
        return NONE
    period = found.get("pattern_period_px")
    return f"none above {amplitude}" if period is None else f"{amplitude}, period {number(period, 1, 'px')}"


def _set_plate(group: Record, frame: Record, layout: Layout, album: Album) -> Plate:
    return Plate(
        title=title(group),
        pictures=(_shown("first frame", frame.get("path"), layout, album),),
        marks=(status_mark(group.get("status")),),
        note=f"{count(int(group.get('accepted') or 0), 'frame', GAP)}, no master",
    )


def _shown(name: str, path: object, layout: Layout, album: Album, *, unit: str = "ADU") -> Shown:
    picture = album.picture(layout.absolute(str(path))) if path else None
    if picture is None:
        return Shown(name=name)
    show = _labels(picture)
    return Shown(
        name=name,
        source=picture.data_url,
        width=picture.width,
        height=picture.height,
        values=f"{show(picture.low)} … {show(picture.high)} {unit}".rstrip(),
        histogram=bars(picture.histogram, label=f"histogram of {name}", show=show),
    )


def _labels(picture: Picture) -> Callable[[float], str]:
    """Return how values of an image are written: as many decimals as its histogram's width needs."""
    wide = picture.histogram.edges[-1] - picture.histogram.edges[0]
    decimals = 0 if wide > 20 else 1 if wide > 2 else 2 if wide > 0.2 else 3
    return lambda value: number(value, decimals)


def temperature_plots(report: NightReport) -> tuple[Plot, ...]:
    """Return the sensor's temperature with the set-point, and the cooler's power; nothing where none was read."""
    frames = [{**f, "set_point_c": f.get("set_temp_c")} for f in report.frames]
    readings = sorted(_timed(chain(report.temperatures, frames)), key=lambda pair: pair[0])
    curves = (
        Curve(points=_points(readings, "ccd_temp_c"), name="sensor"),
        Curve(points=_points(readings, "set_point_c"), look="dash", name="set-point"),
    )
    if not curves[0].points:
        return ()
    x = time_axis(at for at, _ in readings)
    y = number_axis((v for c in curves for _, v in c.points), least=1.0)
    sensor = chart(curves, x, y, label="temperature of the sensor over time")
    plots = [Plot(title="Sensor, °C over UTC", figure=sensor, curves=curves)]
    power = Curve(points=_points(readings, "cooler_power_pct"), look="b", name="power")
    if power.points:
        figure = chart((power,), x, number_axis((0, 100)), label="power of the cooler over time")
        plots.append(Plot(title="Cooler, % over UTC", figure=figure, curves=(power,)))
    return tuple(plots)


def _timed(records: Iterable[Record]) -> Iterator[tuple[float, Record]]:
    for record in records:
        at = moment(record.get("at"))
        if at is not None:
            yield at.timestamp(), record


def _points(readings: Iterable[tuple[float, Record]], member: str) -> tuple[tuple[float, float], ...]:
    found = ((at, record.get(member)) for at, record in readings)
    return tuple((at, float(v)) for at, v in found if isinstance(v, int | float))


def level_plots(report: NightReport) -> tuple[Plot, ...]:
    """Return the level of each frame, a figure for each set: flats against the target, others about their mean."""
    sets: dict[str, list[Record]] = {}
    for frame in report.frames:
        if isinstance(frame.get("level_adu"), int | float):
            sets.setdefault(str(frame.get("set_id")), []).append(frame)
    known = {str(g.get("set_id")): g for g in report.groups}
    sorted_ids = [str(frame.get("set_id")) for frame in in_order(frames[0] for frames in sets.values())]
    order = sorted(sorted_ids, key=lambda set_id: sets[set_id][0].get("kind") != "FLAT")
    return tuple(_level_plot(report, known.get(set_id, sets[set_id][0]), sets[set_id]) for set_id in order)


def _level_plot(report: NightReport, group: Record, frames: Sequence[Record]) -> Plot:
    scale = _flat_scale(report, group) if group.get("kind") == "FLAT" else None
    numbered = [(float(f.get("frame_no") or i + 1), float(f["level_adu"])) for i, f in enumerate(frames)]
    centre = sum(level for _, level in numbered) / len(numbered)
    relative = scale or (lambda level: level - centre)
    points = [(n, relative(level)) for n, level in numbered]
    refused = [r for r in report.refusals if r.get("set_id") == group.get("set_id") and r.get("level_adu") is not None]
    lost = [(_place(r, frames), relative(float(r["level_adu"]))) for r in refused]
    tolerance_pct = _tolerance_pct(report) if scale is not None else None
    band = None if tolerance_pct is None else (-tolerance_pct, tolerance_pct)
    curves = (Curve(points=points), Curve(points=points, dots=True), Curve(points=lost, look="bad", dots=True))
    x = number_axis([n for n, _ in points], least=4, show=lambda n: f"{n:.0f}")
    y = number_axis([v for _, v in points] + list(band or ()), least=1.0)
    length = f" {exposure(group.get('exposure_us'))}" if group.get("kind") == "FLAT" else ""
    return Plot(
        title=f"{title(group)}{length}",
        figure=chart(curves, x, y, label=f"level of the frames of {title(group)}", band=band, height=130),
        unit="ADU from " + number(centre, 1, "ADU") if scale is None else "% from target",
        note=f"{count(len(lost), 'frame', GAP)} refused (circles)" if lost else "",
    )


def _flat_scale(report: NightReport, group: Record) -> Callable[[float], float] | None:
    """Return how far a level is from the target of its set's search, in percent of the signal; None without one."""
    named = [s for s in report.searches if s.get("filter") == group.get("filter") and s.get("target_adu")]
    steps, detectors = (
        [r for r in records if r.get("apart") == group.get("apart")] for records in (named, report.detector)
    )
    if not steps:
        return None
    target = float(steps[-1]["target_adu"])
    bias = float((detectors[-1].get("bias_adu") or 0.0) if detectors else 0.0)
    return lambda level: 100 * ((level - bias) / (target - bias) - 1) if target > bias else 0.0


def _tolerance_pct(report: NightReport) -> float | None:
    section = (report.run.get("settings") or {}).get("flat_capture")
    tolerance = section.get("count_tolerance") if isinstance(section, dict) else None
    return 100 * float(tolerance) if isinstance(tolerance, int | float) else None


def _place(refusal: Record, frames: Sequence[Record]) -> float:
    """Return where among a set's frames a refused one came, which has no number: after those stored before it."""
    at = str(refusal.get("at"))
    before = [float(f.get("frame_no") or 0) for f in frames if str(f.get("at")) < at]
    return max(before, default=0.5) + 0.5


def refused_pictures(report: NightReport, layout: Layout, album: Album) -> tuple[Shown, ...]:
    """Return pictures of the first refused frames that were kept."""
    kept = [r for r in report.refusals if r.get("path")][:_MOST_REFUSED]
    return tuple(_shown(title(r), r["path"], layout, album) for r in kept)
