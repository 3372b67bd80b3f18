"""Tables and sidecars of models: written so that they can be read back, and read so that damage is named."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.errors import Usage
from services.files.disk import REAL_DISK, Disk, write_text
from services.models.products import is_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model, or an analysis, that was made: its folder, its sidecar, and remarks on groups of frames."""

    folder: Path
    sidecar: dict[str, Any]
    remarks: tuple[str, ...]


def ecsv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table in ECSV, with units by the ends of the columns' names."""
    from astropy.table import Table  # half a second to import

    table = Table(rows=[dict(row) for row in rows])
    for name in table.colnames:
        unit = {"c": "deg_C", "adu": "adu", "pct": "%"}.get(name.rpartition("_")[2])
        if unit is not None and table[name].dtype.kind == "f":
            table[name].unit = unit
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    return text.getvalue()


def finite(value: Any) -> Any:
    """Return what JSON can hold: numbers that are not finite become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value


def write_sidecar(path: Path, sidecar: Mapping[str, Any], disk: Disk = REAL_DISK) -> None:
    """Write a sidecar as JSON in place of an older one; numbers that are not finite become null.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    write_text(path, json.dumps(finite(sidecar), indent=1, ensure_ascii=False) + "\n", disk, replace=True)


def folder_of(path: Path, name: str) -> Path:
    """Return the folder of a model: `path` is that, the folder `name` in it, or a file in there."""
    return path.parent.parent if path.is_file() else path.parent if path.name == name else path


def read_sidecar(path: Path, sidecar: Path, planes: Path, *, form: str, kind: str) -> dict[str, Any]:
    """Return the sidecar of a model whose planes are of the same fit.

    Parameters
    ----------
    path : Path
        What the caller asked for, for the message.
    sidecar, planes : Path
        The files of the model.
    form : str
        What the sidecar begins with.
    kind : str
        Of the model: bias, dark.

    Raises
    ------
    Usage
        It is no such model, one of another version, or one whose fit was interrupted.
    """
    fit = f"name the folder that `nightcal model {kind} fit` wrote"
    try:
        said = json.loads(sidecar.read_text(encoding="utf-8"))
        if said["form"] != form:
            raise Usage(f"{sidecar} is of another version ({said['form']})", advice="fit the model again")
    except OSError as error:
        raise Usage(f"{path} is no {kind} model: {sidecar}: {error.strerror}", advice=fit) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Usage(f"{sidecar} is damaged, or no {kind} model ({error!r})", advice=fit) from error
    if not is_whole(planes, str(said.get("identity"))):
        raise Usage(
            f"{planes} is missing, has lost bytes, or is not of the same fit as {sidecar}: was a fit interrupted?",
            advice="fit the model again",
        )
    return dict(said)


def files_before(sidecar: Path) -> list[str]:
    """Return the files of the model that a sidecar names; none where it cannot be read."""
    try:
        return [str(name) for name in json.loads(sidecar.read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
