"""Makes a frame of an exposure: the header says what the devices reported, not what was asked of them.

The one exception is EXPTIME, the requested time, by which exposures are compared; what the camera reports is written
beside it (XPOSURE). Pixels are passed on as they came, without a copy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from calibration.frames import CaptureRequest, Frame, FrameHeader, FrameKind, FrameStats
from calibration.grouping import night_label
from drivers.base import CameraInfo, CameraSettings, CameraState, CoverStatus, Exposure, FilterWheel, SensorType
from services.capture.panel import shown_brightness
from services.capture.state import Reached
from services.capture.thermal import believed_c
from services.config.models import Config
from services.version import version

TRUSTED_CLOCK_S = 2.0
"""LastExposureStartTime is used when it is within this of our clock; some drivers report local time."""

_MOSAICS = {SensorType.RGGB: "RGGB", SensorType.CMYG: "CMYG", SensorType.CMYG2: "CMYG2", SensorType.LRGB: "LRGB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the run and the observatory add to each header."""

    run_id: str
    software: str
    simulated: bool = False
    telescope: str | None = None
    focal_length_mm: float | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    pixel_size_um: float | None = None
    saturation_adu: float | None = None
    filter_labels: Mapping[str, str] = field(default_factory=dict)
    """Names of filters as the wheel has them, by what they are called, where these differ."""


def words_of(config: Config, *, run_id: str, simulated: bool, wheel: FilterWheel | None = None) -> Words:
    """Return the words of a configuration, and of the names of a connected wheel."""
    site = config.site
    labels = {} if wheel is None else dict(zip(wheel.names, wheel.labels, strict=True))
    return Words(
        run_id=run_id,
        software=f"nightcal {version()}",
        simulated=simulated,
        telescope=config.observatory.telescope,
        focal_length_mm=config.observatory.focal_length,
        latitude_deg=None if site is None else site.latitude,
        longitude_deg=None if site is None else site.longitude,
        pixel_size_um=config.camera.pixel_size,
        saturation_adu=config.flat_capture.saturation_adu,
        filter_labels={name: label for name, label in labels.items() if label.strip() != name},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenExposure:
    """An exposure with all that was read around it."""

    request: CaptureRequest
    exposure: Exposure
    info: CameraInfo
    reached: Reached
    state: CameraState


def to_frame(taken: TakenExposure, words: Words) -> Frame:
    """Return the frame of an exposure; `frame_no` and the measured fields come later, from the writer.

    Parameters
    ----------
    taken : TakenExposure
    words : Words

    Returns
    -------
    Frame
        Its pixels are those of the exposure.
    """
    exposure, request = taken.exposure, taken.request
    start, end = times_of(exposure, request.exposure_us)
    asked_us = round((exposure.ended_at - exposure.started_at) / timedelta(microseconds=1))
    header = FrameHeader(
        kind=request.kind,
        shape=(exposure.pixels.shape[0], exposure.pixels.shape[1]),
        exposure_us=request.exposure_us,
        reported_exposure_us=_us(exposure.reported_duration_s or None),  # 0: the driver does not know
        asked_exposure_us=None if asked_us == request.exposure_us else asked_us,
        date_obs=start,
        date_avg=start + (end - start) / 2,
        date_end=end,
        night=night_label(start, words.longitude_deg),
        run_id=words.run_id,
        set_id=request.set_id,
        telescope=words.telescope,
        focal_length_mm=words.focal_length_mm,
        site_latitude_deg=words.latitude_deg,
        site_longitude_deg=words.longitude_deg,
        simulated=words.simulated,
        software=words.software,
        row_order="TOP-DOWN",
        saturation_adu=_saturation_adu(taken, words),
        **_camera_fields(taken.info, taken.reached.settings, words),
        **_temperature_fields(exposure, taken.state),
        **_light_fields(request, taken.reached, words),
    )
    return Frame(header=header, pixels=exposure.pixels)


def with_stats(header: FrameHeader, stats: FrameStats, frame_no: int | None) -> FrameHeader:
    """Return the header with what was measured on the pixels."""
    return replace(
        header,
        frame_no=frame_no,
        step_adu=stats.step_adu,
        median_adu=stats.level_adu,
        std_adu=stats.sigma_adu,
        min_adu=stats.min_adu,
        max_adu=stats.max_adu,
    )


def times_of(exposure: Exposure, exposure_us: int) -> tuple[datetime, datetime]:
    """Return start and end: the camera's own start only where it agrees with our clock.

    A start in whole seconds says less than our clock: what it cut off would be lost.
    """
    reported = exposure.reported_start
    start = exposure.started_at
    agrees = reported is not None and abs((reported - start).total_seconds()) <= TRUSTED_CLOCK_S
    if reported is not None and agrees and reported.microsecond != 0:
        start = reported
    return start, start + timedelta(seconds=exposure.reported_duration_s or exposure_us / 1e6)


def has_mosaic(info: CameraInfo, settings: CameraSettings) -> bool:
    """Whether frames carry a colour mosaic: binning by the camera destroys it."""
    return info.sensor_type in _MOSAICS and (settings.bin_x or 1) == 1 and (settings.bin_y or 1) == 1


def mode_name(info: CameraInfo, number: int | None) -> str | None:
    """Return the name of a readout mode; its number where the camera has no names."""
    if number is None:
        return None
    return info.readout_modes[number] if 0 <= number < len(info.readout_modes) else str(number)


def _camera_fields(info: CameraInfo, settings: CameraSettings, words: Words) -> dict[str, Any]:
    bin_x, bin_y = settings.bin_x or 1, settings.bin_y or 1
    start_x, start_y = settings.start_x or 0, settings.start_y or 0
    fields: dict[str, Any] = {
        "instrument": info.name,
        "camera_id": info.unique_id,
        "detector": info.sensor_name,
        "gain": settings.gain,
        "offset": settings.offset,
        "readout_mode": mode_name(info, settings.readout_mode),
        "egain_e_adu": _plausible_egain(info),
        "bin_x": bin_x,
        "bin_y": bin_y,
        "origin_x": start_x,
        "origin_y": start_y,
        "pixel_size_x_um": _binned(info.pixel_size_x_um or words.pixel_size_um, bin_x),
        "pixel_size_y_um": _binned(info.pixel_size_y_um or words.pixel_size_um, bin_y),
    }
    if has_mosaic(info, settings) and info.sensor_type is not None:
        # A subframe that starts on an odd column or row begins in the middle of a cell.
        fields["bayer_pattern"] = _MOSAICS[info.sensor_type]
        fields["bayer_offset_x"] = ((info.bayer_offset_x or 0) - start_x) % 2
        fields["bayer_offset_y"] = ((info.bayer_offset_y or 0) - start_y) % 2
    return fields


def _temperature_fields(exposure: Exposure, state: CameraState) -> dict[str, Any]:
    begin, end = believed_c(exposure.temperature_begin_c), believed_c(exposure.temperature_end_c)
    known = [t for t in (begin, end) if t is not None]
    return {
        "ccd_temp_c": sum(known) / len(known) if known else believed_c(state.ccd_temperature_c),
        "temp_begin_c": begin,
        "temp_end_c": end,
        "set_temp_c": state.set_temperature_c if state.cooler_on is not False else None,
        "cooler_power_pct": state.cooler_power_pct,
    }


def _light_fields(request: CaptureRequest, reached: Reached, words: Words) -> dict[str, Any]:
    panel = reached.panel
    fields: dict[str, Any] = {"filter": reached.filter}
    fields["filter_label"] = words.filter_labels.get(reached.filter or "")
    if request.kind is FrameKind.FLAT:
        lit = panel is not None and panel.lit
        fields["source"] = "panel" if lit else request.source
    if panel is not None:
        fields["panel_brightness"] = shown_brightness(panel)
        fields["cover"] = None if panel.cover is CoverStatus.NOT_PRESENT else panel.cover.name.lower()
    return fields


def _saturation_adu(taken: TakenExposure, words: Words) -> float | None:
    """Return where pixels saturate: what the plan knows or the configuration says, for dark frames else MaxADU.

    MaxADU is believed until a pixel lies above it. Flats are asked for by plans that know better.
    """
    known = taken.request.limits.saturation_adu or words.saturation_adu
    max_adu = taken.info.max_adu
    if known is not None or max_adu is None or taken.request.kind is FrameKind.FLAT:
        return known
    return float(max_adu) if 0 < max_adu >= taken.exposure.pixels.max(initial=0) else None


def _plausible_egain(info: CameraInfo) -> float | None:
    """Return ElectronsPerADU where it can be true; drivers that do not know say 0, 1 or something huge."""
    egain = info.electrons_per_adu
    return egain if egain is not None and 0.001 < egain < 100 and egain != 1.0 else None


def _binned(size_um: float | None, binning: int) -> float | None:
    return None if size_um is None else size_um * binning


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e6)
