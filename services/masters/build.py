"""One prepared group becomes a master: planes, second pass, statistics, verdict, and its three files.

The planes and the master are on disk to their last byte, under hidden names, before the sidecar is written. From that
moment the master exists: after a kill the next start gives both their names (`services.indexing.index.adopt`). The
master is named last, so a master that can be seen is complete.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from calibration.comparing.records import MasterFacts
from calibration.errors import GroupCode
from calibration.frames import FrameHeader, FrameKind, Verdict
from calibration.grouping import night_label, noon_of
from calibration.keywords import NO_ALIASES, to_cards
from calibration.masters.flags import thresholds
from calibration.masters.quality import statistics
from services import platform
from services.bands import rows_for
from services.catalogue.rows import MasterRow, MasterStatus, Origin
from services.catalogue.said import Said
from services.files.fits import read_header
from services.files.layout import MasterName, apart
from services.files.planes import Plane, PlanesFile, create_planes
from services.indexing.sidecar import write_sidecar
from services.masters.comparison import (
    Before,
    certified_before,
    common_to,
    facts_of,
    judged,
    status_of,
    with_comparison,
)
from services.masters.master_cards import (
    PLANES,
    history_cards,
    inputs_table,
    master_header,
    master_info,
    plane_cards,
    spare_cards,
)
from services.masters.measured import Measured, divisor_of, frame_noise, master_numbers
from services.masters.modelled import second_opinion
from services.masters.prepare import Prepared
from services.masters.stack import Finishing, combine_files, finish_files
from services.planning.master_settings import MasterSettings
from services.root import Place

_PASS_FRAMES = 32
"""A pixel of the second pass, with everything computed from its planes, takes as much memory as this many samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """Where and with what masters are built.

    Attributes
    ----------
    settings : MasterSettings
    place : Place
    run_id : str
    executor : Executor, optional
        Works on bands; by default threads that live for one master: what they keep in memory goes with them.
    wake : threading.Event, optional
        Ends the work between two bands when set.
    """

    settings: MasterSettings
    place: Place
    run_id: str
    executor: Executor | None = None
    wake: threading.Event | None = None


def build(
    prepared: Prepared, *, recipe: str, status: MasterStatus, built_at: datetime, context: BuildContext
) -> MasterRow:
    """Combine a group and write its master; return its row, which the caller puts into the catalogue.

    Raises
    ------
    StorageError
        The disk is full, or a file cannot be written or read; nothing is left behind.
    GroupRefused
        The flat cannot be normalised.
    RunStopped
        `wake` was set.
    """
    path = context.place.layout.master_path(_name(prepared, built_at, context))
    try:
        return _build(prepared, path, recipe=recipe, status=status, built_at=built_at, context=context)
    except BaseException:
        if not path.exists():  # the last of the three; where it is, the others belong to it
            for beside in (context.place.layout.sidecar_path(path), context.place.layout.planes_path(path)):
                with suppress(OSError):
                    context.place.disk.remove(beside)
        raise


def _build(
    prepared: Prepared, path: Path, *, recipe: str, status: MasterStatus, built_at: datetime, context: BuildContext
) -> MasterRow:
    shape, spare = prepared.stack.shape, spare_cards(prepared)
    first = _first_header(prepared, context)
    begins = _begins(prepared, first, context)
    found = certified_before(prepared.group.key, prepared.group.started, context.place)
    side = (Plane(name="SIGMA"), Plane(name="COUNT", dtype=np.uint16), Plane(name="MASK", dtype=np.uint16))
    with (
        create_planes(path, (Plane(name="MEAN"),), shape, context.place.disk, spare_cards=spare) as mean,
        create_planes(context.place.layout.planes_path(path), side, shape, context.place.disk, hashed=False) as planes,
        nullcontext(None) if found is None else found.held() as before,
    ):
        result, said = _combine(prepared, mean, planes, context, before)
        second = second_opinion(prepared, result, said, mean, context.place, kinds=context.settings.modelled)
        result, said = replace(result, statistics=second.statistics), (*said, *second.verdicts)
        status = status_of(status, result.statistics, before, said, by_hand=context.settings.by_hand)
        verdicts = [asdict(verdict) for verdict in (*result.verdicts, *said)]
        header = master_header(first, prepared, result, run_id=context.run_id, built_at=built_at)
        cards = to_cards(header, master_info(prepared, result, recipe))
        if context.settings.save_planes:
            planes.seal({name: plane_cards(name, cards) for name in PLANES}, tables=(inputs_table(prepared),))
        digest = mean.seal({"MEAN": [*cards, *history_cards(prepared, result, context.settings.normalisation)]})
        row = _row(prepared, result, path, context, recipe=recipe, status=status, built_at=built_at)
        row = replace(row, taken=prepared.group.started, begins=begins, valid_from=begins)
        code = GroupCode.MASTER_DIFFERS if any(verdict.refuses for verdict in said) else None
        row = replace(row, pixel_sha256=digest, code=code, invalid=_ended(prepared, context))
        write_sidecar(context.place.layout, row, verdicts=verdicts, disk=context.place.disk)
        if context.settings.save_planes:
            planes.commit()
        stored = mean.commit()
    return replace(row, size=stored.size, mtime_ns=stored.mtime_ns)


def _first_header(prepared: Prepared, context: BuildContext) -> FrameHeader:
    """Return the header of a group's first frame, understood as when it was catalogued."""
    path = prepared.group.rows[0].path
    aliases = context.settings.header_aliases if prepared.group.rows[0].origin is Origin.FOREIGN else NO_ALIASES
    return read_header(context.place.layout.absolute(path), hint=PurePosixPath(path), aliases=aliases)


def _combine(
    prepared: Prepared, mean: PlanesFile, planes: PlanesFile, context: BuildContext, before: Before | None
) -> tuple[Measured, tuple[Verdict, ...]]:
    settings, stack, n = context.settings, prepared.stack, len(prepared.stack.frames)
    kind = prepared.group.product
    rows = rows_for(
        memory_mb=settings.memory_mb, frames=n + 2 * len(stack.darks), columns=stack.shape[1], workers=settings.workers
    )
    with _threads(settings, "bands") if context.executor is None else nullcontext(context.executor) as workers:
        first = combine_files(stack, mean, planes, workers, rows=rows, workers=settings.workers, wake=context.wake)
    divisor = divisor_of(prepared, first, settings)
    with _threads(settings, "finish") as threads:
        limits = thresholds(
            kind,
            first.sketch,
            samples=n,
            factor=stack.recipe.factor_for(n),
            widening=stack.recipe.widening_for(n),
            noise=prepared.noise,
            mosaic=kind is FrameKind.FLAT and prepared.group.rows[0].bayer_pattern is not None,
            each=threads.map,
        )
        found = statistics(
            first.sketch,
            limits,
            first.totals,
            pair_noise_adu=frame_noise(prepared, first).sigma_adu,
            temperatures_c=tuple(row.ccd_temp_c for row in prepared.group.rows if row.ccd_temp_c is not None),
            each=threads.map,
        )
        facts = _facts(prepared, found | {"normalised_by": divisor}, before)
        compared = None
        if before is not None and before.mean is not None and facts is not None:
            compared = common_to(before, mean, stack.shape, divisor, facts)
        finishing = Finishing(
            mean=mean,
            planes=planes,
            height=stack.shape[0],
            limits=limits if settings.quality_control else None,
            divisor=divisor,
            compared=compared,
        )
        tall = rows_for(
            memory_mb=settings.memory_mb, frames=_PASS_FRAMES, columns=stack.shape[1], workers=settings.workers
        )
        changes = finish_files(finishing, first.totals, threads, rows=tall, workers=settings.workers)
    measured = master_numbers(prepared, found | first.totals.flags(), first, divisor, settings)
    said = judged(before, compared, changes, _facts(prepared, measured.statistics, before))
    return replace(measured, statistics=with_comparison(measured.statistics, before, compared, said)), said


def _facts(prepared: Prepared, found: Mapping[str, Any], before: Before | None) -> MasterFacts | None:
    """Return what is known of a new master for its comparison with the one before."""
    if before is None:
        return None
    group = prepared.group
    return facts_of(
        found,
        group.key,
        n=len(group.rows),
        exposure_us=group.exposure_us,
        ccd_temp_c=_warmth_c(prepared),
        before=before,
    )


def _warmth_c(prepared: Prepared) -> float | None:
    temperatures = [row.ccd_temp_c for row in prepared.group.rows if row.ccd_temp_c is not None]
    return float(np.mean(temperatures)) if temperatures else None


def _begins(prepared: Prepared, first: FrameHeader, context: BuildContext) -> datetime | None:
    """Return from when on a master is valid: its first frame, of flats the noon that begins their night."""
    group, started = prepared.group, prepared.group.started
    if group.product is not FrameKind.FLAT or started is None:
        return started
    at_deg = context.settings.longitude_deg if first.site_longitude_deg is None else first.site_longitude_deg
    return noon_of(night_label(started, at_deg), at_deg)


def _ended(prepared: Prepared, context: BuildContext) -> tuple[Said, ...]:
    """Return the invalidations of its kind that a master falls under, which is built after them."""
    started = prepared.group.started
    if started is None:
        return ()
    kinds = (prepared.group.product, prepared.group.taken_as)
    rows = context.place.catalogue.masters(kind=kinds, with_inputs=False)
    said = {each for row in rows for each in row.invalid if each.kind in kinds and each.since and each.since > started}
    return tuple(sorted(said, key=lambda each: each.since or started))


def _threads(settings: MasterSettings, name: str) -> ThreadPoolExecutor:
    begin = platform.lower_priority if settings.beside else None
    return ThreadPoolExecutor(settings.workers, f"nightcal-{name}", begin)


def _name(prepared: Prepared, built_at: datetime, context: BuildContext) -> MasterName:
    group, settings = prepared.group, context.settings
    key = group.key
    taken = (row.filter for row in context.place.catalogue.sets(FrameKind.FLAT)) if key.filter else ()
    return MasterName(
        kind=group.product,
        stamp=built_at,
        exposure_us=None if group.product is FrameKind.BIAS else group.exposure_us,
        filter=apart((*filter(None, taken), key.filter))[key.filter] if key.filter else None,
        gain=key.gain if settings.name_gain else None,
        temperature_c=group.temperature_c if settings.name_temperature else None,
    )


def _row(
    prepared: Prepared,
    measured: Measured,
    path: Path,
    context: BuildContext,
    *,
    recipe: str,
    status: MasterStatus,
    built_at: datetime,
) -> MasterRow:
    group = prepared.group
    return MasterRow(
        path=context.place.layout.relative(path),
        key=group.key,
        n=len(group.rows),
        recipe=recipe,
        built_at=built_at,
        status=status,
        exposure_us=group.exposure_us,
        ccd_temp_c=_warmth_c(prepared),
        rejected=measured.rejected,
        night=group.rows[0].night,
        run_id=context.run_id,
        inputs=tuple(row.pixel_sha256 for row in group.rows),
        darks=tuple(dark.path for dark in prepared.darks if dark.path),
        statistics=measured.statistics,
    )
