"""Numbers, units and times as an observer reads them."""

import math

import pytest

from services.words import (
    adu,
    both_clocks,
    celsius,
    count,
    duration,
    exposure,
    length,
    moment,
    number,
    seconds,
    significant,
    size,
    small_percent,
    title,
    wait,
)


def test_numbers_are_written_for_readers():
    assert number(30711.2) == "30\u202f711"
    assert number(-10, 1, "°C") == "\u221210.0\u00a0°C"
    assert [number(v) for v in (None, "x", True)] == ["–"] * 3
    assert [small_percent(v, " ") for v in (7.31e-5, 0.0012, 0.25, 0.0, None)] == [
        "0.0073 %", "0.12 %", "25 %", "0 %", "–",
    ]  # fmt: skip
    assert [significant(v, 3) for v in (0.70049, 4.496, 250.5, 0)] == ["0.700", "4.50", "250", "0.000"]
    shown = [exposure(v).replace("\u00a0", " ") for v in (1000, 1_995_000, 32, 60_000_000, None)]
    assert shown == ["0.001 s", "1.995 s", "3.2e-05 s", "60 s", "–"]


def test_times_are_utc():
    at = moment("2026-01-01T01:00:00+02:00")
    assert at is not None
    assert both_clocks(at, "%Y-%m-%d %H:%M:%S").startswith("2025-12-31 23:00:00 UTC")
    assert moment("rubbish") is None
    assert duration("2026-01-01T18:00:00Z", "2026-01-02T01:05:00Z") == "7 h 05 min"
    assert duration("2026-01-01T18:00:00Z", None) == "–"


def test_titles_name_what_tells_sets_apart():
    assert title({"kind": "FLAT", "filter": "Ha", "exposure_us": 1}) == "Flat Ha"
    assert title({"kind": "DARK", "filter": "Ha", "exposure_us": 5_000_000}) == "Dark 5\u00a0s"
    assert title({"kind": "BIAS", "exposure_us": 1000}) == "Bias"
    assert title({}) == "Set"
    assert title({"kind": "BIAS", "twin": "Dark 1\u00a0s", "apart": "gain 3"}) == "Bias = Dark 1\u00a0s (gain 3)"


def test_a_noun_agrees_with_its_count():
    assert [count(n, "frame") for n in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (seconds(2_239_000), "2.239 s"),
        (seconds(None), ""),
        (celsius(-10), "-10.0 °C"),
        (celsius(None), "unknown"),
        (adu(33035.6), "33036 ADU"),
        (adu(None), "unknown"),
        (wait(119.0), "119 s"),
        (wait(150.0), "2.5 min"),
        (length(29.0), "0 min"),
        (length(7500.0), "2 h 05 min"),
        (size(1.39e9), "1.3 GB"),
        (size(640e6), "640 MB"),
        (size(0.69e6), "0.6 MB"),
        (size(math.inf), "unknown"),
    ],
)
def test_sentences_show_values_with_their_unit(shown, expected):
    assert shown == expected
