"""A small night on the command line: real files, real sockets, a fast clock; everything is written to its folder."""

import copy
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from astropy.io import fits

from tests.support import started
from tests.support.places import ROOT

SCRIPT = ROOT / "calibration" / "calibration_workflow.py"
FRAMES = 6
SMALL = {
    "dark_capture": {
        "num_darks": FRAMES,
        "science_exposure_time": 2.0,
        "exposure_factors": [0.5, 1.0],
        "persistence_wait": 10,
    },
    "flat_capture": {"num_flats": FRAMES, "filters": ["L", "Ha"]},
    "camera": {"camera_type": "simulator", "simulator": {"width": 160, "height": 120, "rate": 1000}},
    "cooling": {"target_temperature": 5.0},
    "filter_wheel": {"device_id": 0},
    "storage": {"min_free_mb": 1},
    "models": {"fit": "off"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """A folder with a configuration, and what lies in it."""

    root: Path
    config: Path

    def write(self, *changes: dict[str, Any]) -> None:
        """Write the configuration: the small night with changes, section by section."""
        document: dict[str, Any] = copy.deepcopy(SMALL)
        for change in changes:
            for name, section in change.items():
                document[name] = {**document.get(name, {}), **section} if isinstance(section, dict) else section
        self.config.write_text(yaml.safe_dump(document), encoding="utf-8")

    def command(self, *options: str) -> list[str]:
        """Return the guide's command line."""
        return [sys.executable, str(SCRIPT), "--config", str(self.config), "--no-confirm", *options]

    def run(self, *options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the guide's command line from another folder."""
        return started.run(self.command(*options), cwd=cwd or self.root.parent)

    def frames(self, pattern: str = "*") -> list[Path]:
        """Return the frames that are stored."""
        return sorted(p for folder in ("darks", "flats") for p in (self.root / folder).rglob(f"{pattern}.fits"))

    def report(self) -> dict[str, Any]:
        """Return the newest report."""
        newest = max((self.root / "reports").glob("*.json"), key=lambda p: p.stat().st_mtime_ns)
        return json.loads(newest.read_text(encoding="utf-8"))

    def counts(self) -> dict[str, int]:
        """Return how many frames every set of the headers has: kind, exposure, filter of flats."""
        counts: dict[str, int] = {}
        for path in self.frames():
            header = fits.getheader(path)
            name = header["FILTER"] if header["IMAGETYP"] == "FLAT" else f"{header['EXPTIME']:.3f}"
            key = f"{header['IMAGETYP']} {name}"
            counts[key] = counts.get(key, 0) + 1
        return counts
