"""Orders to the daemon: what may be asked of it, how it answers, and why it refuses.

What an order does is decided by `services.daemon.machine` from the state that the daemon is in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from services.words import some


class OrderName(StrEnum):
    """What may be asked of the daemon."""

    RUN = "run"
    PAUSE = "pause"
    RESUME = "resume"
    YIELD = "yield"
    CANCEL = "cancel"
    ABORT = "abort"
    RETRY = "retry"
    CERTIFY = "certify"
    UNCERTIFY = "uncertify"
    REJECT = "reject"
    UNREJECT = "unreject"
    INVALIDATE = "invalidate"
    REVALIDATE = "revalidate"
    RELOAD = "reload"


OF_MASTERS = (
    OrderName.CERTIFY, OrderName.UNCERTIFY, OrderName.REJECT, OrderName.UNREJECT, OrderName.INVALIDATE,
    OrderName.REVALIDATE,
)  # fmt: skip
"""Orders that the writer of the catalogue carries out: a run that holds the root's lock, else a child of its own."""


class RefusalCode(StrEnum):
    """Why an order is refused."""

    BUSY = "busy"
    NOT_HELD = "not_held"
    NOTHING_RUNS = "nothing_runs"
    OTHER_RUN = "other_run"
    PLAN_CHANGED = "plan_changed"
    NOTHING_DUE = "nothing_due"
    UNSAFE = "unsafe"
    CAMERA_IN_USE = "camera_in_use"
    ROOT_IN_USE = "root_in_use"
    ENDING = "ending"
    UNKNOWN_ITEM = "unknown_item"
    UNKNOWN_MASTER = "unknown_master"
    CONFIG_INVALID = "config_invalid"
    ORDER_INVALID = "order_invalid"
    NOT_POSSIBLE = "not_possible"
    ORDER_FAILED = "order_failed"
    NOT_ANSWERED = "not_answered"


@dataclass(frozen=True, slots=True)
class _Refusal:
    """How a refusal is answered over HTTP, and what one can do about it."""

    status: int
    advice: str


_REFUSALS = {
    RefusalCode.BUSY: _Refusal(409, "wait for the run to end, or cancel it"),
    RefusalCode.NOT_HELD: _Refusal(409, "there is nothing to resume: the daemon works by its schedule"),
    RefusalCode.NOTHING_RUNS: _Refusal(409, "there is no run to end"),
    RefusalCode.OTHER_RUN: _Refusal(409, "look at the state again and name the run that it shows"),
    RefusalCode.PLAN_CHANGED: _Refusal(409, "look at the plan again and order the new one"),
    RefusalCode.NOTHING_DUE: _Refusal(409, "name items to take them although they are not due"),
    RefusalCode.UNSAFE: _Refusal(409, "wait until it is safe: no order overrules safety"),
    RefusalCode.CAMERA_IN_USE: _Refusal(409, "end the other program's work with the camera first"),
    RefusalCode.ROOT_IN_USE: _Refusal(409, "wait until the other program has ended"),
    RefusalCode.ENDING: _Refusal(503, "start the daemon again"),
    RefusalCode.UNKNOWN_ITEM: _Refusal(404, "name items as `nightcal plan` does, or by their `key` in GET /api/plan"),
    RefusalCode.UNKNOWN_MASTER: _Refusal(404, "name masters and frames as the library does"),
    RefusalCode.CONFIG_INVALID: _Refusal(422, "correct what is named; the configuration before it stays in force"),
    RefusalCode.ORDER_INVALID: _Refusal(422, "correct what is named"),
    RefusalCode.NOT_POSSIBLE: _Refusal(409, "name what it is about, as the library does, and what it needs"),
    RefusalCode.ORDER_FAILED: _Refusal(500, "see the log of the daemon"),
    RefusalCode.NOT_ANSWERED: _Refusal(
        504, "look at state and library: the order may have been carried out all the same"
    ),
}


class Refused(Exception):
    """An order is refused: the code, a sentence that names what is in its way, and when that ends where it is known."""

    def __init__(self, code: RefusalCode, detail: str, *, until: datetime | None = None) -> None:
        self.code = code
        self.detail = detail
        self.until = until
        super().__init__(detail)

    @property
    def status(self) -> int:
        """The status of the answer over HTTP."""
        return _REFUSALS[self.code].status

    @property
    def advice(self) -> str:
        """What one can do about it."""
        return _REFUSALS[self.code].advice


_Name = Annotated[str, Field(min_length=1, max_length=300)]
_Names = Annotated[tuple[_Name, ...], Field(max_length=200)]


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Order:
    """One order.

    Attributes
    ----------
    order : OrderName
    run_id : str, optional
        The run that it means; refused when another one is at work. None means whatever runs.
    by : str
        Who gives it, as pages and journals show it.
    for_s : float, optional
        `yield`: seconds for which the camera is left alone.
    items : tuple of str
        `run`: what to take, due or not (none: what is due). `retry`: what to try again (none: all).
    plan : str, optional
        `run`: the fingerprint of the plan that was looked at.
    names : tuple of str
        Masters or frames that the order is about.
    kind : str, optional
        `invalidate`, `revalidate`: flats, darks or biases.
    since : datetime, optional
        `invalidate`: from when on older masters no longer serve; with its zone. `revalidate`: which one is taken back.
    reason : str
        Why, in words; kept with what is rejected or invalidated.
    """

    order: OrderName
    run_id: Annotated[str, Field(max_length=100)] | None = None
    by: Annotated[str, Field(max_length=100)] = ""
    for_s: Annotated[float, Field(gt=0, le=30 * 86_400, allow_inf_nan=False)] | None = None
    items: _Names = ()
    plan: Annotated[str, Field(max_length=100)] | None = None
    names: _Names = ()
    kind: Literal["biases", "darks", "flats"] | None = None
    since: AwareDatetime | None = None
    reason: Annotated[str, Field(max_length=1000)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of an order: a sentence, the run that it started or ends, and whether it is done or still under way.

    `order` is its name.
    """

    order: str
    detail: str
    run_id: str | None = None
    is_done: bool = True


_ADAPTER: TypeAdapter[Order] = TypeAdapter(Order)


def order_of(said: Mapping[str, Any]) -> Order:
    """Return the order of plain JSON values.

    Raises
    ------
    Refused
        They are none; the detail names what is wrong.
    """
    try:
        return _ADAPTER.validate_python(dict(said), strict=False)
    except ValidationError as error:
        raise _invalid(error) from None


def order_of_json(body: bytes) -> Order:
    """Return the order of a JSON text, whose members must have exactly the types that the schema names.

    Raises
    ------
    Refused
        It is none; the detail names what is wrong.
    """
    try:
        return _ADAPTER.validate_json(body, strict=True)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> Refused:
    wrong = (f"{'.'.join(map(str, each['loc'])) or 'order'}: {each['msg']}" for each in error.errors())
    return Refused(RefusalCode.ORDER_INVALID, some(wrong))
