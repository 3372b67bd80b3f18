"""The frozen records plans are given, and the few lines every plan shares.

They mirror the user's configuration without knowing it: integer microseconds instead of seconds, None for a key
that is not set.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from calibration.frames import (
    CaptureRequest,
    Cover,
    DarkSeen,
    FrameKind,
    FrameResult,
    GroupOutcome,
    GroupStatus,
    Limits,
    Purpose,
    Roi,
)

R = TypeVar("R")
Plan = Generator[CaptureRequest, tuple[FrameResult, ...], R]
"""Yields what it wants, is sent what came of it, returns an `R`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelTried:
    """A frame of the search for the exposure of a flat: the level it has (absolute ADU), and the one wanted."""

    filter: str | None
    exposure_us: int
    panel_brightness: int | None
    level_adu: float | None
    target_adu: float
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFound:
    """The exposure of a flat is found, after so many attempts."""

    filter: str | None
    exposure_us: int
    panel_brightness: int | None
    level_adu: float
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BrightnessIdle:
    """The panel gives the same light at both of these brightnesses."""

    filter: str | None
    brightness: tuple[int, int]


Notify = Callable[[LevelTried | LevelFound | BrightnessIdle], None]
"""Hears of a flat's level as soon as it is known."""


def silent(seen: LevelTried | LevelFound | BrightnessIdle) -> None:
    """Tell nobody (the default `Notify`)."""
    del seen


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureState:
    """The camera's settings for a set; None leaves one as found. Merged into every request of a plan."""

    gain: int | None = None
    offset: int | None = None
    readout_mode: int | str | None = None
    binning: int | None = None
    roi: Roi | None = None
    set_temp_c: float | None = None

    def request(self, kind: FrameKind, purpose: Purpose, exposure_us: int, **rest: Any) -> CaptureRequest:
        """Return a request in this state.

        Parameters
        ----------
        kind, purpose, exposure_us
            As in `CaptureRequest`.
        **rest
            Its other fields: count, filter, panel_brightness, source, cover, wait_s, limits, set_id.
        """
        return CaptureRequest(
            kind=kind,
            purpose=purpose,
            exposure_us=exposure_us,
            gain=self.gain,
            offset=self.offset,
            readout_mode=self.readout_mode,
            binning=self.binning,
            roi=self.roi,
            set_temp_c=self.set_temp_c,
            **rest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What the last good master of the same exposure and settings shows.

    Attributes
    ----------
    gradient_adu : float
        Largest difference between its nine parts.
    signal_adu : float, optional
        Level above the master bias of its own night; None for a bias, or without that bias.
    """

    gradient_adu: float
    signal_adu: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Darkness:
    """What makes it dark, and what a dark frame may look like when it is.

    Attributes
    ----------
    cover : Cover
        CLOSED where there is one, else LEAVE.
    filter : str, optional
        Name of an opaque wheel position to select.
    bias_adu : float, optional
        Pedestal of these settings; without it the first dark cannot be judged by level.
    bias_tolerance_adu : float
        Difference from what is expected that is always allowed.
    bias_gradient_adu : float, optional
        Difference between the pedestal's own parts; without it the gradient is judged by `earlier` alone.
    rate_adu_s : float, optional
        Dark current expected at this temperature, from earlier darks.
    earlier : Earlier, optional
        The last master.
    darkest : DarkSeen, optional
        The darkest frame of the sets just before, with the same settings: what is much brighter now is light.
    """

    cover: Cover = Cover.CLOSED
    filter: str | None = None
    bias_adu: float | None = None
    bias_tolerance_adu: float = 20.0
    bias_gradient_adu: float | None = None
    rate_adu_s: float | None = None
    earlier: Earlier | None = None
    darkest: DarkSeen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSettings:
    """The flat panel.

    Attributes
    ----------
    max_brightness : int
        1 is an on/off lamp; 0 no lamp at all (a cover only).
    brightness : int, optional
        Fixed by the user; None lets the search choose it together with the exposure.
    start_brightness : int, optional
        First guess, from an earlier night; None: the geometric middle.
    cover : Cover
        Where the cover belongs while flats are taken (a flip-flat shines with it closed).
    warmup_s : float
        Waited before the first frame, beside the measured settling.
    settle_timeout_s : float
        The lamp may take this long to settle.
    """

    max_brightness: int = 1
    brightness: int | None = None
    start_brightness: int | None = None
    cover: Cover = Cover.LEAVE
    warmup_s: float = 0.0
    settle_timeout_s: float = 120.0

    @property
    def adjustable(self) -> bool:
        """Whether the search may choose the brightness."""
        return self.brightness is None and self.max_brightness > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatSettings:
    """`flat_capture` of the user's configuration.

    Attributes
    ----------
    target_count_rate : float
        Level wanted, as a fraction from pedestal to saturation.
    count_tolerance : float
        Half-width allowed around it, relative to the target above the pedestal.
    num_flats : int
    min_exposure_us, max_exposure_us : int
    exposure_step_factor : float
        First step while no rate is known (saturated or dark); it is squared with each further one, at most 10.
    max_adjustment_attempts : int
        Test frames of one search, confirmations included; at least 2 are taken.
    start_exposure_us : int, optional
        First guess; None: the geometric middle of what is allowed (`window_us` where brightness adjusts).
    window_us : (int, int)
        Preferred exposures where brightness adjusts: well above shutter and lamp periods, still quick.
    limits : Limits
        Base of every request's limits (temperature tolerance); level, saturation and noise are the plan's.
    """

    target_count_rate: float = 0.5
    count_tolerance: float = 0.1
    num_flats: int = 40
    min_exposure_us: int = 1_000
    max_exposure_us: int = 10_000_000
    exposure_step_factor: float = 1.5
    max_adjustment_attempts: int = 10
    start_exposure_us: int | None = None
    window_us: tuple[int, int] = (1_000_000, 5_000_000)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatTask:
    """One filter's flats: what every request of a flat plan shares.

    Attributes
    ----------
    settings : FlatSettings
    state : ExposureState
    filter : str, optional
    panel : PanelSettings, optional
        None: light that nobody controls.
    source : str
        Where the light comes from, as headers have it: `panel` or `sky`.
    set_id : str, optional
    notify : callable
        Hears of each level that was tried, and of the one that was found.
    """

    settings: FlatSettings
    state: ExposureState
    filter: str | None = None
    panel: PanelSettings | None = None
    source: str = "panel"
    set_id: str | None = None
    notify: Notify = silent

    def request(
        self,
        purpose: Purpose,
        exposure_us: int,
        brightness: int | None,
        *,
        limits: Limits,
        count: int = 1,
        wait_s: float = 0.0,
    ) -> CaptureRequest:
        """Return a request for flats of this set."""
        return self.state.request(
            FrameKind.FLAT,
            purpose,
            exposure_us,
            count=count,
            filter=self.filter,
            panel_brightness=brightness,
            source=self.source,
            cover=self.panel.cover if self.panel is not None else Cover.LEAVE,
            wait_s=wait_s,
            limits=limits,
            set_id=self.set_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatSetBegun:
    """A flat set that an earlier run left incomplete.

    Attributes
    ----------
    exposure_us, panel_brightness
        Of its last kept frame.
    level_adu : float
        Median level of its frames, pedestal included.
    accepted : int
        Frames it holds.
    """

    exposure_us: int
    panel_brightness: int | None
    level_adu: float
    accepted: int


def refusals_allowed(count: int) -> int:
    """Return how many frames of a set may be refused (docs/contracts.md, "Plans, runner, checks")."""
    return max(3, count // 2)


def outcome(
    accepted: int,
    refused: int,
    *,
    wanted: int,
    code: str | None = None,
    exposure_us: int | None = None,
    panel_brightness: int | None = None,
    detail: str = "",
) -> GroupOutcome:
    """Return how a set ended; `accepted` counts the frames it holds now, those of earlier runs included."""
    complete = accepted >= wanted
    partial = GroupStatus.PARTIAL if accepted else GroupStatus.FAILED
    return GroupOutcome(
        status=GroupStatus.COMPLETE if complete else partial,
        code=None if complete else code,
        accepted=accepted,
        refused=refused,
        exposure_us=exposure_us,
        panel_brightness=panel_brightness,
        detail=detail,
    )
