"""What the building of masters reports to a run: started, built, refused, warnings."""

from collections.abc import Collection
from typing import TypedDict

from calibration.frames import FrameKind
from services.catalogue.rows import MasterRow
from services.events.bus import Events
from services.events.records import MasterBuilt, MasterRefused, MasterStarted, WarningRaised
from services.planning.master_groups import MasterGroup


class Narration:
    """Emits the events of the masters step.

    Parameters
    ----------
    events : Events
    cameras : collection of str
        Cameras whose frames are looked at: where there are several, a refusal says whose frames it is about.
    quiet : bool
        Only `master.built` is emitted.
    """

    def __init__(self, events: Events, *, cameras: Collection[str], quiet: bool = False) -> None:
        self._events = events
        self._cameras = cameras
        self._quiet = quiet

    def warn(self, code: str, detail: str) -> None:
        """Emit a warning."""
        if not self._quiet:
            self._events.emit(WarningRaised(code=code, detail=detail))

    def started(self, group: MasterGroup, place: tuple[int, int]) -> None:
        """Emit that a master is being built; `place` is its position and the total, e.g. (3, 12)."""
        if not self._quiet:
            number, of = place
            self._events.emit(MasterStarted(**_of_group(group), n=len(group.rows), number=number, of=of))

    def refused(self, group: MasterGroup, code: str, detail: str) -> None:
        """Emit that a group becomes no master, and why."""
        if self._quiet:
            return
        if len(self._cameras) > 1:  # otherwise it would seem to be about the camera that is connected
            detail = f"{detail} (frames of {group.key.camera})"
        self._events.emit(MasterRefused(**_of_group(group), code=str(code), detail=detail))

    def built(self, row: MasterRow) -> None:
        """Emit what a new master is."""
        self._events.emit(
            MasterBuilt(
                path=row.path,
                kind=row.kind,
                exposure_us=row.exposure_us,
                filter=row.key.filter,
                gain=row.key.gain,
                n=row.n,
                rejected=row.rejected,
                status=str(row.status),
                statistics=row.statistics,
                note=row.statistics.get("note", ""),
            )
        )


class _OfGroup(TypedDict):
    kind: FrameKind
    filter: str | None
    exposure_us: int | None


def _of_group(group: MasterGroup) -> _OfGroup:
    return _OfGroup(kind=group.product, filter=group.key.filter, exposure_us=group.exposure_us)
