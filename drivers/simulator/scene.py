"""What light reaches the sensor: panel, sky and leaks, through filter and cover, integrated over an exposure.

Devices report changes and their times to the scene (also future ones: a moving wheel arrives later); an exposure's
light is the exact integral over the pieces in between: the lamp's warm-up and its chopped (PWM) light in closed form,
the twilight by Simpson's rule. Light is in electrons on a pixel of response 1.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Generic, TypeVar

from drivers.base import CoverStatus
from drivers.simulator.faults import FaultKind, Faults
from drivers.simulator.params import DomeParameters, ObservatoryParameters, PanelParameters, SkyParameters
from drivers.surroundings import ShutterStatus

V = TypeVar("V")

_KEPT_CHANGES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """The panel's light: `brightness` 0 is off; `lit_at_s` is when it was switched on."""

    brightness: int = 0
    lit_at_s: float = 0.0


class Timeline(Generic[V]):
    """What one thing of the scene is from which moment on, also moments to come."""

    def __init__(self, value: V) -> None:
        self._points: list[tuple[float, V]] = [(-math.inf, value)]
        self.revision = 0

    def change(self, at_s: float, value: V) -> None:
        """Let it be `value` from `at_s` on; what was announced for later is forgotten."""
        self._points = [p for p in self._points if p[0] < at_s][-_KEPT_CHANGES:]
        self._points.append((at_s, value))
        self.revision += 1

    def announce(self, at_s: float, value: V) -> None:
        """Set the value that applies from a later moment on."""
        self._points.append((at_s, value))

    def at(self, t_s: float) -> V:
        """Return what it is at a moment."""
        return next((v for since, v in reversed(self._points) if since <= t_s), self._points[0][1])

    def edges(self, start_s: float, end_s: float) -> list[float]:
        """Return the moments of change between two moments."""
        return [since for since, _ in self._points if start_s < since < end_s]


class Scene:
    """The light of one observatory. Times are seconds since its start; not thread safe by itself.

    Parameters
    ----------
    params : ObservatoryParameters
    started_at : datetime
        The start, in UTC.
    faults : Faults
        For a lamp that drifts, or is brighter or dimmer than it should be.

    Attributes
    ----------
    filter : Timeline of int or None
        Index of the filter in the beam, None between two positions.
    cover : Timeline of CoverStatus
    lamp : Timeline of Lamp
    roof : Timeline of ShutterStatus
        Of a closed one no light of the sky comes in.
    """

    def __init__(self, params: ObservatoryParameters, started_at: datetime, faults: Faults) -> None:
        self._params = params
        self._started_at = started_at
        self._faults = faults
        covered = params.panel is not None and params.panel.has_cover
        self.filter: Timeline[int | None] = Timeline(0)
        self.cover = Timeline(CoverStatus.CLOSED if covered else CoverStatus.NOT_PRESENT)
        self.lamp = Timeline(Lamp())
        self.roof = roof_of(params.dome, has_sky=params.scene.sky is not None)

    @property
    def revision(self) -> int:
        """A number that grows with every change."""
        return sum(thing.revision for thing in (self.filter, self.cover, self.lamp, self.roof))

    def light_e(self, start_s: float, end_s: float) -> float:
        """Return the light through the optics between two moments."""
        things = (self.filter, self.cover, self.lamp, self.roof)
        edges = sorted({edge for thing in things for edge in thing.edges(start_s, end_s)})
        moments = [start_s, *edges, end_s]
        return sum(self._piece(a, b) for a, b in pairwise(moments) if b > a)

    def filter_name(self, at_s: float) -> str | None:
        """Return the name of the filter in the beam, None without a wheel or between positions."""
        wheel, index = self._params.wheel, self.filter.at(at_s)
        return None if wheel is None or index is None else wheel.filters[index].name

    def _piece(self, a: float, b: float) -> float:
        passed = self._throughput(a)
        return passed * (self._panel_e(a, b) + self._sky_e(a, b)) if passed else 0.0

    def _throughput(self, at_s: float) -> float:
        if self._params.wheel is None:
            return 1.0
        index = self.filter.at(at_s)
        return 0.0 if index is None else self._params.wheel.filters[index].throughput

    def _panel_e(self, a: float, b: float) -> float:
        panel, lamp = self._params.panel, self.lamp.at(a)
        if panel is None or lamp.brightness <= 0 or not _seen(panel, self.cover.at(a)):
            return 0.0
        level = lamp.brightness / panel.max_brightness
        return panel.light_e_s * level_time_s(panel, level, a, b, lit_at_s=lamp.lit_at_s) * self._fault((a + b) / 2)

    def _fault(self, at_s: float) -> float:
        """Return what faults make of the lamp's light: a factor."""
        level = self._faults.lasting(FaultKind.LAMP_LEVEL, at_s)
        drift = self._faults.lasting(FaultKind.LAMP_DRIFT, at_s)
        drifted = 1.0 if drift is None else max(0.0, 1 + drift.amount * (at_s - drift.at_s) / 60)
        return drifted if level is None else drifted * level.amount

    def _sky_e(self, a: float, b: float) -> float:
        sky = self._params.scene.sky
        if sky is None or self.cover.at(a) is CoverStatus.CLOSED or self.roof.at(a) is ShutterStatus.CLOSED:
            return 0.0
        early, middle, late = (sky_rate_e_s(sky, self._utc(t)) for t in (a, (a + b) / 2, b))
        return (b - a) * (early + 4 * middle + late) / 6

    def _utc(self, t_s: float) -> datetime:
        return self._started_at + timedelta(seconds=t_s)


def roof_of(dome: DomeParameters | None, *, has_sky: bool) -> Timeline[ShutterStatus]:
    """Return what a roof does by its script; where it has none it stays as the sky says."""
    if dome is None or dome.open is None:
        return Timeline(ShutterStatus.OPEN if has_sky else ShutterStatus.CLOSED)
    roof = Timeline(ShutterStatus.CLOSED)
    for span in dome.open:
        roof.announce(span.from_s, ShutterStatus.OPENING)
        roof.announce(span.from_s + dome.moves_s, ShutterStatus.OPEN)
        roof.announce(span.to_s, ShutterStatus.CLOSING)
        roof.announce(span.to_s + dome.moves_s, ShutterStatus.CLOSED)
    return roof


def _seen(panel: PanelParameters, cover: CoverStatus) -> bool:
    """Return whether the panel's light reaches the telescope."""
    if cover is CoverStatus.NOT_PRESENT:
        return True
    return cover is (CoverStatus.CLOSED if panel.on_cover else CoverStatus.OPEN)


def level_time_s(panel: PanelParameters, level: float, a: float, b: float, *, lit_at_s: float) -> float:
    """Return the integral of the lamp's relative light over [a, b]: level x warm-up, or its chopped equivalent.

    Parameters
    ----------
    level : float
        Brightness over its maximum: the duty cycle where the lamp is chopped.
    """
    tau = panel.warmup_tau_s
    warm = panel.warmup * tau * (math.exp(-(a - lit_at_s) / tau) - math.exp(-(b - lit_at_s) / tau))
    steady = b - a
    excess = (steady + warm) / steady
    if panel.pwm_hz <= 0:
        return level * steady * excess
    return (_on_time(panel.pwm_hz, level, b - lit_at_s) - _on_time(panel.pwm_hz, level, a - lit_at_s)) * excess


def _on_time(frequency_hz: float, duty: float, t_s: float) -> float:
    """Return for how long a chopped lamp has shone in its first `t_s` seconds."""
    periods, rest = divmod(t_s * frequency_hz, 1.0)
    return (periods * duty + min(rest, duty)) / frequency_hz


def sky_rate_e_s(sky: SkyParameters, at: datetime) -> float:
    """Return the sky's light: a fixed number of decades per degree of the sun's depression, then night."""
    altitude = sun_altitude_deg(at, latitude_deg=sky.latitude_deg, longitude_deg=sky.longitude_deg)
    decades = sky.dex_per_degree * min(altitude, 5.0)
    return sky.night_e_s + sky.day_e_s * math.pow(10.0, decades)


def sun_altitude_deg(at: datetime, *, latitude_deg: float, longitude_deg: float) -> float:
    """Return the sun's altitude within about 0.02°, without refraction (low-precision formulae of the Almanac)."""
    days = at.timestamp() / 86_400 - 10_957.5
    anomaly = math.radians(357.528 + 0.9856003 * days)
    longitude = math.radians(280.460 + 0.9856474 * days + 1.915 * math.sin(anomaly) + 0.020 * math.sin(2 * anomaly))
    obliquity = math.radians(23.439 - 4e-7 * days)
    declination = math.asin(math.sin(obliquity) * math.sin(longitude))
    ascension = math.atan2(math.cos(obliquity) * math.sin(longitude), math.cos(longitude))
    sidereal = math.radians(280.46062 + 360.98564737 * days + longitude_deg)
    latitude = math.radians(latitude_deg)
    sine = math.sin(latitude) * math.sin(declination)
    sine += math.cos(latitude) * math.cos(declination) * math.cos(sidereal - ascension)
    return math.degrees(math.asin(max(-1.0, min(1.0, sine))))
