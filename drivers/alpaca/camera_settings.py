"""A camera's settings: set in the one order that works, read back, set once more, refused.

ReadoutMode may change gain and offset; a binning leaves NumX as it was; some drivers check a subframe against the
start that is set at that moment. Hence ReadoutMode, bin, start 0, size, start, gain, offset.
"""

from drivers.alpaca.transport import CameraWire
from drivers.alpaca.values import whole
from drivers.base import CameraInfo, CameraSettings, SettingMode
from drivers.errors import Refused, SettingRefused

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

    def begin(self, info: CameraInfo) -> None:
        """Take note of a (new) connection: what was known of the settings is void."""
        self._info = info
        self._size = None

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
        for _ in range(2):
            targets = self._targets(wanted)
            self._set(targets)
            found = self.read()
            wrong = {name: value for name, value in targets.items() if getattr(found, _READ[name]) != value}
            if not wrong:
                return found
        member, value = next(iter(wrong.items()))
        detail = f"{member} was set to {value} twice and reads back {getattr(found, _READ[member])}"
        raise SettingRefused(device=self._wire.label, detail=detail)

    def _targets(self, wanted: CameraSettings) -> dict[str, int]:
        """Return member and value of all that is to be set; a ROI that is not named is the full frame."""
        if self._info is None:
            raise Refused(device=self._wire.label, detail="it was not connected yet")
        bin_x = wanted.bin_x or max(1, self._wire.ask("BinX", whole))
        bin_y = wanted.bin_y or max(1, self._wire.ask("BinY", whole))
        full = {
            "num_x": self._info.camera_x_size // bin_x,
            "num_y": self._info.camera_y_size // bin_y,
            "start_x": 0,
            "start_y": 0,
        }
        values = {member: getattr(wanted, field) for member, field in _READ.items()}
        roi = {member: full[field] for member, field in _READ.items() if field in full and values[member] is None}
        return {member: value for member, value in (values | roi).items() if value is not None}

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
            raise SettingRefused(device=self._wire.label, detail=detail, number=error.number) from error

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
