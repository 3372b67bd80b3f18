"""The settings of a simulated camera, and what they make of its detector.

Gain and offset are taken by value, by index, both at once (as some bridges do), or not at all.
"""

import math

from drivers.base import SettingMode
from drivers.simulator.device import PutMember, Reader, World, in_range, whole
from drivers.simulator.errors import not_implemented
from drivers.simulator.faults import FaultKind
from drivers.simulator.maps import generator
from drivers.simulator.params import SettingParameters
from drivers.simulator.sensor import Conditions
from drivers.simulator.subframe import Subframe

_DAY_S = 86_400


class GainOrOffset:
    """Gain or offset.

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


class Settings:
    """Readout mode, binning and subframe, gain and offset of one camera.

    Parameters
    ----------
    world : World

    Attributes
    ----------
    fresh : bool
        The next frame is a first one: its level differs a little.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._p = world.params.camera
        self.subframe = Subframe(self._p, self._on_change)
        self.gain = GainOrOffset("Gain", self._p.gain)
        self.offset = GainOrOffset("Offset", self._p.offset)
        self.fresh = True
        self._hidden_gain: int | None = None
        self._mode = 0

    def begin(self) -> None:
        """Come up with a full unbinned frame; the next exposure is a first one."""
        self.subframe.reset()
        self.fresh = True

    def readers(self) -> dict[str, Reader]:
        """Return the members that are read."""
        found: dict[str, Reader] = {
            "readoutmode": lambda: self._mode,
            "readoutmodes": lambda: [m.name for m in self._p.readout_modes],
        }
        for what, setting in (("gain", self.gain), ("offset", self.offset)):
            found |= {
                what: setting.get,
                f"{what}min": setting.minimum,
                f"{what}max": setting.maximum,
                f"{what}s": setting.names,
            }
        return self.subframe.readers() | found

    def writers(self) -> dict[str, PutMember]:
        """Return the members that are put."""
        return self.subframe.writers() | {
            "gain": PutMember((("Gain", whole),), self._set_gain),
            "offset": PutMember((("Offset", whole),), self.offset.put),
            "readoutmode": PutMember((("ReadoutMode", whole),), self._set_mode),
        }

    def _set_gain(self, value: int) -> None:
        t = self._world.t_s()
        wrong = self._world.faults.strikes(FaultKind.WRONG_GAIN, t)
        hidden = self._world.faults.strikes(FaultKind.HIDDEN_GAIN, t)
        self.gain.put(value)
        if wrong is not None:
            self.gain.put(int(wrong.amount))
        self._hidden_gain = None if hidden is None else int(hidden.amount)

    def _set_mode(self, value: int) -> None:
        in_range("ReadoutMode", value, 0, len(self._p.readout_modes) - 1)
        if value != self._mode:
            self._on_change()
        self._mode = value
        if self._p.mode_resets_gain:
            self.gain.reset()
            self.offset.reset()

    def _on_change(self) -> None:
        """Know that the next frame is a first one: its level differs a little."""
        self.fresh = True

    def conditions(self) -> Conditions:
        """Return what the settings make of the detector; time, light and temperature are filled in by `Exposures`."""
        d, mode, frame = self._p.detector, self._p.readout_modes[self._mode], self.subframe
        gain = self.gain.value if self._hidden_gain is None else self._hidden_gain
        low, high = d.read_noise_low_gain_e, d.read_noise_high_gain_e
        level = d.pedestal_adu + mode.pedestal_adu + self._session_adu()
        return Conditions(
            started_us=0,
            exposure_s=0.0,
            temperature_c=0.0,
            light_e=0.0,
            leak_e=0.0,
            filter=None,
            e_per_adu=d.e_per_adu * 10 ** (-gain / d.gain_decade) * mode.e_per_adu_factor,
            read_noise_e=(high + (low - high) * math.exp(-gain / d.read_noise_gain_scale)) * mode.read_noise_factor,
            full_well_e=d.full_well_e * mode.full_well_factor,
            saturation_adu=min(d.full_scale_adu, d.saturation_adu or math.inf),
            pedestal_adu=level + d.adu_per_offset * self.offset.value + d.adu_per_gain * gain,
            extra_adu=d.first_frame_adu if self.fresh else 0.0,
            bin_x=frame.bins[0],
            bin_y=frame.bins[1],
            start_x=frame.start[0],
            start_y=frame.start[1],
            num_x=frame.num[0],
            num_y=frame.num[1],
        )

    def _session_adu(self) -> float:
        """Return the level's offset of this night (noon to noon): a program started again is in the same session."""
        night = int(self._world.started_at.timestamp() - _DAY_S / 2) // _DAY_S
        return self._p.detector.session_offset_adu * float(
            generator(self._world.params.seed, 6, night).standard_normal()
        )
