"""The pictures and curves of the page: a plate a master, temperature, levels, refused frames."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from services.files.layout import Layout
from services.reports.figures import Curve, bars, chart, legend, number_axis, time_axis
from services.reports.journal import Record
from services.reports.markup import EMPTY, Markup, joined, tag
from services.reports.night import NightReport
from services.reports.order import in_order
from services.reports.pictures import Album, Picture
from services.reports.tables import status_mark, verdict_mark
from services.words import GAP, count, exposure, moment, number, percent, significant, title

_MOST_REFUSED = 12


def master_plates(report: NightReport, layout: Layout, album: Album) -> Markup:
    """Return a plate for each master, and one for each set that has none: a frame, the master, their histograms."""
    masters = [m for m in report.masters if m["outcome"] != "refused"]
    served = {set_id for master in masters for set_id in master.get("sets") or ()}
    first: dict[str, Record] = {}
    for frame in report.frames:
        first.setdefault(str(frame.get("set_id")), frame)
    alone = [g for g in report.groups if g.get("set_id") in first and g["set_id"] not in served]
    plates = [_master_plate(m, layout, album) for m in masters]
    plates += [_set_plate(g, first[str(g["set_id"])], layout, album) for g in alone]
    if not plates:
        return EMPTY
    note = "Some pictures were left out to keep the page small." if album.full else None
    return joined((tag("div", *plates, class_="grid"), tag("p", note, class_="soft") if note else None))


def _master_plate(master: Record, layout: Layout, album: Album) -> Markup:
    flat = master.get("kind") == "FLAT"
    frame = master.get("frame")
    one = _figure("one frame", frame, layout, album, unit="ADU")
    whole = _figure("master", master.get("path"), layout, album, unit="" if flat else "ADU")
    return tag(
        "article",
        tag("header", tag("h3", title(master)), tag("span", verdict_mark(master))),
        tag("div", one, whole, class_="pair"),
        _lines(_master_lines(master)),
        class_="card",
    )


def _master_lines(master: Record) -> Iterator[tuple[str, str]]:
    found = master.get("statistics") or {}
    flat = master.get("kind") == "FLAT"
    if flat:
        yield "Exposure", exposure(master.get("exposure_us"))
    yield "Frames", number(master.get("n"))
    yield "Values rejected", percent(found.get("rejected_fraction"))
    if flat:
        yield "Normalised by", number(found.get("normalised_by"), 0, "ADU")
        yield "Signal to noise", number(found.get("snr"))
        yield "Dust shadows", number(found.get("dust_shadows"))
    else:
        yield "Noise of a frame", significant(found.get("pair_noise_adu"), 3, "ADU")
    yield "Noise of the master", significant(found.get("master_noise_adu"), 3, "ADU")
    yield "Hot, dead, noisy", ", ".join(number(found.get(name)) for name in ("hot", "dead", "noisy"))
    pattern = (significant(found.get(f"{name}_pattern_adu"), 2) for name in ("row", "column"))
    yield "Pattern of rows, columns", f"{', '.join(pattern)}\u00a0ADU"
    yield "File", str(master.get("path") or "").rpartition("/")[2]


def _set_plate(group: Record, frame: Record, layout: Layout, album: Album) -> Markup:
    return tag(
        "article",
        tag("header", tag("h3", title(group)), status_mark(group.get("status"))),
        tag("div", _figure("first frame", frame.get("path"), layout, album, unit="ADU"), class_="pair"),
        tag("p", f"{count(int(group.get('accepted') or 0), 'frame', GAP)}, no master", class_="soft"),
        class_="card",
    )


def _lines(lines: Iterable[tuple[str, str]]) -> Markup:
    return tag("dl", *(joined((tag("dt", name), tag("dd", value))) for name, value in lines), class_="lines")


def _figure(name: str, path: object, layout: Layout, album: Album, *, unit: str) -> Markup:
    picture = album.picture(layout.absolute(str(path))) if path else None
    if picture is None:
        return tag("figure", tag("div", "no picture", class_="gone"), tag("figcaption", name))
    show = _labels(picture)
    shown = f"{show(picture.low)} … {show(picture.high)}{f' {unit}' if unit else ''}"
    return tag(
        "figure",
        tag("img", src=picture.data_url, alt=name, width=picture.width, height=picture.height),
        tag("figcaption", name, tag("br"), shown),
        bars(picture.histogram, label=f"histogram of {name}", show=show),
    )


def _labels(picture: Picture) -> Callable[[float], str]:
    """Return how values of an image are written: as many decimals as its histogram's width needs."""
    wide = picture.histogram.edges[-1] - picture.histogram.edges[0]
    decimals = 0 if wide > 20 else 1 if wide > 2 else 2 if wide > 0.2 else 3
    return lambda value: number(value, decimals)


def temperature_charts(report: NightReport) -> Markup:
    """Return the sensor's temperature with the set-point, and the cooler's power."""
    frames = [{**f, "set_point_c": f.get("set_temp_c")} for f in report.frames]
    readings = sorted(_timed(chain(report.temperatures, frames)), key=lambda pair: pair[0])
    curves = (
        Curve(points=_points(readings, "ccd_temp_c"), name="sensor"),
        Curve(points=_points(readings, "set_point_c"), look="dash", name="set-point"),
    )
    if not curves[0].points:
        return tag("p", "No temperature was read.", class_="soft")
    x = time_axis(at for at, _ in readings)
    y = number_axis((v for c in curves for _, v in c.points), least=1.0)
    shown = [_plot("Sensor, °C over UTC", chart(curves, x, y, label="temperature of the sensor over time"), curves)]
    power = Curve(points=_points(readings, "cooler_power_pct"), look="b", name="power")
    if power.points:
        figure = chart((power,), x, number_axis((0, 100)), label="power of the cooler over time")
        shown.append(_plot("Cooler, % over UTC", figure, (power,)))
    return tag("div", *shown, class_="grid wide")


def _timed(records: Iterable[Record]) -> Iterator[tuple[float, Record]]:
    for record in records:
        at = moment(record.get("at"))
        if at is not None:
            yield at.timestamp(), record


def _points(readings: Iterable[tuple[float, Record]], member: str) -> tuple[tuple[float, float], ...]:
    found = ((at, record.get(member)) for at, record in readings)
    return tuple((at, float(v)) for at, v in found if isinstance(v, int | float))


def _plot(name: str, figure: Markup, curves: Sequence[Curve]) -> Markup:
    return tag("figure", tag("header", tag("h3", name)), figure, tag("figcaption", legend(curves)), class_="card")


def level_charts(report: NightReport) -> Markup:
    """Return the level of each frame, a figure a set: flats against target and tolerance, others about their mean."""
    sets: dict[str, list[Record]] = {}
    for frame in report.frames:
        if isinstance(frame.get("level_adu"), int | float):
            sets.setdefault(str(frame.get("set_id")), []).append(frame)
    known = {str(g.get("set_id")): g for g in report.groups}
    sorted_ids = [str(frame.get("set_id")) for frame in in_order(frames[0] for frames in sets.values())]
    order = sorted(sorted_ids, key=lambda set_id: sets[set_id][0].get("kind") != "FLAT")
    charts = [_level_chart(report, known.get(set_id, sets[set_id][0]), sets[set_id]) for set_id in order]
    return tag("div", *charts, class_="grid") if charts else tag("p", "No frame was stored.", class_="soft")


def _level_chart(report: NightReport, group: Record, frames: Sequence[Record]) -> Markup:
    flat = group.get("kind") == "FLAT"
    scale = _flat_scale(report, group) if flat else None
    refused = [r for r in report.refusals if r.get("set_id") == group.get("set_id")]
    numbered = [(float(f.get("frame_no") or i + 1), float(f["level_adu"])) for i, f in enumerate(frames)]
    centre = sum(level for _, level in numbered) / len(numbered)
    relative = scale or (lambda level: level - centre)
    points = [(n, relative(level)) for n, level in numbered]
    lost = [(_place(r, frames), relative(float(r["level_adu"]))) for r in refused if r.get("level_adu") is not None]
    tolerance = _tolerance_pct(report) if scale is not None else None
    band = None if tolerance is None else (-tolerance, tolerance)
    y = number_axis([v for _, v in points] + list(band or ()), least=1.0)
    curves = (Curve(points=points), Curve(points=points, dots=True), Curve(points=lost, look="bad", dots=True))
    x = number_axis([n for n, _ in points], least=4, show=lambda n: f"{n:.0f}")
    about = "target" if scale is not None else number(centre, 1, "ADU")
    unit = "%" if scale is not None else "ADU"
    label = f"level of the frames of {title(group)}"
    lasting = exposure(group.get("exposure_us")) if flat else ""
    return tag(
        "figure",
        tag("header", tag("h3", f"{title(group)} {lasting}"), tag("small", f"{unit} from {about}")),
        chart(curves, x, y, label=label, band=band, height=130),
        tag("figcaption", f"{count(len(lost), 'frame', GAP)} refused (circles)") if lost else None,
        class_="card",
    )


def _flat_scale(report: NightReport, group: Record) -> Callable[[float], float] | None:
    """Return how far a level is from the target of its set's search, in percent of the signal; None without one."""
    steps = [s for s in report.searches if s.get("filter") == group.get("filter") and s.get("target_adu")]
    if not steps:
        return None
    target = float(steps[-1]["target_adu"])
    bias = float((report.detector[-1].get("bias_adu") or 0.0) if report.detector else 0.0)
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


def refused_plates(report: NightReport, layout: Layout, album: Album) -> Markup:
    """Return pictures of the first refused frames that were kept."""
    kept = [r for r in report.refusals if r.get("path")][:_MOST_REFUSED]
    shown = (tag("div", _figure(title(r), r["path"], layout, album, unit="ADU"), class_="card") for r in kept)
    return tag("div", *shown, class_="grid", style="margin-top:14px") if kept else EMPTY
