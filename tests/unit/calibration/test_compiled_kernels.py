"""Compiled loops that are kept on disk: whatever becomes of the files, the loop runs."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from numba.core import config
from numba.core.runtime import nrt

from tests.support.places import ROOT

LOOP = """
from calibration.compiled_kernels import kept

@kept(nogil=True)
def loop(n):
    total = 0
    for i in range(n):
        total += i
    return total
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], tuple[int, bool]]]:
    """Define the loop anew and run it; return its result, and whether it was found compiled."""
    script = tmp_path / "looping.py"
    script.write_text(LOOP, encoding="utf-8")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    config.reload_config()

    def once() -> tuple[int, bool]:
        loop = runpy.run_path(str(script))["loop"]
        return loop(5), bool(loop.stats.cache_hits)

    yield once
    monkeypatch.undo()
    config.reload_config()


def kept_files(tmp_path: Path, ending: str) -> list[Path]:
    return list((tmp_path / "cache").rglob(f"*.{ending}"))


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"\x80\x04cut",
        lambda _: b"no pickle at all",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: bytes(len(whole)),
        lambda whole: whole[:-600] + bytes(600),
        lambda whole: whole[:-600] + bytes(500) + whole[-100:],
        lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        lambda whole: whole[32:],
    ],
    ids=["empty", "cut pickle", "text", "half", "zeroes", "zeroed end", "zeroed page", "one bit", "without its sum"],
)
def test_damaged_files_are_compiled_anew_and_kept_again(
    tmp_path: Path, run: Callable[[], tuple[int, bool]], ending: str, damage: Callable[[bytes], bytes]
) -> None:
    assert run() == (10, False)
    assert run() == (10, True)
    damaged = kept_files(tmp_path, ending)
    assert damaged
    for file in damaged:
        file.write_bytes(damage(file.read_bytes()))
    assert run() == (10, False)
    assert run() == (10, True)


def test_another_numba_that_lacks_what_loading_needs_costs_time_alone(
    run: Callable[[], tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == (10, False)
    with monkeypatch.context() as patched:
        patched.delattr(nrt, "rtsys")
        assert run() == (10, False)
    assert run() == (10, True)


def test_loop_runs_where_nothing_can_be_kept(tmp_path: Path, run: Callable[[], tuple[int, bool]]) -> None:
    run()
    for file in [*kept_files(tmp_path, "nbi"), *kept_files(tmp_path, "nbc")]:
        file.unlink()
        file.mkdir()  # what os.replace cannot put a file upon, for root neither
    assert run() == (10, False)
    assert run() == (10, False)


CALLER = """
import numba
import sys
from looping import loop

first = loop(5)
print("scipy.linalg" in sys.modules, sum(loop.stats.cache_hits.values()))

@numba.njit
def caller(n):
    return loop(n) + [1, 2, 3][n - 3] + loop(n + 1)

print(first, caller(5))
"""


def test_loops_are_loaded_without_what_compiles_and_others_compiled_after_them_call_them(tmp_path: Path) -> None:
    """What numba imports before it loads took as long as everything else of it, and half of that was scipy."""
    (tmp_path / "looping.py").write_text(LOOP, encoding="utf-8")
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
    }
    command = [sys.executable, "-c", CALLER]
    said = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout.split()
        for _ in range(2)
    ]
    assert said == [["True", "0", "10", "28"], ["False", "1", "10", "28"]]


BETWEEN = """
import numba
import sys
from calibration.compiled_kernels import kept
from looping import loop

@numba.njit
def between(n):
    return loop(n) + 1

@kept(nogil=True)
def caller(n):
    return between(n) * 2

@kept(nogil=True)
def other(n):
    return loop(n) * 3
"""


def test_a_loop_that_calls_a_loaded_one_is_compiled_anew_instead_of_ending_the_process(tmp_path: Path) -> None:
    """It has no copy of the other one in itself: called before that one is loaded, it would jump to nowhere."""
    (tmp_path / "looping.py").write_text(LOOP, encoding="utf-8")
    (tmp_path / "calling.py").write_text(BETWEEN, encoding="utf-8")
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
    }
    for called in ("loop(5), 22, 30", "loop(5), caller(5), other(5)", "caller(5), other(5)", "caller(5), other(5)"):
        command = [sys.executable, "-c", f"from calling import *; print({called})"]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert (said.returncode, said.stdout.split()[-2:]) == (0, ["22", "30"]), said.stderr
