"""Which frames of a group its master is made of, as far as the catalogue alone knows; the rest is left out by name.

Who asks whether a master exists and who builds it must agree in this, or a master would be built again for ever.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from calibration.errors import FrameCode, GroupCode
from calibration.frames import FrameKind
from calibration.masters.scales import all_worth_combining, worth_combining
from calibration.series import Measured, odd_frames
from services.catalogue.frames import Member
from services.catalogue.rows import FrameRow
from services.planning.flat_darks import FlatDark, NoDark
from services.planning.master_groups import MasterGroup
from services.planning.master_settings import MasterSettings
from services.words import count, some

_MEASURED = {FrameCode.LEVEL_OFF: "level", FrameCode.NOISE_OFF: "noise"}

DarksOf = Callable[[MasterGroup, Mapping[int | None, float]], tuple[Mapping[int | None, FlatDark], Sequence[NoDark]]]
"""Returns the darks of flats by their exposure, of those mean levels; and of which exposures there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Frames that their master is made without: a code, the words, and the darks that are not there."""

    code: str
    what: str
    no_dark: Sequence[NoDark] = ()

    @property
    def reason(self) -> str:
        """Why no dark fits, where that is the reason; worked out when somebody asks."""
        return "; ".join(each.reason for each in self.no_dark)

    @property
    def detail(self) -> str:
        """The words."""
        return f"{self.what}: {self.reason}" if self.no_dark else self.what


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why a group becomes no master: a code, and the words."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The frames of a group that are combined.

    Attributes
    ----------
    group : MasterGroup
        With these frames.
    left_out : tuple of LeftOut
    darks : mapping
        The dark of flats by their exposure.
    """

    group: MasterGroup
    left_out: tuple[LeftOut, ...] = ()
    darks: Mapping[int | None, FlatDark] = field(default_factory=dict)

    @property
    def distinct_darks(self) -> tuple[FlatDark, ...]:
        """Each dark that a flat needs once, with its greatest error."""
        worst: dict[str, FlatDark] = {}
        for exposure_us in self.group.exposures_us:
            dark = self.darks.get(exposure_us)
            if dark is not None and (dark.name not in worst or (dark.error or 0.0) > (worst[dark.name].error or 0.0)):
                worst[dark.name] = dark
        return tuple(worst.values())


def measured(frames: Sequence[Member] | Sequence[FrameRow]) -> list[Measured]:
    """Return what was measured of frames; nothing unless it was of all."""
    found = [
        Measured(
            level_adu=each.level_adu, sigma_adu=each.sigma_adu, step_adu=each.step_adu or 1, ccd_temp_c=each.ccd_temp_c
        )
        for each in frames
        if each.level_adu is not None and each.sigma_adu is not None
    ]
    return found if len(found) == len(frames) else []


def chosen(group: MasterGroup, levels_adu: Sequence[float], darks_of: DarksOf, *, least: int) -> Chosen:
    """Return the frames of a group that its master is made of.

    Parameters
    ----------
    group : MasterGroup
    levels_adu : sequence of float
        Level of each flat, pedestal included; not used for biases and darks.
    darks_of : callable
        Finds the darks of flats.
    least : int
        As many flats are combined at least, however dim.
    """
    if group.product is not FrameKind.FLAT:
        return without_odd(group)
    exposures_us = [member.exposure_us for member in group.members]
    at: dict[int | None, list[float]] = {}
    for exposure_us, level in zip(exposures_us, levels_adu, strict=True):
        at.setdefault(exposure_us, []).append(level)
    darks, lacking = darks_of(group, {each: sum(levels) / len(levels) for each, levels in at.items()})
    net = {i: levels_adu[i] - _level(darks[each]) for i, each in enumerate(exposures_us) if each in darks}
    left_out = [_undarkened(len(group.rows) - len(net), lacking)] if lacking else []
    served = list(net)
    bright = [served[k] for k in worth_combining(list(net.values()), least=least)] if net else []
    if dim := sorted(net.keys() - set(bright)):
        left_out.append(_dim(group, dim, net, min(net[i] for i in bright)))
    return Chosen(group=group.only(bright), left_out=tuple(left_out), darks=darks)


def too_few(found: Chosen, settings: MasterSettings) -> Refused | None:
    """Return why these are not enough frames for a master: for want of their darks, where that is it; else None."""
    kind, n = found.group.taken_as, len(found.group.rows)
    least = settings.least(kind, found.group.key.source, found.group.key)
    if n >= least:
        return None
    if (reason := next((each.reason for each in found.left_out if each.no_dark), None)) is not None:
        return Refused(code=GroupCode.NO_MATCHING_DARK, detail=reason)
    wanted, key = settings.wanted(kind, found.group.key), settings.wanted_key(kind)
    detail = f"{count(n, 'usable frame')} of {wanted} wanted by {key}; a master takes {least}"
    return Refused(code=GroupCode.TOO_FEW_FRAMES, detail=detail)


def evenly_lit(group: MasterGroup, darks_of: DarksOf) -> Chosen | None:
    """Return flats of one exposure that are all combined, or of which none has a dark; None: look at each of them."""
    even = group.even
    if even is None or even.levels < even.n or None in (even.least_level_adu, even.most_level_adu):
        return None
    darks, lacking = darks_of(group, {group.exposure_us: even.mean_level_adu or 0.0})
    if lacking:
        return Chosen(group=group.only(()), left_out=(_undarkened(even.n, lacking),), darks=darks)
    dark_adu = _level(darks[group.exposure_us])
    if not all_worth_combining((even.least_level_adu or 0.0) - dark_adu, (even.most_level_adu or 0.0) - dark_adu):
        return None
    return Chosen(group=group, darks=darks)


def _undarkened(number: int, lacking: Sequence[NoDark]) -> LeftOut:
    return LeftOut(code=GroupCode.NO_MATCHING_DARK, what=f"{count(number, 'flat')} left out", no_dark=lacking)


def without_odd(group: MasterGroup) -> Chosen:
    """Return another program's biases or darks without those whose level or noise is off: ours are judged as they land.

    Biases that serve as a dark are judged as what they are, so that both masters are of the same frames.
    """
    odd = {} if group.own else odd_frames(group.rows[0].kind, measured(group.members))
    left_out = []
    for code, word in _MEASURED.items():
        found = {i: verdict for i, verdict in odd.items() if verdict.code == code}
        if found:
            frames = some(f"{group.rows[i].path} ({verdict.measured:.1f} ADU)" for i, verdict in sorted(found.items()))
            usual = f"the {word} of the others is {next(iter(found.values())).limit:.1f} ADU"
            left_out.append(LeftOut(code=code, what=f"left out of its master: {frames}; {usual}"))
    kept = [i for i in range(len(group.rows)) if i not in odd]
    return Chosen(group=group.only(kept), left_out=tuple(left_out))


def _level(dark: FlatDark) -> float:
    return dark.level_adu


def _dim(group: MasterGroup, dim: Sequence[int], net_adu: Mapping[int, float], others_adu: float) -> LeftOut:
    most = max(net_adu[i] for i in dim)
    light = f"light of {most:.0f} ADU or less, the others {others_adu:.0f} or more"
    names = some(group.rows[i].path for i in dim)
    return LeftOut(code=FrameCode.LEVEL_OFF, what=f"{count(len(dim), 'dim flat')} left out ({light}): {names}")
