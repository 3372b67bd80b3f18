"""An order is what its words say; anything else is refused with the word that is wrong."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.daemon.orders import OF_MASTERS, Order, OrderName, Refused, order_of
from services.library.orders import MasterWord


def test_an_order_is_read_with_all_it_says() -> None:
    said = {"order": "invalidate", "kind": "flats", "since": "2026-03-01T12:00:00Z", "reason": "filters cleaned"}
    order = order_of(said)
    assert order == Order(
        order=OrderName.INVALIDATE,
        kind="flats",
        since=datetime(2026, 3, 1, 12, tzinfo=UTC),
        reason="filters cleaned",
    )


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({}, "order"),
        ({"order": "explode"}, "order"),
        ({"order": "run", "item": ["x"]}, "item"),
        ({"order": "yield", "for_s": -1}, "for_s"),
        ({"order": "yield", "for_s": float("nan")}, "for_s"),
        ({"order": "yield", "for_s": "for ever"}, "for_s"),
        ({"order": "run", "items": "dark"}, "items"),
        ({"order": "run", "items": [""]}, "items"),
        ({"order": "run", "items": ["x"] * 1001}, "items"),
        ({"order": "reject", "reason": "x" * 1001}, "reason"),
        ({"order": "invalidate", "since": "yesterday"}, "since"),
        ({"order": ["run"]}, "order"),
    ],
)
def test_what_is_no_order_is_refused_by_the_word_that_is_wrong(said: dict[str, Any], named: str) -> None:
    with pytest.raises(Refused, match=named) as refused:
        order_of(said)
    assert refused.value.status == 422
    assert refused.value.advice


def test_every_order_that_the_library_carries_out_can_be_given_to_the_daemon() -> None:
    assert {str(name) for name in OF_MASTERS} == {str(word) for word in MasterWord}
