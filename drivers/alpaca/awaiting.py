"""When the image of an exposure is believed to be there.

For a moment after a start all may still be as after the exposure before: ImageReady true, CameraState idle. So an image
is believed when its exposure can be over, and when CameraState (where there is one) does not say that it still exposes.
"""

import threading
from dataclasses import dataclass

from drivers.alpaca.camera_status import Progress, Status
from drivers.alpaca.pacing import Pace
from drivers.alpaca.transport import CameraWire
from drivers.base import CameraStates
from drivers.clock import Deadline
from drivers.errors import ExposureFailed, ExposureStalled

EXPOSING = (CameraStates.WAITING, CameraStates.EXPOSING)
AT_WORK = (*EXPOSING, CameraStates.READING, CameraStates.DOWNLOAD)
_FIRST_PAUSE_S = 0.25
"""Before an image that equals the one before is asked for again; it doubles each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """How the camera stands with its image, and since when it has been there for good (the clock's seconds)."""

    progress: Progress
    since_s: float


class Awaiting:
    """Waits for the images of one camera.

    Parameters
    ----------
    wire : CameraWire
    status : Status
    pace : Pace
    """

    def __init__(self, wire: CameraWire, status: Status, pace: Pace) -> None:
        self._wire = wire
        self._status = status
        self._clock = wire.clock
        self._times = wire.timeouts
        self._pace = pace
        self._state_lags = False  # CameraState goes on saying that it exposes when the image is there

    def image(
        self, sent_s: float, duration_s: float, *, download_s: float, wake: threading.Event | None
    ) -> Ready | None:
        """Wait for the image of an exposure; None when `wake` was set.

        Parameters
        ----------
        sent_s, duration_s : float
            When it was started, and how long it is.
        download_s : float
            How long the last image took to come: no image three times as long after the end, or a minute, is a stall.
        wake : threading.Event or None

        Raises
        ------
        ExposureFailed, ExposureStalled, DeviceLost
        """
        patience_s = max(self._times.exposure_s, 3 * download_s)
        real_s = max(self._times.real_s, 3 * download_s)
        deadline = Deadline(self._clock, duration_s + patience_s, real_s=real_s)
        due_s = sent_s + duration_s
        ready_s = settled_s = None  # since when ImageReady has been true, and CameraState does not contradict it
        while not self._pace.until(due_s, wake):
            progress, now_s = self.progress(), self._clock.monotonic()
            ready_s = None if not progress.image_ready else now_s if ready_s is None else ready_s
            contradicted = progress.activity in EXPOSING and not self._state_lags
            settled_s = None if ready_s is None or contradicted else now_s if settled_s is None else settled_s
            if settled_s is not None and now_s >= due_s:
                return Ready(progress=progress, since_s=settled_s)
            if ready_s is not None and now_s >= max(ready_s, due_s) + self._times.stale_s:
                self._state_lags = True
                return Ready(progress=progress, since_s=ready_s)
            if deadline.over:
                detail = f"no image {patience_s:g} s after the end of an exposure of {duration_s:g} s"
                detail = f"{detail}; it is {word_of(progress.activity)}"
                raise ExposureStalled(device=self._wire.label, detail=detail)
        return None

    def another(self, duration_s: float, *, stale_s: float) -> "Another":
        """Return what waits for another image after one that was the image before."""
        longest_s = duration_s + self._times.exposure_s
        return Another(self, Deadline(self._clock, stale_s), Deadline(self._clock, longest_s))

    def progress(self) -> Progress:
        """Read how the exposure stands; raises `ExposureFailed` when the camera is in its error state."""
        progress = self._status.progress()
        if progress.activity is CameraStates.ERROR:
            raise ExposureFailed(device=self._wire.label, detail="CameraState is Error")
        return progress

    def later(self, pause_s: float, wake: threading.Event | None) -> Ready | None:
        """Pause, then read how the exposure stands; None when `wake` was set."""
        if self._pace.rest(pause_s, wake):
            return None
        return Ready(progress=self.progress(), since_s=self._clock.monotonic())

    def is_at_work(self, progress: Progress) -> bool:
        """Whether the camera is at work, and not only says so of an image that is there."""
        return progress.activity in AT_WORK and not (self._state_lags and progress.image_ready)


class Another:
    """Waits until there may be another image, in growing pauses."""

    def __init__(self, awaiting: Awaiting, stale: Deadline, longest: Deadline) -> None:
        self._awaiting = awaiting
        self._stale, self._longest = stale, longest
        self._pause_s = _FIRST_PAUSE_S

    def ready(self, wake: threading.Event | None) -> Ready | None:
        """Return how the camera stands when there may be another image; None when none is to be waited for."""
        while not self._stale.over:
            later = self._awaiting.later(self._pause_s, wake)
            while later is not None and self._awaiting.is_at_work(later.progress) and not self._longest.over:
                later = self._awaiting.later(self._pause_s, wake)
            if later is None or self._awaiting.is_at_work(later.progress):
                return None
            if later.progress.image_ready:
                self._pause_s *= 2
                return later
        return None


def word_of(activity: CameraStates | None) -> str:
    """Return a state in words."""
    return "silent about its state" if activity is None else activity.name.lower()
