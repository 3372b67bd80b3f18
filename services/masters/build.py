"""One prepared group becomes a master: planes, second pass, statistics, verdict, and its three files.

Planes and master are on disk to their last byte, under hidden names, before the sidecar is written: that is the moment
from which the master exists, for a start after a kill gives both their names (`services.indexing.index.adopt`). The
master is named last: one that is there is whole.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from calibration.combine.recipe import Method
from calibration.errors import CombineError, GroupCode
from calibration.frames import FrameHeader, FrameKind, Verdict
from calibration.keywords import OF_THE_VALUES, Card, MasterInfo, to_cards
from calibration.masters.flags import thresholds
from calibration.masters.quality import judge, pair_sigma, statistics
from calibration.masters.scales import normalisation_factor
from services import platform
from services.bands import rows_for
from services.catalogue.rows import MasterRow, MasterStatus
from services.files.fits import read_header
from services.files.layout import MasterName
from services.files.planes import Plane, PlanesFile, Table, create_planes
from services.indexing.sidecar import write_sidecar
from services.masters.prepare import Prepared, Refused
from services.masters.stack import Finishing, FirstPass, combine_files, finish_files
from services.planning.master_settings import MasterSettings
from services.root import Place

_PASS_FRAMES = 32
"""A pixel of the second pass, with all that is made of its planes on the way, takes what so many samples take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and with what masters are built.

    Attributes
    ----------
    settings : MasterSettings
    place : Place
    executor : Executor
    run_id : str
    wake : threading.Event, optional
        Ends the work between two bands when set.
    """

    settings: MasterSettings
    place: Place
    executor: Executor
    run_id: str
    wake: threading.Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What is known of a master when its planes are done."""

    statistics: dict[str, Any]
    verdicts: tuple[Verdict, ...]
    divisor: float
    rejected: int


def build(prepared: Prepared, *, recipe: str, status: MasterStatus, built_at: datetime, bench: Bench) -> MasterRow:
    """Combine a group and write its master; return its row (which the caller puts into the catalogue).

    Raises
    ------
    StorageError
        The disk is full, or a file cannot be written or read; nothing is left behind.
    Refused
        The flat cannot be normalised.
    RunStopped
        `wake` was set.
    """
    path = bench.place.layout.master_path(_name(prepared, built_at, bench.settings))
    try:
        return _build(prepared, path, recipe=recipe, status=status, built_at=built_at, bench=bench)
    except BaseException:
        if not path.exists():  # the last of the three; where it is, the others belong to it
            for beside in (bench.place.layout.sidecar_path(path), bench.place.layout.planes_path(path)):
                with suppress(OSError):
                    bench.place.disk.remove(beside)
        raise


def _build(
    prepared: Prepared, path: Path, *, recipe: str, status: MasterStatus, built_at: datetime, bench: Bench
) -> MasterRow:
    shape, spare = prepared.stack.shape, _spare(prepared)
    side = (Plane(name="SIGMA"), Plane(name="COUNT", dtype=np.uint16), Plane(name="MASK", dtype=np.uint8))
    with (
        create_planes(path, (Plane(name="MEAN"),), shape, bench.place.disk, spare_cards=spare) as mean,
        create_planes(bench.place.layout.planes_path(path), side, shape, bench.place.disk) as planes,
    ):
        measured = _combine(prepared, mean, planes, bench)
        verdicts = [asdict(verdict) for verdict in measured.verdicts]
        cards = to_cards(_header(prepared, measured, bench, built_at), _info(prepared, measured, recipe))
        if bench.settings.save_planes:
            planes.seal({name: _plane_cards(name, cards) for name in _MEANINGS}, tables=(_inputs(prepared),))
        digest = mean.seal({"MEAN": [*cards, *_history(prepared, measured, bench)]})
        row = _row(prepared, measured, path, bench, recipe=recipe, status=status, built_at=built_at)
        row = replace(row, pixel_sha256=digest)
        write_sidecar(bench.place.layout, row, verdicts=verdicts, disk=bench.place.disk)
        if bench.settings.save_planes:
            planes.commit()
        stored = mean.commit()
    return replace(row, size=stored.size, mtime_ns=stored.mtime_ns)


def _combine(prepared: Prepared, mean: PlanesFile, planes: PlanesFile, bench: Bench) -> _Measured:
    settings, stack, n = bench.settings, prepared.stack, len(prepared.stack.frames)
    kind = prepared.group.product
    rows = rows_for(
        memory_mb=settings.memory_mb, frames=n + 2 * len(stack.darks), columns=stack.shape[1], workers=settings.workers
    )
    first = combine_files(stack, mean, planes, bench.executor, rows=rows, workers=settings.workers, wake=bench.wake)
    divisor = _divisor(prepared, first, settings)
    begin = platform.lower_priority if settings.beside else None
    with ThreadPoolExecutor(settings.workers, "nightcal-finish", begin) as threads:
        limits = thresholds(
            kind,
            first.sketch,
            samples=n,
            factor=stack.recipe.factor_for(n),
            noise=prepared.noise,
            mosaic=kind is FrameKind.FLAT and prepared.group.rows[0].bayer_pattern is not None,
            each=threads.map,
        )
        found = statistics(
            first.sketch,
            limits,
            first.totals,
            pair_noise_adu=_pair_noise(prepared, first),
            temperatures_c=tuple(row.ccd_temp_c for row in prepared.group.rows if row.ccd_temp_c is not None),
            each=threads.map,
        )
        finishing = Finishing(
            mean=mean, planes=planes, limits=limits if settings.quality_control else None, divisor=divisor
        )
        tall = rows_for(
            memory_mb=settings.memory_mb, frames=_PASS_FRAMES, columns=stack.shape[1], workers=settings.workers
        )
        finish_files(finishing, stack.shape[0], first.totals, threads, rows=tall, workers=settings.workers)
    return _measured(prepared, found | first.totals.flags(), first, divisor, settings)


def _divisor(prepared: Prepared, first: FirstPass, settings: MasterSettings) -> float:
    if prepared.group.product is not FrameKind.FLAT:
        return 1.0
    try:
        return normalisation_factor(first.sketch, settings.normalisation)
    except CombineError as error:
        raise Refused(GroupCode.TOO_DIM, str(error)) from error


def _measured(
    prepared: Prepared, found: dict[str, Any], first: FirstPass, divisor: float, settings: MasterSettings
) -> _Measured:
    """Return what is told of a master: its numbers, and what is suspect about them."""
    kind, stack, n = prepared.group.product, prepared.stack, len(prepared.stack.frames)
    found["own"] = prepared.group.own
    if kind is FrameKind.FLAT:
        found |= {"normalised_by": divisor, "net_level_adu": float(np.median(prepared.levels_adu))}
    method = stack.recipe.method_for(n)
    designed = 2 / n if method is Method.MINMAX and n > 2 else 0.0
    verdicts = judge(kind, found, designed=designed) if settings.quality_control else ()
    if not np.isfinite(found["median_adu"]):
        raise Refused(GroupCode.NO_FRAMES, "no pixel has a usable sample")
    found = {name: _known(value) for name, value in found.items()}
    found["verdict"] = ("suspect" if verdicts else "ok") if settings.quality_control else "not judged"
    found["verdicts"] = [v.code for v in verdicts]
    if method is not settings.method:
        found["note"] = f"rejection {method} instead of {settings.method}, which sees no outlier among {n} frames"
    return _Measured(
        statistics=found,
        verdicts=verdicts,
        divisor=divisor,
        rejected=first.totals.samples - first.totals.kept,
    )


def _known(value: Any) -> Any:
    """Return a number that JSON can hold: None for NaN (the noise of a single frame)."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _pair_noise(prepared: Prepared, first: FirstPass) -> float:
    """Return the noise of a frame from a pair over the whole frame, else from its middle."""
    whole = pair_sigma(first.pairs) if first.pairs.size > 1 else float("nan")
    return whole if np.isfinite(whole) else prepared.pair_noise_adu


def _name(prepared: Prepared, built_at: datetime, settings: MasterSettings) -> MasterName:
    group = prepared.group
    key = group.key
    return MasterName(
        kind=group.product,
        stamp=built_at,
        exposure_us=None if group.product is FrameKind.BIAS else group.exposure_us,
        filter=key.filter,
        gain=key.gain if settings.name_gain else None,
        temperature_c=group.temperature_c if settings.name_temperature else None,
    )


def _row(
    prepared: Prepared,
    measured: _Measured,
    path: Path,
    bench: Bench,
    *,
    recipe: str,
    status: MasterStatus,
    built_at: datetime,
) -> MasterRow:
    group = prepared.group
    temperatures = [row.ccd_temp_c for row in group.rows if row.ccd_temp_c is not None]
    return MasterRow(
        path=bench.place.layout.relative(path),
        key=group.key,
        n=len(group.rows),
        recipe=recipe,
        built_at=built_at,
        status=status,
        exposure_us=group.exposure_us,
        ccd_temp_c=float(np.mean(temperatures)) if temperatures else None,
        rejected=measured.rejected,
        night=group.rows[0].night,
        run_id=bench.run_id,
        code=None,
        valid_from=group.started,
        inputs=tuple(row.pixel_sha256 for row in group.rows),
        statistics=measured.statistics,
    )


def _header(prepared: Prepared, measured: _Measured, bench: Bench, built_at: datetime) -> FrameHeader:
    """Return the header of the first frame, made true for the master: times and temperature of all, no frame number."""
    group, flat = prepared.group, prepared.group.product is FrameKind.FLAT
    first = read_header(bench.place.layout.absolute(group.rows[0].path))
    times = [row.date_obs for row in group.rows if row.date_obs is not None]
    temperatures = [row.ccd_temp_c for row in group.rows if row.ccd_temp_c is not None]
    found = measured.statistics
    middle = None if not times else times[0] + reduce(lambda a, b: a + b, (t - times[0] for t in times)) / len(times)
    return replace(
        first,
        kind=group.product,
        exposure_us=group.exposure_us,
        reported_exposure_us=None,
        date_obs=min(times, default=None),
        date_avg=middle,
        date_end=max(times, default=None),
        run_id=bench.run_id,
        frame_no=None,
        ccd_temp_c=float(np.mean(temperatures)) if temperatures else None,
        temp_begin_c=None,
        temp_end_c=None,
        median_adu=found["median_adu"] / measured.divisor,
        std_adu=found["spatial_sigma_adu"] / measured.divisor,
        min_adu=found["percentiles_adu"][0] / measured.divisor,
        max_adu=found["percentiles_adu"][-1] / measured.divisor,
        saturation_adu=None if flat else first.saturation_adu,  # its values are no ADU
        step_adu=None,
        filter=first.filter if flat else None,
        software=first.software,
        extra={"DATE": built_at.replace(tzinfo=None).isoformat(timespec="seconds")},
    )


def _info(prepared: Prepared, measured: _Measured, recipe: str) -> MasterInfo:
    stack, found, flat = prepared.stack, measured.statistics, prepared.group.product is FrameKind.FLAT
    n = len(stack.frames)
    method = stack.recipe.method_for(n)
    darks = prepared.darks
    return MasterInfo(
        n_combined=n,
        n_rejected=measured.rejected,
        combine_method="median" if method is Method.MEDIAN else "mean",
        reject_method=str(method),
        reject_sigma=stack.recipe.sigma if method not in {Method.NONE, Method.MEDIAN, Method.MINMAX} else None,
        temp_min_c=found.get("temp_min_c"),
        temp_max_c=found.get("temp_max_c"),
        percentiles_adu=tuple(p / measured.divisor for p in found["percentiles_adu"]),
        read_noise_adu=None if flat else found["pair_noise_adu"],
        recipe=recipe,
        bias_subtracted=False,
        flat_dark="+".join(sorted({dark.how for dark in darks})) or None,
        dark_file=Path(darks[0].master.path).name if darks else None,
        dark_sha256=darks[0].master.pixel_sha256 if darks else None,
        flat_norm=measured.divisor if flat else None,
        flat_level_adu=found.get("net_level_adu"),
        sigma_correction=stack.recipe.factor_for(n),
        calibration_status="D" if darks else None,
    )


_MEANINGS = {
    "SIGMA": "1 sigma uncertainty of the master's MEAN",
    "COUNT": "samples that survived rejection",
    "MASK": "1 hot 2 dead 4 noisy 8 saturated 16 few 32 none 64 changed 128 inherited",
}


def _plane_cards(name: str, cards: Sequence[Card]) -> list[Card]:
    """Return the cards of a plane: those of its master, but for what they say of MEAN's values alone."""
    not_its_own = OF_THE_VALUES | {"SATURATE"} | (set() if name == "SIGMA" else {"BUNIT"})
    kept = [card for card in cards if card.keyword not in not_its_own]
    return [*kept, Card("HISTORY", f"{name}: {_MEANINGS[name]}")]


def _history(prepared: Prepared, measured: _Measured, bench: Bench) -> list[Card]:
    """Return what was done, in words."""
    stack, n = prepared.stack, len(prepared.stack.frames)
    method = stack.recipe.method_for(n)
    told = [f"nightcal: mean of {n} frames, rejection {method}, {measured.rejected} values rejected"]
    if method is Method.MEDIAN:
        told = [f"nightcal: median of {n} frames"]
    told += [
        f"minus {Path(dark.master.path).name} ({dark.how}) from {stack.dark_of.count(i)} flats"
        for i, dark in enumerate(prepared.darks)
    ]
    if prepared.darks:
        told.append(f"each flat scaled to the mean net level, {min(stack.scale):.5f} to {max(stack.scale):.5f}")
        told.append(f"divided by {measured.divisor:.4f} ADU ({bench.settings.normalisation} of the good pixels)")
    told.append("the pedestal is kept: no bias was subtracted" if not prepared.darks else "the dark held the pedestal")
    told += [f"verdict {measured.statistics['verdict']}: {', '.join(measured.statistics['verdicts']) or 'no remarks'}"]
    told += [f"input {Path(row.path).name} {row.pixel_sha256[:16]}" for row in prepared.group.rows]
    return [Card("HISTORY", line) for line in told]


def _spare(prepared: Prepared) -> int:
    """Return how many header cards to keep room for: the frame's, the master's, and one HISTORY card per frame."""
    return 160 + len(prepared.stack.frames) + 2 * len(prepared.darks)


def _inputs(prepared: Prepared) -> Table:
    """Return the table of what went in: files, checksums of their pixels, times, levels, scales."""
    rows = prepared.group.rows
    nan = float("nan")
    return Table(
        name="INPUTS",
        columns={
            "PATH": [row.path for row in rows],
            "SHA256": [row.pixel_sha256 for row in rows],
            "DATE_OBS": ["" if row.date_obs is None else row.date_obs.isoformat() for row in rows],
            "EXPTIME": [nan if row.exposure_us is None else row.exposure_us / 1e6 for row in rows],
            "CCD_TEMP": [nan if row.ccd_temp_c is None else row.ccd_temp_c for row in rows],
            "LEVEL": [nan if row.level_adu is None else row.level_adu for row in rows],
            "SCALE": list(prepared.stack.scale) or [1.0] * len(rows),
        },
    )
