"""From a group to a stack: which of its files can be read, their scales and darks, and the noise they should have."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from calibration.clipping import clip_values
from calibration.combine.recipe import SMALL_N, Method, NoiseModel, Recipe
from calibration.errors import CombineError, GroupCode
from calibration.frames import FrameKind, Verdict
from calibration.masters.noise import neighbour_counts, noise_model, noise_of_pairs, step_of_pair
from calibration.masters.scales import flat_scales
from calibration.system_gain import MeasuredGain
from services.bands import Band, Source, plane_of, read_band, read_rows, source_of
from services.catalogue.rows import FrameRow, Mark, MasterRow
from services.errors import RunCode
from services.files.layout import Layout
from services.files.units import Unreadable
from services.indexing.checksums import check_pixels
from services.indexing.reading import cards_of
from services.masters.gain import MeasuredGains
from services.masters.predicted import predicted_sources
from services.masters.refusal import GroupRefused, Warn
from services.masters.stack import DarkSources, Stack
from services.planning.alike import unlike
from services.planning.chosen import Chosen, LeftOut, too_few
from services.planning.flat_darks import FlatDark
from services.planning.master_groups import MasterGroup
from services.planning.master_plan import MasterPlan
from services.words import count

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
    rejected : tuple of Mark
        Frames of the same set that somebody rejected.
    """

    group: MasterGroup
    stack: Stack
    darks: tuple[FlatDark, ...] = ()
    levels_adu: tuple[float, ...] = ()
    noise: NoiseModel | None = None
    gain: MeasuredGain | None = None
    doubts: tuple[Verdict, ...] = ()
    rejected: tuple[Mark, ...] = ()

    @property
    def believed_gain(self) -> MeasuredGain | None:
        """The measured gain where the frames state none or another one; None where theirs is believed."""
        stated = self.group.rows[0].egain_e_adu
        wrong = self.gain is not None and (stated is None or self.gain.contradicts(stated))
        return self.gain if wrong else None

    @property
    def egain_e_adu(self) -> float | None:
        """What a master states as EGAIN."""
        return self.group.rows[0].egain_e_adu if self.believed_gain is None else self.believed_gain.e_adu


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
    if (
        refused := unlike(group, partial(cards_of, plan.place.layout), ignored=plan.settings.ignored_cards)
    ) is not None:
        raise GroupRefused(refused.code, refused.detail)
    sources = {row.path: source for row in group.rows if (source := _source(row, around)) is not None}
    group = group.only([i for i, row in enumerate(group.rows) if row.path in sources])
    _enough(Chosen(group=group), around)
    levels = None
    if group.product is FrameKind.FLAT:
        levels = {row.path: _level(row, sources[row.path]) for row in group.rows}
    found = plan.chosen(group, None if levels is None else list(levels.values()))
    assert found is not None  # noqa: S101 - the levels are known
    _enough(found, around)
    frames = tuple(sources[row.path] for row in found.group.rows)
    if levels is not None:
        return _flat(found, frames, [levels[row.path] for row in found.group.rows], around)
    return _with_noise(Prepared(group=found.group, stack=Stack(frames=frames, recipe=Recipe())), around)


def name_left_out(left_out: Iterable[LeftOut], warn: Warn) -> None:
    """Name the frames that a master is made without."""
    for each in left_out:
        warn(each.code, each.detail)


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


def _enough(found: Chosen, around: Surroundings) -> None:
    """Name the frames that are left out, and refuse the group where too few remain: for their darks, if those lack."""
    refused = too_few(found, around.plan.settings)
    if refused is None or refused.code != GroupCode.NO_MATCHING_DARK:
        name_left_out(found.left_out, around.warn)
    if refused is not None:
        raise GroupRefused(refused.code, refused.detail)


def _flat(found: Chosen, frames: tuple[Source, ...], levels_adu: Sequence[float], around: Surroundings) -> Prepared:
    """Give each flat its own dark and its scale."""
    darks = found.distinct_darks
    places = [dark.name for dark in darks]
    dark_of = tuple(places.index(found.darks[row.exposure_us].name) for row in found.group.rows)
    sources = tuple(_dark_sources(dark, around) for dark in darks)
    dark_levels = [each.level_adu if each.mean is None else _central(each.mean) for each in sources]
    below = [dark_levels[i] for i in dark_of]
    try:
        scale = flat_scales(levels_adu, below)
    except CombineError as error:
        raise GroupRefused(GroupCode.TOO_DIM, str(error)) from error
    stack = Stack(
        frames=frames,
        recipe=Recipe(),
        scale=tuple(float(s) for s in scale),
        darks=sources,
        dark_of=dark_of,
    )
    net = tuple(level - dark for level, dark in zip(levels_adu, below, strict=True))
    return _with_noise(Prepared(group=found.group, stack=stack, darks=darks, levels_adu=net), around)


def _dark_sources(dark: FlatDark, around: Surroundings) -> DarkSources:
    """Return the planes of a dark; those beside the master may be missing, its typical SIGMA is known all the same."""
    if dark.master is None:
        return DarkSources(level_adu=dark.pedestal_adu)
    place = around.plan.place
    measured = _master_sources(dark.master, place.layout)
    return measured if dark.predicted is None else predicted_sources(dark.predicted, measured, place, around.scratch)


def _master_sources(master: MasterRow, layout: Layout) -> DarkSources:
    path = layout.absolute(master.path)
    planes = layout.planes_path(path)
    mean = plane_of(path, "MEAN")
    if not planes.is_file():
        return DarkSources(mean=mean, noise_adu=float(master.statistics.get("master_noise_adu") or 0.0))
    return DarkSources(mean=mean, sigma=plane_of(planes, "SIGMA"), mask=plane_of(planes, "MASK"))


def _level(row: FrameRow, source: Source) -> float:
    """Return a flat's level, which the catalogue knows of most."""
    return _central(source) if row.level_adu is None else row.level_adu


def _central(source: Source) -> float:
    """Return the clipped median of the central 50 % x 50 % of a file, from about a thousand of its rows."""
    height, width = source.location.shape
    step = max(1, height // 1000)
    rows = [read_rows(source, Band(start=y, stop=y + 1)) for y in range(height // 4, height - height // 4, step)]
    return clip_values(np.concatenate(rows)[:, width // 4 : width - width // 4]).median


def _with_noise(prepared: Prepared, around: Surroundings) -> Prepared:
    """Add the recipe: the step and the noise of its frames, and with a known gain the model of it."""
    group, stack, settings = prepared.group, prepared.stack, around.plan.settings
    pair = pair_of(stack)
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
        seen = f"{recipe.method} sees no outlier among {count(n, 'frame')} while e-/ADU is not known"
        warn(RunCode.OUTLIERS_UNSEEN, f"{seen}; {SMALL_N} frames would do")
    if recipe.method is Method.MINMAX and 2 < n < MINMAX_ENOUGH:
        left = f"minmax leaves {n - 2} of {n} samples of each pixel"
        warn(RunCode.OUTLIERS_UNSEEN, f"{left}: their spread says little; {MINMAX_ENOUGH} frames would do")
    if recipe.method is Method.MEDIAN and recipe.steps * MEDIAN_STEPS > 1 and n > 2:
        low = f"its noise is below {MEDIAN_STEPS:g} steps of the converter"
        detail = f"{low}: a median of so few different values is coarse and its SIGMA says little"
        warn(RunCode.COARSE_MEDIAN, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What the first two frames show: noise of one frame, its level, and the step of the converter, in ADU."""

    noise_adu: float = float("nan")
    level_adu: float = float("nan")
    step_adu: float = 1.0


def pair_of(stack: Stack) -> Pair:
    """Return what rows about the middle of the first two frames show; the level of flats is the one above the dark."""
    if len(stack.frames) < 2:
        return Pair()
    height = stack.shape[0]
    start = max(0, height // 2 - _PAIR_ROWS // 2)
    band = Band(start=start, stop=min(height, start + _PAIR_ROWS))
    frames = read_band(stack.frames[:2], band)
    level, step = float(np.median(frames[0])), step_of_pair(*frames)
    if stack.darks:
        level -= float(np.median(stack.darks[stack.dark_of[0]].mean_band(band, stack.shape[1])))
    noise = noise_of_pairs(neighbour_counts(frames, stack.scale[:2]), 1 if stack.scale else max(1, round(step)))
    return Pair(noise_adu=noise.sigma_adu, level_adu=level, step_adu=step)
