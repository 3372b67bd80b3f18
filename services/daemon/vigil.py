"""Whether a worker is still alive and its work still moves, by what is heard of it. Pure: times are real seconds."""

from dataclasses import dataclass, replace

from services.daemon.limits import Limits
from services.daemon.messages import Alive, Heard
from services.events.records import Event, Waiting
from services.words import length

LATE_S = 60.0
"""A look that comes so late proves nothing: the daemon itself was suspended, or had no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vigil:
    """When something was last heard of a worker, when its work last moved, and when its run last said something.

    Attributes
    ----------
    heard_s, moved_s, event_s : float
    looked_s : float
        When it was last asked whether something is missing.
    moved : int or None
        What its last sign of life showed of its work.
    """

    heard_s: float
    moved_s: float
    event_s: float
    looked_s: float
    moved: int | None = None

    @classmethod
    def begun(cls, at_s: float) -> "Vigil":
        """Return the vigil of a worker that begins now."""
        return cls(heard_s=at_s, moved_s=at_s, event_s=at_s, looked_s=at_s)

    def heard(self, said: Heard | None, at_s: float) -> "Vigil":
        """Return what is known after the worker has said something; None: something that is no message.

        A wait that its run announces may last: nothing moves meanwhile, and nothing is said.
        """
        after = replace(self, heard_s=at_s)
        if isinstance(said, Alive):
            moved = said.moved != self.moved
            return replace(after, moved=said.moved, moved_s=max(at_s, self.moved_s)) if moved else after
        if not isinstance(said, Event):
            return after
        until_s = at_s + ((said.what.wait_s or 0.0) if isinstance(said.what, Waiting) else 0.0)
        return replace(after, moved_s=until_s, event_s=until_s)

    def looked(self, at_s: float) -> "Vigil":
        """Return what is known after a look; after one that came late, everything is waited for anew."""
        if at_s - self.looked_s > LATE_S:
            return replace(Vigil.begun(at_s), moved=self.moved)
        return replace(self, looked_s=at_s)

    def missing(self, at_s: float, limits: Limits, *, takes_frames: bool) -> str:
        """Return in words why a worker is not waited for any longer; "" while all is well.

        Parameters
        ----------
        at_s : float
        limits : Limits
        takes_frames : bool
            Whether its run says something at least once in a frame; building masters may take its time.
        """
        if at_s - self.heard_s > limits.silent_s:
            return f"it gave no sign of life for {length(at_s - self.heard_s)}"
        if at_s - self.moved_s > limits.still_s:
            return f"its work did not move for {length(at_s - self.moved_s)}"
        if takes_frames and at_s - self.event_s > limits.eventless_s:
            return f"its run said nothing for {length(at_s - self.event_s)}"
        return ""
