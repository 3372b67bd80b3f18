"""The pedestal of earlier nights: a camera whose gain or offset are not what they read gives itself away by it.

A night whose biases were refused for their pedestal counts as well. So a camera that was changed for good (another
firmware, a repair) costs one night, is believed from the next one on, and is never locked out; one that was
misread for a night widens the limits, and both levels are taken then.
"""

from datetime import datetime
from statistics import median

from calibration.checks import pedestal_limits
from calibration.errors import FrameCode
from calibration.frames import FrameKind
from calibration.grouping import night_label
from calibration.plans.sequence import WantedSet
from services.catalogue.rows import FactRow, SetRow
from services.planning.having import Requirement
from services.workflow.context import RunContext

NIGHTS = 10
"""The last nights with biases are asked; a camera that was changed for good widens its limits and is soon believed."""

REFUSED = "refused_bias_adu"
"""The fact that biases of a night were refused at this level, all of them."""


def usual_pedestal(context: RunContext, *, gain: int | None, set_temp_c: float | None) -> tuple[float, float] | None:
    """Return the pedestal to be expected in a state and the difference allowed, ADU.

    None until biases of two earlier nights with the same settings are there, and with `--fresh`.
    """
    if context.options.fresh:
        return None
    match = _match(context, gain, set_temp_c)
    sets = [
        s for s in context.place.catalogue.sets(FrameKind.BIAS) if match.fits(s.key) and s.mean_level_adu is not None
    ]
    nights: dict[str, list[float]] = {}
    for biases in sets:
        if biases.night is not None and biases.mean_level_adu is not None:
            nights.setdefault(biases.night, []).append(biases.mean_level_adu)
    for fact in context.place.catalogue.facts(camera=context.camera, name=REFUSED, settings=_settings(match)):
        nights.setdefault(_night(context, fact.at), []).append(fact.value)
    nights.pop(_night(context, context.clock.now()), None)
    levels = [median(nights[night]) for night in sorted(nights, reverse=True)[:NIGHTS]]
    return pedestal_limits(levels, step_adu=_step_adu(context, sets))


def note_refused(context: RunContext, wanted: WantedSet, set_id: str) -> None:
    """Remember the level of biases that nothing spoke against but their pedestal, for the nights to come.

    Levels that do not agree among themselves are no pedestal: a camera's wanders by a few ADU within a set.
    """
    refusals = context.place.catalogue.refusals(set_id=set_id)
    levels = [r.level_adu for r in refusals if set(r.codes) == {FrameCode.PEDESTAL_OFF} and r.level_adu is not None]
    usual = usual_pedestal(context, gain=wanted.gain, set_temp_c=wanted.set_temp_c)
    if usual is None or len(levels) < 2 or max(levels) - min(levels) > usual[1]:
        return
    settings = _settings(_match(context, wanted.gain, wanted.set_temp_c))
    now = context.clock.now()
    fact = FactRow(camera=context.camera, name=REFUSED, value=median(levels), at=now, settings=settings)
    context.place.catalogue.add_fact(fact)


def _match(context: RunContext, gain: int | None, set_temp_c: float | None) -> Requirement:
    return context.match(WantedSet(kind=FrameKind.BIAS, count=1, why=(), gain=gain, set_temp_c=set_temp_c))


def _settings(match: Requirement) -> dict[str, object]:
    return {
        "binning": match.binning,
        "gain": match.gain,
        "offset": match.offset,
        "readout_mode": match.readout_mode,
        "set_temp_c": match.temperature_c,
    }


def _night(context: RunContext, at: datetime) -> str:
    site = context.config.site
    return night_label(at, None if site is None else site.longitude)


def _step_adu(context: RunContext, sets: list[SetRow]) -> int:
    """Return the converter's step in the newest biases, 1 where it is not known."""
    frames = context.place.catalogue.frames(set_id=sets[0].set_id) if sets else ()
    return max((row.step_adu or 1 for row in frames), default=1)
