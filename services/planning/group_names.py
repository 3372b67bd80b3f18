"""How groups of the same name differ: temperature, binning, gain, night and whatever else differs."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime

from calibration.frames import FrameKind
from services.planning.master_groups import MasterGroup
from services.words import both_clocks, celsius, seconds

Name = tuple[FrameKind, str, str | None]


def _name(group: MasterGroup) -> Name:
    """Return what a message calls a group by: kind and exposure, or kind and filter."""
    if group.product is FrameKind.FLAT:
        return group.product, "", group.key.filter
    return group.product, seconds(group.exposure_us) if group.product is FrameKind.DARK else "", None


def _warmth(group: MasterGroup) -> str:
    """Return the temperatures of a group's frames: "-10.0 °C", or "16.0 to 16.9 °C" of an uncooled camera."""
    found = [row.ccd_temp_c for row in group.rows if row.ccd_temp_c is not None]
    if not found or group.rows[0].set_temp_c is not None:
        return celsius(group.temperature_c) if group.temperature_c is not None else "unknown temperature"
    low, high = min(found), max(found)
    return celsius(low) if high - low < 0.05 else f"{low:.1f} to {celsius(high)}"


def _or_unknown(words: str, value: object) -> str:
    return f"unknown {words}" if value is None else f"{words} {value}"


_FACTS: tuple[tuple[Callable[[MasterGroup], Hashable], Callable[[MasterGroup], str]], ...] = (
    (lambda g: g.key.camera, lambda g: f"camera {g.key.camera or 'unknown'}"),
    (lambda g: g.key.gain, lambda g: _or_unknown("gain", g.key.gain)),
    (lambda g: g.temperature_c, _warmth),
    (lambda g: g.key.binning, lambda g: "binning {} x {}".format(*g.key.binning)),
    (lambda g: g.key.egain_e_adu, lambda g: f"{g.key.egain_e_adu or 'unknown'} e-/ADU"),
    (lambda g: g.key.offset, lambda g: _or_unknown("offset", g.key.offset)),
    (lambda g: g.key.readout_mode, lambda g: _or_unknown("readout mode", g.key.readout_mode)),
    (lambda g: g.key.shape, lambda g: f"{g.key.shape[1]} x {g.key.shape[0]} pixels"),
    (lambda g: g.key.origin, lambda g: "from pixel {}, {}".format(*g.key.origin)),
    (lambda g: g.key.row_order, lambda g: _or_unknown("row order", g.key.row_order)),
    (lambda g: g.key.bayer_pattern, lambda g: f"mosaic {g.key.bayer_pattern or 'none'}"),
    (lambda g: g.key.calibrated, lambda g: f"calibrated: {g.key.calibrated or 'no'}"),
    (lambda g: g.key.pedestal_adu, lambda g: f"pedestal {g.key.pedestal_adu or 'none'}"),
    (lambda g: g.key.unread, lambda g: g.key.unread or "all settings understood"),
    (lambda g: g.key.source, lambda g: _or_unknown("source", g.key.source)),
    (lambda g: g.key.rotator_angle_deg, lambda g: _or_unknown("rotator", g.key.rotator_angle_deg)),
    (lambda g: g.rows[0].night, lambda g: _or_unknown("night", g.rows[0].night)),
)
"""What a fact is compared by, and how it is said."""

_CAMERA, _GAIN, _TEMPERATURE = 0, 1, 2


class GroupNames:
    """Names that no two groups of a run share.

    Parameters
    ----------
    groups : sequence of MasterGroup
        All that a message may be about.
    gain, temperature : bool
        Whether these are named in any case: the run takes frames of several, which may not be there yet.
    """

    def __init__(self, groups: Sequence[MasterGroup], *, gain: bool = False, temperature: bool = False) -> None:
        self._always = {i for i, is_named in ((_GAIN, gain), (_TEMPERATURE, temperature)) if is_named}
        namesakes: defaultdict[Name, list[MasterGroup]] = defaultdict(list)
        for group in groups:
            namesakes[_name(group)].append(group)
        self._differ: Mapping[Name, list[int]] = {
            name: [i for i, (fact, _) in enumerate(_FACTS) if len({fact(group) for group in found}) > 1]
            for name, found in namesakes.items()
        }
        self._namesakes = namesakes
        self._cameras = {group.key.camera for group in groups}

    def of(self, group: MasterGroup) -> str:
        """Return how a group differs from the others of its kind and exposure or filter; "" where there is no other.

        The camera is named wherever there are several: a message would seem to be about the one that is connected.
        """
        cameras = {_CAMERA} if len(self._cameras) > 1 else set()
        differ = sorted(cameras | self._always | set(self._differ.get(_name(group), [])))
        words = [_FACTS[i][1](group) for i in differ]
        alike = [
            other
            for other in self._namesakes.get(_name(group), [])
            if all(_FACTS[i][0](other) == _FACTS[i][0](group) for i in differ)
        ]
        if len({other.rows[0].set_id for other in alike}) > 1:  # sets of one night
            words.append(f"begun {_begun(group.started)}")
        return ", ".join(words)


def _begun(at: datetime | None) -> str:
    return "at an unknown time" if at is None else both_clocks(at, "%Y-%m-%d %H:%M:%S")
