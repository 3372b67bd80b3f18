"""What every step of a flat model needs, and what it says of what it made."""

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from services.files.disk import Disk
from services.models.banding import WORKERS
from services.models.gathering import SCRATCH, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The folder of a model, threads, and a folder for frames that are unpacked."""

    folder: Path
    threads: ThreadPoolExecutor
    scratch: Path
    progress: Progress
    disk: Disk


@contextmanager
def job_in(folder: Path, progress: Progress, disk: Disk) -> Iterator[Job]:
    """Give what the steps of the model in a folder need; what was unpacked is removed when the block ends."""
    scratch = folder / SCRATCH
    try:
        with ThreadPoolExecutor(WORKERS, "nightcal-flats") as threads:
            yield Job(folder=folder, threads=threads, scratch=scratch, progress=progress, disk=disk)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatMade:
    """What was made in the folder of a model: in words, and the files that were left out with the reason."""

    folder: Path
    lines: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def joined(self, other: "FlatMade") -> "FlatMade":
        """Return this with what another step made."""
        left_out = {**self.left_out, **other.left_out}
        return replace(self, lines=(*self.lines, *other.lines), left_out=left_out)
