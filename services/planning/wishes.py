"""What several programmes want of one run: a set that two of them want is taken once, as the stricter wants it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from calibration.frames import FrameKind
from calibration.plans.sequence import WantedSet
from services.config.models import Config, Reuse
from services.planning.having import age_of, is_held
from services.planning.item import Item
from services.planning.wanted import State


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
    programmes : tuple of str
        Who wants it.
    """

    config: Config
    wanted: WantedSet
    reuse: Reuse
    programmes: tuple[str, ...] = ()

    @property
    def age(self) -> timedelta:
        """How old its oldest frame may be."""
        return age_of(self.wanted.kind, self.reuse)


def item_wanted(config: Config, wanted: WantedSet) -> Item:
    """Return what a wanted set is a set of; flats that serve at any temperature are the same at each of them."""
    return Item.of(wanted if is_held(config, wanted) else replace(wanted, set_temp_c=None))


def joined(wanted: Iterable[tuple[State, WantedSet]]) -> dict[Item, Wish]:
    """Return what is wanted, each item once, in the order in which it is first named.

    Parameters
    ----------
    wanted : iterable of (State, WantedSet)
        Each with the state that wants it.
    """
    wishes: dict[Item, Wish] = {}
    for state, each in wanted:
        item = item_wanted(state.config, each)
        wish = Wish(config=state.config, wanted=each, reuse=state.config.reuse, programmes=(state.programme,))
        wishes[item] = _more(wishes[item], wish) if item in wishes else wish
    return wishes


def _more(first: Wish, other: Wish) -> Wish:
    why = tuple(dict.fromkeys((*first.wanted.why, *other.wanted.why)))
    both = replace(first.wanted, count=max(first.wanted.count, other.wanted.count), why=why)
    programmes = tuple(dict.fromkeys((*first.programmes, *other.programmes)))
    return replace(first, wanted=both, reuse=_stricter(first.reuse, other.reuse, both.kind), programmes=programmes)


def _stricter(one: Reuse, other: Reuse, kind: FrameKind) -> Reuse:
    """Return the younger age of a kind, and the shorter time within which its sets are continued, where one says it."""
    update: dict[str, float] = {f"{kind.lower()}_hours": min(age_of(kind, one), age_of(kind, other)) / _HOUR}
    if any("resume_within_hours" in each.model_fields_set for each in (one, other)):
        update["resume_within_hours"] = min(one.resume_within_hours, other.resume_within_hours)
    return one.model_copy(update=update)


_HOUR = timedelta(hours=1)
