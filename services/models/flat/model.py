"""Flat models of a dataset: flats less their darks, normalised, without vignetting; masters; models; predictions."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np

from calibration.frames import FrameKind
from calibration.keywords import Card
from calibration.models.flat.model import Norm
from services.datasets import SEARCH_DEPTH
from services.datasets.frame import DatasetFrames
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk, write_text
from services.files.planes import create_planes
from services.models.flat.darks import Dark, darks_in
from services.models.flat.files import (
    EVALUATION,
    FACTORS,
    FOLDER,
    SIDECAR,
    VIGNETTING,
    factor_planes,
    flat_header,
    held_name,
    held_planes,
    map_name,
    model_cards,
    open_targets,
)
from services.models.flat.fit import Label, fit_bands, work_of
from services.models.flat.given import GivenFiles, given_shape
from services.models.flat.job import FlatMade, Job, job_in
from services.models.flat.masters import MasterMethod, write_masters
from services.models.flat.parts import predicting, reference_of, write_parts
from services.models.flat.plan import FlatPlan, FlatType, plan_of
from services.models.flat.records import Loaded, Parts, notes_of, sidecar_of, term_words, write_records
from services.models.flat.reduce import reduced, reduced_frames
from services.models.flat.steps import (
    Step,
    StepFrame,
    forget_step,
    made_of,
    model_folders,
    normalise_flat,
    normalised_frame,
    read_step,
)
from services.models.flat.vignetting import applied, take_off
from services.models.gathering import Gathered, Progress, Refused, gather, of_each
from services.models.products import forget_others, put_in_place, refuse_foreign
from services.models.records import ecsv, files_before
from services.words import count


class FlatMode(StrEnum):
    """What is made: everything, everything without taking vignetting off, or one step from the files of the others."""

    FULL = "full"
    FULL_NO_VIGNETTING = "full_no_vignetting"
    REDUCE_ONLY = "reduce_only"
    NORMALIZE_ONLY = "normalize_only"
    VIGNETTING_ONLY = "vignetting_only"
    MAKE_MASTER = "make_master"
    FIT_MODEL = "fit_model"
    EVALUATE_MODEL = "evaluate_model"


_FULL = {FlatMode.FULL, FlatMode.FULL_NO_VIGNETTING}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatAsked:
    """What is to be made of the flats of a dataset, and how.

    Attributes
    ----------
    mode : FlatMode
    kind : FlatType
    darks : Path, optional
        A list of darks in place of those of the dataset.
    norm : Norm
    vignetting : GivenFiles
    method : MasterMethod
    t_ref, exp_ref : float
        Temperature (°C) and exposure (s) at which A is the flat.
    evaluation : bool
        Whether each temperature and exposure is written as the others predict it.
    plots : bool
        Whether the report is drawn beside the model.
    memory_mb : float
    """

    mode: FlatMode = FlatMode.FULL
    kind: FlatType = FlatType.LAB
    darks: Path | None = None
    norm: Norm = Norm.MAX
    vignetting: GivenFiles = field(default_factory=GivenFiles)
    method: MasterMethod = MasterMethod.MEDIAN
    t_ref: float = 0.0
    exp_ref: float = 0.0
    evaluation: bool = False
    plots: bool = True
    memory_mb: float = 256.0


def fit(
    base: Path | DatasetFrames,
    out: Path,
    asked: FlatAsked,
    *,
    depth: int = SEARCH_DEPTH,
    progress: Progress = lambda *_: None,
    refused: Refused | None = None,
    disk: Disk = REAL_DISK,
) -> tuple[FlatMade, ...]:
    """Make the flats of a dataset into a model, or do one step of it; one model for each filter and setting.

    Parameters
    ----------
    base : Path or DatasetFrames
        A dataset, an index, or the root of a nightcal; nothing in it is changed. Or frames that were chosen. Modes that
        begin with the files of another one do not read it.
    out : Path
        The folder of the model; of several models the folder of their folders.
    asked : FlatAsked
    depth : int
        Folders below `base` that are looked into.
    progress : callable
    refused : callable, optional
        As for `of_each`.
    disk : Disk

    Raises
    ------
    Usage
        There is no flat or no dark that can be used, what a step begins with is missing, or `out` holds files of
        another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    _ = asked.vignetting.named  # two files that contradict each other are refused before anything is made
    if asked.mode in _FULL | {FlatMode.REDUCE_ONLY}:
        listed = None if asked.darks is None else darks_in(asked.darks)
        found = gather(base, out, FrameKind.FLAT, FrameKind.DARK, depth=depth, progress=progress, disk=disk)
        return of_each(
            found, out, partial(_of_setting, asked=asked, listed=listed, progress=progress, disk=disk), refused
        )
    wanted = {FlatMode.NORMALIZE_ONLY: Step.REDUCED}.get(asked.mode, Step.NORMALIZED)
    made = []
    for folder in model_folders(out, wanted):
        with job_in(folder, progress, disk) as job:
            made.append(_from_files(asked, job))
    return tuple(made)


def _of_setting(
    gathered: Gathered, folder: Path, *, asked: FlatAsked, listed: Sequence[Dark] | None, progress: Progress, disk: Disk
) -> FlatMade:
    with job_in(folder, progress, disk) as job:
        return _from_frames(gathered, asked, listed, job)


def _from_frames(gathered: Gathered, asked: FlatAsked, listed: Sequence[Dark] | None, job: Job) -> FlatMade:
    made = reduced(gathered, listed, job)
    if asked.mode is FlatMode.REDUCE_ONLY:
        return made
    made = made.joined(_normalised(asked, job))
    if asked.mode is FlatMode.FULL:
        made = made.joined(_without_vignetting(asked, job))
    else:
        forget_step(job.folder, Step.VIGNETTING, disk=job.disk)
        for end in (".fits", ".json"):
            job.disk.remove(job.folder / f"{VIGNETTING}{end}")
    made = made.joined(_masters(asked, job))
    return made.joined(_model(_flats(job), asked, job, made.left_out))


def fit_frames(
    frames: DatasetFrames, out: Path, asked: FlatAsked, *, progress: Progress = lambda *_: None, disk: Disk = REAL_DISK
) -> tuple[FlatMade, ...]:
    """Fit the models of flats that were chosen, without the files of the steps between, masters and vignetting.

    Each flat is calibrated while it is read, so that the disk has to have room for the model and the means of the darks
    alone.

    Parameters
    ----------
    frames : DatasetFrames
    out : Path
        The folder of the model; of several models the folder of their folders.
    asked : FlatAsked
    progress : callable
    disk : Disk

    Raises
    ------
    Usage
        There is no flat or no dark that can be used.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    found = gather(frames, out, FrameKind.FLAT, FrameKind.DARK, progress=progress, disk=disk)
    return of_each(found, out, partial(_while_read, asked=asked, progress=progress, disk=disk))


def _while_read(gathered: Gathered, folder: Path, *, asked: FlatAsked, progress: Progress, disk: Disk) -> FlatMade:
    """Fit the model of one filter and setting to flats that are calibrated while they are read."""
    with job_in(folder, progress, disk) as job:
        flats, of_darks = reduced_frames(gathered, job)
        used, unused = list[StepFrame](), dict[str, str]()
        for flat in flats:
            try:
                used.append(normalised_frame(flat, asked.norm))
            except ValueError as error:
                unused[str(flat.path)] = str(error)
        if not used:
            raise _nothing_normalised(unused.values())
        left_out = {**of_darks.left_out, **unused}
        return replace(of_darks, left_out=left_out).joined(_model(used, asked, job, left_out))


def _nothing_normalised(reasons: Iterable[str]) -> Usage:
    return Usage("none of the flats can be normalised", advice=f"look at the frames: {next(iter(reasons))}")


def _from_files(asked: FlatAsked, job: Job) -> FlatMade:
    match asked.mode:
        case FlatMode.NORMALIZE_ONLY:
            return _normalised(asked, job)
        case FlatMode.VIGNETTING_ONLY:
            return _without_vignetting(asked, job)
        case FlatMode.MAKE_MASTER:
            return _masters(asked, job)
        case FlatMode.EVALUATE_MODEL:
            return _evaluated(asked, job)
        case _:
            return _model(_flats(job), asked, job, {})


def _normalised(asked: FlatAsked, job: Job) -> FlatMade:
    frames = read_step(job.folder, Step.REDUCED, job.scratch)
    made, unused = made_of(
        frames,
        job.folder,
        Step.NORMALIZED,
        lambda frame, to: normalise_flat(frame, asked.norm, to, job.threads, job.disk),
        job.disk,
    )
    if not made:
        raise _nothing_normalised(unused.values())
    return FlatMade(
        folder=job.folder,
        lines=(f"{len(made)} flats divided by their {asked.norm.value} level",),
        left_out={str(path): why for path, why in unused.items()},
    )


def _without_vignetting(asked: FlatAsked, job: Job) -> FlatMade:
    frames = read_step(job.folder, Step.NORMALIZED, job.scratch)
    found = take_off(frames, job.folder, asked.vignetting, job.threads, job.disk)
    return FlatMade(folder=job.folder, lines=(found.said,))


def _flats(job: Job) -> tuple[StepFrame, ...]:
    """Return the flats that masters and models are made of: without vignetting, where that was taken off."""
    step = Step.VIGNETTING if applied(job.folder) else Step.NORMALIZED
    return read_step(job.folder, step, job.scratch)


def _masters(asked: FlatAsked, job: Job) -> FlatMade:
    plan = plan_of(_flats(job), job.folder, asked.kind)
    made = write_masters(plan, job.folder, asked.kind, asked.method, job.disk)
    return FlatMade(
        folder=job.folder,
        lines=(f"{len(made)} master flats ({asked.method.value})",),
        left_out={str(path): why for path, why in plan.unlike.items()},
    )


def _model(flats: Sequence[StepFrame], asked: FlatAsked, job: Job, before: Mapping[str, str]) -> FlatMade:
    plan = plan_of(flats, job.folder, asked.kind, t_ref=asked.t_ref, exp_ref=asked.exp_ref)
    word = applied(job.folder)
    about = _about(plan, word)
    header = flat_header(plan.frames[0].header)
    held = tuple(dict.fromkeys(plan.labels)) if asked.evaluation else ()
    refuse_foreign(_own_files(job.folder, plan, held))
    with open_targets(job.folder, plan.model, header, about, held=held, disk=job.disk) as targets:
        sums = fit_bands(
            work_of(plan),
            targets.model,
            targets.maps,
            targets.evaluation,
            memory_mb=asked.memory_mb,
            progress=job.progress,
        )
        put_in_place(targets.files, job.disk)
        paths = [file.path for file in targets.files]
    parts = _parts(plan, asked, about, job)
    names = [path.relative_to(job.folder).as_posix() for path in (*paths, job.folder / FACTORS)]
    forget_others(job.folder, files_before(job.folder / SIDECAR), names, job.disk)
    left_out = {**before, **{str(path): why for path, why in plan.unlike.items()}}
    said = sidecar_of(
        plan,
        asked.kind,
        parts,
        rows=sums.rows(),
        terms=sums.significance(),
        files=names,
        vignetting=word,
        left_out=left_out,
    )
    write_records(said, job.folder, job.disk)
    if asked.plots:
        from services.models.flat.report import report  # matplotlib takes a second to import

        report(job.folder, job.folder / FOLDER / "report", job.disk)
    lines = [*notes_of(plan, asked.kind), *term_words(said["terms"], plan.model), *_said_of(parts)]
    return FlatMade(folder=job.folder, lines=tuple(lines), left_out={str(p): why for p, why in plan.unlike.items()})


def _about(plan: FlatPlan, word: str) -> list[Card]:
    """Return the cards that all files of a model have."""
    return [*model_cards(plan.model, len(plan.frames), word), Card("MODELID", plan.identity, "of the fit")]


def _own_files(folder: Path, plan: FlatPlan, held: Sequence[Label]) -> list[Path]:
    names = [FACTORS, *(map_name(term) for term in plan.model.terms), *(held_name(label) for label in held)]
    return [folder / name for name in names]


def _parts(plan: FlatPlan, asked: FlatAsked, about: Sequence[Card], job: Job) -> Parts:
    """Take the flat in the middle of what was measured apart."""
    label = reference_of(plan.model)
    off = job.folder / f"{VIGNETTING}.fits" if applied(job.folder) else None
    given = given_shape(asked.vignetting, plan.shape) if off is not None or asked.vignetting.named else None
    work = predicting(job.folder / f"{FOLDER}/flat_model.fits", off, plan.model, label)
    header = flat_header(plan.frames[0].header, label)
    cards = [*about, Card("TEMP", label[0], "[degC] temperature that it was predicted for")]
    with create_planes(job.folder / FACTORS, factor_planes(header, cards), plan.shape, job.disk) as file:
        factors, prnu = write_parts(work, given, file, job.threads, mosaic=header.bayer_pattern is not None)
        put_in_place([file], job.disk)
    return Parts(label=label, factors=factors, prnu=prnu)


def _said_of(parts: Parts) -> list[str]:
    prnu, dust = parts.prnu, parts.factors.dust
    parts_of = ", ".join(f"{100 * getattr(prnu, name):.3f} % by {name}s" for name in ("pixel", "row", "column"))
    said = [f"gains of the pixels: {100 * prnu.total:.3f} ± {100 * prnu.total_sigma:.3f} % in all, {parts_of}"]
    deepest = max((shadow.attenuation for shadow in dust), default=0.0)
    said.append(
        f"{count(len(dust), 'shadow')} of dust, the deepest {100 * deepest:.1f} %" if dust else "no dust is seen"
    )
    return said


def _evaluated(asked: FlatAsked, job: Job) -> FlatMade:
    loaded = Loaded.load(job.folder)
    kind, model = FlatType(loaded.said["domain"]["flat_type"]), loaded.model
    plan = plan_of(_flats(job), job.folder, kind, t_ref=model.reference_c, exp_ref=model.reference_s)
    about = _about(plan, applied(job.folder))
    header, held = flat_header(plan.frames[0].header), tuple(dict.fromkeys(plan.labels)) if asked.evaluation else ()
    refuse_foreign([job.folder / held_name(label) for label in held])
    with ExitStack() as stack:
        files = {
            label: stack.enter_context(
                create_planes(job.folder / held_name(label), held_planes(header, about, label), plan.shape, job.disk)
            )
            for label in held
        }
        sums = fit_bands(work_of(plan), None, {}, files, memory_mb=asked.memory_mb, progress=job.progress)
        put_in_place(list(files.values()), job.disk)
    rows = sums.rows()
    write_text(job.folder / FOLDER / "evaluation.ecsv", ecsv(rows), job.disk, replace=True)
    lines = [f"each temperature and exposure predicted from the others ({EVALUATION} has them with --save-eval-fits):"]
    if plan.identity != loaded.said["identity"]:
        lines.insert(0, "the flats are not those that the model was fitted to")
    return FlatMade(folder=job.folder, lines=(*lines, *held_lines(rows)))


def held_lines(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Return a line for each group that was left out."""
    lines = []
    for row in rows:
        at = f"{row['temperature_c']:8.1f} °C {row['exposure_s']:8g} s"
        if np.isfinite(row["mae"]):
            lines.append(f"{at}  MAE {row['mae']:.5f}  MAPE {row['mape_pct']:.3f} %  rms {row['pull_rms']:.2f} sigma")
        else:
            lines.append(f"{at}  not predicted by the others")
    return lines
