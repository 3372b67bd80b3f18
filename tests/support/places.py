"""Where things are for tests: the repository, and the folder of real files that may lie beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
