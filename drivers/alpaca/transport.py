"""alpyca's device classes on our own line: errors translated, time-outs per class of call, reads retried, PUTs never.

`Wire` stands before alpyca's class in the bases and overrides the three members through which alpyca reaches HTTP:
`_get`, `_put` and `InterfaceVersion`. alpyca's time-outs, its emulation of Connect, its `ImageArray` and its
`management` are not used. A test fails when a member we use leaves `_get` and `_put`.
"""

import itertools
import logging
import random
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import alpaca.camera
import alpaca.covercalibrator
import alpaca.dome
import alpaca.filterwheel
import alpaca.safetymonitor
import alpaca.telescope
import structlog

from drivers.alpaca.line import Endpoint, Line, Reply, Timeouts
from drivers.alpaca.replies import as_object, raise_for_number, raise_for_status
from drivers.alpaca.values import UNUSABLE, whole
from drivers.clock import Clock, Deadline, retry
from drivers.errors import DeviceLost, DeviceMissing, DriverError, NotOffered, Refused

__all__ = [
    "CameraWire",
    "CoverCalibratorWire",
    "DomeWire",
    "Endpoint",
    "FilterWheelWire",
    "SafetyMonitorWire",
    "TelescopeWire",
    "Timeouts",
]

T = TypeVar("T")

NOT_IMPLEMENTED = 0x400
RETRY_DELAYS_S = (0.5, 2.0)
PLATFORM_7 = {"camera": 4, "covercalibrator": 2, "dome": 3, "filterwheel": 3, "safetymonitor": 3, "telescope": 4}
"""InterfaceVersion from which a device has Connect, Connecting, Disconnect and DeviceState."""

_POLLED = frozenset({"camerastate", "imageready", "devicestate", "connecting", "issafe", "position"})
_MOVES = frozenset({"position", "calibratoron", "calibratoroff", "opencover", "closecover"})

log = structlog.get_logger(__name__)
wire_log = logging.getLogger("nightcal.wire")  # the standard library's: one line per call, silent unless asked for


class Wire:
    """The mixin. Only for classes that have an alpyca device class behind it in their bases.

    Parameters
    ----------
    endpoint : Endpoint
    clock : Clock
        For the waiting between retries and while a device connects.
    timeouts : Timeouts
    client_id : int, optional
        ClientID of every call; a random one when None.
    retries : bool
        Whether reads are asked again when no answer came. Off where an answer that comes late is of no use.
    """

    device_type: str

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        *,
        timeouts: Timeouts | None = None,
        client_id: int | None = None,
        retries: bool = True,
    ) -> None:
        super().__init__(endpoint.address, endpoint.device_number, endpoint.scheme)  # type: ignore[call-arg]
        self.timeouts = timeouts or Timeouts()
        self.clock = clock
        self.endpoint = endpoint
        self.label = f"{self.device_type} {endpoint.device_number} at {endpoint.address}"
        self.line = Line(endpoint, device=self.label, clock=clock, open_s=self.timeouts.open_s)
        self.path = f"/api/v1/{self.device_type}/{endpoint.device_number}"
        self._client = random.randint(1, 65535) if client_id is None else client_id
        self._first_transaction = random.randint(1, 1 << 30)
        self._transactions = itertools.count(self._first_transaction)
        self._delays_s = RETRY_DELAYS_S if retries else ()
        self._interface_version: int | None = None
        self._has_device_state = True

    # --- what alpyca calls ------------------------------------------------------------------------------------------

    def _get(self, attribute: str, tmo: float | None = None, **data: Any) -> Any:
        """Read one member; raises `NotOffered` (200, but an error number), `DeviceLost`, `Refused`, `DeviceMissing`."""
        total_s = tmo or (self.timeouts.poll_s if attribute in _POLLED else self.timeouts.read_s)

        def once() -> dict[str, Any]:
            query = self.identification() | data
            return self._understood(attribute, self.line.get(f"{self.path}/{attribute}", query, total_s=total_s), query)

        answer = self._persist(once)
        raise_for_number(self.label, attribute, answer, NotOffered)
        if "Value" not in answer:
            raise DeviceLost(device=self.label, detail=f"the answer to {attribute} holds no value")
        return answer["Value"]

    def _put(self, attribute: str, tmo: float | None = None, **data: Any) -> Any:
        """Change one member, once; raises `DeviceLost` (it may have been carried out), `Refused`, `DeviceMissing`."""
        total_s = tmo or (self.timeouts.move_s if attribute in _MOVES else self.timeouts.put_s)
        form = {name: _wire_text(value) for name, value in data.items()} | self.identification()
        reply = self.line.put(f"{self.path}/{attribute}", form, total_s=total_s, moves=attribute in _MOVES)
        answer = self._understood(attribute, reply, form)
        raise_for_number(self.label, attribute, answer, Refused)
        return answer

    @property
    def InterfaceVersion(self) -> int:  # noqa: N802 - ASCOM's name
        """Read once per connection; 1 only where the device itself says that it has no such member."""
        if self._interface_version is None:
            try:
                self._interface_version = whole(self._get("interfaceversion"))
            except NotOffered:
                return 1
            except UNUSABLE as error:
                raise DeviceLost(device=self.label, detail="InterfaceVersion is no number") from error
        return self._interface_version

    # --- reading members --------------------------------------------------------------------------------------------

    def ask(self, member: str, kind: Callable[[Any], T]) -> T:
        """Read a member of alpyca's class that the device must have, as `kind`."""
        try:
            return kind(getattr(self, member))
        except UNUSABLE as error:
            raise DeviceLost(device=self.label, detail=f"{member} is unreadable: {error}") from error
        except NotOffered as error:
            raise Refused(device=self.label, detail=error.detail, number=error.number) from error

    def offered(self, member: str, kind: Callable[[Any], T]) -> T | None:
        """Read an optional member; None when the device answers with an error number, or with what cannot be used."""
        try:
            return kind(getattr(self, member))
        except NotOffered:
            return None
        except UNUSABLE as error:
            log.warning("member.unreadable", device=self.label, member=member, detail=str(error))
            return None

    def device_state(self) -> dict[str, Any]:
        """Return DeviceState by lower-case name, in one call; empty where the device has none."""
        if not self._has_device_state or self.InterfaceVersion < PLATFORM_7[self.device_type]:
            return {}
        try:
            items = self._get("devicestate")
        except NotOffered:
            self._has_device_state = False
            return {}
        if not isinstance(items, list):
            return {}
        pairs = [item for item in items if isinstance(item, dict) and isinstance(item.get("Name"), str)]
        return {item["Name"].lower(): item.get("Value") for item in pairs}

    def action(self, name: str, parameters: str = "") -> str:
        """Call an ASCOM Action and return its answer; raises `Refused`."""
        return str(self._put("action", Action=name, Parameters=parameters).get("Value", ""))

    def manage(self, member: str) -> Reply:
        """Read a member of the server's management API; raises `DeviceLost`."""

        def once() -> Reply:
            return self.line.get(f"/management/v1/{member}", self.identification(), total_s=self.timeouts.read_s)

        return self._persist(once)

    def _persist(self, once: Callable[[], T]) -> T:
        pressed, closed = self.line.allowance.is_pressed, self.line.closed
        return retry(self.clock, once, delays_s=self._delays_s, on=DeviceLost, wake=closed, unless=pressed)

    # --- connecting -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect the device and wait until it is.

        Raises
        ------
        DeviceLost
            No answer, or the device cannot connect (its detail says why).
        DeviceMissing
            The server has no such device.
        """
        self.line.reopen()
        self._interface_version = None
        self._has_device_state = True
        try:
            self._open()
        except (Refused, NotOffered) as error:
            if error.number in (HTTPStatus.BAD_REQUEST, NOT_IMPLEMENTED):  # every device there is has Connected
                raise DeviceMissing(device=self.label, detail=error.detail, number=error.number) from error
            detail = f"cannot connect: {error.detail}"
            raise DeviceLost(device=self.label, detail=detail, number=error.number) from error
        self._interface_version = None  # drivers may know it only now

    def leave(self) -> None:
        """Disconnect the device and close the line; a device that is gone is no error."""
        try:
            if self.InterfaceVersion >= PLATFORM_7[self.device_type]:
                self._put("disconnect")
            else:
                self._put("connected", Connected=False)
        except DriverError as error:
            wire_log.debug("not disconnected: %s", error)
        finally:
            self.line.close()

    def _open(self) -> None:
        if self.InterfaceVersion >= PLATFORM_7[self.device_type]:
            try:
                self._put("connect")
            except Refused as error:
                if error.number != NOT_IMPLEMENTED:
                    raise
            else:
                self._wait_until_connected()
                return
        self._put("connected", tmo=self.timeouts.connect_s, Connected=True)

    def _wait_until_connected(self) -> None:
        deadline = Deadline(self.clock, self.timeouts.connect_s, real_s=self.timeouts.real_s)
        while self._get("connecting") is True:
            if deadline.over:
                raise DeviceLost(device=self.label, detail=f"still connecting after {self.timeouts.connect_s:g} s")
            self.clock.sleep(0.1, self.line.closed)
        if self._get("connected") is not True:
            raise DeviceLost(device=self.label, detail="does not connect and does not say why")

    # --- replies ----------------------------------------------------------------------------------------------------

    def identification(self) -> dict[str, Any]:
        """Return ClientID and a ClientTransactionID never used before by this object."""
        return {"ClientID": self._client, "ClientTransactionID": next(self._transactions)}

    def _understood(self, attribute: str, reply: Reply, sent: Mapping[str, Any]) -> dict[str, Any]:
        wire_log.debug("%s: %s: HTTP %d, %d bytes", self.label, attribute, reply.status, len(reply.body))
        raise_for_status(self.label, attribute, reply)
        answer = as_object(self.label, attribute, reply.body)
        echoed = answer.get("ClientTransactionID")
        if isinstance(echoed, int) and self._first_transaction <= echoed < sent["ClientTransactionID"]:
            # Servers that echo nothing, or anything, are let be; one of *our* older numbers is an old answer
            raise DeviceLost(device=self.label, detail=f"an old answer to {attribute} came again")
        return answer


class CameraWire(Wire, alpaca.camera.Camera):
    """alpyca's Camera on our line."""

    device_type = "camera"

    def _put(self, attribute: str, tmo: float | None = None, **data: Any) -> Any:
        """As for all devices; drivers of old answer StartExposure only when the exposure is over."""
        if tmo is None and attribute == "startexposure":
            tmo = self.timeouts.put_s + float(data["Duration"])
        return super()._put(attribute, tmo, **data)


class FilterWheelWire(Wire, alpaca.filterwheel.FilterWheel):
    """alpyca's FilterWheel on our line."""

    device_type = "filterwheel"


class CoverCalibratorWire(Wire, alpaca.covercalibrator.CoverCalibrator):
    """alpyca's CoverCalibrator on our line."""

    device_type = "covercalibrator"


class DomeWire(Wire, alpaca.dome.Dome):
    """alpyca's Dome on our line."""

    device_type = "dome"


class TelescopeWire(Wire, alpaca.telescope.Telescope):
    """alpyca's Telescope on our line."""

    device_type = "telescope"


class SafetyMonitorWire(Wire, alpaca.safetymonitor.SafetyMonitor):
    """alpyca's SafetyMonitor on our line."""

    device_type = "safetymonitor"


def _wire_text(value: Any) -> str:
    """Return a form value: no exponents (some drivers read none), no trailing zeros."""
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".") or "0"
    return str(value)
