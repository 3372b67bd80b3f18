"""Packing frames whose master is built: Rice-compressed without loss, `x.fits.fz` in the place of `x.fits`.

Frames stay as they are while they are combined (a compressed one takes forty times as long to read). Packed ones can
be read like any other, by the slow road. Whatever interrupts this, each frame is there whole at least once: as long as
`x.fits` exists it alone counts, and it goes last.
"""

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from astropy.io import fits

from calibration.frames import Pixels
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import USABLE, FrameRow, MasterStatus, Origin
from services.errors import RunStopped
from services.files.disk import REAL_DISK, Disk, atomic, reported
from services.files.fits import Unreadable, pixel_hash, read_pixels
from services.files.layout import PACKED, Layout

FOREVER = "forever"
UNTIL_CERTIFIED = "until_certified"

Keep = str | float
"""`forever`, `until_certified`, or days since a frame was taken."""

_OF_THE_FORM = {
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "PCOUNT", "GCOUNT", "BSCALE", "BZERO",
    "CHECKSUM", "DATASUM",
}  # fmt: skip
"""Cards that say how a file is made, not what a frame is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What became of one frame: its new row, or why it was left as it is."""

    path: str
    before_bytes: int
    row: FrameRow | None = None
    problem: str = ""


def due(catalogue: Catalogue, keep: Keep, now: datetime) -> list[FrameRow]:
    """Return the frames that may be packed: our own, still plain, part of a master, and no longer to be kept.

    Biases are in two masters, theirs and that of the shortest darks: every master made of a frame must be good enough
    for it to be packed, but for those that another one has replaced, or will, because a frame of it was
    rejected. A set that newer frames have replaced is packed.

    Parameters
    ----------
    catalogue : Catalogue
    keep : str or float
        `storage.keep_raw`.
    now : datetime
    """
    if keep == FOREVER:
        return []
    good = (MasterStatus.CERTIFIED,) if keep == UNTIL_CERTIFIED else USABLE
    combined: set[str] = set()
    others: set[str] = set()
    for master in catalogue.masters():
        if master.status in good or (master.status is MasterStatus.SUPERSEDED and not master.contained):
            combined |= set(master.inputs)
        elif master.status not in {MasterStatus.SUPERSEDED, MasterStatus.SUSPECT}:
            others |= set(master.inputs)
    combined -= others
    age = timedelta(days=0.0 if isinstance(keep, str) else keep)
    return [
        row
        for row in catalogue.frames(origin=Origin.OWN)
        if row.pixel_sha256 in combined
        and not row.path.endswith(PACKED)
        and (not age or row.date_obs is None or now - row.date_obs >= age)
    ]


def archive(
    catalogue: Catalogue,
    layout: Layout,
    rows: list[FrameRow],
    *,
    disk: Disk = REAL_DISK,
    wake: threading.Event | None = None,
) -> Iterator[Packed]:
    """Pack frames one after the other, under the root's lock; a broken one is named and left.

    Raises
    ------
    StorageError
        The disk is full or cannot be written.
    RunStopped
        `wake` was set.
    """
    for row in rows:
        if wake is not None and wake.is_set():
            raise RunStopped("stopped before all frames were packed")
        try:
            packed = pack(row, layout, disk)
        except Unreadable as error:
            yield Packed(path=row.path, before_bytes=row.size, problem=error.detail)
            continue
        catalogue.move_frame(row.path, packed)
        source = layout.absolute(row.path)
        with reported(source):
            disk.remove(source)
            disk.fsync_folder(source.parent)
        yield Packed(path=row.path, before_bytes=row.size, row=packed)


def pack(row: FrameRow, layout: Layout, disk: Disk = REAL_DISK) -> FrameRow:
    """Write a frame's packed form beside it, read that back, compare it bit for bit, and return its row.

    Raises
    ------
    Unreadable
        The frame is damaged (its pixels are not those that were catalogued), or its packed form differs from it.
    StorageError
        `disk_full` or `write_failed`; the frame is as it was.
    """
    source = layout.absolute(row.path)
    target = source.with_name(source.name + PACKED)
    pixels = read_pixels(source)
    if pixel_hash(pixels) != row.pixel_sha256:
        raise Unreadable(f"{source}: its pixels are not those that were taken; it is left as it is")
    header = _header(source)
    with reported(target):
        disk.remove(target)  # what an interruption left
    with atomic(target, disk) as stream:
        stream.write_at(_compressed(header, pixels), 0)
    if pixel_hash(read_pixels(target)) != row.pixel_sha256 or _said(_header(target)) != _said(header):
        with reported(target):
            disk.remove(target)
        raise Unreadable(f"{source}: its packed form would differ from it; it is left as it is")
    status = target.stat()
    return replace(row, path=layout.relative(target), size=status.st_size, mtime_ns=status.st_mtime_ns)


def _compressed(header: fits.Header, pixels: Pixels) -> memoryview:
    """Return the bytes of a file that holds the image Rice-compressed, row by row."""
    bare = header.copy()
    for keyword in ("CHECKSUM", "DATASUM"):
        bare.remove(keyword, ignore_missing=True)
    unit = fits.CompImageHDU(data=pixels, header=bare, compression_type="RICE_1")
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(whole, checksum=True)
    return whole.getbuffer()


def _header(path: Path) -> fits.Header:
    with fits.open(path, memmap=False) as units:
        header: fits.Header = units[-1].header.copy()
    return header


def _said(header: fits.Header) -> list[tuple[str, object, str]]:
    """Return what a header says of the frame, in order."""
    return [(c.keyword, c.value, c.comment) for c in header.cards if c.keyword not in _OF_THE_FORM]
