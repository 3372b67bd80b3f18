"""Writing a 61-megapixel frame: FITS with header, checksums, hash and atomic name, against the same bytes plainly.

"plain" creates a file, writes the pixels in one call, syncs it and its folder. What the disk takes for the sync is the
same on both sides and varies most; the second row leaves it out on both, so that only the work is compared.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits

from calibration.frames import Frame, FrameHeader, FrameKind, pixel_sha256
from services.files.disk import Disk, Stream
from services.files.fits import write_frame
from tests.benchmarks.harness import FULL, QUICK, Row, Timing, alternated


class _Unsynced(Stream):
    def fsync(self) -> None:
        pass


class UnsyncedDisk(Disk):
    """A disk that leaves syncing to the system."""

    def create(self, path: Path) -> Stream:
        return _Unsynced(path)

    def fsync_folder(self, folder: Path) -> None:
        pass

    def sync(self, path: Path) -> None:
        pass


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield a row with syncing and one without."""
    shape = QUICK if quick else FULL
    pixels = np.random.default_rng(1).integers(300, 60_000, shape, dtype=np.uint16)
    header = FrameHeader(
        kind=FrameKind.DARK, shape=shape, exposure_us=1_000_000, date_obs=datetime(2026, 1, 1, tzinfo=UTC)
    )
    frame, digest = Frame(header=header, pixels=pixels), pixel_sha256(pixels)
    with tempfile.TemporaryDirectory(prefix="bench-write-", dir=Path.cwd()) as folder:
        path = Path(folder) / "frame.fits"

        def ours(disk: Disk) -> Callable[[], object]:
            return lambda: (path.unlink(missing_ok=True), write_frame(path, frame, disk, pixel_sha256=digest))

        def plain(*, sync: bool) -> Callable[[], object]:
            return lambda: _plain(path, pixels.data.cast("B"), sync=sync)

        found = alternated({"fits": ours(Disk()), "plain": plain(sync=True)})
        yield _row("FITS frame written and synced", found)
        peers = {"fits": ours(UnsyncedDisk()), "plain": plain(sync=False), "astropy": lambda: _astropy(path, pixels)}
        found = alternated(peers)
        yield _row("  the same, not synced", found)
        yield Row(
            figure="  astropy writeto(checksum=True), not synced",
            measured=str(found["astropy"]),
            ratio=found["astropy"] / found["plain"],
            peer=f"plain write {found['plain']}",
        )


def _row(figure: str, found: dict[str, Timing]) -> Row:
    return Row(
        figure=figure,
        measured=str(found["fits"]),
        ratio=found["fits"] / found["plain"],
        peer=f"plain write {found['plain']}",
    )


def _plain(path: Path, data: memoryview, *, sync: bool) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb", buffering=0) as file:
        done = 0
        while done < len(data):
            done += file.write(data[done:])
        if sync:
            os.fsync(file.fileno())
    if sync:
        handle = os.open(path.parent, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def _astropy(path: Path, pixels: np.ndarray) -> None:
    fits.PrimaryHDU(pixels).writeto(path, overwrite=True, checksum=True)
