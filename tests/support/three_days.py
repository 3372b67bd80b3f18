"""Three simulated days at one observatory: its weather and roof, an observer who comes at night, and what was taken.

The observatory is served by the tests' own process on a fast clock, over real sockets; the daemon is a process that
knows its address alone. The observer is another client on the same wire.
"""

import json
import threading
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from drivers.base import CoverStatus
from drivers.simulator.faults import FaultKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, RunRow
from services.config import load
from services.config.moments import zone
from services.daemon.reconciler import TAKEN_AS
from services.daemon.windows import OpenWindow, open_now
from services.events.journal import read_journal
from services.events.records import Record
from tests.support.served_night import ServedNight, fault, served_night
from tests.support.small_night import Night

DAY = datetime(2027, 3, 1, tzinfo=UTC)
START = DAY + timedelta(hours=9, minutes=30)
END = START + timedelta(days=3)
RATE = 150.0
"""Simulated seconds in a real one: three days are 29 minutes."""
HIS_S = 333.0
"""The observer's exposures, which nobody else takes."""
UNSAFE = DAY + timedelta(days=1, hours=11), timedelta(minutes=40)
RESTART = DAY + timedelta(days=1, hours=12, minutes=20)
AGEING_AT = 0.8
FRAMES, AGES = {"BIAS": 6, "DARK": 8, "FLAT": 5}, {"BIAS": 2.0, "DARK": 30.0, "FLAT": 1.0}
"""Frames in a set and greatest ages in days, by kind."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One night of the observer."""

    comes: datetime
    goes: datetime


VISITS = tuple(
    Visit(DAY + timedelta(days=day, hours=comes), DAY + timedelta(days=day, hours=goes))
    for day, (comes, goes) in enumerate(((19.0, 27.0), (15.2, 27.0), (19.0, 27.0)))
)
"""On the second he comes before the evening's window opens, and stays through it."""


def document(port: int) -> dict[str, Any]:
    """Return the configuration: two gains, long darks that need more than one midday, flats of each evening."""
    counted = {kind: {"frames": FRAMES[name], "max_age_days": AGES[name]} for kind, name in _KINDS.items()}
    flats = {**counted["flats"], "source": "panel"}
    return {
        "camera": {"camera_type": "alpaca", "alpaca": {"host": "127.0.0.1", "port": port}},
        "cooling": {"target_temperature": 5.0},
        "filter_wheel": {},
        "flat_panel": {},
        "safety_monitor": {},
        "dome": {},
        "site": {"latitude": 52.5, "longitude": 13.4},
        "darkness": "cover",
        "dark_capture": {"persistence_wait": 60},
        "storage": {"min_free_mb": 1},
        "programmes": [
            {
                "name": "broad",
                "gain": 26,
                "bias": counted["bias"],
                "darks": {**counted["darks"], "exposures": [60, 900]},
                "flats": {**flats, "filters": ["L"]},
            },
            {
                "name": "narrow",
                "gain": 60,
                "darks": {**counted["darks"], "exposures": [900, 1800]},
                "flats": {**flats, "filters": ["Ha"]},
            },
        ],
        "serve": {
            "timezone": "UTC",
            "ageing_at": AGEING_AT,
            "windows": [
                {"name": "midday", "cron": "0 10 * * *", "hours": 5, "takes": ["bias", "darks"]}
                | {"needs": ["roof_closed"]},
                {"name": "evening", "sun": [12.0, -6.0], "half": "evening", "takes": ["flats", "darks"]},
            ],
        },
    }


_KINDS = {"bias": "BIAS", "darks": "DARK", "flats": "FLAT"}


@dataclass(slots=True, kw_only=True)
class Observer:
    """Another client on the wire: he opens the cover, cools, exposes, and looks whether anybody touched what is his.

    Attributes
    ----------
    site : ServedNight
    exposures : int
        His, that were finished.
    touched : list of str
        What he did not find as he had left it.
    """

    site: ServedNight
    exposures: int = 0
    touched: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let him come and go until the end of the block."""
        thread = threading.Thread(target=self._live, name="the observer", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(60)

    def _live(self) -> None:
        try:
            for night in VISITS:
                if self._until(night.comes):
                    return
                self._observe(night)
        except Exception as error:  # noqa: BLE001 - the test says it
            self.touched.append(f"{self.site.observatory.clock.now()}: {error}")

    def _until(self, at: datetime) -> bool:
        clock = self.site.observatory.clock
        return clock.sleep((at - clock.now()).total_seconds(), self._over)

    def _observe(self, night: Visit) -> None:
        if self._get("camera", "connected"):
            self.touched.append(f"{night.comes}: the camera is in use")
        for device in ("camera", "covercalibrator"):
            self._put(device, "connected", Connected=True)
        mine = {"setccdtemperature": -15.0, "cooleron": True, "gain": 77}
        found = {name: self._get("camera", name) for name in mine}
        self._put("covercalibrator", "opencover")
        self._put("camera", "setccdtemperature", SetCCDTemperature=-15.0)
        self._put("camera", "cooleron", CoolerOn=True)
        self._put("camera", "gain", Gain=77)
        clock = self.site.observatory.clock
        while clock.now() + timedelta(seconds=HIS_S) < night.goes and not self._over.is_set():
            self._put("camera", "startexposure", Duration=HIS_S, Light=True)
            while not self._get("camera", "imageready"):
                if clock.sleep(20.0, self._over):
                    return
            self.exposures += 1
            now = {name: self._get("camera", name) for name in mine}
            if now != mine or CoverStatus(self._get("covercalibrator", "coverstate")) is not CoverStatus.OPEN:
                self.touched.append(f"{clock.now()}: {now}")
        self._put("camera", "gain", Gain=found["gain"])
        self._put("camera", "setccdtemperature", SetCCDTemperature=found["setccdtemperature"])
        self._put("camera", "cooleron", CoolerOn=found["cooleron"])
        self._put("covercalibrator", "closecover")
        for device in ("camera", "covercalibrator"):
            self._put(device, "connected", Connected=False)

    def _get(self, device: str, member: str) -> Any:
        return self._asked(f"{device}/0/{member}?ClientID=77", None)

    def _put(self, device: str, member: str, **fields: Any) -> None:
        self._asked(f"{device}/0/{member}", urllib.parse.urlencode({**fields, "ClientID": 77}).encode())

    def _asked(self, path: str, data: bytes | None) -> Any:
        address = f"http://127.0.0.1:{self.site.server.port}/api/v1/{path}"
        request = urllib.request.Request(address, data=data, method="GET" if data is None else "PUT")
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
            said = json.load(answer)
        if said["ErrorNumber"]:
            raise AssertionError(f"{path}: {said}")
        return said.get("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreeDays:
    """The observatory, the folder of the daemon, and the observer."""

    site: ServedNight
    night: Night
    observer: Observer

    def sleep_until(self, at: datetime) -> None:
        """Let time pass by the observatory's clock."""
        clock = self.site.observatory.clock
        clock.sleep((at - clock.now()).total_seconds())

    def frames(self) -> list[FrameRow]:
        """Return what the catalogue has."""
        with Catalogue(self._hidden / "catalogue.sqlite", read_only=True) as catalogue:
            return sorted(catalogue.frames(), key=lambda row: row.date_obs)

    def runs(self) -> list[RunRow]:
        """Return the runs, oldest first."""
        with Catalogue(self._hidden / "catalogue.sqlite", read_only=True) as catalogue:
            return sorted(catalogue.runs(), key=lambda row: row.run_id)

    def said(self) -> list[tuple[datetime, Record]]:
        """Return what the daemons said."""
        return [(event.at, event.what) for event in read_journal(self._hidden / "events" / "serve.jsonl")]

    def windows(self, at: datetime) -> tuple[OpenWindow, ...]:
        """Return the windows that are open."""
        config = load(self.night.config).config
        return open_now(at, config.serve, config.site, zone(config.serve.timezone))

    def outside_of_windows(self) -> list[str]:
        """Return frames that were taken, or not over, when no window for them was open."""
        found = []
        for row in self.frames():
            ended_at = row.date_obs + timedelta(microseconds=row.exposure_us or 0)
            takes = TAKEN_AS[row.kind]
            if not any(takes in each.takes and ended_at <= each.closes_at for each in self.windows(row.date_obs)):
                found.append(f"{row.path} {row.date_obs}")
        return found

    def exposed_outside(self) -> list[datetime]:
        """Return when anybody but the observer exposed while no window was open, or while he was there."""
        found = []
        for record in self.site.observatory.records():
            at = datetime.fromtimestamp(record.conditions.started_us / 1e6, UTC)
            is_his = abs(record.conditions.exposure_s - HIS_S) < 1e-6
            is_there = any(each.comes <= at < each.goes for each in VISITS)
            if not is_his and (is_there or not self.windows(at)):
                found.append(at)
        return found

    def taken_twice(self) -> list[str]:
        """Return the sets that have too many frames, or begun while the one before was young, or not whole."""
        sets: dict[str, list[FrameRow]] = defaultdict(list)
        for row in self.frames():
            sets[str(row.set_id)].append(row)
        items: dict[tuple[Any, ...], list[list[FrameRow]]] = defaultdict(list)
        found = []
        for set_id, rows in sets.items():
            first = rows[0]
            what = first.filter if first.kind == "FLAT" else first.exposure_us
            items[first.kind, first.gain, what].append(rows)
            if len(rows) > FRAMES[first.kind]:
                found.append(f"{set_id}: {len(rows)} frames")
        for item, of_item in items.items():
            for old, new in pairwise(of_item):
                until = old[0].date_obs + AGEING_AT * timedelta(days=AGES[item[0]])
                if len(old) < FRAMES[item[0]] or new[0].date_obs < until:
                    found.append(f"{item}: {old[0].date_obs} ({len(old)} frames), again {new[0].date_obs}")
        return found

    @property
    def _hidden(self) -> Path:
        return self.night.root / ".nightcal"


@contextmanager
def three_days(root: Path) -> Iterator[ThreeDays]:
    """Give the observatory at the beginning of the first day, and the observer at work."""
    unsafe = fault(FaultKind.UNSAFE, at_s=_since_start(UNSAFE[0]), for_s=UNSAFE[1].total_seconds())
    spans = [{"from_s": _since_start(each.comes), "to_s": _since_start(each.goes)} for each in VISITS]
    with served_night(root, unsafe, rate=RATE, start=START, dome={"open": spans}) as site:
        night = Night(root=root, config=root / "config_calibration_frames.yaml")
        night.write(document(site.server.port))
        observer = Observer(site=site)
        with observer.at_work():
            yield ThreeDays(site=site, night=night, observer=observer)


def _since_start(at: datetime) -> float:
    return (at - START).total_seconds()
