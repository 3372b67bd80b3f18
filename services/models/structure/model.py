"""Structures in the flats and darks of one sensor: what came, what went, and what follows time or temperature."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration.frames import FrameKind
from calibration.keywords import Card
from calibration.keywords.kinds import kind_of_word
from calibration.models.structure.shapes import FALSE_SHARE, Kind, hot_kind_of, merged, significant
from services.datasets import SEARCH_DEPTH
from services.datasets.frame import DatasetFrames
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk, write_text
from services.files.planes import Plane, create_planes
from services.models.gathering import SCRATCH, Gathered, Member, Progress, Refused, gather, of_each
from services.models.grouping import opened
from services.models.products import base_cards, card_of, forget_others, header_of, put_in_place, refuse_foreign
from services.models.records import Fitted, files_before, write_sidecar
from services.models.structure.bands import Compared, Means, compare, write_means
from services.models.structure.epochs import Plan, time_of
from services.models.structure.light import light_trend
from services.models.structure.measure import MOST, Measured, measured
from services.models.structure.pairing import BY_TEMPERATURE, IGNORING, lag_note, pair_notes
from services.models.structure.plan import Beside, plan_of
from services.models.structure.records import (
    Result,
    comparison_rows,
    history_rows,
    structure_rows,
    write_tables,
)
from services.version import version
from services.words import count

FORM = "nightcal structures 1"
SIDECAR, MAP = "structures.json", "structures.fits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an analysis is to do.

    Attributes
    ----------
    analyses : tuple of str
        Each flat is compared with the earliest of its temperature, and with the earliest of all.
    reduce : bool
        Whether biases and darks are taken off the flats before.
    memory_mb : float
    """

    analyses: tuple[str, ...] = (BY_TEMPERATURE,)
    reduce: bool = False
    memory_mb: float = 256.0


STRUCTURE, OUTGASSING = (BY_TEMPERATURE,), (BY_TEMPERATURE, IGNORING)


def fit(
    base: Path | DatasetFrames,
    out: Path,
    asked: Asked,
    *,
    depth: int = SEARCH_DEPTH,
    progress: Progress = lambda *_: None,
    refused: Refused | None = None,
    disk: Disk = REAL_DISK,
) -> tuple[Fitted, ...]:
    """Find the structures in the flats of a dataset, and in the darks beside them, for each setting of a camera.

    Parameters are those of `services.models.bias.model.fit`.

    Raises
    ------
    Usage
        There are no flats of two times to compare, or `out` holds files of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    found = gather(base, out, FrameKind.FLAT, FrameKind.BIAS, FrameKind.DARK, depth=depth, progress=progress, disk=disk)
    alone = list[Gathered]()

    def make(gathered: Gathered, folder: Path) -> Fitted | None:
        done = _analysed(gathered, folder, asked, progress, disk)
        if done is None:
            alone.append(gathered)
        return done

    made = of_each(found, out, make, refused)
    if not any(made):
        raise Usage(_nothing(made, found), advice=_ADVICE)
    return tuple(_with_notes(each, _alone(alone), disk) for each in made if each)


def _alone(settings: Sequence[Gathered]) -> list[str]:
    """Return in words which settings of the camera have nothing to compare."""
    return [
        f"the {count(len(each.members), 'flat')} of {each.name} have no two epochs that can be compared: nothing is "
        "said of them"
        for each in settings
    ]


def _with_notes(made: Fitted, notes: Sequence[str], disk: Disk) -> Fitted:
    if not notes:
        return made
    said = {**made.sidecar, "notes": [*made.sidecar["notes"], *notes]}
    write_sidecar(made.folder / SIDECAR, said, disk)
    return replace(made, sidecar=said)


_ADVICE = (
    "name a dataset with flats of one temperature from two times or more; flats of different exposures whose levels "
    "differ are compared when their biases and darks are taken off (--reduce, of outgassing --calibrate)"
)


def _nothing(made: Sequence[Fitted | None], found: Sequence[Gathered]) -> str:
    frames = sum(len(each.members) for each in found)
    exposures = sorted({member.exposure_s for each in found for member in each.members})
    listed = f", of {', '.join(f'{each:g} s' for each in exposures[:6])}{', …' if len(exposures) > 6 else ''},"
    return (
        f"nothing can be compared: the {frames} usable flats{listed if len(exposures) > 1 else ''} have no two epochs "
        f"of one condition ({count(len(made), 'setting')})"
    )


def _analysed(gathered: Gathered, out: Path, asked: Asked, progress: Progress, disk: Disk) -> Fitted | None:
    scratch, unused = out / SCRATCH, dict(gathered.unused)
    try:
        refuse_foreign([out / MAP])
        beside = _beside(gathered, unused, scratch) if asked.reduce else None
        darks = [member for member in gathered.beside if member.kind is FrameKind.DARK]
        plans = [
            plan_of(
                FrameKind.FLAT,
                gathered.members,
                beside=beside,
                analyses=asked.analyses,
                unused=unused,
                scratch=scratch,
            ),
            plan_of(FrameKind.DARK, darks, beside=None, analyses=(BY_TEMPERATURE,), unused=unused, scratch=scratch),
        ]
        if plans[0] is None:
            return None
        results, names = list[Result](), list[str]()
        for plan in plans:
            if plan is not None:
                made, files = _compared(plan, out, asked, progress, disk)
                results += made
                names += files
        results = [_told_apart(result, results, reduced=asked.reduce) for result in results]
        _write_map(results, out / MAP, disk)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    names += [MAP, *write_tables(results, out, disk)]
    if asked.reduce:
        names += _suspicious(unused, out, disk)
    forget_others(out, files_before(out / SIDECAR), names, disk)
    sidecar = _sidecar(results, unused, asked, names, gathered.remarks)
    write_sidecar(out / SIDECAR, sidecar, disk)
    return Fitted(folder=out, sidecar=sidecar, remarks=gathered.remarks)


def _beside(gathered: Gathered, unused: dict[Path, str], scratch: Path) -> Beside:
    if not gathered.beside:
        raise Usage("there are no biases or darks to take off the flats", advice="leave --reduce out, or add them")
    members, sources = opened(gathered.beside, unused, scratch)
    return Beside(members=members, sources=sources)


def _compared(plan: Plan, out: Path, asked: Asked, progress: Progress, disk: Disk) -> tuple[list[Result], list[str]]:
    """Compare the epochs of a plan; the files are those of their means."""
    reduced = asked.reduce or not plan.is_flat
    folder = ("flats_norm_reduced" if asked.reduce else "flats_norm") if plan.is_flat else "darks_mean"
    means = write_means(plan, out / folder, memory_mb=asked.memory_mb, progress=progress, disk=disk)
    progress("comparisons", sum(map(len, plan.pairs.values())), 0)
    results = []
    for analysis, pairs in plan.pairs.items():
        compared = []
        for number, pair in enumerate(pairs):
            compared.append(compare(plan, means, pair, number, memory_mb=asked.memory_mb, reduced=reduced))
            progress("comparisons", None, 1)
        found = _judged(plan, means, compared, share=FALSE_SHARE / len(plan.pairs))
        results.append(Result(analysis=analysis, plan=plan, compared=tuple(compared), found=tuple(found)))
    return results, [path.relative_to(out).as_posix() for path in means.paths]


def _judged(plan: Plan, means: Means, compared: Sequence[Compared], *, share: float) -> list[Measured]:
    candidates = merged([structure for each in compared for structure in each.structures])
    kept = significant(candidates, sum(each.tests for each in compared), share=share)
    return measured(plan, means, compared, kept)


def _told_apart(result: Result, results: Sequence[Result], *, reduced: bool) -> Result:
    """Call what is brighter in flats and in darks, too, a matter of charge and not of light.

    Of reduced flats only single pixels and small groups are, of which the darks that were taken off had another charge.
    """
    if not result.plan.is_flat:
        return result
    hot = [each for other in results if not other.plan.is_flat for each in other.found]
    found = (each if reduced and each.kind is not Kind.RESPONSE else _of_charge(each, hot) for each in result.found)
    return replace(result, found=tuple(found))


def _of_charge(each: Measured, hot: Sequence[Measured]) -> Measured:
    same = [h for h in hot if each.structure.sign > 0 and each.structure.place.meets(h.structure.place)]
    return replace(each, kind=hot_kind_of(each.structure)) if same else each


def _write_map(results: Sequence[Result], path: Path, disk: Disk) -> None:
    """Write where the structures are: their numbers, and how strong they are where they are seen."""
    plan = results[0].plan
    number, depth = np.zeros(plan.shape, np.uint32), np.zeros(plan.shape, np.float32)
    for each in reversed(results[0].found):
        part = number[each.structure.place.slices]
        part[each.structure.pixels] = each.number
        depth[each.structure.place.slices][each.structure.pixels] = each.shape.depth
    base = base_cards(header_of(plan.epochs[0].members[0].frame.header, FrameKind.FLAT), "MASTER STRUCTURES", "")
    cards = (*base, Card("MODELID", _identity(results), "of the analysis, as in the sidecar"))
    planes = [Plane(name="DEPTH", cards=cards), Plane(name="STRUCT", dtype=np.uint32, cards=cards[-1:])]
    with create_planes(path, planes, plan.shape, disk, spare_cards=36) as file:
        file.write("DEPTH", 0, depth)
        file.write("STRUCT", 0, number)
        put_in_place([file], disk)


def _identity(results: Sequence[Result]) -> str:
    frames = [m.numbers.sha256 for r in results for epoch in r.plan.epochs for m in epoch.members]
    return hashlib.sha256(repr((frames, [r.analysis for r in results], version())).encode()).hexdigest()[:16]


def _suspicious(unused: Mapping[Path, str], out: Path, disk: Disk) -> list[str]:
    """Write which biases and darks were left out, and why: the logs that earlier programs had."""
    names = {"suspicious_bias.log": FrameKind.BIAS, "suspicious_darks.log": FrameKind.DARK}
    for name, kind in names.items():
        lines = [f"{path}: {why}\n" for path, why in sorted(unused.items()) if _is(kind, path)]
        write_text(out / name, "".join(lines), disk, replace=True)
    return list(names)


def _is(kind: FrameKind, path: Path) -> bool:
    """Whether a file that was left out is of a kind: by its header, else by the names of its folders and its own."""
    stated = kind_of_word(str(card_of(path, "IMAGETYP") or ""))
    return stated is kind if stated else any(kind_of_word(part) is kind for part in (*path.parts[:-1], path.stem))


def _sidecar(
    results: Sequence[Result], unused: Mapping[Path, str], asked: Asked, names: Sequence[str], remarks: Sequence[str]
) -> dict[str, Any]:
    plans = list({id(r.plan): r.plan for r in results}.values())
    return {
        "form": FORM,
        "identity": _identity(results),
        "software": f"nightcal {version()}",
        "reduced": asked.reduce,
        "false_share": FALSE_SHARE,
        "notes": [*_notes(results, reduced=asked.reduce), *remarks],
        "shape": list(plans[0].shape),
        "noise": [
            {
                "frames": plan.kind.lower(), "constant_adu2": plan.law.constant, "adu2_per_adu": plan.law.slope,
                "freedom": plan.law.prior,
            }
            for plan in plans
        ],
        "comparisons": comparison_rows(results),
        "structures": structure_rows(results),
        "history": history_rows(results),
        "inputs": [_input(m, epoch.name) for plan in plans for epoch in plan.epochs for m in epoch.members],
        "left_out": [{"path": str(path), "reason": why} for path, why in sorted(unused.items())],
        "files": list(names),
    }  # fmt: skip


def _input(member: Member, epoch: str) -> dict[str, Any]:
    return {
        "path": str(member.frame.path),
        "kind": member.kind.value,
        "epoch": epoch,
        "time": time_of(member),
        "temperature_c": member.temperature_c,
        "mean_adu": member.numbers.mean,
        "std_adu": member.numbers.std,
        "pixel_sha256": member.numbers.sha256,
    }


def _notes(results: Sequence[Result], *, reduced: bool) -> list[str]:
    """Return in words what the frames do not show."""
    notes = list[str]()
    flats = [result for result in results if result.plan.is_flat]
    plan = flats[0].plan
    notes += pair_notes(plan, reduced=reduced)
    if lag := lag_note(plan):
        notes.append(lag)
    if light := light_trend(plan):
        notes.append(light)
    if all(len(epoch.sources) == 1 for epoch in plan.epochs):
        notes.append("every epoch is a single flat: the noise is that between epochs, and a cosmic hit is a structure")
    elif min(len(epoch.sources) for epoch in plan.epochs) < 3:
        notes.append("some epochs have fewer than three flats: a cosmic hit in them may be taken for a structure")
    joined = max(epoch.attempts for result in results for epoch in result.plan.epochs)
    if joined > 1:
        notes.append(
            f"there are so many attempts that up to {joined} neighbouring ones are one epoch: what came or went is "
            "dated no better than that"
        )
    if not all(epoch.time for epoch in plan.epochs):
        notes.append("some flats have no date: they stand at the end, and dates and trends are without them")
    widened = max((each.widened for result in flats for each in result.compared), default=1.0)
    if widened > 1.1:
        notes.append(
            f"the pixels of some flats scatter {widened:.1f} times as much as noise explains; structures must be "
            "stronger by as much to be found"
        )
    if any(len(result.found) >= MOST for result in results):
        notes.append(f"more than {MOST} structures were found; the most significant ones are listed")
    if not any(not result.plan.is_flat for result in results):
        notes.append("no darks of two times are beside the flats: hot clusters are not looked for")
    return notes
