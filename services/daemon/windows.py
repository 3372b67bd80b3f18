"""When the daemon may work by itself: windows are intervals, and the question is always "is it open now?".

Nothing is stored and no alarm is set, so that a restart, a suspended computer or a clock that jumps needs no rules: the
next question has the right answer. Cron expressions are read in the zone of `serve.timezone`, with the changes of the
year as Debian's cron has them: what would fire in a skipped hour fires at its end, and what fires at a set hour fires
once in a repeated one. Blackouts are local days.

Everything here is pure. `site` may be None where no window is of the sun; `timezone` is
`services.config.moments.zone(serve.timezone)`; times are aware, and answers are in UTC.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from heapq import heappop, heappush
from itertools import islice

from services.config.models import Config, Site
from services.config.moments import days_of, firings
from services.config.serve import Kind, Serve, Window
from services.observatory.sun import Sun
from services.version import is_credible

_ALWAYS = {"name": "always", "cron": "0 12 * * *", "hours": 25.0, "takes": ("bias", "darks")}
"""From noon to noon, and an hour longer, as the longest day of the year is: always open."""
_CHANGE = timedelta(hours=3)
"""More than a clock is ever changed at once."""
_NEAR = timedelta(days=2)
"""A closing that is further away than this may be said to be this far, and is not looked for any further."""
_STEP = timedelta(hours=1)
_LOOKED_AT = 8
"""So many intervals of each window are looked at for two that are long enough."""
_FAR = timedelta(days=731)
"""What does not open in this time is not said to open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWindow:
    """One interval of a window.

    Attributes
    ----------
    name : str
    opens_at : datetime
        Where a window fires again before it has closed: the last firing.
    closes_at : datetime
        When it closes, or a blackout begins. One that is more than two days away may be later still.
    takes : tuple of str
        `bias`, `darks`, `flats`.
    needs : tuple of str
    is_of_sun : bool
        It is opened and closed by the sun: flats of the sky are taken in no other window.
    """

    name: str
    opens_at: datetime
    closes_at: datetime
    takes: tuple[Kind, ...]
    needs: tuple[str, ...]
    is_of_sun: bool = False


def served(config: Config) -> Serve:
    """Return the section `serve`, with the window that holds where none is configured.

    It is always open for biases and darks, where cover, filter or shutter keep the light out. Where they do not, there
    is none, and work is done by order only. Flats are not taken without a window of their own.
    """
    dark = config.darkness in ("cover", "shutter") or config.darkness.startswith("filter:")
    if config.serve.windows or not dark:
        return config.serve
    return config.serve.model_copy(update={"windows": (Window.model_validate(_ALWAYS),)})


def open_now(now: datetime, serve: Serve, site: Site | None, timezone: tzinfo) -> tuple[OpenWindow, ...]:
    """Return the windows that are open, in the order of the configuration; a clock that cannot be right opens none."""
    if not is_credible(now):
        return ()
    spans = (_around(window, now, site, timezone) for window in serve.windows)
    pieces = (piece for span in spans if span is not None for piece in _pieces(span, serve, timezone))
    return tuple(piece for piece in pieces if piece.opens_at <= now < piece.closes_at)


def next_openings(now: datetime, serve: Serve, site: Site | None, timezone: tzinfo) -> tuple[OpenWindow, ...]:
    """Return the next interval of each window that begins after now, the earliest first.

    Windows that do not open within two years, and those that are open for longer than anybody asks, are left out.
    """
    if not is_credible(now):
        return ()
    found = (next(_openings(window, now, serve, site, timezone), None) for window in serve.windows)
    return tuple(sorted((each for each in found if each is not None), key=lambda each: each.opens_at))


def next_opening(now: datetime, serve: Serve, site: Site | None, timezone: tzinfo) -> OpenWindow | None:
    """Return which interval of any window begins next; None where none does within two years."""
    return next(iter(next_openings(now, serve, site, timezone)), None)


def continued_until(
    began: datetime,
    kind: Kind,
    serve: Serve,
    site: Site | None,
    timezone: tzinfo,
    *,
    least: timedelta = timedelta(),
) -> datetime | None:
    """Return until when a begun set is continued, where no hours are stated: the end of the second window after it.

    Only windows that take its kind count, and of these, if there are two, only those that are open for so long as one
    frame `least` needs. None: there are no two of them within two years.
    """
    after: list[OpenWindow] = []
    for window in serve.windows:
        if kind in window.takes:
            spans = _following(window, began, site, timezone)
            after += islice((piece for span in spans for piece in _pieces(span, serve, timezone)), _LOOKED_AT)
    useful = [each for each in after if each.closes_at - each.opens_at >= least]
    second = sorted(useful if len(useful) > 1 else after, key=lambda each: each.opens_at)[1:2]
    return second[0].closes_at if second else None


def closed_spells(window: Window, now: datetime, site: Site) -> tuple[tuple[datetime, datetime], ...]:
    """Return the spells of the year from now on in which the sun does not come to the altitudes of a window."""
    year, found, last = now + timedelta(days=366), [], now
    for span in _following(window, now, site, UTC):
        if last > year:
            break
        if span.opens_at - last > timedelta(days=2):
            found.append((last, span.opens_at))
        last = span.closes_at
    else:
        found.append((last, year))
    return tuple(found)


def blackout_end(now: datetime, serve: Serve, timezone: tzinfo) -> datetime | None:
    """Return when the blackout ends that holds now, with those that adjoin it; None where none does."""
    end = now
    for first, last in sorted(days_of(each) for each in serve.blackout):
        if first <= end.astimezone(timezone).date() <= last:
            end = _midnight(last + timedelta(days=1), timezone)
    return None if end == now else end


def _midnight(day: date, timezone: tzinfo) -> datetime:
    """Return when a local day begins: where its midnight is skipped, at the end of what is skipped."""
    return datetime.combine(day, time(), timezone).astimezone(UTC)


def _pieces(span: OpenWindow, serve: Serve, timezone: tzinfo) -> Iterator[OpenWindow]:
    """Yield what blackouts leave of an interval."""
    starts = sorted(_midnight(days_of(each)[0], timezone) for each in serve.blackout)
    opens_at = blackout_end(span.opens_at, serve, timezone) or span.opens_at
    while opens_at < span.closes_at:
        closes_at = next((start for start in starts if opens_at < start < span.closes_at), span.closes_at)
        yield replace(span, opens_at=opens_at, closes_at=closes_at)
        opens_at = blackout_end(closes_at, serve, timezone) or span.closes_at


def _openings(
    window: Window, after: datetime, serve: Serve, site: Site | None, timezone: tzinfo
) -> Iterator[OpenWindow]:
    """Yield the intervals of one window that begin after a time, without blackouts."""
    around = _around(window, after, site, timezone)
    if around is not None:
        yield from (piece for piece in _pieces(around, serve, timezone) if piece.opens_at > after)
        after = around.closes_at
        if _around(window, after, site, timezone) is not None:  # open for longer than was looked
            return
    for each in _following(window, after, site, timezone):
        if each.opens_at > after:
            span = _joined(each, window, each.opens_at, timezone)
            yield from _pieces(span, serve, timezone)
            after = span.closes_at


def _around(window: Window, now: datetime, site: Site | None, timezone: tzinfo) -> OpenWindow | None:
    """Return the interval of a window that holds now; None where it is closed. Blackouts are not looked at."""
    if window.cron is None:
        return None if site is None else _sunny(window, now, _sun(site))
    fired = _last_firing(window.cron, now, timezone)
    span = None if fired is None else _fired(window, fired)
    return None if span is None or span.closes_at <= now else _joined(span, window, now, timezone)


def _following(window: Window, after: datetime, site: Site | None, timezone: tzinfo) -> Iterator[OpenWindow]:
    """Yield the intervals of a window that begin after a time, each firing by itself, for two years."""
    if window.cron is not None:
        spans: Iterator[OpenWindow] = (_fired(window, moment) for moment in _firings(window.cron, after, timezone))
    elif site is None:
        return
    else:
        spans = _sunny_days(window, after, _sun(site))
    for span in spans:
        if span.opens_at - after > _FAR:
            return
        if span.opens_at > after:
            yield span


def _span(window: Window, opens_at: datetime, closes_at: datetime) -> OpenWindow:
    return OpenWindow(
        name=window.name,
        opens_at=opens_at,
        closes_at=closes_at,
        takes=window.takes,
        needs=window.needs,
        is_of_sun=window.sun is not None,
    )


def _fired(window: Window, at: datetime) -> OpenWindow:
    return _span(window, at, at + timedelta(hours=window.hours or 0.0))


def _firings(cron: str, after: datetime, timezone: tzinfo) -> Iterator[datetime]:
    """Yield the moments after one at which an expression fires, in UTC; raises nothing that the model did not.

    Local times come in order, and so do their first moments; a second one, of a repeated hour, waits for its turn.
    """
    follows_wall = any(field.startswith("*") for field in cron.split()[:2])
    waiting: list[datetime] = []
    for local in firings(cron, after.astimezone(timezone) - _CHANGE):
        first, *second = _moments(local, timezone, follows_wall=follows_wall) or (None,)
        if first is None:
            continue
        while waiting and waiting[0] < first:
            yield heappop(waiting)
        for moment in (first, *second):
            if moment > after and moment not in waiting:
                heappush(waiting, moment)
    yield from sorted(waiting)


def _moments(local: datetime, timezone: tzinfo, *, follows_wall: bool) -> tuple[datetime, ...]:
    """Return when a local time is, by the rules of Debian's cron.

    A job of set hours and minutes is done at the end of skipped time, and once in repeated time. One that follows the
    clock on the wall is not done in skipped time, and twice in repeated time.
    """
    first, second = (local.replace(tzinfo=timezone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return (first,)
    if first < second:
        return (first, second) if follows_wall else (first,)
    while not follows_wall and first != second:  # skipped
        local += timedelta(minutes=1)
        first, second = (local.replace(tzinfo=timezone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return () if follows_wall else (first,)


def _last_firing(cron: str, now: datetime, timezone: tzinfo) -> datetime | None:
    """Return when an expression last fired, now included."""
    just_after = now.astimezone(timezone) + timedelta(seconds=1)
    local = next(firings(cron, just_after, backwards=True), None)  # may be a moment too early, in repeated time
    if local is None:
        return None
    found = None
    for moment in _firings(cron, local.replace(tzinfo=timezone).astimezone(UTC) - _CHANGE, timezone):
        if moment > now:
            break
        found = moment
    return found


def _joined(span: OpenWindow, window: Window, now: datetime, timezone: tzinfo) -> OpenWindow:
    """Return an interval of a window that fires again before it closes up to where it closes."""
    if window.cron is None:
        return span
    closes_at = span.closes_at
    for moment in _firings(window.cron, span.opens_at, timezone):
        following = _fired(window, moment)
        if following.opens_at > closes_at or closes_at - now > _NEAR:
            break
        closes_at = max(closes_at, following.closes_at)
    return replace(span, closes_at=closes_at)


def _sun(site: Site) -> Sun:
    return Sun(latitude_deg=site.latitude, longitude_deg=site.longitude)


def _bounds(window: Window) -> tuple[float, float, bool]:
    """Return the altitudes at which a window of the sun opens and closes, and whether the sun rises in it."""
    assert window.sun is not None  # noqa: S101 - the model takes a window without cron only with sun
    opens, closes = window.sun
    return opens, closes, (closes > opens if window.half is None else window.half == "morning")


def _sunny(window: Window, now: datetime, sun: Sun) -> OpenWindow | None:
    """Return the interval of a window of the sun that holds now."""
    opens, closes, rises = _bounds(window)
    altitude = sun.altitude_deg(now)
    inside = opens <= altitude < closes if rises else opens >= altitude > closes
    if not inside or sun.is_rising(now) is not rises:
        return None
    start, end = sun.turn(now, step=-_STEP), sun.turn(now, step=_STEP)
    return _inside(window, start, end, sun)


def _inside(window: Window, start: datetime, end: datetime, sun: Sun) -> OpenWindow:
    """Return the whole seconds between two turns of the sun in which it is within the window."""
    opens, closes, _ = _bounds(window)
    up = sun.passes(opens, start, end) + timedelta(seconds=1, microseconds=-1)
    return _span(window, up.replace(microsecond=0), sun.passes(closes, start, end).replace(microsecond=0))


def _sunny_days(window: Window, after: datetime, sun: Sun) -> Iterator[OpenWindow]:
    """Yield the intervals of a window of the sun, from the half day around a time on."""
    _, _, rises = _bounds(window)
    start, limit = sun.turn(after, step=-_STEP), after + _FAR
    while start < limit:
        end = sun.turn(start + timedelta(minutes=2), step=_STEP)
        if sun.is_rising(start + (end - start) / 2) is rises:
            span = _inside(window, start, end, sun)
            if span.opens_at < span.closes_at:
                yield span
        start = end
