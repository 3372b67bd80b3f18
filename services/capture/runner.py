"""Drives a plan: brings the devices to each request's state, exposes, and sends back what came of it.

Within a request the next exposure overlaps the checks and the writing of the last one; between requests the results are
waited for. Retakes are the plan's business, device failures are dealt with here: a frame is tried three times in all,
with the camera restored in between. The first frame after connecting and after a change of the readout mode differs in
many cameras: it is thrown away.
"""

from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import structlog

from calibration.errors import FrameCode, GroupCode
from calibration.frames import CaptureRequest, FrameKind, FrameResult, Purpose
from drivers.base import Camera, CameraInfo, CameraSettings, Exposure, ExposureRequest
from drivers.clock import Clock, Deadline
from drivers.errors import (
    AccessDenied,
    BadImage,
    CameraBusy,
    Cancelled,
    DeviceLost,
    DriverCode,
    DriverError,
    ExposureFailed,
    ExposureStalled,
    SizeRefused,
    WrongDevice,
)
from services.capture.acquisition import TakenExposure
from services.capture.cooling import Thermostat
from services.capture.durations import Durations
from services.capture.failures import GroupFailed, UntilReached
from services.capture.recovery import FAILED_EXPOSURES, BadFrames, GivenUp, Recovery
from services.capture.state import Reached, StateKeeper
from services.capture.thermal import drifted
from services.capture.writer import Ticket, Writer
from services.errors import RunCode
from services.events.bus import Events
from services.events.records import WarningRaised
from services.observatory import Interlock
from services.words import both_clocks

log = structlog.get_logger(__name__)

R = TypeVar("R")
Plan = Generator[CaptureRequest, tuple[FrameResult, ...], R]

DISCARD_S = 1.0
"""Longest exposure of the frame that is thrown away after connecting."""

CLOCK_JUMP_S = 5.0
"""Between two exposures; time services move a clock by less."""

AHEAD = 2
"""Frames that may be unjudged when an exposure starts, by default; one where a refusal must end the request."""


class Runner:
    """Takes what plans ask for.

    Taking and the ladder of failed exposures are in one class, for either may bring the devices back to the state of
    the request.

    Parameters
    ----------
    camera, clock, interlock, recovery, thermostat, state, writer, events
    until : datetime, optional
        No exposure is started that would end after it.
    ahead : int
        Frames that may be unjudged when an exposure starts: with the writer's queue, the memory that is used.
    ready : callable
        Called when the devices are set for a request: returns when frames can be measured, raises when the run must
        end first.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        clock: Clock,
        interlock: Interlock,
        recovery: Recovery,
        thermostat: Thermostat,
        state: StateKeeper,
        writer: Writer,
        events: Events,
        until: datetime | None = None,
        ahead: int = AHEAD,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        self._camera = camera
        self._clock = clock
        self._interlock = interlock
        self._recovery = recovery
        self._thermostat = thermostat
        self._state = state
        self._writer = writer
        self._until = until
        self._ahead = ahead
        self._ready = ready
        self._watch = ClockWatch(clock, events)
        self._bad = BadFrames()
        self._said_noiseless = False
        self._durations = Durations()
        self._settled_in: CameraSettings | None = None
        recovery.on_restored(self._unsettle)

    def run(self, plan: Plan[R]) -> R:
        """Drive a plan to its end and return its result.

        Raises
        ------
        GroupFailed
            The plan's frames cannot be had; others may. The plan was closed.
        RunStopped, StorageError
            The run must end: stopped, unsafe, `--until`, disk.
        DriverError
            The run must end: the camera is lost, wrong or in use.
        """
        results: tuple[FrameResult, ...] = ()
        try:
            request = next(plan)
            while True:
                results = self.take(request)
                request = plan.send(results)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            plan.close()

    def take(self, request: CaptureRequest) -> tuple[FrameResult, ...]:
        """Take one request; the results of a discarding one are none."""
        self._writer.check()
        request = self._quantised(request)
        self._check_time(request, wait_s=request.wait_s)
        reached = self._state.reach(request)
        self._ready()
        request = _at_reached_temperature(request, reached)
        wanted = self._writer.held(request.set_id) + request.count
        line = _Line(request, self._bad, self._writer, self._ahead)
        for _ in range(request.count):
            if line.must_end():
                break
            self._check_time(request)
            self._check_drift(request, line)
            reached = self._hold(request, reached, line)
            exposure, reached = self._expose(request, reached)
            if request.purpose is Purpose.DISCARD:
                continue
            request, exposure, reached = self._as_made(request, exposure, reached)
            state = self._thermostat.look()
            taken = TakenExposure(
                request=request, exposure=exposure, info=self._camera.info, reached=reached, state=state
            )
            line.tickets.append(self._writer.submit(taken, first=not line.tickets, wanted=wanted))
            del exposure, taken  # the writer alone holds the pixels now
        results = line.results()
        self._warn_of_foreign()
        self._check_noise(line)
        return results

    def _check_noise(self, line: "_Line") -> None:
        """Fail the group of a camera whose images never have noise; each group takes a frame to see whether it does."""
        detail = self._bad.noiseless
        if detail is not None and line.tickets:
            line.results()
            said, self._said_noiseless = self._said_noiseless, True
            raise GroupFailed(FrameCode.CONSTANT, "still so: see the first of these" if said else detail)

    def _check_drift(self, request: CaptureRequest, line: "_Line") -> None:
        """Leave a set whose frames would lie too far apart in temperature, where nothing holds the sensor's."""
        span_c = request.limits.temperature_span_c
        if span_c is None or request.purpose is not Purpose.KEEP:
            return
        line.results()  # those on their way are of the set, too
        now_c, seen_c = self._thermostat.look().ccd_temperature_c, self._writer.temperatures_c(request.set_id)
        if detail := drifted(now_c, seen_c, span_c):
            raise GroupFailed(GroupCode.NOT_STEADY, detail)

    def _warn_of_foreign(self) -> None:
        for detail in self._bad.take_foreign():
            self._state.warn_of_foreigner(detail)

    def _quantised(self, request: CaptureRequest) -> CaptureRequest:
        exposure_us = self._durations.made_us(quantised_us(request.exposure_us, self._camera.info))
        return request if exposure_us == request.exposure_us else replace(request, exposure_us=exposure_us)

    def _check_time(self, request: CaptureRequest, *, wait_s: float = 0.0) -> None:
        self._interlock.check_edge()
        self._watch.look()
        if self._until is not None:
            left_s = (self._until - self._clock.now()).total_seconds()
            first_s = DISCARD_S if self._settled_in is None else 0.0
            if left_s < wait_s + first_s + request.exposure_us / 1e6:
                raise UntilReached(f"the time given has come ({both_clocks(self._until)})")

    def _hold(self, request: CaptureRequest, reached: Reached, line: "_Line") -> Reached:
        """Mend what the last frames complained of before the next is taken, and see that the filter is still there.

        Complaints are of an ill link, and of a sensor off its set-point.
        """
        self._warn_of_foreign()
        self._check_noise(line)
        complaint = self._bad.complaint
        if complaint is not None:
            line.results()  # those on their way belong to the complaint
            self._bad.forget()
            self._recovery.restore(DeviceLost(device=self._camera.info.name, detail=complaint))
        if line.take_temperature_off():
            reached = self._state.reach(replace(request, wait_s=0.0))
        return self._state.confirm(request, reached)

    def _as_made(
        self, request: CaptureRequest, exposure: Exposure, reached: Reached
    ) -> tuple[CaptureRequest, Exposure, Reached]:
        """Return a request with the exposure that the camera makes of it, where further frames show that it does."""
        reports_us = [_reported_us(exposure)]
        while self._durations.doubts(request, reports_us):
            exposure, reached = self._expose(request, reached)
            reports_us.append(_reported_us(exposure))
        made_us = self._durations.adopted(request, reports_us)
        return (request if made_us == request.exposure_us else replace(request, exposure_us=made_us)), exposure, reached

    # --- one exposure -----------------------------------------------------------------------------------------------

    def _expose(self, request: CaptureRequest, reached: Reached) -> tuple[Exposure, Reached]:
        """Expose, after what another program exposes; return the exposure and the state it was taken in."""
        while True:
            try:
                return self._try(request, reached)
            except CameraBusy as busy:
                reached = self._state.give_way(busy, request)

    def _try(self, request: CaptureRequest, reached: Reached) -> tuple[Exposure, Reached]:
        """Expose, with the ladder; return the exposure and the state it was taken in."""
        failures: list[DriverError] = []
        while len(failures) <= FAILED_EXPOSURES:
            try:
                if failures:
                    self._recover(failures[-1])
                reached = self._again(request, reached, failures)
                self._settle(request, reached.settings)
                exposure = self._shoot(request, self._durations.asked_us(request.exposure_us) / 1e6)
                self._state.note_size(request, reached.settings)
                return exposure, reached
            except (GivenUp, WrongDevice, CameraBusy, AccessDenied):
                raise
            except Cancelled as end:
                self._interlock.check()
                raise UntilReached(end.detail) from end
            except SizeRefused as refusal:
                log.info("exposure.size_refused", detail=str(refusal))
                self._state.forget_settings()
            except (DeviceLost, ExposureFailed, ExposureStalled, BadImage) as failure:
                self._interlock.check()
                log.warning("exposure.failed", detail=str(failure), exposure_us=request.exposure_us)
                failures.append(failure)
            except DriverError as refusal:
                self._state.forget_settings()
                raise GroupFailed(DriverCode.EXPOSURE_FAILED, f"the exposure is refused: {refusal}") from refusal
        self._recover(failures[-1])  # or the next group would find the camera in this exposure still
        first = failures[0]
        raise GroupFailed(first.code, f"{len(failures)} exposures failed: {first}") from first

    def _again(self, request: CaptureRequest, reached: Reached, failures: list[DriverError]) -> Reached:
        """Bring the devices back to a request's state, where it is not known; the first failure stays the cause."""
        if self._state.is_known:
            return reached
        try:
            return self._state.reach(replace(request, wait_s=0.0))
        except GroupFailed as consequence:
            if not failures:
                raise
            first = failures[0]
            raise GroupFailed(first.code, f"{first}; then {consequence.detail}") from first

    def _recover(self, error: DriverError) -> None:
        """Make the camera fit for another exposure: one that sends a strange image is there, and only set anew."""
        if isinstance(error, BadImage):
            self._state.forget_settings()
        else:
            self._recovery.restore(error)

    def _shoot(self, request: CaptureRequest, duration_s: float) -> Exposure:
        self._interlock.check_edge()  # an exposure that failed is not tried again by a run that is to end
        light = request.kind not in {FrameKind.BIAS, FrameKind.DARK}
        self._bad.begin(round(duration_s * 1e6))
        exposure = ExposureRequest(duration_s=duration_s, light=light, until=self._until)
        deadline = Deadline(self._clock, duration_s)
        with self._interlock.wake.exposing(lambda: deadline.left_s):
            return self._camera.expose(exposure, self._interlock.wake)

    def _settle(self, request: CaptureRequest, settings: CameraSettings) -> None:
        """Throw a frame away when the camera was just connected, or changed its readout mode."""
        known = self._settled_in
        if known is None or known.readout_mode != settings.readout_mode:
            if request.purpose is not Purpose.DISCARD:
                self._shoot(request, min(request.exposure_us / 1e6, DISCARD_S))
                self._interlock.check_edge()
            self._settled_in = settings

    def _unsettle(self) -> None:
        self._settled_in = None


class ClockWatch:
    """Warns when the wall clock jumped against the monotonic one: times in headers are then not to be trusted."""

    def __init__(self, clock: Clock, events: Events) -> None:
        self._clock = clock
        self._events = events
        self._lead_s = self._lead()

    def look(self) -> None:
        """Compare the clocks, and warn when the difference has changed."""
        before_s, self._lead_s = self._lead_s, self._lead()
        jumped_s = self._lead_s - before_s
        if abs(jumped_s) > CLOCK_JUMP_S:
            detail = f"the clock jumped by {jumped_s:+.1f} s"
            self._events.emit(WarningRaised(code=RunCode.CLOCK_JUMP.value, detail=detail))

    def _lead(self) -> float:
        """Return by how much the wall clock is ahead of the monotonic one."""
        return self._clock.now().timestamp() - self._clock.monotonic()


class _Line:
    """The frames of one request between camera and result."""

    def __init__(self, request: CaptureRequest, bad: BadFrames, writer: Writer, ahead: int) -> None:
        self.tickets: list[Ticket] = []
        self._writer = writer
        self._bad = bad
        self._stop_early = request.limits.stop_early
        self._ahead = 1 if self._stop_early else ahead
        self._seen = 0
        self._refused = False
        self._temperature_off = False

    def must_end(self) -> bool:
        """Look at what is judged by now; return whether a refusal ends the request.

        At most `ahead` frames are left unjudged; one, the frame in flight, where a refusal must end the request.
        """
        while self._seen < len(self.tickets):
            ticket = self.tickets[self._seen]
            if len(self.tickets) - self._seen <= self._ahead and not ticket.done():
                break
            self._see(self._writer.result(ticket))
        return self._stop_early and self._refused

    def take_temperature_off(self) -> bool:
        """Return whether a frame was refused for its temperature since the last call."""
        off, self._temperature_off = self._temperature_off, False
        return off

    def results(self) -> tuple[FrameResult, ...]:
        """Wait for all results."""
        for ticket in self.tickets[self._seen :]:
            self._see(self._writer.result(ticket))
        return tuple(ticket.result() for ticket in self.tickets)

    def _see(self, result: FrameResult) -> None:
        self._seen += 1
        self._bad.see(result)
        self._refused = self._refused or not result.accepted
        codes = {v.code for v in result.verdicts if v.refuses}
        self._temperature_off = self._temperature_off or FrameCode.TEMPERATURE_OFF in codes


def _reported_us(exposure: Exposure) -> int | None:
    return None if exposure.reported_duration_s is None else round(exposure.reported_duration_s * 1e6)


def quantised_us(exposure_us: int, info: CameraInfo) -> int:
    """Return the nearest exposure that the camera keeps: a multiple of its resolution, within its range.

    Parameters
    ----------
    exposure_us : int
    info : CameraInfo
        `exposure_resolution_s` 0 means that any exposure is possible.
    """
    step = max(1, round(info.exposure_resolution_s * 1e6))
    low, high = round(info.exposure_min_s * 1e6), round(info.exposure_max_s * 1e6)
    wanted = round(exposure_us / step) * step
    return max(low, min(wanted, high) if high > 0 else wanted)


def _at_reached_temperature(request: CaptureRequest, reached: Reached) -> CaptureRequest:
    """Hold frames to the set-point in force; where none is held they are only labelled with what they measured."""
    cooled = reached.cooled
    if cooled is not None and cooled.stable:
        return request if cooled.set_c == request.set_temp_c else replace(request, set_temp_c=cooled.set_c)
    return replace(request, limits=replace(request.limits, temperature_tolerance_c=None))
