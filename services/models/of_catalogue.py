"""Which frames of a catalogue the models of a root are made of, by settings; and what identifies such a model."""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from calibration.frames import FrameKind, GroupKey
from services.catalogue.catalogue import Catalogue
from services.catalogue.models import settings_of
from services.catalogue.rows import USABLE, Flag, FrameRow, MasterStatus
from services.files.layout import sanitise
from services.models.kinds import ModelKind


def frames_for(kind: ModelKind, catalogue: Catalogue) -> Iterator[FrameRow]:
    """Yield the frames that count: not rejected, of masters that hold, and as the camera gave them."""
    spent, spoilt = catalogue.spent(), _spoilt(catalogue)
    for row in catalogue.frames(kind=tuple(sorted(kind.takes)), flag=Flag.OK):
        since = spent.since.get(row.kind)
        is_old = since is not None and row.date_obs is not None and row.date_obs < since
        is_spent = (str(row.kind), row.set_id or "") in spent.sets
        if not (is_old or is_spent or row.calibrated or row.unread or row.pixel_sha256 in spoilt):
            yield row


def _spoilt(catalogue: Catalogue) -> frozenset[str]:
    """Return the pixels of frames that only masters have which are suspect or rejected."""
    good, doubted = set[str](), set[str]()
    for row in catalogue.masters():
        if row.status in {MasterStatus.SUSPECT, MasterStatus.BAD}:
            doubted.update(row.inputs)
        elif row.status in USABLE or row.may_serve:
            good.update(row.inputs)
    return frozenset(doubted - good)


def by_settings(kind: ModelKind, rows: Iterable[FrameRow]) -> Iterator[tuple[GroupKey, list[FrameRow]]]:
    """Yield frames by the settings of the camera that a model is of, those first that most frames have.

    Frames of other kinds are beside all that have their settings; filter and source are those of flats alone.
    """
    groups: defaultdict[GroupKey, list[FrameRow]] = defaultdict(list)
    beside: defaultdict[GroupKey, list[FrameRow]] = defaultdict(list)
    for row in rows:
        found = groups if row.kind is kind.of else beside
        found[settings_of(kind.of if row.kind is kind.of else FrameKind.DARK, row.key())].append(row)
    for key, frames in sorted(groups.items(), key=lambda each: (-len(each[1]), repr(each[0]))):
        yield key, [*_newest(frames, kind.most), *beside[settings_of(FrameKind.DARK, key)]]


def _newest(rows: Sequence[FrameRow], most: int | None) -> list[FrameRow]:
    """Return the frames of the newest sets, as many sets as hold no more than `most` frames, one at least."""
    sets: defaultdict[str, list[FrameRow]] = defaultdict(list)
    for row in rows:
        sets[row.set_id or ""].append(row)
    found: list[FrameRow] = []
    for frames in sorted(sets.values(), key=lambda each: max(str(row.date_obs) for row in each), reverse=True):
        if most is None or not found or len(found) + len(frames) <= most:
            found += frames
    return found


def name_of(kind: ModelKind, key: GroupKey) -> str:
    """Return the name of the folder of a model: that of its settings, and a checksum over all of them."""
    parts = [kind.name, *(sanitise(word) for word in (key.filter,) if word)]
    parts += [f"{letter}{value}" for letter, value in (("g", key.gain), ("o", key.offset)) if value is not None]
    parts.append(f"b{key.binning[0]}x{key.binning[1]}")
    return "_".join([*parts, f"{zlib.crc32(repr(key).encode()):08x}"])


def recipe_of(kind: ModelKind, rows: Iterable[FrameRow]) -> str:
    """Return a hash over the method of a fit, the frames that it is offered, and what it takes from the catalogue."""
    frames = sorted((row.pixel_sha256, row.ccd_temp_c, row.set_temp_c, row.night, row.set_id) for row in rows)
    return hashlib.sha256(repr((kind.name, kind.method, frames)).encode()).hexdigest()
