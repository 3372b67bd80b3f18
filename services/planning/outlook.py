"""What the masters step would do with each group of frames: what is there, what is built, and what is refused and why.

Biases and darks that would be built serve the flats after them, as they do when the step runs.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from calibration.combine.recipe import Method
from calibration.errors import GroupCode
from calibration.frames import FrameKind
from calibration.grouping import cooled_to
from services.catalogue.rows import MasterRow, MasterStatus
from services.planning.alike import CardsOf, unlike
from services.planning.chosen import Chosen, Refused, too_few
from services.planning.master_groups import MasterGroup
from services.planning.master_plan import MasterPlan

_USUAL_FLAT_ADU = 30_000.0
"""The level that flats are taken to have while nobody has measured it: bright, and each as bright as the others."""
_NOW = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMaster:
    """One group of frames, and the master that it becomes, as far as catalogue and headers know.

    Attributes
    ----------
    group : MasterGroup
        With the frames that the master is made of, unless it is refused.
    exists : bool
        The master is there.
    refused : Refused or None
        Why it becomes no master.
    is_sure : bool
        False where that depends on levels that nobody has measured yet. Frames that turn out to be damaged may leave
        too few in any case.
    """

    group: MasterGroup
    exists: bool = False
    refused: Refused | None = None
    is_sure: bool = True

    @property
    def n(self) -> int:
        """Frames that the master is made of."""
        return len(self.group.rows)

    @property
    def is_built(self) -> bool:
        """Whether the step would build it."""
        return not self.exists and self.refused is None


def planned_masters(
    plan: MasterPlan, cards_of: CardsOf, *, sets: Collection[str] | None = None
) -> Iterator[PlannedMaster]:
    """Yield what becomes of each group, in the order in which masters are built.

    Parameters
    ----------
    plan : MasterPlan
        It learns of the darks that would be built: nobody builds by it afterwards.
    cards_of : callable
        Reads the headers of another program's frames that are not combined yet.
    sets : collection of str, optional
        Only groups of these sets.
    """
    levels_known = True
    for group in plan.groups(sets):
        found = plan.chosen(group)
        if found is not None and plan.existing(found) is not None:
            yield PlannedMaster(group=found.group, exists=True)
            continue
        each = _new(plan, group, found, cards_of, levels_known=levels_known)
        if each.is_built and group.product is not FrameKind.FLAT:
            row = _foreseen(plan, each.group)
            levels_known &= "level_adu" in row.statistics
            plan.foresee(row)
        yield each


def _new(
    plan: MasterPlan, group: MasterGroup, found: Chosen | None, cards_of: CardsOf, *, levels_known: bool
) -> PlannedMaster:
    """Return what becomes of a group that has no master: in the order in which a master is prepared."""
    settings = plan.settings
    is_sure = found is not None and (group.own or all(member.level_adu is not None for member in group.members))
    refused = unlike(group, cards_of, ignored=settings.ignored_cards) or too_few(Chosen(group=group), settings)
    if refused is not None:
        return PlannedMaster(group=group, refused=refused, is_sure=is_sure)
    found = found or plan.chosen(group, [_USUAL_FLAT_ADU] * len(group.rows)) or Chosen(group=group)
    refused = too_few(found, settings)
    if refused is not None:
        is_sure &= levels_known or refused.code != GroupCode.NO_MATCHING_DARK
        return PlannedMaster(group=group, refused=refused, is_sure=is_sure)
    is_partial = plan.status_of(found.group) is MasterStatus.PARTIAL
    exists = is_partial and plan.more_complete(found.group) is not None
    return PlannedMaster(group=found.group, exists=exists, is_sure=is_sure)


def _foreseen(plan: MasterPlan, group: MasterGroup) -> MasterRow:
    """Return the row that a bias or dark would have, as far as flats look at it; its level is that of its frames."""
    levels = [member.level_adu for member in group.members if member.level_adu is not None]
    temperatures = [member.ccd_temp_c for member in group.members if member.ccd_temp_c is not None]
    statistics: dict[str, Any] = {
        "own": group.own,
        "cooled": all(cooled_to(member) is not None for member in group.members),
    }
    if levels:
        statistics["level_adu"] = sum(levels) / len(levels)
    return MasterRow(
        path=f"the master {group.product.lower()} of {group.rows[0].path} and others, to be built",
        key=group.key,
        n=len(group.rows),
        recipe=plan.recipe(group, (), Method.SIGMA_CLIP),
        built_at=_NOW,
        exposure_us=group.exposure_us,
        ccd_temp_c=sum(temperatures) / len(temperatures) if temperatures else None,
        valid_from=group.started,
        statistics=statistics,
    )
