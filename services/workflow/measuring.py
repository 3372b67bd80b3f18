"""Measuring the detector before flats: pedestal, saturation (compared with MaxADU) and gain, which are catalogued."""

from typing import Any

from calibration.errors import CalibrationError, GroupCode
from calibration.frames import Cover, FrameKind
from calibration.plans.detector import DarkestLight, Detector, measure_detector
from calibration.plans.sequence import WantedSet
from calibration.plans.settings import Darkness
from calibration.system_gain import judge_gain
from services.capture.failures import GroupFailed
from services.catalogue.replay import facts_of
from services.errors import RunCode
from services.events.devices import DetectorMeasured
from services.planning.having import Requirement
from services.planning.wanted import (
    State,
    camera_facts,
    exposure_state,
    flat_filters,
    panel_settings,
    saturating_lamp,
)
from services.workflow.context import RunContext
from services.workflow.pedestal import usual_pedestal

BELIEVED = "k_adu_e"
REFUSED = "k_adu_e_refused"
"""Names of the facts that K was measured, and that it was measured and refused."""


def measured(context: RunContext, state: State) -> Detector:
    """Measure the detector in a state.

    Raises
    ------
    GroupFailed
        The frames for it cannot be had, the lamp gives no light, or pedestal or system gain are not those of earlier
        nights or of this gain.
    """
    config, session = context.config, context.session
    panel = panel_settings(config.flat_panel, session.panel_info) if config.flat_capture.source == "panel" else None
    lamp = saturating_lamp(config, panel, flat_filters(config, session.filters, context.opaque))
    plan = measure_detector(
        exposure_state(config, state), camera_facts(config, session.camera_info), darkness(context), lamp=lamp
    )
    try:
        detector = session.run(plan)
    except CalibrationError as error:
        raise GroupFailed(GroupCode.NO_FRAMES, str(error)) from error
    if detector.darkest is not None:
        raise GroupFailed(GroupCode.NO_LIGHT, _no_light(detector, detector.darkest))
    try:
        _compare(context, state, detector)
        _check_gain(context, state, detector)
    except GroupFailed:
        _announce(context, state, detector, believed=False)
        raise
    _announce(context, state, detector, believed=True)
    return detector


def _no_light(detector: Detector, seen: DarkestLight) -> str:
    """Return in words what was seen of a lamp that gives no light."""
    lamp = "" if seen.brightness is None else f" at brightness {seen.brightness}"
    through = f" through {' and '.join(seen.filters)}" if seen.filters else ""
    return (
        f"{seen.level_adu:.0f} ADU in {seen.exposure_us / 1e6:g} s{lamp}{through}, which is the pedestal of "
        f"{detector.bias_adu:.0f} ADU"
    )


def measured_saturation(context: RunContext, gain: int | None) -> float | None:
    """Return the saturation level that was found last with these settings, in ADU; None while it is not known."""
    here = _settings(context, gain)
    facts = context.place.catalogue.facts(camera=context.camera, name="saturation_adu")
    return next((fact.value for fact in facts if fact.holds_for(here)), None)


def darkness(context: RunContext, **known: Any) -> Darkness:
    """Return what makes it dark here, and what is `known` of how a dark looks (other fields of `Darkness`)."""
    panel = context.session.panel_info
    closes = context.config.darkness == "cover" and panel is not None and panel.has_cover
    named = context.config.darkness.removeprefix("filter:") if context.config.darkness.startswith("filter:") else None
    return Darkness(
        cover=Cover.CLOSED if closes else Cover.LEAVE,
        filter=named or (context.opaque[0] if context.opaque else None),
        **known,
    )


def _compare(context: RunContext, state: State, detector: Detector) -> None:
    usual = usual_pedestal(context, gain=state.gain, set_temp_c=state.temperature_c)
    if usual is not None and abs(detector.bias_adu - usual[0]) > usual[1]:
        detail = (
            f"the pedestal is {detector.bias_adu:.0f} ADU, in earlier nights it was {usual[0]:.0f} ± {usual[1]:.0f}"
        )
        raise GroupFailed(GroupCode.SETTING_REFUSED, f"{detail}: gain or offset are not what they read")


def _check_gain(context: RunContext, state: State, detector: Detector) -> None:
    if detector.k_adu_e is None or context.options.fresh:
        return
    facts = context.place.catalogue.facts
    believed, refused = (facts(camera=context.camera, name=name) for name in (BELIEVED, REFUSED))
    verdict = judge_gain(
        detector.k_adu_e,
        _settings(context, state.gain),
        believed=believed,
        refused=refused,
        now=context.clock.now(),
        pixels=_measured_pixels(context, detector),
    )
    if verdict is not None:
        raise GroupFailed(GroupCode.SETTING_REFUSED, verdict.detail)


def _measured_pixels(context: RunContext, detector: Detector) -> int:
    """Return on how many pixels noise is measured: the central quarter, of one plane of a mosaic."""
    info, (bin_x, bin_y) = context.session.camera_info, context.config.camera.active.bin_xy
    frame = (info.camera_x_size // bin_x) * (info.camera_y_size // bin_y)
    return frame // (16 if detector.bayer else 4)


def _match(context: RunContext, gain: int | None) -> Requirement:
    return context.match(WantedSet(kind=FrameKind.BIAS, count=1, why=(), gain=gain))


def _settings(context: RunContext, gain: int | None) -> dict[str, object]:
    """Return the settings that facts of the detector depend on, as they are catalogued."""
    match = _match(context, gain)
    return {
        "gain": match.gain,
        "offset": match.offset,
        "readout_mode": match.readout_mode,
        "binning": None if match.binning is None else list(match.binning),  # as JSON gives it back
    }


def _announce(context: RunContext, state: State, detector: Detector, *, believed: bool) -> None:
    """Report and catalogue what was measured, and whether K is believed."""
    match = _match(context, state.gain)
    measured = DetectorMeasured(
        camera=context.camera,
        bias_adu=detector.bias_adu,
        saturation_adu=detector.saturation_adu,
        saturation_source=detector.saturation_source,
        step_adu=detector.step_adu,
        k_adu_e=detector.k_adu_e if believed else None,
        k_adu_e_refused=None if believed else detector.k_adu_e,
        gain=match.gain,
        offset=match.offset,
        readout_mode=match.readout_mode,
        binning=match.binning,
        set_temp_c=state.temperature_c,
        apart=context.apart(exposure_state(context.config, state)),
    )
    event = context.events.emit(measured)
    for fact in facts_of(measured, event.at):
        context.place.catalogue.add_fact(fact)
    if detector.max_adu_wrong:
        detail = f"MaxADU is {detector.max_adu}, but pixels saturate at {detector.saturation_adu:.0f} ADU"
        context.warn(RunCode.MAXADU_WRONG, detail, once=True)
