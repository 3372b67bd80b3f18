"""An Alpaca camera: connection, settings that are read back, temperature; `exposing` takes the exposures.

Retakes and reconnections are not done here; the errors say enough for whoever does them.
"""

import threading

from drivers.alpaca.camera_info import read_info, refreshed, with_sensor_type
from drivers.alpaca.camera_settings import SettingsControl
from drivers.alpaca.camera_status import Status
from drivers.alpaca.device import AlpacaDevice
from drivers.alpaca.exposing import Exposing
from drivers.alpaca.transport import CameraWire, Endpoint, Timeouts
from drivers.base import (
    CameraInfo,
    CameraSettings,
    CameraState,
    CameraStates,
    Exposure,
    ExposureRequest,
    SensorType,
    SettingMode,
)
from drivers.clock import Clock
from drivers.errors import Refused, SettingRefused, SizeRefused, WrongSize


class AlpacaCamera(AlpacaDevice[CameraWire]):
    """A `drivers.base.Camera` over Alpaca: ICameraV4, and V3 and older.

    Parameters
    ----------
    endpoint : Endpoint
    clock : Clock
        The observatory's; sockets use real time all the same.
    timeouts : Timeouts, optional
    gain_mode : SettingMode, optional
        For cameras that answer as if they took their gain by value and by index.
    sensor_type : SensorType, optional
        For drivers that report a wrong one, or none: monochrome is always used, a mosaic only where the camera reports
        none.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        *,
        timeouts: Timeouts | None = None,
        gain_mode: SettingMode | None = None,
        sensor_type: SensorType | None = None,
    ) -> None:
        self._gain_mode = gain_mode
        self._sensor_type = sensor_type
        super().__init__(CameraWire(endpoint, clock, timeouts=timeouts))
        self._label = self._wire.label
        self._settings = SettingsControl(self._wire)
        self._status = Status(self._wire)
        self._exposing = Exposing(self._wire, self._status)
        self._info: CameraInfo | None = None

    @property
    def info(self) -> CameraInfo:
        """What the camera said of itself; raises `Refused` before `connect`."""
        if self._info is None:
            raise Refused(device=self._label, detail="it was not connected yet")
        return self._info

    # --- connecting -------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect and read `info`.

        Raises
        ------
        DeviceLost, DeviceMissing
        WrongDevice
            Name, sensor, size or UniqueID differ from those of the first connection.
        """
        self._wire.open()
        info = read_info(self._wire, unique_id=self.read_unique_id(), gain_mode=self._gain_mode)
        self.recognise(
            name=info.name,
            sensor_name=info.sensor_name,
            size=(info.camera_x_size, info.camera_y_size),
            unique_id=info.unique_id,
        )
        self._info = with_sensor_type(info, self._sensor_type)
        self._settings.begin(info)

    # --- settings ---------------------------------------------------------------------------------------------------

    def apply(self, wanted: CameraSettings) -> CameraSettings:
        """Set in the order ReadoutMode, bin, ROI, gain, offset; read back; set once more what differs.

        A ROI that is not named becomes the full frame of the binning, or what the camera makes of it (whole blocks of
        pixels, say). `info` then contains ElectronsPerADU,
        FullWellCapacity and MaxADU of these settings.

        Raises
        ------
        SettingRefused
            The camera refuses a value, has no such setting, or reads back another value twice.
        DeviceLost
        """
        found = self._settings.apply(wanted)
        self._info = refreshed(self.info, self._wire)
        return found

    def settings(self) -> CameraSettings:
        """Read all settings back."""
        return self._settings.read()

    def readout_mode(self, wanted: int | str) -> int:
        """Return the number of a readout mode given by number or name; raises `SettingRefused` naming all modes."""
        modes = self.info.readout_modes
        folded = [mode.casefold() for mode in modes]
        if isinstance(wanted, str) and wanted.strip().casefold() in folded:
            return folded.index(wanted.strip().casefold())
        if isinstance(wanted, int) and 0 <= wanted < max(1, len(modes)):
            return wanted
        shown = ", ".join(f"{place} {mode!r}" for place, mode in enumerate(modes)) or "none"
        raise SettingRefused(device=self._label, detail=f"it has no readout mode {wanted!r}; it has: {shown}")

    def action(self, name: str, parameters: str = "") -> str:
        """Call an ASCOM Action of `info.supported_actions`; raises `Refused`."""
        return self._wire.action(name, parameters)

    # --- exposing ---------------------------------------------------------------------------------------------------

    def expose(self, request: ExposureRequest, wake: threading.Event | None = None) -> Exposure:
        """Take one exposure; see `Exposing.expose`.

        Raises
        ------
        SizeRefused
            The camera does not start with this size of the full frame, or has sent another one: `apply` sets that.
        """
        try:
            exposure = self._exposing.expose(request, self.info, self._settings.size(), wake)
        except WrongSize as error:
            if not self._settings.fit(error.size):
                raise
            raise SizeRefused(device=error.device, detail=error.detail) from error
        except Refused as error:
            if not self._settings.shrink():
                raise
            raise SizeRefused(device=error.device, detail=error.detail, number=error.number) from error
        self._settings.prove()
        return exposure

    def abort(self) -> None:
        """Abort what runs, or stop it, or wait for Idle; raises `ExposureStalled` when none of it helps."""
        self._exposing.abort(self.info)

    # --- temperature and state --------------------------------------------------------------------------------------

    def state(self) -> CameraState:
        """Read the changing members afresh: never an old value. Raises `DeviceLost` rather than guess."""
        state = self._status.full(self.info)
        if state.activity is CameraStates.IDLE:
            self._exposing.seen_idle()
        return state

    def set_temperature(self, celsius: float) -> None:
        """Set the set-point; raises `Refused` when the camera cannot, or the value is out of its range."""
        self._wire.SetCCDTemperature = float(celsius)

    def set_cooler(self, on: bool) -> None:  # noqa: FBT001 - the ASCOM property is a boolean
        """Switch the cooler; raises `Refused` when the camera has none."""
        self._wire.CoolerOn = on
