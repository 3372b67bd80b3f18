"""The pace of a download: a slow one that goes on is let be, one that cannot end in time is given up."""

from datetime import datetime, timedelta

from drivers.clock import Clock
from drivers.errors import BadImage, Cancelled, ExposureStalled


class Transfer:
    """Hears of the bytes of one image as they come, and raises when no more are to be waited for.

    Parameters
    ----------
    clock : Clock
    device : str
        How errors name it.
    expected, most : int
        Bytes of the image, as far as that is known, and more than it can have.
    judged_after_s, longest_s : float
        Real seconds after which the pace is believed, and for which an image is waited for.
    until : datetime, optional
        No image is wanted later.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        device: str,
        expected: int,
        most: int,
        judged_after_s: float,
        longest_s: float,
        until: datetime | None = None,
    ) -> None:
        self._clock = clock
        self._device = device
        self._expected, self._most = expected, most
        self._judged_after_s, self._longest_s = judged_after_s, longest_s
        self._until = until
        self._began_s, self._began_at = clock.real(), clock.now()
        self._got = 0

    def __call__(self, count: int) -> None:
        """Take in that so many bytes more have come.

        Raises
        ------
        BadImage
            There are more than an image can have.
        ExposureStalled
            At this pace it takes longer than an image is waited for.
        Cancelled
            At this pace it ends too late.
        """
        self._got += count
        if self._got > self._most:
            raise BadImage(device=self._device, detail=f"{self._got} bytes came for an image of {self._expected}")
        passed_s = self._clock.real() - self._began_s
        if passed_s < self._judged_after_s or count == 0:
            return
        longer = max(1.0, self._expected / self._got)
        if longer * passed_s > self._longest_s:
            detail = f"the download of the image would take {longer * passed_s / 3600:.1f} h: {self._so_far}"
            raise ExposureStalled(device=self._device, detail=detail)
        ends_at = self._began_at + longer * (self._clock.now() - self._began_at)
        if self._until is not None and ends_at > self._until:
            shown = (ends_at + timedelta(seconds=0.5)).strftime("%H:%M:%S")
            detail = f"the download of the image would end at {shown} UTC only: {self._so_far}"
            raise Cancelled(device=self._device, detail=detail)

    @property
    def _so_far(self) -> str:
        passed_s = self._clock.real() - self._began_s
        return f"{self._got} of {self._expected} bytes came in {passed_s:.0f} s"
