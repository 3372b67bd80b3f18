"""The simulated camera as ICameraV4 (or V3): what it offers and its exposures, by the rules of ASCOM.

BinX returns to 1 on connecting and NumX does not follow BinX, as real drivers do; a subframe that does not fit is
refused at StartExposure. ImageReady is true only when the time is over *and* the frame is rendered.
"""

from concurrent.futures import Future
from functools import partial
from typing import Any

from drivers.base import CameraStates, SensorType
from drivers.simulator.cooling import CoolingMembers
from drivers.simulator.darkroom import Darkroom
from drivers.simulator.device import Device, PutMember, World, in_range, iso, number, truth, whole
from drivers.simulator.errors import AscomError, ErrorNumber, invalid_operation, not_implemented
from drivers.simulator.exposing import Exposing, Exposures, Pixels
from drivers.simulator.faults import DeviceKind, FaultKind
from drivers.simulator.params import CameraParameters
from drivers.simulator.sensor import Conditions
from drivers.simulator.settings import Settings

_STATE_MEMBERS = (
    "CameraState",
    "CCDTemperature",
    "CoolerPower",
    "HeatSinkTemperature",
    "ImageReady",
    "PercentCompleted",
    "IsPulseGuiding",
)


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
        self.settings = Settings(world)
        self._cooling = CoolingMembers(world, self.exposures.intervene)
        self._exposing: Exposing | None = None
        self._failed = False
        self._image: Pixels | None = None
        self._last: Exposing | None = None
        self._previous: Pixels | None = None
        self._add_facts()
        self.readers |= self.settings.readers() | self._cooling.readers()
        self.writers |= self.settings.writers() | self._cooling.writers()
        self._add_exposing()

    def state_members(self) -> tuple[tuple[str, str], ...]:
        """Return DeviceState's items."""
        return tuple((name, name.lower()) for name in _STATE_MEMBERS)

    def on_connect(self, waited_s: float) -> None:  # noqa: ARG002 - the camera is ready at once
        """Come up with a full unbinned frame; the next exposure is a first one."""
        self.settings.begin()

    def on_disconnect(self) -> None:
        """Forget the exposure under way, the image and the last exposure, as drivers do that close their camera."""
        self._exposing, self._image, self._last, self._failed = None, None, None, False

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
        facts = _facts(p)
        self.readers |= {member: partial(facts.__getitem__, member) for member in facts}
        self.readers |= {
            "sensortype": lambda: int(SensorType.RGGB if self._bayer() else SensorType.MONOCHROME),
            "bayeroffsetx": lambda: self._bayer_offset(p.bayer_offset_x),
            "bayeroffsety": lambda: self._bayer_offset(p.bayer_offset_y),
            "electronsperadu": self._electrons_per_adu,
            "fullwellcapacity": lambda: self.settings.conditions().full_well_e,
            "ispulseguiding": lambda: False,
        }
        self.refuse("fastreadout", "subexposureduration")
        self.refuse_put("fastreadout", ("FastReadout", truth))
        self.refuse_put("pulseguide", ("Direction", whole), ("Duration", whole))
        self.refuse_put("subexposureduration", ("SubExposureDuration", number))

    def _bayer(self) -> bool:
        """Return whether the frame is a mosaic: binning mixes the colours."""
        return self._p.colour and self.settings.subframe.bins == [1, 1]

    def _bayer_offset(self, offset: int) -> int:
        if not self._bayer():
            raise not_implemented("BayerOffset of a monochrome sensor")
        return offset

    def _electrons_per_adu(self) -> float:
        reported = self._p.reported_e_per_adu
        if reported == 0:
            raise not_implemented("ElectronsPerADU")
        return self.settings.conditions().e_per_adu if reported is None else reported

    # --- settings ---------------------------------------------------------------------------------------------------

    def conditions(self) -> Conditions:
        """Return what the present settings make of the detector, without light and time."""
        with self.world.lock:
            return self.settings.conditions()

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
            "startexposure": PutMember((("Duration", number), ("Light", truth)), self._start_exposure),
            "abortexposure": PutMember((), self._abort),
            "stopexposure": PutMember((), self._stop),
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
        self.settings.subframe.check()
        steps = round(duration_s / self._p.exposure_resolution_s) if self._p.exposure_resolution_s else 0
        exact_s = round(steps * self._p.exposure_resolution_s, 9) if steps else duration_s
        self._begin(exact_s, light=light)

    def _begin(self, duration_s: float, *, light: bool) -> None:
        self._failed, self._image = False, None
        self._exposing = self.exposures.begin(self.settings.conditions(), duration_s=duration_s, light=light)
        self.settings.fresh = False

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


def _facts(p: CameraParameters) -> dict[str, Any]:
    """Return the members that never change."""
    return {
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
