"""Values of the daemon's section: cron expressions, local days, time zones, addresses, and conditions of the site.

Each is text of one form. The functions here read it; the types accept what the functions read, so that what is wrong
with a value is said with its own place in the file.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache
from ipaddress import ip_address
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from services.config.values import Text
from services.words import count

_ADDRESS = re.compile(r"\[([0-9a-fA-F:.]+)\]:([0-9]{1,5})|([^\s:/\[\]@]+):([0-9]{1,5})")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PREFIX = re.compile(r"|(/[A-Za-z0-9._~-]+)+")
_BEFORE_A_LEAP_DAY = datetime(2024, 1, 1, tzinfo=UTC)
PLAIN_NEEDS = ("roof_closed", "roof_open", "parked", "not_tracking")
"""Conditions of the site that have no number."""


def firings(cron: str, after: datetime, *, backwards: bool = False) -> CronSim:
    """Return the local times at which a cron expression fires, from one on, forwards or backwards.

    All of them are without a zone: what becomes of them when clocks change is not CronSim's to say, which loses some
    where a change is half an hour.

    Raises
    ------
    ValueError
        With what is wrong with the expression.
    """
    fields = cron.split()
    if len(fields) != 5:
        raise ValueError(f"it has {count(len(fields), 'field')}")
    try:
        return CronSim(cron, after.replace(tzinfo=None), reverse=backwards)
    except CronSimError as error:
        raise ValueError(str(error)) from None
    except (ValueError, AssertionError, TypeError, LookupError, OverflowError):  # CronSim has no error of its own
        raise ValueError("it cannot be read") from None


def days_of(blackout: str) -> tuple[date, date]:
    """Return the first and the last day of a blackout; raises ValueError."""
    first, _, last = (part.strip() for part in blackout.partition("/"))
    if not all(_DAY.fullmatch(day) for day in (first, last or first)):
        raise ValueError
    try:
        days = date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError:
        raise ValueError("there is no such day") from None
    if days[1] < days[0]:
        raise ValueError("the first day comes first")
    return days


class ComputersZone(tzinfo):
    """The time zone that the computer is set to, with its changes of the year, whatever its name is."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        """Return what local time is ahead of UTC."""
        return None if at is None else at.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, _at: datetime | None) -> timedelta | None:
        """Return None: nobody asks for it."""
        return None

    def tzname(self, at: datetime | None) -> str | None:
        """Return the abbreviation of the zone."""
        return None if at is None else at.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, at: datetime) -> datetime:
        """Return the local time of a moment whose numbers are those of UTC."""
        return datetime.fromtimestamp(at.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)  # noqa: DTZ006


@cache
def zone(name: str | None) -> tzinfo:
    """Return a time zone by its name, the computer's for None; raises ValueError."""
    if name is None:
        return ComputersZone()
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise ValueError("no time zone of this name is known here") from None


def listened(listen: str) -> tuple[str, int]:
    """Return address and port that are listened on; raises ValueError."""
    found = _ADDRESS.fullmatch(listen)
    if found is None:
        raise ValueError
    host, port = found[1] or found[3], int(found[2] or found[4])
    if port > 65_535:
        raise ValueError("a port is a number up to 65535, 0 for a free one")
    if found[1] or re.fullmatch(r"[0-9.]+", host):
        ip_address(host)
    return host, port


def is_loopback(listen: str) -> bool:
    """Whether only programs of this computer reach an address."""
    host = listened(listen)[0]
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def sun_below_deg(need: str) -> float | None:
    """Return the altitude of a `sun_below`, None for a condition of another kind; raises ValueError."""
    word, colon, number = need.partition(":")
    if word != "sun_below" or not colon:
        if need not in PLAIN_NEEDS:
            raise ValueError
        return None
    degrees = float(number)
    if not -90 <= degrees <= 90:
        raise ValueError("an altitude is a number from -90 to 90")
    return degrees


def _fires(cron: str) -> None:
    if next(firings(cron, _BEFORE_A_LEAP_DAY), None) is None:
        raise ValueError("it never fires")


def _prefix(text: str) -> None:
    if not _PREFIX.fullmatch(text):
        raise ValueError


def _form(reads: Callable[[str], object], allowed: str) -> Any:
    """Return what makes of a text the type of those that a function reads; its own words go into the message."""

    def checked(value: str) -> str:
        try:
            reads(value)
        except ValueError as error:
            why = f" ({error})" if type(error) is ValueError and error.args and "could not" not in str(error) else ""
            raise PydanticCustomError("not_of_this_form", "not of this form", {"allowed": allowed + why}) from None
        return value

    return AfterValidator(checked), Field(json_schema_extra={"x-allowed": allowed})


_FIVE = "five fields in quotation marks: minute hour day month weekday, for example '0 10 * * *'"
_CRON = _form(_fires, _FIVE)
_DAYS = _form(days_of, "a day such as 2026-12-24, or two with / between: 2026-12-24/2026-12-26")
_ZONE = _form(zone, "the name of a time zone, such as Europe/Berlin or UTC")
_LISTEN = _form(listened, "an address and a port, such as 127.0.0.1:8642 or '[::1]:8642'")
_NEED = _form(sun_below_deg, f"{', '.join(PLAIN_NEEDS)} or sun_below:DEGREES")
_PATH = _form(_prefix, "nothing, or a path such as /nightcal, without a / at its end")

Cron = Annotated[Text, _CRON[0], _CRON[1]]
Blackout = Annotated[Text, _DAYS[0], _DAYS[1]]
ZoneName = Annotated[Text, _ZONE[0], _ZONE[1]]
Listen = Annotated[Text, _LISTEN[0], _LISTEN[1]]
Need = Annotated[Text, _NEED[0], _NEED[1]]
Prefix = Annotated[str, _PATH[0], _PATH[1]]
