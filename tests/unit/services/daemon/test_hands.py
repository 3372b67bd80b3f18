"""What the loop orders becomes the request of a child."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from services.daemon.hands import request_for
from services.daemon.messages import WorkKind, WorkRequest, said_line, said_of
from services.daemon.parts import Begin
from services.planning.request import RunOptions, Step

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BASE = WorkRequest(config_path=Path("c.yaml"), options=RunOptions(cooler_held_at=NOW))


def test_a_run_takes_its_items_and_knows_since_when_its_cooler_is_held() -> None:
    request = request_for(Begin(items=("dark_60s",), until=NOW, resume_within_h=3.0), BASE)
    assert (request.kind, request.options.only) == (WorkKind.RUN, {"dark_60s"})
    assert request.options.cooler_held_at == NOW
    assert request.options.only_if_free
    assert request.overrides == {"reuse.resume_within_hours": 3.0}
    assert said_of(said_line(request)) == request


def test_masters_are_built_by_a_child_that_takes_no_frames() -> None:
    request = request_for(Begin(), BASE)
    assert request == replace(BASE, kind=WorkKind.MASTERS, options=RunOptions(steps=(Step.MASTERS,)))
