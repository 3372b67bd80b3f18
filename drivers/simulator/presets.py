"""Observatories by name or from a plain mapping (a YAML's, read elsewhere).

The ready-made ones have the quirks of real equipment that a client must survive.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from drivers.base import SettingMode
from drivers.simulator.detector_parameters import DetectorParameters
from drivers.simulator.mapping import merged
from drivers.simulator.params import (
    CameraParameters,
    CoolerParameters,
    DomeParameters,
    FilterParameters,
    ObservatoryParameters,
    PanelParameters,
    SceneParameters,
    SettingParameters,
    SkyParameters,
    TelescopeParameters,
    Transmission,
    WheelParameters,
)

_STANDARD = ObservatoryParameters()


def _with_camera(**changes: object) -> ObservatoryParameters:
    return replace(_STANDARD, camera=replace(CameraParameters(), **changes))  # type: ignore[arg-type]


def _osc() -> ObservatoryParameters:
    return replace(
        _with_camera(name="Simulated QHY600C", sensor_name="IMX455C", colour=True),
        wheel=WheelParameters(filters=(FilterParameters(name="UVIR", throughput=0.9),)),
    )


def _twelve_bit() -> ObservatoryParameters:
    detector = DetectorParameters(bits=12, e_per_adu=0.25, full_well_e=15_000.0, gain_decade=200.0)
    return _with_camera(name="Simulated ASI183MM", sensor_name="IMX183", detector=detector)


def _fourteen_bit() -> ObservatoryParameters:
    detector = DetectorParameters(bits=14, left_shift=False, e_per_adu=3.2, pedestal_adu=100.0, adu_per_offset=2.0)
    return _with_camera(name="Simulated ASI294MM", sensor_name="IMX492", detector=detector)


def _ccd() -> ObservatoryParameters:
    detector = DetectorParameters(
        e_per_adu=0.6,
        full_well_e=25_500.0,
        read_noise_low_gain_e=8.0,
        read_noise_high_gain_e=8.0,
        telegraph_fraction=0.0,
    )
    none = SettingParameters(mode=SettingMode.NONE, default=0)
    return _with_camera(
        name="Simulated KAF-8300",
        sensor_name="KAF-8300",
        has_shutter=True,
        gain=none,
        offset=none,
        detector=detector,
        exposure_min_s=0.1,
        bin_sum=True,
        can_asymmetric_bin=True,
        interface_version=3,
        download_s=8.0,
    )


def _index_gain() -> ObservatoryParameters:
    gain = SettingParameters(mode=SettingMode.INDEX, default=1)
    offset = SettingParameters(mode=SettingMode.INDEX, default=1, names=("low", "normal", "high"), values=(10, 25, 50))
    return _with_camera(gain=gain, offset=offset)


def _both_gain() -> ObservatoryParameters:
    return _with_camera(gain=SettingParameters(mode=SettingMode.BOTH), interface_version=3)


def _lying_maxadu() -> ObservatoryParameters:
    detector = DetectorParameters(saturation_adu=52_000.0)
    return _with_camera(detector=detector, reported_max_adu=255, reported_e_per_adu=1.0)


def _old() -> ObservatoryParameters:
    """Interfaces before Platform 7, no management, .NET's shrinking types."""
    return replace(
        _with_camera(interface_version=3, transmission=Transmission.SHRINK),
        wheel=WheelParameters(interface_version=2),
        panel=PanelParameters(interface_version=1),
        dome=DomeParameters(interface_version=2),
        telescope=TelescopeParameters(interface_version=3),
        management=False,
    )


PRESETS: dict[str, Callable[[], ObservatoryParameters]] = {
    "qhy600m": lambda: _STANDARD,
    "osc": _osc,
    "ccd": _ccd,
    "twelve_bit": _twelve_bit,
    "fourteen_bit": _fourteen_bit,
    "uncooled": lambda: _with_camera(cooler=CoolerParameters(can_set=False, can_get_power=False)),
    "no_cover": lambda: replace(_STANDARD, panel=PanelParameters(has_cover=False, on_cover=False)),
    "no_panel": lambda: replace(_STANDARD, panel=PanelParameters(has_calibrator=False)),
    "no_wheel": lambda: replace(_STANDARD, wheel=None),
    "camera_only": lambda: replace(_STANDARD, wheel=None, panel=None, safety=None, dome=None, telescope=None),
    "on_off_panel": lambda: replace(_STANDARD, panel=PanelParameters(max_brightness=1, light_e_s=60_000.0)),
    "pwm": lambda: replace(_STANDARD, panel=PanelParameters(pwm_hz=120.0, warmup=0.15, warmup_tau_s=60.0)),
    "index_gain": _index_gain,
    "both_gain": _both_gain,
    "lying_maxadu": _lying_maxadu,
    "overshoot": lambda: _with_camera(cooler=CoolerParameters(damping=0.25, response_s=30.0, ripple_c=0.1)),
    "weak_cooler": lambda: _with_camera(cooler=CoolerParameters(max_delta_c=22.0, reading_step_c=0.4)),
    "sky": lambda: replace(
        _STANDARD, panel=PanelParameters(has_calibrator=False), scene=SceneParameters(sky=SkyParameters())
    ),
    "json": lambda: _with_camera(image_bytes=False, width=320, height=240),
    "old": _old,
}
"""Names that `preset` and the key `preset` of a mapping understand."""


def preset(name: str, *, width: int | None = None, height: int | None = None, seed: int = 1) -> ObservatoryParameters:
    """Return a ready-made observatory, at another size and with another seed when given.

    Raises
    ------
    ValueError
        For a name that is not in `PRESETS`.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: {name!r} is unknown; allowed: {', '.join(PRESETS)}")
    found = PRESETS[name]()
    camera = found.camera
    sized = replace(camera, width=width or camera.width, height=height or camera.height)
    return replace(found, camera=sized, seed=seed)


def from_mapping(mapping: Mapping[str, Any], base: ObservatoryParameters | None = None) -> ObservatoryParameters:
    """Build an observatory from a plain mapping with the names of the records' fields.

    Parameters
    ----------
    mapping : Mapping
        May name a `preset` to start from. What is not named keeps its default; a device that is null is not there.
    base : ObservatoryParameters, optional
        What to start from when no preset is named.

    Raises
    ------
    ValueError
        With the path of the key ("camera.detector.bits: ..."), what was found and what is allowed.
    """
    rest = dict(mapping)
    name = rest.pop("preset", None)
    return merged((base or _STANDARD) if name is None else preset(name), rest, path="")
