"""Sets of the catalogue, sorted into what becomes one master each. Sets never mix, nor do groups within a set."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from calibration.frames import FrameKind, GroupKey
from calibration.grouping import group, temperature_labels
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag, FrameRow, Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterGroup:
    """The frames of one set that are combined.

    Attributes
    ----------
    product : FrameKind
        What it becomes: the biases of min_exposure also become a dark.
    key : GroupKey
        Of the master.
    rows : tuple of FrameRow
        The oldest first.
    temperature_c : float or None
        Label of the sensor's temperature, for flats too (their key has none).
    """

    product: FrameKind
    key: GroupKey
    rows: tuple[FrameRow, ...]
    temperature_c: float | None = None

    @property
    def own(self) -> bool:
        """Whether nightcal took the frames: exposures are exact, and the wanted number is known."""
        return all(row.origin is Origin.OWN for row in self.rows)

    @property
    def exposure_us(self) -> int | None:
        """Exposure of the key; a flat's median exposure."""
        if self.product is not FrameKind.FLAT:
            return self.key.exposure_us
        times = sorted(row.exposure_us for row in self.rows if row.exposure_us is not None)
        return times[len(times) // 2] if times else None

    @property
    def started(self) -> datetime | None:
        """Start of the first frame."""
        return min((row.date_obs for row in self.rows if row.date_obs is not None), default=None)

    def recipe(self, parts: dict[str, Any]) -> str:
        """Return the hash of the inputs' pixels and of what else the master's pixels depend on."""
        record = {"kind": str(self.product), "inputs": sorted(row.pixel_sha256 for row in self.rows), **parts}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]


def master_groups(catalogue: Catalogue, kind: FrameKind) -> list[MasterGroup]:
    """Return what the usable frames of a kind become, in a fixed order."""
    rows = catalogue.frames(kind=kind, flag=Flag.OK)
    sets: defaultdict[str, list[FrameRow]] = defaultdict(list)
    for row in rows:
        sets[row.set_id or f"{row.night}"].append(row)
    found = [
        MasterGroup(product=kind, key=key, rows=tuple(members), temperature_c=_temperature(key, members))
        for members_of_set in sets.values()
        for key, members in group(_of_one_night(members_of_set), FrameRow.header).items()
    ]
    return sorted(found, key=lambda g: (str(g.started), str(g.key)))


def _of_one_night(rows: list[FrameRow]) -> list[FrameRow]:
    """Give a set of ours the night of its first frame: flats taken across noon are one set all the same."""
    if any(row.origin is not Origin.OWN or row.set_id is None for row in rows):
        return rows
    first = min(rows, key=lambda row: str(row.date_obs))
    return [replace(row, night=first.night) for row in rows]


def as_dark(biases: MasterGroup) -> MasterGroup:
    """Return the biases of min_exposure as the dark of that time, which the guide's programs look for."""
    return replace(biases, product=FrameKind.DARK, key=replace(biases.key, kind=FrameKind.DARK))


def _temperature(key: GroupKey, rows: Sequence[FrameRow]) -> float | None:
    """Return the label of a group's temperature as a dark taken with it would have it."""
    if key.kind is not FrameKind.FLAT:
        return key.temperature_c
    labels = temperature_labels([replace(row.header(), kind=FrameKind.DARK) for row in rows])
    known = sorted(label for label in labels if label is not None)
    return known[len(known) // 2] if known else None
