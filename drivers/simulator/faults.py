"""Scripted faults: what goes wrong, when, and how often. Conditions are evaluated here; each device plays its own part.

A fault is armed once `at_s` seconds of the clock have passed *and* `after_exposures` exposures were started before the
present one; it stays armed for `for_s` seconds. `count` limits how often it happens: requests on the wire, exposures,
moves or settings, whichever the kind is about. Kinds that are states of the world (a temperature that stands still,
unsafe, a lamp that drifts) ignore `count` and last as long as they are armed.
"""

import math
import threading
from dataclasses import dataclass
from enum import StrEnum


class DeviceKind(StrEnum):
    """Devices by their name in an Alpaca address."""

    CAMERA = "camera"
    WHEEL = "filterwheel"
    PANEL = "covercalibrator"
    SAFETY = "safetymonitor"
    DOME = "dome"
    TELESCOPE = "telescope"


class FaultKind(StrEnum):
    """What can go wrong; `value` means what the line says."""

    STALL = "stall"
    """The answer comes `value` real seconds late (default 3600)."""
    DROP = "drop"
    """The connection is cut before any answer."""
    ANSWER_LOST = "answer_lost"
    """The device does what was asked, then the connection is cut without an answer."""
    GARBLED = "garbled"
    """HTTP 200 with a text that is no JSON."""
    HTTP_500 = "http_500"
    """The server answers 500 with a text."""
    PUT_IGNORED = "put_ignored"
    """A PUT of `member` is answered well and does nothing."""
    DISCONNECTED = "disconnected"
    """The device forgets that it was connected, and what it was doing."""
    IMAGE_TRUNCATED = "image_truncated"
    """The connection is cut after `value` of the image (fraction, default 0.5)."""
    IMAGE_SHORT = "image_short"
    """A complete answer whose pixels are fewer than its header says."""
    IMAGE_LYING_HEADER = "image_lying_header"
    """ImageBytes whose dimensions are `value` times too large (default 1000)."""
    IMAGE_BAD_TYPE = "image_bad_type"
    """ImageBytes with an element type that does not exist."""
    IMAGE_COLOUR = "image_colour"
    """ImageBytes of rank 3: three planes."""
    IMAGE_JSON = "image_json"
    """The image comes as JSON though ImageBytes were asked for."""
    IMAGE_SLOW = "image_slow"
    """After a quarter of the image, bytes come one by one, `value` real seconds apart (default 3600)."""
    TEMPERATURE_FROZEN = "temperature_frozen"
    """CCDTemperature repeats its reading of the moment the fault began."""
    TEMPERATURE_NAN = "temperature_nan"
    """CCDTemperature is NaN."""
    TEMPERATURE_IMPLAUSIBLE = "temperature_implausible"
    """CCDTemperature is `value` (default -273)."""
    HEAT = "heat"
    """The sensor is `value` degrees (default 2) warmer when an exposure begins, whatever the cooler does."""
    COOLER_POWER_LOSS = "cooler_power_loss"
    """The cooler has no power; CoolerPower reads `value` (default 0)."""
    DUPLICATE_FRAME = "duplicate_frame"
    """The frame of the exposure before comes again."""
    BLACK_FRAME = "black_frame"
    """All pixels are 0."""
    CONSTANT_FRAME = "constant_frame"
    """All pixels are `value` ADU (default 1000)."""
    HALF_SATURATED = "half_saturated"
    """The lower half of the frame is saturated."""
    SATURATED_ROW = "saturated_row"
    """`value` rows are saturated (default 1)."""
    WRONG_GAIN = "wrong_gain"
    """Setting the gain leaves it at `value` (default 0), and it reads so."""
    HIDDEN_GAIN = "hidden_gain"
    """Frames are made with gain `value` (default 0) whatever the gain reads."""
    LIGHT_LEAK = "light_leak"
    """Light of `value` ADU per second (default 10) falls on the sensor, growing along x, whatever is closed."""
    EXPOSURE_ERROR = "exposure_error"
    """The exposure ends with CameraState Error; ImageReady raises."""
    NEVER_READY = "never_ready"
    """ImageReady stays False until the exposure is aborted."""
    FOREIGN_EXPOSURE = "foreign_exposure"
    """Another program begins an exposure of `value` seconds (default 60) the moment before one is asked for."""
    TOO_FAST = "too_fast"
    """The exposure is ready at once, with the frame before it in the buffer."""
    SLOW_WHEEL = "slow_wheel"
    """A move takes `value` seconds longer (default 30)."""
    WRONG_POSITION = "wrong_position"
    """A move ends `value` positions beside its target (default 1)."""
    WHEEL_SLIPS = "wheel_slips"
    """The wheel turns by `value` positions (default 1) by itself; it happens when its position is read next."""
    PANEL_NEVER_READY = "panel_never_ready"
    """The calibrator stays NotReady."""
    PANEL_ERROR = "panel_error"
    """Switching the calibrator on ends in Error."""
    PANEL_STAYS_ON = "panel_stays_on"
    """Switching the calibrator off is accepted, but it goes on shining and reads Ready."""
    COVER_STUCK = "cover_stuck"
    """A moving cover stops half way, in Error."""
    LAMP_DRIFT = "lamp_drift"
    """The lamp's light changes by the fraction `value` a minute (default -0.05)."""
    LAMP_FLICKER = "lamp_flicker"
    """The lamp's light changes at random by the fraction `value` (sigma, default 0.2) from exposure to exposure."""
    LAMP_LEVEL = "lamp_level"
    """The lamp gives `value` times its light (default 0.001)."""
    UNSAFE = "unsafe"
    """IsSafe is False."""
    SAFETY_HANG = "safety_hang"
    """The safety monitor does not answer for `value` real seconds (default 3600)."""


DEFAULT_VALUE: dict[FaultKind, float] = {
    FaultKind.STALL: 3600.0,
    FaultKind.IMAGE_TRUNCATED: 0.5,
    FaultKind.IMAGE_LYING_HEADER: 1000.0,
    FaultKind.IMAGE_SLOW: 3600.0,
    FaultKind.TEMPERATURE_IMPLAUSIBLE: -273.0,
    FaultKind.HEAT: 2.0,
    FaultKind.CONSTANT_FRAME: 1000.0,
    FaultKind.SATURATED_ROW: 1.0,
    FaultKind.FOREIGN_EXPOSURE: 60.0,
    FaultKind.LIGHT_LEAK: 10.0,
    FaultKind.SLOW_WHEEL: 30.0,
    FaultKind.WRONG_POSITION: 1.0,
    FaultKind.WHEEL_SLIPS: 1.0,
    FaultKind.LAMP_DRIFT: -0.05,
    FaultKind.LAMP_FLICKER: 0.2,
    FaultKind.LAMP_LEVEL: 0.001,
    FaultKind.SAFETY_HANG: 3600.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultScript:
    """One fault.

    Attributes
    ----------
    kind : FaultKind
    device, member : DeviceKind or None, str or None
        For faults of the wire: whose requests. None: any.
    after_exposures : int
        Exposures that go well before it.
    at_s : float
        Clock seconds after the start of the observatory before it.
    for_s : float or None
        Clock seconds that it lasts; None: for ever.
    count : int or None
        How often it happens; None: always.
    value : float or None
        Its parameter, see `FaultKind`; None: the default of its kind.
    """

    kind: FaultKind
    device: DeviceKind | None = None
    member: str | None = None
    after_exposures: int = 0
    at_s: float = 0.0
    for_s: float | None = None
    count: int | None = None
    value: float | None = None

    @property
    def amount(self) -> float:
        """The parameter, or the default of the kind."""
        return DEFAULT_VALUE.get(self.kind, 0.0) if self.value is None else self.value

    @property
    def until_s(self) -> float:
        """Clock seconds after the start at which it ends."""
        return math.inf if self.for_s is None else self.at_s + self.for_s


class Faults:
    """The scripts of one observatory, and how often each has happened. Safe to ask from any thread."""

    def __init__(self, scripts: tuple[FaultScript, ...]) -> None:
        self._scripts = scripts
        self._happened = [0] * len(scripts)
        self._lock = threading.Lock()
        self.exposures = 0

    def strikes(
        self,
        kind: FaultKind,
        t_s: float,
        *,
        device: DeviceKind | None = None,
        member: str | None = None,
    ) -> FaultScript | None:
        """Return the fault that happens now and count it; None when all goes well."""
        with self._lock:
            for i, script in enumerate(self._scripts):
                spent = script.count is not None and self._happened[i] >= script.count
                if not spent and _about(script, kind, device, member) and self._armed(script, t_s):
                    self._happened[i] += 1
                    return script
        return None

    def happened(self, kind: FaultKind) -> int:
        """Return how often faults of a kind have happened."""
        with self._lock:
            return sum(n for n, s in zip(self._happened, self._scripts, strict=True) if s.kind is kind)

    def lasting(self, kind: FaultKind, t_s: float) -> FaultScript | None:
        """Return the state of the world that a fault has brought about, if it lasts now; counts nothing."""
        return next((s for s in self._scripts if s.kind is kind and self._armed(s, t_s)), None)

    def _armed(self, script: FaultScript, t_s: float) -> bool:
        enough = script.after_exposures == 0 or self.exposures > script.after_exposures
        return enough and script.at_s <= t_s < script.until_s


def _about(script: FaultScript, kind: FaultKind, device: DeviceKind | None, member: str | None) -> bool:
    return script.kind is kind and script.device in {None, device} and script.member in {None, member}
