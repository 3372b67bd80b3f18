"""The header cards of a master and of its planes, and the table of its inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from calibration.combine.recipe import Method, Recipe
from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import OF_THE_VALUES, Card, MasterInfo
from calibration.masters.scales import Normalisation
from services.files.planes import FitsTable
from services.masters.measured import Measured
from services.masters.prepare import Prepared
from services.planning.flat_darks import served
from services.words import count

PLANES = {
    "SIGMA": "1 sigma uncertainty of the master's MEAN",
    "COUNT": "samples that survived rejection",
    "MASK": "1 hot 2 dead 4 noisy 8 saturated 16 few 32 none 64 changed 128 inherited 256 warm 512 dull",
}
"""The planes beside a master, and what their values mean."""


def master_header(
    first: FrameHeader, prepared: Prepared, measured: Measured, *, run_id: str, built_at: datetime
) -> FrameHeader:
    """Return the first frame's header with the times and the temperature of all frames, and without a frame number."""
    group, flat = prepared.group, prepared.group.product is FrameKind.FLAT
    times = [row.date_obs for row in group.rows if row.date_obs is not None]
    temperatures = [row.ccd_temp_c for row in group.rows if row.ccd_temp_c is not None]
    found = measured.statistics
    return replace(
        first,
        kind=group.product,
        exposure_us=group.exposure_us,
        reported_exposure_us=None,
        date_obs=min(times, default=None),
        date_avg=middle_of(times),
        date_end=max(times, default=None),
        run_id=run_id,
        frame_no=None,
        ccd_temp_c=float(np.mean(temperatures)) if temperatures else None,
        temp_begin_c=None,
        temp_end_c=None,
        median_adu=found["median_adu"] / measured.divisor,
        std_adu=found["spatial_sigma_adu"] / measured.divisor,
        min_adu=found["percentiles_adu"][0] / measured.divisor,
        max_adu=found["percentiles_adu"][-1] / measured.divisor,
        saturation_adu=None if flat else first.saturation_adu,  # a flat's values are not in ADU
        step_adu=None,
        egain_e_adu=prepared.egain_e_adu,
        filter=first.filter if flat else None,
        extra={"DATE": built_at.replace(tzinfo=None).isoformat(timespec="seconds")},
    )


def master_info(prepared: Prepared, measured: Measured, recipe: str) -> MasterInfo:
    """Return what only a master's header says: how its frames were combined, and which darks were subtracted."""
    stack, flat = prepared.stack, prepared.group.product is FrameKind.FLAT
    darks, before = prepared.darks, prepared.group.key.calibrated or ""
    model = next((dark.predicted for dark in darks if dark.predicted is not None), None)
    info = combining_info(len(stack.frames), stack.recipe, measured.rejected, measured.statistics, recipe)
    return replace(
        info,
        percentiles_adu=tuple(p / measured.divisor for p in info.percentiles_adu),
        egain_error_e_adu=gain.error_e_adu if (gain := prepared.believed_gain) is not None else None,
        bias_subtracted="B" in before,
        flat_dark="+".join(sorted({dark.how for dark in darks})) or None,
        dark_file=next((Path(dark.path).name for dark in darks if dark.path), None),
        dark_sha256=next((dark.master.pixel_sha256 for dark in darks if dark.master is not None), None),
        dark_model=None if model is None else Path(model.row.path).name,
        dark_model_id=None if model is None else model.row.identity,
        dark_model_newest=_in_header(None if model is None else model.newest),
        dark_signal_adu=None if model is None else model.signal_adu,
        dark_error_adu=None if model is None else model.sigma_adu,
        flat_norm=measured.divisor if flat else None,
        flat_level_adu=measured.statistics.get("net_level_adu"),
        calibration_status="".join(sorted({*before, *("D" if darks else "")})) or None,
    )


def _in_header(at: datetime | None) -> str | None:
    return None if at is None else at.replace(tzinfo=None).isoformat(timespec="seconds")


def combining_info(frames: int, recipe: Recipe, rejected: int, found: Mapping[str, Any], written: str) -> MasterInfo:
    """Return what the header of every master says of its combining, whatever was subtracted from its frames.

    Parameters
    ----------
    frames : int
        Frames combined.
    recipe : Recipe
    rejected : int
        Pixel values rejected in all of them.
    found : mapping
        As from `calibration.masters.quality.statistics`, in ADU.
    written : str
        The recipe in words.
    """
    method = recipe.method_for(frames)
    return MasterInfo(
        n_combined=frames,
        n_rejected=rejected,
        combine_method="median" if method is Method.MEDIAN else "mean",
        reject_method=str(method),
        reject_sigma=recipe.sigma if method not in {Method.NONE, Method.MEDIAN, Method.MINMAX} else None,
        temp_min_c=found.get("temp_min_c"),
        temp_max_c=found.get("temp_max_c"),
        percentiles_adu=tuple(found["percentiles_adu"]),
        read_noise_adu=found.get("read_noise_adu"),
        read_noise_error_adu=found.get("read_noise_error_adu"),
        level_wander_adu=found.get("level_wander_adu"),
        level_error_adu=found.get("level_error_adu"),
        degrees_of_freedom=found["degrees_of_freedom"],
        recipe=written,
        sigma_correction=recipe.factor_for(frames),
    )


def middle_of(times: Sequence[datetime]) -> datetime | None:
    """Return the mean of times; None of none."""
    return times[0] + sum((t - times[0] for t in times), timedelta()) / len(times) if times else None


def plane_cards(name: str, cards: Sequence[Card]) -> list[Card]:
    """Return the cards of a plane: those of its master without the ones that describe the values of MEAN alone."""
    not_its_own = OF_THE_VALUES | {"SATURATE"} | (set() if name == "SIGMA" else {"BUNIT"})
    kept = [card for card in cards if card.keyword not in not_its_own]
    return [*kept, Card("HISTORY", f"{name}: {PLANES[name]}")]


def history_cards(prepared: Prepared, measured: Measured, normalisation: Normalisation) -> list[Card]:
    """Return HISTORY cards that say in words how the master was made."""
    stack, n = prepared.stack, len(prepared.stack.frames)
    method = stack.recipe.method_for(n)
    lines = [f"nightcal: mean of {count(n, 'frame')}, rejection {method}, {count(measured.rejected, 'value')} rejected"]
    if method is Method.MEDIAN:
        lines = [f"nightcal: median of {count(n, 'frame')}"]
    lines += [
        f"minus {served(dark)} from {count(stack.dark_of.count(i), 'flat')}" for i, dark in enumerate(prepared.darks)
    ]
    if prepared.darks:
        lines.append(f"each flat scaled to the mean net level, {min(stack.scale):.5f} to {max(stack.scale):.5f}")
        lines.append(f"divided by {measured.divisor:.4f} ADU ({normalisation} of the good pixels)")
    if before := prepared.group.key.calibrated:
        lines.append(f"another program had calibrated the frames before: {before}")
    else:
        kept = "the pedestal is kept: no bias was subtracted"
        lines.append(kept if not prepared.darks else "the dark held the pedestal")
    if prepared.gain is not None:
        stated = f", the frames state {first.egain_e_adu:g}" if (first := prepared.group.rows[0]).egain_e_adu else ""
        measured_gain = f"{prepared.gain.e_adu:.4g} +- {prepared.gain.error_e_adu:.2g} e-/ADU"
        lines.append(f"gain {measured_gain} from {prepared.gain.pairs} pairs of flats{stated}")
    lines += [f"left out {Path(mark.path).name}, which was rejected: {mark.reason}" for mark in prepared.rejected]
    remarks = ", ".join(verdict.code for verdict in measured.verdicts) or "no remarks"
    lines += [f"verdict {measured.statistics['verdict']}: {remarks}"]
    lines += [f"input {Path(row.path).name} {row.pixel_sha256[:16]}" for row in prepared.group.rows]
    return [Card("HISTORY", line) for line in lines]


def spare_cards(prepared: Prepared) -> int:
    """Return how many header cards to keep room for: the frame's, the master's, and HISTORY cards per frame."""
    return 160 + len(prepared.stack.frames) + 2 * len(prepared.darks) + 4 * len(prepared.rejected)


def inputs_table(prepared: Prepared) -> FitsTable:
    """Return the table of the frames that were combined: files, checksums of their pixels, times, levels, scales."""
    rows = prepared.group.rows
    nan = float("nan")
    return FitsTable(
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
