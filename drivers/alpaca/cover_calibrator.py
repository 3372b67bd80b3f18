"""An Alpaca cover calibrator (flat panel, dust cover, or both): a command is done when the device says so.

Version 2 has CalibratorChanging and CoverMoving; version 1 only states. Both are waited for where both exist: a device
that no longer changes may still be warming up, and lighting a flip-flat may move its cover.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from drivers.alpaca.device import AlpacaDevice
from drivers.alpaca.line import TimedOut
from drivers.alpaca.pacing import Pace
from drivers.alpaca.transport import PLATFORM_7, CoverCalibratorWire, Endpoint, Timeouts
from drivers.alpaca.values import flag, item, text, whole
from drivers.base import CalibratorStatus, CoverStatus, PanelInfo, PanelState
from drivers.clock import Clock, Deadline
from drivers.errors import Cancelled, PanelFailed, Refused

T = TypeVar("T")

_POLL_S = 0.25
_BRIGHTNESS_S = 3.0
_OFF_S = 6.0
"""A lamp that still reads Ready so long after it was switched off, and does not change, has not heard of it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    state: PanelState
    changing: bool


class AlpacaCoverCalibrator(AlpacaDevice[CoverCalibratorWire]):
    """A `drivers.base.CoverCalibrator` over Alpaca: ICoverCalibratorV1 and V2.

    Parameters
    ----------
    endpoint : Endpoint
    clock : Clock
    timeout_s : float
        Clock seconds for a movement or for warming up.
    timeouts : Timeouts, optional
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        *,
        timeout_s: float = 120.0,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        super().__init__(CoverCalibratorWire(endpoint, clock, timeouts=timeouts))
        self._pace = Pace(clock)
        self._info: PanelInfo | None = None

    @property
    def info(self) -> PanelInfo:
        """What it has; raises `Refused` before `connect`."""
        if self._info is None:
            raise Refused(device=self._wire.label, detail="it was not connected yet")
        return self._info

    def connect(self) -> None:
        """Connect and read `info`; raises `DeviceLost`, `DeviceMissing`, `WrongDevice`."""
        self._wire.open()
        state = self.state()
        has_calibrator = state.calibrator is not CalibratorStatus.NOT_PRESENT
        info = PanelInfo(
            name=self._wire.ask("Name", text),
            unique_id=self.read_unique_id(),
            has_cover=state.cover is not CoverStatus.NOT_PRESENT,
            has_calibrator=has_calibrator,
            max_brightness=self._wire.ask("MaxBrightness", whole) if has_calibrator else 0,
        )
        self.recognise(name=info.name, unique_id=info.unique_id)
        self._info = info

    def state(self) -> PanelState:
        """Read the state afresh."""
        return self._read().state

    def calibrator_on(self, brightness: int, wake: threading.Event | None = None) -> None:
        """Light it and wait until it is ready at that brightness and nothing moves.

        Raises
        ------
        PanelFailed
            It has no calibrator, refuses the brightness, fails, or is not ready in time.
        DeviceLost, Cancelled
        """
        if not self.info.has_calibrator:
            raise PanelFailed(device=self._wire.label, detail="it has no calibrator to light")
        if not 1 <= brightness <= self.info.max_brightness:
            detail = f"brightness {brightness} is not within 1 to {self.info.max_brightness}"
            raise PanelFailed(device=self._wire.label, detail=detail)
        self._command(lambda: self._wire.CalibratorOn(brightness))

        def lit(reading: _Reading) -> bool:
            return reading.state.calibrator is CalibratorStatus.READY

        self._wait(lit, _calibrator_failed, "ready", wake)
        self._see_brightness(brightness, wake)

    def calibrator_off(self, wake: threading.Event | None = None) -> None:
        """Switch it off and wait until it is not `lit`; without a calibrator there is nothing to do.

        Raises as `calibrator_on`.
        """
        if not self.info.has_calibrator:
            return
        self._command(self._wire.CalibratorOff)
        late = Deadline(self._clock, _OFF_S, real_s=self._wire.timeouts.real_s)

        def ignored(reading: _Reading) -> bool:
            """Whether it goes on shining: a lamp that is going off says that it changes."""
            shines = reading.state.calibrator is CalibratorStatus.READY and late.over
            return shines or _calibrator_failed(reading)

        self._wait(lambda reading: not reading.state.lit, ignored, "off", wake)

    def open_cover(self, wake: threading.Event | None = None) -> None:
        """Open and wait for Open; without a cover there is nothing to do. Raises `PanelFailed` and as above."""
        self._move_cover(self._wire.OpenCover, CoverStatus.OPEN, wake)

    def close_cover(self, wake: threading.Event | None = None) -> None:
        """Close and wait for Closed; without a cover there is nothing to do. Raises `PanelFailed` and as above."""
        self._move_cover(self._wire.CloseCover, CoverStatus.CLOSED, wake)

    def _move_cover(self, command: Callable[[], None], goal: CoverStatus, wake: threading.Event | None) -> None:
        if not self.info.has_cover:
            return
        self._command(command)
        self._wait(lambda reading: reading.state.cover is goal, _cover_failed, goal.name.lower(), wake)

    def _command(self, command: Callable[[], None]) -> None:
        """Send a command; one that is not answered in time may be answered when it is done: the state decides."""
        try:
            command()
        except TimedOut as error:
            log.warning("panel.command_unanswered", device=self._wire.label, detail=error.detail)
        except Refused as error:
            raise PanelFailed(device=self._wire.label, detail=error.detail, number=error.number) from error

    def _wait(
        self,
        reached: Callable[[_Reading], bool],
        failed: Callable[[_Reading], bool],
        goal: str,
        wake: threading.Event | None,
    ) -> None:
        deadline = Deadline(self._clock, self._timeout_s, real_s=self._wire.timeouts.real_s)
        failures = 0
        while True:
            reading = self._read()
            if reached(reading) and not reading.changing:
                return
            # Unknown is what many covers are before their first move: believed only when it stays
            failures = failures + 1 if failed(reading) and not reading.changing else 0
            if failures > 2 or deadline.over:
                shown = f"cover {reading.state.cover.name.lower()}, calibrator {reading.state.calibrator.name.lower()}"
                raise PanelFailed(device=self._wire.label, detail=f"it is still not {goal}: {shown}")
            self._rest(wake)

    def _see_brightness(self, wanted: int, wake: threading.Event | None) -> None:
        """Wait a little for the read-back to follow; a panel with coarser steps causes a warning, no failure."""
        deadline = Deadline(self._clock, _BRIGHTNESS_S)
        while (found := self.state().brightness) not in (None, wanted):
            if deadline.over:
                log.warning("panel.brightness_differs", device=self._wire.label, wanted=wanted, found=found)
                return
            self._rest(wake)

    def _rest(self, wake: threading.Event | None) -> None:
        if self._pace.rest(_POLL_S, wake):
            raise Cancelled(device=self._wire.label, detail="stopped while panel or cover change")

    def _read(self) -> _Reading:
        wire = self._wire
        items = wire.device_state()

        def offered(member: str, kind: Callable[[Any], T]) -> T | None:
            found = item(items, member, kind)
            return wire.offered(member, kind) if found is None else found

        def asked(member: str, kind: Callable[[Any], T]) -> T:
            found = item(items, member, kind)
            return wire.ask(member, kind) if found is None else found

        newer = wire.InterfaceVersion >= PLATFORM_7[wire.device_type]
        cover = asked("CoverState", CoverStatus)
        calibrator = asked("CalibratorState", CalibratorStatus)
        changing = cover is CoverStatus.MOVING or calibrator is CalibratorStatus.NOT_READY
        if newer:
            changing = changing or bool(offered("CoverMoving", flag)) or bool(offered("CalibratorChanging", flag))
        dimmable = calibrator is not CalibratorStatus.NOT_PRESENT
        brightness = offered("Brightness", whole) if dimmable else None
        state = PanelState(cover=cover, calibrator=calibrator, brightness=brightness)
        return _Reading(state=state, changing=changing)


def _calibrator_failed(reading: _Reading) -> bool:
    return reading.state.calibrator in (CalibratorStatus.UNKNOWN, CalibratorStatus.ERROR)


def _cover_failed(reading: _Reading) -> bool:
    return reading.state.cover in (CoverStatus.UNKNOWN, CoverStatus.ERROR)
