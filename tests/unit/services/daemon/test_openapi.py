"""Whatever the OpenAPI document allows or forbids is answered as it says: schemathesis looks for exceptions."""

import logging
from collections.abc import Iterator
from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.config import SchemathesisConfig

from tests.support.served_api import Served, serve

_EXAMPLES = 5
_LONG = 300


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("openapi"), plan={"masters": []}) as found:
        yield found


def _try_all(served: Served, examples: int) -> int:
    """Let schemathesis try every operation that has an end; return how many there were."""
    logging.getLogger("schemathesis").setLevel(logging.ERROR)
    document = served.ask("GET", "/openapi.json")[1]
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig())
    schema.config.update(base_url=served.url)
    count = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path == "/api/events":  # whoever tried it would wait for ever: test_streams.py tries it
            continue
        count += 1
        for mode in schemathesis.GenerationMode:
            _try(operation, mode, examples)
    return count


def _try(operation: object, mode: object, examples: int) -> None:
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))  # type: ignore[attr-defined]
    def tried(case: schemathesis.Case) -> None:
        case.call_and_validate(timeout=20)

    with suppress(Unsatisfiable):  # where nothing is asked for, nothing can be asked wrongly
        tried()


def test_a_few_tries_of_every_operation_find_nothing(served: Served) -> None:
    assert _try_all(served, _EXAMPLES) >= 18


@pytest.mark.long
@pytest.mark.timeout(1800)  # two minutes on a machine that does nothing else
def test_many_tries_of_every_operation_find_nothing(served: Served) -> None:
    assert _try_all(served, _LONG) >= 18


def test_the_document_names_every_path_and_refers_to_nothing_outside(served: Served) -> None:
    document = served.ask("GET", "/openapi.json")[1]
    assert {"/api/state", "/api/orders", "/api/runs/{run_id}/events"} <= document["paths"].keys()
    assert document["servers"] == [{"url": "/"}]
    events = document["paths"]["/api/events"]["get"]
    assert list(events["responses"]["200"]["content"]) == ["text/event-stream"]
    assert [each["name"] for each in events["parameters"]] == ["last-event-id"]


def test_the_document_names_every_member_of_the_state(served: Served) -> None:
    named = served.ask("GET", "/openapi.json")[1]["components"]["schemas"]
    state = served.ask("GET", "/api/state")[1]
    assert state.keys() == named["Seen"]["properties"].keys()
    assert {"value", "at", "problem", "age_s"} == named["Reading"]["properties"].keys()
