"""Where the sun stands, to 0.02°: enough for "is it day?" and for twilight windows, without tables or downloads."""

import math
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
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (low, middle) if up(middle) else (middle, high)
    return high
