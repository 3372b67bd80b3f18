"""Which epochs are compared with which, and in words which are not, and why."""

from collections.abc import Hashable, Iterator, Sequence

from calibration.models.structure.shapes import BRIGHTEST
from services.models.structure.epochs import Epoch, Pair, Plan
from services.words import count

BY_TEMPERATURE, IGNORING = "analysis_by_temperature", "analysis_by_time_ignore_temp"

EQUAL_LEVEL = 0.1
"""Part by which levels of other exposures may differ, so that flats are compared as they are: what the bias makes of a
contrast then stays below a tenth of what it is of the level."""

LAG_DAYS = 1.0
"""How far from a flat what is taken off may be, before it is said."""


def pairs_of(epochs: Sequence[Epoch], analysis: str, *, reduced: bool, flat: bool) -> Iterator[Pair]:
    """Yield each epoch with the earliest one of its condition, where it is another one.

    Parameters
    ----------
    epochs : sequence of Epoch
        In the order of time.
    analysis : str
        Whether the temperature is a part of the condition.
    reduced : bool
        Whether all exposures are compared, since what is no light was taken off.
    flat : bool
        Whether flats of about one level are compared without.
    """
    first: dict[Hashable, int] = {}
    for label in dict.fromkeys(_label(epoch, analysis) for epoch in epochs):
        some = [number for number, epoch in enumerate(epochs) if _label(epoch, analysis) == label]
        exposures = {n: None if reduced else epochs[n].exposure_s for n in some}
        if flat and not reduced:
            like = _joined([epochs[n] for n in some])
            exposures = {n: like[epochs[n].exposure_s] for n in some}
        for n in some:
            first.setdefault((label, exposures[n]), n)
        yield from (Pair(new=n, old=first[label, exposures[n]]) for n in some if first[label, exposures[n]] != n)


def _label(epoch: Epoch, analysis: str) -> float | None:
    return epoch.label_c if analysis == BY_TEMPERATURE else None


def _joined(epochs: Sequence[Epoch]) -> dict[float, float]:
    """Return the exposure that flats of each are compared with as they are: one of about the same level, or their own.

    Bias and light have equal shares in equal levels, so that their contrasts are equal, whatever the exposure.
    """
    levels: dict[float, list[float]] = {}
    for epoch in epochs:
        levels.setdefault(epoch.exposure_s, []).append(epoch.level_adu)
    found: dict[float, float] = {}
    for exposure, mine in levels.items():
        firsts = (each for each in dict.fromkeys(found.values()) if _alike(mine, levels[each][0]))
        found[exposure] = next(firsts, exposure)
    return found


def _alike(levels: Sequence[float], reference: float) -> bool:
    return all(abs(level / reference - 1) <= EQUAL_LEVEL for level in levels)


def pair_notes(plan: Plan, *, reduced: bool) -> Iterator[str]:
    """Yield in words what is compared across exposures, which exposures are not, and which epochs have no other.

    Parameters
    ----------
    plan : Plan
        Of flats.
    reduced : bool
        Whether what is no light was taken off.
    """
    pairs = {pair for each in plan.pairs.values() for pair in each}
    of = [(plan.epochs[pair.new].exposure_s, plan.epochs[pair.old].exposure_s) for pair in pairs]
    if not reduced and (mixed := sorted({each for new, old in of for each in (new, old) if new != old})):
        yield (
            f"flats of {_listed(mixed)} are compared as they are: their levels agree within {100 * EQUAL_LEVEL:.0f} %, "
            "so that the bias has the same share in them; a hot pixel may differ by as much as its charge explains"
        )
    references = dict.fromkeys(plan.epochs[pair.old].exposure_s for pair in sorted(pairs, key=lambda each: each.old))
    alone = [e for n, e in enumerate(plan.epochs) if all(n not in (pair.new, pair.old) for pair in pairs)]
    apart = sorted({*references, *(epoch.exposure_s for epoch in alone)})
    if not reduced and len(apart) > 1:
        yield f"flats of {_listed(apart)} are not compared with each other: {_NEEDS}"
    if alone:
        yield f"nothing is like {count(len(alone), 'epoch')} of flats, which no comparison has: {_named(alone)}"


def lag_note(plan: Plan) -> str:
    """Return in words that what is taken off flats was taken at other times than they; empty where it was not."""
    off = [epoch.reduction for epoch in plan.epochs if epoch.reduction is not None]
    late = [each for each in off if each.stepwise or each.lag_days >= LAG_DAYS]
    if not late:
        return ""
    days = max((each.lag_days for each in late if each.lag_days >= LAG_DAYS), default=0.0)
    how = f"up to {days:.0f} days from them" if days else "in several attempts without dates, and are averaged"
    return (
        f"the biases and darks that are taken off {count(len(late), 'epoch')} of flats were taken at other times, "
        f"{how}. The charge of pixels that became hot in between stays in the flats: what is more than "
        f"{100 * BRIGHTEST:.0f} % brighter is called a hot pixel or a hot cluster, what is less may be called a "
        "response"
    )


_NEEDS = (
    f"their levels differ by more than {100 * EQUAL_LEVEL:.0f} %, so that the bias and the dark current would show as "
    "a change; with biases and darks beside them, take these off (--reduce, of outgassing --calibrate)"
)
_MOST = 6


def _named(epochs: Sequence[Epoch]) -> str:
    shown = [f"{e.label_c:.1f} °C, {e.exposure_s:g} s{f', {e.time}' if e.time else ''}" for e in epochs[:_MOST]]
    rest = len(epochs) - _MOST
    return "; ".join(shown) + (f"; and {rest} more" if rest > 0 else "")


def _listed(seconds: Sequence[float]) -> str:
    return ", ".join(f"{each:g} s" for each in seconds)
