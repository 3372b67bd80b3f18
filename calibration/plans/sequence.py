"""A night as data: the sets it wants, their order, and what they cost in time and space.

Order: temperature > gain > bias > flats of every filter > flat darks > science darks > other factors, so that every
flat has its dark and the cooler moves least. What is there already is subtracted by whoever holds the catalogue.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from calibration.frames import FrameKind
from calibration.plans.dark import DarkTime, DarkUse


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSet:
    """One set of frames a night wants.

    Attributes
    ----------
    kind : FrameKind
    count : int
    why : tuple of str
        What it serves, as the plan and the report show it: `bias`, `flat`, `science`, `factor`.
    filter, source : str, optional
        Flats only; `source` is `panel` or `sky`.
    exposure_us : int, optional
        None for flats: found when they are taken.
    gain, offset : int, optional
    readout_mode : int or str, optional
    binning : int, optional
    set_temp_c : float, optional
        Of all these None means "as found".
    """

    kind: FrameKind
    count: int
    why: tuple[str, ...]
    filter: str | None = None
    source: str | None = None
    exposure_us: int | None = None
    gain: int | None = None
    offset: int | None = None
    readout_mode: int | str | None = None
    binning: int | None = None
    set_temp_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What sets cost. Bytes are those of the frames as stored."""

    frames: int
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What an estimate assumes.

    Attributes
    ----------
    frame_bytes : int
        Size of a stored frame.
    frame_s : float
        Time between two exposures: readout and transfer.
    flat_exposure_s : float
        Of flats not yet taken: the middle of the preferred window.
    flat_set_s : float
        Search, settling and the filter's move.
    set_s : float
        Any other set: settings and first frame.
    temperature_s : float
        One change of temperature, ramp and dwell.
    """

    frame_bytes: int
    frame_s: float = 2.0
    flat_exposure_s: float = 2.239
    flat_set_s: float = 40.0
    set_s: float = 5.0
    temperature_s: float = 900.0


def night(
    *,
    temperatures: Sequence[float | None] = (None,),
    gains: Sequence[int | None] = (None,),
    filters: Sequence[str | None] = (),
    flat_temperatures: Sequence[float | None] = (),
    num_flats: int = 0,
    dark_times: Sequence[DarkTime] = (),
    num_darks: int = 0,
) -> tuple[WantedSet, ...]:
    """Return the sets of a whole night in the order they are taken.

    Parameters
    ----------
    temperatures, gains : sequence
        To cover; None is "as found". An empty one means (None,).
    filters : sequence of str or None
        Flats wanted: (None,) without a wheel, empty for no flats.
    flat_temperatures : sequence
        Temperatures of the flats; empty: the first of `temperatures`.
    num_flats, num_darks : int
    dark_times : sequence of DarkTime
        As `calibration.plans.dark.dark_exposures` gives them; the bias time is among them.
    """
    temperatures, gains = temperatures or (None,), gains or (None,)
    warm = [t for t in flat_temperatures if t not in temperatures]
    sets: list[WantedSet] = []
    for temperature in (*temperatures, *warm):
        lit = temperature in (flat_temperatures or temperatures[:1])
        for gain in gains:
            if temperature in temperatures:
                sets += [_dark(d, gain, temperature, num_darks) for d in dark_times]
            sets += [_flat(f, gain, temperature, num_flats) for f in filters if lit]
    return in_order(sets, temperatures=(*temperatures, *warm), gains=gains)


def in_order(
    sets: Iterable[WantedSet], *, temperatures: Sequence[float | None], gains: Sequence[int | None]
) -> tuple[WantedSet, ...]:
    """Return sets in the night's order; temperatures and gains in the order given, flats as they come."""

    def rank(wanted: WantedSet) -> tuple[int, int, int, int]:
        flat = wanted.kind is FrameKind.FLAT
        return (
            temperatures.index(wanted.set_temp_c),
            gains.index(wanted.gain),
            _RANK[DarkUse.BIAS] + 1 if flat else min((_RANK[DarkUse(w)] for w in wanted.why), default=_LAST),
            0 if flat else wanted.exposure_us or 0,
        )

    return tuple(sorted(sets, key=rank))


_RANK = {DarkUse.BIAS: 0, DarkUse.FLAT: 2, DarkUse.SCIENCE: 3, DarkUse.FACTOR: 4}
_LAST = 5


def estimate(wanted: Iterable[WantedSet], costs: Costs) -> Estimate:
    """Return what sets cost in frames, seconds and bytes."""
    frames = 0
    seconds = 0.0
    here: float | None = None
    for each in wanted:
        flat = each.kind is FrameKind.FLAT
        exposure_s = costs.flat_exposure_s if each.exposure_us is None else each.exposure_us / 1e6
        frames += each.count
        seconds += each.count * (exposure_s + costs.frame_s) + (costs.flat_set_s if flat else costs.set_s)
        if each.set_temp_c is not None and each.set_temp_c != here:
            here = each.set_temp_c
            seconds += costs.temperature_s
    return Estimate(frames=frames, seconds=seconds, bytes=frames * costs.frame_bytes)


def _dark(time: DarkTime, gain: int | None, temperature: float | None, count: int) -> WantedSet:
    return WantedSet(
        kind=FrameKind.BIAS if DarkUse.BIAS in time.why else FrameKind.DARK,
        count=count,
        why=tuple(str(w) for w in time.why),
        exposure_us=time.exposure_us,
        gain=gain,
        set_temp_c=temperature,
    )


def _flat(name: str | None, gain: int | None, temperature: float | None, count: int) -> WantedSet:
    return WantedSet(kind=FrameKind.FLAT, count=count, why=("flat",), filter=name, gain=gain, set_temp_c=temperature)
