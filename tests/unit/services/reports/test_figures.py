"""Axes and curves of the page."""

import math
from datetime import datetime

import pytest

from services.reports.figures import Curve, Histogram, bars, chart, number_axis, thinned, time_axis, whole_axis
from tests.support.zones import in_zone, zones_only


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


def test_a_time_axis_over_days_names_days_and_over_years_dates():
    days = time_axis([1.8e9, 1.8e9 + 10 * 86_400])
    assert [text for _, text in days.ticks][:2] == ["01-16", "01-18"]
    assert days.below == ()
    years = time_axis([1.7e9, 1.8e9])
    assert 2 <= len(years.ticks) <= 5
    assert all(len(text) == 10 for _, text in years.ticks)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([], ["0"]),
        ([7, 7], ["7"]),
        ([0, 1, 2, 3], ["0", "1", "2", "3"]),
        ([1000.5, 1004.0], ["1000", "1001", "1002", "1003", "1004"]),
        ([1, 40], ["10", "20", "30", "40"]),
        ([-2, 2], ["\u22122", "\u22121", "0", "1", "2"]),
    ],
)
def test_an_axis_of_whole_numbers_has_no_tick_between_them(values, labels):
    axis = whole_axis(values)
    assert [text for _, text in axis.ticks] == labels
    assert axis.low < axis.high
    assert all(axis.low <= value <= axis.high for value, _ in axis.ticks)


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
    (line,) = [shape for shape in figure.shapes if shape.name == "polyline"]
    places = str(line.attributes["points"]).split()
    assert len(places) == 3
    for place in places:
        x, y = map(float, place.split(","))
        assert 46 <= x <= 352
        assert 8 <= y <= 128


def test_bars_of_an_empty_histogram_are_drawn():
    figure = bars(Histogram(edges=(0.0, 1.0), counts=(0,)), label="none", show=str)
    assert "path" in {shape.name for shape in figure.shapes}


@zones_only
@pytest.mark.parametrize(
    ("zone", "begin", "names", "below"),
    [
        ("UTC0", "2026-10-24T22:00Z", (), []),
        ("Europe/Berlin", "2026-01-24T22:00Z", ("UTC", "CET"), ["23:00", "00:00", "01:00", "02:00", "03:00"]),
        ("Europe/Berlin", "2026-10-24T23:00Z", ("UTC", "CEST"), ["01:00", "02:00", "02:00 CET", "03:00", "04:00"]),
        ("Europe/Berlin", "2026-03-28T23:00Z", ("UTC", "CET"), ["00:00", "01:00", "03:00 CEST", "04:00", "05:00"]),
        ("Europe/London", "2026-10-24T23:00Z", ("UTC", "BST"), ["00:00", "01:00", "01:00 UTC", "02:00", "03:00"]),
        ("Asia/Kathmandu", "2026-01-24T22:00Z", ("UTC", "+05:45"), ["03:45", "04:45", "05:45", "06:45", "07:45"]),
    ],
)
def test_local_time_stands_below_utc(zone, begin, names, below):
    start = datetime.fromisoformat(begin).timestamp()
    with in_zone(zone):
        axis = time_axis([start, start + 4 * 3600])
    assert axis.names == names
    assert [text for _, text in axis.below] == below
    figure = chart([], axis, number_axis([0, 1]), label="a")
    rows = {str(s.attributes["y"]): s.text for s in figure.shapes if s.name == "text" and s.attributes.get("x") == 0}
    assert tuple(rows.values()) == names
    assert all(float(y) < figure.height for y in rows)
