"""What the masters step is asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from calibration.combine.recipe import Method
from calibration.frames import FrameKind, GroupKey
from calibration.masters.scales import Normalisation
from calibration.plans.sequence import WantedSet
from services.catalogue.rows import FrameRow
from services.config.models import MODEL_KINDS, Config
from services.planning.having import Requirement, requirement_of
from services.planning.predicted_darks import AgeLimit
from services.planning.programmes import view
from services.planning.request import DarkTimes
from services.planning.wanted import dark_sets, dark_times, flat_sets, states

MIN_FRAMES = 5
"""A set that is not complete makes a master from this many frames on (or from all, if fewer are wanted)."""

ENGINE = 3
"""Part of every recipe's hash: to be raised when the same frames and settings give other pixels."""


Count = tuple[Requirement, int]
"""What a set has that programmes want, and of how many frames it is; darks of any exposure are those of flats."""


def counts_of(config: Config) -> Iterator[Count]:
    """Yield how many frames the programmes of a configuration want of each set."""
    for state in states(config) if config.programmes else ():
        seen = state.config
        darks = dark_sets(seen, state, dark_times(seen, ()), DarkTimes.ALL, {})
        of_flats = (replace(each, kind=FrameKind.DARK, count=seen.dark_capture.num_darks) for each in darks[:1])
        for each in (*darks, *flat_sets(seen, state, seen.flat_capture.filters or (None,))):
            required = requirement_of(seen, each)
            yield (required if each.kind is FrameKind.DARK else replace(required, exposure_us=None)), each.count
        for each in of_flats:
            yield replace(requirement_of(seen, each), exposure_us=None), each.count


Aged = tuple[Requirement, AgeLimit]
"""Darks of any exposure and temperature, and how old they may be."""


def ages_of(config: Config) -> Iterator[Aged]:
    """Yield how old darks may be, where a programme or the file states that."""
    of_file = config.reuse.dark_hours if "dark_hours" in config.reuse.model_fields_set else None
    stated = {each.name: each.darks.max_age_days for each in config.programmes if each.darks is not None}
    for state in states(config):
        days = stated.get(state.programme)
        if days is not None:
            limit = AgeLimit(days=days, said=f"darks.max_age_days is {days:g}")
        elif of_file is not None:
            limit = AgeLimit(days=of_file / 24, said=f"reuse.dark_hours is {of_file:g}")
        else:
            continue
        yield requirement_of(state.config, WantedSet(kind=FrameKind.DARK, count=1, why=(), gain=state.gain)), limit


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterSettings:
    """The pieces of the configuration that masters depend on; defaults are those of the guide.

    Attributes
    ----------
    method, sigma : Method, float
        Rejection.
    normalisation : Normalisation
        Of flats.
    quality_control : bool
        Flag single pixels, measure and judge each master.
    save_planes : bool
        Write SIGMA, COUNT, MASK and INPUTS beside each master.
    bias, darks, flats : bool
        Which masters are made.
    flat_dark : str
        `matched`, `bias` or `model` (`services.planning.flat_darks`).
    model_error, model_beyond_c : float
        How wrong a predicted dark may be, relative to a flat's light, and degrees beyond what was measured.
    modelled : frozenset of str
        Kinds of which models are fitted: only these are a second reference of new masters.
    dark_ages : tuple of Aged
        How old the newest dark of a model may be when flats are taken, where that is stated.
    memory_mb : float
        For bands of frames in memory.
    counts : tuple of Count
        Frames of complete sets where programmes say them; then these go before the next three.
    num_darks, num_biases, num_flats, min_flats : int
        Frames of a complete set (biases, None: as many as darks); least number for sky flats.
    name_gain, name_temperature : bool
        Whether these are part of the names: the configuration lists several.
    workers : int
        Bands worked on at once.
    longitude_deg : float or None
        Of the site, in degrees east: it says when a night begins.
    by_hand : bool
        Masters that are like the one before them wait for somebody to certify them (`serve.certify`).
    ignored_cards : frozenset of str
        Keywords in which frames of other programs may differ within a group, in capitals.
    header_aliases : mapping
        What keywords of other programs stand for.
    beside : bool
        Frames are taken meanwhile: threads lower their priority, which they inherit on Linux only.
    """

    method: Method = Method.SIGMA_CLIP
    sigma: float = 3.0
    normalisation: Normalisation = Normalisation.MEAN
    quality_control: bool = True
    save_planes: bool = True
    bias: bool = True
    darks: bool = True
    flats: bool = True
    flat_dark: str = "matched"
    model_error: float = 0.001
    model_beyond_c: float = 0.0
    modelled: frozenset[str] = frozenset(MODEL_KINDS)
    dark_ages: tuple[Aged, ...] = ()
    memory_mb: float = 256.0
    counts: tuple[Count, ...] = ()
    num_darks: int = 40
    num_biases: int | None = None
    num_flats: int = 40
    min_flats: int = 10
    name_gain: bool = False
    name_temperature: bool = False
    workers: int = 2
    header_aliases: Mapping[str, str] = field(default_factory=dict)
    beside: bool = False
    ignored_cards: frozenset[str] = frozenset()
    longitude_deg: float | None = None
    by_hand: bool = False

    @classmethod
    def of(cls, config: Config) -> "MasterSettings":
        """Return the settings of a whole configuration."""
        masters = config.master_frames
        seen = [view(config, each) for each in config.programmes]
        gains = {each.camera.active.gain for each in seen} or {*config.gains}
        temperatures = {celsius for each in seen or (config,) for celsius in each.temperatures}
        return cls(
            method=Method(masters.rejection_method),
            sigma=masters.sigma_threshold,
            normalisation=Normalisation(masters.normalization_method),
            quality_control=masters.quality_control,
            save_planes=masters.save_individual_masters,
            bias=masters.create_master_bias,
            darks=masters.create_master_darks,
            flats=masters.create_master_flats,
            flat_dark=masters.flat_dark,
            model_error=config.models.max_error,
            model_beyond_c=config.models.max_beyond,
            modelled=frozenset() if config.models.fit == "off" else frozenset(config.models.kinds),
            dark_ages=tuple(ages_of(config)),
            memory_mb=masters.memory_mb,
            counts=tuple(counts_of(config)),
            num_darks=config.dark_capture.num_darks,
            num_biases=config.dark_capture.num_biases,
            num_flats=config.flat_capture.num_flats,
            min_flats=config.flat_capture.min_flats,
            ignored_cards=frozenset(k.upper() for k, field in config.header_aliases.items() if field == "ignore"),
            name_gain=len(gains) > 1,
            name_temperature=len(temperatures) > 1,
            header_aliases=config.header_aliases,
            longitude_deg=None if config.site is None else config.site.longitude,
            by_hand=config.serve.certify == "by_hand",
        )

    def wanted(self, kind: FrameKind, of: FrameRow | GroupKey | None = None) -> int:
        """Return how many frames a complete set has.

        Parameters
        ----------
        kind : FrameKind
            What the frames were taken as.
        of : Exposed, optional
            One of the frames, or their key, which may be that of a dark for biases that become one: programmes say how
            many there are of each. Of those that want the same the largest number counts, and the smallest where none
            names the exposure.
        """
        key = of.key() if isinstance(of, FrameRow) else of
        taken = None if key is None else replace(key, kind=kind)
        like = [] if taken is None else [(required, n) for required, n in self.counts if required.fits(taken)]
        named = [n for required, n in like if kind is not FrameKind.DARK or required.exposure_us is not None]
        if like:
            return max(named) if named else min(n for _, n in like)
        if kind is FrameKind.FLAT:
            return self.num_flats
        return self.num_darks if kind is FrameKind.DARK or self.num_biases is None else self.num_biases

    def wanted_key(self, kind: FrameKind) -> str:
        """Return the key of the configuration that says how many."""
        if self.counts:
            return "`programmes`"
        if kind is FrameKind.FLAT:
            return "flat_capture.num_flats"
        return f"dark_capture.{'num_biases' if kind is FrameKind.BIAS and self.num_biases else 'num_darks'}"

    def least(self, kind: FrameKind, source: str | None, of: FrameRow | GroupKey | None = None) -> int:
        """Return how many frames a master is made of at least; parameters as for `wanted`."""
        floor = self.min_flats if kind is FrameKind.FLAT and source == "sky" else MIN_FRAMES
        return min(floor, self.wanted(kind, of))

    def age_of_darks(self, flats: GroupKey) -> AgeLimit | None:
        """Return how old the darks of flats may be; the youngest age where several programmes state one."""
        dark = replace(flats, kind=FrameKind.DARK)
        limits = (limit for required, limit in self.dark_ages if required.fits(dark))
        return min(limits, key=lambda limit: limit.days, default=None)

    def recipe_parts(self, kind: FrameKind) -> dict[str, Any]:
        """Return the settings that the pixels of a master depend on."""
        parts: dict[str, Any] = {"engine": ENGINE, "method": str(self.method), "sigma": self.sigma}
        parts["quality"] = self.quality_control
        if kind is FrameKind.FLAT:
            parts["normalisation"] = str(self.normalisation)
        return parts
