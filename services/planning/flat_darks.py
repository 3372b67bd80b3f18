"""The dark of each flat: the master dark of its very exposure, else a bias where the dark signal is negligible.

From flats whose dark another program has subtracted nothing is subtracted again, but what it added to them.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from math import hypot
from operator import itemgetter
from pathlib import PurePath

from calibration.frames import FrameKind, GroupKey
from calibration.matching import SERVES, Candidate, Question, differences, equal_part, match, question_of, ranked
from services.catalogue.rows import MasterRow
from services.planning.master_groups import MasterGroup
from services.planning.predicted_darks import DarkModels, PredictedDark

NEGLIGIBLE = 0.0005
"""A bias serves as a flat's dark when the predicted dark signal is below this fraction of the flat's level."""

DOUBLING_C = 6.0
"""Degrees over which the dark signal of a silicon sensor doubles, about."""

_Place = tuple[GroupKey, bool]
"""Key of masters, and whether nightcal took their frames."""

_Shelf = dict[_Place, list[tuple[float, Candidate]]]
"""The masters of each place with the time at which they were taken (POSIX; 0 where none is known), the oldest first."""

_REASONS = 4
"""So many refused masters are named in a message, the nearest first; a library may hold hundreds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatDark:
    """What is subtracted from the flats of one exposure.

    Attributes
    ----------
    how : str
        `matched`: a dark of their exposure. `bias`. `model`: a bias, and the dark signal that a model predicts. `none`:
        another program has subtracted theirs.
    master : MasterRow or None
        None where only `pedestal_adu` is subtracted.
    predicted : PredictedDark or None
        What is subtracted beside the bias, of `model`.
    pedestal_adu : float
        What another program added to the flats after it had subtracted their dark.
    error : float or None
        Predicted error of a flat's pixel by what is subtracted, relative to its light: the noise of the master, and
        what its temperature or a bias in place of a dark makes wrong. None where nothing is known of it.
    """

    how: str
    master: MasterRow | None = None
    pedestal_adu: float = 0.0
    error: float | None = None
    predicted: PredictedDark | None = None

    @property
    def path(self) -> str:
        """Path of the master; empty where there is none."""
        return "" if self.master is None else self.master.path

    @property
    def name(self) -> str:
        """What sets it apart from other darks: the path of its master, or of a model and for what it is asked."""
        return self.path if self.predicted is None else self.predicted.name

    @property
    def level_adu(self) -> float:
        """Level of what is subtracted."""
        level_adu = self.pedestal_adu if self.master is None else level_of(self.master)
        return level_adu + (0.0 if self.predicted is None else self.predicted.signal_adu)

    @property
    def identity(self) -> str:
        """What a flat's recipe holds of it."""
        of_model = "" if self.predicted is None else f" {self.predicted.identity}"
        return f"{self.how} {self.pedestal_adu if self.master is None else self.master.recipe}{of_model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoDark:
    """No master can serve as the dark; why is worked out only when somebody asks."""

    why: Callable[[], str]

    @property
    def reason(self) -> str:
        """Why, in words."""
        return self.why()


class FlatDarks:
    """The master biases and darks that flats may use.

    Parameters
    ----------
    masters : iterable of MasterRow
        Of any kind and status; those that may not serve are left out.
    how : str
        `matched`: the dark of the flat's exposure, else a bias if the dark signal is negligible. `bias`: a bias always.
        `model`: as `matched`, and where neither can serve a bias with the dark signal that a model predicts.
    models : DarkModels, optional
        The models that may predict.
    """

    def __init__(self, masters: Iterable[MasterRow], how: str, models: DarkModels | None = None) -> None:
        self._how = how
        self._models = models if how == "model" else None
        self._masters: dict[str, MasterRow] = {}
        self._shelves: defaultdict[tuple[object, ...], _Shelf] = defaultdict(dict)
        self._fitting: dict[tuple[object, ...], list[_Place]] = {}
        self._epochs: defaultdict[tuple[object, ...], set[float]] = defaultdict(set)
        for row in masters:
            if row.kind is not FrameKind.FLAT and row.may_serve:
                candidate = _candidate(row)
                self._masters[row.path] = row
                shelf = self._shelves[equal_part(row.key, FrameKind.DARK)]
                taken = 0.0 if candidate.at is None else candidate.at.timestamp()
                since = (said.since.timestamp() for said in row.invalid if said.since is not None)
                self._epochs[(row.kind, *equal_part(row.key, FrameKind.DARK))].update(since)
                shelf.setdefault((candidate.key, candidate.own), []).append((taken, candidate))
        for shelf in self._shelves.values():
            for candidates in shelf.values():
                candidates.sort(key=itemgetter(0))

    def of(self, flats: MasterGroup, exposure_us: int | None, level_adu: float) -> FlatDark | NoDark:
        """Return the dark for the flats of one exposure.

        Parameters
        ----------
        flats : MasterGroup
            Their group.
        exposure_us : int or None
            Their exposure; None, where no card states it, fits only a dark of which none is stated either.
        level_adu : float
            Their level, pedestal included.
        """
        done = flats.key.calibrated or ""
        lifted_adu = flats.key.pedestal_adu or 0.0
        if "D" in done:
            return FlatDark(how="none", pedestal_adu=lifted_adu)
        temperature_c = flats.temperature_at(exposure_us)
        asked = question_of(flats.key, FrameKind.DARK, exposure_us=exposure_us, temperature_c=temperature_c)
        dark = None if self._how == "bias" else self._best(FrameKind.DARK, asked, flats)
        raw = replace(flats, key=replace(flats.key, calibrated=None, pedestal_adu=None)) if done else flats
        wanted = question_of(raw.key, FrameKind.BIAS, temperature_c=temperature_c)
        bias = self._best(FrameKind.BIAS, wanted, raw)
        if dark is not None:
            wrong_adu = 0.0 if bias is None or done else _signal_adu(dark, bias) * _change(dark, temperature_c)
            return FlatDark(how="matched", master=dark, error=_error(dark, level_adu, wrong_adu))
        signal_adu = None if bias is None else self._predicted_adu(raw, exposure_us, temperature_c, bias)
        light_adu = level_adu - (lifted_adu if done or bias is None else level_of(bias))
        allowed_adu = NEGLIGIBLE * max(light_adu, 0.0)
        is_small = signal_adu is not None and signal_adu < allowed_adu
        if done and signal_adu is not None and is_small:
            return FlatDark(how="none", pedestal_adu=lifted_adu, error=signal_adu / light_adu)
        if bias is not None and not done and (is_small or self._how == "bias"):
            return FlatDark(how="bias", master=bias, error=_error(bias, level_adu, signal_adu))
        nothing = self._nothing(flats, exposure_us, wanted if self._how == "bias" else asked, signal_adu, allowed_adu)
        return nothing if done or self._models is None else self._modelled(raw, exposure_us, bias, light_adu, nothing)

    def _modelled(
        self, flats: MasterGroup, exposure_us: int | None, bias: MasterRow | None, light_adu: float, nothing: NoDark
    ) -> FlatDark | NoDark:
        """Return what a model predicts, where it may be used; else why no dark serves, and why no model does either."""
        assert self._models is not None  # noqa: S101 - the caller has asked
        found = self._models.predicted(flats.key, exposure_us, flats.temperature_at(exposure_us), flats.started)
        if bias is None:
            found = "the model predicts what a bias lacks, and there is no master bias that fits these flats"
        if not isinstance(found, str):
            error = hypot(float(bias.statistics.get("master_noise_adu") or 0.0), found.sigma_adu) if bias else 0.0
            net_adu = light_adu - found.signal_adu
            if net_adu > 0 and error <= self._models.max_error * net_adu:
                return FlatDark(how="model", master=bias, predicted=found, error=error / net_adu)
            allowed_adu = self._models.max_error * max(net_adu, 0.0)
            found = f"{found.name}: its error is {error:.2f} ADU, allowed {allowed_adu:.2f} ADU (models.max_error)"
        why_not = f"; no model serves: {found}"
        return NoDark(why=lambda: nothing.reason + why_not)

    def _nothing(
        self, flats: MasterGroup, exposure_us: int | None, asked: Question, signal_adu: float | None, allowed_adu: float
    ) -> NoDark:
        kind = FrameKind.BIAS if self._how == "bias" else FrameKind.DARK
        signal = (
            ""
            if signal_adu is None
            else f"; a bias cannot serve: predicted dark signal {signal_adu:.2f} ADU, allowed {allowed_adu:.2f} ADU"
        )
        return NoDark(why=lambda: self._reason(kind, asked, flats, exposure_us) + signal)

    def _best(self, kind: FrameKind, asked: Question, flats: MasterGroup) -> MasterRow | None:
        """Return what `match` chooses among all masters; of equal ones it is shown the nearest in time alone."""
        at = flats.started
        settings = equal_part(flats.key, kind)
        near: list[Candidate] = []
        for each in self._places(kind, asked, flats):
            epochs = self._epochs.get((each[0][1].key.kind, *settings), ())  # darks may be invalid while biases are not
            near += _nearest(_alive(each, at, epochs), at)
        best = next(iter(ranked(kind, asked, near, at=at)), None)
        return None if best is None else self._masters[best[1].name]

    def _places(self, kind: FrameKind, asked: Question, flats: MasterGroup) -> Iterator[list[tuple[float, Candidate]]]:
        """Yield the masters of each key that fits, the oldest first."""
        settings = equal_part(flats.key, kind)
        shelf: _Shelf = self._shelves.get(settings, {})
        question = (kind, flats.own, *asked.items())
        if question not in self._fitting:
            self._fitting[question] = [
                (key, own)
                for key, own in shelf
                if key.kind in SERVES[kind] and not differences(kind, asked, key, exact=flats.own and own)
            ]
        yield from (shelf[place] for place in self._fitting[question])

    def _predicted_adu(
        self, flats: MasterGroup, exposure_us: int | None, temperature_c: float | None, bias: MasterRow
    ) -> float | None:
        """Return the dark signal at an exposure from the longest dark that fits in all but its exposure."""
        asked = question_of(flats.key, FrameKind.DARK, temperature_c=temperature_c)
        del asked["exposure_us"]
        newest = (each[-1] for each in self._places(FrameKind.DARK, asked, flats))
        darks = (each for each in newest if each[1].key.kind is FrameKind.DARK)
        _, longest = max(darks, key=lambda each: (each[1].key.exposure_us or 0, each[0]), default=(0.0, None))
        rise_us = 0 if longest is None else (longest.key.exposure_us or 0) - (bias.key.exposure_us or 0)
        if longest is None or rise_us <= 0 or exposure_us is None:
            return None
        rise_adu = level_of(self._masters[longest.name]) - level_of(bias)
        return max(rise_adu / rise_us, 0.0) * exposure_us

    def _reason(self, kind: FrameKind, asked: Question, flats: MasterGroup, exposure_us: int | None) -> str:
        """Return why none of the masters serves; only the nearest few are named."""
        everything = (c for shelf in self._shelves.values() for each in shelf.values() for _, c in each)
        looked_at = (c for c in everything if c.key.kind in SERVES[kind])
        refused = match(kind, asked, looked_at, own=flats.own, at=flats.started).refused
        reasons = [f"{refusal.candidate.name}: {refusal.reason}" for refusal in refused]
        more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
        words = "; ".join(reasons[:_REASONS]) + more if reasons else "there is no master dark or bias"
        exposure = "unknown (EXPTIME)" if exposure_us is None else f"{exposure_us / 1e6:g} s"
        return f"exposure {exposure}: {words}"


def _alive(
    candidates: list[tuple[float, Candidate]], at: datetime | None, epochs: Collection[float]
) -> list[tuple[float, Candidate]]:
    """Return those that no invalidation separates from a time."""
    if at is None or not epochs:
        return candidates
    return [
        each for each in candidates if not any((each[0] < since) is not (at.timestamp() < since) for since in epochs)
    ]


def _nearest(candidates: list[tuple[float, Candidate]], at: datetime | None) -> list[Candidate]:
    """Return those of the same key that were taken just before and after a time, several if at the same moment."""
    if at is None or len(candidates) < 2:
        return [candidate for _, candidate in candidates]
    place = bisect_left(candidates, (at.timestamp(),))
    moments = [taken for taken, _ in candidates[max(0, place - 1) : place + 1]]
    start = bisect_left(candidates, (moments[0],))
    stop = bisect_right(candidates, moments[-1], key=itemgetter(0))
    return [candidate for _, candidate in candidates[start:stop]]


def served(dark: FlatDark) -> str:
    """Return in words what is subtracted from flats."""
    if dark.master is None:
        subtracted = f"{dark.pedestal_adu:g} ADU" if dark.pedestal_adu else "nothing"
        return f"{subtracted} (another program has calibrated the frames)"
    if dark.predicted is not None:
        return f"{PurePath(dark.path).name} and {dark.predicted.words}"
    return f"{PurePath(dark.name).name} ({'its own exposure' if dark.how == 'matched' else dark.how})"


def level_of(master: MasterRow) -> float:
    """Return the level of a master (median, ADU)."""
    return float(master.statistics.get("level_adu", 0.0))


def _error(master: MasterRow, level_adu: float, wrong_adu: float | None) -> float | None:
    """Return the error of what is subtracted from flats of a level, relative to their light.

    `wrong_adu` is the part that no number of darks lowers; None: unknown.
    """
    light_adu = level_adu - level_of(master)
    if wrong_adu is None or light_adu <= 0:
        return None
    return hypot(float(master.statistics.get("master_noise_adu") or 0.0), wrong_adu) / light_adu


def _signal_adu(dark: MasterRow, bias: MasterRow) -> float:
    return max(level_of(dark) - level_of(bias), 0.0)


def _change(dark: MasterRow, temperature_c: float | None) -> float:
    """Return by which part a dark's signal is wrong at another temperature than its own."""
    if dark.ccd_temp_c is None or temperature_c is None:
        return 0.0
    return float(abs(2.0 ** ((temperature_c - dark.ccd_temp_c) / DOUBLING_C) - 1.0))


def _candidate(row: MasterRow) -> Candidate:
    """Return a master as a candidate; the temperature of frames without a set-point is their mean, not the coldest."""
    own = bool(row.statistics.get("own", True))
    known = row.statistics.get("cooled") is False and row.key.temperature_c is not None and row.ccd_temp_c is not None
    key = replace(row.key, temperature_c=round(row.ccd_temp_c or 0.0, 1)) if known else row.key
    return Candidate(name=row.path, key=key, n=row.n, at=row.valid_from or row.built_at, own=own)
