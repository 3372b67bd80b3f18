"""What each frame of a dataset shows: its statistics, and what the checks of our own frames say against it.

A frame is measured once: what was found is appended to a file in the folder of results, and counts as long as the
frame, its kind (which an index may state), and the one before it are as they were. A call that was interrupted goes on
from there.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock

import numpy as np
from numpy.typing import NDArray

from calibration.checks import PreviousFrame, judge
from calibration.clipping import Distribution
from calibration.errors import FrameCode
from calibration.frames import CaptureRequest, Frame, FrameKind, FrameStats, Pixels, Purpose
from calibration.series import Measured, odd_frames, two_levels
from calibration.stats import as_counts, compare, distribution, measure
from services.datasets.frame import DatasetFrame
from services.datasets.spread import read_spread
from services.errors import StorageError, meaning
from services.files.disk import REAL_DISK, Disk, reported
from services.files.fits import read_pixels
from services.words import count

KEPT = ".measured.jsonl"
"""The file of what was measured, in the folder of results."""

_VERSION = 2
"""To be raised when the same frame gives other numbers."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameNumbers:
    """What one frame shows; values in ADU, of the whole frame, the standard deviation with ddof 0.

    `level` and `sigma` are the clipped ones of its middle, `codes` what the checks refuse it for, each with its words.
    `problem` says in words why it could not be read; then nothing else is known.
    """

    mean: float = float("nan")
    median: float = float("nan")
    std: float = float("nan")
    p16: float = float("nan")
    p84: float = float("nan")
    level: float = float("nan")
    sigma: float = float("nan")
    maximum: float = float("nan")
    step: int = 1
    sha256: str = ""
    codes: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


class Numbers:
    """What was measured of frames, kept in a file from one call to the next.

    Parameters
    ----------
    folder : Path
        Of the results; the file is made there.
    disk : Disk
    by_rows : bool
        Of large frames read no more than `calibration.stats.spread_rows`; their digest is then that of these rows.
    """

    def __init__(self, folder: Path, disk: Disk = REAL_DISK, *, by_rows: bool = False) -> None:
        self._read = read_spread if by_rows else read_pixels
        self._way = f"{_VERSION} by rows" if by_rows else f"{_VERSION}"
        self._path, self._disk, self._lock, self._over = folder / KEPT, disk, Lock(), Event()
        self._known = dict(_read(self._path))

    def of(
        self, series: Sequence[Sequence[DatasetFrame]], progress: Callable[[int], object] = lambda _: None
    ) -> dict[Path, FrameNumbers]:
        """Return what the frames of some series show; each series is measured in its order, frame after frame.

        Raises
        ------
        StorageError
            The file cannot be written: the disk is full, or the folder may only be read.
        """
        found: dict[Path, FrameNumbers] = {}
        with reported(self._path):
            self._disk.make_folder(self._path.parent)
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" if file.tell() else "")  # the last line may have been written in part

                def keep(mark: str, numbers: FrameNumbers) -> None:
                    with self._lock:
                        file.write(json.dumps({"frame": mark, **asdict(numbers)}) + "\n")
                        file.flush()

                def measured(frames: Sequence[DatasetFrame]) -> dict[Path, FrameNumbers]:
                    return self._series(frames, keep, progress)

                with ThreadPoolExecutor(_WORKERS, thread_name_prefix="nightcal-measure") as pool:
                    try:
                        for each in pool.map(measured, series):
                            found |= each
                    except BaseException:
                        self._over.set()  # a series may be long, and whoever interrupts does not wait for it
                        pool.shutdown(cancel_futures=True)
                        raise
        return found

    def _series(
        self,
        frames: Sequence[DatasetFrame],
        keep: Callable[[str, FrameNumbers], None],
        progress: Callable[[int], object],
    ) -> dict[Path, FrameNumbers]:
        found: dict[Path, FrameNumbers] = {}
        last, before = "", _Before()
        for frame in frames:
            if self._over.is_set():
                break
            own = _mark(frame.path)
            mark = f"{self._way} {frame.header.kind} {own} after {last}"
            numbers = self._known.get(mark)
            if numbers is None:
                known = before if before.mark == last else _Before.of(last, frames, found, self._read)
                numbers, before = _measured(frame, known, self._read)
                before = before.marked(own)
                if not numbers.problem:
                    keep(mark, numbers)
            found[frame.path] = numbers
            last = own if not numbers.problem else last
            progress(1)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Before:
    """The frame before, as far as it is in memory."""

    mark: str = ""
    pixels: Pixels | None = None
    stats: FrameStats | None = None

    @classmethod
    def of(
        cls, mark: str, frames: Sequence[DatasetFrame], found: Mapping[Path, FrameNumbers], read: "_Read"
    ) -> "_Before":
        """Read the last frame before, of which the numbers were known already."""
        for path in reversed(list(found)):
            if not found[path].problem and _mark(path) == mark:
                frame = next(each for each in frames if each.path == path)
                try:
                    pixels = as_counts(read(path))
                except StorageError:
                    return cls()
                return cls(mark=mark, pixels=pixels, stats=_stats(frame, pixels))
        return cls()

    def marked(self, mark: str) -> "_Before":
        """Return the same under another mark."""
        return _Before(mark=mark, pixels=self.pixels, stats=self.stats)


_Read = Callable[[Path], Pixels]


def _mark(path: Path) -> str:
    """Return the name of a file's contents, without reading them."""
    try:
        status = path.stat()
    except OSError:
        return f"{path} gone"
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _read(path: Path) -> Iterable[tuple[str, FrameNumbers]]:
    """Yield what was kept; a line that was not written to its end says nothing."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            record = json.loads(line)
            yield record.pop("frame"), FrameNumbers(**record)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue


def _stats(frame: DatasetFrame, pixels: Pixels) -> FrameStats:
    header = frame.header
    return measure(
        pixels,
        saturation_adu=header.saturation_adu,
        bayer=header.bayer_pattern is not None,
        mid_at=header.date_obs or _NEVER,
    )


def _measured(frame: DatasetFrame, before: _Before, read: "_Read") -> tuple[FrameNumbers, _Before]:
    """Return what a frame shows, and the frame itself as the one before the next."""
    header = frame.header
    try:
        pixels = as_counts(read(frame.path))
    except StorageError as error:
        return FrameNumbers(problem=str(error).removeprefix(f"{frame.path}: ")), before
    stats, previous = _stats(frame, pixels), None
    if before.stats is not None and before.pixels is not None and before.pixels.shape == pixels.shape:
        pair = compare(pixels, before.pixels, bayer=header.bayer_pattern is not None)
        previous = PreviousFrame(stats=before.stats, identical_rows=pair.identical_rows)
    request = CaptureRequest(kind=header.kind, purpose=Purpose.KEEP, exposure_us=header.exposure_us or 0)
    verdicts = judge(Frame(header=header, pixels=pixels), stats, request=request, previous=previous)
    low, middle, high = _percentiles(whole := distribution(pixels), (16, 50, 84))
    numbers = FrameNumbers(
        mean=whole.mean(),
        median=middle,
        std=_std(whole),
        p16=low,
        p84=high,
        level=stats.level_adu,
        sigma=stats.sigma_adu,
        maximum=float(whole.values[-1]) if len(whole.values) else float("nan"),
        step=stats.step_adu,
        sha256=stats.pixel_sha256,
        codes={str(v.code): f"{meaning(v.code).text} ({v.detail})" for v in verdicts if v.refuses},
    )
    return numbers, _Before(pixels=pixels, stats=stats)


def _std(whole: Distribution) -> float:
    n = whole.total()
    return float(np.sqrt(((whole.values - whole.mean()) ** 2) @ whole.counts / n)) if n else float("nan")


def _percentiles(whole: Distribution, shares: Sequence[float]) -> list[float]:
    """Return percentiles of counted values, between two of them as numpy has them."""
    n = whole.total()
    if not n:
        return [float("nan")] * len(shares)
    last: NDArray[np.int64] = np.cumsum(whole.counts) - 1
    places = [share / 100 * (n - 1) for share in shares]
    lower = [whole.values[np.searchsorted(last, int(place))] for place in places]
    upper = [whole.values[np.searchsorted(last, min(int(place) + 1, n - 1))] for place in places]
    return [float(a + (b - a) * (p - int(p))) for p, a, b in zip(places, lower, upper, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Frames that a master is made without, with the reason in words, and what is to be said of the whole group."""

    refused: Mapping[Path, str]
    remarks: tuple[str, ...] = ()


def judged(frames: Sequence[DatasetFrame], numbers: Mapping[Path, FrameNumbers]) -> Judged:
    """Judge the frames of one group: each by itself and beside the one before, then level and noise of all.

    What most frames of a group have is how the camera is, and costs none of them; only copies of a frame always go.
    """
    refused = {frame.path: numbers[frame.path].problem for frame in frames if numbers[frame.path].problem}
    read = [frame for frame in frames if frame.path not in refused]
    had = Counter(code for frame in read for code in numbers[frame.path].codes)
    usual = {code for code, n in had.items() if 2 * n > len(read) and code != FrameCode.DUPLICATE_FRAME}
    for frame in read:
        words = [text for code, text in numbers[frame.path].codes.items() if code not in usual]
        if words:
            refused[frame.path] = "; ".join(words)
    refused |= _copies([frame for frame in read if frame.path not in refused], numbers)
    left = [frame for frame in read if frame.path not in refused]
    odd = odd_frames(frames[0].header.kind, [_series_row(frame, numbers[frame.path]) for frame in left])
    for i, verdict in odd.items():
        text = meaning(verdict.code).text
        refused[left[i].path] = f"{text} ({_adu(verdict.measured)}, that of the others {_adu(verdict.limit)})"
    remarks = [f"{meaning(code).text} in most of its frames, which are used all the same" for code in usual]
    left = [frame for frame in left if frame.path not in refused]
    return Judged(refused=refused, remarks=(*sorted(remarks), *_two_levels(left, numbers)))


def _adu(value: float) -> str:
    """Return a level or a noise as it is read, with digits of frames that are scaled to 0…1, too."""
    return f"{value:.1f} ADU" if abs(value) >= 10 else f"{value:.3g} ADU"


def _two_levels(frames: Sequence[DatasetFrame], numbers: Mapping[Path, FrameNumbers]) -> Iterator[str]:
    """Yield that biases or darks have two levels: a setting that no card states may have been another one."""
    kind = frames[0].header.kind if frames else FrameKind.FLAT
    rows = [_series_row(frame, numbers[frame.path]) for frame in frames]
    if kind is FrameKind.FLAT or (parts := two_levels(kind, rows)) is None:
        return
    shown = (
        f"{count(len(part), 'frame')} at {sorted(rows[i].level_adu for i in part)[len(part) // 2]:.0f} ADU "
        f"({frames[part[0]].path.name} …)"
        for part in parts
    )
    yield f"its levels are two, and no card says why: {' and '.join(shown)}"


def _copies(frames: Sequence[DatasetFrame], numbers: Mapping[Path, FrameNumbers]) -> dict[Path, str]:
    """Return the frames whose pixels are those of one before them; of frames of a single value that says nothing."""
    holders: dict[str, Path] = {}
    for frame in frames:
        if numbers[frame.path].std > 0:
            holders.setdefault(numbers[frame.path].sha256, frame.path)
    copies = [(f.path, holder) for f in frames if (holder := holders.get(numbers[f.path].sha256, f.path)) != f.path]
    return {path: f"its pixels are those of {holder}" for path, holder in copies}


def _series_row(frame: DatasetFrame, numbers: FrameNumbers) -> Measured:
    return Measured(
        level_adu=numbers.level,
        sigma_adu=numbers.sigma,
        step_adu=numbers.step,
        ccd_temp_c=frame.header.ccd_temp_c,
    )
