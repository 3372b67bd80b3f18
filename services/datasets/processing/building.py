"""One master of a dataset: frames combined by the engine band by band, judged, and written with its numbers.

The values stay in ADU. Darks are less the bias of the nearest temperature; biases and flats are means of their frames
as they are: nothing is subtracted from flats, and they are not normalised.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.combine.parts import MOST_FRAMES
from calibration.combine.recipe import SMALL_N, Method, Recipe
from calibration.frames import FrameKind
from calibration.masters.flags import thresholds
from calibration.masters.noise import FrameNoise, noise_model, noise_of_pairs
from calibration.masters.quality import judge, statistics
from calibration.masters.scales import with_dark
from calibration.series import common_mode_adu
from calibration.stats import sample_of
from services.bands import Source, bands_of, plane_of, read_rows, rows_for, source_of
from services.datasets.frame import DatasetFrame
from services.datasets.processing.cards import cards_of, plane_cards
from services.datasets.processing.wanted import Bias, Found, Wanted
from services.files.disk import REAL_DISK, Disk, reported
from services.files.planes import Plane, PlanesFile, create_planes
from services.files.units import Unreadable
from services.masters.prepare import SATURATED_FROM, pair_of
from services.masters.stack import DarkSources, Finishing, FirstPass, Stack, combine_files, finish_files
from services.planning.master_settings import MasterSettings

_PASS_FRAMES = 32
"""As in `services.masters.build`."""


class NoMaster(Exception):
    """There is nothing to combine; the message says why."""


def build(wanted: Wanted, settings: MasterSettings, scratch: Path, disk: Disk = REAL_DISK) -> tuple[str, ...]:
    """Combine frames and write their master, in place of an older one; return what is to be said of it.

    Parameters
    ----------
    wanted : Wanted
    settings : MasterSettings
    scratch : Path
        Folder for frames that are unpacked; the caller removes it.
    disk : Disk

    Raises
    ------
    NoMaster
        No frame can be read, or they are too many.
    StorageError
        A file cannot be written or read; nothing is left behind.
    """
    frames, sources, remarks = _sources(wanted.frames, scratch)
    if not frames:
        raise NoMaster("none of its frames can be read")
    if len(frames) > MOST_FRAMES:
        raise NoMaster(f"{len(frames)} frames are more than the {MOST_FRAMES} that a master counts")
    wanted = replace(wanted, frames=frames)
    stack = _stack(wanted, sources)
    path = wanted.path
    side = (Plane(name="SIGMA"), Plane(name="COUNT", dtype=np.uint16), Plane(name="MASK", dtype=np.uint16))
    beside = wanted.planes or path.with_name(f"planes_of_{path.name}")
    with (
        create_planes(path, (Plane(name="MEAN"),), stack.shape, disk, spare_cards=200 + len(frames)) as mean,
        create_planes(beside, side, stack.shape, disk, hashed=False, spare_cards=200 + len(frames)) as planes,
    ):
        found = _combined(wanted, stack, mean, planes, settings)
        said = (*remarks, *_said(wanted, found, settings))
        cards = cards_of(wanted, found, wanted.recipe(settings), said)
        if wanted.planes is not None:
            planes.seal({plane.name: plane_cards(plane.name, cards) for plane in side})
        mean.seal({"MEAN": cards})
        with reported(path):
            disk.remove(path)
        if wanted.planes is not None:
            with reported(beside):
                disk.remove(beside)
            planes.commit()
        mean.commit()
    return said


def _sources(
    frames: Sequence[DatasetFrame], scratch: Path
) -> tuple[tuple[DatasetFrame, ...], tuple[Source, ...], list[str]]:
    """Return the frames that can be read, as sources."""
    found: list[tuple[DatasetFrame, Source]] = []
    remarks: list[str] = []
    for frame in frames:
        try:
            found.append((frame, source_of(frame.path, scratch)))
        except Unreadable as error:
            remarks.append(f"left out: {error.detail}")
    return tuple(frame for frame, _ in found), tuple(source for _, source in found), remarks


def _stack(wanted: Wanted, sources: tuple[Source, ...]) -> Stack:
    n, headers = len(sources), [frame.header for frame in wanted.frames]
    stack = Stack(frames=sources, recipe=Recipe())
    if wanted.bias is not None:
        stack = replace(stack, darks=(DarkSources(mean=plane_of(wanted.bias.path, "MEAN")),), dark_of=(0,) * n)
    pair = pair_of(stack)
    saturation = min((h.saturation_adu for h in headers if h.saturation_adu), default=None)
    kind = wanted.group.kind
    noise = noise_model(kind, pair_adu=pair.noise_adu, level_adu=pair.level_adu, gain_e_adu=headers[0].egain_e_adu)
    recipe = Recipe(
        step_adu=float(max(wanted.numbers[frame.path].step for frame in wanted.frames)),
        sample_adu=pair.noise_adu if pair.noise_adu > 0 else None,
        noise=noise if kind is not FrameKind.FLAT else None,  # of flats the pedestal is not known
        saturation_adu=None if saturation is None else SATURATED_FROM * saturation,
    )
    return replace(stack, recipe=recipe)


def _combined(wanted: Wanted, stack: Stack, mean: PlanesFile, planes: PlanesFile, settings: MasterSettings) -> Found:
    """Write the planes of a master, and return what it is like."""
    kind, n, wide, workers = wanted.group.kind, len(stack.frames), stack.shape[1], settings.workers
    stack = replace(stack, recipe=replace(stack.recipe, method=settings.method, sigma=settings.sigma))
    rows = rows_for(memory_mb=settings.memory_mb, frames=n + 2 * len(stack.darks), columns=wide, workers=workers)
    with ThreadPoolExecutor(workers, thread_name_prefix="nightcal-bands") as threads:
        first = combine_files(stack, mean, planes, threads, rows=rows, workers=workers)
        limits = thresholds(
            kind,
            first.sketch,
            samples=n,
            factor=stack.recipe.factor_for(n),
            widening=stack.recipe.widening_for(n),
            noise=stack.recipe.noise,
            mosaic=kind is FrameKind.FLAT and wanted.frames[0].header.bayer_pattern is not None,
            each=threads.map,
        )
        noise = _noise(stack, first)
        celsius = tuple(f.header.ccd_temp_c for f in wanted.frames if f.header.ccd_temp_c is not None)
        found = statistics(
            first.sketch, limits, first.totals, pair_noise_adu=noise.sigma_adu, temperatures_c=celsius, each=threads.map
        )
        finishing = Finishing(mean=mean, planes=planes, height=stack.shape[0], limits=limits)
        tall = rows_for(memory_mb=settings.memory_mb, frames=_PASS_FRAMES, columns=wide, workers=workers)
        finish_files(finishing, first.totals, threads, rows=tall, workers=workers)
    if wanted.bias is not None and wanted.planes is not None:
        _add_noise_of(wanted.bias, planes, stack.shape, tall)
    found |= first.totals.flags() | _more(wanted, stack, first, noise)
    found["temp_spread_c"] = max(celsius) - min(celsius) if celsius else 0.0
    whole, spread = _moments(mean, stack.shape, tall)
    designed = 2 / n if stack.recipe.method_for(n) is Method.MINMAX and n > 2 else 0.0
    return Found(
        statistics=found,
        verdicts=judge(kind, found, designed=designed),
        mean_adu=whole,
        std_adu=spread,
        rejected=first.totals.samples - first.totals.kept,
        recipe=stack.recipe,
    )


def _add_noise_of(bias: Bias, planes: PlanesFile, shape: tuple[int, int], rows: int) -> None:
    """Add the uncertainty of a bias to SIGMA, which was what the samples scatter by until now: so it was judged."""
    source = plane_of(bias.planes, "SIGMA")
    for band in bands_of(shape[0], rows):
        sigma = planes.read("SIGMA", band.start, band.rows)
        planes.write("SIGMA", band.start, with_dark(sigma, [read_rows(source, band)], (1.0,)))


def _noise(stack: Stack, first: FirstPass) -> FrameNoise:
    return noise_of_pairs(first.pairs, max(1, round(stack.recipe.step_adu)))


def _more(wanted: Wanted, stack: Stack, first: FirstPass, noise: FrameNoise) -> dict[str, float]:
    """Return read noise and the wander of the level of biases and darks, and the degrees of freedom of SIGMA."""
    found = {"degrees_of_freedom": first.totals.kept / max(first.totals.pixels, 1) - 1.0}
    if wanted.group.kind is FrameKind.FLAT:
        return found
    read = noise.before_rounding(stack.recipe.step_adu)
    rows, columns = sample_of(stack.shape)
    wander, error = common_mode_adu(
        [wanted.numbers[frame.path].level for frame in wanted.frames],
        noise_adu=noise.sigma_adu,
        pixels=len(rows) * (columns[1] - columns[0]),
    )
    found |= {"read_noise_adu": read.sigma_adu, "read_noise_error_adu": read.error_adu}
    return found | {"level_wander_adu": wander, "level_error_adu": error}


def _moments(mean: PlanesFile, shape: tuple[int, int], rows: int) -> tuple[float, float]:
    """Return mean and standard deviation (ddof 1) of all pixels of a master that have a value."""
    n, total, squares, about = 0, 0.0, 0.0, None
    for band in bands_of(shape[0], rows):
        values = mean.read("MEAN", band.start, band.rows).astype(np.float64)
        values = values[np.isfinite(values)]
        if about is None and values.size:
            about = float(values.mean())  # sums of differences from about the mean lose nothing
        off = values - (about or 0.0)
        n, total, squares = n + off.size, total + float(off.sum()), squares + float(off @ off)
    if n == 0:
        return float("nan"), float("nan")
    variance = (squares - total**2 / n) / (n - 1) if n > 1 else float("nan")
    return (about or 0.0) + total / n, float(np.sqrt(max(variance, 0.0)))


def _said(wanted: Wanted, found: Found, settings: MasterSettings) -> list[str]:
    """Return in words what is worth a look at a new master."""
    n, said = len(wanted.frames), [f"suspect: {v.detail} ({v.code})" for v in found.verdicts]
    if n == 1:
        said.append("of a single frame: nothing can be rejected, and its noise is not known")
    elif found.recipe.blind_for(n):
        known = "" if wanted.group.kind is FrameKind.FLAT else ", as would EGAIN (e-/ADU) in their headers"
        said.append(f"too few to see outliers by {settings.method}: {SMALL_N} frames would do{known}")
    if wanted.note:
        said.append(wanted.note)
    return said
