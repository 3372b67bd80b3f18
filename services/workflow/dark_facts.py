"""What is known of the dark before a set is taken: pedestal, its gradient, dark current, and the last master.

On a first night there is no master to compare with: darks that are brighter on one side than the biases are doubted.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from calibration.checks.one_sided import Looked, one_sided_adu
from calibration.frames import DarkSeen, FrameKind, FrameStats
from calibration.plans.darkness import dark_rate
from calibration.plans.sequence import WantedSet
from calibration.plans.settings import Darkness, Earlier
from calibration.stats import measure
from services.catalogue.rows import MasterRow, SetRow
from services.errors import RunCode, StorageError
from services.files.fits import read_pixels
from services.workflow.context import RunContext
from services.workflow.measuring import darkness

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def dark_facts(context: RunContext, wanted: WantedSet, darkest: DarkSeen | None = None) -> Darkness:
    """Return what makes it dark, and all that is known of how dark the frames of a set must be.

    `darkest` is what the sets just before, of the same settings, have shown. With `--fresh` the last master is not
    looked at: so a camera that was changed for good gets its new library.
    """
    earlier = None if context.options.fresh else _earlier(context, wanted)
    if wanted.kind is FrameKind.BIAS:
        return darkness(context, earlier=earlier)
    biases = bias_set(context, wanted)
    stats = None if biases is None else stats_of(context, biases)
    bias_adu = None if biases is None else biases.mean_level_adu
    return darkness(
        context,
        bias_adu=bias_adu,
        bias_gradient_adu=None if stats is None else stats.gradient_adu,
        rate_adu_s=_rate(context, wanted, bias_adu, earlier),
        earlier=earlier,
        darkest=darkest,
    )


def has_master(context: RunContext, wanted: WantedSet) -> bool:
    """Return whether an earlier master shows how dark the frames of a set are."""
    return not context.options.fresh and _earlier(context, wanted) is not None


def bias_set(context: RunContext, wanted: WantedSet) -> SetRow | None:
    """Return the newest biases with the settings of a wanted set."""
    return next(iter(_sets(context, wanted, FrameKind.BIAS)), None)


def stats_of(context: RunContext, row: SetRow) -> FrameStats | None:
    """Return what the newest frame of a set measures; None when it cannot be read."""
    frames = context.place.catalogue.frames(set_id=row.set_id)
    return _measured(context.place.layout.absolute(frames[-1].path)) if frames else None


@lru_cache(maxsize=8)
def _measured(path: Path) -> FrameStats | None:
    try:
        pixels = read_pixels(path)
    except StorageError:
        return None
    return measure(pixels, saturation_adu=None, bayer=False, mid_at=_ANY_TIME)


def _sets(context: RunContext, wanted: WantedSet, kind: FrameKind) -> list[SetRow]:
    """Return the catalogued sets of a kind with the same settings, of any exposure, the newest first."""
    match = context.match(_like(wanted, kind))
    return [s for s in context.place.catalogue.sets(kind) if match.fits(s.key)]


def _like(wanted: WantedSet, kind: FrameKind) -> WantedSet:
    return WantedSet(kind=kind, count=1, why=(), gain=wanted.gain, set_temp_c=wanted.set_temp_c)


def _rate(context: RunContext, wanted: WantedSet, bias_adu: float | None, earlier: Earlier | None) -> float | None:
    """Return the dark current in ADU/s: from earlier darks that are long enough, else from the last master."""
    if bias_adu is None or wanted.exposure_us is None:
        return None
    sets = _sets(context, wanted, FrameKind.DARK)
    known = [
        (s.exposure_us, s.mean_level_adu) for s in sets if s.exposure_us is not None and s.mean_level_adu is not None
    ]
    rate = dark_rate(bias_adu, known, exposure_us=wanted.exposure_us)
    if rate is None and earlier is not None and earlier.signal_adu is not None and wanted.exposure_us:
        return max(0.0, earlier.signal_adu) / (wanted.exposure_us / 1e6)
    return rate


def _earlier(context: RunContext, wanted: WantedSet) -> Earlier | None:
    """Return what the newest master of the same exposure and settings shows."""
    master = _newest(context, wanted)
    gradient_adu = None if master is None else master.statistics.get("gradient_adu")
    if master is None or gradient_adu is None:
        return None
    signal_adu = None
    if wanted.kind is FrameKind.DARK:
        bias = _newest(context, _like(wanted, FrameKind.BIAS), night=master.night)
        signal_adu = None if bias is None else _difference(master, bias)
    return Earlier(gradient_adu=gradient_adu, signal_adu=signal_adu)


def _difference(dark: MasterRow, bias: MasterRow) -> float | None:
    levels = dark.statistics.get("level_adu"), bias.statistics.get("level_adu")
    return None if levels[0] is None or levels[1] is None else levels[0] - levels[1]


def _newest(context: RunContext, wanted: WantedSet, night: str | None = None) -> MasterRow | None:
    match = context.match(wanted)
    for row in context.place.catalogue.masters(kind=wanted.kind):
        if row.may_serve and match.fits(row.key) and night in {None, row.night}:
            return row
    return None


def doubt_uneven(context: RunContext, sets: Iterable[WantedSet]) -> None:
    """Warn once per run if one side of the darks just taken brightens more with exposure than the others.

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
        context.warn(RunCode.UNEVEN_DARK, detail, once=True)


def _looked(context: RunContext, row: SetRow | None) -> Looked | None:
    """Return the newest frame of a set as it was measured; None when there is none that can be read."""
    stats = None if row is None else stats_of(context, row)
    if row is None or stats is None:
        return None
    return Looked(exposure_us=row.exposure_us or 0, stats=stats, shape=row.key.shape)
