"""A camera's changing members, read afresh: with DeviceState in one call where there is one, else one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from drivers.alpaca.transport import CameraWire
from drivers.alpaca.values import UNUSABLE, flag, item, number, reading
from drivers.base import CameraInfo, CameraState, CameraStates
from drivers.errors import DeviceLost, ExposureFailed, NotOffered

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How an exposure stands.

    `activity` is None where the camera has no CameraState, `ccd_temperature_c` known only when it came with the same
    answer.
    """

    activity: CameraStates | None
    image_ready: bool
    ccd_temperature_c: float | None


class Status:
    """Reads the state of one camera.

    Parameters
    ----------
    wire : CameraWire
    """

    def __init__(self, wire: CameraWire) -> None:
        self._wire = wire

    def activity(self) -> CameraStates | None:
        """Read CameraState; None where the driver lacks it: then ImageReady has to do."""
        try:
            return CameraStates(self._wire.CameraState)
        except NotOffered:
            return None
        except UNUSABLE as error:
            raise DeviceLost(device=self._wire.label, detail=f"CameraState is unreadable: {error}") from error

    def temperature(self, info: CameraInfo) -> float | None:
        """Read CCDTemperature; None where it is not offered or not answered this time."""
        wanted = info.has_temperature or info.can_set_temperature
        return self._wire.offered("CCDTemperature", reading) if wanted else None

    def progress(self) -> Progress:
        """Read how the exposure stands.

        Raises
        ------
        ExposureFailed
            ImageReady is answered with an error number: ASCOM's way to say that the exposure failed.
        DeviceLost
        """
        items = self._wire.device_state()
        ready = item(items, "ImageReady", flag)
        if ready is None:  # a member that raises is left out of DeviceState: ask it why
            ready = self._image_ready()
        activity = item(items, "CameraState", CameraStates)
        if activity is None:
            activity = self.activity()
        return Progress(activity=activity, image_ready=ready, ccd_temperature_c=item(items, "CCDTemperature", reading))

    def full(self, info: CameraInfo) -> CameraState:
        """Read everything."""
        items = self._wire.device_state()

        def value(member: str, kind: Callable[[Any], T], *, wanted: bool = True) -> T | None:
            found = item(items, member, kind)
            return self._wire.offered(member, kind) if found is None and wanted else found

        return CameraState(
            activity=value("CameraState", CameraStates),
            image_ready=value("ImageReady", flag),
            ccd_temperature_c=value("CCDTemperature", reading, wanted=info.has_temperature or info.can_set_temperature),
            cooler_power_pct=value("CoolerPower", reading, wanted=info.can_get_cooler_power),
            set_temperature_c=value("SetCCDTemperature", number, wanted=info.can_set_temperature),
            cooler_on=value("CoolerOn", flag),
        )

    def _image_ready(self) -> bool:
        try:
            return flag(self._wire.ImageReady)
        except NotOffered as error:
            raise ExposureFailed(device=self._wire.label, detail=error.detail, number=error.number) from error
        except UNUSABLE as error:
            raise DeviceLost(device=self._wire.label, detail=f"ImageReady is unreadable: {error}") from error
