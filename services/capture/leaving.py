"""How devices are left: the steps that end a session, and in words what could not be left as it should be.

No step stops the next one. What does not matter to anybody's equipment (a connection that could not be closed) is a
warning; an exposure, a light, a cover or a cooler that could not be left well is `left_unsafe`, the run's own failure.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from drivers.alpaca.allowance import Allowance
from drivers.base import CalibratorStatus, Camera, CameraStates, CoverCalibrator, CoverStatus, PanelInfo
from drivers.errors import DeviceLost, DriverError
from services.capture.panel import make_dark
from services.capture.recovery import quietly
from services.errors import RunCode, StorageError
from services.events.bus import Events
from services.events.records import DevicesLeft, RunEnding, WarningRaised

log = structlog.get_logger(__name__)

UNKNOWN = "how it stands is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Something that must be left in a known state.

    Attributes
    ----------
    name : str
    act : callable
        Brings it there.
    look : callable
        Returns in words the state that it is in instead, "" if that is safe all the same; raises `DriverError` when the
        state cannot be read.
    done : tuple of str
        Its state in words after `act` has succeeded.
    """

    name: str
    act: Callable[[], object]
    look: Callable[[], str]
    done: tuple[str, ...] = ()


class Leaving:
    """Does the steps of an end.

    Parameters
    ----------
    events : Events
    server : str
        Where the devices are, in words.
    allowance : Allowance, optional
        When it is used up, a server is silent: nothing is tried or read again.

    Attributes
    ----------
    left : list of str
        What could not be left in a known state, in words.
    """

    def __init__(self, events: Events, server: str = "", allowance: Allowance | None = None) -> None:
        self._events = events
        self._allowance = allowance or Allowance()
        self._server = server
        self.left: list[str] = []

    def begin(self, code: RunCode | None, warming_s: float | None, doing: tuple[str, ...] = ()) -> None:
        """Announce the end: what stopped the run (None when it is complete), how long warming up takes, and each step.

        Steps are announced as under way; `devices.left` later reports which succeeded.
        """
        with suppress(StorageError):
            self._events.emit(RunEnding(code=code, warming_s=warming_s, doing=doing))

    def tidy(self, what: str, act: Callable[[], object]) -> None:
        """Do a step that nobody's equipment depends on; a failure is a warning, and never hides an earlier one."""
        try:
            act()
        except Exception as error:
            log.exception("ending.step_failed", step=what)
            self._warn(RunCode.ENDING_FAILED, f"{what}: {error}")

    def devices(self, duties: tuple[Duty, ...], wait: Callable[[], object] = lambda: None) -> None:
        """Leave the devices; one that did not answer is tried once more after all others.

        Parameters
        ----------
        duties : tuple of Duty
        wait : callable
            Waits for the camera before that second attempt: all devices may be on its server.
        """
        failed = [(duty, error) for duty in duties if (error := _attempt(duty)) is not None]
        if any(self._is_worth_it(error) for _, error in failed):
            quietly("waiting for the camera", wait)
        wrong: list[tuple[Duty, Exception]] = []
        for duty, error in failed:
            again = _attempt(duty) if self._is_worth_it(error) else error
            if again is not None:
                wrong.append((duty, again))
        stands = [(duty, error, self._stands(duty, error)) for duty, error in wrong]
        not_done = {duty.name for duty, _ in wrong}
        done = [word for duty in duties if duty.name not in not_done for word in duty.done]
        with suppress(StorageError):
            self._events.emit(DevicesLeft(done=tuple(done)))
        silent = all(how == UNKNOWN and isinstance(error, DeviceLost) for _, error, how in stands)
        if stands and len(stands) == len(duties) and silent:
            names = ", ".join(duty.name for duty in duties)
            self._leave(f"nothing at {self._server} answers any more: {names}", str(stands[0][1]))
            return
        for duty, error, how in stands:
            if how:
                self._leave(f"{duty.name}: {how}", str(error))

    def _is_worth_it(self, error: Exception) -> bool:
        """Whether a step that failed may succeed in another attempt."""
        return isinstance(error, DeviceLost) and not self._allowance.used_up

    def _stands(self, duty: Duty, error: Exception) -> str:
        """Return the state of a device whose step failed; "" if it is safe anyway (then a warning is emitted)."""
        if self._allowance.used_up and isinstance(error, DeviceLost):
            return UNKNOWN
        try:
            stands = duty.look()
        except DriverError:
            return UNKNOWN
        if not stands:  # a cover that was closed before
            self._warn(RunCode.ENDING_FAILED, f"{duty.name}: {error}")
        return stands

    def _leave(self, how: str, why: str) -> None:
        self.left.append(how)
        self._warn(RunCode.LEFT_UNSAFE, f"{how} ({why})")

    def _warn(self, code: RunCode, detail: str) -> None:
        with suppress(StorageError):
            self._events.emit(WarningRaised(code=code.value, detail=detail))


def _attempt(duty: Duty) -> Exception | None:
    try:
        duty.act()
    except Exception as error:
        log.exception("ending.step_failed", step=duty.name)
        return error
    return None


def light_words(info: PanelInfo | None, *words: str) -> tuple[str, ...]:
    """Return the words for the lamp and for the cover, of which only what is there gets its own."""
    if info is None:
        return ()
    lamp, cover = words
    return (*((lamp,) if info.has_calibrator else ()), *((cover,) if info.has_cover else ()))


def darken(panel: CoverCalibrator) -> None:
    """Switch the lamp off and close the cover; once more over a new connection when that fails."""
    try:
        make_dark(panel)
    except DriverError as error:
        log.warning("panel.retried", detail=str(error))
        panel.connect()
        make_dark(panel)


def light_left(panel: CoverCalibrator) -> str:
    """Return in words whether the lamp is on or the cover open; "" when it is dark."""
    state = panel.state()
    parts = []
    if state.lit:
        reads = state.calibrator
        parts.append("the lamp is still on" if reads is CalibratorStatus.READY else f"the lamp reads {_word(reads)}")
    if state.cover not in {CoverStatus.CLOSED, CoverStatus.NOT_PRESENT}:
        parts.append(f"the cover is not closed, it reads {_word(state.cover)}")
    return ", ".join(parts)


def end_exposure(camera: Camera) -> bool:
    """Abort what still runs, over a new connection where the old one is gone; return whether there was anything."""
    try:
        state = camera.state()
    except DriverError:
        camera.connect()
        state = camera.state()
    if state.at_work or state.activity is CameraStates.ERROR:
        camera.abort()
        return True
    return False


def exposure_left(camera: Camera) -> str:
    """Return whether the camera still exposes."""
    return "the camera is still exposing" if camera.state().at_work else ""


def cooler_left(camera: Camera, *, as_found: bool) -> str:
    """Return the state of the cooler in words, "" when it is off."""
    state = camera.state()
    if state.cooler_on is False:
        return ""
    celsius = state.ccd_temperature_c
    at = "" if celsius is None else f" at {celsius:.1f} °C"
    return f"the cooler is still on{at}" + (", with another set-point than it was found with" if as_found else "")


def _word(status: CalibratorStatus | CoverStatus) -> str:
    return status.name.lower().replace("_", " ")
