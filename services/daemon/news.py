"""What the daemon says of its own accord, each thing once: what cannot be had, what is too old, and that it is unsafe.

What has one cause is one event, however many items it concerns: nobody is called ten times for one full disk.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from services.daemon.orders import RefusalCode, Refused
from services.daemon.parts import Nothing, Outlook
from services.errors import RunCode
from services.events.devices import SafetySafe, SafetyUnsafe
from services.events.records import Record
from services.events.serving import ItemFailed, ItemRecovered, ItemStale
from services.words import moment


def of_failures(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Record]:
    """Yield which items cannot be had since the failures before, by their cause, and which can be had again."""

    def cause(key: str) -> tuple[str, str, str]:
        failure = after[key]
        return failure.get("code") or "", failure.get("detail") or "", failure.get("again_at") or ""

    for (code, detail, again_at), found in groupby(sorted(after.keys() - before.keys(), key=cause), cause):
        item, *others = sorted(found)
        yield ItemFailed(
            item=item, others=tuple(others), code=code or None, detail=detail, again_at=moment(again_at or None)
        )
    if recovered := sorted(before.keys() - after.keys()):
        yield ItemRecovered(item=recovered[0], others=tuple(recovered[1:]))


def of_ages(before: frozenset[str], stale: Mapping[str, str]) -> Iterator[Record]:
    """Yield which items have become too old, those that are equally old together."""
    for detail, found in groupby(sorted(stale.keys() - before, key=stale.__getitem__), stale.__getitem__):
        item, *others = sorted(found)
        yield ItemStale(item=item, others=tuple(others), detail=detail)


class Weather:
    """Says that it is unsafe when something waits for it, and that it is safe when that is over."""

    def __init__(self) -> None:
        self._is_unsafe = False

    def after_run(self, code: str | None) -> None:
        """Note how a run has ended, which has said by itself that it was unsafe."""
        self._is_unsafe = self._is_unsafe or code in {RunCode.UNSAFE, RunCode.SAFETY_STALE}

    def seen(self, outlook: Outlook) -> Iterator[Record]:
        """Yield what is new while no run asks. A time that is waited out after it was unsafe is not unsafe anew."""
        unsafe = next((each for each in outlook.obstacles if each.code is RefusalCode.UNSAFE), None)
        if unsafe is None and self._is_unsafe:
            self._is_unsafe = False
            yield SafetySafe()
        elif unsafe is not None and not self._is_unsafe and _waits(outlook, unsafe):
            self._is_unsafe = True
            yield SafetyUnsafe(detail=unsafe.detail)


def _waits(outlook: Outlook, unsafe: Refused) -> bool:
    """Whether something that is due waits for it to be safe."""
    choice = outlook.choice
    return isinstance(choice, Nothing) and choice.reason == RefusalCode.UNSAFE and unsafe.until is None
