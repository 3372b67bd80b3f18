"""A night written by hand: journal, frames, catalogue and a master, without a camera. What reports are tested on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from calibration.frames import Frame, FrameHeader, FrameKind
from calibration.keywords import to_cards
from drivers.clock import ManualClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag, FrameRow, MasterRow
from services.events.records import (
    FrameRefused,
    FrameStored,
    GroupFinished,
    GroupStarted,
    MasterBuilt,
    Record,
    RunFinished,
    RunStarted,
)
from services.files.fits import Plane, create_planes, write_frame
from services.files.layout import Layout, MasterName

RUN = "20260101T180000-abcd"
SHAPE = (120, 160)
BIAS_SET = {"kind": "BIAS", "filter": None, "exposure_us": 1000, "gain": 26, "set_temp_c": -10.0}
FLAT_SET = {"kind": "FLAT", "filter": "Ha", "exposure_us": 2_000_000, "gain": 26, "set_temp_c": -10.0}


@dataclass(slots=True, kw_only=True)
class RecordedNight:
    """One run that is being written."""

    layout: Layout
    catalogue: Catalogue
    clock: ManualClock
    run_id: str
    seq: int = 0

    def emit(self, kind: type[Record], /, **told: Any) -> None:
        """Write an event as any version of ours, or a hand, may have written it, a second after the last."""
        self.clock.advance(1)
        self.seq += 1
        event = {"name": kind.name, "run_id": self.run_id, "seq": self.seq, "at": self.clock.now().isoformat(), **told}
        journal = self.layout.events(self.run_id)
        journal.parent.mkdir(parents=True, exist_ok=True)
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def start(self, **more: Any) -> None:
        """Begin the run."""
        told = {
            "steps": ["darks", "flats"],
            "config": "c.yaml",
            "root": str(self.layout.root),
            "software": "nightcal 1",
        }
        self.emit(RunStarted, **{**told, "simulated": False, "night": "2026-01-01", **more})

    def finish(self, *, exit_code: int = 0, code: str | None = None, detail: str = "") -> None:
        """End the run."""
        self.emit(RunFinished, exit_code=exit_code, code=code, detail=detail)

    def begin(self, group: dict[str, Any], set_id: str, *, wanted: int, have: int = 0) -> None:
        """Begin a set."""
        self.emit(GroupStarted, **group, set_id=set_id, wanted=wanted, have=have)

    def end(self, group: dict[str, Any], set_id: str, *, accepted: int, code: str | None = None) -> None:
        """End a set."""
        status = "partial" if code else "complete"
        told = {"accepted": accepted, "refused": 0, "panel_brightness": None, "detail": ""}
        self.emit(GroupFinished, **group, set_id=set_id, status=status, code=code, **told)

    def take(self, group: dict[str, Any], set_id: str, number: int, level_adu: float = 500.0) -> Path:
        """Store a frame: file, row, event."""
        rng = np.random.default_rng([number, int(level_adu)])
        pixels = rng.normal(level_adu, 4, SHAPE).round().astype(np.uint16)
        header = FrameHeader(
            kind=FrameKind(group["kind"]),
            shape=SHAPE,
            exposure_us=group["exposure_us"],
            filter=group["filter"],
            gain=group["gain"],
            set_temp_c=group["set_temp_c"],
            ccd_temp_c=group["set_temp_c"] + 0.1 * (number % 2),
            date_obs=self.clock.now(),
            frame_no=number,
            set_id=set_id,
            run_id=self.run_id,
            night="2026-01-01",
            instrument="Camera",
            median_adu=level_adu,
        )
        path = self.layout.frame_path(header, wheel=True)
        stored = write_frame(path, Frame(header=header, pixels=pixels))
        row = FrameRow.of(
            header,
            path=self.layout.relative(path),
            pixel_sha256=stored.pixel_sha256,
            size=stored.size,
            mtime_ns=stored.mtime_ns,
        )
        self.catalogue.add_frame(row)
        told = {name: getattr(row, name) for name in ("path", "set_id", "filter", "exposure_us", "level_adu")}
        told |= {"ccd_temp_c": row.ccd_temp_c, "set_temp_c": row.set_temp_c, "frame_no": number, "kind": group["kind"]}
        self.emit(FrameStored, **told, sigma_adu=4.0, cooler_power_pct=40.0)
        return path

    def refuse(self, group: dict[str, Any], set_id: str, *codes: str, path: str | None = None, **more: Any) -> None:
        """Refuse a frame."""
        verdicts = [{"code": code, "measured": 71.5, "limit": 10.0, "detail": "", **more} for code in codes]
        told = {name: group[name] for name in ("kind", "filter", "exposure_us")}
        self.emit(FrameRefused, **told, set_id=set_id, path=path, codes=list(codes), verdicts=verdicts, level_adu=571.5)

    def master(self, *, told: bool = True) -> Path:
        """Build a master of all biases that are not rejected: file, row and, if `told`, event."""
        frames = self.catalogue.frames(kind=FrameKind.BIAS, flag=Flag.OK)
        path = self.layout.master_path(MasterName(kind=frames[0].kind, stamp=self.clock.now()))
        header = FrameHeader(kind=frames[0].kind, shape=SHAPE)
        with create_planes(path, (Plane(name="MEAN"),), SHAPE, spare_cards=40) as planes:
            planes.write("MEAN", 0, np.random.default_rng(1).normal(500, 1, SHAPE).astype(np.float32))
            planes.finish({"MEAN": to_cards(header)})
        found = {
            "verdict": "ok",
            "verdicts": [],
            "median_adu": 500.0,
            "pair_noise_adu": 4.0,
            "noise_ratio": float("nan"),
        }
        row = MasterRow(
            path=self.layout.relative(path),
            key=frames[0].key(),
            n=len(frames),
            recipe=f"r{len(frames)}",
            built_at=self.clock.now(),
            exposure_us=frames[0].exposure_us,
            inputs=tuple(f.pixel_sha256 for f in frames),
            statistics=found,
        )
        self.catalogue.add_master(row)
        if told:
            shown = {"path": row.path, "kind": row.kind, "exposure_us": row.exposure_us, "filter": None, "n": row.n}
            self.emit(MasterBuilt, **shown, gain=26, rejected=0, status="built", statistics=found)
        return path


@contextmanager
def recorded_night(root: Path, *, run_id: str = RUN) -> Iterator[RecordedNight]:
    """Write a night below a folder."""
    layout, clock = Layout(root), ManualClock(datetime(2026, 1, 1, 18, 0, tzinfo=UTC))
    with Catalogue(layout.catalogue) as catalogue:
        yield RecordedNight(layout=layout, catalogue=catalogue, clock=clock, run_id=run_id)
