"""What all simulated devices share: their place in one world of time, and ASCOM's common members as a table.

A device is a table of readers and one of writers, keyed by the lower-case member names of an Alpaca address. All of
them are called under the world's lock; none waits.
"""

import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from drivers.clock import Clock
from drivers.simulator.cooler import Cooler
from drivers.simulator.errors import AscomError, BadRequest, ErrorNumber, invalid_value, not_implemented
from drivers.simulator.faults import DeviceKind, FaultKind, Faults
from drivers.simulator.params import ObservatoryParameters
from drivers.simulator.scene import Scene

CLOCK_ACTION = "nightcal:clock"

Reader = Callable[[], Any]
_COMMON = {"connected", "connecting", "description", "driverinfo", "driverversion", "interfaceversion", "name"}
_UNCONNECTED = _COMMON | {"supportedactions", "connect", "disconnect", "action"}


class World:
    """Time, light, temperature and faults of one observatory; `lock` guards them all.

    Parameters
    ----------
    params : ObservatoryParameters
    clock : Clock
        Drives everything.
    place : str
        Where this observatory stands, in a word: it is part of the UniqueIDs of its devices, so that two observatories
        of one seed have different ones.
    """

    def __init__(self, params: ObservatoryParameters, clock: Clock, place: str = "") -> None:
        self.params = params
        self.place = place
        self.clock = clock
        self.lock = threading.RLock()
        self.started_at = clock.now()
        self._origin_s = clock.monotonic()
        self.faults = Faults(params.faults)
        self.scene = Scene(params, self.started_at, self.faults)
        self.cooler = Cooler(params.camera.cooler)

    def t_s(self) -> float:
        """Return the clock's seconds since the observatory's start."""
        return self.clock.monotonic() - self._origin_s

    def utc(self, t_s: float) -> datetime:
        """Return the UTC of a moment."""
        return self.started_at + timedelta(seconds=t_s)


@dataclass(frozen=True, slots=True)
class PutMember:
    """A member that is PUT: the exact names of its form's fields with what reads their text, and what it does."""

    fields: tuple[tuple[str, Callable[[str], Any]], ...]
    call: Callable[..., Any]


def whole(text: str) -> int:
    """Read a whole number of 32 bits."""
    value = int(_plain(text))
    if not -(2**31) <= value < 2**31:
        raise ValueError(text)
    return value


def number(text: str) -> float:
    """Read a finite number, with a point."""
    value = float(_plain(text))
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _plain(text: str) -> str:
    """Return a number's text without what Python reads besides ASCOM: other alphabets' digits, underscores."""
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return text.strip()


def truth(text: str) -> bool:
    """Read true or false, in any case."""
    word = text.strip().lower()
    if word not in {"true", "false"}:
        raise ValueError(text)
    return word == "true"


class Device:
    """Base of the simulated devices: ASCOM's common members.

    Parameters
    ----------
    world : World
    kind : DeviceKind
    name, description : str
    interface_version : int
    modern : bool
        Whether that version has Connect, Connecting, Disconnect and DeviceState (Platform 7).
    connect_s : float
        How long Connect takes until the device can be used.
    """

    def __init__(
        self,
        world: World,
        kind: DeviceKind,
        *,
        name: str,
        description: str,
        interface_version: int,
        modern: bool,
        connect_s: float = 0.5,
    ) -> None:
        self.world = world
        self.kind = kind
        self.name = name
        self.unique_id = str(uuid5(NAMESPACE_URL, f"nightcal:simulator:{world.params.seed}:{kind}{world.place}"))
        self._connect_s = connect_s
        self._connected = False
        self._connecting_until_s: float | None = None
        self.readers: dict[str, Reader] = {
            "connected": lambda: self._connected,
            "description": lambda: description,
            "driverinfo": lambda: "nightcal simulated observatory",
            "driverversion": lambda: "1.0",
            "interfaceversion": lambda: interface_version,
            "name": lambda: name,
            "supportedactions": lambda: list(self.actions()),
        }
        self.writers: dict[str, PutMember] = {
            "connected": PutMember((("Connected", truth),), self._set_connected),
            "action": PutMember((("Action", str), ("Parameters", str)), self._action),
        }
        for command in ("commandblind", "commandbool", "commandstring"):
            self.writers[command] = PutMember((("Command", str), ("Raw", truth)), self._refused(command))
        if modern:
            self._add_modern()

    def read(self, member: str) -> Any:
        """Return a member's value.

        Raises
        ------
        AscomError
            What the device answers instead.
        BadRequest
            There is no such member to read.
        """
        if member not in self.readers:
            raise BadRequest(f"{self.kind} has no property {member!r} to read")
        with self.world.lock:
            self._require(member)
            return self.readers[member]()

    def write(self, member: str, form: dict[str, str]) -> Any:
        """Set a member or call a method with the fields of a form; raises like `read`."""
        if member not in self.writers:
            raise BadRequest(f"{self.kind} has no member {member!r} to put")
        writer = self.writers[member]
        values = [_field(form, name, parse) for name, parse in writer.fields]
        with self.world.lock:
            self._require(member)
            ignored = self.world.faults.strikes(
                FaultKind.PUT_IGNORED, self.world.t_s(), device=self.kind, member=member
            )
            return None if ignored is not None else writer.call(*values)

    def actions(self) -> dict[str, Callable[[str], str]]:
        """Return the actions beyond ASCOM by name: the observatory's clock."""
        return {CLOCK_ACTION: lambda _: json.dumps(self.clock())}

    def clock(self) -> dict[str, Any]:
        """Return the observatory's time and how many of its seconds pass in a real one."""
        return {"utc": self.world.clock.now().isoformat(), "rate": float(getattr(self.world.clock, "rate", 1.0))}

    def settle(self) -> None:
        """Let what is due by now have happened."""
        due = self._connecting_until_s
        if due is not None and self.world.t_s() >= due:
            self._connecting_until_s = None
            self._connect_now(waited_s=self._connect_s)

    def on_connect(self, waited_s: float) -> None:
        """Come to the state of a device just connected, `waited_s` after the command (0: it did not wait)."""

    def state_members(self) -> tuple[tuple[str, str], ...]:
        """Return names of DeviceState's items, with the member behind each."""
        return ()

    def _add_modern(self) -> None:
        self.readers["connecting"] = lambda: self._connecting_until_s is not None
        self.readers["devicestate"] = self._device_state
        self.writers["connect"] = PutMember((), self._begin_connect)
        self.writers["disconnect"] = PutMember((), lambda: self._set_connected(connected=False))

    def on_disconnect(self) -> None:
        """Let go of what was under way."""

    def _require(self, member: str) -> None:
        self.settle()
        if self._connected and self.world.faults.strikes(
            FaultKind.DISCONNECTED, self.world.t_s(), device=self.kind, member=member
        ):
            self._set_connected(connected=False)
        if not self._connected and member not in _UNCONNECTED:
            raise AscomError(ErrorNumber.NOT_CONNECTED, f"{self.name} is not connected.")

    def _set_connected(self, connected: bool) -> None:  # noqa: FBT001 - the ASCOM property is a boolean
        self._connecting_until_s = None
        if connected:
            self._connect_now(waited_s=0.0)
        elif self._connected:
            self._connected = False
            self.on_disconnect()

    def _connect_now(self, *, waited_s: float) -> None:
        if not self._connected:
            self._connected = True
            self.on_connect(waited_s)

    def _begin_connect(self) -> None:
        if not self._connected and self._connecting_until_s is None:
            self._connecting_until_s = self.world.t_s() + self._connect_s

    def _device_state(self) -> list[dict[str, Any]]:
        items = []
        for name, member in self.state_members():
            try:
                items.append({"Name": name, "Value": self.readers[member]()})
            except AscomError:  # what a device does not offer is absent
                continue
        items.append({"Name": "TimeStamp", "Value": iso(self.world.utc(self.world.t_s())) + "Z"})
        return items

    def _action(self, name: str, parameters: str) -> str:
        action = {own.lower(): call for own, call in self.actions().items()}.get(name.lower())
        if action is None:
            raise AscomError(ErrorNumber.ACTION_NOT_IMPLEMENTED, f"Action {name!r} is not implemented.")
        return action(parameters)

    def _refused(self, what: str) -> Callable[..., Any]:
        def call(*_: object) -> None:
            raise not_implemented(what)

        return call

    def refuse(self, *members: str) -> None:
        """Make members answer "not implemented" when read."""
        for member in members:
            self.readers[member] = self._refused(member)

    def refuse_put(self, member: str, *fields: tuple[str, Callable[[str], Any]]) -> None:
        """Make a member answer "not implemented" when put."""
        self.writers[member] = PutMember(fields, self._refused(member))


def _field(form: dict[str, str], name: str, parse: Callable[[str], Any]) -> Any:
    if name not in form:
        raise BadRequest(f"parameter {name} is missing (names are case-sensitive)")
    try:
        return parse(form[name])
    except ValueError:
        raise BadRequest(f"parameter {name}: {form[name][:80]!r} cannot be read") from None


def iso(at: datetime) -> str:
    """Return a UTC time as ASCOM and FITS write it."""
    return at.replace(tzinfo=None).isoformat(timespec="microseconds")


def in_range(what: str, value: float, low: float, high: float) -> None:
    """Raise InvalidValue unless low <= value <= high."""
    if not low <= value <= high:
        raise invalid_value(what, value, f"it must be from {low} to {high}")
