"""A root folder with the frames of a small simulated sensor, and its masters built on demand."""

import threading
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits

from calibration.frames import Frame, FrameHeader, FrameKind
from calibration.masters.sketch import central_level
from drivers.clock import ManualClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow
from services.events.bus import Events
from services.events.records import Event
from services.files.disk import REAL_DISK, Disk
from services.files.fits import write_frame
from services.files.layout import Layout
from services.masters import MasterOutcome, MasterSettings, build_all
from services.root import Place

SHAPE = (48, 64)
START = datetime(2026, 1, 1, 20, 0, tzinfo=UTC)
READ_NOISE, GAIN, BIAS, RATE = 5.0, 0.5, 500.0, 2.0


class Root:
    """A root folder with its catalogue, and frames of a small simulated sensor."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder)
        self.catalogue = Catalogue(self.layout.catalogue)
        self.rng = np.random.default_rng(11)
        self.taken = 0
        self.heard: list[Event] = []
        self.pattern = self.rng.normal(0.0, 2.0, SHAPE)
        self.hot = np.zeros(SHAPE)
        self.hot[5, 7] = 400.0
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        self.flat = 1.0 - 0.3 * (((y - 24) / 48) ** 2 + ((x - 32) / 64) ** 2)
        self.flat[20, 30] = 0.2

    def mean(self, kind: FrameKind, exposure_s: float, light: float) -> np.ndarray:
        dark = (RATE + self.hot) * exposure_s
        return BIAS + self.pattern + dark + (light * self.flat if kind is FrameKind.FLAT else 0.0)

    def add(
        self,
        kind: FrameKind,
        exposure_s: float,
        count: int,
        *,
        light: float = 20000.0,
        set_id: str = "",
        **fields: object,
    ) -> list[Path]:
        paths = []
        for number in range(count):
            self.taken += 1
            lit = light * (1 + 0.01 * np.sin(number))
            mean = self.mean(kind, exposure_s, lit)
            noise = np.sqrt(READ_NOISE**2 + np.maximum(mean - BIAS, 0) / GAIN)
            pixels = np.clip(np.rint(self.rng.normal(mean, noise)), 0, 65535).astype(np.uint16)
            header = FrameHeader(
                **{
                    "kind": kind,
                    "shape": SHAPE,
                    "exposure_us": round(exposure_s * 1e6),
                    "date_obs": START + timedelta(seconds=30 * self.taken),
                    "night": "2026-01-01",
                    "set_id": set_id or f"{kind.lower()}_{exposure_s}_{fields.get('filter')}",
                    "frame_no": number + 1,
                    "camera_id": "cam",
                    "gain": 10,
                    "row_order": "TOP-DOWN",
                    "set_temp_c": -10.0,
                    "ccd_temp_c": -10.1,
                    "saturation_adu": 60000.0,
                    "source": "panel" if kind is FrameKind.FLAT else None,
                }
                | fields  # type: ignore[arg-type]
            )
            path = self.layout.frame_path(header, wheel=header.filter is not None)
            stored = write_frame(path, Frame(header=header, pixels=pixels))
            row = FrameRow.of(
                header,
                path=self.layout.relative(path),
                pixel_sha256=stored.pixel_sha256,
                size=stored.size,
                mtime_ns=stored.mtime_ns,
            )
            self.catalogue.add_frame(replace(row, level_adu=central_level(lambda a, b, p=pixels: p[a:b], pixels.shape)))
            paths.append(path)
        return paths

    def build(
        self,
        *,
        executor: Executor | None = None,
        wake: threading.Event | None = None,
        disk: Disk = REAL_DISK,
        **settings: object,
    ) -> tuple[MasterOutcome, ...]:
        clock = ManualClock(START + timedelta(hours=6))
        events = Events(run_id="run", clock=clock)
        events.subscribe(self.heard.append)
        try:
            wanted = MasterSettings(**{"num_darks": 12, "num_flats": 12, **settings})  # type: ignore[arg-type]
            return build_all(
                settings=wanted,
                place=Place(layout=self.layout, catalogue=self.catalogue, disk=disk),
                events=events,
                clock=clock,
                wake=wake,
                executor=executor,
            )
        finally:
            events.close()

    def planes(self, master: Path) -> dict[str, np.ndarray]:
        with fits.open(self.layout.planes_path(master), checksum=True) as units:
            return {unit.name: np.array(unit.data) for unit in units}
