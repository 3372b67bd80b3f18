"""Tables and sidecars of models: written so that they can be read back, and read so that damage is named."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from services.errors import Usage
from services.files.disk import REAL_DISK, Disk, write_text
from services.files.sums import check_planes
from services.files.units import Unreadable
from services.models.products import is_whole

M = TypeVar("M")


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


@dataclass(frozen=True, kw_only=True)
class LoadedModel(Generic[M]):
    """A model that was written: its folder, what holds for all pixels, and the rest of the sidecar.

    Attributes
    ----------
    folder : Path
        That which the fit was asked to write.
    model : M
    said : mapping
        The sidecar.
    KIND, FORM, FOLDER : str
        What the commands call it, what its sidecar begins with, and the folder of both its files.
    """

    KIND: ClassVar[str]
    FORM: ClassVar[str]
    FOLDER: ClassVar[str]

    folder: Path
    model: M
    said: Mapping[str, Any]

    @property
    def planes(self) -> Path:
        """The file of its planes."""
        return self.folder / self.FOLDER / f"{self.KIND}_model.fits"

    @property
    def frames(self) -> int:
        """Number of frames that it was made of."""
        return len(self.said["inputs"])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model.

        Parameters
        ----------
        path : Path
            The folder that the fit wrote, or its sidecar or file of planes.

        Raises
        ------
        Usage
            It is no model of this kind, one of another version, or damaged.
        """
        folder, planes = cls._places(path)
        sidecar = planes.with_suffix(".json")
        wanted = f"name the folder that `nightcal model {cls.KIND} fit` wrote"
        said = read_sidecar(path, sidecar, planes, form=cls.FORM, what=f"{cls.KIND} model", advice=wanted)
        try:
            return cls(folder=folder, model=cls.model_of(said), said=said)
        except (ValueError, KeyError, TypeError) as error:
            raise Usage(f"{sidecar} is damaged ({error!r})", advice="fit it again") from error

    @classmethod
    def _places(cls, path: Path) -> tuple[Path, Path]:
        folder = path.parent.parent if path.is_file() else path.parent if path.name == cls.FOLDER else path
        return folder, folder / cls.FOLDER / f"{cls.KIND}_model.fits"

    @classmethod
    def model_of(cls, said: Mapping[str, Any]) -> M:
        """Return the model that a sidecar describes; ValueError, KeyError or TypeError where it describes none."""
        raise NotImplementedError


def read_sidecar(path: Path, sidecar: Path, planes: Path, *, form: str, what: str, advice: str) -> dict[str, Any]:
    """Return the sidecar of a model, or an analysis, whose planes are of the same fit.

    Parameters
    ----------
    path : Path
        What the caller asked for, for the message.
    sidecar, planes : Path
        The files of the model.
    form : str
        What the sidecar begins with.
    what, advice : str
        What it describes, for the message, and what to do where it describes something else.

    Raises
    ------
    Usage
        It is no such model, one of another version, or one whose fit was interrupted.
    """
    try:
        said = json.loads(sidecar.read_text(encoding="utf-8"))
        if said["form"] != form:
            raise Usage(f"{sidecar} is of another version ({said['form']})", advice="fit it again")
    except OSError as error:
        raise Usage(f"{path} is no {what}: {sidecar}: {error.strerror}", advice=advice) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Usage(f"{sidecar} is damaged, or no {what} ({error!r})", advice=advice) from error
    if not is_whole(planes, str(said.get("identity"))):
        raise Usage(
            f"{planes} is missing, has lost bytes, or is not of the same fit as {sidecar}: was a fit interrupted?",
            advice="fit it again",
        )
    try:
        check_planes(planes)
    except Unreadable as error:
        raise Usage(error.detail, advice="fit it again") from error
    return dict(said)


def is_as_written(planes: Path, sidecar: Path, identity: str) -> bool:
    """Whether a model is there as its fit wrote it: its sidecar, and its planes with all their bytes.

    The sums of planes are read only where the file was touched after the sidecar was written; else that waits until the
    model is used.
    """
    try:
        if json.loads(sidecar.read_text(encoding="utf-8"))["identity"] != identity or not is_whole(planes, identity):
            return False
        if planes.stat().st_mtime_ns > sidecar.stat().st_mtime_ns:
            check_planes(planes)
    except (OSError, ValueError, KeyError, TypeError, Unreadable):
        return False
    return True


def files_before(sidecar: Path) -> list[str]:
    """Return the files of the model that a sidecar names; none where it cannot be read."""
    try:
        return [str(name) for name in json.loads(sidecar.read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
