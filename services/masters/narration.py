"""What the building of masters reports to a run: started, built, refused, warnings."""

from collections.abc import Callable
from typing import TypedDict

from calibration.frames import FrameKind
from services.catalogue.rows import MasterRow
from services.events.bus import Events
from services.events.findings import findings_of
from services.events.records import MasterBuilt, MasterRefused, MasterStarted, OfMaster, WarningRaised
from services.events.sentences import title
from services.planning.group_names import GroupNames
from services.planning.master_groups import MasterGroup

Begin = Callable[[], tuple[int, int]]


class Narration:
    """Emits the events of the masters step.

    Parameters
    ----------
    events : Events
    names : GroupNames
        Of all groups that are looked at: each event says how its group differs from the others.
    quiet : bool
        Only `master.built` is emitted.
    """

    def __init__(self, events: Events, *, names: GroupNames, quiet: bool = False) -> None:
        self._events = events
        self._names = names
        self._quiet = quiet

    def warn(self, group: MasterGroup, code: str, detail: str) -> None:
        """Emit a warning about a group."""
        if not self._quiet:
            self._events.emit(WarningRaised(code=code, detail=f"{self.title(group)}: {detail}"))

    def title(self, group: MasterGroup) -> str:
        """Return the name of a group, and how it differs from others of this name."""
        return title(OfMaster(**self._of(group)))

    def started(self, group: MasterGroup, begin: Begin) -> None:
        """Emit that a master is being built; `begin` returns its number, and of how many, e.g. (3, 12)."""
        if not self._quiet:
            number, of = begin()
            self._events.emit(MasterStarted(**self._of(group), n=len(group.rows), number=number, of=of))

    def refused(self, group: MasterGroup, code: str, detail: str) -> None:
        """Emit that a group becomes no master, and why."""
        if not self._quiet:
            self._events.emit(MasterRefused(**self._of(group), code=str(code), detail=detail))

    def built(self, group: MasterGroup, row: MasterRow) -> None:
        """Emit what a new master is."""
        self._events.emit(
            MasterBuilt(
                **self._of(group) | {"exposure_us": row.exposure_us},
                path=row.path,
                gain=row.key.gain,
                n=row.n,
                rejected=row.rejected,
                status=str(row.status),
                statistics=row.statistics,
                doubts=findings_of(row.statistics),
                note=row.statistics.get("note", ""),
            )
        )

    def _of(self, group: MasterGroup) -> "_OfGroup":
        return {
            "kind": group.product,
            "filter": group.key.filter,
            "exposure_us": group.exposure_us,
            "apart": self._names.of(group),
        }


class _OfGroup(TypedDict):
    kind: FrameKind
    filter: str | None
    exposure_us: int | None
    apart: str
