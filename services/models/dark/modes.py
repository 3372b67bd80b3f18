"""The modes of the earlier programs: each one does its part alone, on what `full` wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from calibration.models.dark.model import Family
from services.datasets import SEARCH_DEPTH
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk
from services.models.dark.compared import against_temperature, one_d, two_d
from services.models.dark.corrected import Announce
from services.models.dark.evaluate import Evaluated, evaluate
from services.models.dark.maps import fit_1d, fit_2d
from services.models.dark.model import Synthetic, fit, synthesise_as
from services.models.dark.records import Loaded
from services.models.drawing import write_pictures
from services.models.gathering import Progress, Refused
from services.models.products import decimal_text
from services.models.records import Fitted

EXPOSURES_S = (1.0, 5.0, 10.0, 20.0, 25.0)
"""Of `synthetic_2d`, where none is given."""

SYNTHETIC, EVALUATION = "synthetic_darks", "evaluation"


class Mode(StrEnum):
    """What is done; all but FULL with a model that is there."""

    FULL = "full"
    SYNTHETIC_ONLY = "synthetic_only"
    EVALUATION_ONLY = "evaluation_only"
    EVALUATE_DARK_CURRENT = "evaluate_dark_current"
    FIT_2D_MODEL = "fit_2d_model"
    EVALUATE_2D_MODEL = "evaluate_2d_model"
    SYNTHETIC_2D = "synthetic_2d"
    SYNTHETIC_2D_SINGLE = "synthetic_2d_single"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a mode is to do.

    Attributes
    ----------
    mode : Mode
    model : Path or None
        The folder of the model; None: that of the results.
    temperatures_c, exposures_s : tuple of float
        Of synthetic darks; empty: the temperatures of the model, and `EXPOSURES_S`.
    single_c, single_s : float or None
        Of a single synthetic dark.
    family : Family or None
        Of the fit; None: that which predicts best what it has not seen.
    corrected : callable or None
        The fit also writes each dark less its bias; it gets in words how much they take, before they are.
    depth : int
        Folders below the base that are looked into.
    """

    mode: Mode = Mode.FULL
    model: Path | None = None
    temperatures_c: tuple[float, ...] = ()
    exposures_s: tuple[float, ...] = ()
    single_c: float | None = None
    single_s: float | None = None
    family: Family | None = None
    corrected: Announce | None = None
    depth: int = SEARCH_DEPTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a mode made: models, synthetic darks, an evaluation, and other files."""

    fitted: tuple[Fitted, ...] = ()
    synthetic: tuple[Synthetic, ...] = ()
    evaluated: Evaluated | None = None
    files: tuple[Path, ...] = ()


def run(
    base: Path,
    out: Path,
    asked: Asked,
    *,
    progress: Progress = lambda *_: None,
    refused: Refused | None = None,
    disk: Disk = REAL_DISK,
) -> Done:
    """Do what a mode says.

    Parameters
    ----------
    base : Path
        A dataset, an index, or the root of a nightcal; nothing in it is changed.
    out : Path
        The folder of results.
    asked : Asked
    progress : callable
    refused : callable, optional
        As for `of_each`.
    disk : Disk

    Raises
    ------
    Usage
        There is nothing to do it with, or a file of another program is in the way.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    if asked.mode is Mode.FULL:
        return _full(base, out, asked, progress=progress, refused=refused, disk=disk)
    folder = asked.model or out
    loaded = Loaded.load(folder)
    if asked.mode is Mode.FIT_2D_MODEL:
        return Done(files=tuple(_fit_2d(loaded, out, disk)))
    if asked.mode in _EVALUATING:
        evaluated = evaluate(folder, base, out / EVALUATION, depth=asked.depth, progress=progress, disk=disk)
        drawn = write_pictures(_EVALUATING[asked.mode](evaluated.exposed), out / EVALUATION, disk)
        return Done(evaluated=evaluated, files=tuple(drawn))
    return Done(synthetic=tuple(_synthesise(loaded, out, asked, disk)))


def _full(base: Path, out: Path, asked: Asked, *, progress: Progress, refused: Refused | None, disk: Disk) -> Done:
    """Fit models, and the maps of the earlier programs to what they wrote."""
    wanted = partial(fit, family=asked.family, corrected=asked.corrected, depth=asked.depth)
    fitted = wanted(base, out, progress=progress, refused=refused, disk=disk)
    files = []
    for each in fitted:
        loaded = Loaded.load(each.folder)
        files += [*fit_1d(loaded, each.folder, disk), *fit_2d(loaded, each.folder, disk)]
        if asked.temperatures_c:
            files += [made.path for made in _rates(loaded, each.folder, asked, disk)]
    return Done(fitted=fitted, files=tuple(files))


def _fit_2d(loaded: Loaded, out: Path, disk: Disk) -> Sequence[Path]:
    made = fit_2d(loaded, out, disk)
    if not made:
        raise Usage(
            "all darks of the model have one temperature: that is no model of temperature and exposure",
            advice="fit a model of darks at two temperatures or more",
        )
    return made


_EVALUATING = {
    Mode.EVALUATION_ONLY: one_d,
    Mode.EVALUATE_DARK_CURRENT: against_temperature,
    Mode.EVALUATE_2D_MODEL: two_d,
}


def _synthesise(loaded: Loaded, out: Path, asked: Asked, disk: Disk) -> list[Synthetic]:
    if asked.mode is Mode.SYNTHETIC_ONLY:
        return _rates(loaded, out, asked, disk)
    if asked.mode is Mode.SYNTHETIC_2D:
        shots = [(t, e) for e in asked.exposures_s or EXPOSURES_S for t in _temperatures(loaded, asked)]
        named = [
            (t, e, f"synthetic_2d_exp_{decimal_text(e, 2)}/synthetic_2d_dark_t{_words(t, e)}.fits") for t, e in shots
        ]
        return synthesise_as(loaded, named, out, disk)
    if asked.single_c is None or asked.single_s is None:
        raise Usage(
            "a single synthetic dark needs its temperature and its exposure",
            advice="name both, e.g. --temp-single 20 --exptime-single 10",
        )
    t, e = asked.single_c, asked.single_s
    name = f"synthetic_2d_dark_T{decimal_text(t, 2)}_E{decimal_text(e, 2)}.fits"
    return synthesise_as(loaded, [(t, e, name)], out, disk)


def _words(celsius: float, exposure_s: float) -> str:
    return f"{decimal_text(celsius, 2)}_e{decimal_text(exposure_s, 2)}"


def _temperatures(loaded: Loaded, asked: Asked) -> tuple[float, ...]:
    return asked.temperatures_c or tuple(sorted({shot.label_c for shot in loaded.shots}))


def _rates(loaded: Loaded, out: Path, asked: Asked, disk: Disk) -> list[Synthetic]:
    """Write the dark current at temperatures, in ADU/s."""
    shots = [
        (celsius, loaded.model.longest_s, f"{SYNTHETIC}/synthetic_dark_{decimal_text(celsius, 2)}.fits")
        for celsius in _temperatures(loaded, asked)
    ]
    return synthesise_as(loaded, shots, out, disk, per_second=True)
