"""Brings every device to the state that a request wants, in one order, and reads it back.

Temperature, filter, panel and cover, then the camera's readout mode, binning, subframe, gain and offset; then the
wait that the request asks for. Only what differs is moved. Nothing else in the program moves a device.
"""

from collections import deque
from dataclasses import dataclass, fields, replace

import structlog

from calibration.errors import GroupCode
from calibration.frames import CaptureRequest, Cover, FrameKind
from drivers.base import Camera, CameraInfo, CameraSettings, PanelState
from drivers.clock import Clock, Deadline
from drivers.errors import CameraBusy, NotOffered, Refused, SettingRefused
from services.capture.cooling import Cooled, Thermostat
from services.capture.failures import GroupFailed
from services.capture.filters import Filters
from services.capture.panel import Light
from services.capture.recovery import Recovery
from services.config.devices import CoolingPolicy
from services.errors import RunCode
from services.events.bus import Events
from services.events.records import WarningRaised
from services.observatory import Interlock

log = structlog.get_logger(__name__)

FOREIGN_CHANGES = 3
"""Settings changed, or exposures started, by somebody else this often in `FOREIGN_WITHIN_S`: it is in use."""
FOREIGN_WITHIN_S = 7200.0
FOREIGN_EXPOSURE_S = 300.0
"""An exposure of somebody else is waited for so long."""
_UNNAMED = ("readout_mode", "gain", "offset")
"""Settings that the configuration may leave as found."""
FADING = "the charge that light left on the sensor fades (dark_capture.persistence_wait)"
WARMING_LAMP = "the lamp warms up (flat_panel.warmup)"
CHANGING_SKY = "the sky is not as bright as it should be yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What the devices say after they were brought to a request's state.

    Attributes
    ----------
    settings : CameraSettings
        As read back.
    filter : str or None
        As read back; None without a wheel.
    panel : PanelState or None
        None without a panel.
    cooled : Cooled or None
        None when the cooler is left as found.
    """

    settings: CameraSettings
    filter: str | None
    panel: PanelState | None
    cooled: Cooled | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRules:
    """What the configuration says about states that a request leaves open.

    Attributes
    ----------
    darkness : str
        `cover | filter:NAME | shutter | roof | manual | none`.
    opaque : tuple of str
        Filter positions that are dark; one is selected for darks.
    on_dark_failure, on_flat_failure : CoolingPolicy
    """

    darkness: str = "cover"
    opaque: tuple[str, ...] = ()
    on_dark_failure: CoolingPolicy = CoolingPolicy.STOP
    on_flat_failure: CoolingPolicy = CoolingPolicy.CONTINUE_MARKED

    def dark_filter(self) -> str | None:
        """Return the position to select for darks, None where the wheel does not matter."""
        if self.darkness.startswith("filter:"):
            return self.darkness.removeprefix("filter:")
        return self.opaque[0] if self.opaque else None

    def policy(self, request: CaptureRequest) -> CoolingPolicy:
        """Return what to do when the temperature cannot be had; frames of no set measure the detector for the flats."""
        for_flats = request.kind is FrameKind.FLAT or request.set_id is None
        return self.on_flat_failure if for_flats else self.on_dark_failure


class StateKeeper:
    """Knows and changes the state of camera, wheel, panel and cooler.

    All of it is in one class, because the devices are brought to a state in one order, and known or forgotten together.

    Parameters
    ----------
    camera, filters, clock, events, interlock, recovery, thermostat, rules
    light : Light or None
        Panel and cover.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        filters: Filters,
        light: Light | None,
        thermostat: Thermostat,
        clock: Clock,
        events: Events,
        interlock: Interlock,
        recovery: Recovery,
        rules: StateRules,
    ) -> None:
        self._camera = camera
        self._filters = filters
        self._light = light
        self._thermostat = thermostat
        self._clock = clock
        self._events = events
        self._interlock = interlock
        self._recovery = recovery
        self._rules = rules
        self._wanted: CameraSettings | None = None
        self._applied: CameraSettings | None = None
        self._as_found: dict[CameraSettings, CameraSettings] = {}  # by what is named
        self._found: CameraSettings | None = None  # before anything was set
        self._named: set[str] = set()
        self._foreign_at_s: deque[float] = deque(maxlen=FOREIGN_CHANGES)
        self._warned: set[RunCode] = set()

    def reach(self, request: CaptureRequest) -> Reached:
        """Bring the devices to the state of `request`.

        Raises
        ------
        GroupFailed
            A device cannot be brought there.
        CameraBusy
            Somebody else keeps changing the camera.
        RunStopped, DriverError
            The run is to stop, or the camera is gone.
        """
        self._interlock.check_edge()
        cooled = self._thermostat.ensure(request.set_temp_c, self._rules.policy(request))
        name = self._filters.reach(self._wanted_filter(request))
        panel = self._reach_light(request)
        settings = self._reach_settings(request)
        self._wait(request)
        return Reached(settings=settings, filter=name, panel=panel, cooled=cooled)

    def _wait(self, request: CaptureRequest) -> None:
        if request.wait_s <= 0:
            return
        lit = CHANGING_SKY if request.panel_brightness is None else WARMING_LAMP
        self._events.announce_wait(request.wait_s, lit if request.kind is FrameKind.FLAT else FADING)
        if self._clock.sleep(request.wait_s, self._interlock.edge):
            self._interlock.check_edge()

    def confirm(self, request: CaptureRequest, reached: Reached) -> Reached:
        """Read the wheel once more before a flat; one that has slipped, or was turned by others, is turned back."""
        if request.kind is not FrameKind.FLAT or self._filters.stays_at(reached.filter):
            return reached
        return self.reach(replace(request, wait_s=0.0))

    def give_way(self, busy: CameraBusy, request: CaptureRequest) -> Reached:
        """Let another program's exposure end, then bring everything back to the state of `request`.

        Raises
        ------
        CameraBusy
            It does not end, or this was not the first time.
        """
        self.warn_of_foreigner(busy.detail)
        self._events.announce_wait(FOREIGN_EXPOSURE_S, "another program's exposure ends", at_most=True)
        deadline = Deadline(self._clock, FOREIGN_EXPOSURE_S)
        while self._recovery.call(self._camera.state).at_work:
            if deadline.over:
                raise busy
            if self._clock.sleep(1.0, self._interlock.edge):
                self._interlock.check_edge()
        return self.reach(replace(request, wait_s=0.0))

    def warn_of_foreigner(self, detail: str) -> None:
        """Warn of one sign of another program; raises `CameraBusy` after too many: the camera is theirs."""
        now_s = self._clock.monotonic()
        self._foreign_at_s.append(now_s)
        if len(self._foreign_at_s) == FOREIGN_CHANGES and now_s - self._foreign_at_s[0] <= FOREIGN_WITHIN_S:
            raise CameraBusy(device=self._camera.info.name, detail=f"another program uses the camera: {detail}")
        self._events.emit(WarningRaised(code=RunCode.FOREIGN_CLIENT.value, detail=detail))

    def note_size(self, request: CaptureRequest, settings: CameraSettings) -> None:
        """Say once, when an image has come, that the camera makes another size of a full frame."""
        if request.roi is None and (detail := _another_size(self._camera.info, settings)):
            self._warn(RunCode.DEVICE_LIMITED, detail)

    @property
    def is_known(self) -> bool:
        """Whether the camera is in the state that was reached last; False when it was away since."""
        return self._applied is not None

    def lost(self) -> None:
        """Forget which settings the camera has: it was away."""
        self.forget_settings()
        self._thermostat.lost()

    def forget_settings(self) -> None:
        """Set the camera anew before the next exposure."""
        self._wanted = self._applied = None

    # --- filter -----------------------------------------------------------------------------------------------------

    def _wanted_filter(self, request: CaptureRequest) -> str | None:
        if request.kind in {FrameKind.BIAS, FrameKind.DARK}:
            return self._rules.dark_filter() or request.filter
        return request.filter

    # --- light ------------------------------------------------------------------------------------------------------

    def _reach_light(self, request: CaptureRequest) -> PanelState | None:
        dark = request.kind in {FrameKind.BIAS, FrameKind.DARK}
        if dark and self._rules.darkness == "shutter" and not self._camera.info.has_shutter:
            self._warn(RunCode.NO_COVER, "`darkness: shutter`, but the camera says that it has none")
        if self._light is None:
            if request.panel_brightness is not None:
                raise GroupFailed(GroupCode.PANEL_NOT_READY, "there is no flat panel to light")
            return None
        cover = Cover.CLOSED if dark else request.cover
        return self._light.reach(brightness=None if dark else request.panel_brightness, cover=cover)

    # --- camera -----------------------------------------------------------------------------------------------------

    def _reach_settings(self, request: CaptureRequest) -> CameraSettings:
        wanted = self._camera_settings(request)
        try:
            found = self._recovery.call(self._camera.settings)
            self._found = self._found or found
            self._notice_foreigners(found)
            if wanted != self._wanted or found != self._applied:
                found = self._applied_as_found(wanted)
        except (SettingRefused, Refused, NotOffered) as error:
            self.forget_settings()
            raise GroupFailed(GroupCode.SETTING_REFUSED, str(error)) from error
        self._wanted, self._applied = wanted, found
        return found

    def _applied_as_found(self, wanted: CameraSettings) -> CameraSettings:
        """Set what is named, and nothing else, as long as the camera has the rest as it was found.

        What it forgot, or others changed, would make frames of one set unlike: that alone is put back.
        """
        found = self._recovery.call(lambda: self._camera.apply(wanted))
        first = self._as_found.setdefault(wanted, self._before_others(wanted, found))
        forgotten = {name: getattr(first, name) for name in _UNNAMED if getattr(found, name) != getattr(first, name)}
        if not forgotten:
            return found
        log.warning("camera.put_back", **forgotten)
        return self._recovery.call(lambda: self._camera.apply(replace(wanted, **forgotten)))

    def _before_others(self, wanted: CameraSettings, found: CameraSettings) -> CameraSettings:
        """Return settings in which what other states of the run have set is as it was found before them."""
        others = [name for name in _UNNAMED if name in self._named and getattr(wanted, name) is None]
        self._named |= {name for name in _UNNAMED if getattr(wanted, name) is not None}
        known = {name: value for name in others if (value := getattr(self._found, name)) is not None}
        return replace(found, **known)

    def _camera_settings(self, request: CaptureRequest) -> CameraSettings:
        roi = request.roi
        settings = CameraSettings(
            readout_mode=self._mode_number(request.readout_mode),
            bin_x=request.binning,
            bin_y=request.binning,
            gain=request.gain,
            offset=request.offset,
        )
        if roi is None:
            return settings
        return replace(settings, start_x=roi.start_x, start_y=roi.start_y, num_x=roi.num_x, num_y=roi.num_y)

    def _mode_number(self, mode: int | str | None) -> int | None:
        try:
            return None if mode is None else mode_number(self._camera.info, mode)
        except LookupError as error:
            raise GroupFailed(GroupCode.SETTING_REFUSED, str(error)) from error

    def _notice_foreigners(self, found: CameraSettings) -> None:
        """Notice settings that are not as we left them: another program, or a camera that was switched off and on."""
        if self._applied is None or found == self._applied:
            return
        self.warn_of_foreigner(_difference(self._applied, found))

    def _warn(self, code: RunCode, detail: str) -> None:
        if code not in self._warned:
            self._warned.add(code)
            self._events.emit(WarningRaised(code=code.value, detail=detail))


def mode_number(info: CameraInfo, named: int | str) -> int:
    """Return the number of a readout mode given by number or name, in any case.

    Raises
    ------
    LookupError
        The camera has no such mode; says which it has.
    """
    folded = [mode.casefold() for mode in info.readout_modes]
    if isinstance(named, str) and named.strip().casefold() in folded:
        return folded.index(named.strip().casefold())
    if isinstance(named, int) and 0 <= named < max(1, len(folded)):
        return named
    known = ", ".join(f"{place} {mode!r}" for place, mode in enumerate(info.readout_modes)) or "none"
    raise LookupError(f"the camera has no readout mode {named!r} (it has: {known})")


def _another_size(info: CameraInfo, found: CameraSettings) -> str:
    """Return in words that images have another size than the full frame; "" where they have that."""
    full = info.camera_x_size // (found.bin_x or 1), info.camera_y_size // (found.bin_y or 1)
    size = found.num_x, found.num_y
    if None in size or size == full:
        return ""
    shown, whole = (f"{x} x {y}" for x, y in (size, full))
    return f"{info.name} has no images of its full frame, {whole} pixels: {shown} are taken"


def _difference(left: CameraSettings, found: CameraSettings) -> str:
    """Return which settings differ, in words."""
    pairs = ((f.name.replace("_", " "), getattr(left, f.name), getattr(found, f.name)) for f in fields(left))
    return ", ".join(f"{name} is {now}, we left {before}" for name, before, now in pairs if now != before)
