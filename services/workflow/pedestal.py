"""The pedestal of earlier nights: a camera whose gain or offset are not what they read gives itself away by it."""

from statistics import median

from calibration.checks import pedestal_limits
from calibration.frames import FrameKind
from calibration.grouping import night_label
from calibration.plans.sequence import WantedSet
from services.workflow.context import RunContext

NIGHTS = 10
"""The last nights with biases are asked; a camera that was changed for good widens its limits and is soon believed."""


def usual_pedestal(context: RunContext, *, gain: int | None, set_temp_c: float | None) -> tuple[float, float] | None:
    """Return the pedestal to be expected in a state and the difference allowed, ADU.

    None until biases of two earlier nights with the same settings are there, and with `--fresh`.
    """
    if context.options.fresh:
        return None
    match = context.match(WantedSet(kind=FrameKind.BIAS, count=1, why=(), gain=gain, set_temp_c=set_temp_c))
    site = context.config.site
    tonight = night_label(context.clock.now(), None if site is None else site.longitude)
    nights: dict[str, list[float]] = {}
    for biases in context.catalogue.sets(FrameKind.BIAS):
        if match.fits(biases.key) and biases.night not in {None, tonight} and biases.mean_level_adu is not None:
            nights.setdefault(str(biases.night), []).append(biases.mean_level_adu)
    return pedestal_limits([median(levels) for levels in list(nights.values())[:NIGHTS]])
