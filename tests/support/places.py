"""Where things are for tests: the repository, the folder of real files beside it, what `nightcal warm-up` compiled."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
WARM_UP_CACHE = ROOT / ".pytest_cache" / "kernels-of-warm-up"
"""Compiled loops that only `nightcal warm-up` writes (see `tests/conftest.py`)."""
