"""From a group to a stack: which of its files can be read, their scales and darks, and the noise they should have."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.clipping import clip_values
from calibration.combine.recipe import Method, NoiseModel, Recipe
from calibration.errors import CombineError, FrameCode, GroupCode
from calibration.frames import FrameKind, Verdict
from calibration.masters.noise import noise_model, pair_counts, pair_sigma
from calibration.masters.scales import flat_scales, worth_combining
from services.bands import Band, Source, plane_of, read_band, read_rows, source_of
from services.catalogue.rows import FrameRow, Origin
from services.errors import RunCode
from services.files.layout import Layout
from services.files.units import Unreadable
from services.indexing.checksums import check_pixels
from services.masters.alike import alike
from services.masters.refusal import GroupRefused, Warn
from services.masters.stack import DarkSources, Stack
from services.planning.flat_darks import FlatDark
from services.planning.master_groups import MasterGroup
from services.planning.master_plan import MasterPlan, distinct
from services.planning.master_settings import MasterSettings
from services.words import count, some

SATURATED_FROM = 0.98
"""Samples at or above this fraction of the saturation level count as saturated."""

MINMAX_ENOUGH = 5
"""From so many frames on `minmax` keeps enough for a spread."""

_PAIR_ROWS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A group that can be combined.

    Attributes
    ----------
    group : MasterGroup
        With the rows that are used, in the order of the stack's frames.
    stack : Stack
    darks : tuple of FlatDark
        Distinct darks of a flat, in the order of the stack's.
    levels_adu : tuple of float
        Level of each flat above its dark; empty for biases and darks.
    pair_noise_adu : float
        Noise of one frame from the first two; NaN for a single frame.
    noise : NoiseModel or None
        What a sample's noise should be, where the gain is known.
    doubts : tuple of Verdict
        What other groups of the night say against this one.
    """

    group: MasterGroup
    stack: Stack
    darks: tuple[FlatDark, ...] = ()
    levels_adu: tuple[float, ...] = ()
    pair_noise_adu: float = float("nan")
    noise: NoiseModel | None = None
    doubts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What preparing needs of the run."""

    plan: MasterPlan
    scratch: Path
    warn: Warn


def prepare(group: MasterGroup, around: Surroundings) -> Prepared:
    """Return what is combined for a group.

    Raises
    ------
    GroupRefused
        `too_few_frames`, `no_matching_dark`, `level_off`, or `unlike_frames` of another program.
    """
    plan = around.plan
    group = alike(group, plan.place.layout, around.warn, ignored=plan.settings.ignored_cards)
    readable = [(row, source) for row in group.rows if (source := _source(row, around)) is not None]
    _enough(group, len(readable), around.plan.settings)
    group = replace(group, rows=tuple(row for row, _ in readable))
    sources = tuple(source for _, source in readable)
    if group.product is FrameKind.FLAT:
        return _flat(group, sources, around)
    return _with_noise(Prepared(group=group, stack=Stack(frames=sources, recipe=Recipe())), around)


def _source(row: FrameRow, around: Surroundings) -> Source | None:
    """Return a frame's file, or None with a warning when it cannot be read: the others go on without it."""
    path = around.plan.place.layout.absolute(row.path)
    try:
        check_pixels(row, path)
        source = source_of(path, around.scratch)
    except Unreadable as error:
        around.warn(RunCode.READ_FAILED, f"left out of its master: {error.detail}")
        return None
    if source.location.shape != row.shape:
        around.warn(RunCode.READ_FAILED, f"left out of its master: {row.path} has another size than catalogued")
        return None
    return source


def _enough(group: MasterGroup, n: int, settings: MasterSettings) -> None:
    least = settings.least(group.product, group.key.source)
    if n < least:
        wanted, key = settings.wanted(group.product), settings.wanted_key(group.product)
        detail = f"{count(n, 'usable frame')} of {wanted} wanted by {key}; a master takes {least}"
        raise GroupRefused(GroupCode.TOO_FEW_FRAMES, detail)


def _flat(group: MasterGroup, sources: tuple[Source, ...], around: Surroundings) -> Prepared:
    """Give each flat its own dark and its scale; flats of exposures without a dark are left out."""
    levels = [_level(row, source) for row, source in zip(group.rows, sources, strict=True)]
    found, reasons = around.plan.darks_of(group, levels)
    used = [i for i, row in enumerate(group.rows) if row.exposure_us in found]
    if len(used) < len(group.rows):
        detail = "; ".join(reasons)
        if len(used) < around.plan.settings.least(FrameKind.FLAT, group.key.source):
            raise GroupRefused(GroupCode.NO_MATCHING_DARK, detail)
        around.warn(GroupCode.NO_MATCHING_DARK, f"{len(group.rows) - len(used)} flats left out: {detail}")
    every = distinct(found)
    level_of = {dark.name: _dark_level(dark, around.plan.place.layout) for dark in every}
    dark_at = {i: found[group.rows[i].exposure_us].name for i in used}
    net = {i: levels[i] - level_of[dark_at[i]] for i in used}
    used = _bright(group, net, around)
    darks = tuple(dark for dark in every if any(dark_at[i] == dark.name for i in used))
    places = [dark.name for dark in darks]
    try:
        scale = flat_scales([levels[i] for i in used], [level_of[dark_at[i]] for i in used])
    except CombineError as error:
        raise GroupRefused(GroupCode.TOO_DIM, str(error)) from error
    stack = Stack(
        frames=tuple(sources[i] for i in used),
        recipe=Recipe(),
        scale=tuple(float(s) for s in scale),
        darks=tuple(_dark_sources(dark, around.plan.place.layout) for dark in darks),
        dark_of=tuple(places.index(dark_at[i]) for i in used),
    )
    group = replace(group, rows=tuple(group.rows[i] for i in used))
    prepared = Prepared(group=group, stack=stack, darks=darks, levels_adu=tuple(net[i] for i in used))
    return _with_noise(prepared, around)


def _bright(group: MasterGroup, net: Mapping[int, float], around: Surroundings) -> list[int]:
    """Return the flats that are worth combining; those that are too dim beside the others are named."""
    least = around.plan.settings.least(FrameKind.FLAT, group.key.source)
    places = list(net)
    kept = [places[k] for k in worth_combining(list(net.values()), least=least)]
    dim = [i for i in places if i not in kept]
    if dim:
        most, others = max(net[i] for i in dim), min(net[i] for i in kept)
        light = f"light of {most:.0f} ADU or less, the others {others:.0f} or more"
        names = some([group.rows[i].path for i in dim])
        around.warn(FrameCode.LEVEL_OFF, f"{count(len(dim), 'dim flat')} left out ({light}): {names}")
    return kept


def _dark_level(dark: FlatDark, layout: Layout) -> float:
    """Return the level of what is subtracted from flats."""
    if dark.master is None:
        return dark.pedestal_adu
    return _central(plane_of(layout.absolute(dark.master.path), "MEAN"))


def _dark_sources(dark: FlatDark, layout: Layout) -> DarkSources:
    """Return the planes of a dark; those beside the master may be missing, its typical SIGMA is known all the same."""
    if dark.master is None:
        return DarkSources(level_adu=dark.pedestal_adu)
    path = layout.absolute(dark.master.path)
    planes = layout.planes_path(path)
    mean = plane_of(path, "MEAN")
    if not planes.is_file():
        return DarkSources(mean=mean, noise_adu=float(dark.master.statistics.get("master_noise_adu") or 0.0))
    return DarkSources(mean=mean, sigma=plane_of(planes, "SIGMA"), mask=plane_of(planes, "MASK"))


def _level(row: FrameRow, source: Source) -> float:
    """Return a flat's level: ours is in the catalogue; a foreign header's DATAMED may be of anything."""
    if row.origin is Origin.OWN and row.level_adu is not None:
        return row.level_adu
    return _central(source)


def _central(source: Source) -> float:
    """Return the clipped median of the central 50 % x 50 % of a file, from about a thousand of its rows."""
    height, width = source.location.shape
    step = max(1, height // 1000)
    rows = [read_rows(source, Band(start=y, stop=y + 1)) for y in range(height // 4, height - height // 4, step)]
    return clip_values(np.concatenate(rows)[:, width // 4 : width - width // 4]).median


def _with_noise(prepared: Prepared, around: Surroundings) -> Prepared:
    """Add the recipe: the pair's noise, and with a known gain the model of it."""
    group, stack = prepared.group, prepared.stack
    pair, level = _pair(stack)
    gain = around.plan.gain_e_adu(group)
    noise = noise_model(group.product, pair_adu=pair, level_adu=level, gain_e_adu=gain)
    settings = around.plan.settings
    saturation = min((row.saturation_adu for row in group.rows if row.saturation_adu), default=None)
    recipe = Recipe(
        method=settings.method,
        sigma=settings.sigma,
        step_adu=float(max((row.step_adu or 1 for row in group.rows), default=1)),
        noise=noise,
        saturation_adu=None if saturation is None else SATURATED_FROM * saturation,
    )
    if recipe.blind_for(len(stack.frames)):
        around.warn(
            GroupCode.TOO_FEW_FRAMES,
            f"{settings.method} sees no outlier among {len(stack.frames)} frames of unknown gain; 10 frames would do",
        )
    if settings.method is Method.MINMAX and 2 < len(stack.frames) < MINMAX_ENOUGH:
        left = f"minmax leaves {len(stack.frames) - 2} of {len(stack.frames)} samples of each pixel"
        around.warn(GroupCode.TOO_FEW_FRAMES, f"{left}: their spread tells little; {MINMAX_ENOUGH} frames would do")
    return replace(prepared, stack=replace(stack, recipe=recipe), pair_noise_adu=pair, noise=noise)


def _pair(stack: Stack) -> tuple[float, float]:
    """Return the noise of one frame from the first two, and their level, from rows about the middle."""
    if len(stack.frames) < 2:
        return float("nan"), float("nan")
    height = stack.shape[0]
    start = max(0, height // 2 - _PAIR_ROWS // 2)
    band = Band(start=start, stop=min(height, start + _PAIR_ROWS))
    a, b = read_band(stack.frames[:2], band)
    ratio = stack.scale[1] / stack.scale[0] if stack.scale else 1.0
    level = float(np.median(a))
    if stack.darks:
        level -= float(np.median(stack.darks[stack.dark_of[0]].mean_band(band, stack.shape[1])))
    return pair_sigma(pair_counts(a, b, ratio)), level
