"""The simulated camera as ICameraV4 (or V3): its settings, its exposure and its cooler, by the rules of ASCOM.

BinX returns to 1 on connecting and NumX does not follow BinX, as real drivers do; a subframe that does not fit is
refused at StartExposure. ImageReady is true only when the time is over *and* the frame is rendered.
"""

import json
import math
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from drivers.base import CameraStates, SensorType
from drivers.simulator.cooling import CoolingMembers
from drivers.simulator.darkroom import Darkroom
from drivers.simulator.device import Device, World, Writer, in_range, iso, number, truth, whole
from drivers.simulator.errors import AscomError, ErrorNumber, invalid_operation, not_implemented
from drivers.simulator.exposing import Exposing, Exposures, Pixels
from drivers.simulator.faults import DeviceKind, FaultKind
from drivers.simulator.maps import generator
from drivers.simulator.sensor import Conditions
from drivers.simulator.settings import Setting
from drivers.simulator.subframe import Subframe

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
        self.subframe = Subframe(self._p, self._on_mode)
        self._cooling = CoolingMembers(world, self.exposures.intervene)
        self._exposing: Exposing | None = None
        self._failed = False
        self._image: Pixels | None = None
        self._last: Exposing | None = None
        self._previous: Pixels | None = None
        self._fresh = True
        self._add_facts()
        self._add_settings()
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
        self.subframe.reset()
        self._on_mode()

    def on_disconnect(self) -> None:
        """Forget the exposure under way and the image, as drivers do that close their camera."""
        self._exposing, self._image, self._failed = None, None, False

    def rendering(self) -> Future[Pixels] | None:
        """Return the frame that is still computed though its exposure is over: it is worth waiting a little for.

        A client on a fast clock then need not ask again and again.
        """
        with self.world.lock:
            self.settle()
            late = self._exposing
            overdue = late is not None and not late.never and self.world.t_s() >= late.ready_s
            return late.frame if late is not None and overdue else None

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
        self._cooling.settle()
        if under_way is None or under_way.never or t < under_way.ready_s:
            return
        if under_way.error:
            self._exposing, self._failed = None, True
            return
        self.exposures.check(under_way)
        if under_way.frame.done() or (under_way.stale and self._previous is not None):
            self._image = self.exposures.finish(under_way, self._previous)
            self._previous = self._image if self.world.params.faults else None  # only faults ask for it
            self._last, self._exposing = under_way, None

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
        return self._p.colour and self.subframe.bins == [1, 1]

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
        self.readers |= self.subframe.readers() | self._cooling.readers()
        self.writers |= self.subframe.writers() | self._cooling.writers()
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
        if value != self._mode:
            self._on_mode()
        self._mode = value
        if self._p.mode_resets_gain:
            self.gain.reset()
            self.offset.reset()

    def _on_mode(self) -> None:
        """Know that the next frame is a first one: its level differs a little."""
        self._fresh = True

    def _settings(self) -> Conditions:
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
            extra_adu=d.first_frame_adu if self._fresh else 0.0,
            bin_x=frame.bins[0],
            bin_y=frame.bins[1],
            start_x=frame.start[0],
            start_y=frame.start[1],
            num_x=frame.num[0],
            num_y=frame.num[1],
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

    # --- exposure ---------------------------------------------------------------------------------------------------

    def _add_exposing(self) -> None:
        self.readers |= {
            "camerastate": lambda: int(self._state()),
            "imageready": self._image_ready,
            "percentcompleted": self._percent,
            "lastexposureduration": lambda: self._last_exposure().conditions.exposure_s,
            "lastexposurestarttime": lambda: iso(self.world.utc(self._last_exposure().starts_s)),
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
        if self._exposing is None:  # an error would be allowed here, but conformance checkers take it for a fault
            return 0 if self._image is None else 100
        spent, whole_s = self.world.t_s() - self._exposing.starts_s, self._exposing.ends_s - self._exposing.starts_s
        return 100 if whole_s <= 0 else max(0, min(100, int(100 * spent / whole_s)))

    def _last_exposure(self) -> Exposing:
        if self._last is None:
            raise invalid_operation("There was no exposure yet.")
        return self._last

    def _start_exposure(self, duration_s: float, light: bool) -> None:  # noqa: FBT001 - ASCOM's argument
        theirs = self.world.faults.strikes(FaultKind.FOREIGN_EXPOSURE, self.world.t_s())
        if theirs is not None:
            self._begin(theirs.amount, light=True)
        if self._exposing is not None:
            raise invalid_operation("An exposure is under way.")
        # a dark or bias may be shorter than ExposureMin, down to zero (ICamera.StartExposure)
        in_range("Duration", duration_s, self._p.exposure_min_s if light else 0.0, self._p.exposure_max_s)
        self.subframe.check()
        steps = round(duration_s / self._p.exposure_resolution_s) if self._p.exposure_resolution_s else 0
        exact_s = round(steps * self._p.exposure_resolution_s, 9) if steps else duration_s
        self._begin(exact_s, light=light)

    def _begin(self, duration_s: float, *, light: bool) -> None:
        self._failed, self._image = False, None
        self._exposing = self.exposures.begin(self._settings(), duration_s=duration_s, light=light)
        self._fresh = False

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
