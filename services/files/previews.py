"""Small files that may be lost at any time: pictures of frames, masters and tiles, in bounded numbers and bytes.

Whatever fails here - a full disk, a read-only one - costs a picture, never an error.
"""

import hashlib
import threading
from contextlib import suppress
from pathlib import Path

from services import platform
from services.files.layout import Layout

_MOST_PREVIEWS, _PREVIEW_BYTES = 3000, 100_000_000
_LOOK_EVERY = 50


class Cache:
    """A folder of small files, the oldest of which go when there are too many.

    Parameters
    ----------
    folder : Path
        Made when the first file is kept.
    most, most_bytes : int
        Files and bytes that are kept.
    """

    def __init__(self, folder: Path, *, most: int, most_bytes: int) -> None:
        self._folder = folder
        self._most, self._most_bytes = most, most_bytes
        self._since_look = _LOOK_EVERY
        self._lock = threading.Lock()

    def path(self, name: str) -> Path:
        """Return where a file is kept; a name is any text."""
        return self._folder / hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:40]

    def read(self, name: str) -> bytes | None:
        """Return what was kept under a name; None where there is nothing."""
        try:
            return self.path(name).read_bytes() or None
        except OSError:
            return None

    def keep(self, name: str, data: bytes) -> None:
        """Keep a file, whole or not at all; it is not made durable, and an error loses it."""
        path = self.path(name)
        part = path.with_suffix(f".{threading.get_ident()}.part")
        with self._lock, suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(data)
                platform.replace(part, path)
            except OSError:
                platform.remove(part)
            self._since_look += 1
            if self._since_look >= _LOOK_EVERY:
                self._since_look = 0
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Remove what is too much, with room for those that come until the next look."""
        found = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in self._folder.iterdir())
        size, number = sum(each[1] for each in found), len(found)
        for _, of_it, path in found:
            if size <= self._most_bytes * 0.9 and number <= max(0, self._most - _LOOK_EVERY):
                return
            platform.remove(path)
            size, number = size - of_it, number - 1


def previews_of(layout: Layout) -> Cache:
    """Return the small pictures of frames and masters below a root, by the path that the catalogue has."""
    return Cache(layout.cache / "previews", most=_MOST_PREVIEWS, most_bytes=_PREVIEW_BYTES)
