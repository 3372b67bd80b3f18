"""A camera's settings: set in the one order that works, read back, set once more, refused.

ReadoutMode may change gain and offset; a binning leaves NumX as it was; some drivers check a subframe against the
start that is set at that moment. Hence ReadoutMode, bin, start 0, size, start, gain, offset.

A full frame that nobody asked for by its size may be what the camera makes of it: many read out whole blocks of pixels
alone, and round a size, or refuse it, some only when the exposure is started.
"""

from drivers.alpaca.transport import CameraWire
from drivers.alpaca.values import whole
from drivers.base import CameraInfo, CameraSettings, SettingMode
from drivers.errors import Refused, SettingRefused, SizeRefused

_READ = {
    "ReadoutMode": "readout_mode",
    "BinX": "bin_x",
    "BinY": "bin_y",
    "StartX": "start_x",
    "StartY": "start_y",
    "NumX": "num_x",
    "NumY": "num_y",
    "Gain": "gain",
    "Offset": "offset",
}
_ORDER = ("ReadoutMode", "BinX", "BinY", "NumX", "NumY", "StartX", "StartY", "Gain", "Offset")
_OPTIONAL = frozenset({"ReadoutMode", "Gain", "Offset"})
_ROI = frozenset({"StartX", "StartY", "NumX", "NumY"})
_SIZE = frozenset({"NumX", "NumY"})

_STEPS = ((2, 2), (4, 2), (8, 2), (4, 4), (8, 8), (16, 2), (16, 16), (32, 32), (64, 64))
"""Whole blocks in x and y that are tried where a full frame is refused."""
_ROUNDED_BY = 64
"""Pixels by which a camera may round a size, a start, or leave out of a full frame."""


class SettingsControl:
    """The settings of one camera.

    Parameters
    ----------
    wire : CameraWire
    """

    def __init__(self, wire: CameraWire) -> None:
        self._wire = wire
        self._info: CameraInfo | None = None
        self._size: tuple[int, int] | None = None
        self._bins = (1, 1)
        self._is_whole = False  # the full frame is set, whose size nobody asked for
        self._whole: dict[tuple[int, int], tuple[int, int]] = {}  # its size by binning, where the camera has another
        self._all_refused: set[tuple[int, int]] = set()
        self._proven: set[tuple[int, int]] = set()  # binnings of which an image has come
        self._doubted: set[tuple[int, int]] = set()  # binnings of which one start was refused

    def begin(self, info: CameraInfo) -> None:
        """Take note of a (new) connection: what was known of the settings is void."""
        self._info = info
        self._size = None
        self._all_refused.clear()

    def size(self) -> tuple[int, int]:
        """Return NumX and NumY as last read back on this connection."""
        if self._size is None:
            self._size = self._wire.ask("NumX", whole), self._wire.ask("NumY", whole)
        return self._size

    def read(self) -> CameraSettings:
        """Read all settings; optional ones are None where not offered."""
        values: dict[str, int | None] = {}
        for member, field in _READ.items():
            optional = member in _OPTIONAL
            values[field] = self._wire.offered(member, whole) if optional else self._wire.ask(member, whole)
        found = CameraSettings(**values)
        if found.num_x is not None and found.num_y is not None:
            self._size = found.num_x, found.num_y
        return found

    def apply(self, wanted: CameraSettings) -> CameraSettings:
        """Set, read back, set what differs once more.

        Raises
        ------
        SettingRefused, DeviceLost
        """
        while True:
            try:
                return self._apply(wanted)
            except SizeRefused as refused:
                if not self.shrink():
                    detail = refused.detail
                    raise SettingRefused(device=refused.device, detail=detail, number=refused.number) from refused

    def shrink(self) -> bool:
        """Let the next `apply` set a full frame of whole blocks of pixels; False where no more are left to be tried.

        A refusal may pass: the first one changes nothing, and a size of which an image has come is kept.
        """
        if not self._is_whole or self._bins in self._all_refused | self._proven:
            return False
        if self._bins not in self._doubted:
            self._doubted.add(self._bins)
            return True
        full = self._full(self._bins)
        sizes = list(dict.fromkeys((full[0] // x * x, full[1] // y * y) for x, y in _STEPS))
        last = self._whole.get(self._bins, full)
        begun = sizes.index(last) + 1 if last in sizes else 0
        left = [size for size in sizes[begun:] if size not in (last, full) and min(size) > 0]
        if not left:
            self._whole.pop(self._bins, None)
            self._all_refused.add(self._bins)  # it is not for the size that the camera refuses to expose
            return False
        self._whole[self._bins] = left[0]
        return True

    def prove(self) -> None:
        """Note that an image has come of the size that is set."""
        self._proven.add(self._bins)

    def fit(self, size: tuple[int, int]) -> bool:
        """Let the next `apply` set the size of the images that come; False where that is no rounded full frame."""
        full = self._full(self._bins)
        rounded = all(_is_rounded(found, whole) for found, whole in zip(size, full, strict=True))
        if not (self._is_whole and rounded) or size == full or self._bins in self._whole:
            return False
        self._whole[self._bins] = size
        return True

    def _apply(self, wanted: CameraSettings) -> CameraSettings:
        for _ in range(2):
            targets = self._targets(wanted)
            self._set(targets)
            found = self.read()
            wrong = {name: value for name, value in targets.items() if getattr(found, _READ[name]) != value}
            if not wrong:
                return found
        wrong = {name: value for name, value in wrong.items() if not self._is_as_good(name, value, found)}
        if not wrong:
            return found
        member, value = next(iter(wrong.items()))
        detail = f"{member} was set to {value} twice and reads back {getattr(found, _READ[member])}"
        raise SettingRefused(device=self._wire.label, detail=detail)

    def _is_as_good(self, member: str, value: int, found: CameraSettings) -> bool:
        """Whether what reads back is what the camera makes of a full frame that nobody asked for by its size."""
        read = getattr(found, _READ[member])
        if not self._is_whole or member not in _ROI or read is None:
            return False
        return _is_rounded(read, value) if member in _SIZE else 0 <= read < _ROUNDED_BY

    def _targets(self, wanted: CameraSettings) -> dict[str, int]:
        """Return member and value of all that is to be set; a ROI that is not named is the full frame."""
        if self._info is None:
            raise Refused(device=self._wire.label, detail="it was not connected yet")
        self._bins = (
            wanted.bin_x or max(1, self._wire.ask("BinX", whole)),
            wanted.bin_y or max(1, self._wire.ask("BinY", whole)),
        )
        num_x, num_y = self._whole.get(self._bins, self._full(self._bins))
        full = {"num_x": num_x, "num_y": num_y, "start_x": 0, "start_y": 0}
        values = {member: getattr(wanted, field) for member, field in _READ.items()}
        roi = {member: full[field] for member, field in _READ.items() if field in full and values[member] is None}
        self._is_whole = roi.keys() == _ROI
        return {member: value for member, value in (values | roi).items() if value is not None}

    def _full(self, bins: tuple[int, int]) -> tuple[int, int]:
        """Return width and height of the full frame in a binning."""
        if self._info is None:
            raise Refused(device=self._wire.label, detail="it was not connected yet")
        return self._info.camera_x_size // bins[0], self._info.camera_y_size // bins[1]

    def _set(self, targets: dict[str, int]) -> None:
        for member in _ORDER:
            if member == "NumX":
                self._put("StartX", 0)
                self._put("StartY", 0)
            if member in targets and not (member in ("StartX", "StartY") and targets[member] == 0):
                self._put(member, targets[member])

    def _put(self, member: str, value: int) -> None:
        try:
            setattr(self._wire, member, value)
        except Refused as error:
            detail = f"{member} {value} is refused: {error.detail}{self._allowed(member)}"
            kind = SizeRefused if member in _SIZE and self._is_whole else SettingRefused
            raise kind(device=self._wire.label, detail=detail, number=error.number) from error

    def _allowed(self, member: str) -> str:
        """Return what the camera takes, as the end of a sentence."""
        info = self._info
        if info is None or member not in ("Gain", "Offset", "ReadoutMode", "BinX", "BinY"):
            return ""
        if member == "ReadoutMode":
            return f"; it has the modes {', '.join(info.readout_modes) or 'none'}"
        if member.startswith("Bin"):
            return f"; it bins up to {info.max_bin_x} x {info.max_bin_y}"
        gain = member == "Gain"
        mode, names = (info.gain_mode, info.gains) if gain else (info.offset_mode, info.offsets)
        low, high = (info.gain_min, info.gain_max) if gain else (info.offset_min, info.offset_max)
        if mode is SettingMode.INDEX:
            return f"; it takes a place in the list, 0 to {len(names) - 1}: {', '.join(names)}"
        return "; it has no such setting" if mode is SettingMode.NONE else f"; it takes {low} to {high}"


def _is_rounded(found: int, whole_frame: int) -> bool:
    """Whether a size is a full frame's, rounded to whole blocks (or up to the next pixel)."""
    return max(whole_frame - _ROUNDED_BY, 3 * whole_frame // 4) < found <= whole_frame + 1
