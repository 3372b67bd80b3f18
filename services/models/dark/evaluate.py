"""A dark model held against frames: errors by temperature, exposure and level, and the tables and pictures of them.

The frames of each temperature and exposure are halved. The even ones sort a pixel into its bin of level, the odd ones
judge the prediction: so the noise of a pixel does not choose its own bin. The model's own means take no part.
"""

import csv
import io
import math
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.frames import FrameKind
from calibration.models.dark.model import predict
from calibration.models.means import Groups, Planes
from services.bands import Band
from services.datasets import SEARCH_DEPTH
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk, write_text
from services.models.banding import fit_in_bands
from services.models.dark.bands import (
    Darks,
    Measured,
    Shot,
    constant,
    darks_of,
    means_of,
    measured,
    shots_of,
)
from services.models.dark.judged import judged
from services.models.dark.levels import rows_of, words_of
from services.models.dark.plan import Grouped, grouped
from services.models.dark.read import Read
from services.models.dark.records import Loaded
from services.models.gathering import SCRATCH, Gathered, Progress, gather
from services.models.products import header_of
from services.models.records import ecsv

LEVELS_ADU = (-np.inf, *(float(f"{10 ** (k / 2):.3g}") for k in range(11)), np.inf)
"""Edges of the bins of level, the dark signal of a frame in ADU: two in a factor of ten."""

_SHOWN = 3.0
"""Standard deviations of the mean of the odd frames from which on a level can be seen."""

_DRAWN = 4000
"""Pixels of each temperature and exposure that are drawn."""

TABLE, SUMMARY = "evaluation.ecsv", "evaluation_model_2d_summary.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How a level of dark is predicted at a temperature and exposure.

    Attributes
    ----------
    temperature_c, exposure_s : float
    low_adu, high_adu : float
        The bin of level.
    pixels : int
    level_adu, predicted_adu : float
        Mean of the frames that judge, and of the prediction.
    error_pct, noise_pct : float
        Predicted over measured less 1, and what the noise of the pixels and the drift of the levels of whole frames
        make of it, both in percent.
    level_sigma : float
        The level in standard deviations of one pixel's mean.
    inside : bool
        Whether temperature and exposure are in the range of the model.
    """

    temperature_c: float
    exposure_s: float
    low_adu: float
    high_adu: float
    pixels: int
    level_adu: float
    predicted_adu: float
    error_pct: float
    noise_pct: float
    level_sigma: float
    inside: bool

    @property
    def is_shown(self) -> bool:
        """Whether the frames can show this level."""
        return self.level_sigma >= _SHOWN


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """The darks of a temperature and exposure beside their prediction, in ADU/s; arrays have a sample of pixels.

    `mae` and `mape_pct` are over all pixels, the latter over those that are seen to three standard deviations; `real`
    and `synthetic` are medians of the sample.
    """

    shot: Shot
    measured: NDArray[np.float64]
    predicted: NDArray[np.float64]
    sigma: NDArray[np.float64]
    mae: float
    mape_pct: float
    inside: bool

    @property
    def real(self) -> float:
        """Median of the measured dark current."""
        return float(np.nanmedian(self.measured)) if np.isfinite(self.measured).any() else float("nan")

    @property
    def synthetic(self) -> float:
        """Median of the predicted one, of the same pixels."""
        at = np.isfinite(self.measured)
        return float(np.median(self.predicted[at])) if at.any() else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """A model held against frames: rows of all levels, each temperature and exposure, and notes in whole sentences."""

    loaded: Loaded
    rows: tuple[Row, ...]
    seen: tuple[Seen, ...]
    notes: tuple[str, ...]

    @property
    def exposed(self) -> tuple[Seen, ...]:
        """What has an exposure: a rate needs a time."""
        return tuple(each for each in self.seen if each.shot.exposure_s > 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """What a band needs: two groups for each temperature and exposure, the second one of no frames at times."""

    darks: Darks
    read: Read
    shots: tuple[Shot, ...]
    is_first: NDArray[np.bool_]
    step: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """A shot in a band: sums of each bin of level, sums of all pixels, and a sample of pixels (3, n) in ADU."""

    bins: NDArray[np.float64]
    whole: NDArray[np.float64]
    sample: NDArray[np.float64]


def evaluate(
    model: Path,
    base: Path,
    out: Path,
    *,
    depth: int = SEARCH_DEPTH,
    progress: Progress = lambda *_: None,
    disk: Disk = REAL_DISK,
) -> Evaluated:
    """Hold a model against the darks of a dataset, and write the tables of its errors.

    Parameters
    ----------
    model : Path
        As for `load`.
    base : Path
        A dataset, an index, or the root of a nightcal, with biases beside the darks; nothing in it is changed.
    out : Path
        The folder of the tables.
    depth : int
        Folders below `base` that are looked into.
    progress : callable
    disk : Disk

    Raises
    ------
    Usage
        It is no model, or `base` has no darks of its settings.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    loaded = Loaded.load(model)
    read, scratch = Read.of(loaded), out / SCRATCH
    found = gather(base, out, FrameKind.DARK, FrameKind.BIAS, depth=depth, progress=progress, disk=disk)
    try:
        darks = grouped(_alike(found, read, base), scratch)
        darks, rows, seen = _held(darks, read, progress)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result = Evaluated(loaded=loaded, rows=rows, seen=seen, notes=tuple(_notes(loaded, darks)))
    if rows:
        write_text(out / TABLE, ecsv([asdict(row) for row in rows]), disk, replace=True)
    write_text(out / SUMMARY, summary(seen), disk, replace=True)
    return result


def _alike(found: Sequence[Gathered], read: Read, base: Path) -> Gathered:
    """Return the darks with the settings of a model."""
    for each in found:
        if header_of(each.members[0].frame.header, FrameKind.DARK) == replace(read.header, ccd_temp_c=None):
            return each
    size = f"{read.shape[1]} x {read.shape[0]} pixels"
    raise Usage(
        f"{base} has no darks with the settings of the model ({size}, gain {read.header.gain})",
        advice="name frames of the same camera, gain, offset, readout mode and binning",
    )


def _notes(loaded: Loaded, darks: Grouped) -> list[str]:
    known = {row["rows_sha256"] for row in loaded.said["inputs"]}
    number = sum(member.numbers.sha256 in known for member in darks.members)
    notes = [darks.bias.reason]
    if number:
        notes.append(
            f"The model was made of {number} of these {len(darks.members)} darks: how it predicts temperatures that it "
            "has not seen is in its table of those left out."
        )
    notes += words_of(rows_of(darks.taken, darks.firsts, darks.levels), math.sqrt(loaded.model.noise.read_adu2))
    single = sum(len(each) == 1 for each in darks.groups)
    if single:
        notes.append(f"{single} of {len(darks.groups)} groups have one dark: their pixels have no bins of level.")
    return notes


def _held(darks: Grouped, read: Read, progress: Progress) -> tuple[Grouped, tuple[Row, ...], tuple[Seen, ...]]:
    """Return the darks with their levels, and how they are predicted."""
    darks = replace(darks, levels=judged(darks, read))
    halves, is_first = _halved(darks)
    work = _Work(
        darks=darks_of(halves, read.model.noise),
        read=read,
        shots=shots_of(halves.taken),
        is_first=is_first,
        step=max(1, read.shape[0] * read.shape[1] // _DRAWN),
    )
    bins: dict[Shot, Any] = defaultdict(float)
    whole: dict[Shot, Any] = defaultdict(float)
    samples: dict[Shot, list[NDArray[np.float64]]] = defaultdict(list)

    def take(_: Band, parts: tuple[_Part, ...]) -> None:
        for shot, part in zip(work.shots, parts, strict=True):
            bins[shot] = bins[shot] + part.bins
            whole[shot] = whole[shot] + part.whole
            samples[shot].append(part.sample)

    fit_in_bands(
        work.darks.every,
        lambda every: replace(work, darks=work.darks.of(every)),
        _compare,
        take,
        sizes=work.darks.of_groups,
        held=work.darks.held,
        progress=progress,
    )
    rows = tuple(row for shot in work.shots for row in _rows(shot, bins[shot], read, _common_adu2(shot, darks, read)))
    return (
        darks,
        rows,
        tuple(_seen(shot, whole[shot], np.concatenate(samples[shot], axis=1), read) for shot in work.shots),
    )


def _halved(darks: Grouped) -> tuple[Grouped, NDArray[np.bool_]]:
    """Return darks with each group in two halves, and which groups are first halves."""
    halves = [(half, number) for number, each in enumerate(darks.groups) for half in (each[0::2], each[1::2]) if half]
    groups, numbers = tuple(half for half, _ in halves), [number for _, number in halves]
    celsius = np.array([np.mean([darks.members[i].temperature_c for i in half]) for half in groups])
    bias = replace(darks.bias.at(celsius), offset_adu=darks.bias.offset_adu[numbers])
    levels = darks.levels.part(np.array(numbers))
    is_first = np.array([half == darks.groups[number][0::2] for half, number in halves])
    return replace(darks, groups=groups, bias=bias, levels=levels), is_first


def _compare(work: _Work, band: Band) -> tuple[_Part, ...]:
    """Hold the darks of a band against their prediction: the `work` of `map_bands`."""
    taken, model = work.darks.taken, work.read.model
    parameters = work.read.parameters(band)
    groups = means_of(work.darks, band)
    if work.darks.bias.work is None:
        groups = replace(groups, mean=groups.mean - constant(model, parameters, taken, groups))
    factor = np.ones(groups.mean.shape[1:])

    def means(shot: Shot, chosen: NDArray[np.bool_]) -> Measured:
        part = Groups(
            mean=groups.mean[chosen], count=groups.count[chosen], squares=groups.squares, freedom=groups.freedom
        )
        return measured(shot, taken.part(chosen), part, model, factor)

    found = []
    for shot in work.shots:
        of, predicted = shot.groups(taken), predict(model, parameters, shot.temperature_c, shot.exposure_s).mean
        every, halves = means(shot, of), [of & work.is_first, of & ~work.is_first]
        first, second = (means(shot, half) if half.any() else None for half in halves)
        found.append(
            _Part(
                bins=_sums(first, second, predicted.astype(np.float64)),
                whole=_whole(every, predicted.astype(np.float64)),
                sample=np.stack([every.mean, predicted, every.sigma]).reshape(3, -1)[:, :: work.step],
            )
        )
    return tuple(found)


def _sums(first: Measured | None, second: Measured | None, predicted: Planes) -> NDArray[np.float64]:
    """Return for each bin: pixels, sum of the measured, of the predicted, of variances, and of sigmas."""
    sums = np.zeros((5, len(LEVELS_ADU) - 1))
    if first is None or second is None:
        return sums
    known = np.isfinite(first.mean) & np.isfinite(second.mean) & np.isfinite(predicted)
    place = np.searchsorted(LEVELS_ADU, first.mean[known], side="right") - 1
    sigma = second.sigma[known]
    for number, values in enumerate((np.ones(sigma.shape), second.mean[known], predicted[known], sigma**2, sigma)):
        sums[number] = np.bincount(place, values, len(LEVELS_ADU) - 1)
    return sums


def _whole(every: Measured, predicted: Planes) -> NDArray[np.float64]:
    """Return pixels and sum of absolute errors, then the same of relative errors of pixels that are seen."""
    known = np.isfinite(every.mean) & np.isfinite(predicted)
    error, real = np.abs(predicted - every.mean)[known], every.mean[known]
    shown = real >= _SHOWN * every.sigma[known]
    return np.array([error.size, error.sum(), shown.sum(), (error[shown] / real[shown]).sum()], np.float64)


def _common_adu2(shot: Shot, darks: Grouped, read: Read) -> float:
    """Return the variance that all pixels of a shot have in common: of the levels of its groups, and of the model."""
    share = np.where(shot.groups(darks.taken), darks.taken.frames, 0.0) / shot.frames
    levels = darks.levels
    own = share @ levels.covariance_adu2 @ share if levels.before_adu2.any() else darks.drift_adu2 / shot.frames
    return float(own) + read.model.common_sigma_adu(shot.temperature_c, shot.exposure_s) ** 2


def _rows(shot: Shot, sums: NDArray[np.float64], read: Read, common_adu2: float) -> list[Row]:
    found = []
    for low, high, (pixels, level, predicted, variance, sigma) in zip(
        LEVELS_ADU[:-1], LEVELS_ADU[1:], sums.T, strict=True
    ):
        if pixels:
            with np.errstate(divide="ignore", invalid="ignore"):
                error = predicted / np.float64(level) - 1
                noise = np.sqrt(variance + pixels**2 * common_adu2) / abs(np.float64(level))
            found.append(
                Row(
                    temperature_c=shot.label_c,
                    exposure_s=shot.exposure_s,
                    low_adu=low,
                    high_adu=high,
                    pixels=int(pixels),
                    level_adu=float(level / pixels),
                    predicted_adu=float(predicted / pixels),
                    error_pct=float(100 * error),
                    noise_pct=float(100 * noise),
                    level_sigma=float(level / sigma),
                    inside=read.model.holds_at(shot.temperature_c, shot.exposure_s),
                )
            )
    return found


def _seen(shot: Shot, whole: NDArray[np.float64], sample: NDArray[np.float64], read: Read) -> Seen:
    pixels, error, shown, relative = whole
    seconds = shot.exposure_s or np.nan
    return Seen(
        shot=shot,
        measured=sample[0] / seconds,
        predicted=sample[1] / seconds,
        sigma=sample[2] / seconds,
        mae=float(error / (pixels or np.nan) / seconds),
        mape_pct=float(100 * relative / (shown or np.nan)),
        inside=read.model.holds_at(shot.temperature_c, shot.exposure_s),
    )


def summary(seen: Sequence[Seen]) -> str:
    """Return the table of temperatures and exposures that earlier programs had, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Temperature (°C)", "Exposure (s)", "MAE [ADU/s]", "MAPE [%]"])
    for each in seen:
        shot = each.shot
        writer.writerow([f"{shot.label_c:.2f}", f"{shot.exposure_s:g}", f"{each.mae:.6g}", f"{each.mape_pct:.4g}"])
    return text.getvalue()


def by_exposure(seen: Sequence[Seen]) -> Mapping[float, tuple[Seen, ...]]:
    """Return what was compared, by exposure."""
    exposures = sorted({each.shot.exposure_s for each in seen})
    return {e: tuple(each for each in seen if each.shot.exposure_s == e) for e in exposures}
