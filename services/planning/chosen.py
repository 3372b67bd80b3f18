"""Which frames of a group its master is made of, as far as the catalogue alone knows; the rest is left out by name.

Who asks whether a master exists and who builds it must agree in this, or a master would be built again for ever.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from calibration.errors import FrameCode, GroupCode
from calibration.frames import FrameKind
from calibration.masters.scales import worth_combining
from calibration.series import Measured, odd_frames
from services.catalogue.frames import Member
from services.catalogue.rows import FrameRow
from services.planning.flat_darks import FlatDark, level_of
from services.planning.master_groups import MasterGroup
from services.words import count, some

_MEASURED = {FrameCode.LEVEL_OFF: "level", FrameCode.NOISE_OFF: "noise"}

DarksOf = Callable[[MasterGroup, Sequence[float]], tuple[Mapping[int | None, FlatDark], Sequence[str]]]
"""Returns the darks of flats of these levels by exposure, and the reasons where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Frames that their master is made without: a code, the words, and why no dark fits where that is the reason."""

    code: str
    detail: str
    reason: str = ""


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
        for exposure_us in {member.exposure_us: None for member in self.group.members}:
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
    darks, reasons = darks_of(group, levels_adu)
    served = [i for i, member in enumerate(group.members) if member.exposure_us in darks]
    left_out = []
    if len(served) < len(group.rows):
        why = "; ".join(reasons)
        detail = f"{count(len(group.rows) - len(served), 'flat')} left out: {why}"
        left_out.append(LeftOut(code=GroupCode.NO_MATCHING_DARK, detail=detail, reason=why))
    net = {i: levels_adu[i] - _level(darks[group.members[i].exposure_us]) for i in served}
    bright = [served[k] for k in worth_combining(list(net.values()), least=least)] if net else []
    if dim := [i for i in served if i not in set(bright)]:
        left_out.append(_dim(group, dim, net, min(net[i] for i in bright)))
    return Chosen(group=group.only(bright), left_out=tuple(left_out), darks=darks)


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
            left_out.append(LeftOut(code=code, detail=f"left out of its master: {frames}; {usual}"))
    kept = [i for i in range(len(group.rows)) if i not in odd]
    return Chosen(group=group.only(kept), left_out=tuple(left_out))


def _level(dark: FlatDark) -> float:
    return dark.pedestal_adu if dark.master is None else level_of(dark.master)


def _dim(group: MasterGroup, dim: Sequence[int], net_adu: Mapping[int, float], others_adu: float) -> LeftOut:
    most = max(net_adu[i] for i in dim)
    light = f"light of {most:.0f} ADU or less, the others {others_adu:.0f} or more"
    names = some(group.rows[i].path for i in dim)
    return LeftOut(code=FrameCode.LEVEL_OFF, detail=f"{count(len(dim), 'dim flat')} left out ({light}): {names}")
