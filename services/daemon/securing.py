"""When devices are made safe: after a run that died, after one that died with an earlier daemon, and at a cooler's end.

The loop asks here and is given the answer; what is done is done by a process of its own.
"""

from dataclasses import replace

from services.daemon.machine import Activity
from services.daemon.parts import Hands, Nothing, Secured
from services.daemon.present import Present
from services.errors import RunCode
from services.events.serving import DevicesSecured, WorkerDied
from services.observatory.in_use import LeftBehind

_DIED_BEFORE = "it was killed with the daemon, or lost power"


class Securing:
    """Has devices made safe, one time after the other; called by the thread of the loop alone.

    Parameters
    ----------
    present : Present
    hands : Hands

    Attributes
    ----------
    left_behind : LeftBehind or None
        What a run of an earlier daemon has left and nobody has made safe yet.
    """

    def __init__(self, present: Present, hands: Hands) -> None:
        self.left_behind: LeftBehind | None = None
        self._present = present
        self._hands = hands
        self._refused = ""

    def recover(self, left: LeftBehind) -> None:
        """Make the devices safe after a run that died with the daemon before.

        What somebody else uses by now is left to him: `left_behind` says that it is to be tried again.
        """
        self._present.say(WorkerDied(run=left.run_id, detail=_DIED_BEFORE))
        self.left_behind = left
        self.try_again()

    def try_again(self) -> None:
        """Make safe what an earlier daemon's run has left; nothing where it has left nothing."""
        if (left := self.left_behind) is not None:
            self._present.become(Activity.SECURING, Nothing(reason=RunCode.WORKER_DIED, detail=_DIED_BEFORE))
            self._hands.secure(left.run_id, left)

    def after_death(self, run_id: str | None, why: Nothing) -> None:
        """Make the devices safe after a run of this daemon that died."""
        self._present.say(WorkerDied(run=run_id, detail=why.detail))
        self._present.become(Activity.SECURING, why)
        self._hands.secure(run_id)

    def release_cooler(self) -> None:
        """Bring the cooler to where it was found before it was held for a next run."""
        why = Nothing(reason="cooler_released", detail="the cooler is left as found")
        self._present.become(Activity.SECURING, why)
        self._hands.secure(None)

    def done(self, secured: Secured) -> bool:
        """Take what came of it and become idle; return whether it is over, and not to be tried again.

        That somebody else has the devices is said once, however often it is found.
        """
        left = (*secured.left, *filter(None, (secured.refused,)))
        waits = self.left_behind is not None and bool(secured.refused)
        if not waits or secured.refused != self._refused:
            self._present.say(DevicesSecured(run=secured.run_id, done=secured.done, left=left))
        self._refused = secured.refused if waits else ""
        if not waits:
            self.left_behind = None
        if not left:
            self._present.remember(replace(self._present.state, cooler_held=False, held_c=None))
        self._present.idle(Nothing(reason="devices_secured", detail="; ".join(left)))
        return not waits
