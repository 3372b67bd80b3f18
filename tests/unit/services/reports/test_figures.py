"""Axes, curves and numbers of the page."""

import math

import pytest

from services.reports.figures import Curve, bars, chart, number_axis, thinned, time_axis
from services.reports.markup import Markup, table, tag
from services.reports.pictures import Histogram
from services.reports.words import clock, duration, number, seconds, significant, title


@pytest.mark.parametrize(
    "values", [[], [0], [5, 5], [1e-9, 2e-9], [-10.04, 20], [65535], [1e12, 1e12 + 1], [math.nan, 3], [-1e-300, 1e-300]]
)
def test_an_axis_has_a_few_round_ticks_within(values):
    axis = number_axis(values)
    assert 2 <= len(axis.ticks) <= 7
    assert axis.low < axis.high
    assert all(axis.low <= value <= axis.high for value, _ in axis.ticks)
    assert len({text for _, text in axis.ticks}) == len(axis.ticks)


@pytest.mark.parametrize("hours", [0, 0.01, 0.3, 1.7, 9, 26, 200])
def test_a_time_axis_fits_its_labels(hours):
    axis = time_axis([1.8e9, 1.8e9 + 3600 * hours])
    assert len(axis.ticks) <= 9
    assert all(len(text) == 5 for _, text in axis.ticks)


def test_thinning_keeps_what_stands_out():
    points = [(float(i), 0.0) for i in range(10_000)]
    points[4321] = (4321.0, 99.0)
    few = thinned(points)
    assert len(few) <= 480
    assert (4321.0, 99.0) in few
    assert few == sorted(few)


def test_curves_stay_inside_their_figure():
    figure = chart(
        [Curve(points=[(0, 0), (1, 5), (2, math.nan), (9, -5)])], number_axis([0, 2]), number_axis([0, 1]), label="a"
    )
    places = figure.split('points="')[1].split('"')[0].split()
    assert len(places) == 3
    for place in places:
        x, y = map(float, place.split(","))
        assert 46 <= x <= 352
        assert 8 <= y <= 128


def test_bars_of_an_empty_histogram_are_drawn():
    assert "<path" in bars(Histogram(edges=(0.0, 1.0), counts=(0,)), label="none", show=str)


def test_markup_escapes_texts_and_attributes():
    assert tag("b", "<i>", title='"') == '<b title="&quot;">&lt;i&gt;</b>'
    assert tag("b", tag("i", "x"), None, 3, hidden=True, class_=None) == "<b hidden><i>x</i>3</b>"
    assert isinstance(tag("b"), Markup)
    assert "<td>–</td>" in table(["a", "b"], [["x", None]])


def test_numbers_are_written_for_readers():
    assert number(30711.2) == "30\u202f711"
    assert number(-10, 1, "°C") == "\u221210.0\u00a0°C"
    assert [number(v) for v in (None, "x", True)] == ["–"] * 3
    assert [significant(v, 3) for v in (0.70049, 4.496, 250.5, 0)] == ["0.700", "4.50", "250", "0.000"]
    shown = [seconds(v).replace("\u00a0", " ") for v in (1000, 1_995_000, 32, 60_000_000, None)]
    assert shown == ["0.001 s", "1.995 s", "3.2e-05 s", "60 s", "–"]


def test_times_are_utc():
    assert clock("2026-01-01T01:00:00+02:00", date=True) == "2025-12-31 23:00:00"
    assert clock("rubbish") == "–"
    assert duration("2026-01-01T18:00:00Z", "2026-01-02T01:05:00Z") == "7 h 05 min"
    assert duration("2026-01-01T18:00:00Z", None) == "–"


def test_titles_name_what_tells_sets_apart():
    assert title({"kind": "FLAT", "filter": "Ha", "exposure_us": 1}) == "Flat Ha"
    assert title({"kind": "DARK", "filter": "Ha", "exposure_us": 5_000_000}) == "Dark 5\u00a0s"
    assert title({"kind": "BIAS", "exposure_us": 1000}) == "Bias"
    assert title({}) == "Set"
