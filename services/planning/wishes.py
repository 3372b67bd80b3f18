"""What several programmes want of one run: a set that two of them want is taken once, as the stricter wants it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from calibration.frames import FrameKind
from calibration.plans.sequence import WantedSet
from services.config.models import Config, Reuse
from services.planning.having import age_of, is_held
from services.planning.item import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A wanted set with whose it is.

    Attributes
    ----------
    config : Config
        As the first programme that wants the set sees it.
    wanted : WantedSet
        With the largest number of frames.
    reuse : Reuse
        With the youngest age.
    """

    config: Config
    wanted: WantedSet
    reuse: Reuse


def item_wanted(config: Config, wanted: WantedSet) -> Item:
    """Return what a wanted set is a set of; flats that serve at any temperature are the same at each of them."""
    return Item.of(wanted if is_held(config, wanted) else replace(wanted, set_temp_c=None))


def joined(wanted: Iterable[tuple[Config, WantedSet]]) -> dict[Item, Wish]:
    """Return what is wanted, each item once, in the order in which it is first named.

    Parameters
    ----------
    wanted : iterable of (Config, WantedSet)
        Each with the configuration as its programme sees it.
    """
    wishes: dict[Item, Wish] = {}
    for config, each in wanted:
        item = item_wanted(config, each)
        first = wishes.get(item)
        wishes[item] = (
            Wish(config=config, wanted=each, reuse=config.reuse) if first is None else _more(first, each, config)
        )
    return wishes


def _more(first: Wish, wanted: WantedSet, config: Config) -> Wish:
    kind = wanted.kind
    why = tuple(dict.fromkeys((*first.wanted.why, *wanted.why)))
    both = replace(first.wanted, count=max(first.wanted.count, wanted.count), why=why)
    return replace(first, wanted=both, reuse=_stricter(first.reuse, config.reuse, kind))


def _stricter(one: Reuse, other: Reuse, kind: FrameKind) -> Reuse:
    """Return the younger age of a kind, and the shorter time within which its sets are continued."""
    hours = min(age_of(kind, one), age_of(kind, other)).total_seconds() / 3600
    within = min(one.resume_within_hours, other.resume_within_hours)
    return one.model_copy(update={f"{kind.lower()}_hours": hours, "resume_within_hours": within})
