"""Random sensors and lamps for the flat search: small images with shot noise, through the real statistics and checks.

A camera here is a function from a request to frames, on a clock that only exposures, readout and waits advance. The
truth is known, so it can be said afterwards whether a search aimed where it should have.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np

from calibration import checks, stats
from calibration.frames import CaptureRequest, Frame, FrameHeader, FrameKind, FrameResult, Purpose
from calibration.plans.detector import CameraFacts, SaturatingLight
from calibration.plans.settings import PanelSettings, Plan

R = TypeVar("R")
SHAPE = (48, 64)
BEGIN = datetime(2026, 1, 15, 18, 0, tzinfo=UTC)
READOUT_S = 1.0


class LampKind(StrEnum):
    STEADY = "steady"
    WARMING = "warm-up"
    PWM = "PWM"


@dataclass(frozen=True, kw_only=True)
class Light:
    """A lamp. `needed_s` at full brightness brings the sensor to half its range."""

    kind: LampKind = LampKind.STEADY
    needed_s: float = 1.0
    max_brightness: int = 1
    gamma: float = 1.0
    amplitude: float = 0.0
    tau_s: float = 60.0
    period_s: float = 0.005
    controlled: bool = True

    def collected_s(self, start_s: float, exposure_s: float, brightness: int) -> float:
        """Seconds at full brightness that an exposure is worth; the lamp was lit at time 0."""
        share = (brightness / self.max_brightness) ** self.gamma
        if self.kind is LampKind.WARMING:
            fading = math.exp(-start_s / self.tau_s) - math.exp(-(start_s + exposure_s) / self.tau_s)
            return share * (exposure_s + self.amplitude * self.tau_s * fading)
        if self.kind is LampKind.PWM:  # on for a share of each period; an on/off lamp is mains-driven, half on
            duty = share if self.max_brightness > 1 else 0.5
            on = self._on_s(start_s + exposure_s, duty) - self._on_s(start_s, duty)
            return on / duty * share
        return share * exposure_s

    def _on_s(self, until_s: float, duty: float) -> float:
        turns, rest = divmod(until_s, self.period_s)
        return duty * self.period_s * turns + min(rest, duty * self.period_s)


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """A sensor with a converter of `bits`, all levels in ADU before the left shift."""

    bits: int = 16
    shift: int = 0
    bias_adu: float = 500.0
    read_adu: float = 3.0
    k_adu_e: float = 1.0
    well: float = 1.0
    max_adu: int = 65535
    bayer: bool = False
    exposure_min_us: int = 100

    @property
    def clip_adu(self) -> float:
        """Where it saturates: the converter's end, or a full well below it."""
        return min(self.bias_adu + self.well * (2**self.bits - 1), 2**self.bits - 1)

    def true_target_adu(self, fraction: float) -> float:
        return (self.bias_adu + fraction * (self.clip_adu - self.bias_adu)) * 2**self.shift


@dataclass
class SmallCamera:
    """Answers requests of plans with small images. Everything random is drawn from `seed`."""

    sensor: Sensor
    light: Light
    seed: int
    ambient: bool = False
    dark_adu_s: float = 0.0
    leak_adu_s: float = 0.0
    now_s: float = 0.0
    lit_at_s: float | None = None
    requests: list[CaptureRequest] = field(default_factory=list)
    taken: list[FrameResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        radius2 = ((y - 23.5) / 24) ** 2 + ((x - 31.5) / 32) ** 2
        self.field = (1 - 0.15 * radius2) * self.rng.normal(1.0, 0.005, SHAPE)
        if self.sensor.bayer:
            self.field[0::2, 0::2] *= 0.55
            self.field[1::2, 1::2] *= 0.65
        # level of the brightest plane in the middle, per unit of field
        middle = self.field[12:36, 16:48]
        self.unit = float(np.median(middle[0::2, 1::2] if self.sensor.bayer else middle))
        self._reference: FrameResult | None = None
        self._before: tuple[np.ndarray[Any, Any], FrameResult] | None = None

    @property
    def facts(self) -> CameraFacts:
        return CameraFacts(
            exposure_min_us=self.sensor.exposure_min_us,
            exposure_max_us=3_600_000_000,
            max_adu=self.sensor.max_adu,
            bayer=self.sensor.bayer,
        )

    @property
    def panel(self) -> PanelSettings | None:
        return PanelSettings(max_brightness=self.light.max_brightness) if self.light.controlled else None

    @property
    def lamp(self) -> SaturatingLight:
        return SaturatingLight(brightness=self.light.max_brightness if self.light.controlled else None)

    def pixels(self, request: CaptureRequest) -> np.ndarray[Any, Any]:
        """Expose."""
        s, exposure_s = self.sensor, request.exposure_us / 1e6
        signal = np.full(SHAPE, self.dark_adu_s * exposure_s)
        signal += self.leak_adu_s * exposure_s * np.linspace(0, 1, SHAPE[1])
        brightness = request.panel_brightness or (1 if request.kind is FrameKind.FLAT and self.panel is None else 0)
        if brightness:
            self.lit_at_s = self.now_s if self.lit_at_s is None else self.lit_at_s
            worth = self.light.collected_s(self.now_s - self.lit_at_s, exposure_s, brightness)
            half = 0.5 * (s.clip_adu - s.bias_adu)
            signal += half * worth / self.light.needed_s * self.field / self.unit
        electrons = self.rng.poisson(np.minimum(signal / s.k_adu_e, 1e9))
        adu = np.minimum(electrons * s.k_adu_e, s.clip_adu - s.bias_adu) + s.bias_adu
        adu = np.rint(adu + self.rng.normal(0, s.read_adu, SHAPE)).clip(0, 2**s.bits - 1)
        return adu.astype(np.uint16 if s.bits + s.shift <= 16 else np.uint32) << s.shift

    def answer(self, request: CaptureRequest) -> tuple[FrameResult, ...]:
        """Take a request's frames as the runner does, ending early at a refused one if told."""
        self.requests.append(request)
        self.now_s += request.wait_s
        self._before = None
        results: list[FrameResult] = []
        for _ in range(request.count):
            result = self._frame(request)
            self.taken.append(result)
            if request.purpose is not Purpose.DISCARD:
                results.append(result)
            if request.limits.stop_early and not result.accepted:
                break
        return tuple(results)

    def _frame(self, request: CaptureRequest) -> FrameResult:
        exposure_s = request.exposure_us / 1e6
        pixels = self.pixels(request)
        mid_at = BEGIN + timedelta(seconds=self.now_s + exposure_s / 2)
        self.now_s += exposure_s + READOUT_S
        measured = stats.measure(
            pixels, saturation_adu=request.limits.saturation_adu, bayer=self.sensor.bayer, mid_at=mid_at
        )
        pattern = "RGGB" if self.sensor.bayer else None
        header = FrameHeader(kind=request.kind, shape=SHAPE, exposure_us=request.exposure_us, bayer_pattern=pattern)
        previous, pair = None, None
        if self._before is not None:
            both = stats.compare(pixels, self._before[0], bayer=self.sensor.bayer)
            pair = both.difference_sigma_adu
            previous = checks.PreviousFrame(
                stats=self._before[1].stats, difference_sigma_adu=pair, identical_rows=both.identical_rows
            )
        same = self._reference is not None and self._reference.request.exposure_us == request.exposure_us
        verdicts = checks.judge(
            Frame(header=header, pixels=pixels),
            measured,
            request=request,
            previous=previous,
            reference=self._reference if same else None,
        )
        result = FrameResult(request=request, header=header, stats=measured, verdicts=verdicts, pair_sigma_adu=pair)
        self._before = (pixels, result)
        if request.purpose is Purpose.KEEP and result.accepted and not same:
            self._reference = result
        return result


def drive(plan: Plan[R], camera: SmallCamera, *, at_most: int = 2000) -> R:
    """Run a plan to its end; a plan that asks for ever is an error."""
    answer: tuple[FrameResult, ...] | None = None
    for _ in range(at_most):
        try:
            request = plan.send(answer) if answer is not None else next(plan)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        answer = camera.answer(request)
    raise AssertionError(f"the plan asked more than {at_most} times")


def random_cameras(count: int, seed: int) -> Iterator[SmallCamera]:
    """Sensors and lamps of every kind: bits, shift, bias, full well, MaxADU that lies, mosaic, warm-up, PWM."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        bits = int(rng.choice([12, 14, 16]))
        full = 2**bits - 1
        shift = 16 - bits if rng.random() < 0.5 else 0
        well = float(rng.choice([1.0, rng.uniform(0.4, 0.95)]))
        sensor = Sensor(
            bits=bits,
            shift=shift,
            bias_adu=float(full * 10 ** rng.uniform(-3, math.log10(0.05))),
            read_adu=float(rng.uniform(0.5, 4.0)),
            k_adu_e=float(full / 10 ** rng.uniform(math.log10(12_000), math.log10(90_000))),
            well=well,
            max_adu=int(rng.choice([full << shift, 255, 4095, 65535])),
            bayer=bool(rng.random() < 0.3),
            exposure_min_us=int(rng.choice([32, 100, 1000])),
        )
        kind = LampKind(rng.choice(list(LampKind), p=[0.6, 0.2, 0.2]))
        adjustable = bool(rng.random() < 0.5)
        light = Light(
            kind=kind,
            needed_s=float(10 ** rng.uniform(math.log10(0.003), math.log10(8.0))),
            max_brightness=int(rng.choice([100, 255, 1023])) if adjustable else 1,
            gamma=float(rng.uniform(0.8, 2.2)) if adjustable and kind is not LampKind.PWM else 1.0,
            amplitude=float(rng.uniform(0.05, 0.25) * rng.choice([-1, 1])),
            period_s=float(1 / rng.choice([100, 120, 200, 490, 980])),
            controlled=adjustable or bool(rng.random() < 0.7),
        )
        yield SmallCamera(sensor=sensor, light=light, seed=int(rng.integers(2**31)) + number)
