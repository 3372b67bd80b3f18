"""The numbers of a master whose planes are combined: its divisor, its statistics, and what is suspect about it."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from calibration.combine.recipe import Method
from calibration.errors import CombineError, GroupCode
from calibration.frames import FrameKind, Verdict
from calibration.grouping import cooled_to
from calibration.masters.noise import FrameNoise, noise_of_pairs
from calibration.masters.quality import judge
from calibration.masters.scales import normalisation_factor
from calibration.series import common_mode_adu
from calibration.stats import sample_of
from services.events.findings import Finding
from services.events.records import members
from services.masters.doubts import with_causes
from services.masters.prepare import Prepared
from services.masters.refusal import GroupRefused
from services.masters.stack import FirstPass
from services.planning.flat_darks import served
from services.planning.master_settings import MasterSettings
from services.words import count, some

_NAMED = 2
"""So many darks of a flat are named; the header's history names all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of a master when its planes are done.

    Attributes
    ----------
    statistics : dict
        Its numbers, as they stand in the catalogue and the sidecar.
    verdicts : tuple of Verdict
        What is suspect about it.
    divisor : float
        What a flat is divided by, in ADU; 1 for other kinds.
    rejected : int
        Samples that were rejected.
    """

    statistics: dict[str, Any]
    verdicts: tuple[Verdict, ...]
    divisor: float
    rejected: int


def master_numbers(
    prepared: Prepared, found: dict[str, Any], first: FirstPass, divisor: float, settings: MasterSettings
) -> Measured:
    """Return the numbers of a master, judged.

    Parameters
    ----------
    prepared : Prepared
    found : dict
        Statistics and counts of its planes.
    first : FirstPass
    divisor : float
        As from `divisor_of`.
    settings : MasterSettings

    Raises
    ------
    GroupRefused
        No pixel has a usable sample.
    """
    kind, stack, n = prepared.group.product, prepared.stack, len(prepared.stack.frames)
    cooled = all(cooled_to(row.header()) is not None for row in prepared.group.rows)
    found |= {"own": prepared.group.own, "cooled": cooled, "temp_spread_c": _spread_c(prepared)}
    found["degrees_of_freedom"] = first.totals.kept / max(first.totals.pixels, 1) - 1.0
    if kind is FrameKind.FLAT:
        found |= {"normalised_by": divisor, "net_level_adu": float(np.median(prepared.levels_adu))}
        found |= _light(prepared)
        found |= _darks(prepared)
    else:
        found |= _common_mode(prepared, found["pair_noise_adu"])
        read = frame_noise(prepared, first).before_rounding(stack.recipe.step_adu)
        found |= {"read_noise_adu": read.sigma_adu, "read_noise_error_adu": read.error_adu}
    if prepared.gain is not None:
        found |= {"gain_e_adu": prepared.gain.e_adu, "gain_error_e_adu": prepared.gain.error_e_adu}
    method = stack.recipe.method_for(n)
    designed = 2 / n if method is Method.MINMAX and n > 2 else 0.0
    verdicts = _judged(prepared, found, designed) if settings.quality_control else ()
    if not np.isfinite(found["median_adu"]):
        raise GroupRefused(GroupCode.NO_FRAMES, "no pixel has a usable sample")
    found = {name: _known(value) for name, value in found.items()}
    found["verdict"] = ("suspect" if verdicts else "ok") if settings.quality_control else "not judged"
    found["verdicts"] = [
        members(Finding(code=v.code, measured=v.measured, limit=v.limit, detail=v.detail)) for v in verdicts
    ]
    without = some(PurePosixPath(mark.path).name for mark in prepared.rejected)
    notes = [f"without {without} (rejected)"] if without else []
    if method is not settings.method:
        seen = f"which sees no outlier among {count(n, 'frame')}"
        notes.append(f"rejection {method} instead of {settings.method}, {seen}")
    if notes:
        found["note"] = "; ".join(notes)
    return Measured(
        statistics=found,
        verdicts=verdicts,
        divisor=divisor,
        rejected=first.totals.samples - first.totals.kept,
    )


def _spread_c(prepared: Prepared) -> float:
    """Return the range of the sensor's temperature; of flats within one exposure, which has a dark of its own."""
    flat = prepared.group.product is FrameKind.FLAT
    found: dict[int | None, list[float]] = {}
    for row in prepared.group.rows:
        if row.ccd_temp_c is not None:
            found.setdefault(row.exposure_us if flat else None, []).append(row.ccd_temp_c)
    return max((max(each) - min(each) for each in found.values()), default=0.0)


def _light(prepared: Prepared) -> dict[str, Any]:
    """Return the level whose shot noise scaled flats have, and the brightness of their panel where it is one."""
    levels = np.asarray(prepared.levels_adu, np.float64)
    lamps = {row.panel_brightness for row in prepared.group.rows}
    lamp = lamps.pop() if len(lamps) == 1 and len({row.exposure_us for row in prepared.group.rows}) == 1 else None
    shot = float(levels.mean() ** 2 * np.mean(1.0 / levels)) if (levels > 0).all() else None
    return {"shot_level_adu": shot, "panel_brightness": lamp}


def _darks(prepared: Prepared) -> dict[str, Any]:
    """Return what was subtracted from flats, in words, and the greatest error of it, relative to the light."""
    words = ", ".join(served(dark) for dark in prepared.darks[:_NAMED])
    more = len(prepared.darks) - _NAMED
    errors = [dark.error for dark in prepared.darks if dark.error is not None]
    return {"dark": words + (f" and {more} more" if more > 0 else ""), "dark_error": max(errors, default=None)}


def _common_mode(prepared: Prepared, noise_adu: float) -> dict[str, float]:
    """Return how much the level wanders from frame to frame, and what it adds to the error of the master's level."""
    rows, columns = sample_of(prepared.stack.shape)
    levels = [row.level_adu for row in prepared.group.rows if row.level_adu is not None]
    pixels = len(rows) * (columns[1] - columns[0])
    wander, error = common_mode_adu(levels, noise_adu=noise_adu, pixels=pixels)
    return {"level_wander_adu": wander, "level_error_adu": error}


def _judged(prepared: Prepared, found: dict[str, Any], designed: float) -> tuple[Verdict, ...]:
    """Return what is suspect about a master, with the frames that cause it."""
    group = prepared.group
    return (
        *with_causes(judge(group.product, found, designed=designed), group.rows[0].kind, group.rows),
        *prepared.doubts,
    )


def divisor_of(prepared: Prepared, first: FirstPass, settings: MasterSettings) -> float:
    """Return what a flat is divided by, in ADU; 1 for other kinds.

    Raises
    ------
    GroupRefused
        The flat has too little light.
    """
    if prepared.group.product is not FrameKind.FLAT:
        return 1.0
    try:
        return normalisation_factor(first.sketch, settings.normalisation)
    except CombineError as error:
        raise GroupRefused(GroupCode.TOO_DIM, str(error)) from error


def frame_noise(prepared: Prepared, first: FirstPass) -> FrameNoise:
    """Return the noise of a frame from all pairs of neighbours, rounding included; NaN for a single frame."""
    step = 1 if prepared.stack.scale else max(1, round(prepared.stack.recipe.step_adu))
    return noise_of_pairs(first.pairs, step)


def _known(value: Any) -> Any:
    """Return a number that JSON can hold: None for NaN (the noise of a single frame)."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
