"""The JSON beside each master: its catalogue row and its verdicts, so that nothing is lost with the index."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.catalogue.rows import MasterRow
from services.events.records import json_value
from services.files.disk import REAL_DISK, Disk, write_text
from services.files.fits import Unreadable
from services.files.layout import Layout

VERSION = 1


def write_sidecar(
    layout: Layout,
    row: MasterRow,
    *,
    verdicts: Sequence[Mapping[str, Any]] = (),
    disk: Disk = REAL_DISK,
    replace: bool = False,
) -> Path:
    """Write the sidecar of a master and return its path.

    Write order of a master: planes, sidecar, master. A master that is there is then whole.

    Parameters
    ----------
    layout : Layout
        Knows where the master is.
    row : MasterRow
        Written whole; `read_sidecar` gives it back.
    verdicts : sequence of mapping
        What quality control said, as in events.
    disk : Disk
        Where to write.
    replace : bool
        For a change of status; else a sidecar that is there is refused.

    Raises
    ------
    StorageError
        `disk_full` or `write_failed`.
    """
    path = layout.sidecar_path(layout.absolute(row.path))
    record = {"format": "nightcal master", "version": VERSION, **row.to_dict(), "verdicts": list(verdicts)}
    for name in ("size", "mtime_ns"):  # of the file as it lies in this place
        del record[name]
    write_text(path, json.dumps(record, indent=1, default=json_value) + "\n", disk, replace=replace)
    return path


def restate_sidecar(layout: Layout, row: MasterRow, *, disk: Disk = REAL_DISK) -> Path:
    """Write a master's sidecar anew after a change of its status; its verdicts stay.

    Raises
    ------
    StorageError
        `disk_full` or `write_failed`.
    """
    try:
        path = layout.sidecar_path(layout.absolute(row.path))
        verdicts = json.loads(path.read_text(encoding="utf-8")).get("verdicts", ())
    except (OSError, ValueError, AttributeError, RecursionError):  # lost or damaged: the row is what there is
        verdicts = ()
    return write_sidecar(layout, row, verdicts=verdicts, disk=disk, replace=True)


def read_sidecar(path: Path) -> MasterRow:
    """Return the row that a sidecar holds.

    Raises
    ------
    Unreadable
        The file is missing, damaged, or something else.
    """
    try:
        return MasterRow.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise Unreadable(f"{path}: no master's sidecar ({error})") from error
