"""Whole runs on a served observatory in which something goes wrong, and all that such a run leaves behind.

The observatory is served over real sockets on a fast clock; the run is the real one, in this process, with its log.
"""

import functools
import itertools
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from astropy.io import fits

from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.line import Timeouts
from drivers.base import CalibratorStatus, CameraStates, CoverStatus
from drivers.clock import ScaledClock, SystemClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.faults import FaultKind, Faults, FaultScript
from drivers.simulator.presets import from_mapping
from drivers.simulator.server import AlpacaServer
from services import log
from services.config import load
from services.events.records import Event
from services.files.disk import REAL_DISK, Disk
from services.observatory import network
from services.planning.request import ALL_STEPS, RunOptions, RunResult, Step
from services.stopping import Stop
from services.workflow.job import Job

FRAMES = 6
FRAMES_ONLY = (Step.FLATS, Step.DARKS)
"""The steps of a night of which a test looks at no master: a quarter of a night is spent on them."""
QUICK = Timeouts(image_first_s=1.0, image_stall_s=0.4, image_s=1.2, read_s=1.0, poll_s=1.0, put_s=2.0, real_s=0.3)
"""Real seconds of a camera that nobody waits long for."""

_SEEDS = itertools.count(os.getpid() * 1000)


def new_seed() -> int:
    """Return a seed that no other test of this machine has: it makes the UniqueID by which a camera is locked."""
    return next(_SEEDS)


def fault(kind: FaultKind | str, **words: Any) -> FaultScript:
    """Return a fault's script."""
    return FaultScript(kind=FaultKind(kind), **words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended, and what it said in its journal, its log and its report."""

    result: RunResult
    journal: tuple[dict[str, Any], ...]
    log: tuple[dict[str, Any], ...]
    report: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """The run's exit code, which must be the report's too."""
        assert self.report["run"]["exit_code"] == self.result.exit_code
        return self.result.exit_code

    def said(self, name: str, **data: Any) -> list[dict[str, Any]]:
        """Return the journal's events of a name that hold these data."""
        return [e for e in self.journal if e["name"] == name and all(e.get(k) == v for k, v in data.items())]

    def groups(self) -> dict[str, str]:
        """Return how every group of the report ended: "complete", or its code, by "bias", "dark 2.0", "flat L"."""
        ended = {}
        for group in (g for g in self.report["groups"] if g["status"] != "not_reached"):
            shown = {"FLAT": group["filter"], "DARK": f"{(group['exposure_us'] or 0) / 1e6:.3f}", "BIAS": ""}
            gain = f" g{group['gain']}" if group["gain"] is not None else ""
            name = f"{group['kind'].lower()} {shown[group['kind']]}".strip() + gain
            ended[name] = "complete" if group["status"] in {"complete", "there"} else str(group.get("code"))
        return ended

    def assert_told(self, code: str) -> None:
        """The code stands in the journal, in the log and in the report."""
        for where in (self.journal, self.log, [self.report]):
            assert any(f'"{code}"' in json.dumps(record) for record in where), code


@dataclass(slots=True, kw_only=True)
class ServedNight:
    """An observatory that is served, and the folder that its runs write to."""

    root: Path
    observatory: SimulatedObservatory
    server: AlpacaServer
    wake: Stop = field(default_factory=Stop)

    def run(
        self,
        *,
        steps: tuple[Step, ...] = ALL_STEPS,
        hear: Callable[[Event], None] | None = None,
        options: dict[str, Any] | None = None,
        disk: Disk = REAL_DISK,
        **sections: dict[str, Any],
    ) -> Ended:
        """Run the workflow with a small configuration and what `sections` change of it."""
        path = self.root / "config_calibration_frames.yaml"
        path.write_text(yaml.safe_dump(self._document(sections)), encoding="utf-8")
        with _logged(self.root / "logs" / "night.log") as lines:
            asked = RunOptions(steps=steps, **(options or {}))
            listeners = () if hear is None else (hear,)
            result = Job(load(path), asked, listeners=listeners, stop=self.wake, disk=disk).run()
        assert result.report_json is not None
        journal = self.root / ".nightcal" / "events" / f"{result.run_id}.jsonl"
        return Ended(
            result=result,
            journal=tuple(json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()),
            log=tuple(lines()),
            report=json.loads(result.report_json.read_text(encoding="utf-8")),
        )

    def _document(self, sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
        at = {"host": "127.0.0.1", "port": self.server.port}
        document: dict[str, Any] = {
            "dark_capture": {
                "num_darks": FRAMES,
                "science_exposure_time": 2.0,
                "exposure_factors": [1.0],
                "persistence_wait": 10,
            },
            "flat_capture": {"num_flats": FRAMES, "filters": ["L", "Ha"] if self.observatory.wheel else []},
            "camera": {"camera_type": "alpaca"},
            "storage": {"min_free_mb": 1},
            "models": {"fit": "off"},
            # every night takes its own frames: failures are played from night to night
            "reuse": {"bias_hours": 18, "dark_hours": 18},
        }
        params = self.observatory.params
        named = {"filter_wheel": params.wheel, "flat_panel": params.panel, "safety_monitor": params.safety}
        document |= {name: {} for name, device in named.items() if device is not None}
        for name, section in sections.items():
            document[name] = {**document.get(name, {}), **section} if isinstance(section, dict) else section
        document["camera"]["alpaca"] = {**at, **document["camera"].get("alpaca", {})}
        return document

    def break_now(self, *faults: FaultScript) -> None:
        """Let faults happen from now on, in place of those before."""
        self.observatory.world.faults = Faults(faults)

    # --- what is left behind ----------------------------------------------------------------------------------------

    def headers(self, pattern: str = "*") -> list[fits.Header]:
        """Return the headers of the stored frames, in the order of their names."""
        paths = sorted(p for folder in ("darks", "flats") for p in (self.root / folder).rglob(f"{pattern}.fits"))
        return [fits.getheader(p) for p in paths]

    def masters(self) -> dict[str, fits.Header]:
        """Return the masters' headers by kind and filter."""
        headers = [fits.getheader(p) for p in sorted((self.root / "master_frames").glob("*.fits"))]
        return {f"{h['IMAGETYP']} {h.get('FILTER', '')} {h['EXPTIME']:.3f}".strip(): h for h in headers}

    def refused(self) -> int:
        """Return how many refused frames are kept."""
        return len(list((self.root / "refused").rglob("*.fits")))

    # --- the devices ------------------------------------------------------------------------------------------------

    @property
    def lamp(self) -> CalibratorStatus:
        """The panel's light as it is."""
        return CalibratorStatus(self._read("panel", "calibratorstate"))

    @property
    def cover(self) -> CoverStatus:
        """The cover as it is."""
        return CoverStatus(self._read("panel", "coverstate"))

    @property
    def activity(self) -> CameraStates:
        """What the camera does."""
        return CameraStates(self._read("camera", "camerastate"))

    @property
    def cooler_on(self) -> bool:
        """Whether the cooler is on."""
        return bool(self._read("camera", "cooleron"))

    @property
    def connected(self) -> list[str]:
        """The devices that somebody has connected."""
        return [str(each.kind) for each in self.observatory.devices() if each.readers["connected"]()]

    @property
    def set_point_c(self) -> float:
        """The cooler's set-point."""
        return float(self._read("camera", "setccdtemperature"))

    @property
    def exposures(self) -> list[float]:
        """Durations of all exposures so far that gave a frame, s."""
        return [round(record.conditions.exposure_s, 6) for record in self.observatory.records()]

    def _read(self, device: str, member: str) -> Any:
        found = getattr(self.observatory, device)
        with self.observatory.world.lock:
            found.settle()
            return found.readers[member]()


@contextmanager
def served_night(
    root: Path,
    *faults: FaultScript,
    rate: float = 500.0,
    start: datetime | None = None,
    seed: int | None = None,
    login: str | None = None,
    discovery_port: int | None = None,
    **observatory: Any,
) -> Iterator[ServedNight]:
    """Serve an observatory with faults, to whoever sends `login`; `observatory` are the keys of its YAML."""
    root.mkdir(exist_ok=True)
    sized = {"width": 160, "height": 120, **observatory.pop("camera", {})}
    mapping = {"seed": new_seed() if seed is None else seed, "camera": sized, **observatory}
    parameters = functools.reduce(_with_fault, faults, from_mapping(mapping))
    clock = ScaledClock(rate=rate, start=start or SystemClock().now())
    with (
        SimulatedObservatory(parameters, clock) as simulated,
        AlpacaServer(simulated, discovery_port=discovery_port, login=login) as server,
    ):
        yield ServedNight(root=root, observatory=simulated, server=server)


def hurry(monkeypatch: pytest.MonkeyPatch, timeouts: Timeouts = QUICK) -> None:
    """Give the run's camera short time-outs in real seconds."""
    monkeypatch.setattr(network, "AlpacaCamera", functools.partial(AlpacaCamera, timeouts=timeouts))


def _with_fault(parameters: Any, script: FaultScript) -> Any:
    from dataclasses import replace

    return replace(parameters, faults=(*parameters.faults, script))


@contextmanager
def _logged(path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Write the log to a file; the test's own settings come back."""
    handlers, shown = list(logging.getLogger().handlers), warnings.showwarning
    log.configure("INFO", path, console=False)
    try:
        yield lambda: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    finally:
        log.close()
        structlog.reset_defaults()
        logging.captureWarnings(capture=False)
        logging.getLogger().handlers[:] = handlers
        warnings.showwarning = shown
