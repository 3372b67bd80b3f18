"""What a run would do, as plain data: sets and frames to take, masters to build, time and room on the disk.

No lock is taken. What only the devices know (the wheel's filters, the sensor's size) is taken from the configuration,
the simulated observatory's parameters or the newest sets of the catalogue; whoever calls may hand in a question to the
devices, which is asked where none of these knows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from calibration.errors import GroupCode
from calibration.frames import FrameKind
from calibration.plans.sequence import Estimate
from services.catalogue.database import uncollected
from services.catalogue.rows import FrameRow
from services.config.models import LoadedConfig
from services.planning.alike import CardsOf
from services.planning.foreknown import Foreknown
from services.planning.look import FilterSource, Look
from services.planning.master_plan import MasterPlan, Whole
from services.planning.master_settings import MasterSettings
from services.planning.outlook import PlannedMaster, planned_masters
from services.planning.request import RunOptions, Step
from services.planning.room import PlannedSet, Room, Sizes, needed, room_of, upkeep, with_flat_darks
from services.planning.wanted import darks_of_flats
from services.root import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run would do.

    Attributes
    ----------
    steps : tuple of Step
    sets : tuple of PlannedSet
        In the order in which they would be taken; empty when the run takes no frames.
    cost : Estimate
        Of the frames to take.
    masters : tuple of PlannedMaster
        Of the frames that exist; empty when the run builds none.
    refused : tuple of PlannedMaster
        Groups of the frames that exist that become no master, whatever frames are taken.
    filters_from : FilterSource
    frame_pixels : int or None
        Pixels of a frame; None while only the camera knows.
    more_darks : tuple of int
        Sets of flats whose exposures will be found, and frames of each dark set that comes on top; (0, 0) for none.
    dropped : tuple of str
        Factors of the science times that lead outside the range of exposures: no darks are taken for them.
    assumed : bool
        Whether darks are taken for flats of which nobody knows the exposure.
    room : Room
    upkeep : tuple of str
        What ages cost that are shorter than the usual ones, in words.
    total : Estimate
        Of the frames to take, the darks on top and the masters among them.
    has_frames : bool
        Whether there are any at all; asked only where no master can be built.
    problems : tuple of str
        Why devices that were asked have not said what they are.
    models : tuple of str
        Kinds of models that are fitted where frames support them.
    predicts : bool
        Whether one of them may give flats the dark that they lack.
    """

    steps: tuple[Step, ...]
    sets: tuple[PlannedSet, ...]
    cost: Estimate
    masters: tuple[PlannedMaster, ...]
    refused: tuple[PlannedMaster, ...] = ()
    filters_from: FilterSource
    frame_pixels: int | None
    more_darks: tuple[int, int]
    dropped: tuple[str, ...]
    assumed: bool = False
    room: Room
    upkeep: tuple[str, ...] = ()
    total: Estimate
    has_frames: bool = True
    problems: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    predicts: bool = False

    @property
    def captures(self) -> bool:
        """Whether the run takes frames at all."""
        return any(step.takes_frames for step in self.steps)


def no_cards(_row: FrameRow) -> None:
    """Look at no header."""


@uncollected()
def forecast(
    loaded: LoadedConfig,
    place: Place,
    options: RunOptions,
    *,
    is_whole: Whole,
    cards_of: CardsOf = no_cards,
    ask: Callable[[], Foreknown] = Foreknown,
) -> Forecast:
    """Return what a run would do.

    Parameters
    ----------
    loaded : LoadedConfig
    place : Place
        Its catalogue is read.
    options : RunOptions
    is_whole : callable
        Asked about a master whose file has changed since it was written.
    cards_of : callable
        Reads the headers of another program's frames of which no master exists; by default nobody looks at them.
    ask : callable
        Asks the devices, at most once, for what nothing else knows; by default they are left alone.

    Raises
    ------
    StorageError
        The catalogue cannot be read.
    """
    config = loaded.config
    look = Look(loaded, place.catalogue, options, ask)
    sets = tuple(look.planned_sets())
    plan = MasterPlan(MasterSettings.of(config), place, is_whole=is_whole)
    masters = tuple(planned_masters(plan, cards_of)) if Step.MASTERS in options.steps else ()
    filters_from, pixels = look.filters[1], look.frame_pixels
    sizes = None if pixels is None else Sizes(pixels=pixels, masters=Step.MASTERS in options.steps)
    new_flats = sum(each.wanted.kind is FrameKind.FLAT and not each.there.count for each in sets)
    more_darks = darks_of_flats(config, options) if new_flats else 0
    foreseen = tuple(with_flat_darks(sets, more_darks))
    room = room_of(place, config, foreseen, sizes, now=look.now)
    models = config.models.kinds if Step.MODELS in options.steps and config.models.fit != "off" else ()
    return Forecast(
        steps=options.steps,
        sets=sets,
        cost=needed(sets, sizes, config),
        masters=tuple(each for each in masters if each.refused is None),
        refused=tuple(each for each in masters if each.refused is not None and not _comes(each, sets)),
        filters_from=filters_from,
        frame_pixels=pixels,
        dropped=tuple(dict.fromkeys(look.dropped)),
        assumed=look.assumed,
        more_darks=(new_flats, more_darks) if more_darks else (0, 0),
        room=room,
        upkeep=tuple(upkeep(sets, sizes)),
        total=replace(needed(foreseen, sizes, config), bytes=room.needed_bytes),
        has_frames=bool(masters) or place.catalogue.has_frames,
        problems=look.problems,
        models=models,
        predicts="dark" in models and config.master_frames.flat_dark == "model",
    )


def _comes(each: PlannedMaster, sets: Iterable[PlannedSet]) -> bool:
    """Whether the frames to take complete a group, or bring the darks that its flats lack."""
    first, taken = each.group.rows[0], [planned for planned in sets if planned.lacking]
    is_continued = any(planned.there.row is not None and planned.there.row.set_id == first.set_id for planned in taken)
    lacks_dark = each.refused is not None and each.refused.code == GroupCode.NO_MATCHING_DARK
    return is_continued or (lacks_dark and any(planned.wanted.kind is not FrameKind.FLAT for planned in taken))
