"""What the building of masters reports to a run: started, built, refused, warnings."""

from collections.abc import Callable, Collection, Iterable
from typing import TypedDict

from calibration.frames import FrameKind
from services.catalogue.rows import MasterRow, MasterStatus
from services.events.bus import Events
from services.events.findings import findings_of, notes_of
from services.events.records import MasterBuilt, MasterRefused, MasterStarted, OfMaster, WarningRaised
from services.events.sentences import title
from services.events.standings import MasterCertified, MasterSuperseded, MasterSuspect
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
        Only what was built, certified, superseded or found suspect is emitted.
    put_off : collection of str
        Codes of refusals that are not emitted: these groups are tried once more.
    """

    def __init__(
        self, events: Events, *, names: GroupNames, quiet: bool = False, put_off: Collection[str] = ()
    ) -> None:
        self._events = events
        self._names = names
        self._quiet = quiet
        self._put_off = frozenset(map(str, put_off))

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
        if not self._quiet and str(code) not in self._put_off:
            self._events.emit(MasterRefused(**self._of(group), code=str(code), detail=detail))

    def built(self, group: MasterGroup, row: MasterRow) -> None:
        """Emit what a new master is."""
        self._events.emit(
            MasterBuilt(
                **self._title(group, row),
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

    def compared(self, group: MasterGroup, row: MasterRow, changed: Iterable[MasterRow]) -> None:
        """Emit what a new master is beside the others: certified, or suspect; and which ones it has followed."""
        before = row.statistics.get("compared_with")
        if row.base is MasterStatus.SUSPECT:
            doubts = findings_of(row.statistics)
            self._events.emit(MasterSuspect(**self._title(group, row), path=row.path, before=before, doubts=doubts))
        elif row.base is MasterStatus.CERTIFIED:
            notes = notes_of(row.statistics)
            self._events.emit(MasterCertified(**self._title(group, row), path=row.path, before=before, notes=notes))
        for other in changed:
            if other.path != row.path and other.status is MasterStatus.SUPERSEDED:
                until = other.valid_until if other.may_serve else None
                self._events.emit(MasterSuperseded(path=other.path, until=until, detail=other.detail))

    def _title(self, group: MasterGroup, row: MasterRow) -> "_OfGroup":
        return {**self._of(group), "exposure_us": row.exposure_us}

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
