"""Made-up cameras, apart from the simulator, and a desk that takes what plans ask for from one of them.

A camera has a converter of 12, 14 or 16 bits (left-shifted or not), a gain, a read noise, a pedestal with a pattern,
hot and telegraph pixels, bad columns, a dark current and a glow that follow the temperature, cosmic rays, an afterglow
of flats, vignetting, perhaps a colour mosaic, and a lamp that warms up and is chopped. All of it is healthy.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration import stats
from calibration.checks import PreviousFrame, judge
from calibration.frames import CaptureRequest, Frame, FrameHeader, FrameKind, FrameResult, FrameStats, Limits, Purpose
from calibration.plans.bias import bias_plan
from calibration.plans.dark import dark_plan
from calibration.plans.detector import Detector, SaturationSource
from calibration.plans.flat import flat_plan
from calibration.plans.settings import Darkness, ExposureState, FlatSettings, PanelSettings

START = datetime(2026, 1, 1, tzinfo=UTC)
SET_TEMP_C = -10.0
BIAS_US = 1_000

Plan = Generator[CaptureRequest, tuple[FrameResult, ...], Any]
Map = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """What is wrong with one exposure; the default is nothing.

    `gain` multiplies signal and noise, `noise` the noise alone, `lamp` the light of the panel. `leak_adu` is light from
    the centre to the edge, `shift_adu` is added to all pixels.
    """

    gain: float = 1.0
    noise: float = 1.0
    lamp: float = 1.0
    leak_adu: float = 0.0
    shift_adu: float = 0.0


HEALTHY = Odd()


class Camera:
    """A made-up camera; the seed decides on all of it.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng(seed)
        self.bayer = bool(rng.random() < 0.3)
        larger = 1.4 if self.bayer else 1.0  # one plane is measured
        self.shape = int(rng.integers(600, 900) * larger) & ~1, int(rng.integers(700, 1100) * larger) & ~1
        self.bits = int(rng.choice([12, 14, 16]))
        self.step = 2 ** (16 - self.bits) if rng.random() < 0.6 else 1
        self.binned = bool(rng.random() < 0.2)
        self.ceiling = (2**self.bits - 1) * self.step
        self.k = self._gain_adu_e(rng)
        # converters are chosen so that noise is no finer than a third of their step
        self.read_noise = max(float(rng.uniform(1.0, 8.0)) * self.k, 0.35 * self.step) * (2 if self.binned else 1)
        self.pedestal = 6 * self.read_noise + self.ceiling * float(10 ** rng.uniform(-3.0, -1.7))
        self.exposure_s = float(10 ** rng.uniform(-1.5, 2.8))
        y, x = np.mgrid[-1 : 1 : self.shape[0] * 1j, -1 : 1 : self.shape[1] * 1j].astype(np.float32)
        self._make_maps(rng, x, y)
        self.leak_shape = np.maximum(abs(x), abs(y)) if rng.random() < 0.5 else np.hypot(x, y)
        self.row_noise = float(rng.uniform(0, 0.3)) * self.read_noise
        self.wander_adu = float(rng.uniform(0, 0.3))
        self.rays_per_s = float(rng.uniform(0, 0.1))
        self.afterglow_adu = float(rng.uniform(0, 1.0)) if rng.random() < 0.3 else 0.0
        self.chopped, self.warm_up = float(rng.uniform(0, 0.002)), float(rng.uniform(-0.005, 0.005))
        self.light_e_s = 0.5 * (self.ceiling - self.pedestal) / self.k / float(rng.uniform(1.0, 4.0))
        self._since_dark = self._since_lit = 0

    def __str__(self) -> str:
        kind = "RGGB" if self.bayer else "mono"
        return (
            f"{kind} {self.bits} bit x{self.step} read noise {self.read_noise:.2f} ADU, K {self.k:.3f} ADU/e, "
            f"pedestal {self.pedestal:.0f}, dark {self.dark_adu:.1f} ADU in {self.exposure_s:.3g} s"
        )

    def _gain_adu_e(self, rng: np.random.Generator) -> float:
        full_well_e, gain = float(rng.uniform(15e3, 90e3)), float(10 ** rng.uniform(0, 0.9))
        return float(self.ceiling / full_well_e * gain)

    def _make_maps(self, rng: np.random.Generator, x: Map, y: Map) -> None:
        """Make what is the same in each frame: patterns of pedestal, dark current and sensitivity."""
        normal = rng.standard_normal
        self.pattern = normal(self.shape, dtype=np.float32) * rng.uniform(0.1, 0.8) * self.read_noise
        self.columns = normal(self.shape[1], dtype=np.float32) * rng.uniform(0, 0.5) * self.read_noise
        self.columns = self.columns + rng.uniform(-2, 2) * y
        self.telegraph = np.nonzero(rng.random(self.shape, dtype=np.float32) < rng.uniform(0, 0.01))
        # of a narrow frame one column is more saturated pixels than a flat may have
        self.bad_column = int(rng.integers(self.shape[1])) if rng.random() < 0.3 and self.shape[1] > 800 else None
        # within the exposure at most a tenth of the range, as observers choose it, and no sensor makes more in a second
        most_e = min(0.1 * (self.ceiling - self.pedestal), 4.0 * self.exposure_s) / self.k
        mean_e = min(float(10 ** rng.uniform(-3, 0)) * self.exposure_s, most_e)
        self.dark_adu = mean_e * self.k
        self.dark_e = np.exp(0.3 * normal(self.shape, dtype=np.float32)) * np.float32(mean_e)
        hot = rng.random(self.shape, dtype=np.float32) < rng.uniform(1e-4, 2e-3)
        self.dark_e[hot] *= rng.lognormal(4, 1.5, int(hot.sum())).astype(np.float32)
        corner = np.float32(min(rng.uniform(0, 5) * mean_e, most_e))
        self.dark_e += corner * np.exp(-3 * np.hypot(x - 1, y - 1))
        self.flat = 1 - np.float32(rng.uniform(0, 0.35)) * (x**2 + y**2) / 2
        self.flat = self.flat * (1 + 0.008 * normal(self.shape, dtype=np.float32))
        if self.bayer:
            for (oy, ox), part in zip([(0, 0), (0, 1), (1, 0), (1, 1)], [0.5, 1.0, 1.0, 0.7], strict=True):
                self.flat[oy::2, ox::2] *= np.float32(part)

    def take(self, request: CaptureRequest, *, celsius: float = 0.0, odd: Odd = HEALTHY) -> NDArray[np.uint16]:
        """Return the pixels of one exposure, `celsius` above the set-point."""
        rng = self.rng
        electrons = self._electrons(request, celsius, odd)
        noise = rng.standard_normal(self.shape, dtype=np.float32)
        if electrons is None:
            noise *= np.float32(self.read_noise)
        else:  # shot noise is near enough to normal, and two normal noises are one
            noise *= np.sqrt(np.float32(self.read_noise**2) + np.float32(self.k**2) * electrons)
        noise += np.float32(self.row_noise) * rng.standard_normal((self.shape[0], 1), dtype=np.float32)
        noise[self.telegraph] += rng.choice([-1, 0, 1], self.telegraph[0].size) * np.float32(4 * self.read_noise)
        adu = self.pattern + np.float32(odd.noise) * noise
        if electrons is not None:
            adu += np.float32(self.k) * electrons
        adu *= np.float32(odd.gain)
        adu += self.columns  # the converters' own: behind the amplifier
        adu += np.float32(self.pedestal + odd.shift_adu + rng.normal(0, self.wander_adu))
        if odd.leak_adu:
            adu += np.float32(odd.leak_adu) * self.leak_shape
        if self.bad_column is not None:
            adu[: 3 * self.shape[0] // 4, self.bad_column] = self.ceiling
        adu /= self.step
        np.rint(adu, out=adu)
        adu *= self.step
        digits: NDArray[np.uint16] = np.clip(adu, 0, self.ceiling, out=adu).astype(np.uint16)
        return digits

    def _electrons(self, request: CaptureRequest, celsius: float, odd: Odd) -> Map | None:
        seconds = request.exposure_us / 1e6
        if request.kind is FrameKind.BIAS:
            return None
        electrons: Map = self.dark_e * np.float32(seconds / self.exposure_s * 2 ** (celsius / 6))
        if request.kind is FrameKind.FLAT:
            self._since_lit, self._since_dark = self._since_lit + 1, 0
            lamp = 1 + self.warm_up * np.exp(-self._since_lit / 6) + self.rng.normal(0, self.chopped)
            electrons = electrons + self.flat * np.float32(self.light_e_s * seconds * lamp * odd.lamp)
        else:
            self._since_dark += 1
            glow = np.float32(self.afterglow_adu / self.k * np.exp(-self._since_dark / 4))
            electrons = electrons + glow * self.flat
            self._strike(electrons, seconds)
        return electrons

    def _strike(self, electrons: Map, seconds: float) -> None:
        """Let cosmic rays leave their tracks."""
        for _ in range(int(self.rng.poisson(min(30.0, self.rays_per_s * seconds)))):
            y, x = (int(self.rng.integers(size)) for size in self.shape)
            along = np.arange(int(self.rng.integers(1, 40)))
            slope = self.rng.uniform(-1, 1)
            rows = np.clip((y + slope * along).astype(int), 0, self.shape[0] - 1)
            electrons[rows, np.clip(x + along, 0, self.shape[1] - 1)] += self.rng.uniform(100, 3000)


@dataclass
class Desk:
    """Takes what plans ask for, and judges it with all that the run would know."""

    camera: Camera
    frames: list[FrameResult] = field(default_factory=list)
    """All that was judged, in order."""
    last: tuple[NDArray[Any], FrameResult] | None = None
    reference: FrameResult | None = None
    seconds: float = 0.0

    def drive(self, plan: Plan, *, kept: int | None = None) -> CaptureRequest | None:
        """Take all that a plan asks for, or until so many frames are kept; the request that was under way then."""
        self.reference = None
        answer: tuple[FrameResult, ...] | None = None
        good = 0
        while True:
            try:
                request = next(plan) if answer is None else plan.send(answer)
            except StopIteration:
                return None
            answer = ()
            self.seconds += request.wait_s
            for turn in range(request.count):
                if request.purpose is Purpose.KEEP and good == kept:
                    plan.close()
                    return request
                answer += (self.take(request, first=turn == 0),)
                good += request.purpose is Purpose.KEEP and answer[-1].accepted
                if request.limits.stop_early and not answer[-1].accepted:
                    break
            if request.purpose is Purpose.DISCARD:
                answer = ()

    def take(self, request: CaptureRequest, *, first: bool) -> FrameResult:
        """Take one healthy frame and remember it as the run does."""
        celsius = float(self.camera.rng.uniform(-0.3, 0.3))
        pixels = self.camera.take(request, celsius=celsius)
        self.seconds += request.exposure_us / 1e6 + 0.5
        if request.purpose is Purpose.DISCARD:
            return self.judged(request, pixels, celsius=celsius)
        result = self.judged(request, pixels, celsius=celsius, first=first)
        self.frames.append(result)
        self.last = pixels, result
        if request.purpose is Purpose.KEEP and result.accepted:
            known = self.reference = self.reference or result
            if known.pair_sigma_adu is None and result.pair_sigma_adu is not None:
                self.reference = replace(known, pair_sigma_adu=result.pair_sigma_adu)
        return result

    def judged(
        self,
        request: CaptureRequest,
        pixels: NDArray[Any],
        *,
        celsius: float = 0.0,
        first: bool = False,
        facts: dict[str, Any] | None = None,
        returned_after_s: float | None = None,
    ) -> FrameResult:
        """Judge a frame as the next one of its request, and forget it; `facts` are told by its header."""
        camera, seconds = self.camera, request.exposure_us / 1e6
        header = FrameHeader(
            kind=request.kind,
            shape=(pixels.shape[0], pixels.shape[1]),
            exposure_us=request.exposure_us,
            reported_exposure_us=request.exposure_us,
            bayer_pattern="RGGB" if camera.bayer else None,
            ccd_temp_c=SET_TEMP_C + celsius,
            temp_begin_c=SET_TEMP_C + celsius,
            temp_end_c=SET_TEMP_C + celsius,
        )
        header = replace(header, **(facts or {}))
        measured = stats.measure(
            pixels,
            saturation_adu=camera.ceiling,
            bayer=camera.bayer,
            mid_at=START + timedelta(seconds=self.seconds - seconds / 2),
        )
        previous = self._previous(request, pixels)
        verdicts = judge(
            Frame(header=header, pixels=pixels),
            measured,
            request=request,
            returned_after_s=seconds + 0.3 if returned_after_s is None else returned_after_s,
            previous=previous,
            reference=self.reference,
            expected_shape=camera.shape,
        )
        pair = None if previous is None or first or not previous.accepted else previous.difference_sigma_adu
        return FrameResult(request=request, header=header, stats=measured, verdicts=verdicts, pair_sigma_adu=pair)

    def _previous(self, request: CaptureRequest, pixels: NDArray[Any]) -> PreviousFrame | None:
        if self.last is None or self.last[0].shape != pixels.shape:
            return None
        before, result = self.last
        pair = stats.compare(pixels, before, bayer=self.camera.bayer)
        alike = (request.kind, request.exposure_us) == (result.request.kind, result.request.exposure_us)
        return PreviousFrame(
            stats=result.stats,
            difference_sigma_adu=pair.difference_sigma_adu if alike else None,
            identical_rows=pair.identical_rows,
            accepted=result.accepted,
            pair_sigma_adu=result.pair_sigma_adu,
            ccd_temp_c=result.header.ccd_temp_c,
        )


def plans_of(camera: Camera, *, count: int) -> dict[FrameKind, Callable[[FrameStats | None], Plan]]:
    """Return the plans of a night with a camera, by kind; darks and flats are made from what a bias shows."""
    state = ExposureState(set_temp_c=SET_TEMP_C)
    limits = Limits(saturation_adu=camera.ceiling)

    def biases(bias: FrameStats | None) -> Plan:
        known = limits
        if bias is not None:  # as two earlier nights tell it
            known = replace(limits, pedestal_adu=bias.level_adu, pedestal_tolerance_adu=max(10.0, 3.0 * camera.step))
        return bias_plan(
            state, exposure_us=BIAS_US, count=count, darkness=Darkness(), limits=known, set_id="bias", discard=0
        )

    def darks(bias: FrameStats | None) -> Plan:
        assert bias is not None
        darkness = Darkness(bias_adu=bias.level_adu, bias_gradient_adu=bias.gradient_adu)
        exposure_us = round(camera.exposure_s * 1e6)
        return dark_plan(state, exposure_us=exposure_us, count=count, darkness=darkness, limits=limits, set_id="dark")

    def flats(bias: FrameStats | None) -> Plan:
        assert bias is not None
        detector = Detector(
            bias_adu=bias.level_adu,
            read_sigma_adu=camera.read_noise,
            saturation_adu=camera.ceiling,
            saturation_source=SaturationSource.CONFIGURED,
            step_adu=camera.step,
            bayer=camera.bayer,
        )
        settings = FlatSettings(num_flats=count, start_exposure_us=2_000_000)
        panel = PanelSettings(max_brightness=1)
        return flat_plan(settings, detector, state, filter=None, panel=panel, set_id="flat")

    return {FrameKind.BIAS: biases, FrameKind.DARK: darks, FrameKind.FLAT: flats}
