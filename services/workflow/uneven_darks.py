"""A doubt about the darks of a first night: brighter on one side than the biases, with no master to compare with."""

from collections.abc import Iterable

from calibration.checks.one_sided import Looked, one_sided_adu
from calibration.plans.sequence import WantedSet
from services.catalogue.rows import SetRow
from services.errors import RunCode
from services.workflow.context import RunContext
from services.workflow.dark_facts import bias_set, stats_of


def doubt_uneven(context: RunContext, sets: Iterable[WantedSet]) -> None:
    """Tell once a run when one side of the darks just taken gains more than the others, the longer the more.

    Parameters
    ----------
    context : RunContext
    sets : iterable of WantedSet
        The darks of one state that no earlier master says anything of.
    """
    wanted = list(sets)
    looked = [seen for each in wanted if (seen := _looked(context, context.having(each).row)) is not None]
    bias = _looked(context, bias_set(context, wanted[0])) if looked else None
    found = None if bias is None else one_sided_adu(bias, looked)
    if found is not None:
        exposure_us, adu = found
        detail = f"dark {exposure_us / 1e6:g} s is {adu:.0f} ADU brighter on one side than the bias"
        context.warn(RunCode.UNEVEN_DARK, f"{detail}: a leak, or the sensor's own glow; look at it", once=True)


def _looked(context: RunContext, row: SetRow | None) -> Looked | None:
    """Return the newest frame of a set as it was measured; None when there is none that can be read."""
    stats = None if row is None else stats_of(context, row)
    if row is None or stats is None:
        return None
    return Looked(exposure_us=row.exposure_us or 0, stats=stats, shape=row.key.shape)
