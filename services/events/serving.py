"""Events of the daemon itself, in its own journal (`serve.jsonl`, run_id `serve`); those of runs are in `records`."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from services.events.records import Record

SERVE = "serve"
"""What the daemon's own events have in place of a run's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeStarted(Record):
    """The daemon begins: which one, for which folder, and where its API listens (None: nowhere).

    `everywhere`: it listens at all addresses of the computer, and `url` is how that computer itself calls it.
    """

    name: ClassVar[str] = "serve.started"
    software: str | None = None
    config: str | None = None
    root: str | None = None
    url: str | None = None
    everywhere: bool = False
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeEnded(Record):
    """The daemon ends, and why: "" for an ordered end."""

    name: ClassVar[str] = "serve.ended"
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged(Record):
    """What is begun by the schedule: `automatic`, or nothing while it is `held`, by whom, why and until when."""

    name: ClassVar[str] = "mode.changed"
    mode: str | None
    why: str = ""
    by: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityChanged(Record):
    """What the daemon does now; while it is idle, the reason, in words and as a code."""

    name: ClassVar[str] = "activity.changed"
    activity: str | None
    reason: str = ""
    detail: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTaken(Record):
    """An order was given; `code` is why it was refused, None for one that was carried out."""

    name: ClassVar[str] = "order.taken"
    order: str | None
    by: str = ""
    code: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfItems(Record):
    """What is said of one wanted master, and of `others` for the same cause."""

    item: str | None
    others: tuple[str, ...] = ()

    @property
    def items(self) -> tuple[str, ...]:
        """All of them."""
        return self.item or "", *self.others


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFailed(_OfItems):
    """A wanted master could not be had, for the first time since it could: why, and when it is tried again."""

    name: ClassVar[str] = "item.failed"
    code: str | None
    detail: str = ""
    again_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRecovered(_OfItems):
    """A wanted master that could not be had can be had again."""

    name: ClassVar[str] = "item.recovered"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemStale(_OfItems):
    """The master that serves has become older than its programme allows, and nothing younger could be had."""

    name: ClassVar[str] = "item.stale"
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDied(Record):
    """The process of a run is gone without having ended it; the devices are made safe now."""

    name: ClassVar[str] = "worker.died"
    run: str | None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesSecured(Record):
    """What was made safe after a run that died, and what could not be."""

    name: ClassVar[str] = "devices.secured"
    run: str | None = None
    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReloaded(Record):
    """The configuration was read again: it is in force from the next run on, or the one before it stays."""

    name: ClassVar[str] = "config.reloaded"
    valid: bool = False
    detail: str = ""
