"""Whether it is day, for covers that are opened by night only."""

from drivers.clock import Clock
from services.config.models import Site
from services.errors import RunCode
from services.events.bus import Events
from services.events.records import WarningRaised
from services.observatory.sun import sun_altitude_deg
from services.version import is_credible


class Daylight:
    """What is known of the sun.

    Parameters
    ----------
    site : Site or None
    clock, events
    """

    def __init__(self, site: Site | None, *, clock: Clock, events: Events) -> None:
        self._site = site
        self._clock = clock
        self._events = events
        self._warned = False

    def is_day(self) -> bool:
        """Whether the sun is up; False where nobody knows, which is warned of once.

        A clock that cannot be right says that it is day: it is no leave to open a cover.
        """
        now = self._clock.now()
        if self._site is None:
            if not self._warned:
                self._warned = True
                detail = "a cover is opened, and without `site` nobody knows whether the sun is up"
                self._events.emit(WarningRaised(code=RunCode.NO_SITE.value, detail=detail))
            return False
        latitude_deg, longitude_deg = self._site.latitude, self._site.longitude
        up = sun_altitude_deg(now, latitude_deg=latitude_deg, longitude_deg=longitude_deg) > 0.0
        return up or not is_credible(now)
