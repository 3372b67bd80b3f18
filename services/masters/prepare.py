"""From a group to a stack: which of its files can be read, their scales and darks, and the noise they should have."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.clipping import clip_values
from calibration.combine.recipe import Method, NoiseModel, Recipe
from calibration.errors import CombineError, FrameCode, GroupCode
from calibration.frames import FrameKind, Verdict
from calibration.masters.noise import neighbour_counts, noise_model, noise_of_pairs, step_of_pair
from calibration.masters.scales import flat_scales, worth_combining
from calibration.system_gain import MeasuredGain
from services.bands import Band, Source, plane_of, read_band, read_rows, source_of
from services.catalogue.rows import FrameRow, Origin
from services.errors import RunCode
from services.files.layout import Layout
from services.files.units import Unreadable
from services.indexing.checksums import check_pixels
from services.masters.alike import alike
from services.masters.gain import MeasuredGains
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

MEDIAN_STEPS = 2.0
"""Noise in steps of the converter from which on the samples give the scatter of a median of whole numbers."""

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
    noise : NoiseModel or None
        What a sample's noise should be, where the gain is known.
    gain : MeasuredGain or None
        The gain that was measured with flats of this camera.
    doubts : tuple of Verdict
        What other groups of the night say against this one.
    """

    group: MasterGroup
    stack: Stack
    darks: tuple[FlatDark, ...] = ()
    levels_adu: tuple[float, ...] = ()
    noise: NoiseModel | None = None
    gain: MeasuredGain | None = None
    doubts: tuple[Verdict, ...] = ()

    @property
    def egain_e_adu(self) -> float | None:
        """What a master states as EGAIN: what its frames state, unless that is missing or measured otherwise."""
        stated = self.group.rows[0].egain_e_adu
        wrong = self.gain is not None and (stated is None or self.gain.contradicts(stated))
        return self.gain.e_adu if self.gain is not None and wrong else stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What preparing needs of the run; without `gains` the gain is what the frames and the detector step say."""

    plan: MasterPlan
    scratch: Path
    warn: Warn
    gains: MeasuredGains | None = None


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
    """Add the recipe: the step and the noise of its frames, and with a known gain the model of it."""
    group, stack, settings = prepared.group, prepared.stack, around.plan.settings
    pair = _pair(stack)
    gain, measured = around.plan.gain_e_adu(group), around.gains.of(group) if around.gains is not None else None
    if measured is not None and measured.contradicts(gain):
        gain = measured.e_adu
    noise = noise_model(group.product, pair_adu=pair.noise_adu, level_adu=pair.level_adu, gain_e_adu=gain)
    saturation = min((row.saturation_adu for row in group.rows if row.saturation_adu), default=None)
    recipe = Recipe(
        method=settings.method,
        sigma=settings.sigma,
        step_adu=float(max((row.step_adu for row in group.rows if row.step_adu), default=pair.step_adu)),
        sample_adu=pair.noise_adu if pair.noise_adu > 0 else None,
        noise=noise,
        saturation_adu=None if saturation is None else SATURATED_FROM * saturation,
    )
    _warn_of_method(recipe, group, around.warn)
    return replace(prepared, stack=replace(stack, recipe=recipe), noise=noise, gain=measured)


def _warn_of_method(recipe: Recipe, group: MasterGroup, warn: Warn) -> None:
    """Say where a method can do little with the frames of a group."""
    n = len(group.rows)
    if recipe.blind_for(n):
        detail = f"{recipe.method} sees no outlier among {n} frames of unknown gain; 10 frames would do"
        warn(GroupCode.TOO_FEW_FRAMES, detail)
    if recipe.method is Method.MINMAX and 2 < n < MINMAX_ENOUGH:
        left = f"minmax leaves {n - 2} of {n} samples of each pixel"
        warn(GroupCode.TOO_FEW_FRAMES, f"{left}: their spread says little; {MINMAX_ENOUGH} frames would do")
    if recipe.method is Method.MEDIAN and recipe.steps * MEDIAN_STEPS > 1 and n > 2:
        low = f"its noise is below {MEDIAN_STEPS:g} steps of the converter"
        detail = f"{low}: a median of so few different values is coarse and its SIGMA says little"
        warn(RunCode.COARSE_MEDIAN, f"{detail}; any other rejection_method works")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """What the first two frames show: noise of one frame, its level, and the step of the converter, in ADU."""

    noise_adu: float = float("nan")
    level_adu: float = float("nan")
    step_adu: float = 1.0


def _pair(stack: Stack) -> _Pair:
    """Return what rows about the middle of the first two frames show; the level of flats is the one above the dark."""
    if len(stack.frames) < 2:
        return _Pair()
    height = stack.shape[0]
    start = max(0, height // 2 - _PAIR_ROWS // 2)
    band = Band(start=start, stop=min(height, start + _PAIR_ROWS))
    frames = read_band(stack.frames[:2], band)
    level, step = float(np.median(frames[0])), step_of_pair(*frames)
    if stack.darks:
        level -= float(np.median(stack.darks[stack.dark_of[0]].mean_band(band, stack.shape[1])))
    noise = noise_of_pairs(neighbour_counts(frames, stack.scale[:2]), 1 if stack.scale else max(1, round(step)))
    return _Pair(noise_adu=noise.sigma_adu, level_adu=level, step_adu=step)
