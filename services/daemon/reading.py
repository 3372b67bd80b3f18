"""What is on disk, for the API: answers from the catalogue, journals, reports, logs and the configuration.

Everything here may wait for a disk and is called in a thread of its own, never in that of the server. Nothing is
written: the catalogue is opened to read, for one question at a time, so that one that was made anew is seen at once.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.pages import NightCount
from services.catalogue.plain import parse_time
from services.catalogue.rows import MasterRow, MasterStatus, RunRow
from services.config.access import SECRETS
from services.config.models import LoadedConfig
from services.daemon import answers as seen
from services.events.decoder import decode, plain
from services.events.records import Event, json_value
from services.events.serving import SERVE
from services.files.layout import Layout
from services.root import layout_of

MASKED = "(masked)"
_MASKED_TOO = frozenset({*SECRETS, "url", "command"})
"""Keys that may hold a secret: addresses and commands of hooks, too, may have one in them."""
_LINE_BYTES = 1 << 20
_TAIL_BYTES = 1 << 20
_JOURNAL_BYTES = 1 << 24
_JOURNALS = 20
"""So many journals are looked through at most for what a listener has missed."""
_NO_STATE = b"{}"


class NotThere(LookupError):
    """What was asked for is not there; the text says so in a sentence."""


class Reader:
    """Answers of one root.

    Parameters
    ----------
    loaded : callable
        Returns the configuration in force: it changes when it is read again.
    plan : callable
        Returns the last comparison of what is wanted and what is there as a record; None before the first one.
    state : callable
        Returns the daemon's state as JSON: it knows what runs.
    """

    def __init__(
        self,
        loaded: Callable[[], LoadedConfig],
        *,
        plan: Callable[[], Any] = lambda: None,
        state: Callable[[], bytes] = lambda: _NO_STATE,
    ) -> None:
        self._loaded = loaded
        self._plan = plan
        self._state = state

    @property
    def _layout(self) -> Layout:
        return layout_of(self._loaded())

    def _catalogue(self) -> Catalogue:
        return Catalogue(self._layout.catalogue, read_only=True)

    def plan(self) -> Mapping[str, Any]:
        """Return the last comparison of what is wanted and what is there."""
        found = self._plan()
        if found is None:
            raise NotThere("what is wanted was not yet compared with what is there")
        return dict(json_value(found))

    def library(self) -> seen.LibraryPage:
        """Return the masters that must exist, and those that are there and may serve."""
        plan = self._plan()
        wanted = None if plan is None else tuple(json_value(plan).get("masters", ()))
        with self._catalogue() as catalogue:
            rows = catalogue.masters(with_inputs=False)
        return seen.LibraryPage(wanted=wanted, there=tuple(seen.MasterSeen.of(row) for row in rows if row.may_serve))

    def masters(self, *, limit: int, kind: FrameKind | None, status: MasterStatus | None) -> seen.MastersPage:
        """Return masters, the newest first."""
        filters = _given(kind=kind, status=status)
        with self._catalogue() as catalogue:
            rows = catalogue.masters(with_inputs=False, **filters)
        return seen.MastersPage(masters=tuple(seen.MasterSeen.of(row) for row in rows[:limit]))

    def master(self, name: str) -> seen.MasterDetail:
        """Return one master by the name of its file."""
        with self._catalogue() as catalogue:
            rows = catalogue.masters(with_inputs=False)
            path = next((row.path for row in rows if row.path.rpartition("/")[2] == name), None)
            if path is None:
                raise NotThere(f"there is no master {name}")
            row = catalogue.masters(path=path)[0]
        same = {each: getattr(row, each) for each in ("recipe", "pixel_sha256", "inputs", "darks")}
        return seen.MasterDetail(master=seen.MasterSeen.of(row), **same)

    def runs(self, *, limit: int, before: str | None) -> seen.RunsPage:
        """Return runs, the newest first, from the one on that began before that of an id."""
        with self._catalogue() as catalogue:
            rows = [row for row in catalogue.runs() if before is None or row.run_id < before]
        running = self._running()
        page = tuple(seen.RunSeen(run=row, is_running=row.run_id == running) for row in rows[:limit])
        return seen.RunsPage(runs=page, next=page[-1].run.run_id if len(rows) > limit else None)

    def run(self, run_id: str) -> seen.RunDetail:
        """Return one run."""
        with self._catalogue() as catalogue:
            row = self._row(catalogue, run_id)
            refused = len(catalogue.refusals(run_id))
            frames = len(catalogue.frames(run_id=run_id))
        report = next(iter(sorted(self._layout.reports.glob(f"*_{run_id}.html"))), None)
        shown = None if report is None else self._layout.relative(report)
        is_running = run_id == self._running()
        return seen.RunDetail(run=row, is_running=is_running, refused=refused, frames=frames, report=shown)

    def _row(self, catalogue: Catalogue, run_id: str) -> RunRow:
        found = catalogue.runs(run_id=run_id)
        if not found:
            raise NotThere(f"there is no run {run_id}")
        return found[0]

    def _running(self) -> str | None:
        """Return the run that goes on by the daemon's own knowledge; a row of one that was killed says so falsely."""
        with suppress(ValueError, AttributeError):
            found = json.loads(self._state()).get("run") or {}
            return found.get("run_id")
        return None

    def events(self, run_id: str, *, after: int, limit: int) -> seen.EventsPage:
        """Return events of a run, or of the daemon itself (`serve`), that follow the one of this number."""
        found: list[Event] = []
        for event in journal(self._layout.events(run_id), after=after):
            found.append(event)
            if len(found) > limit:
                break
        if not found and not self._layout.events(run_id).exists():
            raise NotThere(f"there is no run {run_id}")
        page = tuple(json.loads(event.to_json()) for event in found[:limit])
        return seen.EventsPage(events=page, next=found[limit - 1].seq if len(found) > limit else None)

    def frames(self, *, limit: int, before: int | None, **filters: Any) -> seen.FramesPage:
        """Return frames, those that were recorded last first; filters of None are none."""
        with self._catalogue() as catalogue:
            rows, following = catalogue.frame_page(limit=limit, before=before, **_given(**filters))
        return seen.FramesPage(frames=tuple(map(seen.FrameSeen.of, rows)), next=following)

    def has_frame(self, path: str) -> bool:
        """Return whether the catalogue knows a frame by this path."""
        with self._catalogue() as catalogue:
            return catalogue.frame(path) is not None

    def trends(self, *, kind: FrameKind | None, filter: str | None) -> seen.TrendsPage:  # noqa: A002
        """Return level, noise and temperature of masters against time, the oldest first."""
        given = _given(kind=kind, filter=filter)
        with self._catalogue() as catalogue:
            rows = catalogue.masters(with_inputs=False, **given)
        return seen.TrendsPage(points=tuple(sorted(map(_point, rows), key=lambda point: point.at)))

    def nights(self, *, limit: int) -> seen.NightsPage:
        """Return nights with their frames by kind, the newest first."""
        with self._catalogue() as catalogue:
            counts = catalogue.night_counts(limit=limit)
        reports = sorted(path.name for path in self._layout.reports.glob("*.html"))
        nights = groupby(counts, key=lambda each: each.night)
        return seen.NightsPage(nights=tuple(_night(name, of_it, reports) for name, of_it in nights))

    def log(self, *, lines: int) -> seen.LogTail:
        """Return the last lines of the newest log."""
        path = max(self._layout.logs.glob("nightcal_*.log"), default=None)
        if path is None:
            return seen.LogTail()
        return seen.LogTail(path=self._layout.relative(path), lines=tuple(map(_log_line, tail(path, lines))))

    def config(self) -> seen.ConfigSeen:
        """Return the configuration in force, without secrets."""
        loaded = self._loaded()
        shown = masked(loaded.config.model_dump(mode="json"))
        return seen.ConfigSeen(path=str(loaded.path), root=str(loaded.root), config=shown, notes=loaded.notes)

    def missed(self, run_id: str, seq: int, *, limit: int) -> list[Event]:
        """Return what has happened since an event: of its run what follows it, of all others what is later.

        They are in the order of their times, the last `limit` of them.
        """
        path = self._layout.events(run_id)
        of_it = recent(path, limit)
        known = [event.at for event in of_it if event.seq <= seq]
        found = [event for event in of_it if event.seq > seq]
        if not of_it:
            return []
        since = known[-1] if known else of_it[0].at
        for other in _latest(path.parent, but=path):
            later = [event for event in recent(other, limit) if event.at > since]
            if not later and other.stem != SERVE:
                break
            found += later
        return sorted(found, key=lambda event: event.at)[-limit:]


def _given(**filters: Any) -> dict[str, Any]:
    """Return the filters that are given."""
    return {name: value for name, value in filters.items() if value is not None}


def _point(row: MasterRow) -> seen.TrendPoint:
    found = row.statistics
    return seen.TrendPoint(
        at=row.valid_from or row.built_at,
        name=row.path.rpartition("/")[2],
        kind=row.kind,
        status=row.status,
        filter=row.key.filter,
        exposure_us=row.exposure_us,
        gain=row.key.gain,
        level_adu=_number(found.get("level_adu", found.get("median_adu"))),
        frame_noise_adu=_number(found.get("pair_noise_adu")),
        master_noise_adu=_number(found.get("master_noise_adu")),
        ccd_temp_c=row.ccd_temp_c,
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _night(name: str, counts: Iterator[NightCount], reports: list[str]) -> seen.NightSeen:
    kinds = tuple(
        seen.NightOfKind(
            kind=each.kind, frames=each.frames, bad=each.bad, first=parse_time(each.first), last=parse_time(each.last)
        )
        for each in counts
    )
    return seen.NightSeen(
        night=name, kinds=kinds, reports=tuple(each for each in reports if each.startswith(f"{name}_"))
    )


def journal(path: Path, *, after: int = 0) -> Iterator[Event]:
    """Yield the events of a journal that follow the one of this number; what is damaged costs itself only."""
    try:
        file = path.open("rb")
    except OSError:
        return
    with file, suppress(OSError):
        for line in iter(partial(file.readline, _LINE_BYTES), b""):
            event = decode(line.decode("utf-8", errors="replace"))
            if event is not None and event.seq > after:
                yield event


def recent(path: Path, limit: int) -> list[Event]:
    """Return the last events of a journal; only its end is read."""
    return [event for line in tail(path, limit, _JOURNAL_BYTES) if (event := decode(line)) is not None]


def _latest(folder: Path, *, but: Path) -> list[Path]:
    """Return the journals that were written to last, the newest first, and that of the daemon before all."""
    written: list[tuple[bool, int, Path]] = []
    for path in folder.glob("*.jsonl"):
        with suppress(OSError):
            written.append((path.stem == SERVE, path.stat().st_mtime_ns, path))
    return [path for _, _, path in sorted(written, reverse=True) if path != but][:_JOURNALS]


def tail(path: Path, lines: int, most_bytes: int = _TAIL_BYTES) -> list[str]:
    """Return the last lines of a text file; only so many bytes of its end are read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most_bytes))
            found = file.read(most_bytes).decode("utf-8", errors="replace").split("\n")
    except OSError:
        return []
    return [line for line in found[1 if size > most_bytes else 0 :] if line.strip()][-lines:]


def _log_line(line: str) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = plain(json.loads(line))
        if isinstance(found, dict):
            return found
    return {"event": line}


def masked(value: Any, name: str = "") -> Any:
    """Return plain JSON values with a mask for each that may hold a secret."""
    if name in _MASKED_TOO and value is not None:
        return MASKED
    if isinstance(value, dict):
        return {key: masked(each, key) for key, each in value.items()}
    return [masked(each) for each in value] if isinstance(value, list) else value


def encoded(answer: Any) -> bytes:
    """Return an answer as JSON."""
    return json.dumps(plain(json_value(answer))).encode()
