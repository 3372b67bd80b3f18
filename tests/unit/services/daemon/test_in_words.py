"""What `config check` says of programmes and windows."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.config import loads
from services.daemon.in_words import explained

NOW = datetime(2026, 11, 29, 8, tzinfo=UTC)
BERLIN = "site: {latitude: 52.5, longitude: 13.4}\n"


def said(text: str) -> list[str]:
    return list(explained(loads(text, Path("o.yaml")).config, NOW))


def test_a_file_without_the_daemons_sections_is_explained_all_the_same() -> None:
    assert said("{camera: {alpaca: {gain: 26, binning: 2}}, cooling: {target_temperature: -10}}") == [
        "serve: without `programmes`, what the sections above want is kept: programme default",
        (
            "programme default (gain 26, binning 2, at -10 °C): 40 biases, anew after 90 days; 40 darks of 2.5, 5, 10 "
            "and 20 s and of the flats' times, anew after 60 days; 40 flats in every filter that lets light through "
            "from the panel, anew after 7 days"
        ),
        (
            "serve: without windows, biases and darks are taken at any time (darkness: cover), by day if the first "
            "dark shows that it is dark enough; flats only by order (`nightcal run --step flats`)"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("darkness: roof", "`darkness: roof` is nothing that nightcal closes: nothing is taken by itself"),
        ("dome: {}", "by day while the roof is closed"),
        ("gains: [26, 56]", "is kept: programmes default gain 26 and default gain 56"),
        (
            (
                "reuse: {flat_hours: 30}\nfilter_wheel: {}\nprogrammes: [{name: a, offset: 3, readout_mode: Fast, "
                "temperatures: as_they_come, flats: {filters: [L, Ha], frames: 7}}]"
            ),
            (
                "programme a (offset 3, readout mode Fast, at whatever temperature): 7 flats in L and Ha from the "
                "panel, anew after 30 hours"
            ),
        ),
        (
            "serve: {timezone: Europe/Berlin, windows: [{name: m, cron: '0 10 * * *', hours: 6.5, takes: [bias]}]}",
            "window m: takes biases; opens next 2026-11-29 10:00, closes 2026-11-29 16:30 (Europe/Berlin)",
        ),
    ],
)
def test_what_would_be_done_is_said_in_words(text: str, expected: str) -> None:
    assert any(expected in line for line in said(text)), said(text)


def test_windows_say_when_they_open_and_what_no_window_takes() -> None:
    lines = said(
        BERLIN + "dome: {}\nserve:\n  timezone: America/New_York\n  blackout: [2026-12-24/2026-12-26, 2026-11-01]\n"
        "  windows:\n"
        "    - {name: early, cron: '0 2 * * *', hours: 6, takes: [bias], needs: [roof_closed, 'sun_below:-12']}\n"
        "    - {name: leap, cron: '0 0 29 2 *', hours: 1, takes: [darks]}\n"
    )
    assert lines[2:] == [
        (
            "window early: takes biases, needs roof_closed and sun_below:-12; is open until 2026-11-29 08:00 "
            "(America/New_York)"
        ),
        "window leap: takes darks; opens next 2028-02-29 00:00, closes 2028-02-29 01:00 (America/New_York)",
        "serve: no window takes flats: these are taken by order only (`nightcal run`)",
        "blackout 2026-12-24/2026-12-26: nothing is taken from 2026-12-24 to 2026-12-26, but by order; local days",
        "blackout 2026-11-01: it is over",
    ]


@pytest.mark.parametrize(
    ("before", "needs", "is_said"),
    [("darkness: roof\n", "[]", True), ("darkness: manual\n", "[parked]", True), ("darkness: cover\n", "[]", False),
     ("darkness: roof\ndome: {}\n", "[roof_closed]", False), ("darkness: roof\n", "['sun_below:-12']", False)],
)  # fmt: skip
def test_a_window_in_which_nobody_sees_whether_it_is_dark_says_so(before: str, needs: str, is_said: bool) -> None:
    window = f"serve: {{windows: [{{name: w, cron: '0 1 * * *', hours: 1, needs: {needs}}}]}}\n"
    lines = said(f"{BERLIN}telescope: {{device_id: 0}}\n{before}{window}")
    assert any("nobody sees there whether it is dark" in line for line in lines) is is_said


def test_polar_day_and_night_are_said_with_their_dates() -> None:
    text = "site: {latitude: 69.6, longitude: 19}\nserve: {timezone: UTC, windows: [{name: e, sun: [8, -1]}, %s]}"
    lines = said(text % "{name: d, sun: [-9, -12]}")
    assert (
        "window e: the sun does not come to these altitudes from 2026-11-29 to 2027-01-14: it stays closed then"
    ) in lines
    assert sum("window d: the sun does not come" in line for line in lines) == 1  # the bright summer
    assert not any("does not come" in line for line in said(BERLIN + "serve: {windows: [{name: e, sun: [8, -1]}]}"))


def test_secrets_that_are_not_there_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTCAL_TOKEN", raising=False)
    assert (
        "serve.token_env: the environment variable NIGHTCAL_TOKEN is not set: `nightcal serve` would end at once "
        "if it were started from here"
    ) in said("serve: {listen: '0.0.0.0:80', token_env: NIGHTCAL_TOKEN}")


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ("{name: a, cron: '0 2 * * *', hours: 0.05}, {name: b, cron: '0 4 * * *', hours: 0.08}", "300 and 600 s"),
        ("{name: a, cron: '0 2 * * *', hours: 0.1}, {name: flats, sun: [8, -1], takes: [flats]}", "600 s"),
        ("{name: a, cron: '0 2 * * *', hours: 0.1}, {name: b, sun: [-18, -20]}", ""),
        ("{name: a, cron: '0 2 * * *', hours: 1}", ""),
        ("{name: flats, cron: '0 2 * * *', hours: 0.1, takes: [flats]}", ""),
    ],
)
def test_darks_that_are_longer_than_every_window_are_named(windows: str, expected: str) -> None:
    programme = "programmes: [{name: one, darks: {exposures: [30, 300, 600], frames: 5}}]\n"
    named = [line for line in said(f"{BERLIN}{programme}serve: {{windows: [{windows}]}}\n") if "long enough" in line]
    assert [f"one dark of {expected}" in line for line in named] == ([True] if expected else [])
