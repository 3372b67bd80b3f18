"""Runs one after the other in one process, on a served observatory in which something fails every few minutes.

Memory, threads, sockets and open files do not grow, and every ending is explained: each exit code but 0 has a reason
code, each group that is not complete has one, and none of them is a defect of ours.

What lives is counted, too, not only the pages it lies on: an allocator that serves many threads, a dozen of them new in
each run, keeps up to eight heaps for each core with more and more holes in them, long after nothing more lives there.
"""

import ctypes
import gc
import os
import random
import re
import shutil
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
from drivers.alpaca.filter_wheel import AlpacaFilterWheel
from drivers.alpaca.safety_monitor import AlpacaSafetyMonitor
from drivers.clock import ScaledClock, SystemClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.faults import DeviceKind, FaultKind, FaultScript
from drivers.simulator.presets import from_mapping
from drivers.simulator.server import AlpacaServer
from services.errors import MEANINGS, Exit
from services.observatory import network
from services.planning.request import Step
from tests.support.served_night import QUICK, Ended, ServedNight, fault, hurry, served_night

SEED = 20261120
RATE = 200.0
FAULT_EVERY_S = 240.0
"""Clock seconds between two faults, on average."""

RUNS_IN_A_FOLDER = 4
SETTLE_S = 8.0
"""Real seconds in which the server lets go of what a run has left."""

POOL = "asyncio_"
"""Threads of the served observatory's loop: a few, begun when calls overlap, and kept for the next ones."""

WIRE = (FaultKind.DROP, FaultKind.ANSWER_LOST, FaultKind.GARBLED, FaultKind.HTTP_500, FaultKind.PUT_IGNORED,
        FaultKind.DISCONNECTED, FaultKind.STALL)  # fmt: skip
REAL_S = {FaultKind.STALL: 2.0, FaultKind.SAFETY_HANG: 3.0, FaultKind.IMAGE_SLOW: 0.2}
"""Kinds whose value is a time in real seconds."""

LASTING = (FaultKind.TEMPERATURE_FROZEN, FaultKind.TEMPERATURE_NAN, FaultKind.TEMPERATURE_IMPLAUSIBLE, FaultKind.UNSAFE,
           FaultKind.COOLER_POWER_LOSS, FaultKind.LAMP_DRIFT, FaultKind.LAMP_FLICKER, FaultKind.LAMP_LEVEL,
           FaultKind.LIGHT_LEAK, FaultKind.HIDDEN_GAIN)  # fmt: skip

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in Linux' /proc")


def random_fault(dice: random.Random, at_s: float) -> FaultScript:
    """Return anything that can go wrong, once or for some minutes."""
    kind = dice.choice(tuple(FaultKind))
    device = dice.choice((*DeviceKind, None)) if kind in WIRE else None
    value = dice.uniform(0.1, REAL_S[kind]) if kind in REAL_S else None
    if kind in LASTING:
        return FaultScript(kind=kind, at_s=at_s, for_s=dice.uniform(30.0, 600.0), value=value)
    for_s = dice.uniform(60.0, 900.0)
    return FaultScript(kind=kind, device=device, at_s=at_s, for_s=for_s, count=dice.randint(1, 4), value=value)


def random_faults(dice: random.Random, hours: float) -> tuple[FaultScript, ...]:
    """Return faults for so many hours."""
    found, at_s = [], dice.expovariate(1 / FAULT_EVERY_S)
    while at_s < 3600 * hours:
        found.append(random_fault(dice, at_s))
        at_s += dice.expovariate(1 / FAULT_EVERY_S)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the process holds: its pages, what lives on them, and what can be counted.

    Attributes
    ----------
    memory_mb : float
        Pages in memory, after those were given back that nothing lies on.
    native_mb : float
        What the C library has handed out: arrays, the libraries' own, Python's objects of more than 512 bytes.
    blocks : int
        Python's smaller objects.
    threads, sockets, files : int
    """

    memory_mb: float
    native_mb: float
    blocks: int
    threads: int
    sockets: int
    files: int

    @classmethod
    def now(cls) -> "Held":
        gc.collect()
        native_mb = _handed_out_mb()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        links = [str(_target(link)) for link in Path("/proc/self/fd").iterdir()]
        sockets = sum(link.startswith("socket:") for link in links)
        threads = [thread for thread in threading.enumerate() if not thread.name.startswith(POOL)]
        return cls(
            memory_mb=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            native_mb=native_mb,
            blocks=sys.getallocatedblocks(),
            threads=len(threads),
            sockets=sockets,
            files=len(links) - sockets,
        )

    def exceeds(self, other: "Held") -> bool:
        """Whether it is more in anything that can be counted."""
        return self.threads > other.threads or self.sockets > other.sockets or self.files > other.files


def most(held: Sequence[Held]) -> Held:
    """Return the most of everything that was held: pools of threads come and go, a leak only grows."""
    return Held(
        memory_mb=max(h.memory_mb for h in held),
        native_mb=max(h.native_mb for h in held),
        blocks=max(h.blocks for h in held),
        threads=max(h.threads for h in held),
        sockets=max(h.sockets for h in held),
        files=max(h.files for h in held),
    )


class _Mallinfo(ctypes.Structure):
    """What the GNU C library tells of its allocator."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
    )]  # fmt: skip


def _handed_out_mb() -> float:
    """Give free pages back to the system, and return what the C library has handed out; 0 if it does not tell."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return 0.0
    library.malloc_trim(0)
    library.mallinfo2.restype = _Mallinfo
    told = library.mallinfo2()
    return float(told.uordblks + told.hblkhd) / 1e6


def _target(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:  # the folder's own, which is closed by now
        return None


@dataclass(slots=True, kw_only=True)
class Soak:
    """The runs and what was seen of them."""

    folder: Path
    observatory: SimulatedObservatory
    server: AlpacaServer
    dice: random.Random
    until: datetime
    held: list[Held] = field(default_factory=list)
    exits: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    frames: int = 0

    def once(self) -> None:
        """Run, check the ending, and count what is still held."""
        number = len(self.held)
        root = self.folder / f"night{number // RUNS_IN_A_FOLDER}"
        if number % RUNS_IN_A_FOLDER == 0 and number:
            shutil.rmtree(self.folder / f"night{number // RUNS_IN_A_FOLDER - 1}")
        root.mkdir(exist_ok=True)
        night = ServedNight(root=root, observatory=self.observatory, server=self.server)
        cooling = {"cooling": {"target_temperature": 5.0}} if self.dice.random() < 0.3 else {}
        options = {"fresh": self.dice.random() < 0.6, "until": self.until}
        self.explain(night.run(options=options, **cooling), number)
        first = self.held[0] if self.held else None
        with self.observatory.world.lock:
            self.observatory.camera.exposures.records.clear()  # bounded, too, but not in so short a time
        self.held.append(settled(first))

    def explain(self, ended: Ended, number: int) -> None:
        """Every ending has its reason, and none is a defect."""
        code, exit_code, groups = ended.result.code, ended.exit_code, ended.report["groups"]
        where = f"run {number}: exit {exit_code}, {code}: {ended.result.detail}"
        self.exits[f"{exit_code} {code or ''}".strip()] += 1
        if code is not None:
            self.causes[re.sub(r"[0-9.]+", "#", ended.result.detail)[:100]] += 1
        self.frames += len(ended.said("frame.stored"))
        incomplete = [g for g in groups if g["status"] not in ("complete", "there")]
        assert code != "internal_error", where
        if code is None and exit_code == Exit.DONE:  # an uncooled set may be begun again, a degree warmer
            made_good = {wanted_of(g) for g in groups if g not in incomplete}
            assert {wanted_of(g) for g in incomplete} <= made_good or "stopped in time" in where, where
        elif code is None:
            assert exit_code == Exit.SOME_FAILED, where
            said = any(words in ended.result.detail for words in ("stopped in time", "suspect"))
            assert incomplete or ended.said("master.refused") or said, where
        else:
            assert (MEANINGS[code].exit or Exit.DEVICE) == exit_code, where
        for group in incomplete:
            ended_before = group["status"] in ("cut_off", "not_reached") and (code or "stopped in time" in where)
            assert group.get("code") in MEANINGS or ended_before, f"{where}: {group}"
            self.groups[str(group.get("code") or group["status"])] += 1
        for refusal in ended.report["refusals"]:
            assert refusal["codes"], where
            assert set(refusal["codes"]) <= set(MEANINGS), where
            self.refused.update(refusal["codes"])
        for master in ended.said("master.refused"):
            assert master["code"] in MEANINGS, where
        assert all(doubt["detail"] for master in ended.said("master.built") for doubt in master["doubts"]), where
        broken = [line for line in ended.log if line["event"] in ("run.defect", "writer.failed", "safety.failed")]
        assert not broken, broken

    def tell(self, real_s: float) -> None:
        """Print the numbers."""
        first, last = self.held[0], self.held[-1]
        hours = self.observatory.world.t_s() / 3600
        print(f"\n{hours:.1f} h of the clock in {real_s:.0f} s, {len(self.held)} runs, {self.frames} frames")
        print("exits:", dict(self.exits.most_common()))
        print("causes of stops:", dict(self.causes.most_common()))
        print("groups not complete:", dict(self.groups.most_common()))
        print("frames refused:", dict(self.refused.most_common()))
        print(f"after the first run: {first}\nafter the last run:  {last}")
        print("threads:", ", ".join(sorted(thread.name for thread in threading.enumerate())))
        for name in ("memory_mb", "native_mb", "blocks", "threads", "sockets", "files"):
            print(f"{name}, mean of each quarter:", ", ".join(f"{mean:.1f}" for mean in self.quarters(name)))

        native_mb = enumerate(pairwise(h.native_mb for h in self.held), 1)
        steps = [f"run {run}: {after - before:+.1f}" for run, (before, after) in native_mb if abs(after - before) > 0.2]
        print("steps of native_mb:", ", ".join(steps))

    def quarters(self, name: str) -> list[float]:
        """Return the mean of what was held in each quarter of the runs, of those that there are."""
        held = [float(getattr(h, name)) for h in self.held]
        parts = [held[len(held) * q // 4 : len(held) * (q + 1) // 4] for q in range(4)]
        return [statistics.fmean(part) for part in parts if part]

    def grown(self, name: str) -> float:
        """Return how much more of it was held in the last quarter than in the one before."""
        *_, before, last = self.quarters(name)
        return last - before


def wanted_of(group: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a group of a report was wanted for."""
    return tuple(group[name] for name in ("kind", "filter", "exposure_us", "gain"))


def settled(wanted: Held | None) -> Held:
    """Return what is held as soon as it is no more than `wanted`, else after a while."""
    end = time.monotonic() + SETTLE_S
    while (held := Held.now()).exceeds(wanted or held) and time.monotonic() < end:
        time.sleep(0.1)
    return held


@contextmanager
def soaking(folder: Path, hours: float) -> Iterator[Soak]:
    dice = random.Random(SEED)
    mapping = {"seed": SEED + os.getpid(), "camera": {"width": 160, "height": 120}, "safety": {}}
    parameters = replace(from_mapping(mapping), faults=random_faults(dice, hours))
    clock = ScaledClock(rate=RATE, start=SystemClock().now() + timedelta(days=1))
    with SimulatedObservatory(parameters, clock) as observatory, AlpacaServer(observatory) as server:
        until = clock.now() + timedelta(hours=hours)
        yield Soak(folder=folder, observatory=observatory, server=server, dice=dice, until=until)


def soak(folder: Path, hours: float) -> Soak:
    began = time.monotonic()
    with soaking(folder, hours) as running:
        while running.observatory.world.t_s() < 3600 * hours:
            running.once()
        running.tell(time.monotonic() - began)
    return running


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every device short time-outs in real seconds: at this rate each of them is many minutes of the clock."""
    hurry(monkeypatch)
    for driver in (AlpacaFilterWheel, AlpacaCoverCalibrator, AlpacaSafetyMonitor):
        monkeypatch.setattr(network, driver.__name__, partial(driver, timeouts=QUICK))


@pytest.mark.timeout(400)
def test_an_hour_of_failing_runs_leaves_nothing_behind(tmp_path: Path) -> None:
    done = soak(tmp_path, 1.0)
    assert not done.held[-1].exceeds(most(done.held[: len(done.held) // 2]))


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_a_day_of_failing_runs_leaves_nothing_behind(tmp_path: Path) -> None:
    done = soak(tmp_path, 24.0)
    assert not done.held[-1].exceeds(most(done.held[: len(done.held) // 4]))
    grown = {name: done.grown(name) for name in ("memory_mb", "native_mb", "blocks")}
    assert grown["native_mb"] < 3.0, grown  # 0.1 and 1.5 in a day were seen, and nothing in an hour
    assert grown["blocks"] < 15_000, grown  # about a megabyte, too
    assert grown["memory_mb"] < 8.0, grown  # and the holes


def test_a_simulated_camera_whose_clock_was_not_told_is_not_used_by_ours(tmp_path: Path) -> None:
    lost = fault(FaultKind.DROP, device=DeviceKind.CAMERA, member="supportedactions", count=1)
    with served_night(tmp_path, lost) as night:
        ended = night.run(steps=(Step.DARKS,))
        assert (ended.exit_code, ended.result.code) == (Exit.DEVICE, "device_lost")
        assert "clock" in ended.result.detail
        assert night.run(steps=(Step.DARKS,)).exit_code == Exit.DONE
    untold = fault(FaultKind.DROP, device=DeviceKind.CAMERA, member="action", count=2)
    with served_night(tmp_path / "again", untold) as night:  # asked for once more at once
        assert night.run(steps=(Step.DARKS,)).exit_code == Exit.DONE
