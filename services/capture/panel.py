"""Moves the flat panel and the cover to where a request wants them, and proves it by reading back.

A cover is never opened and a lamp never lit while the interlock says unsafe, which is asked before and after; nor is a
cover opened by day unless the configuration allows it. Before darks the lamp must read Off (or brightness 0) and the
cover Closed.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

import structlog

from calibration.errors import GroupCode
from calibration.frames import Cover
from drivers.base import CalibratorStatus, CoverCalibrator, CoverStatus, PanelState
from drivers.clock import Clock
from drivers.errors import Cancelled, DeviceLost, DriverError, PanelFailed
from services.capture.failures import GroupFailed
from services.errors import RunCode
from services.events.bus import Events
from services.events.devices import CoverChanged, DeviceGone, DeviceRestored, PanelChanged
from services.events.records import WarningRaised
from services.observatory import Interlock

log = structlog.get_logger(__name__)

MOMENT_S = 5.0
"""How long a lamp that did not go off in its time before is waited for from then on: no group waits it out again."""

RECONNECTS_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""How long a lost panel is waited for: a minute; then its group fails and the next one asks again."""


_AT_ONCE = threading.Event()
"""Given as what ends a wait: the command is sent, and not waited for."""
_AT_ONCE.set()


class Light:
    """The panel and the cover of one observatory.

    Parameters
    ----------
    panel : CoverCalibrator
    clock, events, interlock
    is_day : callable
        Whether the sun is up; False where nobody knows.
    open_by_day : bool
    on_lost : callable
        Called when the panel is lost, before it is waited for: the whole server may be gone.
    """

    def __init__(
        self,
        *,
        panel: CoverCalibrator,
        clock: Clock,
        events: Events,
        interlock: Interlock,
        is_day: Callable[[], bool],
        open_by_day: bool,
        on_lost: Callable[[], object] = lambda: None,
    ) -> None:
        self._panel = panel
        self._clock = clock
        self._events = events
        self._interlock = interlock
        self._is_day = is_day
        self._open_by_day = open_by_day
        self._on_lost = on_lost
        self._announced: PanelState | None = None
        self._left: PanelState | None = None
        self._stays_lit = False
        self._said_never_off = False

    def reach(self, *, brightness: int | None, cover: Cover) -> PanelState:
        """Bring lamp and cover to a state: off before a cover moves, on only when it stands still.

        Parameters
        ----------
        brightness : int or None
            None is off.
        cover : Cover

        Raises
        ------
        GroupFailed
            panel_not_ready, after one more attempt.
        RunStopped
        """
        try:
            return self._reach(brightness, cover)
        except (Cancelled, GroupFailed):
            self._interlock.check_edge()
            raise
        except DriverError as first:
            self._interlock.check_edge()
            self._warn(GroupCode.PANEL_NOT_READY.value, f"{first}; the order is given once more")
            return self._again(first, brightness, cover)

    def _again(self, first: DriverError, brightness: int | None, cover: Cover) -> PanelState:
        lost = first if isinstance(first, DeviceLost) else None
        if lost is not None:
            self._left = None  # it may come back as it pleases
            self._events.emit(DeviceGone(device="flat panel", code=lost.code.value, detail=str(lost)))
            self._on_lost()
        try:
            if lost is not None:
                self._reconnect(lost)
            return self._reach(brightness, cover)
        except DriverError as error:
            self._interlock.check_edge()
            raise GroupFailed(GroupCode.PANEL_NOT_READY, str(error)) from error

    def _reach(self, brightness: int | None, cover: Cover) -> PanelState:
        before = self._panel.state()
        self._notice_foreigners(before)
        if brightness is None and (before.lit or (before.never_off and not self._said_never_off)):
            self._switch_off()
        self._move_cover(before, cover)
        shines = before.calibrator is CalibratorStatus.READY and before.brightness == brightness
        if brightness is not None and not shines:
            self._guarded(lambda: self._panel.calibrator_on(brightness, self._interlock.edge), self._off)
        after = self._panel.state()
        self._verify(after, brightness, cover)
        self._note_never_off(after)
        self._stays_lit = self._stays_lit and brightness is not None
        self._announce(after)
        self._left = after
        return after

    def _notice_foreigners(self, found: PanelState) -> None:
        """Warn of a lamp or cover that is not as we left it: somebody else, a hand, or their power."""
        left, self._left = self._left, None  # what we begin and do not end well is not laid to anybody
        if left is None:
            return
        parts = []
        if shown_brightness(left) != shown_brightness(found):
            parts.append(f"the lamp is {_brightness(found)}, we left it {_brightness(left)}")
        if left.cover is not found.cover:
            parts.append(f"the cover is {found.cover.name.lower()}, we left it {left.cover.name.lower()}")
        if parts:
            self._warn(RunCode.FOREIGN_CLIENT.value, ", ".join(parts))

    def _warn(self, code: str, detail: str) -> None:
        self._events.emit(WarningRaised(code=code, detail=detail))

    def _note_never_off(self, state: PanelState) -> None:
        """Say once that this panel has no Off: whether it is dark is seen by the first dark frame of each exposure."""
        if state.never_off and not self._said_never_off:
            self._said_never_off = True
            detail = (
                f"{self._panel.info.name} reads Ready at brightness 0 after it was switched off, and never Off: that "
                "is taken for off, and the first dark frame of each exposure shows whether it is"
            )
            self._warn(RunCode.DEVICE_LIMITED.value, detail)

    def _switch_off(self) -> None:
        try:
            if self._stays_lit:
                with suppress(Cancelled):
                    self._panel.calibrator_off(_AT_ONCE)
                self._clock.sleep(MOMENT_S, self._interlock.edge)
            else:
                self._panel.calibrator_off(self._interlock.edge)
        except PanelFailed:
            self._stays_lit = True
            raise

    def _move_cover(self, now: PanelState, cover: Cover) -> None:
        if not self._panel.info.has_cover:
            return
        if cover is Cover.CLOSED and now.cover is not CoverStatus.CLOSED:
            self._panel.close_cover(self._interlock.edge)
        elif cover is Cover.OPEN and now.cover is not CoverStatus.OPEN:
            if not self._open_by_day and self._is_day():
                detail = "the cover is not opened while the sun is up, or the clock is wrong (flat_panel.open_by_day)"
                raise GroupFailed(GroupCode.PANEL_NOT_READY, detail)
            self._guarded(lambda: self._panel.open_cover(self._interlock.edge), self._panel.close_cover)

    def _guarded(self, act: Callable[[], None], undo: Callable[[], None]) -> None:
        """Open or light something with the interlock asked before and after."""
        self._interlock.check_edge()
        act()
        if self._interlock.unsafe:
            undo()
        self._interlock.check_edge()

    def _off(self) -> None:
        self._panel.calibrator_off()

    def _verify(self, state: PanelState, brightness: int | None, cover: Cover) -> None:
        has_lamp, has_cover = self._panel.info.has_calibrator, self._panel.info.has_cover
        if brightness is None and has_lamp and state.lit:
            raise self._refusal(f"the lamp reads {state.calibrator.name.lower()} after it was switched off")
        if brightness is not None and state.calibrator is not CalibratorStatus.READY:
            raise self._refusal(f"the lamp reads {state.calibrator.name.lower()} after it was switched on")
        if brightness is not None and state.brightness not in {None, brightness}:
            raise self._refusal(f"the lamp reads brightness {state.brightness}, wanted {brightness}")
        wanted = {Cover.CLOSED: CoverStatus.CLOSED, Cover.OPEN: CoverStatus.OPEN}.get(cover)
        if has_cover and wanted is not None and state.cover is not wanted:
            raise self._refusal(f"the cover reads {state.cover.name.lower()}, wanted {wanted.name.lower()}")

    def _refusal(self, detail: str) -> DriverError:
        return DriverError(device=self._panel.info.name, detail=detail)

    def _reconnect(self, error: DeviceLost) -> None:
        for delay_s in RECONNECTS_S:
            if self._clock.sleep(delay_s, self._interlock.edge):
                self._interlock.check_edge()
            try:
                self._panel.connect()
            except DeviceLost as failure:
                error = failure
            else:
                self._events.emit(DeviceRestored(device="flat panel"))
                return
        raise error

    def _announce(self, state: PanelState) -> None:
        before = self._announced
        if before is None or (before.calibrator, before.brightness) != (state.calibrator, state.brightness):
            self._events.emit(PanelChanged(brightness=shown_brightness(state)))
        if self._panel.info.has_cover and (before is None or before.cover != state.cover):
            self._events.emit(CoverChanged(cover=state.cover.name.lower()))
        self._announced = state


def make_dark_at_once(panel: CoverCalibrator) -> None:
    """Make it dark in an emergency: both commands are sent before either is waited for."""
    for command in (panel.close_cover, panel.calibrator_off):
        with suppress(DriverError):
            command(_AT_ONCE)
    make_dark(panel)


def make_dark(panel: CoverCalibrator) -> None:
    """Switch the lamp off and close the cover, whatever happens to the other of the two.

    The one way to a safe state, used by the safety thread with its own connection and at the end of every session.
    """
    try:
        if panel.info.has_calibrator:
            panel.calibrator_off()
    finally:
        if panel.info.has_cover:
            panel.close_cover()


def shown_brightness(state: PanelState) -> int | None:
    """Return the brightness for headers and events: 0 when off, None when there is no lamp."""
    if state.calibrator is CalibratorStatus.NOT_PRESENT:
        return None
    return state.brightness if state.lit else 0


def _brightness(state: PanelState) -> str:
    shown = shown_brightness(state)
    return "off" if shown == 0 else f"at {shown}"
