"""Answers that come later: one that another answer stands in for, and one that is a refusal."""

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TypeVar

from services.daemon.orders import RefusalCode, Refused

R = TypeVar("R")


def or_else(
    first: "Future[R]", may_mend: Callable[[BaseException], bool], second: Callable[[], "Future[R]"]
) -> "Future[R]":
    """Return a future that ends as `first` does, or as `second()` where `may_mend` says so of what `first` raises."""
    answer: Future[R] = Future()

    def heard(done: "Future[R]") -> None:
        error = done.exception()
        if error is not None and may_mend(error):
            second().add_done_callback(lambda other: _pass_on(other, answer))
        else:
            _pass_on(done, answer)

    first.add_done_callback(heard)
    return answer


def _pass_on(done: "Future[R]", answer: "Future[R]") -> None:
    error = done.exception()
    with suppress(InvalidStateError):
        if error is None:
            answer.set_result(done.result())
        else:
            answer.set_exception(error)


def refused(answer: "Future[R]", code: RefusalCode, detail: str) -> "Future[R]":
    """Let a future end with a refusal; return it."""
    with suppress(InvalidStateError):
        answer.set_exception(Refused(code, detail))
    return answer
