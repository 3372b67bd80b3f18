"""Selects filters: a wheel that ends beside its goal is sent once more, one that is lost is waited for."""

import structlog

from calibration.errors import GroupCode
from drivers.base import Camera, FilterWheel
from drivers.clock import Clock
from drivers.errors import Cancelled, DeviceLost, DriverError, FilterFailed
from services.capture.failures import GroupFailed
from services.capture.panel import RECONNECTS_S
from services.capture.recovery import Recovery
from services.errors import RunCode
from services.events.bus import Events
from services.events.devices import DeviceGone, DeviceRestored, FilterChanged
from services.events.records import WarningRaised
from services.observatory import Interlock

log = structlog.get_logger(__name__)


class Filters:
    """The filter wheel of one observatory, or none.

    Parameters
    ----------
    wheel : FilterWheel or None
    camera : Camera
        Asked when the wheel is lost: the whole server may be gone.
    clock, events, interlock, recovery
    """

    def __init__(
        self,
        wheel: FilterWheel | None,
        *,
        camera: Camera,
        clock: Clock,
        events: Events,
        interlock: Interlock,
        recovery: Recovery,
    ) -> None:
        self._wheel = wheel
        self._camera = camera
        self._clock = clock
        self._events = events
        self._interlock = interlock
        self._recovery = recovery
        self._filter: str | None = None
        self._left: str | None = None
        """Where the wheel was left standing; None while nobody can be blamed for where it stands."""

    def reach(self, wanted: str | None) -> str | None:
        """Select a filter, None for any; return the name read back, None without a wheel.

        Raises
        ------
        GroupFailed
            filter_failed: there is no wheel, it does not get there, or it does not come back.
        RunStopped
        """
        if self._wheel is None:
            if wanted is not None:
                raise GroupFailed(GroupCode.FILTER_FAILED, f"there is no filter wheel to select {wanted}")
            return None
        name = self._select(self._wheel, wanted)
        if name != self._filter:
            self._filter = name
            self._events.emit(FilterChanged(filter=name))
        self._left = name
        return name

    def stays_at(self, name: str | None) -> bool:
        """Whether the wheel, if there is one, is where it was read last; False when it cannot be read."""
        try:
            return self._wheel is None or self._wheel.current() == name
        except DriverError as error:  # `reach` deals with it
            log.warning("filter.not_read", detail=str(error))
            return False

    def _select(self, wheel: FilterWheel, wanted: str | None) -> str | None:
        """Select a filter; a wheel that ended beside it is sent once more."""
        try:
            return self._turn(wheel, wanted)
        except FilterFailed as error:
            detail = f"{error}; it is sent once more"
            self._events.emit(WarningRaised(code=GroupCode.FILTER_FAILED.value, detail=detail))
        try:
            return self._turn(wheel, wanted)
        except FilterFailed as error:
            raise GroupFailed(GroupCode.FILTER_FAILED, str(error)) from error

    def _turn(self, wheel: FilterWheel, wanted: str | None) -> str | None:
        lost = False
        for delay_s in (*RECONNECTS_S, None):
            try:
                now = wheel.current()
                self._notice_slip(now)
                name = now if wanted in {None, now} else wheel.select(wanted or "", self._interlock.edge)
            except Cancelled:
                self._interlock.check_edge()
                raise
            except DeviceLost as error:
                self._interlock.check_edge()
                self._left = None  # it may come back as it pleases
                if not lost:
                    lost = True
                    self._events.emit(DeviceGone(device="filter wheel", code=error.code.value, detail=str(error)))
                    # the whole server may be gone: then all wait as long as the camera is worth
                    self._recovery.call(self._camera.state)
                self._reconnect_wheel(wheel, error, delay_s)
            except FilterFailed:
                raise
            except DriverError as error:
                raise GroupFailed(GroupCode.FILTER_FAILED, str(error)) from error
            else:
                if lost:
                    self._events.emit(DeviceRestored(device="filter wheel"))
                return name
        raise AssertionError("the last attempt raises")  # pragma: no cover

    def _notice_slip(self, now: str | None) -> None:
        """Warn of a wheel that is not where it was left; what an order of ours that failed did is none."""
        left, self._left = self._left, None
        if left is None or now == left:
            return
        self._filter = now
        detail = f"the filter wheel was left at {left} and stands at {now or 'no filter'}: it slipped, or was turned"
        self._events.emit(WarningRaised(code=RunCode.FOREIGN_CLIENT.value, detail=detail))

    def _reconnect_wheel(self, wheel: FilterWheel, error: DeviceLost, delay_s: float | None) -> None:
        if delay_s is None:
            raise GroupFailed(GroupCode.FILTER_FAILED, str(error)) from error
        if self._clock.sleep(delay_s, self._interlock.edge):
            self._interlock.check_edge()
        try:
            wheel.connect()
        except DriverError as failure:
            log.debug("device.still_lost", device="filter wheel", detail=str(failure))
