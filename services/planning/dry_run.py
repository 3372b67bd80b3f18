"""`--dry-run`: what a run would do, as a user reads it. No lock is taken, nothing moves and nothing is written."""

from collections.abc import Callable, Iterator, Sequence

from calibration.errors import GroupCode
from calibration.frames import FrameKind
from services.config.models import LoadedConfig
from services.errors import RunCode
from services.events.records import OfMaster, WarningRaised
from services.events.sentences import sentence, title
from services.planning.alike import CardsOf
from services.planning.forecast import Forecast, forecast, no_cards
from services.planning.foreknown import Foreknown
from services.planning.group_names import GroupNames
from services.planning.having import Standing
from services.planning.look import FilterSource
from services.planning.master_plan import Whole
from services.planning.request import RunOptions, Step
from services.planning.room import PlannedSet
from services.planning.wanted import ASSUMED_FLAT_US
from services.root import Place
from services.words import count, length, size

_NO_DARK = GroupCode.NO_MATCHING_DARK
MOST_REFUSED = 20
"""So many groups that become no master are named."""


def dry_run(
    loaded: LoadedConfig,
    place: Place,
    options: RunOptions,
    *,
    is_whole: Whole,
    cards_of: CardsOf = no_cards,
    ask: Callable[[], Foreknown] = Foreknown,
    unused: Sequence[WarningRaised] = (),
) -> str:
    """Return the forecast of a run as text, with the files that it would not use; the rest as for `forecast`."""
    found = forecast(loaded, place, options, is_whole=is_whole, cards_of=cards_of, ask=ask)
    room = f"{found.room.words}. {found.room.outlook}".rstrip()
    return "\n".join((*_capture(found), *_masters(found), *_models(found), *_unused(found, unused), room))


def _unused(found: Forecast, unused: Sequence[WarningRaised]) -> Iterator[str]:
    """Yield which files are not used, in the words of the run; who builds no masters looks at damaged ones alone."""
    for each in unused:
        if Step.MASTERS in found.steps or each.code == RunCode.READ_FAILED:
            yield sentence(each) or ""


def _capture(found: Forecast) -> Iterator[str]:
    """Yield the sets as a table, and their sums; nothing where nothing would be taken in any case."""
    if not found.captures:
        return
    yield f"{'':16}{'exposure':>10}  {'filter':<12}{'gain':>8}{'°C':>8}{'wanted':>8}{'there':>7}{'to take':>9}  for"
    for each in found.sets:
        wanted = each.wanted
        yield (
            f"  {wanted.kind.lower():<14}{_exposure(each):>10}  {wanted.filter or '-':<12}{_or_as_is(wanted.gain):>8}"
            f"{_or_as_is(wanted.set_temp_c):>8}{wanted.count:>8}{each.there.count:>7}{each.lacking:>9}"
            f"  {', '.join(wanted.why)}{_remark(each)}"
        )
    yield ""
    yield from _sums(found)


def _exposure(each: PlannedSet) -> str:
    """Return a set's exposure; that of flats is found when they are taken, unless some exist."""
    row = each.there.row
    exposure_us = each.wanted.exposure_us or (row.exposure_us if row is not None else None)
    return "searched" if exposure_us is None else f"{exposure_us / 1e6:g} s"


def _remark(each: PlannedSet) -> str:
    level = each.there.row.panel_brightness if each.there.row is not None else None
    lamp = f", brightness {level}" if level and each.wanted.kind is FrameKind.FLAT else ""
    return f"{lamp}{' (continued)' if each.there.standing is Standing.RESUMED else ''}"


def _or_as_is(value: float | None) -> str:
    return "as is" if value is None else f"{value:g}"


def _sums(found: Forecast) -> Iterator[str]:
    there = sum(each.there.count for each in found.sets)
    if found.cost.frames == 0:
        yield f"Nothing to take: {'the only frame is' if there == 1 else f'all {there} frames are'} there."
    else:
        unknown = found.frame_pixels is None
        room = "size not known before the camera was seen" if unknown else size(found.cost.bytes)
        lacking = f"{count(found.cost.frames, 'frame')} to take ({there} there)"
        yield f"{lacking}, about {length(found.cost.seconds)}, {room}."
    flats, frames = found.more_darks
    if flats:
        most = f"{count(flats, 'set')} of {count(frames, 'frame')}"
        room = "" if found.frame_pixels is None else f", {size(found.total.bytes)} with the masters"
        yield (
            f"Darks for the exposures that {count(flats, 'flat set')} will find come on top: at most {most} "
            f"({count(found.total.frames, 'frame')} in all, {length(found.total.seconds)}{room})."
        )
    if found.assumed:
        yield (
            f"No flats are there whose exposure the darks could match: darks for flats of {ASSUMED_FLAT_US / 1e6:g} s "
            "are taken (dark_capture.flat_exposure_time says another one)."
        )
    if found.dropped:
        yield f"No darks outside min_exposure … max_exposure: {', '.join(found.dropped)} dropped."
    for problem in found.problems:
        yield f"The devices have not said what they are: {problem}."
    if found.filters_from is FilterSource.UNKNOWN:
        yield "The wheel's filters are not known before it was seen: one set of flats is shown for all of them."
    elif found.filters_from is not FilterSource.NO_WHEEL:
        yield f"The filters are those of {found.filters_from}."


def _masters(found: Forecast) -> Iterator[str]:
    """Yield what exists of masters, one by one where nothing else was asked for."""
    if Step.MASTERS not in found.steps:
        return
    masters = found.masters
    if found.steps == (Step.MASTERS,) and masters:
        yield f"{'master':<16}{'exposure':>10}  {'filter':<12}{'frames':>8}"
        for each in masters:
            group = each.group
            exposure = "" if group.exposure_us is None else f"{group.exposure_us / 1e6:g} s"
            there = "there" if each.exists else "to build"
            yield f"  {group.product.lower():<14}{exposure:>10}  {group.key.filter or '-':<12}{each.n:>8}  {there}"
        yield ""
    kept = sum(each.exists for each in masters)
    missing = len(masters) - kept
    later = "; those of the frames to take come on top" if any(each.lacking for each in found.sets) else ""
    if not masters and not later:
        lack = "are not enough frames of any kind yet" if found.has_frames else f"are no frames below {found.room.root}"
        yield f"No masters to build: there {lack}."
    elif not missing and not later:
        yield f"No masters to build: {'the only one is' if kept == 1 else f'all {kept} are'} there."
    elif not masters:
        yield "Masters are built of the frames to take."
    else:
        yield f"{count(missing, 'master')} to build of the frames that are there ({kept} there){later}."
    unsure = sum(not each.is_sure for each in masters)
    if unsure:
        yield f"Of {count(unsure, 'master')} only the headers are known, before the levels of the frames are measured."
    yield from _refused(found)


def _models(found: Forecast) -> Iterator[str]:
    """Yield what is fitted, where nothing else was asked for."""
    if found.steps == (Step.MODELS,) and found.models:
        yield f"Models are fitted where frames support them, and have changed since: {', '.join(found.models)}."
    elif found.steps == (Step.MODELS,):
        yield "Models are switched off (models: off)."


def _refused(found: Forecast) -> Iterator[str]:
    """Yield which groups become no master, and why."""
    names = GroupNames([each.group for each in (*found.masters, *found.refused)] if found.refused else ())
    for each in found.refused[:MOST_REFUSED]:
        group = each.group
        of = OfMaster(kind=group.product, filter=group.key.filter, exposure_us=group.exposure_us, apart=names.of(group))
        why, code = ("", "") if each.refused is None else (each.refused.detail, each.refused.code)
        later = "; a model that this run fits may give them one" if found.predicts and code == _NO_DARK else ""
        yield f"No master {title(of)}: {why}{later}{'' if each.is_sure else ' (before the levels are measured)'}."
    if len(found.refused) > MOST_REFUSED:
        yield f"No master either of {count(len(found.refused) - MOST_REFUSED, 'other group')}."
