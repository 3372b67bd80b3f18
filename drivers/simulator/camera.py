"""The simulated camera as ICameraV4 (or V3): its settings, its exposure and its cooler, by the rules of ASCOM.

BinX returns to 1 on connecting and NumX does not follow BinX, as real drivers do; a subframe that does not fit is
refused at StartExposure. ImageReady is true only when the time is over *and* the frame is rendered.
"""

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from drivers.base import CameraStates, SensorType
from drivers.simulator.darkroom import Darkroom
from drivers.simulator.device import Device, World, Writer, in_range, iso, number, truth, whole
from drivers.simulator.errors import AscomError, ErrorNumber, invalid_operation, invalid_value, not_implemented
from drivers.simulator.exposing import Exposing, Exposures, Pixels, ready
from drivers.simulator.faults import DeviceKind, FaultKind
from drivers.simulator.maps import generator
from drivers.simulator.sensor import Conditions
from drivers.simulator.settings import Setting

CLOCK_ACTION = "nightcal:clock"
_DAY_S = 86_400


class SimulatedCamera(Device):
    """ICamera.

    Parameters
    ----------
    world : World
    darkroom : Darkroom
    """

    def __init__(self, world: World, darkroom: Darkroom) -> None:
        self._p = world.params.camera
        super().__init__(
            world,
            DeviceKind.CAMERA,
            name=self._p.name,
            description=self._p.description,
            interface_version=self._p.interface_version,
            modern=self._p.interface_version >= 4,
            connect_s=self._p.connect_s,
        )
        self.exposures = Exposures(world, darkroom)
        self.gain = Setting("Gain", self._p.gain)
        self.offset = Setting("Offset", self._p.offset)
        self._hidden_gain: int | None = None
        self._mode = 0
        self._bin = [1, 1]
        self._start = [0, 0]
        self._num = [self._p.width, self._p.height]
        self._exposing: Exposing | None = None
        self._failed = False
        self._image: Pixels | None = None
        self._last: Exposing | None = None
        self._previous: Pixels | None = None
        self._fresh = True
        self._frozen_c: float | None = None
        self._add_facts()
        self._add_settings()
        self._add_cooling()
        self._add_exposing()

    def actions(self) -> dict[str, Callable[[str], str]]:
        """Return the camera's own actions: the observatory's clock."""
        return {CLOCK_ACTION: lambda _: json.dumps(self.clock())}

    def clock(self) -> dict[str, Any]:
        """Return the observatory's time and how many of its seconds pass in a real one."""
        return {"utc": self.world.clock.now().isoformat(), "rate": float(getattr(self.world.clock, "rate", 1.0))}

    def state_members(self) -> tuple[tuple[str, str], ...]:
        """Return DeviceState's items."""
        names = (
            "CameraState",
            "CCDTemperature",
            "CoolerPower",
            "HeatSinkTemperature",
            "ImageReady",
            "PercentCompleted",
        )
        return tuple((n, n.lower()) for n in (*names, "IsPulseGuiding"))

    def on_connect(self) -> None:
        """Come up with a full unbinned frame; the next exposure is a first one."""
        self._bin, self._start, self._num = [1, 1], [0, 0], [self._p.width, self._p.height]
        self._fresh = True

    def wait_rendered(self, seconds: float) -> None:
        """Wait a little, in real time and without the lock, for a frame whose exposure is over.

        A client on a fast clock then need not ask again and again while a frame is computed.
        """
        with self.world.lock:
            self.settle()
            under_way = self._exposing
        if under_way is not None and self.world.t_s() >= under_way.ready_s:
            ready(under_way.frame, seconds)

    def image(self) -> Pixels:
        """Return the last frame, shape (y, x), for ImageArray."""
        with self.world.lock:
            self._require("imagearray")
            if self._image is None:
                raise invalid_operation("There is no image: expose first, and wait for ImageReady.")
            return self._image

    def settle(self) -> None:
        """Let an exposure end whose time is over and whose frame is rendered."""
        super().settle()
        t, under_way = self.world.t_s(), self._exposing
        lost = self.world.faults.lasting(FaultKind.COOLER_POWER_LOSS, t) is not None
        self.world.cooler.supply(t, powered=not lost)
        if under_way is None or under_way.never or t < under_way.ready_s:
            return
        if under_way.error:
            self._exposing, self._failed = None, True
            return
        self.exposures.check(under_way)
        if under_way.frame.done() or (under_way.stale and self._previous is not None):
            self._image = self.exposures.finish(under_way, self._previous)
            self._previous, self._last, self._exposing = self._image, under_way, None

    # --- facts ------------------------------------------------------------------------------------------------------

    def _add_facts(self) -> None:
        p = self._p
        facts: dict[str, Any] = {
            "cameraxsize": p.width,
            "cameraysize": p.height,
            "canabortexposure": p.can_abort,
            "canasymmetricbin": p.can_asymmetric_bin,
            "canfastreadout": False,
            "cangetcoolerpower": p.cooler.can_set and p.cooler.can_get_power,
            "canpulseguide": False,
            "cansetccdtemperature": p.cooler.can_set,
            "canstopexposure": p.can_stop,
            "exposuremax": p.exposure_max_s,
            "exposuremin": p.exposure_min_s,
            "exposureresolution": p.exposure_resolution_s,
            "hasshutter": p.has_shutter,
            "maxadu": p.detector.full_scale_adu if p.reported_max_adu is None else p.reported_max_adu,
            "maxbinx": p.max_bin,
            "maxbiny": p.max_bin,
            "pixelsizex": p.pixel_size_um,
            "pixelsizey": p.pixel_size_um,
            "sensorname": p.sensor_name,
        }
        self.readers |= {member: partial(facts.__getitem__, member) for member in facts}
        self.readers |= {
            "sensortype": lambda: int(SensorType.RGGB if self._bayer() else SensorType.MONOCHROME),
            "bayeroffsetx": lambda: self._bayer_offset(p.bayer_offset_x),
            "bayeroffsety": lambda: self._bayer_offset(p.bayer_offset_y),
            "electronsperadu": self._electrons_per_adu,
            "fullwellcapacity": lambda: self._settings().full_well_e,
        }
        self.refuse("fastreadout", "ispulseguiding", "subexposureduration")
        self.refuse_put("fastreadout", ("FastReadout", truth))
        self.refuse_put("pulseguide", ("Direction", whole), ("Duration", whole))
        self.refuse_put("subexposureduration", ("SubExposureDuration", number))

    def _bayer(self) -> bool:
        """Return whether the frame is a mosaic: binning mixes the colours."""
        return self._p.colour and self._bin == [1, 1]

    def _bayer_offset(self, offset: int) -> int:
        if not self._bayer():
            raise not_implemented("BayerOffset of a monochrome sensor")
        return offset

    def _electrons_per_adu(self) -> float:
        told = self._p.reported_e_per_adu
        if told == 0:
            raise not_implemented("ElectronsPerADU")
        return self._settings().e_per_adu if told is None else told

    # --- settings ---------------------------------------------------------------------------------------------------

    def _add_settings(self) -> None:
        for axis, letter in enumerate("XY"):
            self._add_geometry("Bin" + letter, axis, lambda: self._bin, self._set_bin)
            self._add_geometry("Start" + letter, axis, lambda: self._start, self._set_start)
            self._add_geometry("Num" + letter, axis, lambda: self._num, self._set_num)
        for what, setting in (("gain", self.gain), ("offset", self.offset)):
            self.readers |= {
                what: setting.get,
                f"{what}min": setting.minimum,
                f"{what}max": setting.maximum,
                f"{what}s": setting.names,
            }
        self.writers["gain"] = Writer((("Gain", whole),), self._set_gain)
        self.writers["offset"] = Writer((("Offset", whole),), self.offset.put)
        self.readers["readoutmode"] = lambda: self._mode
        self.readers["readoutmodes"] = lambda: [m.name for m in self._p.readout_modes]
        self.writers["readoutmode"] = Writer((("ReadoutMode", whole),), self._set_mode)

    def _add_geometry(
        self, name: str, axis: int, pair: Callable[[], list[int]], put: Callable[[int, int], None]
    ) -> None:
        self.readers[name.lower()] = lambda: pair()[axis]
        self.writers[name.lower()] = Writer(((name, whole),), lambda value: put(axis, value))

    def _set_bin(self, axis: int, value: int) -> None:
        in_range("BinX" if axis == 0 else "BinY", value, 1, self._p.max_bin)
        self._fresh = True
        if self._p.can_asymmetric_bin:
            self._bin[axis] = value
        else:
            self._bin = [value, value]

    def _set_start(self, axis: int, value: int) -> None:
        self._start[axis] = value

    def _set_num(self, axis: int, value: int) -> None:
        self._num[axis] = value

    def _set_gain(self, value: int) -> None:
        t = self.world.t_s()
        wrong = self.world.faults.strikes(FaultKind.WRONG_GAIN, t)
        hidden = self.world.faults.strikes(FaultKind.HIDDEN_GAIN, t)
        self.gain.put(value)
        if wrong is not None:
            self.gain.put(int(wrong.amount))
        self._hidden_gain = None if hidden is None else int(hidden.amount)

    def _set_mode(self, value: int) -> None:
        in_range("ReadoutMode", value, 0, len(self._p.readout_modes) - 1)
        self._fresh = self._fresh or value != self._mode
        self._mode = value
        if self._p.mode_resets_gain:
            self.gain.reset()
            self.offset.reset()

    def _settings(self) -> Conditions:
        """Return what the settings make of the detector; time, light and temperature are filled in by `Exposures`."""
        d, mode = self._p.detector, self._p.readout_modes[self._mode]
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
            extra_adu=d.first_frame_adu if self._fresh else 0.0,
            bin_x=self._bin[0],
            bin_y=self._bin[1],
            start_x=self._start[0],
            start_y=self._start[1],
            num_x=self._num[0],
            num_y=self._num[1],
        )

    def conditions(self) -> Conditions:
        """Return what the present settings make of the detector, without light and time."""
        with self.world.lock:
            return self._settings()

    def _session_adu(self) -> float:
        """Return the level's offset of this night (noon to noon): a program started again is in the same session."""
        night = int(self.world.started_at.timestamp() - _DAY_S / 2) // _DAY_S
        return self._p.detector.session_offset_adu * float(
            generator(self.world.params.seed, 6, night).standard_normal()
        )

    # --- cooler -----------------------------------------------------------------------------------------------------

    def _add_cooling(self) -> None:
        c, cooler, now = self._p.cooler, self.world.cooler, self.world.t_s
        self.readers["ccdtemperature"] = self._temperature_c
        self.readers["setccdtemperature"] = lambda: cooler.set_point_c
        self.readers["cooleron"] = lambda: cooler.on
        self.readers["coolerpower"] = self._cooler_power
        self.readers["heatsinktemperature"] = lambda: cooler.ambient_c(now()) + 0.08 * cooler.power_pct(now())
        self.writers["setccdtemperature"] = Writer((("SetCCDTemperature", number),), self._aim)
        self.writers["cooleron"] = Writer((("CoolerOn", truth),), self._switch)
        if not c.has_temperature:
            self.refuse("ccdtemperature")
        if not c.can_set:
            self.refuse("setccdtemperature", "cooleron", "heatsinktemperature")
            self.refuse_put("setccdtemperature", ("SetCCDTemperature", number))
            self.refuse_put("cooleron", ("CoolerOn", truth))
        if not (c.can_set and c.can_get_power):
            self.refuse("coolerpower")

    def _temperature_c(self) -> float:
        t = self.world.t_s()
        lasting = self.world.faults.lasting
        if lasting(FaultKind.TEMPERATURE_NAN, t) is not None:
            return math.nan
        implausible = lasting(FaultKind.TEMPERATURE_IMPLAUSIBLE, t)
        if implausible is not None:
            return implausible.amount
        reading = self.world.cooler.reading_c(t)
        if lasting(FaultKind.TEMPERATURE_FROZEN, t) is None:
            self._frozen_c = None
            return reading
        if self._frozen_c is None:
            self._frozen_c = reading
        return self._frozen_c

    def _cooler_power(self) -> float:
        lost = self.world.faults.lasting(FaultKind.COOLER_POWER_LOSS, self.world.t_s())
        return self.world.cooler.power_pct(self.world.t_s()) if lost is None else lost.amount

    def _aim(self, celsius: float) -> None:
        in_range("SetCCDTemperature", celsius, self._p.cooler.set_point_min_c, self._p.cooler.set_point_max_c)
        self.world.cooler.aim(self.world.t_s(), celsius)
        self.exposures.revision += 1

    def _switch(self, on: bool) -> None:  # noqa: FBT001 - the ASCOM property is a boolean
        self.world.cooler.switch(self.world.t_s(), on=on)
        self.exposures.revision += 1

    # --- exposure ---------------------------------------------------------------------------------------------------

    def _add_exposing(self) -> None:
        self.readers |= {
            "camerastate": lambda: int(self._state()),
            "imageready": self._image_ready,
            "percentcompleted": self._percent,
            "lastexposureduration": lambda: self._last_exposure().conditions.exposure_s,
            "lastexposurestarttime": lambda: iso(self.world.utc(self._last_exposure().starts_s)),
            "imagearray": self.image,
            "imagearrayvariant": self.image,
        }
        self.writers |= {
            "startexposure": Writer((("Duration", number), ("Light", truth)), self._start_exposure),
            "abortexposure": Writer((), self._abort),
            "stopexposure": Writer((), self._stop),
        }

    def _state(self) -> CameraStates:
        if self._exposing is None:
            return CameraStates.ERROR if self._failed else CameraStates.IDLE
        if self._exposing.never or self.world.t_s() < self._exposing.ends_s:
            return CameraStates.EXPOSING
        return CameraStates.READING

    def _image_ready(self) -> bool:
        if self._failed:
            raise AscomError(ErrorNumber.DRIVER, "The exposure failed.")
        return self._exposing is None and self._image is not None

    def _percent(self) -> int:
        if self._exposing is None:
            raise invalid_operation("PercentCompleted has no meaning while the camera is idle.")
        spent, whole_s = self.world.t_s() - self._exposing.starts_s, self._exposing.ends_s - self._exposing.starts_s
        return 100 if whole_s <= 0 else max(0, min(100, int(100 * spent / whole_s)))

    def _last_exposure(self) -> Exposing:
        if self._last is None:
            raise invalid_operation("There was no exposure yet.")
        return self._last

    def _start_exposure(self, duration_s: float, light: bool) -> None:  # noqa: FBT001 - ASCOM's argument
        if self._exposing is not None:
            raise invalid_operation("An exposure is under way.")
        # a dark or bias may be shorter than ExposureMin, down to zero (ICamera.StartExposure)
        in_range("Duration", duration_s, self._p.exposure_min_s if light else 0.0, self._p.exposure_max_s)
        self._check_subframe()
        steps = round(duration_s / self._p.exposure_resolution_s) if self._p.exposure_resolution_s else 0
        exact_s = steps * self._p.exposure_resolution_s if steps else duration_s
        self._failed, self._image = False, None
        self._exposing = self.exposures.begin(self._settings(), duration_s=exact_s, light=light)
        self._fresh = False

    def _check_subframe(self) -> None:
        size = (self._p.width, self._p.height)
        for axis, letter in enumerate("XY"):
            room = size[axis] // self._bin[axis]
            start, num = self._start[axis], self._num[axis]
            if not 0 <= start < room:
                raise invalid_value(f"Start{letter}", start, f"it must be from 0 to {room - 1} at this binning")
            if not 1 <= num <= room - start:
                raise invalid_value(
                    f"Num{letter}", num, f"it must be from 1 to {room - start} at this start and binning"
                )

    def _abort(self) -> None:
        if not self._p.can_abort:
            raise not_implemented("AbortExposure")
        if self._exposing is not None:
            self._exposing.frame.cancel()
        self._exposing, self._failed = None, False

    def _stop(self) -> None:
        if not self._p.can_stop:
            raise not_implemented("StopExposure")
        if self._exposing is not None:
            self.exposures.stop(self._exposing)
