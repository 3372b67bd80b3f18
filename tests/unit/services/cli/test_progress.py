"""What a run shows: plain lines elsewhere, bars on a terminal, and questions only where somebody can answer."""

import io
import json
import signal
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from calibration.frames import FrameKind
from drivers.clock import ManualClock
from services import log
from services.cli.failures import concerns_camera
from services.cli.progress import Bars, Lines
from services.cli.prompts import asker, confirmed
from services.errors import meaning
from services.events.bus import Events
from services.events.decoder import KINDS, record_of
from services.events.devices import (
    CoolingChanged,
    CoolingStable,
    DetectorMeasured,
    DeviceConnected,
    DeviceGone,
    SafetyStale,
    SafetyUnsafe,
)
from services.events.records import (
    DevicesLeft,
    Event,
    FlatExposureAdjusted,
    FlatSettled,
    FrameRefused,
    FrameSet,
    FrameStored,
    GroupFinished,
    GroupStarted,
    MasterBuilt,
    MasterRefused,
    MasterStarted,
    Record,
    RunEnding,
    RunFinished,
    RunProgress,
    RunStarted,
    StepStarted,
    StorageLow,
    Waiting,
    WarningRaised,
)
from services.events.sentences import sentence, title
from services.events.to_log import ToLog
from services.words import both_clocks, stamp
from tests.support.zones import in_zone, zones_only

START = datetime(2026, 1, 31, 18, 0, tzinfo=UTC)
FLAT = {"set_id": "s1", "kind": "FLAT", "filter": "L", "exposure_us": None, "gain": 26, "set_temp_c": -10.0}
NIGHT: list[tuple[str, dict[str, Any]]] = [
    (RunStarted.name, {"steps": ["flats"], "root": "/data", "simulated": True}),
    (DeviceConnected.name, {"device": "camera", "device_name": "QHY600M", "unique_id": "u"}),
    (CoolingChanged.name, {"ccd_temp_c": 12.0, "set_point_c": 5.0, "target_c": -10.0, "cooler_power_pct": 50.0}),
    (CoolingChanged.name, {"ccd_temp_c": 2.0, "set_point_c": 0.0, "target_c": -10.0, "cooler_power_pct": None}),
    (CoolingStable.name, {"ccd_temp_c": -10.04, "target_c": -10.0, "seconds": 480.2}),
    (StepStarted.name, {"step": "flats"}),
    (GroupStarted.name, {**FLAT, "wanted": 12, "have": 2, "detail": "taken anew: it is warmer"}),
    (
        FlatExposureAdjusted.name,
        {"filter": "L", "exposure_us": 1_995_262, "level_adu": 48_433.4, "target_adu": 33_036.0, "panel_brightness": 12,
         "attempt": 2},
    ),
    (
        FlatSettled.name,
        {"filter": "L", "exposure_us": 1_995_262, "panel_brightness": 8, "attempts": 4, "level_adu": 32_398.0},
    ),
    *[(FrameStored.name, {**FLAT, "path": "x", "frame_no": n, "wanted": 10, "level_adu": 32_000.0,
                                "ccd_temp_c": -10.0}) for n in range(3, 13)],
    (RunProgress.name, {"done": 10, "wanted": 100}),
    (FrameRefused.name, {**FLAT, "codes": ["level_off", "light_leak"], "path": None}),
    (GroupFinished.name, {**FLAT, "status": "complete", "code": None, "accepted": 12, "refused": 1}),
    (GroupFinished.name, {**FLAT, "filter": "Ha", "status": "failed", "code": "too_dim", "accepted": 0,
                                "refused": 0}),
    (MasterBuilt.name, {"path": "master_frames/master_flat_L.fits", "n": 12, "status": "partial"}),
    (MasterRefused.name, {"kind": "FLAT", "filter": "Ha", "code": "no_frames"}),
    (WarningRaised.name, {"code": "no_cover", "detail": "CoverState is NotPresent"}),
    (RunFinished.name, {"exit_code": 1, "code": None, "detail": ""}),
]  # fmt: skip


def event_of(kind: type[Record], data: dict[str, Any]) -> Event:
    return Event(run_id="r", seq=1, at=START, what=record_of(kind, data))


def told(display: Lines | Bars, events: list[tuple[str, dict[str, Any]]]) -> None:
    """Let a display hear a run, over the real bus and its dispatcher thread."""
    clock = ManualClock(START)
    bus = Events(run_id="r", clock=clock)
    bus.subscribe(display)
    with display.showing():
        for name, data in events:
            bus.emit(record_of(KINDS[name], data))
            clock.advance(20)
        bus.close()


def test_plain_lines_tell_the_night():
    stream = io.StringIO()
    told(Lines(stream), NIGHT)
    lines = stream.getvalue().splitlines()
    assert [line[:10].rstrip() for line in lines] == [line[:8] for line in lines]
    assert [line[10:] for line in lines] == [
        "run started on the simulated observatory: flats → /data (times are simulated UTC; the log has real ones too)",
        "camera connected: QHY600M",
        "cooling: 12.0 °C → -10.0 °C, cooler 50 %",
        "cooled: stable at -10.0 °C after 480 s",
        "— flats —",
        "flat L: 12 wanted, 2 of them there (gain 26, -10.0 °C): taken anew: it is warmer",
        "flat L: test 2, 1.995 s at brightness 12: 48433 ADU, wanted 33036 ADU",
        "flat L: 1.995 s at brightness 8 gives 32398 ADU after 4 tests",
        "flat L: frame 10, 32000 ADU, -10.0 °C",
        "flat L: frame refused: the level is outside its tolerance; light falls on a dark frame",
        "flat L: complete, 12 kept, 1 refused",
        f"flat Ha: failed, 0 kept: {meaning('too_dim').text} — {meaning('too_dim').advice}",
        "master_flat_L.fits: 12 frames, partial",
        "no master flat Ha: there are no frames — run the capture steps first",
        "warning: there is no cover: CoverState is NotPresent — make sure by other means that it is dark",
    ]


def test_plain_lines_tell_of_the_cooling_once_a_minute():
    stream = io.StringIO()
    step = {"ccd_temp_c": 1.0, "target_c": -10.0, "cooler_power_pct": None}
    told(Lines(stream), [(CoolingChanged.name, step)] * 9)
    assert [line[:8] for line in stream.getvalue().splitlines()] == ["18:00:00", "18:01:00", "18:02:00"]


def test_bars_show_each_frame_and_lines_scroll_by_above_them():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None, legacy_windows=False)
    bars = Bars(console)
    half = next(i for i, (_, data) in enumerate(NIGHT) if data.get("frame_no") == 7) + 1
    told(bars, NIGHT[:half])
    text = stream.getvalue()
    assert "7/12" in text
    assert "camera connected: QHY600M" in text
    assert "frame 7" not in text
    told(bars, NIGHT[half:])
    assert "10/100" in stream.getvalue()
    assert "flat L: complete, 12 kept, 1 refused" in stream.getvalue()


def test_ctrl_c_with_warming_up_says_what_goes_on_and_for_how_long():
    stream = io.StringIO()
    rising = {"ccd_temp_c": -10.0, "target_c": 15.0, "cooler_power_pct": 60.0}
    doing = ["switching the lamp off", "closing the cover"]
    ending = {"code": "interrupted", "warming_s": 755.0, "doing": doing}
    told(Lines(stream), [(RunEnding.name, ending), (CoolingChanged.name, rising)])
    stopping, rising_line = (line[10:] for line in stream.getvalue().splitlines())
    assert stopping.startswith("switching the lamp off, closing the cover, warming up")  # who pressed the key knows
    assert "takes about 13 min" in stopping
    assert stopping.endswith("(Ctrl-C once more cuts it short)")
    assert rising_line == "warming: -10.0 °C → 15.0 °C, cooler 60 %"


def test_a_camera_that_is_lost_is_said_to_be_waited_for_and_until_when():
    data = {"device": "camera", "detail": "no answer", "waiting_until": "2026-01-31T03:29:40+00:00"}
    what = record_of(DeviceGone, data)
    assert sentence(what) == f"camera lost: no answer; waiting for it until {both_clocks(what.waiting_until, '%H:%M')}"


def test_a_line_that_arrives_during_a_question_waits_until_it_is_answered():
    # "[Enter] go on, [q] stop: 09:21:55  bias: complete, 3 kept" stood on one line
    plain, fancy = io.StringIO(), io.StringIO()
    bars = Bars(Console(file=fancy, force_terminal=True, width=100, color_system=None, legacy_windows=False))
    finished = event_of(GroupFinished, {**FLAT, "status": "complete", "code": None, "accepted": 12, "refused": 0})
    for display, stream in ((Lines(plain), plain), (bars, fancy)):
        with display.showing():
            with display.still():
                display(finished)
                assert "complete" not in stream.getvalue()
            assert stream.getvalue().count("flat L: complete, 12 kept") == 1


def test_what_was_said_before_a_question_stands_above_it():
    heard: list[int] = []
    bus = Events(run_id="r", clock=ManualClock(START))
    assert bus.caught_up()
    go_on = threading.Event()

    def slow(event: Event) -> None:
        go_on.wait(100)
        heard.append(event.seq)

    bus.subscribe(slow)
    bus.emit(RunProgress())
    assert not bus.caught_up(timeout_s=0)
    go_on.set()
    assert bus.caught_up(timeout_s=10)
    assert heard == [1]
    bus.close()


def test_minutes_of_waiting_say_for_what_and_until_when():
    stream = io.StringIO()
    bus = Events(run_id="r", clock=ManualClock(START))
    bus.subscribe(Lines(stream))
    bus.announce_wait(30.0, "nothing worth a line")
    bus.announce_wait(300.0, "the charge that light left on the sensor fades")
    bus.announce_wait(45.0, "another program's exposure ends", at_most=True)
    bus.emit(Waiting(wait_s=60.0, at_most=True, detail="the hook before_flats ends"))
    bus.close()
    fading, exposing = (both_clocks(START + timedelta(seconds=s)) for s in (300, 45))
    assert [line[10:] for line in stream.getvalue().splitlines()] == [
        f"waiting until {fading} (5 min): the charge that light left on the sensor fades",
        f"waiting until {exposing} (at most 45 s): another program's exposure ends",
        "waiting (at most 60 s): the hook before_flats ends",
    ]


def test_the_log_of_a_simulated_night_has_its_times_beside_the_real_ones(tmp_path: Path):
    log.configure("INFO", tmp_path / "night.log", console=False)
    tell = ToLog()
    for simulated in (True, False):
        started = {"steps": ["flats"], "simulated": simulated}
        tell(event_of(RunStarted, started))
    log.close()
    first, second = (json.loads(line) for line in (tmp_path / "night.log").read_text(encoding="utf-8").splitlines())
    assert first["simulated_at"] == "2026-01-31T18:00:00+00:00"
    assert not first["at"].startswith("2026-01-31T18:00:00")
    assert "simulated_at" not in second


def test_the_end_of_a_run_without_warming_up_is_not_worth_a_line():
    ending = event_of(RunEnding, {"code": None, "warming_s": None})
    assert sentence(ending.what) is None


@pytest.mark.parametrize(
    ("serving", "words"),
    [(0, None), (1, "1 set of earlier runs still serves: "), (2, "2 sets of earlier runs still serve: ")],
)
def test_sets_that_still_serve_are_named_with_their_days(serving: int, words: str | None):
    sets = tuple(FrameSet(kind=FrameKind.DARK, set_id=f"s{n}", exposure_us=n * 1_000_000) for n in (1, 2, 3))
    said = sentence(RunProgress(sets=sets, taken_at=(START,) * serving + (None,) * (3 - serving)))
    assert said == (words and words + ", ".join(f"{title(each)} (2026-01-31)" for each in sets[:serving]))


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_event_can_be_told_without_its_data(kind: type[Record]):
    event = event_of(kind, {})
    sentence(event.what)
    for display in (Lines(io.StringIO()), Bars(Console(file=io.StringIO()))):
        display(event)
        display(event)


def test_what_is_said_at_the_end_is_of_devices_that_are_there_and_of_what_is_done():
    def said(kind: type[Record], **data: object) -> str | None:
        return sentence(record_of(kind, data))

    assert said(RunEnding, code="interrupted", warming_s=None, doing=[]) is None, "it was said when the key was pressed"
    stopped = said(RunEnding, code="unsafe", warming_s=None, doing=["closing the cover"])
    assert stopped == "stopping, the safety monitor said unsafe: closing the cover"
    assert said(DevicesLeft, done=["lamp off", "cover closed"]) == "left: lamp off, cover closed"
    assert said(DevicesLeft, done=[]) is None


@zones_only
@pytest.mark.parametrize(
    ("zone", "shown", "begins"),
    [
        ("UTC0", "19:30 UTC", "18:00:00  run started"),
        ("Europe/London", "19:30 UTC", "18:00:00  run started"),  # in winter
        ("CET-1", "19:30 UTC (20:30 CET)", "18:00:00 (19:00 CET)  run started"),
        ("IST-5:30", "19:30 UTC (01:00 IST)", "18:00:00 (23:30 IST)  run started"),
        ("Asia/Kathmandu", "19:30 UTC (01:15 UTC+05:45)", "18:00:00 (23:45 UTC+05:45)  run started"),
        ("HST10", "19:30 UTC (09:30 HST)", "18:00:00 (08:00 HST)  run started"),
    ],
)
def test_local_time_stands_beside_utc_where_it_differs(zone: str, shown: str, begins: str):
    with in_zone(zone):
        assert both_clocks(datetime(2026, 1, 31, 19, 30, tzinfo=UTC), "%H:%M") == shown
        stream = io.StringIO()
        told(Lines(stream), [(RunStarted.name, {"steps": ["darks"], "root": "/data"})])
        assert stream.getvalue().startswith(begins)


@zones_only
@pytest.mark.parametrize(
    ("zone", "change", "before", "after"),
    [
        ("Europe/Berlin", "2026-10-25T01:00Z", "00:59:00 (02:59 CEST)", "01:59:00 (02:59 CET)"),
        ("Europe/Berlin", "2026-03-29T01:00Z", "00:59:00 (01:59 CET)", "01:59:00 (03:59 CEST)"),
        ("America/New_York", "2026-11-01T06:00Z", "05:59:00 (01:59 EDT)", "06:59:00 (01:59 EST)"),
        ("Europe/London", "2026-10-25T01:00Z", "00:59:00 (01:59 BST)", "01:59:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:00Z", "14:59:00 (01:59 UTC+11:00)", "15:59:00 (02:29 UTC+10:30)"),
    ],
)
def test_local_time_is_right_on_both_sides_of_a_change_of_the_clocks(zone: str, change: str, before: str, after: str):
    at = datetime.fromisoformat(change)
    with in_zone(zone):
        assert (stamp(at - timedelta(minutes=1)), stamp(at + timedelta(minutes=59))) == (before, after)


def test_the_end_is_a_line_only_where_no_command_says_it():
    for shows_end in (True, False):
        stream = io.StringIO()
        told(Lines(stream, shows_end=shows_end), [(RunFinished.name, {"exit_code": 130, "code": "interrupted"})])
        assert ("run stopped by the user" in stream.getvalue()) is shows_end


@pytest.mark.parametrize(("n", "shown"), [(1, "(1 frame)"), (2, "(2 frames)"), (0, "(0 frames)")])
def test_one_frame_is_no_frames(n: int, shown: str):
    data = {"kind": "BIAS", "exposure_us": 1000, "n": n, "number": 1, "of": 1}
    assert str(sentence(record_of(MasterStarted, data))).endswith(shown)


@pytest.mark.parametrize(
    ("done", "wanted", "mb", "seconds", "said"),
    [
        (0, 560, 68_400.0, 7_300.0, "560 frames to take: about 2 h 02 min, 68.4 GB"),
        (9, 10, 0.25, 61.0, "1 frame to take: about 1 min, 0.2 MB"),
    ],
)
def test_the_first_night_knows_its_frames_and_gigabytes_once_the_devices_are_known(done, wanted, mb, seconds, said):
    told_of = {"done": done, "wanted": wanted, "needed_mb": mb, "seconds": seconds}
    assert sentence(record_of(RunProgress, told_of)) == said
    assert sentence(record_of(RunProgress, {**told_of, "at_most": True})) == f"at most {said}"


def test_building_says_which_master_of_how_many():
    data = {"kind": "DARK", "exposure_us": 5_000_000, "n": 40, "number": 3, "of": 15}
    told = sentence(record_of(MasterStarted, data))
    assert told == "building master 3 of 15: dark 5 s (40 frames)"


def test_a_group_that_failed_says_what_was_found():
    detail = "Gain was set to 26 twice and reads back 5"
    data = {"kind": "BIAS", "status": "failed", "accepted": 0, "code": "setting_refused", "detail": detail}
    told = sentence(record_of(GroupFinished, data))
    assert told is not None
    assert f"the camera does not keep a setting ({detail}) — check" in told


def test_little_room_is_said_with_a_decimal_and_never_rounded_up_to_the_floor():
    data = {"free_mb": 0.96, "needed_mb": 640.2, "floor_mb": 1}
    told = sentence(record_of(StorageLow, data))
    assert told == "storage: 0.9 MB free, 640 MB needed, 1 MB to be left"


_ONE = {"set_id": "s1", "kind": "DARK", "filter": None, "exposure_us": 5_000_000, "level_adu": 5.0, "gain": 26}
_APART = "gain 26, -10.0 °C"


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (GroupStarted, {"wanted": 5, "set_temp_c": -10.0}, f"dark 5 s ({_APART}): 5 wanted"),
        (GroupFinished, {"status": "complete", "accepted": 5}, f"dark 5 s ({_APART}): complete, 5 kept"),
        (GroupFinished, {"there": True, "status": None, "accepted": 5}, f"dark 5 s ({_APART}): all 5 are there"),
        (FrameStored, {"frame_no": 3}, f"dark 5 s ({_APART}): frame 3, 5 ADU"),
        (FrameRefused, {"codes": ["constant"]}, f"dark 5 s ({_APART}): frame refused: "),
        (FlatExposureAdjusted, {"attempt": 1, "target_adu": 9.0}, f"flat ({_APART}): test 1, "),
        (FlatSettled, {"filter": "Ha", "attempts": 2}, f"flat Ha ({_APART}): 5 s gives 5 ADU after 2 tests"),
        (DetectorMeasured, {"bias_adu": 5, "saturation_adu": 9}, f"detector ({_APART}): pedestal 5 ADU"),
        (MasterStarted, {"n": 5, "number": 1, "of": 2}, f"building master 1 of 2: dark 5 s ({_APART}) (5 frames)"),
        (MasterRefused, {"code": "too_few_frames"}, f"no master dark 5 s ({_APART}): "),
    ],
)
def test_sets_that_differ_only_in_gain_and_temperature_are_named_by_them(
    kind: type[Record], data: dict[str, Any], said: str
):
    assert str(sentence(record_of(kind, {**_ONE, "apart": _APART, **data}))).startswith(said)
    assert _APART not in str(sentence(record_of(kind, {**_ONE, **data})).split(":")[0]), "one gain needs no name"


def test_all_sets_that_serve_are_named_though_their_gains_alone_differ():
    sets = [{**_ONE, "gain": gain, "apart": f"gain {gain}"} for gain in (26, 60)]
    told_of = {"sets": sets, "taken_at": ["2026-01-01T20:00:00Z"] * 2}
    assert sentence(record_of(RunProgress, told_of)) == (
        "2 sets of earlier runs still serve: dark 5 s (gain 26) (2026-01-01), dark 5 s (gain 60) (2026-01-01)"
    )


def test_a_dark_is_not_named_by_the_filter_that_happens_to_be_in():
    dark = FrameSet(kind=FrameKind.DARK, filter="SII", exposure_us=2_500_000)
    assert title(dark) == "dark 2.5 s"
    assert title(replace(dark, kind=FrameKind.BIAS)) == "bias"
    assert title(FrameSet(kind=FrameKind.FLAT)) == "flat"


class Terminal(io.StringIO):
    """A stream that somebody sits at."""

    def isatty(self) -> bool:
        return True


def seat(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    """Put somebody at the terminal who types this."""
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stdout", Terminal())


@pytest.mark.parametrize(
    ("typed", "answer"), [("\n", True), ("y\n", True), ("q\n", False), ("N\n", False), ("", False), ("eh\n \n", True)]
)
def test_an_answer_is_waited_for(typed: str, answer: bool, monkeypatch: pytest.MonkeyPatch):
    seat(monkeypatch, typed)
    assert confirmed("Close the cover.") is answer


def test_nothing_is_asked_without_a_terminal_or_with_no_confirm(monkeypatch: pytest.MonkeyPatch):
    wake = threading.Event()
    seat(monkeypatch, "\n")
    assert asker(no_confirm=True, wake=wake, quiet=nullcontext) is None
    assert asker(no_confirm=False, wake=wake, quiet=nullcontext) is not None
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert asker(no_confirm=False, wake=wake, quiet=nullcontext) is None
    monkeypatch.setattr(sys, "stdin", None)
    assert asker(no_confirm=False, wake=wake, quiet=nullcontext) is None


def test_ctrl_c_just_before_a_question_is_not_lost(monkeypatch: pytest.MonkeyPatch):
    seat(monkeypatch, "\n")
    wake = threading.Event()
    ask = asker(no_confirm=False, wake=wake, quiet=nullcontext)
    assert ask is not None
    wake.set()
    assert ask("Close the cover.") is False


def test_ctrl_c_ends_a_question_and_the_handler_comes_back(monkeypatch: pytest.MonkeyPatch):
    class Pressed(Terminal):
        def readline(self, size: int | None = -1, /) -> str:
            signal.raise_signal(signal.SIGINT)
            return "\n"

    seat(monkeypatch, "")
    monkeypatch.setattr(sys, "stdin", Pressed())
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        ask = asker(no_confirm=False, wake=threading.Event(), quiet=nullcontext)
        assert ask is not None
        assert ask("Close the cover.") is False
        assert heard == []
        signal.raise_signal(signal.SIGINT)
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("kind", [SafetyUnsafe, SafetyStale])
def test_what_the_safety_monitor_says_is_said_once(kind: type[SafetyUnsafe | SafetyStale]):
    assert sentence(kind(detail="the safety monitor says unsafe")) == "safety: the safety monitor says unsafe"
    assert (sentence(kind(detail="")) or "").startswith("safety: ")


@pytest.mark.parametrize(
    ("code", "rehearsed"), [("device_lost", True), ("access_denied", False), ("camera_busy", False)]
)
def test_a_rehearsal_is_offered_only_where_no_device_answers(code: str, rehearsed: bool):
    assert concerns_camera(code) is rehearsed
