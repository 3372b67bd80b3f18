"""What to do when the camera fails: abort, reconnect with back-off, or give up.

Only the camera climbs this ladder; a wheel or panel that fails costs its group. The ladder never repeats an exposure by
itself: it brings the camera back, and the runner decides what is asked again.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import structlog

from calibration.errors import FrameCode
from calibration.frames import FrameResult
from drivers.base import Camera
from drivers.clock import Clock, Deadline
from drivers.errors import AccessDenied, CameraBusy, Cancelled, DeviceLost, DriverError, WrongDevice
from services.events.bus import Events
from services.events.devices import DeviceGone, DeviceRestored
from services.observatory import Interlock

log = structlog.get_logger(__name__)

T = TypeVar("T")

GIVE_UP_S = 900.0
STOPPED_S = 15.0
"""How long the end of a run that was stopped waits for a camera: a server that died meanwhile does not come back."""
FAILED_EXPOSURES = 2
"""A frame is tried again this often."""

RESTORES = 3
"""A call that fails again after so many restorations is not asked any more."""

STALE_IN_A_ROW = 2
DAMAGED_IN_A_ROW = 3
_LATELY = 16
"""Exposures of ours that a driver may still report: the one before, while some are under way or not judged yet."""
_JITTER_US = 100_000
"""Times that differ by less may be one: shutters and drivers' clocks affect what is reported."""
_STALE = frozenset({FrameCode.TOO_FAST, FrameCode.DUPLICATE_FRAME})
_DAMAGED = frozenset({FrameCode.CONSTANT, FrameCode.PARTIAL})


class GivenUp(DeviceLost):
    """The camera did not come back: the run ends."""


def back_off_s(first_s: float = 1.0, longest_s: float = 60.0) -> Iterator[float]:
    """Yield 1, 2, 4 … 60, 60 … seconds."""
    delay_s = first_s
    while True:
        yield delay_s
        delay_s = min(2 * delay_s, longest_s)


class Recovery:
    """Brings one camera back.

    Parameters
    ----------
    camera : Camera
    clock : Clock
    events : Events
        Hears one `device.lost` and one `device.restored` per loss.
    interlock : Interlock
        A stop ends the waiting, one at a frame's edge too, for no frame is taken while the camera is away. The safety
        thread closes the camera's sockets, so the loss it causes is no failure.
    """

    def __init__(self, *, camera: Camera, clock: Clock, events: Events, interlock: Interlock) -> None:
        self._camera = camera
        self._clock = clock
        self._events = events
        self._interlock = interlock
        self._listeners: list[Callable[[], None]] = []
        self._gone = False
        self._ending = False
        self._hurry: threading.Event | None = None

    def on_restored(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the camera is back: it may have forgotten its settings."""
        self._listeners.append(listener)

    def end(self, hurry: threading.Event | None) -> None:
        """Wait from now on whatever stopped the run, but for `hurry`: a cooler may be on.

        A run that came to its end waits as long as ever, one that was stopped for a moment.
        """
        self._ending, self._hurry = True, hurry

    def call(self, ask: Callable[[], T]) -> T:
        """Call something that may be repeated without harm; on a loss restore the camera and call again.

        A camera that was given up is not waited for once more: what ends a run asks it, but does not hold on to it.
        """
        for _ in range(0 if self._gone else RESTORES):
            try:
                return ask()
            except GivenUp:
                raise
            except DeviceLost as error:
                self.restore(error)
        return ask()

    def restore(self, error: DriverError) -> None:
        """Abort, disconnect, and connect again with back-off for up to fifteen minutes.

        Raises
        ------
        RunStopped
            When the run is to stop anyway.
        GivenUp
            When the camera did not come back.
        WrongDevice, CameraBusy, AccessDenied
            When another one did, another program has it, or its server wants a password now.
        """
        self._check()
        until = self._clock.now() + timedelta(seconds=self._patience_s)
        self._events.emit(
            DeviceGone(
                device="camera",
                code=error.code.value,
                detail=str(error),
                waiting_until=until.replace(microsecond=0),
            )
        )
        log.warning("device.lost", device="camera", code=error.code.value, detail=str(error))
        quietly("abort", self._camera.abort)
        quietly("disconnect", self._camera.disconnect)
        self._connect(error)
        for listener in self._listeners:
            listener()
        self._events.emit(DeviceRestored(device="camera"))
        log.info("device.restored", device="camera")

    def _connect(self, error: DriverError) -> None:
        patience_s = self._patience_s
        deadline = Deadline(self._clock, patience_s, real_s=Deadline.LEAST_REAL_S)
        wake = self._hurry if self._ending else self._interlock.edge
        last: DriverError = error
        for delay_s in back_off_s():
            try:
                self._camera.connect()
            except (WrongDevice, CameraBusy, AccessDenied, Cancelled):
                raise
            except DriverError as failure:
                last = failure
            else:
                return
            if deadline.over or self._interlock.allowance.used_up:
                break
            if self._clock.sleep(delay_s, wake):
                self._check()
                break
        self._gone = True
        detail = f"did not come back within {patience_s / 60:.0f} min: {last.detail}"
        raise GivenUp(device=last.device, detail=detail, number=last.number) from last

    @property
    def _patience_s(self) -> float:
        return STOPPED_S if self._ending and self._interlock.code is not None else GIVE_UP_S

    def _check(self) -> None:
        if not self._ending:
            self._interlock.check_edge()


class BadFrames:
    """Counts frames in a row that say the camera's link is ill: old buffers (2), damaged frames (3).

    An image of another exposure than asked for may be another program's, whose exposure slipped in before ours was
    fetched. A driver that reports wrong exposures is no other program: it reports the one before, or only long ones
    correctly. A camera of which no image has had noise yet has no ill link: it is a simulator without noise.
    """

    def __init__(self) -> None:
        self._stale = 0
        self._damaged = 0
        self._even = 0
        self._even_adu = 0.0
        self._has_noise = self._connected_anew = False
        self._begun_us: deque[int] = deque(maxlen=_LATELY)
        self._reported_well: set[int] = set()
        self._foreign: list[str] = []

    def begin(self, exposure_us: int) -> None:
        """Take in that we expose so long, also for a frame that is thrown away."""
        self._begun_us.append(exposure_us)

    def see(self, result: FrameResult) -> None:
        """Take one result in."""
        codes = {v.code for v in result.verdicts if v.refuses}
        self._stale = self._stale + 1 if codes & _STALE else 0
        damaged = bool(codes & _DAMAGED) and FrameCode.LIGHT_LEAK not in codes  # flooded with light is no damage
        self._damaged = self._damaged + 1 if damaged else 0
        self._has_noise = self._has_noise or result.stats.max_adu > result.stats.min_adu
        if codes == {FrameCode.CONSTANT}:
            self._even, self._even_adu = self._even + 1, result.stats.level_adu
        if FrameCode.EXPOSURE_MISMATCH in codes:
            self._note_foreign(result)
        elif result.header.reported_exposure_us is not None:
            self._reported_well.add(result.request.exposure_us)

    def take_foreign(self) -> tuple[str, ...]:
        """Return, in words, the images of other exposures since the last call."""
        found, self._foreign = tuple(self._foreign), []
        return found

    def _note_foreign(self, result: FrameResult) -> None:
        theirs, ours = result.header.reported_exposure_us or 0, result.request.exposure_us
        known_us = (0, ours, *self._begun_us)  # drivers that do not know the duration report 0
        explained = any(abs(theirs - us) <= max(_JITTER_US, 0.02 * us) for us in known_us)
        if ours in self._reported_well and not explained:
            self._foreign.append(f"an image of {theirs / 1e6:g} s came for our exposure of {ours / 1e6:g} s")

    @property
    def complaint(self) -> str | None:
        """Why the camera should be reconnected before the next exposure, None when it need not be."""
        if self._stale >= STALE_IN_A_ROW:
            return f"{self._stale} old frames in a row"
        if self._damaged >= DAMAGED_IN_A_ROW and self.noiseless is None:
            return f"{self._damaged} damaged frames in a row; if it goes on, switch the camera off and on"
        return None

    @property
    def noiseless(self) -> str | None:
        """Why frames are not worth taking: none has had noise yet, and connecting anew does not help; else None.

        A sensor that is not read out gives zeros: then connecting anew is tried first.
        """
        helpless = self._even_adu > 0 or self._connected_anew
        if self._has_noise or self._even < DAMAGED_IN_A_ROW or not helpless:
            return None
        return f"in every image so far all pixels have one value, {self._even_adu:g} ADU in the last"

    def forget(self) -> None:
        """Start anew, after a reconnection."""
        self._stale = self._damaged = 0
        self._connected_anew = True


def quietly(what: str, act: Callable[[], object]) -> bool:
    """Do a step of tidying up; a failure is logged and never hides what came before. Return whether it succeeded."""
    try:
        act()
    except Exception:
        log.exception("ending.step_failed", step=what)
        return False
    return True
