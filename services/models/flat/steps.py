"""The steps of single flats: less their darks, divided by their level, without vignetting; each in a folder of its own.

A step reads the files of the one before, so that each can be made alone. What a file is, is in its header; a file that
is taken out of a folder takes no part in what follows.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import Card
from calibration.models.flat.model import Level, Norm
from services.bands import Band, Source, bands_of, map_bands, read_rows, rows_for, source_of
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk
from services.files.planes import Plane, create_planes
from services.files.units import Unreadable, image_unit
from services.models.banding import WORKERS
from services.models.flat.calibrated import calibrated
from services.models.flat.levels import measured_level
from services.models.flat.stale import from_card, refuse_stale
from services.models.gathering import Member
from services.models.products import base_cards, card_of, header_in, put_in_place, refuse_foreign
from services.version import version

_MEMORY_MB = 64.0


class Step(StrEnum):
    """What a file is: less its dark, divided by its level, without vignetting."""

    REDUCED = "reduced"
    NORMALIZED = "normalized"
    VIGNETTING = "vignetting"


FOLDERS = {
    Step.REDUCED: "flat_reduced",
    Step.NORMALIZED: "flat_normalized",
    Step.VIGNETTING: "flat_vignetting_corrected",
}
_ENDS = {Step.REDUCED: "_FLAT_REDUCED_WITH_DARK", Step.NORMALIZED: "_normalized", Step.VIGNETTING: "_vigncorr"}
MODES = {Step.REDUCED: "reduce_only", Step.NORMALIZED: "normalize_only", Step.VIGNETTING: "vignetting_only"}
"""The mode that makes the files of a step."""
_BEFORE = {Step.NORMALIZED: Step.REDUCED, Step.VIGNETTING: Step.NORMALIZED}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFrame:
    """A file of a step.

    Attributes
    ----------
    path : Path
    source : Source
    header : FrameHeader
        Of the flat that it was made of.
    label_c : float
        What its temperature is called.
    step_adu : float
        Step of the camera's values.
    dark : str
        Path of the dark that was taken off.
    dark_c, dark_s : float
        Its temperature and exposure; NaN where the file does not say them.
    level : Level or None
        What it was divided by; None before that.
    vignetting : str
        What was taken off; empty: nothing.
    """

    path: Path
    source: Source
    header: FrameHeader
    label_c: float
    step_adu: float
    dark: str
    dark_c: float = float("nan")
    dark_s: float = float("nan")
    level: Level | None = None
    vignetting: str = ""

    @property
    def temperature_c(self) -> float:
        """Temperature of the sensor."""
        return self.label_c if self.header.ccd_temp_c is None else self.header.ccd_temp_c

    @property
    def exposure_s(self) -> float:
        """Exposure in seconds."""
        return (self.header.exposure_us or 0) / 1e6


def read_step(folder: Path, step: Step, scratch: Path) -> tuple[StepFrame, ...]:
    """Return the files of a step in a folder of a model, in the order of their names.

    Raises
    ------
    Usage
        There is none, they are of several sizes or filters, or were made of files that a step has replaced since.
    """
    paths = sorted((folder / FOLDERS[step]).glob(f"*{_ENDS[step]}.fits"))
    if not paths:
        raise Usage(
            f"{folder / FOLDERS[step]} holds no files *{_ENDS[step]}.fits",
            advice=f"make them first with --mode {MODES[step]}",
        )
    frames = tuple(_read(path, scratch) for path in paths)
    _refuse_stale(folder, step, paths)
    _refuse_mixed(frames, paths[0].parent)
    return frames


def _refuse_mixed(frames: Sequence[StepFrame], folder: Path) -> None:
    kinds = {(frame.source.location.shape, frame.header.filter) for frame in frames}
    if len(kinds) > 1:
        words = "; ".join(f"{shape[1]} x {shape[0]} pixels, filter {name}" for shape, name in sorted(kinds, key=str))
        raise Usage(f"{folder} mixes {words}", advice="leave the files of one size and filter in it")


def _refuse_stale(folder: Path, step: Step, paths: Sequence[Path]) -> None:
    """Refuse files whose step has to be done anew, because one before it was; also those of the steps before it."""
    while step in _BEFORE:
        before = _BEFORE[step]
        inputs = [step_path(folder, before, path.name.removesuffix(f"{_ENDS[step]}.fits")) for path in paths]
        refuse_stale(((path, one) for path, one in zip(paths, inputs, strict=True) if path.exists()), MODES[step])
        step, paths = before, inputs


def _read(path: Path, scratch: Path) -> StepFrame:
    try:
        facts = image_unit(path).facts
        value, sigma = facts.get("FLAT_NFAC"), facts.get("FLAT_NSIG", float("nan"))
        return StepFrame(
            path=path,
            source=source_of(path, scratch),
            header=header_in(path, FrameKind.FLAT),
            label_c=float(str(facts["FLAT_TGRP"])),
            step_adu=float(str(facts["FLAT_STEP"])),
            dark=str(facts["FLAT_DARK"]),
            dark_c=float(str(facts.get("FLAT_DARK_TEMP", "nan"))),
            dark_s=float(str(facts.get("FLAT_DARK_EXPT", "nan"))),
            level=None
            if value is None
            else Level(
                value=float(str(value)),
                relative_sigma=float(str(sigma)),
                norm=Norm(str(facts.get("FLAT_NORM", "robust"))),
            ),
            vignetting=str(facts.get("FLAT_VIGN", "")),
        )
    except (KeyError, ValueError, Unreadable) as error:
        said = f"{path} is no file of this step ({error})"
        raise Usage(said, advice="make the step again, or take it away") from error


def step_path(folder: Path, step: Step, name: str) -> Path:
    """Return the path of a file of a step in the folder of a model."""
    return folder / FOLDERS[step] / f"{name}{_ENDS[step]}.fits"


def forget_step(folder: Path, step: Step, keep: Iterable[Path] = (), disk: Disk = REAL_DISK) -> None:
    """Remove our own files of a step that were made by an earlier call, and are not to be kept."""
    kept = set(keep)
    for path in (folder / FOLDERS[step]).glob(f"*{_ENDS[step]}.fits"):
        if path not in kept and str(card_of(path, "SWCREATE")).startswith("nightcal"):
            disk.remove(path)


def _band(source: Source, band: Band) -> NDArray[np.float32]:
    return np.asarray(read_rows(source, band), np.float32)


def _write(source: Source, path: Path, cards: Sequence[Card], threads: Executor, disk: Disk) -> None:
    refuse_foreign([path])
    height, width = source.location.shape
    with create_planes(path, [Plane(name="FLAT", cards=tuple(cards))], (height, width), disk, spare_cards=36) as file:

        def take(band: Band, rows: NDArray[np.float32]) -> None:
            file.write("FLAT", band.start, rows)

        rows = rows_for(memory_mb=_MEMORY_MB, frames=6, columns=width, workers=WORKERS)
        map_bands(source, _band, take, threads, bands_of(height, rows), workers=WORKERS)
        put_in_place([file], disk)


def _cards(header: FrameHeader, label_c: float, step_adu: float, dark: str, step: Step) -> list[Card]:
    unit = "adu" if step is Step.REDUCED else ""
    kept = replace(
        header,
        software=f"nightcal {version()}",
        median_adu=None,
        std_adu=None,
        min_adu=None,
        max_adu=None,
        extra={},
    )
    return [
        *base_cards(kept, "MASTER FLAT STEP", unit),
        Card("FLAT_PIPE_STEP", step.value, "what was done last"),
        Card("FLAT_DARK", dark, ""),
        Card("FLAT_TGRP", label_c, "[degC] what its temperature is called"),
        Card("FLAT_STEP", step_adu, "[adu] step of the camera"),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkOf:
    """The dark of a flat: a file, its temperature and exposure, and how far it is (°C and s, added)."""

    path: Path
    source: Source
    temperature_c: float
    exposure_s: float
    distance: float


def reduce_flat(
    member: Member,
    source: Source,
    dark: DarkOf,
    path: Path,
    threads: Executor,
    *,
    saturation_adu: float,
    disk: Disk = REAL_DISK,
) -> None:
    """Write a flat less its dark; saturated samples become NaN.

    Raises
    ------
    Usage
        A file of that name is of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    cards = [
        *_cards(
            replace(member.frame.header, ccd_temp_c=member.temperature_c),
            member.label_c,
            float(member.numbers.step),
            dark.path.name,
            Step.REDUCED,
        ),
        Card("FLAT_DARK_TEMP", dark.temperature_c, "[degC]"),
        Card("FLAT_DARK_EXPT", dark.exposure_s, "[s]"),
        Card("FLAT_DARK_DIFF", dark.distance, "|dT| + |dexp|"),
        Card("HISTORY", f"Made of {member.frame.path.name}, pixels {member.numbers.sha256}"),
    ]
    _write(calibrated(source, less=dark.source, saturation_adu=saturation_adu), path, cards, threads, disk)


def reduced_frame(member: Member, source: Source, dark: DarkOf, *, saturation_adu: float) -> StepFrame:
    """Return a flat less its dark as it is worked out when it is read; nothing is written."""
    return StepFrame(
        path=member.frame.path,
        source=calibrated(source, less=dark.source, saturation_adu=saturation_adu),
        header=replace(member.frame.header, ccd_temp_c=member.temperature_c),
        label_c=member.label_c,
        step_adu=float(member.numbers.step),
        dark=dark.path.name,
        dark_c=dark.temperature_c,
        dark_s=dark.exposure_s,
    )


def normalised_frame(frame: StepFrame, norm: Norm) -> StepFrame:
    """Return a flat divided by its level as it is worked out when it is read; nothing is written.

    Raises
    ------
    ValueError
        There is no light in it.
    """
    level = measured_level(frame.source, norm)
    return replace(frame, source=calibrated(frame.source, level=level.value), level=level)


def _dark_cards(frame: StepFrame) -> list[Card]:
    facts = image_unit(frame.path).facts
    names = ("FLAT_DARK_TEMP", "FLAT_DARK_EXPT", "FLAT_DARK_DIFF")
    return [Card(name, float(str(facts[name]))) for name in names if name in facts]


def normalise_flat(frame: StepFrame, norm: Norm, path: Path, threads: Executor, disk: Disk = REAL_DISK) -> Level:
    """Write a flat divided by its level, and return that.

    Raises
    ------
    ValueError
        There is no light in it.
    Usage
        A file of that name is of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    level = measured_level(frame.source, norm)
    cards = [*normalised_cards(frame, norm, level), from_card(frame.path)]
    _write(calibrated(frame.source, level=level.value), path, cards, threads, disk)
    return level


def normalised_cards(frame: StepFrame, norm: Norm, level: Level) -> list[Card]:
    """Return the cards of a flat that was divided by its level."""
    return [
        *_cards(frame.header, frame.label_c, frame.step_adu, frame.dark, Step.NORMALIZED),
        *_dark_cards(frame),
        Card("FLAT_NORM", norm.value, "what it was divided by"),
        Card("FLAT_NFAC", level.value, "[adu] what it was divided by"),
        Card("FLAT_NSIG", level.relative_sigma, "relative error of that"),
    ]


def flatten(
    frame: StepFrame, vignetting: Source, path: Path, threads: Executor, *, word: str, disk: Disk = REAL_DISK
) -> None:
    """Write a normalised flat divided by the vignetting; `word` is what that is.

    Raises
    ------
    Usage
        A file of that name is of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    facts = image_unit(frame.path).facts
    cards = _cards(frame.header, frame.label_c, frame.step_adu, frame.dark, Step.VIGNETTING)
    cards += [*_dark_cards(frame), *(Card(n, facts[n]) for n in ("FLAT_NORM", "FLAT_NFAC", "FLAT_NSIG") if n in facts)]  # type: ignore[arg-type]
    cards += [Card("FLAT_VIGN", word, "vignetting that was taken off"), from_card(frame.path)]
    _write(calibrated(frame.source, by=vignetting), path, cards, threads, disk)


Made = Callable[[StepFrame, Path], Any]


def made_of(
    frames: Sequence[StepFrame], folder: Path, step: Step, make: Made, disk: Disk = REAL_DISK
) -> tuple[list[Path], dict[Path, str]]:
    """Make the files of a step from those of the one before; return them, and what was left out and why.

    Files of an earlier call that were not made again are removed.
    """
    made, unused = [], {}
    before = _ENDS[Step.REDUCED if step is Step.NORMALIZED else Step.NORMALIZED]
    for frame in frames:
        path = step_path(folder, step, frame.path.name.removesuffix(f"{before}.fits"))
        try:
            make(frame, path)
        except ValueError as error:
            unused[frame.path] = str(error)
            continue
        made.append(path)
    forget_step(folder, step, made, disk)
    return made, unused


def model_folders(out: Path, step: Step) -> tuple[Path, ...]:
    """Return the folders of the models of a result that have files of a step.

    Raises
    ------
    Usage
        There is none.
    """
    found = [folder for folder in (out, *_inner(out)) if any((folder / FOLDERS[step]).glob(f"*{_ENDS[step]}.fits"))]
    if not found:
        raise Usage(
            f"{out} holds no folder {FOLDERS[step]} with files *{_ENDS[step]}.fits",
            advice=f"make them first with --mode {MODES[step]}, or with --mode full",
        )
    return tuple(found)


def _inner(out: Path) -> list[Path]:
    return sorted(path for path in out.iterdir() if path.is_dir()) if out.is_dir() else []
