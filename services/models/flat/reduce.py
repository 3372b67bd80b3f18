"""Flats less their darks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from services.bands import Source
from services.errors import Usage
from services.files.units import Unreadable
from services.models.flat.darks import MOST_C, MOST_S, Dark, best_dark, darks_of, ready
from services.models.flat.job import FlatMade, Job
from services.models.flat.names import names_of
from services.models.flat.steps import DarkOf, Step, StepFrame, forget_step, reduce_flat, reduced_frame, step_path
from services.models.gathering import Gathered, Member
from services.models.grouping import opened, saturation_of

T = TypeVar("T")


Reduce = Callable[[Member, Source, DarkOf, float], T]
"""Takes a dark off a flat; the number is what is saturated, in ADU."""


def reduced(gathered: Gathered, listed: Sequence[Dark] | None, job: Job) -> FlatMade:
    """Write the flats of one filter and setting less their darks; flats without a dark are left out and named.

    Parameters
    ----------
    gathered : Gathered
    listed : sequence of Dark, optional
        In place of the darks beside the flats.
    job : Job

    Raises
    ------
    Usage
        No flat has a dark that can be used, or a file is of another program.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    names = names_of([member.frame.path for member in gathered.members])

    def written(member: Member, source: Source, dark: DarkOf, saturation: float) -> Path:
        path = step_path(job.folder, Step.REDUCED, names[member.frame.path])
        reduce_flat(member, source, dark, path, job.threads, saturation_adu=saturation, disk=job.disk)
        return path

    paths, made = each_less_dark(gathered, listed, job, written)
    forget_step(job.folder, Step.REDUCED, paths, job.disk)
    return made


def reduced_frames(gathered: Gathered, job: Job) -> tuple[list[StepFrame], FlatMade]:
    """Return the flats of one filter and setting less their darks, which is worked out when they are read.

    Parameters
    ----------
    gathered : Gathered
    job : Job

    Raises
    ------
    Usage
        No flat has a dark that can be used.
    StorageError
        The disk is full, or a file cannot be read or written.
    """

    def read(member: Member, source: Source, dark: DarkOf, saturation: float) -> StepFrame:
        return reduced_frame(member, source, dark, saturation_adu=saturation)

    return each_less_dark(gathered, None, job, read)


def each_less_dark(
    gathered: Gathered, listed: Sequence[Dark] | None, job: Job, reduce: Reduce[T]
) -> tuple[list[T], FlatMade]:
    """Give each flat and its dark to `reduce`, and return what it made; flats without a dark are left out and named.

    Raises
    ------
    Usage
        No flat has a dark that can be used.
    """
    unused = dict(gathered.unused)
    members, sources = opened(gathered.members, unused, job.scratch)
    darks = darks_of(gathered.beside) if listed is None else tuple(listed)
    used, made = dict[Dark, DarkOf](), list[T]()
    saturation = saturation_of(members, sources)
    job.progress("flats reduced", len(members), 0)
    for member, source in zip(members, sources, strict=True):
        job.progress("flats reduced", None, 1)
        dark = _dark_for(member, darks, used, job, unused)
        if dark is not None:
            made.append(reduce(member, source, dark, saturation))
    if not made:
        raise Usage(f"none of the {len(members)} flats has a dark that can be used", advice=_advice(darks, unused))
    return made, FlatMade(
        folder=job.folder,
        lines=(f"{len(made)} flats less their darks",),
        left_out={str(path): why for path, why in unused.items()},
        remarks=gathered.remarks,
    )


def _dark_for(
    member: Member, darks: Sequence[Dark], used: dict[Dark, DarkOf], job: Job, unused: dict[Path, str]
) -> DarkOf | None:
    """Return the dark of a flat; without one the flat joins `unused`."""
    celsius, seconds = member.temperature_c, member.exposure_s
    best = best_dark(darks, celsius, seconds)
    if best is None:
        unused[member.frame.path] = (
            f"no dark is within {MOST_C:g} °C and {MOST_S:g} s of {celsius:.1f} °C, {seconds:g} s"
        )
        return None
    try:
        if best not in used:
            found = ready(best, job.folder, member.frame.header.shape, job.scratch, job.disk)
            used[best] = DarkOf(
                path=found.path,
                source=found.source,
                temperature_c=best.temperature_c,
                exposure_s=best.exposure_s,
                distance=0.0,
            )
    except Unreadable as error:
        unused[member.frame.path] = f"its dark cannot be used: {error.detail}"
        return None
    return replace(used[best], distance=best.distance(celsius, seconds))


def _advice(darks: Sequence[Dark], unused: Mapping[Path, str]) -> str:
    if not darks:
        return "take darks of the same settings and of the flats' exposures"
    damaged = [why for why in unused.values() if why.startswith("its dark")]
    if damaged:
        return f"look at the darks: {damaged[0]}"
    there = ", ".join(f"{dark.temperature_c:.1f} °C {dark.exposure_s:g} s" for dark in darks[:5])
    return f"take darks nearer to the temperature and exposure of the flats; there are {there}"
