"""What daemon and worker say to each other: lines of JSON, one message each, and frozen records on both sides.

To the worker: a request, then orders, until the end of input. From it: events as journals have them, answers to orders
on masters, signs of life, and as the last line how the run ended. This is the one codec of all of them but the events.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from services.daemon.orders import OF_MASTERS, Order, OrderName, Refused, order_of
from services.events.decoder import decode
from services.events.records import Event
from services.observatory.in_use import LeftBehind
from services.planning.request import RunOptions, RunResult


class WorkKind(StrEnum):
    """What a worker is for."""

    RUN = "run"
    """The steps that the options name."""
    MASTERS = "masters"
    """Masters of frames that are there, at low priority."""
    ORDERS = "orders"
    """Orders on masters while no run holds the root's lock."""


class EndWord(StrEnum):
    """How a run is ended by order; a second `abort` hurries, too."""

    CANCEL = "cancel"
    PAUSE = "pause"
    YIELD = "yield"
    ABORT = "abort"
    HURRY = "hurry"


_STRICT = ConfigDict(extra="forbid")


@validated(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Served:
    """Where a simulated observatory listens that outlives the run."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)]


@validated(frozen=True, slots=True, kw_only=True, config=_STRICT)
class WorkRequest:
    """What one worker is to do.

    Attributes
    ----------
    kind : WorkKind
    config_path : Path or None
        The YAML file; None for the program's own, which `simulator` rehearses in the folder of the process.
    config_text : str, optional
        What was in the file when it was last found valid. None: it is read now.
    simulator : bool
        Rehearse it on the simulated observatory.
    served : Served, optional
        The simulated observatory to connect to; None: a simulated run has its own.
    options : RunOptions
    overrides : mapping
        Dotted key of the configuration and value, laid over the file.
    left : LeftBehind, optional
        The run that died with an earlier daemon, for a secure process: what is not that run's is not touched.
    """

    kind: WorkKind = WorkKind.RUN
    config_path: Path | None
    config_text: str | None = None
    simulator: bool = False
    served: Served | None = None
    options: RunOptions = field(default_factory=RunOptions)
    overrides: dict[str, Any] = field(default_factory=dict)
    left: LeftBehind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderOnMasters:
    """An order that the writer of the catalogue carries out; `id` names it in its answer."""

    id: int
    order: Order


@validated(frozen=True, slots=True, kw_only=True)
class OrderAnswer:
    """What came of an order on masters: `code` and `detail` say why it was refused."""

    id: int
    ok: bool
    code: str = ""
    detail: str = ""


@validated(frozen=True, slots=True, kw_only=True)
class Alive:
    """A sign of life of a worker: `moved` is a number that changes while its work moves."""

    moved: int


Said = WorkRequest | EndWord | OrderOnMasters
"""What a worker hears."""
Heard = Event | OrderAnswer | RunResult | Alive
"""What a worker says."""

_REQUEST, _ANSWER, _RESULT = TypeAdapter(WorkRequest), TypeAdapter(OrderAnswer), TypeAdapter(RunResult)
_ALIVE = TypeAdapter(Alive)
_ORDER = TypeAdapter(Order)


def said_line(message: Said) -> str:
    """Return a message to a worker as a line, without its end."""
    if isinstance(message, EndWord):
        return json.dumps({"order": message})
    if isinstance(message, OrderOnMasters):
        return json.dumps({**_ORDER.dump_python(message.order, mode="json"), "id": message.id})
    return json.dumps({"request": _REQUEST.dump_python(message, mode="json")})


def said_of(line: str) -> Said:
    """Return the message of a line that a worker reads.

    Raises
    ------
    ValueError
        It is none; in words.
    """
    found = _members(line)
    if "request" in found:
        try:
            return _REQUEST.validate_json(json.dumps(found["request"]))  # in JSON a text can be a moment
        except ValidationError as error:
            raise ValueError(f"not a request: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from None
    word = found.get("order")
    if word in set(EndWord):
        return EndWord(word)
    if word in set(OF_MASTERS) and isinstance(identity := found.pop("id", None), int):
        try:
            return OrderOnMasters(id=identity, order=order_of(found))
        except Refused as refused:
            raise ValueError(refused.detail) from None
    raise ValueError(f"neither a request nor an order that a worker knows: {line[:200]!r}")


def heard_line(message: Heard) -> str:
    """Return what a worker says as a line, without its end."""
    if isinstance(message, Event):
        return message.to_json()
    if isinstance(message, OrderAnswer):
        return json.dumps({"answer": asdict(message)})
    if isinstance(message, Alive):
        return json.dumps({"alive": asdict(message)})
    return json.dumps({"result": _RESULT.dump_python(message, mode="json")})


def heard_of(line: str) -> Heard | None:
    """Return what a worker has said; None for a line that is no message: a library may have written it."""
    try:
        found = _members(line)
        for name, adapter in _SAYS.items():
            if name in found:
                heard: Heard = adapter.validate_json(json.dumps(found[name]))
                return heard
    except (ValueError, RecursionError):
        return None
    return decode(line)


_SAYS: Mapping[str, TypeAdapter[Any]] = {"result": _RESULT, "answer": _ANSWER, "alive": _ALIVE}
END_WORDS: Mapping[OrderName, EndWord] = {OrderName(word): word for word in EndWord if word != EndWord.HURRY}
"""The orders to the daemon that a worker obeys by ending its run."""


def _members(line: str) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - of the text that was read
    return found
