"""The processes of the daemon over a small night: workers, and the simulated observatory that outlives them.

Children are forked from a process that has imported everything; what they say arrives in queues.
"""

import json
import queue
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drivers.base import CalibratorStatus, CameraStates, CoverStatus
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import RunRow
from services.daemon.children import Start
from services.daemon.limits import Limits
from services.daemon.messages import WorkRequest
from services.daemon.observatory_child import ObservatoryChild
from services.daemon.parts import Ended, Secured
from services.daemon.supervisor import Supervisor
from services.daemon.worker_child import Listeners, Worker
from services.events.records import Event
from services.planning.request import RunOptions, Step
from tests.support import started
from tests.support.small_night import Night

SOON_S = 100.0
"""Real seconds in which everything here happens, also on a busy machine."""


@dataclass(slots=True, kw_only=True)
class Heard:
    """What the children have said, each in its own queue; `events` keeps all of them."""

    events: list[Event] = field(default_factory=list)
    coming: "queue.Queue[Event]" = field(default_factory=queue.Queue)
    ends: "queue.Queue[Ended]" = field(default_factory=queue.Queue)
    safe: "queue.Queue[Secured]" = field(default_factory=queue.Queue)

    def listeners(self) -> Listeners:
        """Return what a supervisor is given."""

        def hear(event: Event) -> None:
            self.events.append(event)
            self.coming.put(event)

        return Listeners(event=hear, ended=self.ends.put, secured=self.safe.put)

    def until(self, is_it: Callable[[Event], bool]) -> Event:
        """Return the next event of a kind."""
        while not is_it(event := self.coming.get(timeout=SOON_S)):
            pass
        return event

    def named(self, name: str) -> Event:
        """Return the next event of a name."""
        return self.until(lambda event: event.name == name)

    def end(self) -> Ended:
        """Return the end of the worker."""
        return self.ends.get(timeout=SOON_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDaemon:
    """A supervisor, the observatory, and the folder that runs write to."""

    night: Night
    heard: Heard
    supervisor: Supervisor
    observatory: ObservatoryChild

    @property
    def request(self) -> WorkRequest:
        """A run of all steps on the observatory that goes on."""
        return WorkRequest(config_path=self.night.config, served=self.observatory.served)

    def begin(self, *steps: Step, **options: Any) -> Worker:
        """Start a run of some steps."""
        asked = RunOptions(**({"steps": steps} if steps else {}), **options)
        return self.supervisor.begin(replace(self.request, options=asked))

    def rows(self) -> list[RunRow]:
        """Return the catalogue's runs, the newest first."""
        with Catalogue(self.night.root / ".nightcal" / "catalogue.sqlite", read_only=True) as catalogue:
            return list(catalogue.runs())

    def read(self, member: str) -> Any:
        """Return what a device of the observatory says, asked over the wire as any client would."""
        device = "covercalibrator" if member in {"calibratorstate", "coverstate"} else "camera"
        address = f"http://127.0.0.1:{self.observatory.served.port}/api/v1/{device}/0/{member}?ClientID=9"
        with urllib.request.urlopen(address, timeout=30) as answer:
            said = json.load(answer)
        assert said["ErrorNumber"] == 0, said
        return said["Value"]

    def connected(self) -> "SmallDaemon":
        """Connect camera and panel, so that they can be asked."""
        for device in ("camera", "covercalibrator"):
            address = f"http://127.0.0.1:{self.observatory.served.port}/api/v1/{device}/0/connected"
            put = urllib.request.Request(address, data=b"Connected=True&ClientID=9", method="PUT")
            with urllib.request.urlopen(put, timeout=30) as answer:  # noqa: S310 - loopback
                assert json.load(answer)["ErrorNumber"] == 0
        return self

    def wait_for_exposure(self) -> None:
        """Wait until a frame is being taken."""
        while CameraStates(self.read("camerastate")) is not CameraStates.EXPOSING:
            pass

    def wait_for_set(self, exposure_us: int) -> None:
        """Wait until a frame of a set of this exposure is being taken, which is longer than a look at it."""
        self.heard.until(lambda event: event.name == "group.started" and event.what.exposure_us == exposure_us)
        self.wait_for_exposure()

    def assert_safe(self) -> None:
        """The lamp is off, the cover closed, nothing exposes, and the cooler is as the first run found it."""
        self.connected()
        assert CalibratorStatus(self.read("calibratorstate")) is CalibratorStatus.OFF
        assert CoverStatus(self.read("coverstate")) is CoverStatus.CLOSED
        assert CameraStates(self.read("camerastate")) is CameraStates.IDLE
        assert self.read("cooleron") is False


@contextmanager
def small_daemon(
    root: Path, *changes: dict[str, Any], start: Start = started.start, limits: Callable[[], Limits] = Limits
) -> Iterator[SmallDaemon]:
    """Give a small daemon whose children `start` starts; whatever of its workers is left at the end is killed."""
    root.mkdir(exist_ok=True)
    night = Night(root=root, config=root / "config_calibration_frames.yaml")
    night.write(*changes)
    heard, workers = Heard(), []

    def noted(command: list[str], **how: Any) -> Any:
        workers.append(start(command, **how))
        return workers[-1]

    logs = root / "logs"
    observatory = ObservatoryChild(WorkRequest(config_path=night.config), logs=logs, start=start)
    supervisor = Supervisor(heard.listeners(), logs=logs, limits=limits, start=noted)
    try:
        yield SmallDaemon(night=night, heard=heard, supervisor=supervisor, observatory=observatory)
    finally:
        supervisor.close()
        for worker in workers:
            worker.kill()
        observatory.close()
