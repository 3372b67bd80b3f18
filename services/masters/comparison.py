"""A new master is compared with the certified one before it, while it is built, and gets its status by that."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.comparing.judging import verdicts
from calibration.comparing.planes import baseline, changed_pixels, sample_of_rows
from calibration.comparing.records import F32, Baseline, Changes, MasterFacts
from calibration.frames import FrameKind, GroupKey, Verdict
from calibration.matching import differences, question_of
from services.bands import Band, Source, held_open, plane_of, read_rows, source_of
from services.catalogue.rows import MasterRow, MasterStatus
from services.events.findings import Finding, findings_of
from services.events.records import members
from services.files.planes import PlanesFile
from services.files.units import Unreadable
from services.library.standing import is_reference
from services.root import Place

_ENOUGH_NIGHTS = 6
"""From so many earlier masters on, the wandering of their level is learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The certified master that a new one is compared with.

    Attributes
    ----------
    row : MasterRow
    mean, sigma : Source or None
        Its planes; None where they cannot be read: then its facts alone are compared.
    pedestal_adu, level_wander_adu : float or None
        Level of a bias with these settings; how much the level of earlier masters wandered from one to the next.
    """

    row: MasterRow
    mean: Source | None = None
    sigma: Source | None = None
    pedestal_adu: float | None = None
    level_wander_adu: float | None = None

    @contextmanager
    def held(self) -> Iterator["Before"]:
        """Give it with its files open, for reading it band by band."""
        if self.mean is None:
            yield self
            return
        with held_open(tuple(filter(None, (self.mean, self.sigma)))) as sources:
            yield replace(self, mean=sources[0], sigma=sources[1] if self.sigma is not None else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison under way: the second pass over the new master asks it for the pixels that have changed."""

    before: Before
    common: Baseline

    def changed(self, band: Band, mean: F32, sigma: F32) -> tuple[NDArray[np.intp], Changes]:
        """Return which pixels of a band have changed, as `changed_pixels`; both planes are normalised."""
        assert self.before.mean is not None  # noqa: S101 - there is no `Compared` without it
        old = read_rows(self.before.mean, band)
        old_sigma = None if self.before.sigma is None else read_rows(self.before.sigma, band)
        return changed_pixels(self.common, mean, sigma, old, old_sigma)


def certified_before(key: GroupKey, start: datetime | None, place: Place) -> Before | None:
    """Return the certified master that is valid when the first frame of a new one is taken, with the settings of that.

    A complete master that nothing speaks against, of an older version or where masters are certified by hand, stands
    for a certified one.
    """
    rows = place.catalogue.masters(kind=key.kind, filter=key.filter, with_inputs=False)
    fitting = [row for row in rows if row.may_serve and _fits(row.key, key)]
    valid = [row for row in fitting if is_reference(row) and (start is None or row.holds_at(start))]
    if not valid:
        return None
    row = max(valid, key=lambda each: (each.shelf == replace(key, night=None), each.valid_from or each.built_at))
    mean, sigma = _planes(row, place)
    return Before(
        row=row, mean=mean, sigma=sigma, pedestal_adu=_pedestal(key, place), level_wander_adu=_wander(fitting)
    )


def _fits(found: GroupKey, key: GroupKey) -> bool:
    return not differences(key.kind, question_of(key, key.kind), found)


def _planes(row: MasterRow, place: Place) -> tuple[Source | None, Source | None]:
    path = place.layout.absolute(row.path)
    try:
        mean = source_of(path, place.layout.cache)
    except (Unreadable, OSError):
        return None, None
    try:
        return mean, plane_of(place.layout.planes_path(path), "SIGMA")
    except (Unreadable, OSError):
        return mean, None


def _pedestal(key: GroupKey, place: Place) -> float | None:
    """Return the level of the newest bias with the settings of darks."""
    if key.kind is not FrameKind.DARK:
        return None
    asked = {**question_of(key, FrameKind.BIAS), "temperature_c": key.temperature_c}
    rows = place.catalogue.masters(kind=FrameKind.BIAS, with_inputs=False)
    fitting = (row for row in rows if row.may_serve and not differences(FrameKind.BIAS, asked, row.key))
    return next((float(level) for row in fitting if (level := row.statistics.get("level_adu")) is not None), None)


def _wander(rows: Iterable[MasterRow]) -> float | None:
    """Return the standard deviation of the level from one certified master to the next, where there are enough."""
    by_time = sorted((row for row in rows if is_reference(row)), key=lambda row: row.valid_from or row.built_at)
    levels = [level for row in by_time if isinstance(level := row.statistics.get("level_adu"), float)]
    if len(levels) < _ENOUGH_NIGHTS:
        return None
    return 1.4826 * float(np.median(np.abs(np.diff(levels))))


def common_to(before: Before, mean: PlanesFile, shape: tuple[int, int], divisor: float, facts: MasterFacts) -> Compared:
    """Return what is common to all pixels of a growing master and the one before it.

    Parameters
    ----------
    before : Before
        With its planes.
    mean : PlanesFile
        The growing one, before it is normalised.
    shape : tuple of int
    divisor : float
        What it will be normalised by.
    facts : MasterFacts
        Of the new one.
    """
    assert before.mean is not None  # noqa: S101 - the caller has asked
    lines, columns = sample_of_rows(*shape)
    new: F32 = np.concatenate([mean.read("MEAN", int(y), 1)[:, columns] for y in lines])
    new = new / np.float32(divisor)
    old = np.concatenate([read_rows(before.mean, Band(start=int(y), stop=int(y) + 1))[:, columns] for y in lines])
    return Compared(before=before, common=baseline(new, old, facts, facts_of_row(before)))


def facts_of_row(before: Before) -> MasterFacts:
    """Return what is known of the master before."""
    row = before.row
    return facts_of(row.statistics, row.key, n=row.n, exposure_us=row.exposure_us, ccd_temp_c=row.ccd_temp_c,
                    before=before)  # fmt: skip


def facts_of(
    found: Mapping[str, Any],
    key: GroupKey,
    *,
    n: int,
    exposure_us: int | None,
    ccd_temp_c: float | None,
    before: Before,
) -> MasterFacts:
    """Return what is compared of a master, from its statistics; exposure and brightness only of flats with a panel."""
    flat = key.kind is FrameKind.FLAT
    sigma, divisor = found.get("master_noise_adu"), found.get("normalised_by") or 1.0
    noise = found.get("pair_noise_adu")
    if flat and key.source == "sky" and "shot_level_adu" not in found:
        noise = None  # flats of one set differ in their light: their noise is not that of their mean
    return MasterFacts(
        kind=key.kind,
        frames=n,
        noise_adu=noise,
        sigma=None if sigma is None else sigma / divisor,
        level_adu=found.get("shot_level_adu", found.get("net_level_adu")) if flat else found.get("level_adu"),
        temperature_c=ccd_temp_c,
        pedestal_adu=before.pedestal_adu,
        gain_e_adu=found.get("gain_e_adu") or key.egain_e_adu,
        exposure_us=exposure_us if key.source == "panel" else None,
        brightness=found.get("panel_brightness"),
        level_wander_adu=before.level_wander_adu,
    )


def judged(
    before: Before | None, compared: Compared | None, changes: Changes, facts: MasterFacts | None
) -> tuple[Verdict, ...]:
    """Return how a master differs from the one before; nothing where there is none."""
    if before is None or facts is None:
        return ()
    return verdicts(None if compared is None else compared.common, changes, facts, facts_of_row(before))


def with_comparison(
    found: Mapping[str, Any], before: Before | None, compared: Compared | None, said: Iterable[Verdict]
) -> dict[str, Any]:
    """Return the statistics of a master with what the comparison found: reasons to doubt it, and what is only new."""
    more: dict[str, Any] = {"compared_with": None if before is None else before.row.path}
    if compared is not None and compared.common.kind is not FrameKind.FLAT:
        more |= {"level_shift_adu": compared.common.shift, "shape_change_adu": compared.common.shape}
    return with_findings({**found, **more}, said)


def with_findings(found: Mapping[str, Any], said: Iterable[Verdict]) -> dict[str, Any]:
    """Return the statistics of a master with reasons to doubt it, and what is only new."""
    said, more = tuple(said), dict[str, Any]()
    doubts, notes = ([_finding(v) for v in said if v.refuses is refuses] for refuses in (True, False))
    if doubts:
        more |= {"verdict": "suspect", "verdicts": [*(found.get("verdicts") or ()), *doubts]}
    if notes:
        more["notes"] = [*(found.get("notes") or ()), *notes]
    return {**found, **more}


def _finding(verdict: Verdict) -> dict[str, Any]:
    return members(Finding(code=verdict.code, measured=verdict.measured, limit=verdict.limit, detail=verdict.detail))


def status_of(
    built: MasterStatus, found: Mapping[str, Any], before: Before | None, said: Iterable[Verdict], *, by_hand: bool
) -> MasterStatus:
    """Return the status of a new master for itself.

    Parameters
    ----------
    built : MasterStatus
        `built`, or `partial` where frames are lacking.
    found : mapping
        Its statistics, with what is suspect about it by itself.
    before : Before, optional
        The one that it was compared with.
    said : iterable of Verdict
        How it differs from that, and from what a model predicts.
    by_hand : bool
        Nobody but the observer certifies.
    """
    if any(verdict.refuses for verdict in said):
        return MasterStatus.SUSPECT
    if before is not None:
        known = {finding.code for finding in findings_of(before.row.statistics)}
        own = {finding.code for finding in findings_of(found)}
        if own - known:
            return MasterStatus.SUSPECT
    is_good = before is not None or found.get("verdict") == "ok"
    return built if built is MasterStatus.PARTIAL or by_hand or not is_good else MasterStatus.CERTIFIED
