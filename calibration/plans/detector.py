"""What flats are aimed by: pedestal, read noise, saturation, step and gain of the detector as it stands.

Saturation is measured wherever a lamp can saturate the sensor, because neither 2^bits nor MaxADU can be trusted
(drivers report 255 or 4095 for 16-bit data, and full wells end below the converter). The rule, in order: configured;
the level that stays behind its exposure; MaxADU where it exceeds everything seen; full scale of the data's own steps.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

from calibration.errors import CalibrationError
from calibration.frames import CaptureRequest, Cover, FrameKind, FrameResult, Purpose
from calibration.plans.ladder import quantise, tidy
from calibration.plans.settings import Darkness, ExposureState, Plan

SHORT_FRAMES = 3
CLIMB_START_US = 20_000
CLIMB_FACTOR = 5
CONFIRM_FACTOR = 3
STANDSTILL = 0.1
"""A clipped level moves by less than this when the exposure changes by that factor."""
CLIPPED_ABOVE = 0.15
"""No pixel exceeds a clipped level by more than this: wells differ by a few per cent, lit pixels by more."""
DARK_FRACTION = 0.002
"""A lamp at its brightest that gives less than this part of what 16 bits hold gives none."""
CLIPPED = 0.5
"""A signal that grew by less than this part of its exposure's growth may be clipped: no sensor bends so far."""


class SaturationSource(StrEnum):
    """Where a saturation level is from, the best first."""

    CONFIGURED = "configured"
    MEASURED = "measured"
    MAXADU = "maxadu"
    BITS = "bits"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFacts:
    """What the camera says of itself that a plan needs.

    Attributes
    ----------
    exposure_min_us, exposure_max_us, exposure_resolution_us : int
    max_adu : int, optional
        ICamera.MaxADU; not trusted.
    bit_depth : int, optional
        Of the converter, when the configuration names it.
    saturation_adu : float, optional
        When the configuration names it.
    bayer : bool
    shortest_us : int, optional
        Shortest exposure to be used for the pedestal where the sensor misbehaves at its minimum (0.2 s is safe).
    """

    exposure_min_us: int
    exposure_max_us: int
    exposure_resolution_us: int = 1
    max_adu: int | None = None
    bit_depth: int | None = None
    saturation_adu: float | None = None
    bayer: bool = False
    shortest_us: int | None = None

    @property
    def pedestal_exposure_us(self) -> int:
        """The shortest exposure fit for measuring the pedestal."""
        return quantise(max(self.exposure_min_us, self.shortest_us or 0), self.exposure_resolution_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturatingLight:
    """Light for saturating the sensor on purpose: the widest filter, the panel at its brightest.

    Attributes
    ----------
    brightness : int, optional
        None: light that nobody controls, but that is on.
    filter : str, optional
    other_filter : str, optional
        Looked through where nothing is seen through the first.
    cover : Cover
    max_exposure_us : int
        Longest exposure tried; it may exceed that of the flats, as it is taken once.
    """

    brightness: int | None = None
    filter: str | None = None
    other_filter: str | None = None
    cover: Cover = Cover.LEAVE
    max_exposure_us: int = 60_000_000

    @property
    def otherwise(self) -> "SaturatingLight":
        """The same light asked for differently: a filter may be opaque, and a panel may have lost one command."""
        dimmer = self.brightness if self.brightness is None else max(1, self.brightness - 1)
        return replace(self, brightness=dimmer, filter=self.other_filter or self.filter)


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkestLight:
    """Frames in which a lamp was to be seen and was not: the level of the last, and the filters they looked through."""

    level_adu: float
    exposure_us: int
    brightness: int | None
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LampSeen:
    """The light of a lamp at one brightness through one filter, in ADU per second above the pedestal."""

    filter: str | None
    brightness: int
    rate_adu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """The detector as measured, in ADU.

    `k_adu_e` is the system gain K in ADU per electron (None: not measured), `darkest` is given where no light was seen,
    `lamp` where the light of a lamp could be measured.
    """

    bias_adu: float
    read_sigma_adu: float
    saturation_adu: float
    saturation_source: SaturationSource
    step_adu: int = 1
    k_adu_e: float | None = None
    darkest: DarkestLight | None = None
    lamp: LampSeen | None = None
    exposure_min_us: int = 1
    exposure_max_us: int = 3_600_000_000
    exposure_resolution_us: int = 1
    bayer: bool = False
    max_adu: int | None = None

    @property
    def range_adu(self) -> float:
        """From pedestal to saturation."""
        return self.saturation_adu - self.bias_adu

    @property
    def max_adu_wrong(self) -> bool:
        """Whether the camera's MaxADU is more than 2 % from where it saturates."""
        return self.max_adu is not None and abs(self.max_adu - self.saturation_adu) > 0.02 * self.saturation_adu

    def target_adu(self, fraction: float) -> float:
        """Return the level at `fraction` of the way from pedestal to saturation."""
        return self.bias_adu + fraction * self.range_adu

    def clipped_at(self, level_adu: float) -> "Detector":
        """Return this detector with a saturation seen in its own frames."""
        return replace(self, saturation_adu=level_adu, saturation_source=SaturationSource.MEASURED)

    def having_seen(self, value_adu: float) -> "Detector":
        """Return this detector after a pixel of this value: one above MaxADU proves MaxADU wrong."""
        believed = self.saturation_source in (SaturationSource.MAXADU, SaturationSource.BITS)
        if not believed or value_adu <= self.saturation_adu:
            return self
        return replace(
            self,
            saturation_adu=max(value_adu, full_scale(step_adu=self.step_adu, seen_adu=value_adu)),
            saturation_source=SaturationSource.BITS,
        )


def full_scale(*, step_adu: int, seen_adu: float, bit_depth: int | None = None) -> float:
    """Return the highest value the data's steps allow: (2^bits - 1) x step, in 16 (or 32) bits when bits are unknown.

    A step above 1 is the left shift of a converter with fewer bits than the data type.
    """
    if bit_depth is not None and (2**bit_depth - 1) * step_adu >= seen_adu:
        return float((2**bit_depth - 1) * step_adu)
    container = 2**16 if seen_adu < 2**16 else 2**32
    return float(container - step_adu)


def saturation_of(
    facts: CameraFacts, *, bias_adu: float, seen_adu: float, step_adu: int, clip_adu: float | None
) -> tuple[float, SaturationSource]:
    """Return the saturation level and where it is from, by the rule of this module's head."""
    if facts.saturation_adu is not None:
        return facts.saturation_adu, SaturationSource.CONFIGURED
    if clip_adu is not None:
        return clip_adu, SaturationSource.MEASURED
    if facts.max_adu is not None and facts.max_adu > max(bias_adu, seen_adu):
        return float(facts.max_adu), SaturationSource.MAXADU
    return full_scale(step_adu=step_adu, seen_adu=seen_adu, bit_depth=facts.bit_depth), SaturationSource.BITS


def measure_detector(
    state: ExposureState, facts: CameraFacts, darkness: Darkness, *, lamp: SaturatingLight | None = None
) -> Plan[Detector]:
    """Measure the detector in these settings: short darks, and with a lamp flats up to saturation and three equal ones.

    Parameters
    ----------
    state : ExposureState
    facts : CameraFacts
    darkness : Darkness
        How it is made dark.
    lamp : SaturatingLight, optional
        Lets the sensor be saturated on purpose; None where there is no light, or where saturation is configured.

    Returns
    -------
    Detector

    Raises
    ------
    CalibrationError
        Not one of the short darks came back.
    """
    shorts = yield from _shorts(state, facts, darkness)
    bias_adu = median(r.stats.level_adu for r in shorts)
    read_sigma_adu = noise_of(shorts)
    flats: tuple[FrameResult, ...] = ()
    clip_adu = None
    if lamp is not None:
        flats, clip_adu = yield from _climb(state, facts, lamp, bias_adu, read_sigma_adu)
        if flats and not _is_lit(flats[-1], bias_adu, read_sigma_adu):
            flats += yield _lit(state, lamp.otherwise, flats[-1].request.exposure_us)
    seen = (*shorts, *flats)
    step_adu = math.gcd(*(r.stats.step_adu for r in seen)) or 1
    saturation_adu, source = saturation_of(
        facts,
        bias_adu=bias_adu,
        seen_adu=max(r.stats.max_adu for r in seen),
        step_adu=step_adu,
        clip_adu=clip_adu,
    )
    found = Detector(
        bias_adu=bias_adu,
        read_sigma_adu=read_sigma_adu,
        saturation_adu=saturation_adu,
        saturation_source=source,
        step_adu=step_adu,
        exposure_min_us=facts.exposure_min_us,
        exposure_max_us=facts.exposure_max_us,
        exposure_resolution_us=facts.exposure_resolution_us,
        bayer=facts.bayer,
        max_adu=facts.max_adu,
    )
    if lamp is None:
        return found
    if flats and flats[-1].accepted and not _is_lit(flats[-1], bias_adu, read_sigma_adu):
        return replace(found, darkest=_darkest(flats))
    k_adu_e = yield from _gain(state, found, lamp, flats)
    return replace(found, k_adu_e=k_adu_e, lamp=_lamp_seen(found, flats))


def noise_of(results: tuple[FrameResult, ...]) -> float:
    """Return the temporal sigma of equal frames in ADU: from differences where known, else the spatial sigma."""
    pairs = [r.pair_sigma_adu for r in results if r.pair_sigma_adu is not None]
    return median(pairs) if pairs else median(r.stats.sigma_adu for r in results)


def _shorts(state: ExposureState, facts: CameraFacts, darkness: Darkness) -> Plan[tuple[FrameResult, ...]]:
    exposure_us = facts.pedestal_exposure_us
    request = state.request(
        FrameKind.BIAS, Purpose.TEST, exposure_us, count=SHORT_FRAMES, filter=darkness.filter, cover=darkness.cover
    )
    for _ in range(2):
        results = yield request
        if results:
            return results
    raise CalibrationError(f"no frame of {exposure_us} µs came back: the pedestal is not known")


def _climb(
    state: ExposureState, facts: CameraFacts, lamp: SaturatingLight, bias_adu: float, read_sigma_adu: float
) -> Plan[tuple[tuple[FrameResult, ...], float | None]]:
    """Expose longer and longer until the level stands still: the flats, and that level in ADU (None: it still rose).

    A level that falls behind is not yet a clipped one, a chopped lamp does that too: it has to be the same in a longer
    exposure (in a shorter one, where that was the longest), with no pixel far above it.
    """
    longest = min(lamp.max_exposure_us, facts.exposure_max_us)
    exposure_us = min(max(CLIMB_START_US, facts.exposure_min_us), longest)
    taken: tuple[FrameResult, ...] = ()
    while True:
        taken += yield _lit(state, lamp, quantise(exposure_us, facts.exposure_resolution_us))
        if _behind(taken, bias_adu, read_sigma_adu):
            longer = CONFIRM_FACTOR * exposure_us <= longest
            other_us = exposure_us * CONFIRM_FACTOR if longer else exposure_us // CONFIRM_FACTOR
            taken += yield _lit(state, lamp, quantise(other_us, facts.exposure_resolution_us))
            if _stands_still(taken, bias_adu):
                return taken, taken[-1].stats.level_adu
            exposure_us = max(exposure_us, other_us)
        if exposure_us >= longest:
            return taken, None
        exposure_us = min(exposure_us * CLIMB_FACTOR, longest)


def _lit(state: ExposureState, lamp: SaturatingLight, exposure_us: int, count: int = 1) -> CaptureRequest:
    return state.request(
        FrameKind.FLAT,
        Purpose.TEST,
        exposure_us,
        count=count,
        filter=lamp.filter,
        panel_brightness=lamp.brightness,
        cover=lamp.cover,
    )


def _is_lit(flat: FrameResult, bias_adu: float, read_sigma_adu: float) -> bool:
    """Whether a frame shows more than the dark: five times the noise, and a part of the range that 16 bits have."""
    return flat.stats.level_adu - bias_adu >= max(5 * read_sigma_adu, DARK_FRACTION * 2**16)


def _darkest(flats: tuple[FrameResult, ...]) -> DarkestLight:
    last = flats[-1].request
    return DarkestLight(
        level_adu=flats[-1].stats.level_adu,
        exposure_us=last.exposure_us,
        brightness=last.panel_brightness,
        filters=tuple(dict.fromkeys(r.request.filter for r in flats if r.request.filter is not None)),
    )


def _behind(flats: tuple[FrameResult, ...], bias_adu: float, read_sigma_adu: float) -> bool:
    """Whether the last flat is far below what the one before predicts."""
    if len(flats) < 2:
        return False
    before, last = flats[-2:]
    longer = last.request.exposure_us / before.request.exposure_us
    signal, base = last.stats.level_adu - bias_adu, before.stats.level_adu - bias_adu
    lit = base > 0 and signal > 20 * max(read_sigma_adu, last.stats.step_adu)
    return lit and signal < CLIPPED * longer * base


def _stands_still(flats: tuple[FrameResult, ...], bias_adu: float) -> bool:
    """Whether the last flat, of another exposure, has the level of the one before, at the top of its histogram."""
    before, last = (r.stats.level_adu - bias_adu for r in flats[-2:])
    top = flats[-1].stats.max_adu - bias_adu
    return abs(last / before - 1) < STANDSTILL and top < (1 + CLIPPED_ABOVE) * last


def _gain(
    state: ExposureState, found: Detector, lamp: SaturatingLight, flats: tuple[FrameResult, ...]
) -> Plan[float | None]:
    """Return K = (sigma^2 - sigma_read^2) / signal of equal flats near 40 % of the range (photon transfer)."""
    near = _rising(found, flats)
    if near is None:
        return None
    aim = 0.4 * found.range_adu / (near.stats.level_adu - found.bias_adu) * near.request.exposure_us
    exposure_us = tidy(min(max(aim, found.exposure_min_us), lamp.max_exposure_us), found.exposure_resolution_us)
    results = yield _lit(state, lamp, exposure_us, count=3)
    return photon_gain(results, found)


def _rising(found: Detector, flats: tuple[FrameResult, ...]) -> FrameResult | None:
    """Return the last flat that is neither faint nor saturated."""
    fitting = [r for r in flats if 0.01 < (r.stats.level_adu - found.bias_adu) / found.range_adu < 0.9]
    return fitting[-1] if fitting else None


def _lamp_seen(found: Detector, flats: tuple[FrameResult, ...]) -> LampSeen | None:
    near = _rising(found, flats)
    if near is None or near.request.panel_brightness is None:
        return None
    rate_adu_s = (near.stats.level_adu - found.bias_adu) / (near.request.exposure_us / 1e6)
    return LampSeen(filter=near.request.filter, brightness=near.request.panel_brightness, rate_adu_s=rate_adu_s)


def photon_gain(results: tuple[FrameResult, ...], detector: Detector) -> float | None:
    """Return K in ADU per electron from equal flats, None where differences were not measured or carry no signal."""
    pairs = [r.pair_sigma_adu for r in results if r.pair_sigma_adu is not None]
    signal = median(r.stats.level_adu for r in results) - detector.bias_adu if results else 0.0
    if not pairs or signal <= 0:
        return None
    variance = median(pairs) ** 2 - detector.read_sigma_adu**2
    return variance / signal if variance > 0 else None
