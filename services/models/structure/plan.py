"""What an analysis of structures compares: epochs of frames that were taken together, and what is taken off them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.frames import FrameKind
from calibration.models.structure.noise import NoiseLaw, fit_law
from services.bands import Source
from services.files.layout import sanitise
from services.models.gathering import Member
from services.models.grouping import opened, saturation_of
from services.models.sampling import Place, place_of
from services.models.structure.epochs import Epoch, Plan, Reduction, days_of, epochs_of, in_order
from services.models.structure.pairing import pairs_of

_PAIRS = 4
"""Pairs of neighbours of an epoch that show the noise."""

_SATURATED = 0.01
"""Share of saturated pixels from which on a flat is not used."""

_NEAR_C, _NEAR_S = 1.0, 0.1
"""How far the temperature of biases and darks, and the exposure of a dark without biases, may be from a flat's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beside:
    """Biases and darks that are taken off flats, with their pixels; none where nothing is taken off."""

    members: tuple[Member, ...] = ()
    sources: tuple[Source, ...] = ()

    def reduction(self, member: Member) -> Reduction | None:
        """Return what is taken off a flat; None: nothing is there that fits."""
        near = [
            (m, s)
            for m, s in zip(self.members, self.sources, strict=True)
            if abs(m.temperature_c - member.temperature_c) <= _NEAR_C
        ]
        biases = _nearest([each for each in near if each[0].kind is FrameKind.BIAS], member)
        darks = [each for each in near if each[0].kind is FrameKind.DARK]
        times = sorted({m.exposure_s for m, _ in darks}, key=lambda t: abs(t - member.exposure_s))
        if not biases:
            times = [t for t in times if abs(t - member.exposure_s) <= _NEAR_S]
        same = [each for each in darks if times and each[0].exposure_s == times[0]]
        chosen = _nearest(same, member)
        if not (biases or chosen):
            return None
        lag, stepwise = _apart([m for m, _ in (*biases, *chosen)], member)
        return Reduction(
            biases=tuple(s for _, s in biases),
            darks=tuple(s for _, s in chosen),
            share=member.exposure_s / times[0] if times else 0.0,
            lag_days=lag,
            stepwise=stepwise,
        )


def _apart(frames: Sequence[Member], member: Member) -> tuple[float, bool]:
    """Return how many days from a flat the farthest of frames was taken, and whether they are of undated attempts."""
    undated = member.frame.header.date_obs is None
    alike = [m for m in frames if (m.frame.header.date_obs is None) == undated]
    lags = [abs(days_of(m) - days_of(member)) for m in alike]
    attempts = {(m.kind, m.attempt) for m in frames}
    several = len(attempts) > len({kind for kind, _ in attempts})
    return max((lag for lag in lags if np.isfinite(lag)), default=float("nan")), undated and several


def _nearest(frames: Sequence[tuple[Member, Source]], member: Member) -> list[tuple[Member, Source]]:
    """Return the frames of the session of a flat, else of the one that is nearest in time; all without dates.

    Pixels become hot from one session to the next, so that darks of all sessions are those of none.
    """
    at = member.frame.header.date_obs
    apart = {
        m.session: abs((m.frame.header.date_obs - at).total_seconds())
        for m, _ in frames
        if at is not None and m.frame.header.date_obs is not None
    }
    if not apart:
        return list(frames)
    session = (
        member.session if any(m.session == member.session for m, _ in frames) else min(apart, key=apart.__getitem__)
    )
    return [each for each in frames if each[0].session == session]


def plan_of(
    kind: FrameKind,
    members: Sequence[Member],
    *,
    beside: Beside | None,
    analyses: Sequence[str],
    unused: dict[Path, str],
    scratch: Path,
) -> Plan | None:
    """Return what is compared; None where no two epochs can be.

    Parameters
    ----------
    kind : FrameKind
    members : sequence of Member
        Frames of this kind.
    beside : Beside, optional
        What is taken off; None: nothing, and only frames of one exposure, or flats of about one level, are compared.
    analyses : sequence of str
    unused : dict of Path to str
        Frames that are left out join it.
    scratch : Path
        Folder for frames that are unpacked; the caller removes it.
    """
    if not members:
        return None
    kept, sources = opened(members, unused, scratch)
    saturation = saturation_of(kept, sources)
    place = place_of(sources[0].location.shape)
    found = [
        each
        for group in epochs_of(kept, lambda member: (member.label_c, member.exposure_s))
        for each in _epochs(
            kind,
            [kept[i] for i in group],
            [sources[i] for i in group],
            beside=beside,
            place=place,
            saturation=saturation,
            unused=unused,
        )
    ]
    found.sort(key=lambda epoch: (in_order(epoch.days), epoch.members[0].attempt, epoch.label_c))
    epochs = tuple(_named(found))
    flat = kind is FrameKind.FLAT
    pairs = {name: tuple(pairs_of(epochs, name, reduced=beside is not None, flat=flat)) for name in analyses}
    if not any(pairs.values()):
        return None
    return Plan(
        kind=kind,
        epochs=epochs,
        pairs=pairs,
        law=_law(epochs, place, flat=flat),
        step_adu=float(max(member.numbers.step for member in kept)),
        saturation_adu=saturation,
    )


def _epochs(
    kind: FrameKind,
    members: list[Member],
    sources: list[Source],
    *,
    beside: Beside | None,
    place: Place,
    saturation: float,
    unused: dict[Path, str],
) -> Iterator[Epoch]:
    """Yield the epoch of a group, without the frames that are saturated or not brighter than their darks."""
    reduction = None if beside is None else beside.reduction(members[0])
    if beside is not None and reduction is None:
        unused |= {
            m.frame.path: "no bias or dark within 1 °C, nor one of its exposure, can be taken off" for m in members
        }
        return
    off = 0.0 if reduction is None else reduction.sample(place)
    kept: list[tuple[Member, Source, float]] = []
    for member, source in zip(members, sources, strict=True):
        sample = place.read(source)
        full = float(np.mean(sample >= saturation))
        level = float(np.nanmedian(sample - off))
        if kind is FrameKind.FLAT and full > _SATURATED:
            unused[member.frame.path] = (
                f"saturated: {100 * full:.0f} % of its pixels are at {saturation:.0f} ADU or above"
            )
        elif kind is FrameKind.FLAT and not level > 0:
            unused[member.frame.path] = "it is not brighter than what is taken off: it holds no light"
        else:
            kept.append((member, source, level))
    if kept:
        yield Epoch(
            name="",
            members=tuple(member for member, *_ in kept),
            sources=tuple(source for _, source, _ in kept),
            levels_adu=np.array([level for *_, level in kept]),
            reduction=reduction,
            off_variance_adu2=0.0 if reduction is None else reduction.variance_adu2(place),
        )


def _named(epochs: Sequence[Epoch]) -> Iterator[Epoch]:
    for number, epoch in enumerate(epochs, 1):
        stem = f"{number:03d}_T{epoch.label_c:.1f}_E{epoch.exposure_s:g}"
        name = sanitise("_".join([stem, epoch.time.replace(":", "")]) if epoch.time else stem)
        yield replace(epoch, name=name)


def _law(epochs: Sequence[Epoch], place: Place, *, flat: bool) -> NoiseLaw:
    """Return the law of the noise from neighbours in each epoch; of single frames, from those of all epochs."""
    level, squares = list[NDArray[np.float64]](), list[NDArray[np.float64]]()
    runs = [(epoch, slice(0, _PAIRS + 1)) for epoch in epochs if len(epoch.sources) > 1]
    nets = ((_net(epoch, i, place) for i in range(len(epoch.sources))[part]) for epoch, part in runs)
    chains = [list(each) for each in nets] or [[_net(epoch, 0, place) for epoch in epochs]]
    for chain in chains:
        for a, b in pairwise(chain):
            factor = np.nanmedian(a) / np.nanmedian(b) if flat else 1.0
            shift = 0.0 if flat else np.nanmedian(a) - np.nanmedian(b)
            level.append((a + b) / 2)
            squares.append((b * factor + shift - a) ** 2 / 2)
    return fit_law(np.stack(level), np.stack(squares), np.ones((len(level), level[0].size)))


def _net(epoch: Epoch, number: int, place: Place) -> NDArray[np.float64]:
    off = 0.0 if epoch.reduction is None else epoch.reduction.sample(place)
    return place.read(epoch.sources[number]) - off
