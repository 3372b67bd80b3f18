"""What exists already: which catalogued set serves a wanted one, which is continued, and when a new one is opened.

A set is the unit of having (docs/contracts.md, "Wanted sets"). It serves until its *oldest* frame passes the reuse age
of its kind; an incomplete one is continued while its oldest frame is younger than `resume_within`; else a whole new set
is taken.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache

from calibration.frames import FrameKind, GroupKey
from calibration.grouping import DEFAULT_TOLERANCES, goes_with
from calibration.matching import RULES, differences
from calibration.plans.sequence import WantedSet
from drivers.base import CameraSettings
from services.catalogue.rows import Origin, SetRow
from services.config.models import AGE_DAYS, Config, Reuse
from services.config.values import number_of

SPAN_C = 0.8 * DEFAULT_TOLERANCES.cluster_c
"""How far frames of a set may lie apart where nothing holds the temperature: a frame may still drift by the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a catalogued set must have to serve; None stands for anything (before a camera was asked).

    Unlike in `GroupKey`, None is a wildcard here: a setting that the configuration does not name is left as found, and
    is known only once the camera has been read.
    """

    kind: FrameKind
    camera: str | None = None
    shape: tuple[int, int] | None = None
    binning: tuple[int, int] | None = None
    origin: tuple[int, int] | None = None
    gain: int | None = None
    offset: int | None = None
    readout_mode: str | None = None
    exposure_us: int | None = None
    filter: str | None = None
    source: str | None = None
    temperature_c: float | None = None
    """Set-point wanted; None for flats that serve at any temperature, and without cooling."""
    ccd_temp_c: float | None = None
    """Measured temperature wanted, within the width of a cluster: for darks without a set-point."""
    span_c: float | None = None
    """How far the temperatures of a set may lie apart, `ccd_temp_c` included, for the set to be continued."""
    marked: bool = True
    """Whether frames serve that were taken warmer than their set-point, and marked so."""

    def fits(self, key: GroupKey) -> bool:
        """Return whether a set with this key is what is wanted, as far as keys show it (flats: without temperature)."""
        asked = {name: value for name in RULES[self.kind] if (value := getattr(self, name, None)) is not None}
        mode, found = asked.pop("readout_mode", key.readout_mode), key.readout_mode
        if mode != found and (mode or "").strip().casefold() != (found or "").casefold():  # names count in any case
            return False
        return self.kind is key.kind and not differences(self.kind, asked, key, exact=True, tolerances=_SAME_SET_POINT)

    def serves(self, row: SetRow) -> bool:
        """Return whether a catalogued set is what is wanted, at the temperature wanted."""
        return self.fits(row.key) and self._is_as_warm(row)

    def continues(self, row: SetRow) -> bool:
        """Return whether a set that serves stays one of frames of the same temperature with those to come."""
        if self.span_c is None or self.ccd_temp_c is None or row.warmest_c is None or row.coldest_c is None:
            return True
        return goes_with(self.ccd_temp_c, row.coldest_c, row.warmest_c, span_c=self.span_c)

    def _is_as_warm(self, row: SetRow) -> bool:
        if not self.marked and is_marked(row):
            return False
        if self.temperature_c is not None:
            return row.set_temp_c == self.temperature_c
        if self.ccd_temp_c is None or row.ccd_temp_c is None:
            return True
        return abs(row.ccd_temp_c - self.ccd_temp_c) <= DEFAULT_TOLERANCES.cluster_c


def is_marked(row: SetRow) -> bool:
    """Return whether frames of a set were taken warmer than their set-point, so far that no dark of it fits them."""
    if row.set_temp_c is None or row.warmest_c is None:
        return False
    return row.warmest_c - row.set_temp_c > DEFAULT_TOLERANCES.cluster_c


_SAME_SET_POINT = replace(DEFAULT_TOLERANCES, cluster_c=0.05)
"""Set-points are rounded to a tenth of a degree: a set is continued, or stands for a wanted one, at its very own."""


def requirement_of(
    config: Config, wanted: WantedSet, *, camera: str | None = None, found: CameraSettings | None = None
) -> Requirement:
    """Return what a catalogued set must have; what nobody says (set, configuration, camera) matches anything.

    Parameters
    ----------
    config : Config
    wanted : WantedSet
    camera : str, optional
        Its name in group keys, once it is known.
    found : CameraSettings, optional
        The settings of the connected camera, which hold where the configuration names none.
    """
    section = config.camera.active
    gain, offset = wanted.gain, number_of(section.offset) if wanted.offset is None else wanted.offset
    mode = section.readout_mode if wanted.readout_mode is None else wanted.readout_mode
    if found is not None:
        gain, offset = found.gain if gain is None else gain, found.offset if offset is None else offset
    return Requirement(
        kind=wanted.kind,
        camera=camera,
        binning=section.bin_xy if wanted.binning is None else (wanted.binning, wanted.binning),
        gain=gain,
        offset=offset,
        readout_mode=mode if isinstance(mode, str) else None,
        exposure_us=wanted.exposure_us,
        temperature_c=wanted.set_temp_c if is_held(config, wanted) else None,
        filter=wanted.filter,
        source=config.flat_capture.source if wanted.kind is FrameKind.FLAT else None,
        marked=wanted.kind is not FrameKind.FLAT or wanted.set_temp_c is None,
    )


def is_held(config: Config, wanted: WantedSet) -> bool:
    """Return whether a set serves at its own set-point alone: darks always, flats where they are wanted at several."""
    return wanted.kind is not FrameKind.FLAT or len(config.flat_capture.temperatures) > 1


_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)


class Standing(StrEnum):
    """Whether a wanted set exists already."""

    COMPLETE = "complete"
    RESUMED = "resumed"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Having:
    """What exists of one wanted set; `row` is None where a new one must be opened."""

    standing: Standing
    row: SetRow | None = None
    why: str = ""
    """In words, why an existing set does not serve though its settings are those wanted."""

    @property
    def count(self) -> int:
        """Frames that count."""
        return 0 if self.row is None else self.row.count


NOTHING = Having(standing=Standing.NEW)


def having(required: Requirement, count: int, sets: Iterable[SetRow], *, now: datetime, reuse: Reuse) -> Having:
    """Return what exists of a wanted set of `count` frames.

    Parameters
    ----------
    required : Requirement
    count : int
        Frames wanted.
    sets : iterable of SetRow
        What the catalogue holds; only our own sets are looked at.
    now : datetime
    reuse : Reuse
        Ages, in hours.

    Returns
    -------
    Having
        The youngest complete set, else the fullest incomplete one, else one of which frames were rejected but at least
        half are left (the noise of its master is at most 1.4 times what was wanted), else nothing, with the reason.
    """
    fits = cache(required.fits)  # of thousands of sets few keys differ
    alike = [s for s in sets if s.origin is Origin.OWN and s.oldest is not None and fits(s.key)]
    ours = [s for s in alike if required.serves(s)]
    complete = [s for s in ours if s.count >= count and now - _at(s.oldest) <= age_of(required.kind, reuse)]
    if complete:
        return Having(standing=Standing.COMPLETE, row=max(complete, key=lambda s: _at(s.oldest)))
    limit = timedelta(hours=reuse.resume_within_hours)
    begun = [s for s in ours if s.count < count and now - _at(s.oldest) <= limit and required.continues(s)]
    if begun:
        return Having(standing=Standing.RESUMED, row=max(begun, key=lambda s: (s.count, _at(s.oldest))))
    age = age_of(required.kind, reuse)
    reduced = [s for s in ours if s.count + s.rejected >= count <= 2 * s.count and now - _at(s.oldest) <= age]
    if reduced:
        return Having(standing=Standing.COMPLETE, row=max(reduced, key=lambda s: (s.count, _at(s.oldest))))
    young = [s for s in alike if now - _at(s.oldest) <= age_of(required.kind, reuse)]
    return Having(standing=Standing.NEW, why=_other_temperature(required, young))


def _other_temperature(required: Requirement, sets: Iterable[SetRow]) -> str:
    """Return the sentence that the youngest set would serve if the sensor were as warm; otherwise ""."""
    youngest = max(sets, key=lambda s: _at(s.oldest), default=None)
    if youngest is not None and not required.marked and is_marked(youngest):
        warmest, wanted = f"{youngest.warmest_c:.1f} °C", f"{youngest.set_temp_c:g} °C"
        return f"taken anew: those there are of up to {warmest}, and {wanted} is wanted"
    if (
        youngest is None
        or required.temperature_c is not None
        or required.ccd_temp_c is None
        or required.serves(youngest)
    ):
        return ""
    return f"taken anew: those there are of {youngest.ccd_temp_c:.1f} °C, the sensor is at {required.ccd_temp_c:.1f} °C"


def age_of(kind: FrameKind, reuse: Reuse) -> timedelta:
    """Return how old the oldest frame of a set may be for the set to serve."""
    flat_hours = 24 * AGE_DAYS["flat"] if reuse.flat_hours is None else reuse.flat_hours
    hours = {FrameKind.BIAS: reuse.bias_hours, FrameKind.DARK: reuse.dark_hours}.get(kind, flat_hours)
    return timedelta(hours=hours)


def too_old_before(now: datetime, reuse: Reuse) -> datetime:
    """Return the moment before which no set was begun that serves or is continued, of whatever kind."""
    longest = max(*(age_of(kind, reuse) for kind in FrameKind), timedelta(hours=reuse.resume_within_hours))
    return now - min(longest, now - _FIRST_MOMENT)


def _at(at: datetime | None) -> datetime:
    assert at is not None  # noqa: S101 - sets without a time were left out above
    return at
