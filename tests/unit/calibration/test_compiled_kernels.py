"""Compiled loops that are kept on disk: whatever becomes of the files, the loop runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.places import ROOT

LOOP = """
from calibration.compiled_kernels import kept

@kept(nogil=True)
def loop(n):
    total = 0
    for i in range(n):
        total += i
    return total

print(loop(5), dict(loop.stats.cache_hits) != {})
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[[], tuple[str, str]]:
    """Run the loop in a process of its own; return its result, and whether it was found compiled."""
    script = tmp_path / "looping.py"
    script.write_text(LOOP, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def once() -> tuple[str, str]:
        ended = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        result, found = ended.stdout.split()
        return result, found

    return once


def kept_files(tmp_path: Path, ending: str) -> list[Path]:
    return list((tmp_path / "cache").rglob(f"*.{ending}"))


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [b"", b"\x80\x04cut", b"no pickle at all"])
def test_damaged_files_are_compiled_anew_and_kept_again(
    tmp_path: Path, run: Callable[[], tuple[str, str]], ending: str, left: bytes
) -> None:
    run()
    assert run() == ("10", "True")
    for file in kept_files(tmp_path, ending):
        file.write_bytes(left)
    assert run() == ("10", "False")
    assert run() == ("10", "True")


def test_loop_runs_where_nothing_can_be_kept(tmp_path: Path, run: Callable[[], tuple[str, str]]) -> None:
    run()
    for file in [*kept_files(tmp_path, "nbi"), *kept_files(tmp_path, "nbc")]:
        file.unlink()
        file.mkdir()  # what os.replace cannot put a file upon, for root neither
    assert run() == ("10", "False")
    assert run() == ("10", "False")
