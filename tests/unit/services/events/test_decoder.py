"""Lines of journals: what is written comes back, what is damaged costs as little as possible, the schema says so."""

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.frames import FrameKind
from services.events import devices, modelled, serving, standings
from services.events import records as of_runs
from services.events.decoder import KINDS, decode, plain, record_of, schema
from services.events.devices import DeviceGone
from services.events.findings import Finding
from services.events.journal import read_journal
from services.events.records import (
    Event,
    FrameRefused,
    FrameSet,
    FrameStored,
    MasterBuilt,
    Record,
    RunFinished,
    RunProgress,
    RunStarted,
    members,
)

OLD = Path(__file__).with_name("version_1.jsonl")
"""Lines of a night of version 0.1.0, one or a few of each kind that it wrote."""
AT = datetime(2026, 1, 1, 18, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
EACH_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    type(None): st.none(),
    bool: st.booleans(),
    str: TEXT,
    int: st.integers(1 - 2**53, 2**53 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    datetime: st.integers(0, 2**32).map(lambda second: datetime.fromtimestamp(second, UTC)),
    object: st.none() | TEXT | st.booleans(),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Return values of a type as the fields of records declare it."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        found = st.one_of(map(values, parts))
    elif origin is tuple:
        many = parts[1:] == (Ellipsis,)
        found = st.lists(values(parts[0]), max_size=3).map(tuple) if many else st.tuples(*map(values, parts))
    elif origin is not None and issubclass(origin, Mapping):
        found = st.dictionaries(TEXT, values(parts[1]), max_size=3)
    elif hint in PLAIN:
        found = PLAIN[hint]
    else:
        found = records(hint) if is_dataclass(hint) else st.sampled_from(hint)
    return found


def records(kind: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in fields(kind)})


def event_of(what: Record) -> Event:
    return Event(run_id="r", seq=3, at=AT, what=what)


def line(kind: type[Record], **told: object) -> str:
    return json.dumps({"name": kind.name, "run_id": "r", "seq": 3, "at": AT.isoformat(), **told})


# --- there and back -------------------------------------------------------------------------------------------------


@EACH_KIND
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_what_is_written_comes_back(kind: type[Record], data: st.DataObject) -> None:
    event = event_of(data.draw(records(kind)))
    assert decode(event.to_json()) == event


MODULES = (of_runs, devices, serving, standings, modelled)


def _is_kind(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, Record) and "name" in vars(each)


def test_every_kind_has_one_name() -> None:
    kinds = [each for module in MODULES for each in vars(module).values() if _is_kind(each)]
    assert len(KINDS) == len(set(kinds))
    assert all(name == kind.name for name, kind in KINDS.items())


@EACH_KIND
def test_a_field_without_a_default_admits_none(kind: type[Record]) -> None:
    blank = record_of(kind, {})
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    assert all(getattr(blank, name) is None for name in needed)


# --- damage ---------------------------------------------------------------------------------------------------------


def damaged(kind: type[Record]) -> st.SearchStrategy[dict[str, Any]]:
    honest = {"name": st.just(kind.name), "at": st.just(AT.isoformat())}
    return st.fixed_dictionaries(honest, optional={f.name: JSON for f in fields(kind)} | {"run_id": JSON, "seq": JSON})


@given(st.text() | JSON.map(json.dumps) | st.sampled_from(list(KINDS.values())).flatmap(damaged).map(json.dumps))
@settings(max_examples=150, deadline=None)
def test_no_line_raises_and_what_is_read_can_be_written(text: str) -> None:
    event = decode(text)
    assert event is None or decode(event.to_json()) == event


def test_damaged_lines_cost_themselves_only(tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    good = line(RunFinished, exit_code=3, detail="x", later=[1])
    journal.write_bytes(f'[1]\n{good}\n{{"name": 3}}\n\n{"[" * 100_000}\nnothing\n{good[:-9]}'.encode() + b"\xff\0\n")
    (event,) = read_journal(journal)
    assert event == event_of(RunFinished(exit_code=3, detail="x"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (line(RunFinished, exit_code=True, code=5, detail=None), RunFinished(exit_code=None)),
        (line(RunFinished, exit_code=float("nan")), RunFinished(exit_code=None)),
        (line(RunFinished, exit_code=2**53), RunFinished(exit_code=None)),
        (line(RunFinished, exit_code=2**53 - 1), RunFinished(exit_code=2**53 - 1)),
        (line(RunStarted, steps=["a", 1, None, "b", 2], simulated="yes", settings=[]), RunStarted(steps=("a", "b"))),
        (line(DeviceGone, device="camera", code="x", waiting_until="soon"), DeviceGone(device="camera", code="x")),
        (
            line(RunProgress, sets=[{"kind": "FLAT", "filter": 3, "why": ["x", 1]}, 5]),
            RunProgress(sets=(FrameSet(kind=FrameKind.FLAT, why=("x",)),)),
        ),
        (line(RunProgress, sets=3, done=4), RunProgress(done=4)),
    ],
)
def test_a_member_of_a_wrong_kind_costs_itself_only(text: str, found: Record) -> None:
    assert decode(text) == event_of(found)


def test_what_is_wrong_inside_a_member_costs_only_that() -> None:
    told = {"kind": "SPAM", "codes": [f"c{n}" if n % 2 else n for n in range(24)]}
    refused = record_of(FrameRefused, {**told, "verdicts": [{"code": "a", "limit": "x"}, {"limit": 1}, {"code": "b"}]})
    assert (refused.kind, refused.codes) == (None, tuple(f"c{n}" for n in range(1, 24, 2)))
    assert refused.verdicts == (Finding(code="a"), Finding(code="b"))
    statistics = {"n": 40, "level_adu": 5.5, "verdict": "ok", "own": True, "percentiles_adu": [1, "x"], "more": {}}
    built = record_of(MasterBuilt, {"statistics": statistics})
    assert built.statistics == {"n": 40, "level_adu": 5.5, "verdict": "ok", "own": True}


@pytest.mark.parametrize("at", ["yesterday", 5, None, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_line_without_a_time_is_no_event(at: object) -> None:
    assert decode(json.dumps({"name": "run.finished", "run_id": "r", "seq": 1, "at": at, "exit_code": 0})) is None


def test_a_time_without_a_zone_is_utc() -> None:
    event = decode(json.dumps({"name": "filter.changed", "at": "2026-01-01T18:00:00"}))
    assert event is not None
    assert (event.at, event.run_id, event.seq) == (AT, "", 0)


# --- older journals -------------------------------------------------------------------------------------------------


def is_within(old: object, new: object) -> bool:
    """Whether all that was said is said still; there may be more."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and is_within(value, new[name]) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(is_within, old, new))
    return old == new


def test_nothing_of_an_older_journal_is_lost() -> None:
    lines = OLD.read_text(encoding="utf-8").splitlines()
    assert len({json.loads(text)["name"] for text in lines}) == 22
    for text in lines:
        event = decode(text)
        assert event is not None
        assert is_within(json.loads(text), json.loads(event.to_json()))


# --- the schema -----------------------------------------------------------------------------------------------------

SCHEMA = schema()
TYPES = {
    "string": str, "integer": int, "number": int | float, "boolean": bool, "object": dict, "array": list,
    "null": type(None),
}  # fmt: skip


def fits(value: Any, node: dict[str, Any]) -> bool:
    """Whether a JSON value is as a schema says, of the few words that ours uses."""
    if "$ref" in node:
        return fits(value, SCHEMA["$defs"][node["$ref"].rpartition("/")[2]])
    if "anyOf" in node or "oneOf" in node:
        fitting = sum(fits(value, each) for each in node.get("anyOf") or node["oneOf"])
        return fitting == 1 or (fitting > 1 and "anyOf" in node)
    if "const" in node or "enum" in node:
        return value in node.get("enum", [node.get("const")])
    typed = "type" not in node or isinstance(value, TYPES[node["type"]])
    return typed and isinstance(value, bool) <= (node.get("type", "boolean") == "boolean") and _fits_inside(value, node)


def _fits_inside(value: Any, node: dict[str, Any]) -> bool:
    if isinstance(value, list):
        first, rest = node.get("prefixItems", []), node.get("items", {})
        nodes = [*first, *[rest] * (len(value) - len(first))]
        return len(value) >= node.get("minItems", 0) and all(map(fits, value, nodes))
    if isinstance(value, dict):
        known, rest = node.get("properties", {}), node.get("additionalProperties", {})
        nodes = [known.get(name, {} if isinstance(rest, bool) else rest) for name in value]
        return set(node.get("required", ())) <= set(value) and all(map(fits, value.values(), nodes))
    return True


@EACH_KIND
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_every_event_is_as_the_schema_says(kind: type[Record], data: st.DataObject) -> None:
    written = json.loads(event_of(data.draw(records(kind))).to_json())
    assert fits(written, SCHEMA)
    for name in written:
        assert not fits({other: each for other, each in written.items() if other != name}, SCHEMA), name


def test_the_schema_refuses_what_is_of_another_kind() -> None:
    stored = json.loads(event_of(record_of(FrameStored, {})).to_json())
    assert fits(stored, SCHEMA)
    for name, wrong in {"seq": "1", "kind": "SPAM", "level_adu": "5", "doubts": [{}], "name": "frame.lost"}.items():
        assert not fits({**stored, name: wrong}, SCHEMA), name
    assert len(SCHEMA["oneOf"]) == len(KINDS)


def test_numbers_that_are_none_are_none() -> None:
    assert plain({"a": [float("nan"), float("inf"), 2**53, 1.5], "b": "\ud800"}) == {
        "a": [None, None, None, 1.5],
        "b": "?",
    }
    assert members(FrameSet(why=("x",)))["why"] == ["x"]
