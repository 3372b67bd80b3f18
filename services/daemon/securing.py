"""When devices are made safe: after a run that died, or left some of them so; and at the end of a cooler that was held.

What could not be left in a known state is tried again until it is: a lamp that stays on because its server hung for a
minute is not left on for the night. The loop asks here and is given the answer; what is done is done by a process of
its own.
"""

from dataclasses import replace
from datetime import timedelta

from drivers.clock import Clock
from services.daemon.machine import Activity, Why
from services.daemon.orders import RefusalCode
from services.daemon.parts import Hands, Nothing, Outlook, Secured
from services.daemon.present import Present
from services.daemon.state_file import LastRun
from services.errors import Exit, RunCode
from services.events.serving import DevicesSecured, WorkerDied
from services.observatory.in_use import LeftBehind

FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0
"""Before the second attempt, and before each one after many: runs that need other devices are begun meanwhile."""
_DIED_BEFORE = "it was killed with the daemon, or lost power"
_BACK = timedelta(minutes=2)
"""So long after a camera is back its connection is taken for the one that the run could not end."""


class Securing:
    """Has devices made safe, one time after the other; called by the thread of the loop alone.

    Parameters
    ----------
    present : Present
    hands : Hands
    clock : Clock

    Attributes
    ----------
    left_behind : LeftBehind or None
        What a run has left and nobody has made safe yet.
    """

    def __init__(self, present: Present, hands: Hands, clock: Clock) -> None:
        self._present = present
        self._hands = hands
        self._clock = clock
        self._pause_s, self._at_s = FIRST_PAUSE_S, clock.monotonic()
        self._was_away = False
        self._said: tuple[str, ...] = present.state.left
        self.left_behind = self._left_before() if self._said else None

    def begun(self, outlook: Outlook, *, may_try: bool) -> bool:
        """Begin what is to be made safe now, what failed before if it `may_try`; return whether that is anything."""
        is_due = self._is_due(outlook) and may_try
        if outlook.left_behind is not None:
            self.recover(outlook.left_behind, "it was killed")
        elif is_due:
            self.try_again()
        return is_due or outlook.left_behind is not None

    def _is_due(self, outlook: Outlook) -> bool:
        """Whether it is time to try again.

        A camera that is away is waited for. When it is back it is made safe at once, for what stands connected then is
        what the run has left; at any other time one that somebody uses, or was given, is his.
        """
        was_away, self._was_away = self._was_away, outlook.is_camera_away
        if (left := self.left_behind) is None or (outlook.is_camera_away and self._is_of_camera):
            return False
        now, hold = self._clock.now(), self._present.state.hold
        if was_away and not outlook.is_camera_away and self._is_of_camera:
            left = self.left_behind = replace(left, connected_until=max(left.connected_until, now + _BACK))
            self._at_s = self._clock.monotonic()
        if hold is not None and hold.why is Why.YIELDED:
            return False
        codes = {each.code for each in outlook.obstacles}
        if RefusalCode.ROOT_IN_USE in codes or (RefusalCode.CAMERA_IN_USE in codes and now > left.connected_until):
            return False
        return self._clock.monotonic() >= self._at_s

    @property
    def _is_of_camera(self) -> bool:
        """Whether the camera itself, or all of its server, could not be left."""
        return any(word in each for each in self._present.state.left for word in ("camera", "cooler"))

    def recover(self, left: LeftBehind, detail: str = _DIED_BEFORE) -> None:
        """Make the devices safe after a run that died with the daemon before, or was not the daemon's.

        What somebody else uses by now is left to him: `left_behind` says that it is to be tried again.
        """
        self._present.say(WorkerDied(run=left.run_id, detail=detail))
        died = LastRun(
            run_id=left.run_id,
            finished_at=self._clock.now(),
            exit_code=Exit.SOME_FAILED,
            code=RunCode.WORKER_DIED,
            detail=detail,
        )
        self._present.remember(replace(self._present.state, last_run=died))
        self.left_behind = left
        self._try(Nothing(reason=RunCode.WORKER_DIED, detail=detail))

    def try_again(self) -> None:
        """Make safe what a run has left; nothing where it has left nothing."""
        left = "; ".join(self._present.state.left)
        self._try(Nothing(reason="devices_left", detail=left or _DIED_BEFORE))

    def _try(self, why: Nothing) -> None:
        if (left := self.left_behind) is not None:
            self._present.become(Activity.SECURING, why)
            self._hands.secure(left.run_id, left)

    def after_death(self, run_id: str | None, why: Nothing) -> None:
        """Make the devices safe after a run of this daemon that died."""
        self._present.say(WorkerDied(run=run_id, detail=why.detail))
        self._present.become(Activity.SECURING, why)
        self._hands.secure(run_id)

    def after_run(self, run_id: str | None, left: tuple[str, ...]) -> None:
        """Note what a run could not leave in a known state, and has said so by itself."""
        if left:
            self._note(run_id, left)

    def release_cooler(self) -> None:
        """Bring the cooler to where it was found before it was held for a next run."""
        why = Nothing(reason="cooler_released", detail="the cooler is left as found")
        self._present.become(Activity.SECURING, why)
        self._hands.secure(None)

    def done(self, secured: Secured) -> bool:
        """Take what came of it and become idle; return whether something else may be begun.

        What is left, and that somebody else has the devices, is said once, however often it is found.
        """
        left = (*secured.left, *filter(None, (secured.refused,)))
        waits = bool(left) and (self.left_behind is not None or secured.run_id is not None)
        if not waits or left != self._said:
            self._present.say(DevicesSecured(run=secured.run_id, done=secured.done, left=left))
        if waits:
            self._note(secured.run_id, left)
            if secured.refused:  # that is asked for, and nothing is done
                self._pause_s = FIRST_PAUSE_S
        elif secured.run_id is not None or self.left_behind is not None:
            self._forget()
        if not left:
            self._present.remember(replace(self._present.state, cooler_held=False, held_c=None))
        self._present.idle(Nothing(reason="devices_secured", detail="; ".join(left)))
        return not (waits and secured.refused)

    def _note(self, run_id: str | None, left: tuple[str, ...]) -> None:
        """Remember what is left, and try it again: soon, then later and later."""
        self._said, now = left, self._clock.now()
        self._at_s = self._clock.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._present.remember(replace(self._present.state, left=left))
        until = now + _BACK if self._is_of_camera else now
        left_now = LeftBehind(run_id=run_id or "", exposing_until=now, connected_until=until)
        self.left_behind = self.left_behind or left_now

    def _forget(self) -> None:
        self.left_behind, self._said = None, ()
        self._pause_s = FIRST_PAUSE_S
        self._present.remember(replace(self._present.state, left=()))

    def _left_before(self) -> LeftBehind:
        """Return what an earlier daemon may have left: a camera that is connected is somebody else's by now."""
        now, last = self._clock.now(), self._present.state.last_run
        return LeftBehind(run_id="" if last is None else last.run_id, exposing_until=now, connected_until=now)
