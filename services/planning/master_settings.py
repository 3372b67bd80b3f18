"""What the masters step is asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from calibration.combine.recipe import Method
from calibration.frames import FrameKind, us
from calibration.masters.scales import Normalisation
from services.config.models import Config
from services.config.values import number_of
from services.planning.programmes import view

MIN_FRAMES = 5
"""A set that is not complete makes a master from this many frames on (or from all, if fewer are wanted)."""

ENGINE = 3
"""Part of every recipe's hash: to be raised when the same frames and settings give other pixels."""


class Exposed(Protocol):
    """A frame, or the key of a group, by what programmes tell sets apart."""

    @property
    def gain(self) -> int | None:
        """Gain."""

    @property
    def exposure_us(self) -> int | None:
        """Exposure; None in the key of flats."""

    @property
    def filter(self) -> str | None:
        """Filter, of flats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Frames that a programme wants of a kind, at one gain (None: any), of some exposures or filters (None: all)."""

    kind: FrameKind
    frames: int
    gain: int | None
    of: frozenset[int | str | None] | None = None

    def is_of_gain(self, gain: int | None) -> bool:
        """Whether frames of a gain are counted here."""
        return self.gain is None or gain is None or self.gain == gain

    def names(self, frame: Exposed) -> bool:
        """Whether the programme names the exposure of a dark, or the filter of a flat."""
        return self.of is None or (frame.filter if self.kind is FrameKind.FLAT else frame.exposure_us) in self.of


def counts_of(config: Config) -> Iterator[Count]:
    """Yield how many frames the programmes of a configuration want."""
    for programme in config.programmes:
        seen = view(config, programme)
        gain, dark, flat = number_of(seen.camera.active.gain), seen.dark_capture, seen.flat_capture
        if programme.bias is not None:
            yield Count(kind=FrameKind.BIAS, frames=dark.bias_count, gain=gain)
        if programme.flats is not None:
            yield Count(kind=FrameKind.FLAT, frames=flat.num_flats, gain=gain, of=frozenset(flat.filters) or None)
        times = {us(time_s * factor) for time_s in dark.science_exposure_time for factor in (1, *dark.exposure_factors)}
        yield Count(kind=FrameKind.DARK, frames=dark.num_darks, gain=gain, of=frozenset(times))


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
        `matched` or `bias` (`services.planning.flat_darks`).
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

    def wanted(self, kind: FrameKind, of: Exposed | None = None) -> int:
        """Return how many frames a complete set has.

        Parameters
        ----------
        kind : FrameKind
            What the frames were taken as.
        of : Exposed, optional
            One of the frames, or their key: programmes say how many there are of each gain, exposure and filter. Of
            those that want the same the largest number counts, and the smallest where none names the set.
        """
        if of is not None and (like := [c for c in self.counts if c.kind is kind and c.is_of_gain(of.gain)]):
            exact = [each.frames for each in like if each.names(of)]
            return max(exact) if exact else min(each.frames for each in like)
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

    def least(self, kind: FrameKind, source: str | None, of: Exposed | None = None) -> int:
        """Return how many frames a master is made of at least; parameters as for `wanted`."""
        floor = self.min_flats if kind is FrameKind.FLAT and source == "sky" else MIN_FRAMES
        return min(floor, self.wanted(kind, of))

    def recipe_parts(self, kind: FrameKind) -> dict[str, Any]:
        """Return the settings that the pixels of a master depend on."""
        parts: dict[str, Any] = {"engine": ENGINE, "method": str(self.method), "sigma": self.sigma}
        parts["quality"] = self.quality_control
        if kind is FrameKind.FLAT:
            parts["normalisation"] = str(self.normalisation)
        return parts
