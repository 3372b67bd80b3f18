"""One exposure from its start to its frame: predicted at the start, rendered while it lasts, redone when it must be.

The light, temperature and settings of an exposure are known when it begins, unless somebody intervenes; so the frame
is rendered in the background at once and only waits for the clock. When panel, cover, wheel or cooler were commanded in
between, or the exposure was stopped early, it is rendered again under what really happened.
"""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drivers.simulator.darkroom import Darkroom
from drivers.simulator.device import World
from drivers.simulator.faults import FaultKind, FaultScript
from drivers.simulator.maps import generator
from drivers.simulator.sensor import Conditions

Pixels = NDArray[np.uint16]
_KEPT_RECORDS = 20_000


@dataclass(slots=True)
class Exposing:
    """An exposure under way. `ends_s` is its planned end; `error`, `never` are faults that await it."""

    conditions: Conditions
    light: bool
    starts_s: float
    ends_s: float
    ready_s: float
    revision: int
    frame: "Future[Pixels]"
    error: bool = False
    never: bool = False
    stale: bool = False
    touch_up: FaultScript | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureRecord:
    """What an exposure really was: for comparing frames with the truth."""

    number: int
    light: bool
    conditions: Conditions


class Exposures:
    """Begins, watches and ends exposures; keeps their records and the charge that persists. Called under the lock."""

    def __init__(self, world: World, darkroom: Darkroom) -> None:
        self._world = world
        self._darkroom = darkroom
        self._trapped_e = 0.0
        self._trapped_at_s = 0.0
        self._last_key_us = 0
        self.revision = 0
        self.records: deque[ExposureRecord] = deque(maxlen=_KEPT_RECORDS)

    def begin(self, settings: Conditions, *, duration_s: float, light: bool) -> Exposing:
        """Start one under `settings`, whose light, temperature and time are filled in here."""
        world, t = self._world, self._world.t_s()
        world.faults.exposures += 1
        strike = world.faults.strikes
        heat = strike(FaultKind.HEAT, t)
        if heat is not None:
            world.cooler.warm(t, heat.amount)
        stale = strike(FaultKind.TOO_FAST, t) is not None
        key = self._key(t)
        conditions = self._happening(replace(settings, started_us=key), t, t + duration_s, light=light)
        ends = t if stale else t + duration_s
        return Exposing(
            conditions=conditions,
            light=light,
            starts_s=t,
            ends_s=ends,
            ready_s=ends + (0.0 if stale else world.params.camera.download_s),
            revision=self._seen(),
            frame=self._darkroom.submit(conditions),
            error=strike(FaultKind.EXPOSURE_ERROR, t) is not None,
            never=strike(FaultKind.NEVER_READY, t) is not None,
            stale=stale,
            touch_up=next((f for kind in _TOUCH_UPS if (f := strike(kind, t)) is not None), None),
        )

    def intervene(self) -> None:
        """Know that something besides the scene changed what an exposure under way will be."""
        self.revision += 1

    def stop(self, exposing: Exposing) -> None:
        """End one now; its frame is what it has got."""
        exposing.ends_s = min(exposing.ends_s, self._world.t_s())
        exposing.ready_s = exposing.ends_s + self._world.params.camera.download_s
        exposing.revision = -1

    def check(self, exposing: Exposing) -> None:
        """Render again when the world was changed during an exposure that is over."""
        if exposing.revision != self._seen():
            exposing.revision = self._seen()
            now = self._happening(exposing.conditions, exposing.starts_s, exposing.ends_s, light=exposing.light)
            if now != exposing.conditions and not exposing.stale:
                exposing.conditions, exposing.frame = now, self._darkroom.submit(now)

    def finish(self, exposing: Exposing, previous: Pixels | None) -> Pixels:
        """Return the frame of an exposure whose rendering is done, and remember what it leaves behind."""
        detector, light_e = self._world.params.camera.detector, exposing.conditions.light_e
        decay = np.exp(-max(0.0, exposing.ends_s - self._trapped_at_s) / detector.persistence_tau_s)
        limit = detector.persistence * detector.full_well_e
        self._trapped_e = min(limit, self._trapped_e * decay + detector.persistence * light_e)
        self._trapped_at_s = exposing.ends_s
        number = self._world.faults.exposures
        self.records.append(ExposureRecord(number=number, light=exposing.light, conditions=exposing.conditions))
        if exposing.stale and previous is not None:
            return previous
        pixels = exposing.frame.result()
        return (
            pixels
            if exposing.touch_up is None
            else _touched_up(exposing.touch_up, pixels, previous, detector.full_scale_adu)
        )

    def _key(self, t_s: float) -> int:
        """Return the start in microseconds, later than the last one: noise never repeats, even if the clock stands."""
        key = max(round(self._world.utc(t_s).timestamp() * 1e6), self._last_key_us + 1)
        self._last_key_us = key
        return key

    def _seen(self) -> int:
        return self._world.scene.revision + self.revision

    def _happening(self, c: Conditions, start_s: float, end_s: float, *, light: bool) -> Conditions:
        """Return `c` with the light and temperature between two moments."""
        world, seconds = self._world, end_s - start_s
        detector = world.params.camera.detector
        flickering = world.faults.lasting(FaultKind.LAMP_FLICKER, start_s)
        steady = world.params.panel.flicker if world.params.panel is not None else 0.0
        flicker = steady if flickering is None else flickering.amount
        open_shutter = light or not world.params.camera.has_shutter
        light_e = world.scene.light_e(start_s, end_s) if open_shutter else 0.0
        light_e *= max(0.0, 1 + flicker * generator(world.params.seed, c.started_us, 1 << 31).standard_normal())
        trapped = self._trapped_e * np.exp(-max(0.0, start_s - self._trapped_at_s) / detector.persistence_tau_s)
        released = trapped * -np.expm1(-seconds / detector.persistence_tau_s)
        leak = world.faults.lasting(FaultKind.LIGHT_LEAK, start_s)
        leak_e_s = world.params.scene.leak_e_s + (leak.amount * c.e_per_adu if leak is not None else 0.0)
        return replace(
            c,
            exposure_s=seconds,
            temperature_c=world.cooler.mean_temperature_c(start_s, end_s),
            light_e=float(light_e + released),
            leak_e=leak_e_s * seconds,
            filter=world.scene.filter_name((start_s + end_s) / 2),
        )


_TOUCH_UPS = (
    FaultKind.DUPLICATE_FRAME,
    FaultKind.BLACK_FRAME,
    FaultKind.CONSTANT_FRAME,
    FaultKind.HALF_SATURATED,
    FaultKind.SATURATED_ROW,
)


def _touched_up(fault: FaultScript, pixels: Pixels, previous: Pixels | None, top_adu: int) -> Pixels:
    """Return the frame as a faulty readout delivers it."""
    if fault.kind is FaultKind.DUPLICATE_FRAME:
        return pixels if previous is None or previous.shape != pixels.shape else previous
    if fault.kind is FaultKind.BLACK_FRAME:
        return np.zeros_like(pixels)
    if fault.kind is FaultKind.CONSTANT_FRAME:
        return np.full_like(pixels, int(fault.amount))
    rows = pixels.shape[0]
    first = rows // 2
    last = rows if fault.kind is FaultKind.HALF_SATURATED else first + int(fault.amount)
    pixels[first:last] = top_adu
    return pixels
