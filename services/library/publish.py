"""The masters that are valid now, in a folder of their own under names that stay: for those who use them.

A published master is a hard link to the file in the library, which takes no room and is an ordinary file for every
program, on Windows and over a network share too; where the file system has no hard links, or is another one, it is a
copy. Symbolic links are not used: many programs, and most shares, do not follow them.

A new file is made under a hidden name in the folder and renamed over the old one, so that who reads goes on reading the
old one to its end. A small manifest in the folder lists what is ours; no other file is ever changed or removed.
"""

import json
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from calibration.frames import FrameKind, GroupKey
from services.catalogue.rows import USABLE, MasterRow
from services.config.models import Config
from services.errors import StorageError
from services.files.disk import Disk, Growing, reported, write_text
from services.files.layout import part_path, sanitise
from services.root import Place
from services.words import count

_PIECE_BYTES = 8 << 20
_ALIKE_NS = 2_000_000_000
"""File systems of memory cards keep times to whole seconds, 2 s at worst."""
_one_at_a_time = threading.Lock()
"""Orders on masters are carried out beside the step that builds them."""
_MOST_FAILURES = 3
"""After so many files in succession that cannot be published, the others are left for the next time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of a folder: names that were written, removed, or stand; `problems` say in words what failed."""

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: int = 0
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{count(len(self.written), 'master')} published" if self.written else ""]
        parts.append(f"{len(self.removed)} removed" if self.removed else "")
        parts.append(f"{self.kept} as {'it was' if self.kept == 1 else 'they were'}" if self.kept else "")
        nothing = "nothing is published" if self.problems else "no master is valid"
        return ", ".join(part for part in parts if part) or nothing


def publish_as_configured(place: Place, config: Config) -> Published:
    """Bring the folder that `serve.publish` names up to date; nothing is done where it names none."""
    folder = config.serve.publish
    return Published() if folder is None else publish(place, Path(folder))


def publish(place: Place, folder: Path) -> Published:
    """Bring a folder up to date with the masters that are valid now.

    Nothing is written where nothing has changed. What fails is tried again by the next call; it is never raised.

    Parameters
    ----------
    place : Place
        Under the root's lock.
    folder : Path
        Made where its parent is there: a share that is not mounted is not filled in its place.
    """
    try:
        wanted = published_names(valid_now(place.catalogue.masters(status=USABLE, with_inputs=False)))
        with _one_at_a_time, reported(folder):
            if not folder.is_dir():
                if not folder.absolute().parent.is_dir():
                    return Published(problems=(_cannot(folder, f"there is no folder {folder.absolute().parent}"),))
                place.disk.make_folder(folder)
            if place.layout.masters.is_dir() and folder.samefile(place.layout.masters):
                return Published(problems=(_cannot(folder, "the masters themselves are there: name another folder"),))
            return _Folder(place, folder).update(wanted)
    except StorageError as error:
        return Published(problems=(_cannot(folder, error.detail),))


def valid_now(rows: Iterable[MasterRow]) -> list[MasterRow]:
    """Return the masters whose validity has no end, the best and newest first."""
    found = [row for row in rows if row.status in USABLE and row.valid_until is None]
    return sorted(found, key=lambda row: (USABLE.index(row.status), -row.built_at.timestamp(), row.path))


def published_names(rows: Sequence[MasterRow]) -> dict[str, MasterRow]:
    """Return masters by the names under which they are published.

    A name says kind, exposure or filter, gain and temperature, the binning if there is one, and `sky` of a sky flat.
    Masters that would share a name although they differ in a setting get it added, all of them: a script that knew the
    short name then fails instead of taking the wrong one. Of those that still share one the first is taken.

    Parameters
    ----------
    rows : sequence of MasterRow
        The best first.
    """
    alike: defaultdict[str, list[MasterRow]] = defaultdict(list)
    for row in rows:
        alike[_stem(row).lower()].append(row)
    named: dict[str, MasterRow] = {}
    for group in alike.values():
        differing = [name for name in _MORE if len({getattr(row.key, name) for row in group}) > 1]
        for row in group:
            more = [_more(row.key, name) for name in differing]
            named.setdefault("_".join([_stem(row), *filter(None, more)]) + ".fits", row)
    return named


def _stem(row: MasterRow) -> str:
    key = row.key
    parts = [f"master_{key.kind.lower()}"]
    if key.kind is FrameKind.FLAT:
        parts += [_own(key.filter) if key.filter else "nofilter", *(["sky"] if key.source == "sky" else [])]
    elif key.kind is FrameKind.DARK and row.exposure_us is not None:
        parts.append(f"{row.exposure_us / 1e6:.6f}".rstrip("0").rstrip(".") + "s")
    if key.gain is not None:
        parts.append(f"g{key.gain}")
    if key.temperature_c is not None:
        parts.append(f"T{round(key.temperature_c, 1) + 0.0:g}")
    if key.binning != (1, 1):
        parts.append(f"b{key.binning[0]}x{key.binning[1]}")
    return "_".join(parts)


def _own(text: str) -> str:
    """Return a text as part of a name; where it cannot stand as it is, a checksum keeps it apart from others."""
    safe = sanitise(text)
    return safe if safe == text else f"{safe}-{zlib.crc32(text.encode()):08x}"


_MORE: Mapping[str, str] = {
    "filter": "", "gain": "", "camera": "", "offset": "o", "readout_mode": "r", "binning": "", "shape": "",
    "origin": "at", "row_order": "", "egain_e_adu": "e", "source": "", "rotator_angle_deg": "rot", "bayer_pattern": "",
    "calibrated": "cal-", "pedestal_adu": "ped", "unread": "x-",
}  # fmt: skip
"""Settings that a name states only where masters differ in them, and what is written before their values."""


def _more(key: GroupKey, name: str) -> str:
    value: Any = getattr(key, name)
    if value is None:
        return ""
    if name == "filter":  # names that differ in case alone: not every system keeps them apart
        return f"{zlib.crc32(str(value).encode()):08x}"
    text = "x".join(map(str, reversed(value) if name == "shape" else value)) if isinstance(value, tuple) else value
    return _MORE[name] + _own(f"{text:g}" if isinstance(text, float) else str(text))


@dataclass(frozen=True, slots=True, order=True)
class _Stamp:
    """Size and time by which a file is known again, and its master; a copy has those of what it is a copy of."""

    size: int
    mtime_ns: int
    master: str

    def fits(self, path: Path) -> bool:
        """Whether a file is still the one that was written down."""
        try:
            found = path.lstat()
        except OSError:
            return False
        off_ns = 0 if found.st_mtime_ns % 1_000_000_000 else _ALIKE_NS
        return self.size == found.st_size and abs(self.mtime_ns - found.st_mtime_ns) <= off_ns


_Ours = dict[str, frozenset[_Stamp]]
"""What each of our names holds; two while it may be the old master or the new one."""


class _Folder:
    """The folder, with what its manifest says of our files in it."""

    def __init__(self, place: Place, folder: Path) -> None:
        self._layout = place.layout
        self._disk = place.disk
        self._folder = folder
        mark = zlib.crc32(place.root.as_posix().encode())
        self._manifest = folder / f".nightcal-published-{mark:08x}.json"
        known = _read_manifest(self._manifest)
        if known is None:
            masters = (place.layout.absolute(path) for path in place.catalogue.known_masters())
            known = dict(_adopted(folder, masters))
        self._ours: _Ours = known
        self._problems: list[str] = []

    def update(self, wanted: Mapping[str, MasterRow]) -> Published:
        """Publish what is wanted, then remove what is not any more."""
        sources = {name: self._layout.absolute(row.path) for name, row in wanted.items()}
        stamps = dict(self._stamps(sources))
        new = [name for name in stamps if not self._stands(name, sources[name], stamps[name])]
        gone = [name for name in self._ours if name not in wanted]
        before = self._ours
        self._keep({name: {*before.get(name, ()), *_some(stamps.get(name))} for name in (*before, *stamps)})
        written = frozenset(self._written(new, sources, stamps))
        removed = tuple(name for name in gone if self._removed(name))
        certain = {name: frozenset({stamp}) for name, stamp in stamps.items() if name in written or name not in new}
        left = {name: stamps for name, stamps in self._ours.items() if name not in removed and self._is_ours(name)}
        with reported(self._folder):
            self._disk.fsync_folder(self._folder)
        self._keep(left | certain)
        return Published(
            written=tuple(name for name in new if name in written),
            removed=removed,
            kept=len(stamps) - len(new),
            problems=tuple(self._problems),
        )

    def _stamps(self, sources: Mapping[str, Path]) -> Iterator[tuple[str, _Stamp]]:
        for name, source in sources.items():
            try:
                found = source.stat()
            except OSError as error:
                self._problems.append(f"{source.name} is not published: {source}: {error.strerror or error}")
                continue
            yield name, _Stamp(found.st_size, found.st_mtime_ns, source.name)

    def _stands(self, name: str, source: Path, stamp: _Stamp) -> bool:
        """Whether a name is that master's already: its hard link, or a copy of ours."""
        target = self._folder / name
        return _is_same(target, source) or (self._ours.get(name) == frozenset({stamp}) and stamp.fits(target))

    def _is_ours(self, name: str) -> bool:
        target = self._folder / name
        return any(stamp.fits(target) for stamp in self._ours.get(name, ()))

    def _written(
        self, names: Iterable[str], sources: Mapping[str, Path], stamps: Mapping[str, _Stamp]
    ) -> Iterator[str]:
        failures = 0
        for name in names:
            target = self._folder / name
            if _is_there(target) and not self._is_ours(name):
                self._problems.append(f"{target} is somebody else's file and is left: move it to have the master there")
                continue
            try:
                self._put(sources[name], target, stamps[name])
            except StorageError as error:
                self._problems.append(_cannot(target, error.detail))
                failures += 1
                if failures == _MOST_FAILURES:
                    return
            else:
                failures = 0
                yield name

    def _put(self, source: Path, target: Path, stamp: _Stamp) -> None:
        part = part_path(target)
        try:
            self._disk.remove(part)
            self._disk.link(source, part)
        except OSError:
            _copy(source, target, stamp, self._disk)
            return
        try:
            with reported(target):
                self._disk.replace(part, target)
        finally:
            with suppress(OSError):  # a link to the file that is there already stays behind; so does one that failed
                self._disk.remove(part)

    def _removed(self, name: str) -> bool:
        """Remove a file of ours; return whether it is gone. One that somebody has changed since is theirs."""
        target = self._folder / name
        with suppress(OSError):  # of one that was killed
            self._disk.remove(part_path(target))
        if not _is_there(target) or not self._is_ours(name):
            return False
        try:
            self._disk.remove(target)
        except OSError as error:
            self._problems.append(f"{target} holds no master that is valid and is not removed: {error.strerror}")
            return False
        return True

    def _keep(self, ours: Mapping[str, Iterable[_Stamp]]) -> None:
        """Write down what is ours, before it is made and after; nothing where that has not changed."""
        now = {name: frozenset(stamps) for name, stamps in sorted(ours.items())}
        if now == self._ours:
            return
        listed = {name: [astuple(each) for each in sorted(stamps)] for name, stamps in now.items()}
        said = {"format": 1, "files": listed}
        write_text(self._manifest, json.dumps(said, indent=0) + "\n", self._disk, replace=True)
        self._ours = now


def _copy(source: Path, target: Path, stamp: _Stamp, disk: Disk) -> None:
    """Copy a master over an older one in one step; the copy gets its time, by which it is known again."""
    growing = Growing(target, disk, replace=True)
    try:
        _pour(source, growing, stamp.size)
    except BaseException:
        growing.abort()
        raise
    growing.commit(mtime_ns=stamp.mtime_ns)


def _pour(source: Path, growing: Growing, size: int) -> None:
    done = 0
    with reported(source), source.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            growing.write_at(piece, done)
            done += len(piece)
    if done != size:
        raise StorageError(f"{source} changed while it was copied")


def _read_manifest(path: Path) -> _Ours | None:
    """Return what was written down as ours; None where that is missing or damaged."""
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {
            str(name): frozenset(_Stamp(int(size), int(at_ns), str(master)) for size, at_ns, master in stamps)
            for name, stamps in files.items()
            if Path(name).name == name
        }
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _adopted(folder: Path, masters: Iterable[Path]) -> Iterator[tuple[str, frozenset[_Stamp]]]:
    """Yield the files of a folder without a manifest that are ours all the same: hard links to masters.

    One that is called as its master is somebody's copy of the library (`cp -al`): published ones have other names.
    """
    linked = {(path.stat().st_dev, path.stat().st_ino): path.name for path in masters if path.is_file()}
    for path in folder.glob("master_*.fits"):
        found = path.lstat()
        if (master := linked.get((found.st_dev, found.st_ino), path.name)) != path.name:
            yield path.name, frozenset({_Stamp(found.st_size, found.st_mtime_ns, master)})


def _some(stamp: _Stamp | None) -> tuple[_Stamp, ...]:
    return () if stamp is None else (stamp,)


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _is_same(target: Path, source: Path) -> bool:
    try:
        return not target.is_symlink() and target.samefile(source)
    except OSError:
        return False


def _cannot(path: Path, why: str) -> str:
    return f"masters are not published to {path}: {why}; it is tried again after the next master or order"
