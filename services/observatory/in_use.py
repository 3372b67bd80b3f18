"""Whose a camera is: by the same rule for the daemon, which asks each few seconds, and for a run that begins.

The camera is the observer's. One that another program has connected, exposes with or cools is left as it is. What can
be known is what its server says: that somebody has it connected, not who. A camera that we leave connected ourselves
(`camera.release: leave`), or whose server keeps it connected for ever, says nothing by that; there the exposure and the
cooler decide, and a cooler that a run of ours has left on is ours.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from drivers.alpaca.onlooker import CameraLook, Onlooker
from drivers.base import CameraStates

_WORDS = {
    CameraStates.WAITING: "waits to expose",
    CameraStates.EXPOSING: "exposes",
    CameraStates.READING: "reads an exposure out",
    CameraStates.DOWNLOAD: "loads an image",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind:
    """What a run that died may have left of its own on a camera, which nobody could look at when it died.

    Attributes
    ----------
    run_id : str
    exposing_until : datetime
        Its last exposure has ended by then: a later one is somebody else's.
    connected_until : datetime
        After that a camera that is connected is taken for somebody else's.
    """

    run_id: str
    exposing_until: datetime
    connected_until: datetime

    def taken_out_of(self, look: CameraLook, now: datetime) -> CameraLook:
        """Return a look at the camera without what may still be the dead run's own."""
        if now <= self.exposing_until:
            return CameraLook(connected=False, activity=None, cooler_on=None)
        return replace(look, connected=False) if now <= self.connected_until else look


def used_by_others(look: CameraLook, *, stays_connected: bool, cooler_is_ours: bool) -> str:
    """Return in words how another program uses a camera while no run of ours is at work; "" where none does.

    Parameters
    ----------
    look : CameraLook
    stays_connected : bool
        The configuration leaves it connected (`camera.release: leave`).
    cooler_is_ours : bool
        A run of ours has left the cooler on.
    """
    if look.activity in _WORDS:
        return f"it {_WORDS[look.activity]} for another program"
    if look.connected and not stays_connected:
        return (
            "another program has it connected (where its server keeps it connected by itself, `camera.release: leave` "
            "says so; after a run that was killed, `nightcal secure` lets it go)"
        )
    if look.connected and look.cooler_on and not cooler_is_ours:
        return "another program cools it"
    return ""


def in_use(onlooker: Onlooker, *, stays_connected: bool, is_left_on: Callable[[str], bool]) -> str:
    """Look at a camera and return how another program uses it, as `used_by_others`; raises `DriverError`.

    Parameters
    ----------
    onlooker : Onlooker
    stays_connected : bool
    is_left_on : callable
        Returns whether a run of ours has left the cooler of a camera on, by what identifies the camera.
    """
    look = onlooker.look()
    ours = bool(look.connected and look.cooler_on) and is_left_on(onlooker.key())
    return used_by_others(look, stays_connected=stays_connected, cooler_is_ours=ours)


def used_since(onlooker: Onlooker, left: LeftBehind, *, now: datetime, stays_connected: bool) -> str:
    """Look at a camera and return how another program uses it since a run of ours died; raises `DriverError`."""
    look = left.taken_out_of(onlooker.look(), now)
    return used_by_others(look, stays_connected=stays_connected, cooler_is_ours=True)
