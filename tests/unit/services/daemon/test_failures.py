"""The ladder of what failed: a quarter of an hour, an hour, then once a window; it outlives the daemon."""

import json
from datetime import UTC, datetime, timedelta

from services.daemon.failures import failed, failures_as_json, failures_from, recovered, tried_again
from services.planning.wanted_master import Failure

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_it_is_tried_after_a_quarter_of_an_hour_then_an_hour_then_in_the_next_window() -> None:
    waits = []
    failures: dict[str, Failure] = {}
    for _ in range(4):
        failures = failed(failures, "dark", NOW, code="not_dark")
        again_at = failures["dark"].again_at
        waits.append(None if again_at is None else again_at - NOW)
    assert waits == [timedelta(minutes=15), timedelta(hours=1), None, None]
    assert failures["dark"].tries == 4


def test_each_item_has_its_own_ladder_and_recovery_forgets_it() -> None:
    failures = failed(failed({}, "dark", NOW, code="not_dark"), "flat", NOW, code="too_bright", detail="10 of 10")
    assert recovered(failures, ["dark", "never failed"]) == {"flat": failures["flat"]}
    assert failures["flat"].detail == "10 of 10"


def test_retry_clears_the_wait_and_begins_the_ladder_again_without_forgetting_that_it_fails() -> None:
    failures = failed(failed({}, "dark", NOW, code="not_dark"), "flat", NOW, code="too_bright")
    one = tried_again(failures, ["dark"], NOW)
    assert one["dark"].is_over(NOW)
    assert not one["flat"].is_over(NOW)
    assert all(each.is_over(NOW) for each in tried_again(failures, [], NOW).values())
    assert failed(one, "dark", NOW, code="not_dark")["dark"].again_at == NOW + timedelta(minutes=15)


def test_a_failure_that_a_wrong_clock_recorded_in_the_future_keeps_nothing_back() -> None:
    (failure,) = failed({}, "dark", NOW + timedelta(days=900), code="not_dark").values()
    assert failure.is_over(NOW)


def test_failures_outlive_the_daemon_as_plain_json() -> None:
    failures = failed({}, "flat_Hα", NOW, code="too_dim", detail='the "lamp"')
    for _ in range(3):
        failures = failed(failures, "dark", NOW, code="not_dark")
    assert failures_from(json.loads(json.dumps(failures_as_json(failures)))) == failures


def test_what_is_not_understood_is_tried_again() -> None:
    good = failures_as_json(failed({}, "a", NOW, code="not_dark"))
    odd = {"b": 1, "c": {}, "d": {"code": "x", "again_at": "soon"}, "e": {"code": "x", "at": "2026-03-01T12:00:00"}}
    assert failures_from({**good, **odd}).keys() == {"a"}
