"""After `nightcal warm-up` a night compiles nothing: whatever a kernel is called with was called in it."""

import shutil
import subprocess
import sys

from tests.support.places import ROOT, WARM_UP_CACHE


def test_nothing_is_left_to_compile_for_a_night(night, tmp_path, monkeypatch):
    cache = tmp_path / "kernels"
    shutil.copytree(WARM_UP_CACHE, cache)  # made by the same command in an empty folder: see tests/conftest.py
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    compiled = {p.relative_to(cache): p.stat().st_mtime_ns for p in cache.rglob("*.nb?")}
    assert compiled
    command = [sys.executable, "-m", "services.cli.main", "warm-up"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(cache) in done.stdout
    assert night.run().returncode == 0
    assert {p.relative_to(cache): p.stat().st_mtime_ns for p in cache.rglob("*.nb?")} == compiled
