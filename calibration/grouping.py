"""Which frames belong together: group keys, temperature clusters, exposures, nights.

See docs/contracts.md, "Records" and "Wanted sets".

Results never depend on the order of the frames. Missing is not 0 and matches only missing.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from calibration.frames import FrameHeader, FrameKind, GroupKey

T = TypeVar("T")

SIMULATED = "|simulated"
"""End of the camera's name in the keys of simulated frames, so that they never mix with real ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """How far frames of one group may lie apart.

    Attributes
    ----------
    set_point_c : float
        A frame counts as cooled to its set-point within this.
    cluster_c : float
        Greatest width of a cluster of measured temperatures.
    exposure_us, exposure_relative : float
        Exposures of foreign files are equal within the greater of the two; our own are equal or not.
    angle_deg : float
        Rotator angles are equal within this, around the circle.
    """

    set_point_c: float = 0.5
    cluster_c: float = 1.0
    exposure_us: float = 1.0
    exposure_relative: float = 1e-3
    angle_deg: float = 1.0


DEFAULT_TOLERANCES = Tolerances()


def camera_of(header: FrameHeader) -> str:
    """Return the camera in a key: unique id, else name, else nothing; simulated cameras are others."""
    name = header.camera_id or header.instrument or ""
    return name + SIMULATED if header.simulated else name


def is_own(header: FrameHeader) -> bool:
    """Whether nightcal took the frame: its exposures are exact."""
    return header.set_id is not None


def group_key(
    header: FrameHeader, *, temperature_c: float | None = None, exposure_us: int | None = None, night: str | None = None
) -> GroupKey:
    """Return the key of a frame.

    Parameters
    ----------
    header : FrameHeader
        The frame's header.
    temperature_c : float, optional
        Label of its temperature cluster; by default what the frame alone says (`own_temperature`).
    exposure_us : int, optional
        Label of its exposure; by default the header's.
    night : str, optional
        Night of a flat; by default the header's, else from DATE-OBS and the site's longitude.
    """
    key = GroupKey(
        kind=header.kind,
        camera=camera_of(header),
        shape=header.shape,
        binning=(header.bin_x, header.bin_y),
        origin=(header.origin_x, header.origin_y),
        gain=header.gain,
        offset=header.offset,
        readout_mode=header.readout_mode,
        row_order=header.row_order,
        egain_e_adu=_gain_without_setting(header),
        bayer_pattern=header.bayer_pattern,
        calibrated=header.calibrated,
        pedestal_adu=header.pedestal_adu,
        unread=header.unread,
    )
    if header.kind in {FrameKind.BIAS, FrameKind.DARK}:
        exposure_us = header.exposure_us if exposure_us is None else exposure_us
        temperature_c = own_temperature(header) if temperature_c is None else temperature_c
        return replace(key, exposure_us=exposure_us, temperature_c=temperature_c)
    return replace(
        key,
        filter=header.filter,
        night=night or header.night or night_of(header),
        source=header.source,
        rotator_angle_deg=header.rotator_angle_deg,
    )


def group(
    items: Iterable[T], header: Callable[[T], FrameHeader], *, tolerances: Tolerances = DEFAULT_TOLERANCES
) -> dict[GroupKey, list[T]]:
    """Sort frames into groups.

    Parameters
    ----------
    items : iterable
        Frames, rows, headers: anything that has a header.
    header : callable
        Returns the header of an item.
    tolerances : Tolerances
        How far frames of a group may lie apart.

    Returns
    -------
    dict
        Items by key, in the order in which they came; keys in a fixed order.
    """
    items = list(items)
    headers = [header(item) for item in items]
    temperatures = temperature_labels(headers, tolerances=tolerances)
    rough = [
        group_key(h, temperature_c=t) if t is not None else group_key(h)
        for h, t in zip(headers, temperatures, strict=True)
    ]
    exposures = _exposure_labels(headers, rough, tolerances)
    rough = [replace(key, exposure_us=exposure) for key, exposure in zip(rough, exposures, strict=True)]
    groups: defaultdict[GroupKey, list[T]] = defaultdict(list)
    for item, key in zip(items, _with_angles(rough, tolerances), strict=True):
        groups[key].append(item)
    return dict(sorted(groups.items(), key=lambda pair: order(pair[0])))


def order(key: GroupKey) -> tuple[str, ...]:
    """Return what keys are sorted by: a fixed order in which missing parts come first."""
    numbers = (*key.shape, *key.binning, *key.origin, key.gain, key.offset, key.exposure_us, key.temperature_c)
    words = (
        *(key.readout_mode, key.row_order, key.filter, key.night, key.source, key.rotator_angle_deg),
        *(key.egain_e_adu, key.bayer_pattern, key.calibrated, key.pedestal_adu, key.unread),
    )
    rank = {FrameKind.BIAS: "0", FrameKind.DARK: "1", FrameKind.FLAT: "2", FrameKind.LIGHT: "3"}
    sortable = ("" if n is None else f"{n + 1e12:022.6f}" for n in numbers)
    return (rank[key.kind], key.camera, *sortable, *("" if w is None else str(w) for w in words))


def own_temperature(header: FrameHeader, *, tolerances: Tolerances = DEFAULT_TOLERANCES) -> float | None:
    """Return the label of a cooled frame, its set-point; the rounded measured temperature of any other frame."""
    cooled = cooled_to(header, tolerances=tolerances)
    if cooled is not None or header.ccd_temp_c is None:
        return cooled
    return _label(header.ccd_temp_c)


class Cooled(Protocol):
    """A frame or its header: the temperature of the sensor, and the set-point of its cooler."""

    @property
    def ccd_temp_c(self) -> float | None:
        """Temperature of the sensor in degrees Celsius, None where it is not known."""

    @property
    def set_temp_c(self) -> float | None:
        """Set-point of the cooler in degrees Celsius, None without one."""


def cooled_to(header: Cooled, *, tolerances: Tolerances = DEFAULT_TOLERANCES) -> float | None:
    """Return the set-point a frame was taken at, rounded to 0.1 degrees; None if the sensor was not there.

    A set-point without a measured temperature is believed. A cooler that is off still reports its set-point, but not
    the sensor's temperature.
    """
    if header.set_temp_c is None:
        return None
    if header.ccd_temp_c is not None and abs(header.ccd_temp_c - header.set_temp_c) > tolerances.set_point_c + 1e-6:
        return None
    return _label(header.set_temp_c)


def temperature_labels(
    headers: Sequence[FrameHeader], *, tolerances: Tolerances = DEFAULT_TOLERANCES
) -> list[float | None]:
    """Return the temperature label of each frame: its set-point, else its cluster among the camera's other frames.

    Only biases and darks have one; None where the temperature is not known.
    """
    labels: list[float | None] = [None] * len(headers)
    measured: defaultdict[str, list[int]] = defaultdict(list)
    for i, header in enumerate(headers):
        if header.kind not in {FrameKind.BIAS, FrameKind.DARK}:
            continue
        labels[i] = cooled_to(header, tolerances=tolerances)
        if labels[i] is None and header.ccd_temp_c is not None:
            measured[camera_of(header)].append(i)
    for indices in measured.values():
        clusters = temperature_clusters([headers[i].ccd_temp_c or 0.0 for i in indices], width_c=tolerances.cluster_c)
        for i, label in zip(indices, clusters, strict=True):
            labels[i] = label
    return labels


def goes_with(now_c: float, coldest_c: float, warmest_c: float, *, span_c: float) -> bool:
    """Return whether a frame taken now is as warm as those of a set: within `span_c` of the coldest and the warmest."""
    return max(warmest_c - now_c, now_c - coldest_c) <= span_c


def temperature_clusters(temperatures_c: Sequence[float], *, width_c: float = 1.0) -> list[float]:
    """Return the cluster of each measured temperature, named by its lowest member rounded to 0.1 degrees.

    Clusters follow the data: as few as there can be of at most `width_c`, cut where the gaps are widest. They do not
    chain, and the order has no influence. No two share a label.
    """
    starts = _clusters(temperatures_c, width_c)
    labels: dict[float, float] = {}
    for start in sorted(set(starts.values())):
        label = _label(start)
        taken = max(labels.values(), default=label - 1)
        labels[start] = label if label > taken else _label(taken + 0.1)
    return [labels[starts[t]] for t in temperatures_c]


def same_exposure(a_us: int, b_us: int, *, exact: bool, tolerances: Tolerances = DEFAULT_TOLERANCES) -> bool:
    """Whether two exposures are the same: equal when `exact` (both our own), else within the foreign tolerance."""
    if exact or a_us == b_us:
        return a_us == b_us
    allowed = max(tolerances.exposure_us, tolerances.exposure_relative * max(a_us, b_us))
    return abs(a_us - b_us) <= allowed


def night_of(header: FrameHeader) -> str | None:
    """Return the night of a frame from its start; None without one."""
    return night_label(header.date_obs, header.site_longitude_deg) if header.date_obs is not None else None


def night_label(at: datetime, longitude_deg: float | None = None) -> str:
    """Return the night of a moment as YYYY-MM-DD: the date on which it began, from noon to noon.

    Parameters
    ----------
    at : datetime
        UTC; without zone it is taken as UTC.
    longitude_deg : float, optional
        Degrees east: noon of local mean time. None: noon UTC.
    """
    if at.tzinfo is not None:
        at = at.astimezone(UTC)
    return (at + timedelta(hours=(longitude_deg or 0.0) / 15 - 12)).date().isoformat()


def noon_of(night: str, longitude_deg: float | None = None) -> datetime:
    """Return the noon that begins a night, UTC; parameters as those of `night_label`, which gives its label.

    Raises
    ------
    ValueError
        The label is no date.
    """
    noon = datetime.fromisoformat(f"{night}T12:00+00:00")
    return noon - timedelta(hours=(longitude_deg or 0.0) / 15)


def _gain_without_setting(header: FrameHeader) -> float | None:
    """Return e-/ADU, rounded to four digits, of a frame that states its gain in no other way."""
    if header.gain is not None or header.egain_e_adu is None:
        return None
    return float(f"{header.egain_e_adu:.4g}")


def _label(celsius: float) -> float:
    return round(celsius, 1) + 0.0  # no -0.0


def _clusters(values: Iterable[float], width: float) -> dict[float, float]:
    """Return the first (lowest) value of the cluster of each value.

    Of all ways to cut the sorted values into clusters of at most `width`, the one of fewest clusters, and among those
    the one whose cuts lie in the widest gaps: found from below, the best way to end at each value.
    """
    ordered = sorted(set(values))
    best: list[tuple[int, float, int]] = []  # up to each value: clusters, gaps cut (negative), start of the last
    open_at: deque[tuple[int, float, int]] = deque()  # starts that may still hold the next value, the best first
    for i, value in enumerate(ordered):
        clusters, cut, _ = best[-1] if best else (0, 0.0, 0)
        gap = value - ordered[i - 1] if best else 0.0
        start = (clusters + 1, cut - gap, i)
        while open_at and open_at[-1] > start:
            open_at.pop()
        open_at.append(start)
        while value - ordered[open_at[0][2]] > width + 1e-9:
            open_at.popleft()
        best.append(open_at[0])
    starts: dict[float, float] = {}
    last = len(ordered) - 1
    while last >= 0:
        first = best[last][2]
        starts |= dict.fromkeys(ordered[first : last + 1], ordered[first])
        last = first - 1
    return starts


def _with_angles(keys: Sequence[GroupKey], tolerances: Tolerances) -> list[GroupKey]:
    """Return keys in which rotator angles that are equal within the tolerance have one label, around the circle."""
    alike: defaultdict[GroupKey, set[float]] = defaultdict(set)
    for key in keys:
        if key.rotator_angle_deg is not None:
            alike[replace(key, rotator_angle_deg=None)].add(key.rotator_angle_deg % 360)
    labels = {key: _angle_labels(angles, tolerances.angle_deg) for key, angles in alike.items()}
    return [
        key
        if (angle := key.rotator_angle_deg) is None
        else replace(key, rotator_angle_deg=labels[replace(key, rotator_angle_deg=None)][angle % 360])
        for key in keys
    ]


def _angle_labels(angles_deg: Iterable[float], width_deg: float) -> dict[float, float]:
    """Return the label of each angle from 0 to 360: the circle is cut open in its widest gap."""
    ordered = sorted(set(angles_deg))
    gaps = [(after - before) % 360 for before, after in zip([ordered[-1], *ordered[:-1]], ordered, strict=True)]
    opened_at = ordered[max(range(len(ordered)), key=gaps.__getitem__)]
    turned = {angle: (angle - opened_at) % 360 for angle in ordered}
    starts = _clusters(turned.values(), width_deg)
    back = {distance: angle for angle, distance in turned.items()}
    return {angle: back[starts[distance]] for angle, distance in turned.items()}


def _starts(values: Iterable[float], apart: Callable[[float, float], bool]) -> dict[float, float]:
    """Return the first (lowest) value of the cluster of each value."""
    starts: dict[float, float] = {}
    first: float | None = None
    for value in sorted(set(values)):
        if first is None or apart(first, value):
            first = value
        starts[value] = first
    return starts


def _exposure_labels(
    headers: Sequence[FrameHeader], keys: Sequence[GroupKey], tolerances: Tolerances
) -> list[int | None]:
    """Return the exposure label of each frame: its own, or the most frequent of its cluster for foreign frames."""
    labels = [key.exposure_us for key in keys]
    foreign: defaultdict[GroupKey, list[int]] = defaultdict(list)
    for i, (header, key) in enumerate(zip(headers, keys, strict=True)):
        if key.exposure_us is not None and not is_own(header):
            foreign[replace(key, exposure_us=None)].append(i)
    for indices in foreign.values():
        names = _exposure_clusters([labels[i] or 0 for i in indices], tolerances)
        for i in indices:
            labels[i] = names[labels[i] or 0]
    return labels


def _exposure_clusters(exposures_us: Sequence[int], tolerances: Tolerances) -> Mapping[int, int]:
    """Return the label of each exposure: the most frequent one of its cluster, the shortest of several."""
    starts = _starts(
        exposures_us, lambda a, b: not same_exposure(round(a), round(b), exact=False, tolerances=tolerances)
    )
    count = Counter(exposures_us)
    members: defaultdict[float, list[int]] = defaultdict(list)
    for exposure in sorted(count):
        members[starts[exposure]].append(exposure)
    return {
        e: max(cluster, key=lambda candidate: (count[candidate], -candidate))
        for cluster in members.values()
        for e in cluster
    }
