"""Gain and offset of a simulated camera: by value, by index, both at once (as some bridges do), or not at all."""

from drivers.base import SettingMode
from drivers.simulator.device import in_range
from drivers.simulator.errors import not_implemented
from drivers.simulator.params import SettingParameters


class Setting:
    """One of the two.

    Parameters
    ----------
    what : str
        "Gain" or "Offset".
    params : SettingParameters
    """

    def __init__(self, what: str, params: SettingParameters) -> None:
        self._what = what
        self._p = params
        self._current = params.default

    @property
    def value(self) -> int:
        """The gain or offset of the detector: what stands behind an index."""
        return self._p.values[self._current] if self._p.mode is SettingMode.INDEX else self._current

    def reset(self) -> None:
        """Go back to the default."""
        self._current = self._p.default

    def get(self) -> int:
        """Return Gain or Offset."""
        self._offered(self._p.mode is not SettingMode.NONE)
        return self._current

    def put(self, value: int) -> None:
        """Set Gain or Offset."""
        self._offered(self._p.mode is not SettingMode.NONE)
        if self._p.mode is SettingMode.INDEX:
            in_range(self._what, value, 0, len(self._p.names) - 1)
        else:
            in_range(self._what, value, self._p.minimum, self._p.maximum)
        self._current = value

    def minimum(self) -> int:
        """Return GainMin or OffsetMin."""
        self._offered(self._p.mode in {SettingMode.VALUE, SettingMode.BOTH}, "Min")
        return self._p.minimum

    def maximum(self) -> int:
        """Return GainMax or OffsetMax."""
        self._offered(self._p.mode in {SettingMode.VALUE, SettingMode.BOTH}, "Max")
        return self._p.maximum

    def names(self) -> list[str]:
        """Return Gains or Offsets."""
        self._offered(self._p.mode in {SettingMode.INDEX, SettingMode.BOTH}, "s")
        return list(self._p.names)

    def _offered(self, offered: bool, suffix: str = "") -> None:  # noqa: FBT001 - reads as an assertion
        if not offered:
            raise not_implemented(self._what + suffix)
