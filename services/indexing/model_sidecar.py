"""The JSON beside each model: its catalogue row, so that nothing is lost with the index."""

import json
from pathlib import Path

from services.catalogue.models import ModelRow
from services.events.records import json_value
from services.files.disk import REAL_DISK, Disk, write_text
from services.files.fits import Unreadable
from services.files.layout import Layout

VERSION = 1


def write_model_sidecar(layout: Layout, row: ModelRow, folder: Path, disk: Disk = REAL_DISK) -> Path:
    """Write the sidecar of a model into a folder, which may still have another name than its row says; return its path.

    Raises
    ------
    StorageError
        `disk_full` or `write_failed`.
    """
    path = layout.model_sidecar_path(folder)
    record = {"format": "nightcal model", "version": VERSION, **row.to_dict()}
    write_text(path, json.dumps(record, indent=1, default=json_value) + "\n", disk, replace=True)
    return path


def read_model_sidecar(path: Path) -> ModelRow:
    """Return the row that a sidecar holds.

    Raises
    ------
    Unreadable
        The file is missing, damaged, or something else.
    """
    try:
        return ModelRow.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise Unreadable(f"{path}: no model's sidecar ({error})") from error
