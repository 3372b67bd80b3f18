"""What the whole suite needs: the compiled loops, before the first test that calls one.

Compiling them takes minutes, longer than any night here. The first test that needs them compiles them once, with
`nightcal warm-up`, while other workers go on with tests that need none; these therefore come first.

Invented inputs are the same in each run, so that a change is judged by what it changes; `--hypothesis-profile=default`
invents others.
"""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest
from filelock import FileLock
from hypothesis import settings

from tests.support.places import ROOT, WARM_UP_CACHE

settings.register_profile("same", derandomize=True)
settings.load_profile("same")

COMPILES_NOTHING = (
    "tests/contract",
    "tests/unit/calibration/keywords",
    "tests/unit/calibration/plans",
    "tests/unit/calibration/test_compiled_kernels.py",
    "tests/unit/drivers",
    "tests/unit/services/catalogue",
    "tests/unit/services/cli",
    "tests/unit/services/config",
    "tests/unit/services/events",
    "tests/unit/services/planning",
    "tests/unit/services/test_errors.py",
    "tests/unit/services/test_log.py",
    "tests/unit/services/test_platform.py",
    "tests/unit/services/test_words.py",
    "tests/unit/test_architecture.py",
    "tests/unit/test_packaging.py",
    "tests/unit/services/workflow/test_compiling.py",
    "tests/unit/services/workflow/test_snapshot.py",
    "tests/unit/services/workflow/test_steps.py",
)
"""Tests that call no compiled loop. One too many in this list compiles for itself: slow, but not wrong."""

COMPILES_ALL_THE_SAME = (
    "tests/unit/calibration/plans/test_detector.py",
    "tests/unit/calibration/plans/test_flat.py",
    "tests/unit/calibration/plans/test_search.py",
    "tests/unit/calibration/plans/test_twilight.py",
    "tests/unit/services/catalogue/test_cuts.py",
    "tests/unit/services/catalogue/test_hostile_rows.py",
    "tests/unit/services/cli/test_commands.py",
    "tests/unit/services/cli/test_reject.py",
    "tests/unit/services/planning/test_dry_run.py",
)

WHOLE_NIGHTS = ("tests/end_to_end", "tests/statistical")
"""Files of tests that take seconds each."""

_TESTS_CACHE = WARM_UP_CACHE.with_name("kernels-of-tests")


def pytest_configure() -> None:
    """Keep the compiled loops of tests apart from those of the program, in processes that tests start as well.

    What Python itself compiles is always kept: else every worker and every command that is started would compile the
    whole project anew, which takes longer than most tests.
    """
    os.environ["NUMBA_CACHE_DIR"] = str(_TESTS_CACHE)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files in the order in which workers take them: one that compiles, those that compile nothing, whole nights.

    One worker compiles at once, while the others need no loops yet; files of many short tests come last, so that all
    workers end at the same time.
    """
    items.sort(key=lambda item: (_compiles(item), not item.nodeid.startswith(WHOLE_NIGHTS)))
    first = next((item.path for item in items if _compiles(item)), None)
    items.sort(key=lambda item: item.path != first)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return two workers more than there are cores: nights wait for sockets and clocks for a third of their time.

    On two cores one more leaves an eighth of their time unused, two a twentieth; each costs seven seconds to start.
    """
    del config
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Let a worker that has nothing left take the next file: what a file's tests share is made once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> object:
    """Compile before the time limit of the test begins."""
    if _compiles(item):
        _compile_once()
    return (yield)


def _compiles(item: pytest.Item) -> bool:
    return not item.nodeid.startswith(COMPILES_NOTHING) or item.nodeid.startswith(COMPILES_ALL_THE_SAME)


def _compile_once() -> None:
    """Compile in a process of its own unless that was done for these sources; other workers wait for it."""
    wanted = _sources()
    done = WARM_UP_CACHE / "done"
    WARM_UP_CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(WARM_UP_CACHE / "lock"):
        if done.exists() and done.read_text() == wanted:
            return
        environment = os.environ | {"NUMBA_CACHE_DIR": str(WARM_UP_CACHE)}
        command = [sys.executable, "-m", "services.cli.main", "warm-up"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=900)
        shutil.copytree(WARM_UP_CACHE, _TESTS_CACHE, dirs_exist_ok=True)
        done.write_text(wanted)


def _sources() -> str:
    """Return a figure that changes with every source of a loop."""
    paths = [*sorted((ROOT / "calibration").rglob("*.py")), *sorted((ROOT / "services").rglob("warm_up.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
