"""What daemon and worker say to each other arrives as it was said; what is no message is known as none."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.daemon.messages import (
    EndWord,
    Heard,
    OrderAnswer,
    OrderOnMasters,
    Said,
    Served,
    WorkKind,
    WorkRequest,
    heard_line,
    heard_of,
    said_line,
    said_of,
)
from services.daemon.orders import Order, OrderName
from services.events.records import Event, WarningRaised
from services.planning.request import DarkTimes, RunOptions, RunResult, Step

AT = datetime(2026, 3, 1, 20, 0, 0, 250_000, tzinfo=UTC)
OPTIONS = RunOptions(
    steps=(Step.DARKS, Step.MASTERS),
    fresh=True,
    until=AT.astimezone(timezone(timedelta(hours=5, minutes=45))),
    skip_warmup=True,
    dark_times=DarkTimes.BIAS,
)
SAID: tuple[Said, ...] = (
    *EndWord,
    WorkRequest(config_path=None, simulator=True),
    WorkRequest(
        kind=WorkKind.MASTERS,
        config_path=Path("/data/Kalibrierung 2026/größe.yaml"),
        config_text="site: {latitude: 1}\n# größe\n",
        served=Served(port=4711),
        options=OPTIONS,
        overrides={"dark_capture.num_darks": 20, "flat_capture.filters": ["L", "Hα"]},
    ),
    WorkRequest(config_path=Path("a.yaml"), options=RunOptions(until="sunrise")),
    OrderOnMasters(id=7, order=Order(order=OrderName.REJECT, names=("darks/x.fits",), reason="a car's light", by="me")),
    OrderOnMasters(id=8, order=Order(order=OrderName.INVALIDATE, kind="flats", since=AT)),
)
HEARD: tuple[Heard, ...] = (
    Event(run_id="r", seq=3, at=AT, what=WarningRaised(code="no_cover", detail="größe\nof two lines")),
    OrderAnswer(id=7, ok=False, code="unknown_master", detail="there is no master m"),
    RunResult(run_id="r", exit_code=0, code=None, detail="", report_html=Path("/data/r.html"), left=("lamp: on",)),
)


@pytest.mark.parametrize("message", SAID)
def test_what_the_daemon_says_arrives(message: Said) -> None:
    line = said_line(message)
    assert "\n" not in line
    assert said_of(line) == message


@pytest.mark.parametrize("message", HEARD)
def test_what_a_worker_says_arrives(message: Heard) -> None:
    line = heard_line(message)
    assert "\n" not in line
    assert heard_of(line) == message


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("", "Expecting value"),
        ("[1]", "not an object"),
        ('{"order": "resume"}', "neither"),
        ('{"order": "certify"}', "neither"),
        ('{"order": "certify", "id": 3, "names": 4}', "names"),
        ('{"request": {"config_path": "a", "kind": "dance"}}', "kind"),
        ('{"request": {"config_path": "a", "served": {"port": 0}}}', "port"),
        ('{"request": {}}', "config_path"),
    ],
)
def test_what_is_no_message_to_a_worker_is_refused_in_words(line: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        said_of(line)


PLAIN = st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(st.text(max_size=40) | PLAIN.map(json.dumps))
def test_whatever_a_library_prints_is_no_message(line: str) -> None:
    assert heard_of(line) is None


@pytest.mark.parametrize("name", ["result", "answer"])
def test_half_a_message_is_none(name: str) -> None:
    assert heard_of(json.dumps({name: {"exit_code": 0}})) is None
    assert heard_of("[" * 100_000) is None
