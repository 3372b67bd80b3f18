"""A daemon at an observatory of another process, which outlives it; what kills of it and of its children leave.

The observatory is a server of the tests' own process, with a clock that daemon and workers learn over the wire. Kills
are counted with what they met.
"""

import contextlib
import os
import random
import select
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drivers.base import CalibratorStatus, CameraStates, CoverStatus
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, RunRow
from services.events.journal import read_journal
from services.events.records import FrameStored
from services.events.serving import DevicesSecured, WorkerDied
from tests.support.served_daemon import ALWAYS, SOON_S, Daemon, served
from tests.support.served_night import ServedNight, served_night
from tests.support.small_night import Night

FRAMES = 3
NEVER = {**ALWAYS, "name": "new year's day", "cron": "0 0 1 1 *", "hours": 1}
WHOLE = "all that is wanted is there"
RATE = 100.0
"""Simulated seconds in a real one: frames of 10 s and 100 s take 0.1 s and 1 s."""
SOON = (("", 1.0), ("starting", 1.0), ("running", 1.0), ("running", 1.0))
LATER = (*SOON, ("running", 5.0), ("running", 10.0), ("frames taken", 2.0))
"""The word of a daemon after which it is killed within some real seconds; "": while it sees to what it finds."""
START = datetime(2027, 3, 1, 6, 0, tzinfo=UTC)


def document(port: int) -> dict[str, Any]:
    """Return what the small night is changed by: devices of a server, darks that are long or short, one filter."""
    return {
        "camera": {"camera_type": "alpaca", "alpaca": {"host": "127.0.0.1", "port": port}},
        "cooling": {"target_temperature": 15.0, "stable_time": 10.0, "ramp_rate": 30.0},
        "flat_panel": {},
        "safety_monitor": {},
        "flat_capture": {"num_flats": FRAMES, "filters": ["Ha"]},
        "dark_capture": {
            "num_darks": FRAMES,
            "science_exposure_time": 100.0,
            "exposure_factors": [0.1, 1.0],
            "persistence_wait": 0,
            "max_exposure": 600.0,
        },
    }


def children_of(pid: int) -> dict[int, str]:
    """Return the children of a process with their modules; one that is gone has none."""
    found = {}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                    found[int(child)] = words[-2].decode().rpartition(".")[2]
    return found


def wait_for_end(pid: int) -> None:
    """Wait until a process that need not be a child of this one has ended."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            assert select.select([handle], [], [], SOON_S)[0], f"{pid} goes on"
        finally:
            os.close(handle)


@dataclass(slots=True, kw_only=True)
class Killed:
    """Nights of one observatory whose daemons are killed at random moments.

    Attributes
    ----------
    site : ServedNight
    night : Night
        The folder, and the configuration that the daemons read.
    dice : random.Random
    moments : tuple of (str, float)
        When a daemon is killed: as `LATER`.
    with_children : bool
        What the daemon has started is killed with it, at the same moment.
    """

    site: ServedNight
    night: Night
    dice: random.Random
    moments: tuple[tuple[str, float], ...]
    with_children: bool
    kills: int = 0
    met: Counter[str] = field(default_factory=Counter)
    _known: dict[str, FrameRow] = field(default_factory=dict)
    _left: set[str] = field(default_factory=set)

    def opened(self, *, to_work: bool) -> None:
        """Write the configuration with windows that are always open, or not before the next year."""
        windows = [ALWAYS if to_work else NEVER]
        self.night.write(document(self.site.server.port), {"serve": {"windows": windows}})

    def strike(self) -> bool:
        """Start the daemon, look what it makes of what it finds, let it work, kill it; return whether it lived then."""
        self._left |= set(self._open_runs())
        self.opened(to_work=False)
        with served(self.night) as daemon:
            word, seconds = self.dice.choice(self.moments)
            is_whole = bool(word) and self._looks_and_works(daemon, word)
            if not is_whole:
                self._live(daemon, seconds * self.dice.random())
                self._kill(daemon.process)
        self._look_at_files()
        return not is_whole

    def look(self) -> None:
        """Let a daemon that may take nothing see to what is left, and end it in order."""
        self.opened(to_work=False)
        with served(self.night) as daemon:
            self.look_after_start(daemon)
        self.assert_once()

    def finish(self) -> None:
        """Let a daemon take what is missing."""
        self.opened(to_work=True)
        with served(self.night) as daemon:
            daemon.until(WHOLE)
        self.assert_once()
        assert sum(self._sets().values()) == 5 * FRAMES  # bias, flat, its dark, two darks

    def _looks_and_works(self, daemon: Daemon, word: str) -> bool:
        """Let the daemon work until it says a word; return whether it has nothing more to do."""
        if self.look_after_start(daemon):
            return True
        self.opened(to_work=True)
        assert daemon.order(order="reload")[0] == 200
        return WHOLE in daemon.until(word, WHOLE)

    def _live(self, daemon: Daemon, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.process.wait(seconds)
            raise AssertionError(f"the daemon ended by itself: {daemon.said}")

    def _kill(self, process: "subprocess.Popen[str]") -> None:
        self.kills += 1
        children = children_of(process.pid)
        for pid in (process.pid, *(children if self.with_children else ())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in (process.pid, *children):
            wait_for_end(pid)
        self.met.update(sorted(children.values()) or ["nothing"])
        if self.with_children:
            return
        assert not self._open_runs()
        self.assert_dark()

    def look_after_start(self, daemon: Daemon) -> bool:
        """Hold what runs that died have left against what a daemon makes of it that may take nothing.

        Returns
        -------
        bool
            Whether it wants nothing, either.
        """
        is_whole = WHOLE in daemon.until("opens at 2028", WHOLE)
        assert not self._open_runs()
        self.assert_in_order()
        said = [event.what for event in read_journal(self.night.root / ".nightcal" / "events" / "serve.jsonl")]
        assert all(each.left == () for each in said if isinstance(each, DevicesSecured))
        died = {each.run for each in said if isinstance(each, WorkerDied)}
        for row in self.rows():
            if row.run_id in self._left:
                is_over = row.code != "worker_died"  # all was done but to write that into the row
                self.met[f"closed as {row.code}"] += 1
                assert is_over or row.run_id in died or row.steps == ("masters",), row
        self._left.clear()
        return is_whole

    def assert_dark(self) -> None:
        """The lamp is off, the cover closed, nothing exposes, and nobody is connected; a cooler may be held."""
        site = self.site
        found = (site.lamp, site.cover, site.activity, site._read("camera", "connected"))
        assert found == (CalibratorStatus.OFF, CoverStatus.CLOSED, CameraStates.IDLE, False), found

    def assert_in_order(self) -> None:
        """All is dark and quiet, and the cooler is off."""
        self.assert_dark()
        assert not self.site.cooler_on

    def _look_at_files(self) -> None:
        """No frame that was said or catalogued is lost."""
        for journal in sorted((self.night.root / ".nightcal" / "events").glob("2*.jsonl")):
            for event in read_journal(journal):
                if isinstance(event.what, FrameStored):
                    assert (self.night.root / event.what.path).is_file(), event
        known = {row.path: row for row in self.frames()}
        assert self._known.keys() <= known.keys()
        assert all((self.night.root / path).is_file() for path in known)
        self._known = known

    def assert_once(self) -> None:
        """No set is there twice or has too many frames; the catalogue knows each file; no run is open."""
        files = {str(path.relative_to(self.night.root)) for path in self.night.frames()}
        assert {row.path for row in self.frames()} == files
        sets = self._sets()
        assert len({(kind, exposure) for kind, exposure, _ in sets}) == len(sets), sets
        assert max(sets.values(), default=0) <= FRAMES, sets
        assert not self._open_runs()
        self.assert_in_order()

    def _sets(self) -> Counter[tuple[str, int | None, str | None]]:
        return Counter((row.kind, row.exposure_us if row.kind != "FLAT" else 0, row.set_id) for row in self.frames())

    def frames(self) -> list[FrameRow]:
        """Return the frames of the catalogue."""
        with self._catalogue() as catalogue:
            return [] if catalogue is None else list(catalogue.frames())

    def rows(self) -> list[RunRow]:
        """Return the runs of the catalogue."""
        with self._catalogue() as catalogue:
            return [] if catalogue is None else list(catalogue.runs())

    def _open_runs(self) -> list[str]:
        return [row.run_id for row in self.rows() if row.finished_at is None]

    @contextmanager
    def _catalogue(self) -> Iterator[Catalogue | None]:
        path = self.night.root / ".nightcal" / "catalogue.sqlite"
        if not path.is_file():
            yield None
            return
        with Catalogue(path, read_only=True) as catalogue:
            yield catalogue


@contextmanager
def killed_daemons(root: Path, **how: Any) -> Iterator[Killed]:
    """Give an empty folder beside an observatory that is served until the end of the block."""
    with served_night(root, rate=RATE, start=START, camera={"detector": {"persistence": 0.0}}) as site:
        night = Night(root=root, config=root / "config_calibration_frames.yaml")
        yield Killed(site=site, night=night, **how)
