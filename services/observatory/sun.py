"""Where the sun stands, to 0.02°: enough for "is it day?" and for twilight windows, without tables or downloads."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)


def sun_altitude_deg(at: datetime, *, latitude_deg: float, longitude_deg: float) -> float:
    """Return the altitude of the sun's centre, without refraction.

    Parameters
    ----------
    at : datetime
        Aware.
    latitude_deg, longitude_deg : float
        Of the site; east is positive.

    Notes
    -----
    Low-precision formulae of the Astronomical Almanac, page C5: 0.01° in position between 1950 and 2050.
    """
    days = (at - _J2000).total_seconds() / 86_400
    anomaly = math.radians((357.528 + 0.9856003 * days) % 360)
    longitude = (280.460 + 0.9856474 * days) % 360 + 1.915 * math.sin(anomaly) + 0.020 * math.sin(2 * anomaly)
    ecliptic = math.radians(longitude)
    obliquity = math.radians(23.439 - 0.0000004 * days)
    declination = math.asin(math.sin(obliquity) * math.sin(ecliptic))
    right_ascension = math.atan2(math.cos(obliquity) * math.sin(ecliptic), math.cos(ecliptic))
    sidereal = math.radians((280.46062 + 360.98564737 * days + longitude_deg) % 360)
    hour_angle = sidereal - right_ascension
    latitude = math.radians(latitude_deg)
    sine = math.sin(latitude) * math.sin(declination)
    sine += math.cos(latitude) * math.cos(declination) * math.cos(hour_angle)
    return math.degrees(math.asin(max(-1.0, min(1.0, sine))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sun:
    """The sun as one site sees it; latitude and longitude in degrees, east is positive."""

    latitude_deg: float
    longitude_deg: float

    def altitude_deg(self, at: datetime) -> float:
        """Return the altitude of the sun's centre, without refraction."""
        return sun_altitude_deg(at, latitude_deg=self.latitude_deg, longitude_deg=self.longitude_deg)

    def is_rising(self, at: datetime) -> bool:
        """Whether the sun is rising; it is not between its highest point and its lowest."""
        return self.altitude_deg(at + _MOMENT) > self.altitude_deg(at - _MOMENT)

    def turn(self, at: datetime, *, step: timedelta = timedelta(hours=1)) -> datetime:
        """Return when the sun next stands at its highest or lowest; with a negative step: when it last did.

        Near the poles, where it climbs and sinks for half a year, the search ends after 200 days.
        """
        rising, low = self.is_rising(at), at
        for _ in range(200 * 24):
            high = low + step
            if self.is_rising(high) is not rising:
                return _halved(lambda moment: self.is_rising(moment) is rising, low, high)
            low = high
        return low

    def passes(self, altitude_deg: float, start: datetime, end: datetime) -> datetime:
        """Return when the sun passes an altitude between two turns; one of them if it does not."""
        rising = self.altitude_deg(end) > self.altitude_deg(start)

        def is_before(moment: datetime) -> bool:
            return self.altitude_deg(moment) < altitude_deg if rising else self.altitude_deg(moment) > altitude_deg

        if not is_before(start):
            return start
        return end if is_before(end) else _halved(is_before, start, end)


_MOMENT = timedelta(seconds=30)
_EXACT = timedelta(microseconds=4)


def _halved(before: Callable[[datetime], bool], low: datetime, high: datetime) -> datetime:
    """Return where what holds at `low`, and not at `high`, ends: a moment after it."""
    while abs(high - low) > _EXACT:
        middle = low + (high - low) / 2
        low, high = (middle, high) if before(middle) else (low, middle)
    return high


def next_sunrise(after: datetime, *, latitude_deg: float, longitude_deg: float) -> datetime | None:
    """Return when the upper limb next rises (altitude -0.833°), to a second; None when it does not within 24 h."""

    def up(at: datetime) -> bool:
        return sun_altitude_deg(at, latitude_deg=latitude_deg, longitude_deg=longitude_deg) > -0.833

    step = timedelta(minutes=10)
    low = after
    for _ in range(24 * 6):
        high = low + step
        if not up(low) and up(high):
            break
        low = high
    else:
        return None
    return _halved(lambda at: not up(at), low, high)
