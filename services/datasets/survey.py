"""What a dataset has: its frames by section, temperature and exposure, and in words what of it is missing or bad."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from calibration.frames import FrameHeader, FrameKind
from calibration.grouping import camera_of, cooled_to, same_exposure, temperature_clusters
from calibration.keywords.values import number
from services.datasets.frame import DatasetFrame
from services.datasets.names import natural
from services.datasets.reading import MOST_ZEROS
from services.datasets.words import KINDS, OPERATION, exposure, pixels, temperature
from services.words import moment

_ORDER = tuple(KINDS.values())
_STAGES = ("", "pre", "radiating", "post")
_TIMES = ("CAPTIME", "DATE-OBS")
_CLOCKS = ("TIMESTAMP", "IMESTAMP")
_Form = tuple[tuple[int, int], int | None]
"""Rows and columns of an image, and the bits of a count where they are stated."""
LEAST = 3
"""Frames that a group has at least, where it is to be of use."""
_FIRST_DATE_S = 1e8
"""Seconds that are more than this are a date (from 1973 on), fewer those of a clock that began with the camera."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A frame of the survey.

    Attributes
    ----------
    frame : DatasetFrame
    number : int
        Its own, else its place within its attempt, from 1.
    at_s : float or None
        When it was taken: seconds since 1970, UTC.
    clock_s : float or None
        What the camera's own clock showed, in seconds, where no date is known.
    level_adu : float or None
    zero_fraction : float or None
        Share of its pixels that are 0.
    problem : str
        In words why its pixels cannot be read; empty: they can, or nobody has tried.
    """

    frame: DatasetFrame
    number: int
    at_s: float | None = None
    clock_s: float | None = None
    level_adu: float | None = None
    zero_fraction: float | None = None
    problem: str = ""

    @property
    def counts(self) -> bool:
        """Whether nothing keeps it from being used."""
        return not (self.frame.bad or self.problem or self.has_zeros)

    @property
    def has_zeros(self) -> bool:
        """Whether too many of its pixels are 0; one that a list calls good all the same is believed."""
        is_judged = self.frame.zero_fraction is not None and not self.frame.bad
        return not is_judged and self.zero_fraction is not None and self.zero_fraction > MOST_ZEROS


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What frames of one section have in common: kind, stage and vacuum, and settings of which there are several."""

    kind: str
    stage: str = ""
    vacuum: str = ""
    settings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its name: "Dark", "Flat · Ha · gain 26"."""
        return " · ".join(filter(None, (self.kind, self.stage, self.vacuum, *self.settings)))

    @property
    def order(self) -> tuple[object, ...]:
        """What parts are sorted by."""
        stage = _STAGES.index(self.stage) if self.stage in _STAGES else len(_STAGES)
        return _ORDER.index(self.kind), stage, self.vacuum, tuple(map(natural, self.settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Frames of one part, temperature, exposure and form of the image, in the order of their attempts and numbers.

    Attributes
    ----------
    part : Part
    temperature_c : float or None
        Middle of the temperatures of its cluster.
    exposure_us : int or None
    shape : tuple of int
        Rows and columns.
    bits : int or None
        Of a count, where the header says it.
    frames : tuple of Seen
    form : str
        Size and bits of its images in words; empty: all of its part have the same.
    levels_from : str
        In words where the levels of its frames come from; empty: none is known.
    """

    part: Part
    temperature_c: float | None
    exposure_us: int | None
    shape: tuple[int, int]
    bits: int | None
    frames: tuple[Seen, ...]
    form: str = ""
    levels_from: str = ""

    @property
    def title(self) -> str:
        """Its name: "Dark, 5 s, −10.0 °C"."""
        known = (
            self.part.title,
            "" if self.exposure_us is None else exposure(self.exposure_us),
            "no temperature" if self.temperature_c is None else temperature(self.temperature_c),
            self.form,
        )
        return ", ".join(filter(None, known))

    @property
    def attempts(self) -> dict[str, list[Seen]]:
        """Its frames by attempt."""
        found: defaultdict[str, list[Seen]] = defaultdict(list)
        for each in self.frames:
            found[each.frame.attempt].append(each)
        return dict(found)

    @property
    def good(self) -> int:
        """Frames that count."""
        return sum(each.counts for each in self.frames)

    @property
    def is_small(self) -> bool:
        """Whether it is to be combined and has too few frames for that; those of operation each count by themselves."""
        return self.good < LEAST and self.part.kind != OPERATION

    @property
    def temperatures_c(self) -> list[float]:
        """Temperatures of its frames, as far as they are known."""
        return [c for each in self.frames if (c := celsius(each.frame.header)) is not None]


@dataclass(frozen=True)
class Survey:
    """The groups of a dataset in their order."""

    groups: tuple[Group, ...]

    @cached_property
    def frames(self) -> tuple[Seen, ...]:
        """All frames."""
        return tuple(each for group in self.groups for each in group.frames)

    @cached_property
    def parts(self) -> dict[Part, list[Group]]:
        """The groups of each part."""
        found: dict[Part, list[Group]] = {}
        for group in self.groups:
            found.setdefault(group.part, []).append(group)
        return found

    @cached_property
    def attempts(self) -> set[tuple[str, str]]:
        """The attempts, each with the kind of its frames."""
        return {(group.part.kind, each.frame.attempt) for group in self.groups for each in group.frames}


def celsius(header: FrameHeader) -> float | None:
    """Return the temperature of a frame: the sensor's, else the one it was to have."""
    return header.set_temp_c if header.ccd_temp_c is None else header.ccd_temp_c


class _Key(NamedTuple):
    """What frames of a group have in common."""

    part: Part
    temperature_c: float | None
    exposure_us: int | None
    shape: tuple[int, int]
    bits: int | None


def survey_of(frames: Sequence[DatasetFrame]) -> Survey:
    """Sort the frames of a dataset into groups.

    Temperatures of one camera within a degree are one temperature, and exposures within a thousandth one exposure.
    """
    parts = _parts(frames)
    facts = zip(_seen(frames), parts, _temperatures(frames), _exposures(frames, parts), strict=True)
    together: defaultdict[_Key, list[Seen]] = defaultdict(list)
    for seen, part, label, exposure_us in facts:
        header = seen.frame.header
        together[_Key(part, label, exposure_us, header.shape, _bits(header))].append(seen)
    forms: defaultdict[Part, Counter[_Form]] = defaultdict(Counter)
    for key, members in together.items():
        forms[key.part][key.shape, key.bits] += len(members)
    usual = {part: max(counted, key=lambda form: counted[form]) for part, counted in forms.items()}
    groups = [_group(key, members, usual[key.part]) for key, members in together.items()]
    return Survey(tuple(sorted(groups, key=_order)))


def _group(key: _Key, members: list[Seen], usual: _Form) -> Group:
    ordered = sorted(members, key=lambda each: (natural(each.frame.attempt), each.number))
    form = [pixels(key.shape)] if key.shape != usual[0] else []
    form += [f"{key.bits} bits" if key.bits else "bits not stated"] if key.bits != usual[1] else []
    return Group(**key._asdict(), frames=tuple(ordered), form=", ".join(form))


def _order(group: Group) -> tuple[object, ...]:
    warm, length = group.temperature_c, group.exposure_us
    return group.part.order, warm is None, warm or 0.0, length is None, length or 0, group.shape, group.bits or 0


def _seen(frames: Iterable[DatasetFrame]) -> Iterable[Seen]:
    places: defaultdict[tuple[str, FrameKind], int] = defaultdict(int)
    for frame in frames:
        header, extra = frame.header, frame.header.extra
        where = frame.attempt, header.kind
        places[where] += 1
        stated = number(extra.get("FRAMENUM")) if header.frame_no is None else header.frame_no
        at_s, clock_s = taken_at(header)
        yield Seen(
            frame=frame,
            number=places[where] if stated is None else int(stated),
            at_s=at_s,
            clock_s=clock_s,
            zero_fraction=frame.zero_fraction,
        )


def taken_at(header: FrameHeader) -> tuple[float | None, float | None]:
    """Return when a frame was taken, in seconds since 1970; else what the camera's clock showed."""
    if header.date_obs is not None:
        return _posix(header.date_obs), None
    for keyword in _TIMES:
        written = header.extra.get(keyword)
        if isinstance(written, str) and (at := moment(written)) is not None:
            return at.timestamp(), None
    for keyword in _CLOCKS:
        seconds = number(header.extra.get(keyword))
        if seconds is not None:
            return (seconds, None) if _FIRST_DATE_S < seconds < 1e11 else (None, seconds)
    return None, None


def _posix(at: datetime) -> float | None:
    known = moment(at.isoformat())
    return None if known is None else known.timestamp()


def _bits(header: FrameHeader) -> int | None:
    bits = number(header.extra.get("RAWBITS"))
    return None if bits is None else int(bits)


def _parts(frames: Sequence[DatasetFrame]) -> list[Part]:
    """Return the part of each frame: its camera where there are several, and settings of which its frames have several.

    Settings are compared among the frames of one kind and camera, so that no camera is named by what another one has.
    """
    facts = [_settings(frame.header) for frame in frames]
    owners = [(frame.header.kind, camera_of(frame.header)) for frame in frames]
    cameras: defaultdict[FrameKind, set[str]] = defaultdict(set)
    values: defaultdict[tuple[FrameKind, str, str], set[str]] = defaultdict(set)
    for (kind, camera), settings in zip(owners, facts, strict=True):
        cameras[kind].add(camera)
        for name, value in settings.items():
            values[kind, camera, name].add(value)
    return [
        Part(
            kind=KINDS[kind],
            stage=frame.stage,
            vacuum=frame.vacuum,
            settings=(
                *([camera.replace("|", ", ") or "no camera named"] if len(cameras[kind]) > 1 else []),
                *(value for name, value in settings.items() if len(values[kind, camera, name]) > 1),
            ),
        )
        for frame, (kind, camera), settings in zip(frames, owners, facts, strict=True)
    ]


def _settings(header: FrameHeader) -> dict[str, str]:
    """Return what keeps frames of a camera apart beside temperature, exposure and size; without light no filter."""
    lit = {"filter": header.filter or "no filter"} if header.kind in {FrameKind.FLAT, FrameKind.LIGHT} else {}
    return {
        **lit,
        "gain": "no gain stated" if header.gain is None else f"gain {header.gain}",
        "offset": "no offset stated" if header.offset is None else f"offset {header.offset}",
        "readout": header.readout_mode or "no readout mode stated",
        "binning": f"binning {header.bin_x} × {header.bin_y}",
        "calibrated": f"calibrated ({header.calibrated})" if header.calibrated else "raw",
    }


def _temperatures(frames: Sequence[DatasetFrame]) -> list[float | None]:
    """Return the temperature of each frame's cluster: the set-point that was held, else the middle of those read."""
    labels: list[float | None] = [cooled_to(frame.header) for frame in frames]
    read: defaultdict[str, list[int]] = defaultdict(list)
    for place, frame in enumerate(frames):
        if labels[place] is None and celsius(frame.header) is not None:
            read[camera_of(frame.header)].append(place)
    for places in read.values():
        known = [celsius(frames[place].header) or 0.0 for place in places]
        clusters = temperature_clusters(known)
        members: defaultdict[float, list[float]] = defaultdict(list)
        for cluster, value in zip(clusters, known, strict=True):
            members[cluster].append(value)
        middle = {cluster: round(_middle(values), 1) + 0.0 for cluster, values in members.items()}
        for place, cluster in zip(places, clusters, strict=True):
            labels[place] = middle[cluster]
    return labels


def _middle(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _exposures(frames: Sequence[DatasetFrame], parts: Sequence[Part]) -> list[int | None]:
    """Return the exposure of each frame: the shortest of those of its part that are equal to it."""
    stated: defaultdict[Part, set[int]] = defaultdict(set)
    for frame, part in zip(frames, parts, strict=True):
        if frame.header.exposure_us is not None:
            stated[part].add(frame.header.exposure_us)
    labels: dict[tuple[Part, int | None], int] = {}
    for part, exposures in stated.items():
        first: int | None = None
        for each in sorted(exposures):
            first = each if first is None or not same_exposure(first, each, exact=False) else first
            labels[part, each] = first
    return [labels.get((part, frame.header.exposure_us)) for frame, part in zip(frames, parts, strict=True)]
