"""The paths and names of all files below the root. Nothing here opens or makes a file.

The names are the guide's; text from devices and the YAML is cleaned before it becomes part of one.
"""

import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords.letters import ascii_text

_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_LONGEST = 32
_FRAME = r"(bias|dark|flat)_[0-9]{8}_[0-9]{6}_[0-9]{3}[0-9_]*\.fits(\.fz)?"
_MASTER = r"master_(bias|dark|flat)_.*\.(fits(\.fz)?|json)"
_REPORT = r"[A-Za-z0-9.+-]+_[0-9]{8}T[0-9]{6}.*\.(json|html)"
_OWN_PART = re.compile(rf"\.({_FRAME}|{_MASTER}|{_REPORT})\.part")

Taken = Callable[[Path], bool]
"""Says whether a name is in use: on disk, or promised to a frame that waits to be written."""


PACKED = ".fz"
"""What the name of a packed frame ends with, after that of the frame."""


def sanitise(text: str) -> str:
    """Return text from a device or the YAML as part of a file name, on any system.

    Letters outside ASCII are written as in headers (`Hα` is `Ha`), so that different texts have different names.
    Everything but letters, digits, `.+-` becomes `-`; no leading dot, no trailing dot (Windows drops it), at most 32
    characters; names that Windows keeps for itself (CON, NUL, COM1 …) get a `_` after them. Empty text becomes `-`.
    """
    name = _UNSAFE.sub("-", ascii_text(text)).lstrip(".")[:_LONGEST].rstrip(".") or "-"
    if not _RESERVED.fullmatch(name):
        return name
    stem, dot, rest = name.partition(".")
    return f"{stem}_{dot}{rest}"


def apart(names: Iterable[str]) -> dict[str, str]:
    """Return the parts of file names that names become, of which no two are equal on any system.

    Of names that become the same (`O III` and `O-III`), or differ in case alone (`R` and `r`), which many systems do
    not keep apart, the first by its letters stays; the others get a checksum after them.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        part = sanitise(name)
        if part.lower() in taken:
            part = f"{part[: _LONGEST - 9]}-{zlib.crc32(name.encode()):08x}"
        taken.add(part.lower())
        found[name] = part
    return found


def seconds_text(exposure_us: int) -> str:
    """Return the `{e}` of names: seconds with three decimals, six when they are no whole milliseconds."""
    decimals = 6 if exposure_us % 1000 else 3
    return f"{exposure_us / 1e6:.{decimals}f}"


def stamp_text(at: datetime) -> str:
    """Return the `{stamp}` of names, UTC `YYYYMMDD_HHMMSS`."""
    return f"{_utc(at):%Y%m%d_%H%M%S}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterName:
    """The parts of a master's name; a part that is None is left out.

    `exposure_us` is left out of a bias, given for a dark, the median of a flat. Filter when a wheel is used; the others
    only when the configuration lists more than one value.
    """

    kind: FrameKind
    stamp: datetime
    exposure_us: int | None = None
    filter: str | None = None
    gain: int | None = None
    offset: int | None = None
    readout_mode: str | None = None
    temperature_c: float | None = None
    binning: tuple[int, int] | None = None

    @property
    def stem(self) -> str:
        """The file name without its ending."""
        parts = [
            f"master_{self.kind.lower()}",
            None if self.exposure_us is None else f"{seconds_text(self.exposure_us)}s",
            None if self.filter is None else sanitise(self.filter),
            None if self.gain is None else f"g{self.gain}",
            None if self.offset is None else f"o{self.offset}",
            None if self.readout_mode is None else f"r{sanitise(self.readout_mode)}",
            None if self.temperature_c is None else f"T{_number(self.temperature_c)}",
            None if self.binning is None else f"b{self.binning[0]}x{self.binning[1]}",
            stamp_text(self.stamp),
        ]
        return "_".join(part for part in parts if part is not None)


class Layout:
    """The tree of files below one root (one camera a root).

    Parameters
    ----------
    root : Path
        The YAML's folder, or `storage.root`.
    darks, flats, masters : str or Path
        Output folders as configured; relative ones start at the root.
    """

    def __init__(
        self,
        root: Path,
        darks: str | PurePath = "darks",
        flats: str | PurePath = "flats",
        masters: str | PurePath = "master_frames",
    ) -> None:
        self.root = Path(root).absolute()
        self.darks = self.root / darks
        self.flats = self.root / flats
        self.masters = self.root / masters
        self.planes = self.masters / "planes"
        self.models = self.root / "models"
        self.refused = self.root / "refused"
        self.reports = self.root / "reports"
        self.logs = self.root / "logs"
        self.hidden = self.root / ".nightcal"

    @property
    def is_unused(self) -> bool:
        """Whether nothing was stored here yet."""
        return not any(each.exists() for each in (self.hidden, self.darks, self.flats, self.masters))

    @property
    def catalogue(self) -> Path:
        """The SQLite index."""
        return self.hidden / "catalogue.sqlite"

    @property
    def lock(self) -> Path:
        """The root's lock."""
        return self.hidden / "lock"

    @property
    def cache(self) -> Path:
        """What may be deleted at any time: compiled kernels, previews."""
        return self.hidden / "cache"

    def events(self, run_id: str) -> Path:
        """Return the journal of a run."""
        return self.hidden / "events" / f"{_run(run_id)}.jsonl"

    def log_path(self, at: datetime) -> Path:
        """Return the log of a (UTC) day."""
        return self.logs / f"nightcal_{_utc(at):%Y%m%d}.log"

    def report_paths(self, night: str, run_id: str) -> tuple[Path, Path]:
        """Return where the JSON and the HTML report of a run go."""
        stem = f"{sanitise(night)}_{_run(run_id)}"
        return self.reports / f"{stem}.json", self.reports / f"{stem}.html"

    def frame_path(
        self,
        header: FrameHeader,
        *,
        wheel: bool,
        filters: Iterable[str] = (),
        taken: Taken = Path.exists,
        stamp: datetime | None = None,
    ) -> Path:
        """Return where a frame goes: `darks/exp_{e}s/{bias|dark}_…` or `flats/[{filter}/]flat_…`.

        Parameters
        ----------
        header : FrameHeader
            `exposure_us`, `date_obs` and, for a flat with a wheel, `filter` are used; `frame_no` is the NNN.
        wheel : bool
            Whether a filter wheel is in use: flats then get a folder for each filter.
        filters : iterable of str
            The other filters that may get a folder.
        taken : callable
            Which names are in use; a taken one gets `_2`, `_3` …
        stamp : datetime, optional
            Time in the name, by default the frame's own start.

        Raises
        ------
        ValueError
            The header lacks its exposure or its start, or is of a light frame.
        """
        at = stamp or header.date_obs
        if at is None or header.exposure_us is None:
            raise ValueError("a frame needs DATE-OBS and EXPTIME to be named")
        return free_path(self._folder(header, filters, wheel=wheel) / f"{_frame_stem(header, at)}.fits", taken)

    def refused_path(self, header: FrameHeader, *, taken: Taken = Path.exists) -> Path:
        """Return where a refused frame is kept for inspection, by night."""
        if header.date_obs is None:
            raise ValueError("a frame needs DATE-OBS to be named")
        night = sanitise(header.night or f"{_utc(header.date_obs):%Y-%m-%d}")
        return free_path(self.refused / night / f"{_frame_stem(header, header.date_obs)}.fits", taken)

    def master_path(self, name: MasterName, *, taken: Taken = Path.exists) -> Path:
        """Return where a master goes; taken while its planes or its sidecar exist, too."""

        def any_taken(path: Path) -> bool:
            return any(taken(p) for p in (path, self.planes_path(path), self.sidecar_path(path)))

        return free_path(self.masters / f"{name.stem}.fits", any_taken)

    def planes_path(self, master: Path) -> Path:
        """Return where a master's SIGMA, COUNT, MASK and INPUTS go."""
        return master.parent / "planes" / master.name

    def sidecar_path(self, master: Path) -> Path:
        """Return where a master's status, verdicts and validity go."""
        return master.with_suffix(".json")

    def model_path(self, name: str) -> Path:
        """Return the folder of a model; it keeps its name whatever is fitted anew."""
        return self.models / sanitise(name)

    def model_sidecar_path(self, folder: Path) -> Path:
        """Return where it is said what a model was made of; a model without it is not one."""
        return folder / "model.json"

    def relative(self, path: Path) -> str:
        """Return the path as the catalogue keeps it: below the root, with `/`; absolute when it lies elsewhere."""
        path = path.absolute()
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

    def absolute(self, path: str | PurePath) -> Path:
        """Return where a catalogued path is."""
        return self.root / path

    def _folder(self, header: FrameHeader, filters: Iterable[str], *, wheel: bool) -> Path:
        if header.kind in {FrameKind.BIAS, FrameKind.DARK}:
            return self.darks / f"exp_{seconds_text(header.exposure_us or 0)}s"
        if header.kind is not FrameKind.FLAT:
            raise ValueError(f"{header.kind} frames have no place here")
        name = header.filter or "none"
        return self.flats / apart((*filters, name))[name] if wheel else self.flats


def free_path(path: Path, taken: Taken = Path.exists) -> Path:
    """Return the path, or the first of `_2`, `_3` … that is not taken."""
    candidate, number = path, 1
    while taken(candidate):
        number += 1
        candidate = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return candidate


def part_path(path: Path) -> Path:
    """Return the hidden name under which a file grows until it is whole."""
    return path.with_name(f".{path.name}.part")


def is_packed_twin(path: Path) -> bool:
    """Whether a file is the packed form of a frame that is still there itself, which alone counts."""
    return path.name.endswith(".fits" + PACKED) and path.with_name(path.name.removesuffix(PACKED)).is_file()


def is_own_part(path: Path) -> bool:
    """Return whether a file is named as one of ours that was still growing: a frame, a master, a report.

    The folders are the user's: what other programs let grow in them is theirs.
    """
    return _OWN_PART.fullmatch(path.name) is not None


def _frame_stem(header: FrameHeader, at: datetime) -> str:
    return f"{header.kind.lower()}_{stamp_text(at)}_{header.frame_no or 1:03d}"


def _run(run_id: str) -> str:
    """Return a run's id as part of a name: its parts are joined by `_`, which texts of devices may not hold."""
    return "_".join(sanitise(part) for part in run_id.split("_"))


def _number(value: float) -> str:
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC) if at.tzinfo is not None else at
