"""Master flats of each temperature and exposure, and the median of flats of the sky, from which stars are gone."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from calibration.combine.engine import combine_band, survivors
from calibration.combine.recipe import BandPlanes, Method, Recipe
from calibration.frames import FrameHeader
from calibration.keywords import Card
from calibration.masters.scales import with_dark
from calibration.models.means import recipe_for
from services.bands import Band, Source, bands_of, map_bands, read_band, read_rows, rows_for
from services.files.disk import REAL_DISK, Disk
from services.files.planes import Plane, create_planes
from services.models.banding import WORKERS
from services.models.flat.files import MASTERS, SKY, flat_header, master_name
from services.models.flat.fit import Label
from services.models.flat.plan import FlatPlan, FlatType
from services.models.flat.steps import StepFrame
from services.models.products import base_cards, card_of, refuse_foreign

_MOST = 1000
"""The engine combines no more frames at once; of more, every n-th is taken."""


class MasterMethod(StrEnum):
    """How flats become a master."""

    MEDIAN = "median"
    MEAN = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """`clip` finds what is left out (cosmic hits, stars) before `recipe` combines the rest; None: the recipe does.

    `darks` are the errors of the darks that were taken off, `shares` what each makes of the master.
    """

    sources: tuple[Source, ...]
    recipe: Recipe
    clip: Recipe | None
    darks: tuple[Source, ...]
    shares: tuple[float, ...]


def _band(work: _Work, band: Band) -> BandPlanes:
    frames = read_band(work.sources, band)
    valid = None if work.clip is None else survivors(frames, work.clip)
    made = combine_band(frames, work.recipe, valid=valid)
    darks = [read_rows(source, band).astype(np.float32) for source in work.darks]
    return replace(made, sigma=with_dark(made.sigma, darks, work.shares))


def write_masters(
    plan: FlatPlan, folder: Path, kind: FlatType, method: MasterMethod, disk: Disk = REAL_DISK
) -> list[Path]:
    """Write the masters of a model's flats in place of older ones, and return their paths.

    Parameters
    ----------
    plan : FlatPlan
    folder : Path
        Of the model.
    kind : FlatType
        Of flats of the sky the median of all is written, too.
    method : MasterMethod
    disk : Disk

    Raises
    ------
    Usage
        A file of that name is of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    header, made = flat_header(plan.frames[0].header), []
    for label in dict.fromkeys(plan.labels):
        members = [i for group, own in zip(plan.groups, plan.labels, strict=True) if own == label for i in group]
        frames = _thinned([plan.frames[i] for i in members])
        path = folder / master_name(header.filter, label)
        _write(frames, path, plan, _cards(header, frames, method, label), label=label, method=method, disk=disk)
        made.append(path)
    if kind is FlatType.SKY:
        some = _thinned(plan.frames)
        level = float(np.mean([frame.level.value for frame in plan.frames if frame.level is not None]))
        for name, scale in (("_normalized", 1.0), ("", level)):
            path = folder / SKY / f"master_flat_sky_median{name}.fits"
            cards = [
                *_cards(header, some, MasterMethod.MEDIAN, None),
                Card("SKYPIPE", "sky_median", "median of the sky"),
            ]
            cards = [card for card in cards if card.keyword != "BUNIT"]
            cards.append(Card("BUNIT", "adu" if scale != 1.0 else "", "unit of the values"))
            _write(some, path, plan, cards, label=None, method=MasterMethod.MEDIAN, disk=disk, scale=scale)
            made.append(path)
    _forget(folder, made, disk)
    return made


def _thinned(frames: Sequence[StepFrame]) -> Sequence[StepFrame]:
    """Return no more frames than the engine combines at once; what a master says of its frames is of these."""
    return frames[:: -(-len(frames) // _MOST)]


def _forget(folder: Path, made: Sequence[Path], disk: Disk) -> None:
    for path in [*(folder / MASTERS).glob("master_flat_*.fits"), *(folder / SKY).glob("master_flat_sky_*.fits")]:
        if path not in made and str(card_of(path, "SWCREATE")).startswith("nightcal"):
            disk.remove(path)


def _cards(header: FrameHeader, frames: Sequence[StepFrame], method: MasterMethod, label: Label | None) -> list[Card]:
    celsius = float(np.mean([frame.temperature_c for frame in frames]))
    seconds = float(np.mean([frame.exposure_s for frame in frames]))
    return [
        *base_cards(flat_header(header, label or (celsius, seconds)), "MASTER FLAT", ""),
        Card("FLATPIPE", "master_flat", "what made it"),
        Card("N_FILES", len(frames), "frames of this master"),
        Card("COMBMETH", method.value, "how they were combined"),
        Card("SRC1", frames[0].path.name, ""),
        Card("SRCLAST", frames[-1].path.name, ""),
        Card("T_AVG", celsius, "[degC] mean temperature"),
        Card("E_AVG", seconds, "[s] mean exposure"),
        Card("F_SAMP", header.filter or "none", "filter"),
    ]


def _shares(plan: FlatPlan, label: Label | None) -> tuple[float, ...]:
    """Return what each dark of a plan makes of the master of a label; of all frames where there is none."""
    sizes = np.array([len(g) * (label in {None, own}) for g, own in zip(plan.groups, plan.labels, strict=True)])
    return tuple(float(np.array(shares) @ sizes / sizes.sum()) for shares in plan.dark_shares)


def _write(
    frames: Sequence[StepFrame],
    path: Path,
    plan: FlatPlan,
    cards: Sequence[Card],
    *,
    label: Label | None,
    method: MasterMethod,
    disk: Disk,
    scale: float = 1.0,
) -> None:
    refuse_foreign([path])
    sources = tuple(frame.source for frame in frames)
    mean = recipe_for(len(sources), noise_adu=plan.noise_of(label), step_adu=plan.step)
    median = Recipe(method=Method.MEDIAN, step_adu=plan.step, sample_adu=mean.sample_adu, noise=mean.noise)
    is_median = method is MasterMethod.MEDIAN
    work = _Work(
        sources=sources,
        recipe=median if is_median else mean,
        clip=mean if is_median else None,
        darks=plan.darks,
        shares=_shares(plan, label),
    )
    (height, width), low, high, total, pixels = plan.shape, np.inf, -np.inf, 0.0, 0
    planes = [
        Plane(name="MEAN", cards=tuple(cards)),
        Plane(name="SIGMA", cards=tuple(cards)),
        Plane(name="COUNT", dtype=np.uint16, cards=tuple(cards)),
    ]
    rows = rows_for(memory_mb=256, frames=2 * len(sources) + 12, columns=width, workers=WORKERS)
    with (
        create_planes(path, planes, (height, width), disk) as file,
        ThreadPoolExecutor(WORKERS, "nightcal-masters") as threads,
    ):

        def take(band: Band, found: BandPlanes) -> None:
            nonlocal low, high, total, pixels
            values = found.mean * np.float32(scale)
            known = values[np.isfinite(values)]
            low, high = min(low, float(known.min(initial=np.inf))), max(high, float(known.max(initial=-np.inf)))
            total, pixels = total + float(known.sum(dtype=np.float64)), pixels + known.size
            file.write("MEAN", band.start, values)
            file.write("SIGMA", band.start, found.sigma * np.float32(scale))
            file.write("COUNT", band.start, found.count)

        map_bands(work, _band, take, threads, bands_of(height, rows), workers=WORKERS)
        stats = [
            Card("DATAMIN", low, "least value"),
            Card("DATAMAX", high, "largest value"),
            Card("DATAMEAN", total / max(pixels, 1), "mean of the values"),
        ]
        file.seal({"MEAN": stats})
        disk.remove(path)
        file.commit()
