"""What the steps that take frames share; they start, capture, finish and count each set through it."""

import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self, TypedDict

from calibration.frames import FrameKind, GroupOutcome, GroupStatus
from calibration.plans.sequence import WantedSet
from calibration.plans.settings import ExposureState, Plan
from services.capture.acquisition import mode_name
from services.capture.cooling import Cooled
from services.capture.failures import GroupFailed
from services.capture.session import Session
from services.catalogue.history import EXPOSURE_MADE
from services.catalogue.rows import FactRow, Flag, SetRow
from services.events.records import FrameMarked, FrameSet, GroupFinished, GroupStarted, RunProgress, WarningRaised
from services.planning.having import SPAN_C, Having, Requirement, Standing, having, requirement_of, too_old_before
from services.planning.item import asked_for, item_key
from services.planning.room import PlannedSet
from services.planning.wanted import State, exposures_made
from services.planning.wishes import Wish, item_wanted, joined
from services.workflow.work import Work, identity


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext(Work):
    """What the steps that take frames work with: a connected session beside the rest.

    How a set is looked for, taken, counted and announced stands in one class, because every step does all of it.

    Attributes
    ----------
    config : Config
        With the sections of the devices that were found; in a state (`in_state`) as its programme sees it.
    session : Session
        Connected.
    camera : str
        The camera's name in group keys.
    opaque : tuple of str
        Filters that let no light through.
    apart : callable
        Returns by what sets are named beside kind, filter and exposure.
    as_they_come : bool
        Whether the darks of the present state are taken at whatever temperature the sensor has.
    """

    session: Session
    camera: str
    opaque: tuple[str, ...]
    apart: Callable[[WantedSet | ExposureState], str]
    as_they_come: bool = False
    warned: set[tuple[str, str]] = field(default_factory=set)

    def in_state(self, state: State) -> Self:
        """Return the context of one state: the same session, events and counts, and its programme's configuration."""
        return replace(self, config=state.config, as_they_come=state.as_they_come)

    def asked(self, sets: Iterable[WantedSet], *, followed_us: Collection[int] = ()) -> tuple[WantedSet, ...]:
        """Return those of a state's sets that this run was asked for, with as many frames as any programme wants."""
        asked = asked_for(sets, self.options.only, followed_us=followed_us)
        return tuple(replace(each, count=max(each.count, self._wish(each).wanted.count)) for each in asked)

    def _wish(self, wanted: WantedSet) -> Wish:
        alone = Wish(config=self.config, wanted=wanted, reuse=self.config.reuse)
        return self.tally.wishes.get(item_wanted(self.config, wanted), alone)

    def warn(self, code: str, detail: str, *, once: bool = False) -> None:
        """Emit a warning once per run; with `once`, also only one detail of its code."""
        key = (code, "" if once else detail)
        if key not in self.warned:
            self.warned.add(key)
            self.events.emit(WarningRaised(code=code, detail=detail))

    def foresee(self, sets: Iterable[tuple[State, WantedSet]]) -> tuple[PlannedSet, ...]:
        """Announce the sets that are known to be wanted before the first is taken (darks of new flats are not)."""
        self.tally.foreseen = tuple(sets)
        self.tally.wishes |= joined(self.tally.foreseen)
        planned = tuple(
            PlannedSet(
                wanted=wish.wanted, there=replace(self, config=wish.config).having(wish.wanted), reuse=wish.reuse
            )
            for wish in self.tally.wishes.values()
        )
        self.tally.progress |= {
            identity(each.wanted): (each.wanted.count - each.lacking, each.wanted.count) for each in planned
        }
        shown = (self._shown(each.wanted, each.wanted.count - each.lacking) for each in planned)
        self._announce_progress(tuple(shown), tuple(each.taken_at for each in planned))
        return planned

    def drop(self, foreseen: Iterable[WantedSet]) -> None:
        """Take sets that nothing needs any more out of what was foreseen, unless they were begun."""
        gone = [wanted for wanted in foreseen if identity(wanted) not in self.tally.begun]
        shown = tuple(self._shown(wanted, self.tally.progress.pop(identity(wanted))[0]) for wanted in gone)
        if shown:
            self._announce_progress(dropped=shown)

    def _shown(self, wanted: WantedSet, have: int) -> FrameSet:
        return FrameSet(**self._facts(wanted, None, wanted.exposure_us), have=have)

    def _announce_progress(
        self,
        sets: tuple[FrameSet, ...] | None = None,
        taken_at: tuple[datetime | None, ...] = (),
        dropped: tuple[FrameSet, ...] = (),
    ) -> None:
        done, wanted = (sum(counts) for counts in zip((0, 0), *self.tally.progress.values(), strict=True))
        self.events.emit(RunProgress(done=done, wanted=wanted, sets=sets, taken_at=taken_at, dropped=dropped))

    def match(self, wanted: WantedSet) -> Requirement:
        """Return what a catalogued set must have to serve a wanted one, as the camera is set or will be."""
        match = requirement_of(self.config, wanted, camera=self.camera, found=self.session.settings)
        return replace(match, readout_mode=self._mode())

    def _match_now(self, wanted: WantedSet) -> Requirement:
        """Return `match` at the sensor's present temperature, where darks are taken as warm as the sensor is."""
        held = wanted.set_temp_c is not None or wanted.kind is FrameKind.FLAT
        if held:
            return self.match(wanted)
        span_c = SPAN_C if self.as_they_come else None
        return replace(self.match(wanted), ccd_temp_c=self.session.temperature_c(), span_c=span_c)

    def _mode(self) -> str | None:
        """Return the readout mode as headers name it: the one configured, by number or in any case, or as found."""
        named, info = self.config.camera.active.readout_mode, self.session.camera_info
        if isinstance(named, str):
            return next((mode for mode in info.readout_modes if mode.casefold() == named.strip().casefold()), named)
        return mode_name(info, self.session.settings.readout_mode if named is None else named)

    def having(self, wanted: WantedSet, cooled: Cooled | None = None, *, marked: bool = False) -> Having:
        """Return the existing frames of a wanted set; with `--fresh` only those taken for it.

        `cooled` is the result of cooling. If it failed, darks as warm as the sensor is now serve, and flats that were
        taken warmer than their set-point; these do with `marked`, too.
        """
        now, reuse = self.clock.now(), self._wish(wanted).reuse
        sets = self.place.catalogue.sets(wanted.kind, since=too_old_before(now, reuse))
        spent = self.place.catalogue.spent()
        sets = [s for s in sets if not spent.holds(s)]
        if self.campaign is not None:
            sets = [s for s in sets if self.campaign.opened(s.set_id)]
        if item_key(wanted) in self.options.anew:  # a set that was begun anew is continued, whoever began it
            sets = [s for s in sets if s.count < wanted.count or s.set_id in self.tally.met]
        match = self._match_now(wanted)
        if wanted.kind is FrameKind.FLAT:
            match = replace(match, marked=match.marked or marked or (cooled is not None and not cooled.stable))
        elif cooled is not None and (cooled.stable or cooled.ccd_c is not None):
            # frames of a set-point that was given up are as warm as they were measured
            held, measured = (cooled.set_c, None) if cooled.stable else (None, cooled.ccd_c)
            match = replace(match, temperature_c=held, ccd_temp_c=measured)
        return having(match, wanted.count, sets, now=now, reuse=reuse)

    def has_taken(self, wanted: WantedSet) -> bool:
        """Return whether this run completed a wanted set, perhaps at another temperature than was wanted."""
        complete = (w for w, outcome in self.tally.outcomes if outcome.status is GroupStatus.COMPLETE)
        return any(identity(w) == identity(wanted) and w.count >= wanted.count for w in complete)

    def has_time(self, wanted: WantedSet, wait_s: float = 0.0) -> bool:
        """Return whether a frame of a set, after a wait, can be finished before the run ends; if not, note that."""
        has_time = self.session.has_time(wanted.exposure_us or 0, wanted.set_temp_c, wait_s)
        if not has_time:
            self.tally.too_late.add(identity(wanted))
        return has_time

    def take(
        self, wanted: WantedSet, there: Having, plan: Callable[[str, SetRow | None], Plan[GroupOutcome]]
    ) -> GroupOutcome:
        """Capture one set, or what is missing of it, and emit its events; never raises what concerns this set alone.

        Parameters
        ----------
        wanted : WantedSet
        there : Having
            What there is already; its set is continued.
        plan : callable
            Makes the plan from the set's id and its row (None for a new set).
        """
        set_id = there.row.set_id if there.row is not None else new_set_id(self.events.run_id)
        self.tally.met.add(set_id)
        self.tally.last_set = set_id
        self.tally.begun.add(identity(wanted))
        facts = self._facts(wanted, set_id, wanted.exposure_us)
        self.events.emit(GroupStarted(**facts, have=there.count, detail=there.why))
        try:
            outcome = self.session.run(plan(set_id, there.row))
        except GroupFailed as failure:
            outcome = self._failed(set_id, failure, wanted)
        finally:
            self._note_exposure(wanted, set_id)
        self.announce_finished(wanted, outcome, set_id=set_id)
        self.tally.outcomes.append((wanted, outcome))
        self.tally.progress[identity(wanted)] = min(outcome.accepted, wanted.count), wanted.count
        self._announce_progress()
        return outcome

    def pass_on(self, wanted: WantedSet) -> Having | None:
        """Count the set that was just left no more; return what there is at the present temperature, if it lacks."""
        left, _ = self.tally.outcomes.pop()
        self.tally.met.discard(self.tally.last_set)
        self.tally.begun.discard(identity(left))
        return missing(self, wanted)

    def exposures_made(self) -> dict[int, int]:
        """Return the exposures that this camera makes, by those that it was asked for."""
        return exposures_made(self.place.catalogue.facts(camera=self.camera, name=EXPOSURE_MADE))

    def _note_exposure(self, wanted: WantedSet, set_id: str) -> None:
        """Note what the camera makes of the exposure of a dark, so that its frames serve in other nights."""
        newest = self.place.catalogue.frames(set_id=set_id)[-1:] if wanted.kind is not FrameKind.FLAT else []
        for row in newest:
            if row.exposure_us not in (None, wanted.exposure_us):
                self.place.catalogue.add_fact(
                    FactRow(
                        camera=self.camera,
                        name=EXPOSURE_MADE,
                        value=float(row.exposure_us),
                        at=self.clock.now(),
                        settings={"asked_us": wanted.exposure_us},
                    )
                )

    def reject_set(self, set_id: str, reason: str) -> None:
        """Mark the frames of a set as bad, in the journal as well: a catalogue that is lost gets the marks from it."""
        rows = self.place.catalogue.frames(set_id=set_id, flag=Flag.OK)
        pixels, paths = tuple(row.pixel_sha256 for row in rows), tuple(row.path for row in rows)
        self.events.emit(FrameMarked(pixels=pixels, paths=paths, reason=reason))
        self.place.catalogue.set_flag(Flag.BAD, set_id=set_id, reason=reason, at=self.clock.now())

    def count_there(self, wanted: WantedSet, row: SetRow) -> None:
        """Report and count, once per run, a set that was complete before it."""
        if row.set_id in self.tally.met:
            return
        self.tally.met.add(row.set_id)
        self.tally.already += 1
        outcome = GroupOutcome(
            status=GroupStatus.COMPLETE,
            accepted=row.count,
            exposure_us=row.exposure_us,
            panel_brightness=row.panel_brightness,
        )
        self.announce_finished(wanted, outcome, set_id=row.set_id, there=True)

    def announce_finished(
        self, wanted: WantedSet, outcome: GroupOutcome, *, set_id: str | None, there: bool = False
    ) -> None:
        """Emit how a set ended; `there`: it was complete before this run."""
        self.events.emit(
            GroupFinished(
                **self._facts(wanted, set_id, outcome.exposure_us or wanted.exposure_us),
                have=outcome.accepted if there else None,
                there=there,
                status=outcome.status,
                code=outcome.code,
                accepted=outcome.accepted,
                refused=outcome.refused,
                panel_brightness=outcome.panel_brightness,
                detail=outcome.detail,
            )
        )

    def _facts(self, wanted: WantedSet, set_id: str | None, exposure_us: int | None) -> "_Facts":
        """Return what the events of a set share."""
        return _Facts(
            set_id=set_id,
            kind=wanted.kind,
            filter=wanted.filter,
            exposure_us=exposure_us,
            apart=self.apart(wanted),
            item=item_key(wanted),
            gain=wanted.gain,
            set_temp_c=wanted.set_temp_c,
            why=tuple(wanted.why),
            wanted=wanted.count,
        )

    def _failed(self, set_id: str, failure: GroupFailed, wanted: WantedSet) -> GroupOutcome:
        kept = len(self.place.catalogue.frames(set_id=set_id))
        return GroupOutcome(
            status=GroupStatus.PARTIAL if kept else GroupStatus.FAILED,
            code=failure.code,
            accepted=kept,
            exposure_us=wanted.exposure_us,
            detail=failure.detail,
        )


def missing(context: RunContext, wanted: WantedSet, cooled: Cooled | None = None) -> Having | None:
    """Return the existing frames of a set that must be taken or continued; None when it is complete, which is counted.

    `cooled` as for `RunContext.having`.
    """
    there = context.having(wanted, cooled)
    if there.standing is Standing.COMPLETE and there.row is not None:
        context.count_there(wanted, there.row)
        return None
    return None if context.has_taken(wanted) else there


def new_set_id(run_id: str) -> str:
    """Return the SETID of a set that is opened now."""
    return f"{run_id}-{secrets.token_hex(3)}"


class _Facts(TypedDict):
    set_id: str | None
    kind: FrameKind
    filter: str | None
    exposure_us: int | None
    apart: str
    item: str
    gain: int | None
    set_temp_c: float | None
    why: tuple[str, ...]
    wanted: int
