"""The models of a nightcal root: fitted to whatever frames its catalogue holds, each under a name that stays.

What is to be fitted is derived from the frames each time: a model whose recipe is that of the frames stays as it is. A
new one grows in a hidden folder and takes the place of the old one when it is whole; the catalogue learns of it last.
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from calibration.frames import GroupKey
from services import platform
from services.catalogue.models import ModelRow
from services.catalogue.rows import FrameRow
from services.datasets.frame import DatasetFrames
from services.datasets.of_root import as_catalogued
from services.errors import RunStopped, StorageError, Usage, meaning
from services.events.bus import Events
from services.events.modelled import ModelFitted, ModelLacking, Moved
from services.events.sentences import sentence
from services.files.disk import Disk, reported
from services.indexing.model_sidecar import write_model_sidecar
from services.models.kinds import KINDS, Made, ModelKind
from services.models.of_catalogue import by_settings, frames_for, name_of, recipe_of
from services.root import Place
from services.words import count, size

log = structlog.get_logger(__name__)

_GROWING = ".growing-"
_BEFORE = ".before-"
_MEASURED = ".measured.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What models are fitted, and with how much of the machine.

    Attributes
    ----------
    kinds : tuple of str
    memory_mb : float
    min_free_mb : float
        Of the disk, that stay free.
    """

    kinds: tuple[str, ...]
    memory_mb: float = 256.0
    min_free_mb: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutcome:
    """What became of a kind of model, or of one of its settings: `row` None with a reason why there is none."""

    kind: str
    row: ModelRow | None = None
    kept: bool = False
    detail: str = ""
    words: str = ""
    """The whole sentence, where there is no model."""


class Library:
    """Fits the models of one root.

    Parameters
    ----------
    place : Place
    events : Events
        Hears `model.fitted` and `model.lacking`.
    now : callable
        Gives the time of a fit.
    wake : threading.Event, optional
        Ends the work between two bands when set.
    """

    def __init__(
        self, place: Place, events: Events, now: Callable[[], datetime], wake: threading.Event | None = None
    ) -> None:
        self._place, self._events, self._now, self._wake = place, events, now, wake

    def fit_all(self, wishes: Wishes) -> tuple[ModelOutcome, ...]:
        """Fit every model that the frames support and that is not there yet; return an outcome for each.

        Raises
        ------
        StorageError
            The catalogue cannot be written: a model that cannot is lacking.
        RunStopped
            `wake` was set.
        """
        _clear(self._place.layout.models)
        outcomes: list[ModelOutcome] = []
        for kind in KINDS:
            if kind.name not in wishes.kinds:
                continue
            groups = dict(by_settings(kind, frames_for(kind, self._place.catalogue)))
            self._forget(kind, {name_of(kind, key) for key in groups})
            if not groups:
                outcomes.append(self._lacking(kind, kind.lacks))
            for key, rows in groups.items():
                settings = _settings(key) if len(groups) > 1 else ""
                outcomes += self._one(kind, key, rows, wishes, settings)
        return tuple(outcomes)

    def _one(
        self, kind: ModelKind, key: GroupKey, rows: Sequence[FrameRow], wishes: Wishes, settings: str
    ) -> Iterator[ModelOutcome]:
        self._check()
        folder = self._place.layout.models / name_of(kind, key)
        before = self._before(kind, folder)
        there = self._there(kind, before, recipe_of(kind, rows))
        if there:
            yield from (self._said(kind, row, kept=True) for row in there)
            return
        lacking = self._room(kind, key, rows, wishes)
        if not lacking:
            try:
                made = self._grown(kind, folder, rows, wishes)
                put = self._put(kind, key, folder, rows, made)
            except Usage as error:
                lacking = f"{error.detail} — {error.advice}"
            except StorageError as error:  # frames and masters are there: no night fails because of a model
                lacking = f"{error.detail} — {error.advice or meaning(error.code).advice}"
            except RunStopped:
                raise
            except Exception as error:  # a defect of ours must not end the run, whose frames and masters are there
                log.exception("models.failed", kind=kind.name)
                lacking = f"the fit has failed ({type(error).__name__}: {error}) — the log says where"
        if lacking:
            yield self._lacking(kind, lacking, self._serving(kind, folder), settings)
            return
        anew = _why_anew(kind, before, put)
        yield from (self._said(kind, row, kept=False, anew=anew) for row in put)

    def _before(self, kind: ModelKind, folder: Path) -> list[ModelRow]:
        """Return the models that the catalogue has of a folder."""
        below = self._place.layout.relative(folder)
        return [row for row in self._place.catalogue.models(kind=kind.name) if _is_below(row.path, below)]

    def _serving(self, kind: ModelKind, folder: Path) -> str | None:
        """Return the path of the model in a folder that is valid, where one cannot be fitted anew."""
        valid = {row.path for row in self._place.catalogue.valid_models(kind=kind.name)}
        return next((row.path for row in self._before(kind, folder) if row.path in valid), None)

    def _there(self, kind: ModelKind, rows: Sequence[ModelRow], recipe: str) -> list[ModelRow]:
        """Return the models of a recipe that are there and whole; all of them, or none."""
        layout, maker = self._place.layout, kind.made_by()
        same = [row for row in rows if row.recipe == recipe]
        whole = all(maker.is_whole(layout.absolute(row.path), row.identity) for row in same)
        return same if same and len(same) == len(rows) and whole else []

    def _room(self, kind: ModelKind, key: GroupKey, rows: Sequence[FrameRow], wishes: Wishes) -> str:
        """Return in words that there is no room for a model; "" where there is."""
        temperatures = len({round(row.ccd_temp_c or 0.0) for row in rows})
        needed = 4 * key.shape[0] * key.shape[1] * kind.planes(temperatures, sum(row.kind is kind.of for row in rows))
        free = self._place.disk.free_bytes(self._place.root) - 1e6 * wishes.min_free_mb
        if free >= needed:
            return ""
        return f"it needs {size(needed)}, and {size(max(free, 0.0))} may be used — make room on the disk"

    def _grown(self, kind: ModelKind, folder: Path, rows: Sequence[FrameRow], wishes: Wishes) -> Sequence[Made]:
        """Fit into a hidden folder beside the place of the model; what was measured of its frames is kept."""
        layout, disk = self._place.layout, self._place.disk
        growing = folder.with_name(_GROWING + folder.name)
        shutil.rmtree(growing, ignore_errors=True)
        with reported(growing):
            disk.make_folder(growing)
            if (folder / _MEASURED).is_file():
                shutil.copyfile(folder / _MEASURED, growing / _MEASURED)
        frames = tuple(as_catalogued(row, layout.absolute(row.path)) for row in rows)
        try:
            return kind.made_by().fit(
                DatasetFrames(frames=frames),
                growing,
                memory_mb=wishes.memory_mb,
                progress=lambda *_: self._check(),
                disk=disk,
            )
        except BaseException:
            shutil.rmtree(growing, ignore_errors=True)
            raise

    def _put(
        self, kind: ModelKind, key: GroupKey, folder: Path, frames: Sequence[FrameRow], made: Sequence[Made]
    ) -> Sequence[ModelRow]:
        """Give a grown folder its name in place of the one before, and record its models."""
        layout, growing = self._place.layout, folder.with_name(_GROWING + folder.name)
        rows, recipe = [], recipe_of(kind, frames)
        of = {layout.absolute(frame.path): frame for frame in frames}
        for each in made:
            final = folder / each.folder.relative_to(growing)
            moved = tuple(kind.made_by().moved(final, each.folder))
            row = self._row(layout.relative(final), kind, key, each, moved)
            row = _holding(replace(row, recipe=recipe), kind, [of[path] for path in each.frames])
            write_model_sidecar(layout, row, each.folder, self._place.disk)
            rows.append(row)
        _swap(growing, folder, self._place.disk)
        catalogue = self._place.catalogue
        with catalogue.at_once():
            below = layout.relative(folder)
            catalogue.remove_models([row.path for row in catalogue.models() if _is_below(row.path, below)])
            for row in rows:
                catalogue.add_model(row)
        return rows

    def _row(self, path: str, kind: ModelKind, key: GroupKey, made: Made, moved: tuple[Moved, ...]) -> ModelRow:
        said: dict[str, Any] = {"family": made.family, "notes": list(made.notes), "sessions": list(made.sessions)}
        said["moved"] = [
            {"what": m.what, "unit": m.unit, "before": m.before, "after": m.after, "sigma": m.sigma} for m in moved
        ]
        return ModelRow(
            path=path,
            kind=kind.name,
            key=key,
            recipe="",
            identity=made.identity,
            fitted_at=self._now(),
            coldest_c=min(made.temperatures_c),
            warmest_c=max(made.temperatures_c),
            temperatures=len(made.temperatures_c),
            sessions=len(made.sessions),
            run_id=self._events.run_id,
            said={**made.more, **said},
        )

    def _said(self, kind: ModelKind, row: ModelRow, *, kept: bool, anew: str = "") -> ModelOutcome:
        self._events.emit(
            ModelFitted(
                path=row.path,
                kind=kind.name,
                family=str(row.said.get("family") or "") or None,
                n=int(row.said.get("n", len(row.inputs))),
                temperatures=row.temperatures,
                coldest_c=row.coldest_c,
                warmest_c=row.warmest_c,
                notes=tuple(map(str, row.said.get("notes") or ())),
                moved=() if kept else tuple(Moved(**each) for each in row.said.get("moved") or ()),
                kept=kept,
                anew=anew,
            )
        )
        return ModelOutcome(kind=kind.name, row=row, kept=kept)

    def _lacking(self, kind: ModelKind, detail: str, path: str | None = None, settings: str = "") -> ModelOutcome:
        what = ModelLacking(kind=kind.name, detail=detail, path=path, settings=settings)
        self._events.emit(what)
        return ModelOutcome(kind=kind.name, detail=detail, words=sentence(what) or "")

    def _forget(self, kind: ModelKind, names: set[str]) -> None:
        """Forget the models of settings of which no frame counts any more; their files go with them."""
        layout, catalogue = self._place.layout, self._place.catalogue
        for row in catalogue.models(kind=kind.name):
            top = Path(row.path).relative_to(layout.relative(layout.models)).parts[0]
            if top not in names:
                catalogue.remove_models([row.path])
                shutil.rmtree(layout.models / top, ignore_errors=True)

    def _check(self) -> None:
        if self._wake is not None and self._wake.is_set():
            raise RunStopped("stopped before all models were fitted")


def _holding(row: ModelRow, kind: ModelKind, frames: Sequence[FrameRow]) -> ModelRow:
    """Return the row of a model with its frames, and how many of these are of its own kind."""
    said = {**row.said, "n": sum(frame.kind is kind.of for frame in frames)}
    return replace(row, inputs=tuple(frame.pixel_sha256 for frame in frames), said=said)


def _settings(key: GroupKey) -> str:
    """Return in words the settings by which models of a kind differ."""
    known = {"gain": key.gain, "offset": key.offset, "readout mode": key.readout_mode, "filter": key.filter}
    parts = [f"{name} {value}" for name, value in known.items() if value is not None]
    return ", ".join([*parts, "binning {} x {}".format(*key.binning), "{1} x {0} pixels".format(*key.shape)])


def _why_anew(kind: ModelKind, before: Sequence[ModelRow], after: Sequence[ModelRow]) -> str:
    """Return in words why models were fitted anew; "" where there were none before."""
    old, new = ({sha for row in rows for sha in row.inputs} for rows in (before, after))
    if not before:
        return ""
    why = "" if kind.most else " (rejected, invalidated, or of a master that is)"
    gone = f"{count(len(old - new), 'frame')} of the one before left out{why}"
    parts = [f"{count(len(new - old), 'new frame')}"] if new - old else []
    parts += [gone] if old - new else []
    if not parts and {row.recipe for row in before} == {row.recipe for row in after}:
        return "a file of the one before was missing or damaged"
    return ", ".join(parts) or "what the catalogue knows of its frames has changed, or it is fitted in another way"


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _swap(growing: Path, folder: Path, disk: Disk) -> None:
    """Give a grown folder its name; a kill between the two renames leaves the one before where `_clear` finds it."""
    before = folder.with_name(_BEFORE + folder.name)
    with reported(folder):
        if folder.exists():
            platform.rename_no_replace(folder, before)
        platform.rename_no_replace(growing, folder)
        disk.fsync_folder(folder.parent)
    shutil.rmtree(before, ignore_errors=True)


def _clear(models: Path) -> None:
    """Remove what a kill left of models that were growing, and give the one before its name back."""
    for each in models.glob(f"{_BEFORE}*"):
        folder = each.with_name(each.name.removeprefix(_BEFORE))
        if folder.exists():
            shutil.rmtree(each, ignore_errors=True)
            continue
        with suppress(OSError):  # a folder that cannot be written is what the fit will say
            platform.rename_no_replace(each, folder)
    for each in models.glob(f"{_GROWING}*"):
        shutil.rmtree(each, ignore_errors=True)
