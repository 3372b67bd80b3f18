"""What windows mean for a run that may begin now: which are open, why none is, and until when it may last.

Pure. `windows` knows when each one is open; here that becomes what the daemon does and says.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from services.config.models import Config
from services.config.moments import zone
from services.daemon.parts import Begin, Nothing
from services.daemon.reconciler import TAKEN_AS
from services.daemon.windows import OpenWindow, blackout_end, next_opening, next_openings, open_now, served
from services.planning.wanted_master import WantedMaster
from services.words import both_clocks, some


def windows_open(config: Config, now: datetime) -> tuple[OpenWindow, ...]:
    """Return the windows that are open."""
    return open_now(now, served(config), config.site, zone(config.serve.timezone))


def opens_next(config: Config, now: datetime) -> OpenWindow | None:
    """Return which window opens next."""
    return next_opening(now, served(config), config.site, zone(config.serve.timezone))


def why_closed(
    config: Config, now: datetime, *, windows: Collection[OpenWindow], over: Mapping[str, datetime]
) -> Nothing | None:
    """Return why no run may be begun by the windows, where none may.

    Parameters
    ----------
    config : Config
    now : datetime
    windows : collection of OpenWindow
        Those in which one may.
    over : mapping
        Names of those that are open and over, and until when.
    """
    if (end := blackout_end(now, config.serve, zone(config.serve.timezone))) is not None:
        return Nothing(reason="blackout", detail="serve.blackout names this day", until=end)
    if windows:
        return None
    opens = opens_next(config, now)
    if over:
        until = min((*over.values(), *([] if opens is None else [opens.opens_at])))
        names = f"window{'s' if len(over) > 1 else ''} {some(sorted(over))}"
        detail = f"the run of the {names} was ended by order"
        return Nothing(reason="outside_windows", detail=detail, until=until)
    if opens is None:
        return Nothing(reason="outside_windows", detail="no window opens: work is done by order alone")
    at = both_clocks(opens.opens_at, "%Y-%m-%d %H:%M")
    return Nothing(reason="outside_windows", detail=f"the window {opens.name} opens at {at}", until=opens.opens_at)


def making_room(
    choice: Begin, config: Config, now: datetime, *, masters: Collection[WantedMaster], usable: Collection[OpenWindow]
) -> Begin:
    """Let a run end when a window opens for something due that none takes now: dusk does not wait for darks."""
    taken = {kind for window in usable for kind in window.takes}
    lacking = {TAKEN_AS[each.kind] for each in masters if each.is_due} - taken
    coming = next_openings(now, served(config), config.site, zone(config.serve.timezone)) if lacking else ()
    opens = min((each.opens_at for each in coming if lacking & {*each.takes}), default=choice.until)
    return replace(choice, until=opens) if choice.until is None or (opens or choice.until) < choice.until else choice
