"""Each dark less its bias, frame by frame, as earlier programs wrote them: many large files, only where asked for."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.frames import FrameKind
from calibration.keywords import Card
from services.bands import Band, read_band
from services.errors import RunCode, StorageError, Usage
from services.files.disk import REAL_DISK, Disk
from services.files.planes import Plane, PlanesFile, create_planes
from services.models.banding import fit_in_bands
from services.models.bias import fit as bias_fit
from services.models.dark.bands import Darks, darks_of
from services.models.dark.files import exposure_folder
from services.models.dark.plan import DarkPlan, Grouped
from services.models.gathering import Member, Progress
from services.models.products import base_cards, header_of, put_in_place, refuse_foreign
from services.words import count, size

CORRECTED = "bias_corrected_darks"

Announce = Callable[[str], object]
"""Gets how much the files take, before the first of them is written."""

_AT_ONCE = 64
"""Files that grow in one pass over the biases, where no group has more."""

_HEADERS = 3 * 2880
"""Bytes of a file beside its pixels, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A dark that is written less its bias: its frame, the number of its group, and its file below the results."""

    member: Member
    group: int
    name: str


def corrected_of(darks: Grouped) -> tuple[Corrected, ...]:
    """Return the darks in the order of their groups, numbered by exposure, from 1.

    Raises
    ------
    Usage
        There are no biases.
    """
    if darks.bias.work is None:
        raise Usage(
            "there are no biases beside the darks: no dark can be written less its bias",
            advice="add biases of the same settings, or leave out --corrected-darks",
        )
    numbers: defaultdict[str, int] = defaultdict(int)
    found = []
    for group, each in enumerate(darks.groups):
        for i in each:
            folder = exposure_folder(darks.members[i].exposure_s)
            numbers[folder] += 1
            name = f"{CORRECTED}/{folder}/dark_corrected_{numbers[folder]:04d}.fits"
            found.append(Corrected(member=darks.members[i], group=group, name=name))
    return tuple(found)


def bound(found: Sequence[Corrected], darks: Grouped, out: Path, disk: Disk = REAL_DISK) -> str:
    """Return in words how much the files take at most, before the first of them is written.

    Raises
    ------
    StorageError
        There is less room.
    Usage
        A file of that name is of another program.
    """
    refuse_foreign([out / each.name for each in found])
    rows, columns = darks.shape
    wanted, free = len(found) * (8 * rows * columns + _HEADERS), disk.free_bytes(out)
    said = f"{count(len(found), 'dark')} less the bias take {size(wanted)} in {out / CORRECTED}"
    if wanted > free:
        raise StorageError(f"{said}, and {size(free)} are free", code=RunCode.DISK_FULL)
    return f"{said}; {size(free)} are free"


def write_corrected(
    found: Sequence[Corrected],
    plan: DarkPlan,
    out: Path,
    *,
    memory_mb: float = 256.0,
    progress: Progress = lambda *_: None,
    disk: Disk = REAL_DISK,
) -> None:
    """Write each dark less its bias in ADU, and the bias that was taken off (BIAS_MAP).

    Saturated samples are NaN. The offset that all pixels of one frame have in common stays in it.

    Parameters
    ----------
    found : sequence of Corrected
        As from `corrected_of`.
    plan : DarkPlan
    out : Path
    memory_mb : float
        For the bands that are worked on at once.
    progress : callable
    disk : Disk

    Raises
    ------
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    for start, stop in _batches(plan.darks.groups):
        part = [each for each in found if start <= each.group < stop]
        work = darks_of(_of_groups(plan.darks, start, stop), plan.model.noise)
        with ExitStack() as stack:
            files = [
                stack.enter_context(create_planes(out / each.name, _planes(each, plan.darks), plan.darks.shape, disk))
                for each in part
            ]
            fit_in_bands(
                work.every,
                work.of,
                corrected_band,
                _Taking(files=files, groups=[each.group - start for each in part]),
                sizes=(sum(work.sizes), *work.of_groups),
                held=work.held + len(files),
                memory_mb=memory_mb,
                progress=progress,
            )
            put_in_place(files, disk)


def _batches(groups: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """Yield the first group of each pass over the biases, and the one after its last."""
    edges, files = [0], 0
    for number, each in enumerate(groups):
        if files and files + len(each) > _AT_ONCE:
            edges.append(number)
            files = 0
        files += len(each)
    yield from pairwise([*edges, len(groups)])


def _of_groups(darks: Grouped, start: int, stop: int) -> Grouped:
    part, bias = slice(start, stop), darks.bias
    some = replace(
        bias,
        temperature_c=bias.temperature_c[part],
        offset_adu=bias.offset_adu[part],
        nearest=bias.nearest[part],
    )
    return replace(darks, groups=darks.groups[part], bias=some)


def _planes(each: Corrected, darks: Grouped) -> tuple[Plane, Plane]:
    """Return the planes of a file; its header is that of the dark."""
    header = each.member.frame.header
    kept = replace(
        header_of(header, FrameKind.DARK, each.member.temperature_c),
        exposure_us=header.exposure_us,
        date_obs=header.date_obs,
    )
    work = darks.bias.work
    labels = () if work is None else work.labels_c
    cards = (
        *base_cards(kept, "MASTER DARK FRAME"),
        Card("TEMP", each.member.label_c, "[degC]"),
        Card("T_NEAR", labels[darks.bias.nearest[each.group]], "[degC] nearest temperature of the biases"),
        Card("BIASSUB", value=True, comment="T: signal above the bias"),
        Card("SRCFILE", each.member.frame.path.name[:60], "the dark"),
        Card("HISTORY", "One dark less its bias, not clipped, not shifted; NaN where saturated"),
        Card("HISTORY", darks.bias.reason),
    )
    bias = tuple(card for card in cards if card.keyword in {"TEMP", "T_NEAR", "BUNIT"})
    return Plane(name="DARK", cards=cards), Plane(name="BIAS_MAP", cards=bias)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lessened:
    """A band of darks less their bias, shape (n, rows, x), and the bias of each group, shape (K, rows, x)."""

    darks: NDArray[np.float32]
    bias: NDArray[np.float32]


def corrected_band(work: Darks, band: Band) -> Lessened:
    """Read one band of darks and take their bias off: the `work` of `map_bands`."""
    if work.bias.work is None:
        raise ValueError("there are no biases")
    bias = work.bias.planes(bias_fit.means_of(work.bias.work, band))
    found = np.empty((len(work.sources), band.rows, bias.shape[2]), np.float32)
    for group, (start, stop) in enumerate(pairwise(accumulate(work.sizes, initial=0))):
        frames = read_band(work.sources[start:stop], band)
        found[start:stop] = frames - bias[group]
        found[start:stop][~(frames < work.saturation_adu)] = np.nan
    return Lessened(darks=found, bias=bias.astype(np.float32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Taking:
    """Writes bands to the files of the darks; `groups` has the group of each."""

    files: Sequence[PlanesFile]
    groups: Sequence[int]

    def __call__(self, band: Band, done: Lessened) -> None:
        for file, values, group in zip(self.files, done.darks, self.groups, strict=True):
            file.write("DARK", band.start, values)
            file.write("BIAS_MAP", band.start, done.bias[group])
