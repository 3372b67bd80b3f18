"""Binning and subframe of a simulated camera, as ASCOM counts them: start and size in binned pixels."""

from collections.abc import Callable

from drivers.simulator.device import PutMember, Reader, in_range, whole
from drivers.simulator.errors import invalid_value
from drivers.simulator.params import CameraParameters


class Subframe:
    """BinX/Y, StartX/Y, NumX/Y. Start and size are not checked, nor rescaled with the binning, before an exposure.

    Parameters
    ----------
    params : CameraParameters
    on_change : callable
        Called when the binning is set.
    """

    def __init__(self, params: CameraParameters, on_change: Callable[[], None]) -> None:
        self._p = params
        self._on_change = on_change
        self.reset()

    def reset(self) -> None:
        """Return to the full unbinned frame."""
        self.bins = [1, 1]
        self.start = [0, 0]
        self.num = [self._p.width, self._p.height]

    def readers(self) -> dict[str, Reader]:
        """Return the members that are read."""
        return {
            "binx": lambda: self.bins[0],
            "biny": lambda: self.bins[1],
            "startx": lambda: self.start[0],
            "starty": lambda: self.start[1],
            "numx": lambda: self.num[0],
            "numy": lambda: self.num[1],
        }

    def writers(self) -> dict[str, PutMember]:
        """Return the members that are put."""
        puts: dict[str, Callable[[int], None]] = {
            "BinX": lambda v: self._put_bin(0, v),
            "BinY": lambda v: self._put_bin(1, v),
            "StartX": lambda v: self.start.__setitem__(0, v),
            "StartY": lambda v: self.start.__setitem__(1, v),
            "NumX": lambda v: self.num.__setitem__(0, v),
            "NumY": lambda v: self.num.__setitem__(1, v),
        }
        return {name.lower(): PutMember(((name, whole),), put) for name, put in puts.items()}

    def check(self) -> None:
        """Raise InvalidValue when the subframe does not lie on the sensor at this binning."""
        size = (self._p.width, self._p.height)
        for axis, letter in enumerate("XY"):
            room = size[axis] // self.bins[axis]
            start, num = self.start[axis], self.num[axis]
            if not 0 <= start < room:
                raise invalid_value(f"Start{letter}", start, f"it must be from 0 to {room - 1} at this binning")
            room_left = room - start
            if not 1 <= num <= room_left:
                raise invalid_value(
                    f"Num{letter}", num, f"it must be from 1 to {room - start} at this start and binning"
                )

    def _put_bin(self, axis: int, value: int) -> None:
        in_range("BinX" if axis == 0 else "BinY", value, 1, self._p.max_bin)
        if self._p.can_asymmetric_bin:
            self.bins[axis] = value
        else:
            self.bins = [value, value]
        self._on_change()
