"""What a configuration wants of a night, as plain data: states to cover, sets in each, settings for the plans.

Pure translation: seconds become integer microseconds, sections become the records of `calibration.plans`. What the
camera and the wheel are asked for once they are connected comes in as arguments.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from calibration.frames import CaptureRequest, Cover, FrameKind, Limits, us
from calibration.plans.dark import DarkUse, PlannedTimes, dark_exposures
from calibration.plans.detector import CameraFacts, SaturatingLight
from calibration.plans.sequence import WantedSet
from calibration.plans.settings import ExposureState, FlatSettings, PanelSettings
from drivers.base import CameraInfo, PanelInfo, SensorType
from services.catalogue.history import EXPOSURE_MADE
from services.catalogue.rows import FactRow
from services.config.devices import FlatPanel
from services.config.models import Config, DarkCapture
from services.config.values import number_of
from services.planning.programmes import views
from services.planning.request import DarkTimes, RunOptions, Step
from services.words import celsius

ASSUMED_FLAT_US = 1_000_000
"""The flats' exposure where there are no flats to ask (the guide's default)."""
WIDEST = ("L", "Lum", "Luminance", "Clear", "C")
"""Names of filters that pass most light, in the order tried for saturating the sensor on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One temperature and gain to cover; None is "as found".

    Attributes
    ----------
    temperature_c : float or None
    gain : int or None
    flats : bool
        Whether flats are taken in this state.
    config : Config
        The configuration as the programme of this state sees it: counts, exposures, filters, ages, camera settings.
    programme : str
        Its name; "" where the file has no programmes.
    """

    temperature_c: float | None
    gain: int | None
    flats: bool
    config: Config
    programme: str = ""

    @property
    def as_they_come(self) -> bool:
        """Whether its darks are taken at whatever temperature the sensor has, a set for each degree."""
        return bool(self.programme) and self.temperature_c is None


def states(config: Config, *, skip_cooling: bool = False) -> Iterator[State]:
    """Yield the states of a night: temperature outside, so that the cooler moves least; then programme, then gain."""
    found = [state for name, seen in views(config) for state in _states(seen, name, skip_cooling=skip_cooling)]
    order = list(dict.fromkeys(state.temperature_c for state in found))
    yield from sorted(found, key=lambda state: order.index(state.temperature_c))


def _states(config: Config, programme: str, *, skip_cooling: bool) -> Iterator[State]:
    temperatures = _temperatures(config, skip_cooling=skip_cooling)
    lit = config.flat_capture.temperatures if temperatures != (None,) else ()
    gains = tuple(number_of(gain) for gain in config.gains or (config.camera.active.gain,))
    warm = tuple(t for t in lit if t not in temperatures)
    for temperature in (*temperatures, *warm):
        for gain in gains:
            flats = temperature in (lit or temperatures[:1])
            yield State(temperature_c=temperature, gain=gain, flats=flats, config=config, programme=programme)


def _temperatures(config: Config, *, skip_cooling: bool) -> tuple[float | None, ...]:
    cooling = config.cooling
    if skip_cooling or cooling is None or not cooling.enable_cooling or cooling.mode == "off":
        return (None,)
    return config.temperatures or (cooling.target_temperature,)


_NAMED: Mapping[str, Callable[[Any], str]] = {
    "gain": "gain {}".format,
    "offset": "offset {}".format,
    "readout_mode": "readout mode {}".format,
    "binning": "binning {0} x {0}".format,
    "set_temp_c": celsius,
}
"""The settings of a state, and how they are said."""


def names_apart(config: Config) -> Callable[[WantedSet | ExposureState | CaptureRequest], str]:
    """Return what names sets of a night beside kind, filter and exposure: "gain 26, -10.0 °C".

    A setting is named where the configuration wants several values of it.
    """
    wanted = [exposure_state(state.config, state) for state in states(config)]
    several = [name for name in _NAMED if len({getattr(each, name) for each in wanted}) > 1]

    def apart(of: WantedSet | ExposureState | CaptureRequest) -> str:
        return ", ".join(_NAMED[name](value) for name in several if (value := getattr(of, name)) is not None)

    return apart


def exposure_state(config: Config, state: State) -> ExposureState:
    """Return the camera's settings of a state."""
    section = config.camera.active
    return ExposureState(
        gain=state.gain,
        offset=number_of(section.offset),
        readout_mode=section.readout_mode,
        binning=section.bin_xy[0],
        set_temp_c=state.temperature_c,
    )


def dark_times(
    config: Config,
    flat_times_us: Iterable[int],
    *,
    minimum_us: int = 0,
    resolution_us: int = 1,
) -> PlannedTimes:
    """Return the dark times of a state: {min_exposure, flat times, science x factors}.

    Parameters
    ----------
    flat_times_us : iterable of int
        Exposures of the flats to be served.
    minimum_us, resolution_us : int
        The camera's shortest exposure and step; a `min_exposure` below the first is raised to it.
    """
    dark = config.dark_capture
    return dark_exposures(
        max(us(dark.min_exposure), minimum_us),
        flat_times_us,
        tuple(us(t) for t in dark.science_exposure_time),
        dark.exposure_factors,
        us(dark.max_exposure),
        resolution_us=resolution_us,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFlats:
    """The exposures of flats that the darks of a state are taken for; `is_assumed`: nothing says what they are."""

    times_us: tuple[int, ...]
    is_assumed: bool = False


def served_flats(
    config: Config, state: State, found_us: Iterable[int], steps: Collection[Step], which: DarkTimes
) -> ServedFlats:
    """Return which flats the darks of a state serve: those configured, else those that exist, else an assumed one.

    Parameters
    ----------
    config : Config
    state : State
    found_us : iterable of int
        Exposures of the flats of this state that exist.
    steps : collection of Step
        Of the run: nothing is assumed of flats that it takes itself.
    which : DarkTimes
    """
    configured = config.dark_capture.flat_exposure_time
    if not config.flat_capture.num_flats:
        return ServedFlats(times_us=())
    if configured is not None:
        return ServedFlats(times_us=(us(configured),))
    times_us = tuple(sorted(found_us))
    if times_us or not state.flats or Step.FLATS in steps or which is not DarkTimes.ALL:
        return ServedFlats(times_us=times_us)
    return ServedFlats(times_us=(ASSUMED_FLAT_US,), is_assumed=True)


def follow_flats(config: Config, options: RunOptions) -> bool:
    """Return whether a run takes darks of the exposures that its flats will find."""
    asked = options.only is None or options.follow_flats
    all_times = Step.DARKS in options.steps and options.dark_times is DarkTimes.ALL
    return asked and all_times and config.dark_capture.flat_exposure_time is None


def darks_of_flats(config: Config, options: RunOptions) -> int:
    """Return how many darks are taken, at most, of each exposure that the flats of a run will find; 0 for none."""
    following = (seen for _, seen in views(config) if follow_flats(seen, options))
    return max((seen.dark_capture.num_darks for seen in following), default=0)


def exposures_made(facts: Iterable[FactRow]) -> dict[int, int]:
    """Return the exposures that a camera makes, by those that it was asked for, from its facts, the newest first."""
    made: dict[int, int] = {}
    for fact in facts:
        if fact.name == EXPOSURE_MADE:
            made.setdefault(int(fact.settings.get("asked_us", 0)), int(fact.value))
    return made


def dark_sets(
    config: Config, state: State, times: PlannedTimes, which: DarkTimes, made: Mapping[int, int]
) -> tuple[WantedSet, ...]:
    """Return the bias and dark sets of a state in the order they are taken.

    Those of exposures that the camera is known not to make have the ones that it makes instead (`exposures_made`).
    """
    chosen = {
        DarkTimes.ALL: set(DarkUse),
        DarkTimes.BIAS: {DarkUse.BIAS},
        DarkTimes.SCIENCE: {DarkUse.SCIENCE},
    }[which]
    return tuple(
        WantedSet(
            kind=kind,
            count=count,
            why=tuple(str(w) for w in time.why),
            exposure_us=_as_made(time.exposure_us, made),
            **_settings(config, state),
        )
        for time in times.times
        for kind, count in [_kind_and_count(config.dark_capture, time.why)]
        if count and chosen & set(time.why)
    )


def _kind_and_count(dark: DarkCapture, why: Collection[DarkUse]) -> tuple[FrameKind, int]:
    """Return what frames of a dark time are, and how many are wanted; biases serve as darks of their exposure, too."""
    if DarkUse.BIAS not in why or (len(why) > 1 and not dark.bias_count):
        return FrameKind.DARK, dark.num_darks
    return FrameKind.BIAS, dark.bias_count if len(why) == 1 else max(dark.bias_count, dark.num_darks)


def flat_sets(config: Config, state: State, filters: Iterable[str | None]) -> tuple[WantedSet, ...]:
    """Return the flat sets of a state, one per filter."""
    flat = config.flat_capture
    if not (state.flats and flat.num_flats):
        return ()
    shared = {"count": flat.num_flats, "source": flat.source, **_settings(config, state)}
    return tuple(WantedSet(kind=FrameKind.FLAT, why=("flat",), filter=f, **shared) for f in filters)


def _settings(config: Config, state: State) -> dict[str, Any]:
    """Return the settings of the camera that the sets of a state share."""
    camera = exposure_state(config, state)
    return {name: getattr(camera, name) for name in _NAMED}


def _as_made(exposure_us: int, made: Mapping[int, int]) -> int:
    """Return what a camera makes of an exposure; what it made of another one may have been renewed since."""
    seen = {exposure_us}
    while (found := made.get(exposure_us)) is not None and found not in seen:
        exposure_us = found
        seen.add(found)
    return exposure_us


def flat_filters(config: Config, wheel: Iterable[str], opaque: Iterable[str]) -> tuple[str | None, ...]:
    """Return the filters flats are taken in: those named, else all of the wheel's that pass light; (None,) without."""
    if config.flat_capture.filters:
        return config.flat_capture.filters
    names = tuple(name for name in wheel if name not in set(opaque))
    return names or (None,)


def flat_settings(config: Config) -> FlatSettings:
    """Return `flat_capture` as the plans take it."""
    flat = config.flat_capture
    return FlatSettings(
        target_count_rate=flat.target_count_rate,
        count_tolerance=flat.count_tolerance,
        num_flats=flat.num_flats,
        min_exposure_us=us(flat.min_exposure),
        max_exposure_us=us(flat.max_exposure),
        exposure_step_factor=flat.exposure_step_factor,
        max_adjustment_attempts=flat.max_adjustment_attempts,
        start_exposure_us=None if flat.start_exposure is None else us(flat.start_exposure),
        window_us=(us(flat.window[0]), us(flat.window[1])),
        limits=base_limits(config),
    )


def base_limits(config: Config) -> Limits:
    """Return the limits every frame must keep."""
    tolerance = None if config.cooling is None else config.cooling.frame_tolerance
    return Limits(temperature_tolerance_c=tolerance)


def panel_settings(section: FlatPanel | None, info: PanelInfo | None) -> PanelSettings | None:
    """Return the flat panel as the plans take it; None where light comes from elsewhere."""
    if section is None or info is None:
        return None
    return PanelSettings(
        max_brightness=info.max_brightness if info.has_calibrator else 0,
        brightness=section.brightness,
        cover=Cover(section.cover_for_flats) if info.has_cover else Cover.LEAVE,
        warmup_s=section.warmup,
        settle_timeout_s=section.settle_timeout,
    )


def camera_facts(config: Config, info: CameraInfo) -> CameraFacts:
    """Return what the plans need of what the camera says."""
    return CameraFacts(
        exposure_min_us=us(info.exposure_min_s),
        exposure_max_us=us(info.exposure_max_s) or us(3600),
        exposure_resolution_us=max(1, us(info.exposure_resolution_s)),
        max_adu=info.max_adu,
        bit_depth=config.camera.bit_depth,
        saturation_adu=config.flat_capture.saturation_adu,
        bayer=is_bayer(info),
    )


def is_bayer(info: CameraInfo) -> bool:
    """Whether the sensor carries a mosaic of colour filters."""
    return info.sensor_type not in (None, SensorType.MONOCHROME, SensorType.COLOR)


def saturating_lamp(
    config: Config, panel: PanelSettings | None, filters: Iterable[str | None]
) -> SaturatingLight | None:
    """Return the light that saturates the sensor on purpose: the panel at full, behind the widest filter."""
    if panel is None or panel.max_brightness < 1:
        return None
    names = tuple(filters)
    widest = next((name for name in WIDEST if name in names), names[0] if names else None)
    return SaturatingLight(
        brightness=panel.brightness or panel.max_brightness,
        filter=widest,
        other_filter=next((name for name in names if name != widest), None),
        cover=panel.cover,
        max_exposure_us=us(config.flat_capture.max_exposure),
    )
