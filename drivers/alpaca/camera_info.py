"""What a camera says of itself: read after connecting, and what its settings change read again after they were set."""

from dataclasses import dataclass, replace
from typing import Any

from drivers.alpaca.transport import CameraWire
from drivers.alpaca.values import flag, number, reading, text, texts, whole
from drivers.base import CameraInfo, SensorType, SettingMode

_MODES = {
    (False, False): SettingMode.NONE,
    (False, True): SettingMode.VALUE,
    (True, False): SettingMode.INDEX,
    (True, True): SettingMode.BOTH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    mode: SettingMode
    low: int | None
    high: int | None
    names: tuple[str, ...]


def read_info(wire: CameraWire, *, unique_id: str | None, gain_mode: SettingMode | None) -> CameraInfo:
    """Read all members of `CameraInfo`.

    Parameters
    ----------
    wire : CameraWire
        Connected.
    unique_id : str or None
        From the server's management API.
    gain_mode : SettingMode or None
        What the configuration says, for cameras that answer as if they had both modes.

    Raises
    ------
    DeviceLost, Refused
        A member every camera must have is unreadable or refused.
    """
    gain = _setting(wire, "Gain", gain_mode)
    offset = _setting(wire, "Offset", None)
    return CameraInfo(
        name=wire.ask("Name", text),
        unique_id=unique_id,
        description=wire.offered("Description", text) or "",
        interface_version=wire.InterfaceVersion,
        sensor_name=wire.offered("SensorName", text) or None,
        sensor_type=wire.offered("SensorType", _sensor_type),
        bayer_offset_x=wire.offered("BayerOffsetX", whole),
        bayer_offset_y=wire.offered("BayerOffsetY", whole),
        camera_x_size=wire.ask("CameraXSize", whole),
        camera_y_size=wire.ask("CameraYSize", whole),
        pixel_size_x_um=wire.offered("PixelSizeX", number),
        pixel_size_y_um=wire.offered("PixelSizeY", number),
        max_bin_x=wire.ask("MaxBinX", whole),
        max_bin_y=wire.ask("MaxBinY", whole),
        exposure_min_s=wire.offered("ExposureMin", number) or 0.0,
        exposure_max_s=wire.offered("ExposureMax", number) or 3600.0,
        exposure_resolution_s=wire.offered("ExposureResolution", number) or 0.0,
        max_adu=wire.offered("MaxADU", whole),
        electrons_per_adu=wire.offered("ElectronsPerADU", number),
        full_well_capacity_e=wire.offered("FullWellCapacity", number),
        has_temperature=wire.offered("CCDTemperature", reading) is not None,
        readout_modes=wire.offered("ReadoutModes", texts) or (),
        supported_actions=wire.offered("SupportedActions", texts) or (),
        can_asymmetric_bin=wire.offered("CanAsymmetricBin", flag) or False,
        has_shutter=wire.offered("HasShutter", flag) or False,
        can_abort=wire.offered("CanAbortExposure", flag) or False,
        can_stop=wire.offered("CanStopExposure", flag) or False,
        can_set_temperature=wire.offered("CanSetCCDTemperature", flag) or False,
        can_get_cooler_power=wire.offered("CanGetCoolerPower", flag) or False,
        gain_mode=gain.mode,
        gain_min=gain.low,
        gain_max=gain.high,
        gains=gain.names,
        offset_mode=offset.mode,
        offset_min=offset.low,
        offset_max=offset.high,
        offsets=offset.names,
    )


def refreshed(info: CameraInfo, wire: CameraWire) -> CameraInfo:
    """Return `info` with what depends on gain and readout mode as it is at the settings in force.

    Raises
    ------
    DeviceLost
    """
    return replace(
        info,
        max_adu=wire.offered("MaxADU", whole),
        electrons_per_adu=wire.offered("ElectronsPerADU", number),
        full_well_capacity_e=wire.offered("FullWellCapacity", number),
    )


def _setting(wire: CameraWire, member: str, configured: SettingMode | None) -> _Setting:
    """Return mode, limits and names of Gain or Offset.

    The modes exclude each other by the specification; INDI's bridge answers all three members. Names without limits:
    an index. Limits without names: a value. Both: the mode of the configuration, or BOTH where it names none.
    """
    names = wire.offered(f"{member}s", texts) or ()
    low = wire.offered(f"{member}Min", whole)
    high = wire.offered(f"{member}Max", whole)
    mode = _MODES[bool(names), low is not None]
    if mode is SettingMode.BOTH and configured is not None:
        mode = configured
    return _Setting(mode=mode, low=low, high=high, names=names)


def _sensor_type(value: Any) -> SensorType:
    return SensorType(int(value))


def with_sensor_type(info: CameraInfo, configured: SensorType | None) -> CameraInfo:
    """Return what a camera says with the kind of sensor that the configuration names; see `AlpacaCamera`."""
    mosaic = info.sensor_type not in (None, SensorType.MONOCHROME)
    if configured is None or (mosaic and configured is not SensorType.MONOCHROME):
        return info
    return replace(info, sensor_type=configured)
